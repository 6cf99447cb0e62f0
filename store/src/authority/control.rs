//! Control ops: what admins say of members, and where it may stand.

use std::collections::BTreeSet;

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::FleetId;
use ctxnode_model::{EntryHash, Ids, NodeKey, SpaceId};
use serde::{Deserialize, Serialize};

use super::Role;
use crate::entry::Header;

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

    /// Whom it is about.
    pub(super) fn subject(&self) -> Option<NodeKey> {
        match self {
            Self::Grant { node, .. } | Self::SetRole { node, .. } | Self::Revoke { node, .. } => Some(*node),
            Self::AcceptUpTo { cut, .. } => Some(cut.log.author),
            Self::Genesis { .. } | Self::Unknown => None,
        }
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
