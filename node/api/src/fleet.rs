//! The fleet: invitations, peers, roles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edge::Iso;
use crate::routes::{Granted, Right};

/// Makes an invitation for one more machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InviteCreate {
    /// `reader`, `writer` or `admin`; writer when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Granted>,
    /// Venture codes whose records the machine gets; all when empty.
    pub ventures: Vec<String>,
    /// How long it can be used, 1m to 7d; `1h` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The same in seconds, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<i64>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A new invitation. The code is shown once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct InviteCreated {
    /// To be typed on the other machine: `ctxnode join CODE`.
    pub code: String,
    /// The invitation.
    #[serde(flatten)]
    pub invite: InviteView,
}

/// Without the code, which must reach the answer and nothing else.
impl std::fmt::Debug for InviteCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InviteCreated").field("invite", &self.invite).finish_non_exhaustive()
    }
}

/// An invitation without its code.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InviteView {
    /// Its name.
    pub id: String,
    /// What it grants.
    pub role: Right,
    /// Where; everywhere when empty.
    pub ventures: Vec<String>,
    /// `open`, `used` or `expired`.
    pub state: String,
    /// When it was made.
    pub created_at: Iso,
    /// When it expires.
    pub expires_at: Iso,
    /// The node that used it.
    pub used_by: Option<String>,
}

/// The other nodes, and what happened between replicas.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PeersReply {
    /// The other nodes.
    pub items: Vec<PeerView>,
    /// How many.
    pub shown: usize,
    /// How many.
    pub total: u64,
    /// Never: all are shown.
    pub has_more: bool,
    /// Where this node listens; empty when it is alone.
    pub listening: Vec<String>,
    /// Why it cannot listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What a person should know and nobody has read yet: forks, old copies of replicas.
    pub alerts: Vec<AlertView>,
}

/// Something that happened between replicas.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlertView {
    /// When.
    pub at: Iso,
    /// What.
    pub text: String,
}

/// How a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// There is a connection.
    Connected,
    /// Other nodes are connected to it and pass on what it says.
    ViaOthers,
    /// Nobody is.
    Unreachable,
    /// It is no member any more.
    Revoked,
}

/// Why a node is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerReason {
    /// Nobody has said where it is.
    NoAddress,
    /// Nothing answers where it was: the machine, its daemon or its port is not there.
    NoAnswer,
    /// It does not know this node's key.
    UnknownKey,
    /// It says that this node was revoked.
    Revoked,
    /// No protocol version in common.
    Protocol,
    /// It is of another fleet.
    OtherFleet,
    /// It is in field mode, and comes back by itself.
    Away,
    /// This node is in field mode.
    Paused,
    /// Something else.
    Other,
}

/// Another node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// Its key.
    pub node: String,
    /// What it was called when it joined.
    pub name: String,
    /// What it may do; `none` once revoked.
    pub role: Right,
    /// How it stands.
    pub state: PeerState,
    /// `direct`, `lan`, `tailnet`, `relay`; null without a connection.
    pub path: Option<String>,
    /// The address or relay of the connection.
    pub address: Option<String>,
    /// The round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Entries that it has and this node lacks; null before it has said.
    pub we_lack: Option<u64>,
    /// Entries that it lacks.
    pub they_lack: Option<u64>,
    /// For how many seconds it has lacked something that was written here, or that it is known to lack.
    pub unacknowledged_seconds: Option<u64>,
    /// Entries that were written here and that it lacks, known without a connection too; null when it has never said what it has.
    #[serde(default)]
    pub unsent: Option<u64>,
    /// When it was last heard.
    pub last_seen: Option<Iso>,
    /// Since then.
    pub last_seen_age: Option<String>,
    /// Its build.
    pub build: Option<String>,
    /// Its clock minus this node's, in seconds, when it is more than two minutes.
    pub clock_skew_seconds: Option<i64>,
    /// Sessions that are alive there; null when that is not known.
    pub active_sessions: Option<u64>,
    /// Why it is not connected, as a word for programs.
    #[serde(default)]
    pub reason: Option<PeerReason>,
    /// Why it is not connected.
    pub problem: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
    /// Where it is looked for.
    pub addresses: Vec<String>,
}

/// Looks for the other nodes now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WakeRequest {
    /// The node whose addresses are said, by its name or the beginning of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where it can be reached, best first, like `192.168.7.2:4748`; those that were known before come after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The relay over which it can be reached, when `sync.relay` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Revokes a node, or accepts what is held back of one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PeerAction {
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Makes this node an admin by an entry that the recovery key signed. The key itself stays where it was typed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecoverRequest {
    /// The signed entry in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// How a recovery ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecoverReply {
    /// This node's key.
    pub node: String,
    /// Its role now.
    pub role: Right,
    /// The members of the fleet, this node among them; nobody was revoked.
    pub members: usize,
}

/// Changes a node's role from now on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoleSet {
    /// `reader`, `writer` or `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Granted>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}
