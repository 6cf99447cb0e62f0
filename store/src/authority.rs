//! Authority: who may write what, as a pure function of the *set* of control ops.
//!
//! Control ops are evaluated in the causal order from genesis on. When and in which order they arrived plays no part, so
//! that every replica that holds the same set judges every entry alike. A right is a statement about positions in logs,
//! never about clocks: a revocation names, per log, the last position that stands.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::FleetId;
use ctxnode_model::{EntryHash, Ids, Kind, NodeKey, Order, SpaceId, Spaces};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{Header, Op};

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

/// A position up to which a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The log.
    pub log: LogId,
    /// The last position that stands under the old rule.
    pub last: u64,
    /// The entry at that position, so that the cut still means the same history when the log turns out to have two.
    /// Absent in what earlier versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<EntryHash>,
}

/// A control action. Stored and signed as JSON text, which is never re-encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum ControlOp {
    /// The first op of a fleet. Builds that know nothing of tags in ids must not take part in a fleet that has them, and to
    /// them it is an unknown op: under its former name it has no `ids`.
    #[serde(rename = "genesis-2", alias = "genesis")]
    Genesis {
        /// For people.
        name: String,
        /// The first admin.
        founder: NodeKey,
        /// The key that beats all.
        recovery: NodeKey,
        /// How the ids of the fleet's records are made; see [`Ids`].
        #[serde(default = "untagged")]
        ids: u32,
    },
    /// Makes a node a member.
    Grant {
        /// The node.
        node: NodeKey,
        /// Its role.
        role: Role,
        /// The spaces that it may read and write beside the fleet's; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spaces: Option<BTreeSet<SpaceId>>,
        /// For people.
        name: String,
    },
    /// Changes a member's role.
    SetRole {
        /// The node.
        node: NodeKey,
        /// Its new role.
        role: Role,
        /// Up to where the old role holds; in a log that is not named, nowhere.
        cuts: Vec<Cut>,
    },
    /// Ends a membership.
    Revoke {
        /// The node.
        node: NodeKey,
        /// Up to where its logs stand; a log that is not named does not stand at all.
        cuts: Vec<Cut>,
    },
    /// Lets a log stand up to a position although its author was revoked or demoted before it, or never had the role:
    /// an admin has looked at it. A later revocation or demotion of the author counts again. Neither a space that the
    /// author has no right to nor control ops are accepted this way.
    AcceptUpTo {
        /// The log and its new last position.
        cut: Cut,
        /// The strands that lead to it, once it is known how the log is laid out. Never stored.
        #[serde(skip)]
        before: Vec<Cut>,
    },
    /// Written by a newer version: kept, forwarded, without effect here.
    #[serde(other)]
    Unknown,
}

fn untagged() -> u32 {
    Ids::UNTAGGED
}

impl ControlOp {
    /// Returns the payload that goes into an entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a payload; anything that is not a known op is [`Self::Unknown`].
    #[must_use]
    pub fn decode(payload: &[u8]) -> Self {
        serde_json::from_slice(payload).unwrap_or(Self::Unknown)
    }

    /// Says what it would do.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Genesis { name, .. } => format!("founds `{name}`"),
            Self::Grant { node, role, .. } => format!("makes {node} a member as {role}"),
            Self::SetRole { node, role, .. } => format!("makes {node} a {role}"),
            Self::Revoke { node, .. } => format!("revokes {node}"),
            Self::AcceptUpTo { cut, .. } => format!("accepts what {} wrote up to {}", cut.log.author, cut.last),
            Self::Unknown => "something that a newer version wrote".to_owned(),
        }
    }

    fn subject(&self) -> Option<NodeKey> {
        match self {
            Self::Grant { node, .. } | Self::SetRole { node, .. } | Self::Revoke { node, .. } => Some(*node),
            Self::AcceptUpTo { cut, .. } => Some(cut.log.author),
            Self::Genesis { .. } | Self::Unknown => None,
        }
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

/// One member, with what was said about its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// For people.
    name: String,
    role: Role,
    spaces: Option<BTreeSet<SpaceId>>,
    /// Earlier roles, oldest first: up to the cut of a log, that role held.
    earlier: Vec<(Role, BTreeMap<LogId, u64>)>,
    /// `Some` once revoked: up to where each log stands.
    revoked: Option<BTreeMap<LogId, u64>>,
    /// Up to where an admin has accepted each log since.
    accepted: BTreeMap<LogId, u64>,
}

