//! What is told of one peer, from what is known of it.

use ctxnode_model::NodeKey;
use tokio::time::Instant;

use crate::peers::{Peer, PeerState, PeerStatus, Reach};

pub(super) fn status_of(
    peer: &Peer,
    node: NodeKey,
    name: String,
    role: Option<ctxnode_store::Role>,
    now: Instant,
) -> PeerStatus {
    let figures = peer.link.as_ref().map(|link| link.figures()).unwrap_or_default();
    let state = match (&role, &peer.link) {
        (None, _) => PeerState::Revoked,
        (Some(_), Some(_)) => PeerState::Connected,
        (Some(_), None) if peer.is_fresh(now) => PeerState::Forwarded,
        (Some(_), None) => PeerState::Unreachable,
    };
    let sessions = match peer.reach(now) {
        Reach::Reachable(beats) => beats,
        Reach::Unreachable(_) => Vec::new(),
    };
    PeerStatus {
        node,
        name,
        role,
        state,
        path: peer.link.as_ref().and_then(|link| link.path()),
        traffic: peer.link.as_ref().map(|link| link.traffic()).unwrap_or_default(),
        lacks: figures.lacks,
        behind_for: figures.behind_since.map(|since| now.duration_since(since)),
        last_seen: peer.row.last_seen,
        software: figures.software.unwrap_or_else(|| peer.row.software.clone()),
        skew_ms: figures.skew_ms,
        sessions,
        unsent: 0,
        unsent_since: peer.row.unsent_since,
        trouble: peer.trouble.clone(),
        addresses: peer.row.addresses.clone(),
    }
}
