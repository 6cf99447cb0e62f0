//! What is told of one peer, from what is known of it.

use ctxnode_model::NodeKey;

use crate::moment::Moment;
use crate::peers::{Peer, PeerState, PeerStatus, Reach};

pub(super) fn status_of(
    peer: &Peer,
    node: NodeKey,
    name: String,
    role: Option<ctxnode_store::Role>,
    now: Moment,
) -> PeerStatus {
    let state = match role {
        None => PeerState::Revoked,
        Some(_) if peer.is_connected(now) => PeerState::Connected,
        Some(_) if peer.is_fresh(now) => PeerState::Forwarded,
        Some(_) => PeerState::Unreachable,
    };
    let link = peer.link.as_ref().filter(|_| state == PeerState::Connected);
    let figures = link.map(|link| link.figures());
    let sessions = match peer.reach(now) {
        Reach::Reachable(beats) => Some(beats),
        Reach::Unreachable(_) => None,
    };
    PeerStatus {
        node,
        name,
        role,
        state,
        path: link.and_then(|link| link.path()),
        traffic: peer.link.as_ref().map(|link| link.traffic()).unwrap_or_default(),
        lacks: figures.as_ref().and_then(|figures| figures.lacks),
        behind_for: figures.as_ref().and_then(|figures| figures.behind_since).map(|since| since.elapsed()),
        last_seen: peer.row.last_seen,
        skew_ms: figures.as_ref().and_then(|figures| figures.skew_ms),
        software: figures.and_then(|figures| figures.software).unwrap_or_else(|| peer.row.software.clone()),
        sessions,
        unsent: None,
        unsent_since: peer.row.unsent_since,
        trouble: peer.trouble.clone(),
        addresses: peer.row.addresses.clone(),
    }
}