impl Member {
    /// What was accepted before a demotion or a revocation stands as far as that lets the log stand.
    fn accept_at_most(&mut self, cuts: &BTreeMap<LogId, u64>) {
        for (log, last) in &mut self.accepted {
            *last = (*last).min(cuts.get(log).copied().unwrap_or(0));
        }
    }

    fn role_at(&self, log: &LogId, seq: u64) -> Role {
        let at = |(role, cuts): &(Role, BTreeMap<LogId, u64>)| (seq <= *cuts.get(log).unwrap_or(&0)).then_some(*role);
        self.earlier.iter().find_map(at).unwrap_or(self.role)
    }
}

/// The evaluated set of control ops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    members: BTreeMap<NodeKey, Member>,
    /// About whom the recovery key has spoken.
    pinned: BTreeSet<NodeKey>,
    recovery: Option<NodeKey>,
    genesis: Option<Order>,
    fleet_space: Option<SpaceId>,
}

impl Authority {
    /// Evaluates a set of control ops. `fleet_space` is the space in which they live.
    ///
    /// An op of a member that lies beyond the point where the member was revoked, or an admin no longer, does not count,
    /// whatever time it claims. Taking it out may change who was revoked, so the evaluation starts over without it; what was
    /// taken out stays out, which bounds the rounds.
    #[must_use]
    pub fn evaluate(ops: &BTreeMap<Order, ControlOp>, fleet_space: SpaceId) -> Self {
        let mut out: BTreeSet<Order> = BTreeSet::new();
        loop {
            let authority = Self::evaluate_without(ops, &out, fleet_space);
            let beyond = ops.keys().filter(|order| !out.contains(order) && authority.lies_beyond(order));
            let beyond: Vec<Order> = beyond.copied().collect();
            if beyond.is_empty() {
                return authority;
            }
            out.extend(beyond);
        }
    }

    fn evaluate_without(ops: &BTreeMap<Order, ControlOp>, out: &BTreeSet<Order>, fleet_space: SpaceId) -> Self {
        let mut authority = Self { fleet_space: Some(fleet_space), ..Self::default() };
        let genesis = ops.iter().find_map(|(order, op)| match op {
            ControlOp::Genesis { founder, recovery, .. } if order.author == *founder => {
                Some((*order, *founder, *recovery))
            }
            _ => None,
        });
        let Some((place, founder, recovery)) = genesis else { return authority };
        authority.genesis = Some(place);
        authority.recovery = Some(recovery);
        authority.members.insert(founder, Member::new(Role::Admin, None));

        // What the recovery key says about a node stands against everything that others say about it.
        let pinned: BTreeSet<NodeKey> =
            ops.iter().filter(|(order, _)| order.author == recovery).filter_map(|(_, op)| op.subject()).collect();
        authority.pinned.clone_from(&pinned);
        for (order, op) in ops.iter().filter(|(order, _)| !out.contains(order)) {
            let by_recovery = order.author == recovery;
            let about_pinned = op.subject().is_some_and(|node| pinned.contains(&node));
            if by_recovery || (!about_pinned && authority.is_admin(&order.author)) {
                authority.take(op);
            }
        }
        authority
    }

    fn lies_beyond(&self, order: &Order) -> bool {
        let (Some(space), Some(member)) = (self.fleet_space, self.members.get(&order.author)) else { return false };
        let log = LogId { space, author: order.author, epoch: order.epoch };
        let revoked = member.revoked.as_ref().is_some_and(|cuts| order.seq > *cuts.get(&log).unwrap_or(&0));
        let was_admin = member.earlier.iter().any(|(role, _)| *role == Role::Admin);
        let demoted = was_admin && member.role_at(&log, order.seq) < Role::Admin;
        // The genesis log is a log of its own; its one entry is never cut.
        (revoked || demoted) && !self.is_genesis(order)
    }

