//! Which control ops count, where admins take the role away from each other.
//!
//! An op counts when its author is an admin at its place in the order, and no op that counts cuts it: one that claims to be later,
//! takes the role from its author, and names a position before it. Both depend on which others count. So each op is at first
//! open, and is decided when what it depends on is: this is the well-founded semantics of logic programs (Van Gelder, Ross,
//! Schlipf 1991). What is left open are circles, in which ops take each other out. There the first one in the claimed order that
//! leads to an answer is supposed to count: if it then does, it does; if it then does not, it stands on what it takes away,
//! and never does.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::LogId;
use ctxnode_model::{NodeKey, Order, SpaceId};

use super::member::{by_log, lies_beyond};
use super::{ControlOp, Role};

/// How many ops of a circle are supposed to count, one after the other, before the first of them does. Larger circles are made
/// on purpose.
const SUPPOSED: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Counts,
    Out,
    Open,
}

/// The standings that a node may have at a place: a set of bits.
type Standings = u8;
const NONE: Standings = 1;
const ROLES: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];

fn active(role: Role) -> Standings {
    2 << ROLES.iter().position(|other| *other == role).unwrap_or(0)
}

/// The same for whoever was revoked in that role.
fn revoked(role: Role) -> Standings {
    active(role) << 3
}

/// What an op makes of one that counts for sure.
fn after(op: &ControlOp, before: Standings) -> Standings {
    let each = |make: &dyn Fn(Role, bool) -> Standings| {
        let known = ROLES.iter().flat_map(|role| [(*role, false, active(*role)), (*role, true, revoked(*role))]);
        let made = known.filter(|(.., bit)| before & bit != 0).map(|(role, is_revoked, _)| make(role, is_revoked));
        made.fold(before & NONE, |all, bit| all | bit)
    };
    match op {
        ControlOp::Grant { role, .. } => active(*role),
        ControlOp::SetRole { role, .. } => {
            each(&|_, is_revoked| if is_revoked { revoked(*role) } else { active(*role) })
        }
        ControlOp::Revoke { .. } => each(&|role, _| revoked(role)),
        ControlOp::AcceptUpTo { .. } | ControlOp::Genesis { .. } | ControlOp::Unknown => before,
    }
}

/// Whether an op may end that somebody is an admin.
fn takes(op: &ControlOp) -> bool {
    match op {
        ControlOp::Revoke { .. } => true,
        ControlOp::SetRole { role, .. } | ControlOp::Grant { role, .. } => *role < Role::Admin,
        _ => false,
    }
}

/// All ops in their order, with those that cut each.
struct Court<'a> {
    ops: Vec<(&'a Order, &'a ControlOp)>,
    cut_by: Vec<Vec<usize>>,
    founder: NodeKey,
    recovery: NodeKey,
}

/// Returns the ops that count.
pub(super) fn counting(
    ops: &BTreeMap<Order, ControlOp>,
    fleet_space: SpaceId,
    (founder, recovery): (NodeKey, NodeKey),
) -> BTreeSet<Order> {
    let court = Court::new(ops, fleet_space, founder, recovery);
    let mut verdicts = court.at_first();
    court.settle(&mut verdicts, None);
    loop {
        let is_open = |at: &usize| verdicts[*at] == Verdict::Open && takes(court.ops[*at].1);
        let open: Vec<usize> = (0..court.ops.len()).filter(is_open).collect();
        let Some(first) = open.first().copied() else { break };
        let answer = open.iter().take(SUPPOSED).find_map(|at| {
            let mut supposed = verdicts.clone();
            supposed[*at] = Verdict::Counts;
            let seen = court.settle(&mut supposed, Some(*at));
            (seen != Verdict::Open).then_some((*at, seen))
        });
        if let Some((at, verdict)) = answer {
            verdicts[at] = verdict;
        } else {
            verdicts[first] = Verdict::Counts;
            for by in &court.cut_by[first] {
                if verdicts[*by] == Verdict::Open {
                    verdicts[*by] = Verdict::Out;
                }
            }
        }
        court.settle(&mut verdicts, None);
    }
    let all = court.ops.iter().zip(&verdicts);
    all.filter(|(_, verdict)| **verdict == Verdict::Counts).map(|((order, _), _)| **order).collect()
}

