//! Whether each entry was judged as it should be, by another reckoning than the store's.
//!
//! It does not evaluate the control ops in their order. From the whole set of them it takes what must hold whichever of them
//! count: behind every position up to which anybody let a log stand nothing stands, and what nobody ever said anything about
//! stands.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::{NodeKey, Space, SpaceId, Spaces};
use ctxnode_store::entry::{Header, Op, decode};
use ctxnode_store::{ControlOp, Cut, Role};

use super::world::{Node, World};

/// What all control ops together say of one node, whether they count or not.
#[derive(Default)]
struct Said {
    /// The first grant, and how many there are.
    granted: Option<(Role, Option<BTreeSet<SpaceId>>)>,
    grants: usize,
    /// How many revocations and changes of role there are.
    changes: usize,
    /// The furthest position that any of them lets stand, of each log.
    stands: BTreeMap<LogId, u64>,
    /// The furthest position that anybody accepted.
    accepted: BTreeMap<LogId, u64>,
}

impl Said {
    fn note(&mut self, cuts: &[Cut]) {
        self.changes += 1;
        for cut in cuts {
            let last = self.stands.entry(cut.log).or_default();
            *last = (*last).max(cut.last);
        }
    }
}

/// An entry where it lies.
struct Placed {
    log: LogId,
    seq: u64,
    header: Header,
    ops: Vec<Op>,
}

impl World {
    /// Checks every entry of a node that reads everything.
    pub(super) fn rights_hold(&self, node: &Node) {
        let snapshot = node.store().read().expect("a snapshot");
        let reader = snapshot.reader();
        let mut entries = Vec::new();
        for (log, head) in node.heads().0 {
            let run = Run { log, from: 1, to: head.length };
            for (seq, bytes) in (1..).zip(reader.entries(&run, usize::MAX).expect("entries")) {
                let (header, ops) = decode(&bytes).expect("an entry");
                entries.push(Placed { log, seq, header, ops });
            }
        }
        // Where a log has two histories, what a position is follows from how they lie; others check that.
        let is_branch = |placed: &&Placed| placed.log.epoch != placed.header.log.epoch;
        let forked: BTreeSet<NodeKey> = entries.iter().filter(is_branch).map(|placed| placed.log.author).collect();
        let fleet_space = Space::Fleet.id(&node.store().fleet());
        let said = said(&entries, fleet_space);
        let founder = self.nodes[0].key;
        let founder_is_left_alone =
            said.get(&founder).is_none_or(|said| said.changes == 0) && !forked.contains(&founder);
        let (rows, count) = reader.quarantine(100_000).expect("rows");
        assert_eq!(rows.len() as u64, count);
        let refused: BTreeSet<(LogId, u64)> =
            rows.iter().filter(|row| row.reason["why"] == "right").map(|row| (row.log, row.seq)).collect();
        let authority = node.store().authority();
        let nothing = Said::default();
        for Placed { log, seq, header, ops } in entries.iter().filter(|placed| !forked.contains(&placed.log.author)) {
            if header.fleet != node.store().fleet() {
                continue;
            }
            let author = log.author;
            let said = said.get(&author).unwrap_or(&nothing);
            let needed = ops.iter().map(needed).max().unwrap_or(Role::Writer);
            let is_record = ops.iter().all(|op| !matches!(op, Op::Control(_)));
            let stands = said.stands.get(log).copied().unwrap_or(0);
            let accepted = said.accepted.get(log).copied().filter(|_| is_record).unwrap_or(0);
            let (is_behind, is_accepted) = (*seq > stands, *seq <= accepted);
            let role = authority.role(&author);
            let has_space = |spaces: &Spaces| log.space == fleet_space || spaces.contains(&log.space);
            // Control ops stand in the fleet's space only.
            let is_in_place = is_record || log.space == fleet_space;
            let must_not = match role {
                _ if !is_in_place => true,
                None if author != founder && said.grants == 0 => true,
                None => is_behind && !is_accepted,
                Some(role) if role < needed => is_behind && !is_accepted,
                Some(_) => is_behind && !authority.spaces(&author).is_some_and(|spaces| has_space(&spaces)),
            };
            let is_refused = refused.contains(&(*log, *seq));
            let about = || format!("entry {seq} of {log:?}, {ops:?}, of {role:?}: {}", self.tail());
            assert!(!must_not || is_refused, "applied without a right: {}", about());
            let granted = match &said.granted {
                _ if author == founder => Some((Role::Admin, None)),
                Some(granted) if said.grants == 1 => Some(granted.clone()),
                _ => None,
            };
            let is_left_alone = founder_is_left_alone && said.changes == 0;
            let may = granted.is_some_and(|(role, spaces)| {
                let all = role == Role::Admin || log.space == fleet_space;
                role >= needed && (all || spaces.is_none_or(|spaces| spaces.contains(&log.space)))
            });
            if is_left_alone && may && is_in_place {
                assert!(!is_refused, "held back although allowed: {}", about());
                assert!(role.is_some(), "{author} is a member: {}", self.tail());
            }
        }
    }
}

/// What the control ops say, by whom they are about. They stand in the fleet's space; anywhere else they are none.
fn said(entries: &[Placed], fleet_space: SpaceId) -> BTreeMap<NodeKey, Said> {
    let mut all: BTreeMap<NodeKey, Said> = BTreeMap::new();
    for placed in entries.iter().filter(|placed| placed.log.space == fleet_space) {
        let payload = |op: &Op| if let Op::Control(payload) = op { Some(ControlOp::decode(payload)) } else { None };
        for op in placed.ops.iter().filter_map(payload) {
            match op {
                ControlOp::Grant { node, role, spaces, .. } => {
                    let said = all.entry(node).or_default();
                    said.grants += 1;
                    said.granted.get_or_insert((role, spaces));
                }
                ControlOp::SetRole { node, cuts, .. } | ControlOp::Revoke { node, cuts } => {
                    all.entry(node).or_default().note(&cuts);
                }
                ControlOp::AcceptUpTo { cut, .. } => {
                    let last = all.entry(cut.log.author).or_default().accepted.entry(cut.log).or_default();
                    *last = (*last).max(cut.last);
                }
                ControlOp::Genesis { .. } | ControlOp::Unknown => {}
            }
        }
    }
    all
}

/// The least role for an op of those that there are here.
fn needed(op: &Op) -> Role {
    match op {
        Op::Change { .. } | Op::Unknown { .. } => Role::Writer,
        Op::Control(_) | Op::Tombstone(_) | Op::Revive(_) => Role::Admin,
    }
}