    fn is_genesis(&self, order: &Order) -> bool {
        self.genesis == Some(*order)
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
            && seq > *cuts.get(log).unwrap_or(&0)
        {
            return Err(Refusal::Revoked);
        }
        let role = member.role_at(log, seq);
        let in_fleet_space = Some(header.log.space) == self.fleet_space;
        if let Some(spaces) = &member.spaces
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
        self.members.get(node).filter(|member| member.revoked.is_none()).map(|member| member.role)
    }

    /// Whether the recovery key has spoken about a node: nobody else changes its role then.
    #[must_use]
    pub fn is_pinned(&self, node: &NodeKey) -> bool {
        self.pinned.contains(node)
    }

    /// Whether a revocation, a change of role or an acceptance says something of positions in a node's logs.
    pub(crate) fn has_cuts(&self, node: &NodeKey) -> bool {
        let is_cut =
            |member: &Member| member.revoked.is_some() || !member.earlier.is_empty() || !member.accepted.is_empty();
        self.members.get(node).is_some_and(is_cut)
    }

    /// Returns the active members with their roles.
    pub fn members(&self) -> impl Iterator<Item = (NodeKey, Role)> + '_ {
        self.members.iter().filter(|(_, member)| member.revoked.is_none()).map(|(node, member)| (*node, member.role))
    }

    /// Returns the spaces that an active member may read and write; the fleet's own is always among them. An admin has all:
    /// it lets machines in to any, and says of logs in all of them what stands.
    #[must_use]
    pub fn spaces(&self, node: &NodeKey) -> Option<Spaces> {
        let member = self.members.get(node).filter(|member| member.revoked.is_none())?;
        Some(match &member.spaces {
            _ if member.role == Role::Admin => Spaces::All,
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

    fn is_admin(&self, node: &NodeKey) -> bool {
        self.role(node) == Some(Role::Admin)
    }

    fn take(&mut self, op: &ControlOp) {
        match op {
            ControlOp::Grant { node, role, spaces, name } => match self.members.get_mut(node) {
                Some(member) => {
                    let old = std::mem::replace(&mut member.role, *role);
                    // What it wrote until then was written in that role.
                    member.earlier.extend(member.revoked.take().map(|cuts| (old, cuts)));
                    member.spaces.clone_from(spaces);
                    member.name.clone_from(name);
                }
                None => {
                    let member = Member { name: name.clone(), ..Member::new(*role, spaces.clone()) };
                    self.members.insert(*node, member);
                }
            },
            ControlOp::SetRole { node, role, cuts } => {
                if let Some(member) = self.members.get_mut(node) {
                    let old = std::mem::replace(&mut member.role, *role);
                    member.earlier.push((old, by_log(cuts)));
                    member.accept_at_most(&by_log(cuts));
                }
            }
            ControlOp::Revoke { node, cuts } => {
                if let Some(member) = self.members.get_mut(node) {
                    member.accept_at_most(&by_log(cuts));
                    member.revoked = Some(by_log(cuts));
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

impl Member {
    fn new(role: Role, spaces: Option<BTreeSet<SpaceId>>) -> Self {
        Self { name: String::new(), role, spaces, earlier: Vec::new(), revoked: None, accepted: BTreeMap::new() }
    }
}

/// Whether control ops may stand in an entry: in the fleet's space, by whose logs members are cut, or in the genesis entry,
/// which names no fleet.
pub(crate) fn holds_control(header: &Header, fleet_space: SpaceId) -> bool {
    header.log.space == fleet_space || header.fleet == FleetId([0; 16])
}

/// Whether a control op stands in an entry of its kind: only the genesis entry founds a fleet.
pub(crate) fn is_where_it_belongs(header: &Header, payload: &[u8]) -> bool {
    header.fleet == FleetId([0; 16]) || !matches!(ControlOp::decode(payload), ControlOp::Genesis { .. })
}

fn by_log(cuts: &[Cut]) -> BTreeMap<LogId, u64> {
    cuts.iter().map(|cut| (cut.log, cut.last)).collect()
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
