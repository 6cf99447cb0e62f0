//! The fleet: who may connect, what connected nodes say, how a machine joins.
//!
//! [`Fleet`] runs in the daemon. It binds one UDP endpoint (iroh), admits members by their keys before any byte of theirs
//! is read, drives one [`ctxnode_sync_proto::Exchange`] per connected peer, and keeps dialling those that are not.
//! What is exchanged is decided in `ctxnode-sync-proto`, what is accepted in `ctxnode-store`; here are sockets, tasks
//! and timers. Never here: records and their meaning, HTTP, printing.

mod alerts;
mod code;
mod endpoint;
mod fleet;
mod guests;
mod invite;
mod join;
mod link;
mod moment;
mod near;
mod pace;
mod peers;
mod presence;
mod relays;
mod standing;
#[cfg(test)]
mod tests;
mod transfer;
mod wire;

pub use alerts::{Alert, remember_alert};
pub use code::{Code, CodeError};
pub use endpoint::{BindError, NetConfig, Patience};
pub use fleet::{Fleet, Host, StartError};
pub use invite::{Invite, InviteState, Offer, create_invite, invites, withdraw_invite};
pub use join::{JoinError, Joined, Present, join, join_again};
pub use link::{Path, Traffic};
pub use pace::{Pace, Rounds, Spent};
pub use peers::{PeerState, PeerStatus, Reach, Reason, Trouble, remember_inviter};
pub use presence::{Beat, Statement};
pub use relays::Relays;

/// Where `ctxnode/exchange/1` is spoken.
pub(crate) const ALPN_EXCHANGE: &[u8] = b"ctxnode/exchange/1";
/// The same, dialled in a round: the dialling side is in field mode and leaves once both sides have the same.
pub(crate) const ALPN_ROUND: &[u8] = b"ctxnode/exchange/1/round";
/// Where a machine that is no member yet asks to become one.
pub(crate) const ALPN_JOIN: &[u8] = b"ctxnode/join/1";
