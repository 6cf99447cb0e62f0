//! Authority: who may write what, as a pure function of the *set* of control ops.
//!
//! Control ops are evaluated in the causal order from genesis on. When and in which order they arrived plays no part, so
//! that every replica that holds the same set judges every entry alike. A right is a statement about positions in logs,
//! never about clocks: a revocation names, per log, the last position that stands.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::LogId;
use ctxnode_model::{Kind, NodeKey, Order, SpaceId, Spaces};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{Header, Op};

mod control;
mod count;
mod member;

pub use control::{ControlOp, Cut};
pub(crate) use control::{holds_control, is_where_it_belongs};
use member::{Earlier, Member, Standing, by_log, lies_beyond};

/// What a member may do. Each role may do all that a lesser one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Reader,
    /// Writes sessions, handoffs, notes, claims, the plan, escalations, events, generated docs and machines.
    Writer,
    /// Also uploaded docs, requirements, ventures, deletions and membership.
    Admin,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        })
    }
}

/// Why an entry is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No control op makes the author a member.
    #[error("the author is not a member")]
    UnknownAuthor,
    /// The author may not write in that space.
    #[error("the author has no right to the space")]
    Space,
    /// The author's role is too small for one of the ops.
    #[error("the author's role does not allow it")]
    Role,
    /// The position lies beyond the author's revocation.
    #[error("the author was revoked before it")]
    Revoked,
}

/// The evaluated set of control ops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    members: BTreeMap<NodeKey, Member>,
    /// About whom the recovery key has spoken.
    pinned: BTreeSet<NodeKey>,
    /// Whoever may ever have been an admin: what others say of rights changes nothing.
    rulers: BTreeSet<NodeKey>,
    recovery: Option<NodeKey>,
    fleet_space: Option<SpaceId>,
}

impl Authority {
    /// Evaluates a set of control ops. `fleet_space` is the space in which they live. Which of them count, `count` says.
    #[must_use]
    pub fn evaluate(ops: &BTreeMap<Order, ControlOp>, fleet_space: SpaceId) -> Self {
        let mut authority = Self { fleet_space: Some(fleet_space), ..Self::default() };
        let Some((founder, recovery)) = founding(ops) else { return authority };
        authority.recovery = Some(recovery);
        authority.rulers = rulers(ops, founder, recovery);
        authority.pinned =
            ops.iter().filter(|(order, _)| order.author == recovery).filter_map(|(_, op)| op.subject()).collect();
        let all = Standing { role: Role::Admin, spaces: None };
        authority.members.insert(founder, Member::new("", all));
        for order in count::counting(ops, fleet_space, (founder, recovery)) {
            authority.take(&ops[&order]);
        }
        authority
    }

    /// Whether what a node says of rights may change any. Before the fleet is founded, what founds it does.
    pub(crate) fn may_rule(&self, node: &NodeKey) -> bool {
        self.recovery.is_none() || self.rulers.contains(node)
    }

    /// Returns the nodes about which two evaluations say different things.
    #[must_use]
    pub fn difference(&self, other: &Self) -> BTreeSet<NodeKey> {
        let nodes = self.members.keys().chain(other.members.keys());
        nodes.filter(|node| self.members.get(node) != other.members.get(node)).copied().collect()
    }

