//! Who is connected to and answered while this node keeps in touch in rounds only, and what that costs.

use std::sync::PoisonError;

use ctxnode_model::NodeKey;
use tokio::time::Instant;

use super::Shared;
use crate::endpoint;
use crate::guests::{Answer, Origin};

impl Shared {
    /// Whether a connection to this peer may be made now. In field mode, once in a round.
    pub(super) fn may_connect(&self, node: NodeKey) -> bool {
        let is_done = || self.peers.one(node, |peer| peer.round_done >= self.pacing.round());
        self.pacing.may_connect() && (self.pacing.is_live() || !is_done())
    }

    /// Whether a peer that dialled is answered between own rounds, as a guest. Only those are who are in a round of their
    /// own: two machines that each wait for the other's round would never meet.
    pub(super) fn may_visit(&self, node: NodeKey, in_round: bool) -> bool {
        in_round && self.pacing.has_bytes_for_others() && {
            let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
            guests.may_visit(Instant::now(), node, self.pacing.every())
        }
    }

    /// Notes that a visitor was gone before it said hello.
    pub(super) fn did_not_come(&self, node: NodeKey, from: Option<Origin>) {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).did_not_come(node);
        self.refused(Some(node), from);
    }

    /// Decides about somebody who knocks between own rounds. What comes over a relay is one of those at a time only.
    pub(super) fn knock(&self, from: Option<Origin>, is_proved: bool) -> Answer {
        let Some(from) = from.filter(|_| !self.pacing.may_connect()) else { return Answer::Enter };
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).knock(Instant::now(), from, is_proved)
    }

    /// Notes that a handshake that went through between own rounds led to nothing, a member's or a stranger's.
    pub(super) fn refused(&self, member: Option<NodeKey>, from: Option<Origin>) {
        if let Some(from) = from.filter(|_| !self.pacing.may_connect()) {
            self.guests.lock().unwrap_or_else(PoisonError::into_inner).refused(Instant::now(), member, from);
        }
    }

    /// Looks at how many bytes went over the endpoint.
    pub(crate) fn count(&self) {
        if let Some(endpoint) = &*self.bound.borrow() {
            self.pacing.count(endpoint::counted(endpoint));
        }
    }
}