impl<'a> Court<'a> {
    fn new(ops: &'a BTreeMap<Order, ControlOp>, fleet_space: SpaceId, founder: NodeKey, recovery: NodeKey) -> Self {
        let ops: Vec<(&Order, &ControlOp)> = ops.iter().collect();
        let mut by_author: BTreeMap<NodeKey, Vec<usize>> = BTreeMap::new();
        for (at, (order, _)) in ops.iter().enumerate() {
            by_author.entry(order.author).or_default().push(at);
        }
        let mut cut_by = vec![Vec::new(); ops.len()];
        for (by, (_, op)) in ops.iter().enumerate() {
            let (node, cuts) = match op {
                ControlOp::Revoke { node, cuts } => (node, cuts),
                ControlOp::SetRole { node, role, cuts } if *role < Role::Admin => (node, cuts),
                _ => continue,
            };
            let cuts = by_log(cuts);
            for at in by_author.get(node).into_iter().flatten().filter(|at| **at < by) {
                let (order, op) = ops[*at];
                let log = LogId { space: fleet_space, author: order.author, epoch: order.epoch };
                // The genesis log is a log of its own; its one entry is never cut.
                if !matches!(op, ControlOp::Genesis { .. }) && lies_beyond(&cuts, &log, order.seq) {
                    cut_by[*at].push(by);
                }
            }
        }
        Self { ops, cut_by, founder, recovery }
    }

    /// What is out whatever the others are.
    fn at_first(&self) -> Vec<Verdict> {
        // What the recovery key says about a node stands against everything that others say about it, but that they let it in
        // before: what it did then stands.
        let mut rescued: BTreeMap<NodeKey, Order> = BTreeMap::new();
        for (order, op) in self.ops.iter().filter(|(order, _)| order.author == self.recovery) {
            if let Some(node) = op.subject() {
                rescued.entry(node).or_insert(**order);
            }
        }
        let is_out = |(order, op): &(&Order, &ControlOp)| {
            let Some(node) = op.subject() else { return false };
            let of_itself = node == order.author && !matches!(op, ControlOp::AcceptUpTo { .. });
            let lets_in = matches!(op, ControlOp::Grant { .. });
            let against = |word: &Order| order.author != self.recovery && !(lets_in && *order < word);
            // The key that beats all is no member: nobody lets it in, and so nobody takes its word away.
            of_itself || node == self.recovery || rescued.get(&node).is_some_and(against)
        };
        self.ops.iter().map(|pair| if is_out(pair) { Verdict::Out } else { Verdict::Open }).collect()
    }

    /// Decides what can be decided. Returns what the op that is supposed to count would be without that.
    fn settle(&self, verdicts: &mut [Verdict], supposed: Option<usize>) -> Verdict {
        loop {
            let mut standings: BTreeMap<NodeKey, Standings> = BTreeMap::from([(self.founder, active(Role::Admin))]);
            let (mut seen, mut is_news) = (Verdict::Open, false);
            for (at, (_, op)) in self.ops.iter().enumerate() {
                if supposed == Some(at) {
                    seen = self.look(at, &standings, verdicts);
                } else if verdicts[at] == Verdict::Open {
                    verdicts[at] = self.look(at, &standings, verdicts);
                    is_news |= verdicts[at] != Verdict::Open;
                }
                let Some(node) = op.subject().filter(|_| verdicts[at] != Verdict::Out) else { continue };
                let before = standings.get(&node).copied().unwrap_or(NONE);
                let is_sure = verdicts[at] == Verdict::Counts;
                standings.insert(node, after(op, before) | if is_sure { 0 } else { before });
            }
            if !is_news {
                return seen;
            }
        }
    }

    fn look(&self, at: usize, standings: &BTreeMap<NodeKey, Standings>, verdicts: &[Verdict]) -> Verdict {
        let author = self.ops[at].0.author;
        let known = standings.get(&author).copied().unwrap_or(NONE);
        let is_admin = author == self.recovery || known == active(Role::Admin);
        let may_be = is_admin || known & active(Role::Admin) != 0;
        let cuts = |verdict: Verdict| self.cut_by[at].iter().any(|by| verdicts[*by] == verdict);
        if !may_be || cuts(Verdict::Counts) {
            Verdict::Out
        } else if is_admin && !cuts(Verdict::Open) {
            Verdict::Counts
        } else {
            Verdict::Open
        }
    }
}