    /// Whether the entry's author had the right to every op in it, at its position `seq` of `log`. That is where the entry
    /// lies, which in a branch is not what its header says.
    ///
    /// # Errors
    /// The reason why not.
    pub fn judge(&self, header: &Header, ops: &[Op], log: &LogId, seq: u64) -> Result<(), Refusal> {
        let is_record = ops.iter().all(|op| !matches!(op, Op::Control(_)));
        if !is_record && !self.fleet_space.is_some_and(|space| holds_control(header, space)) {
            return Err(Refusal::Space);
        }
        if Some(header.log.author) == self.recovery {
            let only_control = ops.iter().all(|op| matches!(op, Op::Control(_)));
            return if only_control { Ok(()) } else { Err(Refusal::Role) };
        }
        let member = self.members.get(&header.log.author).ok_or(Refusal::UnknownAuthor)?;
        let accepted = is_record && seq <= *member.accepted.get(log).unwrap_or(&0);
        if let Some(cuts) = &member.revoked
            && !accepted
            && lies_beyond(cuts, log, seq)
        {
            return Err(Refusal::Revoked);
        }
        let Standing { role, spaces } = member.standing_at(log, seq);
        let role = *role;
        let in_fleet_space = Some(header.log.space) == self.fleet_space;
        if let Some(spaces) = spaces
            && role < Role::Admin
            && !in_fleet_space
            && !spaces.contains(&header.log.space)
        {
            return Err(Refusal::Space);
        }
        let needed = ops.iter().map(required).max().unwrap_or(Role::Writer);
        if role < needed && !accepted { Err(Refusal::Role) } else { Ok(()) }
    }

    /// Returns the public half of the key that beats all.
    #[must_use]
    pub fn recovery(&self) -> Option<NodeKey> {
        self.recovery
    }

    /// Returns the present role of an active member.
    #[must_use]
    pub fn role(&self, node: &NodeKey) -> Option<Role> {
        self.members.get(node).filter(|member| member.revoked.is_none()).map(|member| member.standing.role)
    }

    /// Whether the recovery key has spoken about a node: nobody else changes its role then.
    #[must_use]
    pub fn is_pinned(&self, node: &NodeKey) -> bool {
        self.pinned.contains(node)
    }

    /// Whether a cut ends at a position of a log or behind it: the entry that it names may be the one there, or another one.
    pub(crate) fn may_end_at(&self, log: &LogId, seq: u64) -> bool {
        let ends = |cuts: &member::Cuts| cuts.get(log).is_some_and(|last| *last >= seq);
        self.members.get(&log.author).is_some_and(|member| {
            ends(&member.accepted)
                || member.revoked.as_ref().is_some_and(ends)
                || member.earlier.iter().any(|earlier| ends(&earlier.cuts))
        })
    }

    /// Whether a revocation, a change of role or an acceptance says something of positions in a node's logs.
    pub(crate) fn has_cuts(&self, node: &NodeKey) -> bool {
        let is_cut =
            |member: &Member| member.revoked.is_some() || !member.earlier.is_empty() || !member.accepted.is_empty();
        self.members.get(node).is_some_and(is_cut)
    }

    /// Returns the active members with their roles.
    pub fn members(&self) -> impl Iterator<Item = (NodeKey, Role)> + '_ {
        self.members
            .iter()
            .filter(|(_, member)| member.revoked.is_none())
            .map(|(node, member)| (*node, member.standing.role))
    }

    /// Returns the spaces that an active member may read and write; the fleet's own is always among them. An admin has all:
    /// it lets machines in to any, and says of logs in all of them what stands.
    #[must_use]
    pub fn spaces(&self, node: &NodeKey) -> Option<Spaces> {
        let member = self.members.get(node).filter(|member| member.revoked.is_none())?;
        Some(match &member.standing.spaces {
            _ if member.standing.role == Role::Admin => Spaces::All,
            None => Spaces::All,
            Some(spaces) => Spaces::Only(spaces.iter().copied().chain(self.fleet_space).collect()),
        })
    }

    /// Returns what a member was called when it was granted; empty for the founder.
    #[must_use]
    pub fn name(&self, node: &NodeKey) -> Option<&str> {
        self.members.get(node).map(|member| member.name.as_str())
    }

    /// Returns the revoked members.
    pub fn revoked(&self) -> impl Iterator<Item = NodeKey> + '_ {
        self.members.iter().filter(|(_, member)| member.revoked.is_some()).map(|(node, _)| *node)
    }

    fn take(&mut self, op: &ControlOp) {
        match op {
            ControlOp::Grant { node, role, spaces, name } => {
                let standing = Standing { role: *role, spaces: spaces.clone() };
                match self.members.get_mut(node) {
                    Some(member) => {
                        let old = std::mem::replace(&mut member.standing, standing);
                        // What it wrote until then was written with those rights.
                        let ended = member.revoked.take();
                        member.earlier.extend(ended.map(|cuts| Earlier { standing: old, cuts }));
                        member.name.clone_from(name);
                    }
                    None => drop(self.members.insert(*node, Member::new(name, standing))),
                }
            }
            ControlOp::SetRole { node, role, cuts } => {
                if let Some(member) = self.members.get_mut(node) {
                    let cuts = by_log(cuts);
                    let standing = Standing { role: *role, spaces: member.standing.spaces.clone() };
                    let old = std::mem::replace(&mut member.standing, standing);
                    member.accept_at_most(&cuts);
                    member.earlier.push(Earlier { standing: old, cuts });
                }
            }
            ControlOp::Revoke { node, cuts } => {
                if let Some(member) = self.members.get_mut(node) {
                    let cuts = by_log(cuts);
                    member.accept_at_most(&cuts);
                    member.revoke(cuts);
                }
            }
            ControlOp::AcceptUpTo { cut, before } => {
                if let Some(member) = self.members.get_mut(&cut.log.author) {
                    for cut in before.iter().chain([cut]).filter(|part| part.log.author == cut.log.author) {
                        let last = member.accepted.entry(cut.log).or_default();
                        *last = (*last).max(cut.last);
                    }
                }
            }
            ControlOp::Genesis { .. } | ControlOp::Unknown => {}
        }
    }
}

/// The founder and the recovery key.
fn founding(ops: &BTreeMap<Order, ControlOp>) -> Option<(NodeKey, NodeKey)> {
    ops.iter().find_map(|(order, op)| match op {
        ControlOp::Genesis { founder, recovery, .. } if order.author == *founder => Some((*founder, *recovery)),
        _ => None,
    })
}

/// Whoever may have been an admin at any time: the founder, the recovery key, and whom one of these says to be one, whether that
/// counts or not.
fn rulers(ops: &BTreeMap<Order, ControlOp>, founder: NodeKey, recovery: NodeKey) -> BTreeSet<NodeKey> {
    let mut raised: BTreeMap<NodeKey, Vec<NodeKey>> = BTreeMap::new();
    for (order, op) in ops {
        if let ControlOp::Grant { node, role: Role::Admin, .. } | ControlOp::SetRole { node, role: Role::Admin, .. } =
            op
        {
            raised.entry(order.author).or_default().push(*node);
        }
    }
    let mut rulers = BTreeSet::new();
    let mut next = vec![founder, recovery];
    while let Some(node) = next.pop() {
        if rulers.insert(node) {
            next.extend(raised.remove(&node).unwrap_or_default());
        }
    }
    rulers
}

/// The role that an op needs. The rule goes by kind and op alone, so that every replica can check it at ingest.
pub(crate) fn required(op: &Op) -> Role {
    match op {
        Op::Change { document, .. } => required_for(document.kind),
        Op::Control(_) | Op::Tombstone(_) | Op::Revive(_) => Role::Admin,
        Op::Unknown { .. } => Role::Writer,
    }
}

/// The role that writing a kind needs.
pub(crate) fn required_for(kind: Kind) -> Role {
    match kind {
        Kind::Doc | Kind::Requirement | Kind::Venture => Role::Admin,
        Kind::Session
        | Kind::Handoff
        | Kind::Note
        | Kind::GeneratedDoc
        | Kind::Claim
        | Kind::Machine
        | Kind::Plan
        | Kind::Escalation
        | Kind::Event => Role::Writer,
    }
}

#[cfg(test)]
mod tests;
