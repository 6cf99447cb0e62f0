//! One member: what it may do, at which positions of its logs.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::LogId;
use ctxnode_model::{Order, SpaceId};

use super::{Cut, Role};

/// Up to where logs are meant.
pub(super) type Cuts = BTreeMap<LogId, u64>;

/// What a member may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) role: Role,
    /// The spaces that it may read and write beside the fleet's; all when absent.
    pub(super) spaces: Option<BTreeSet<SpaceId>>,
}

/// What a member could do before: it holds up to a cut of each log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) standing: Standing,
    pub(super) cuts: Cuts,
    /// The op that ended it.
    pub(super) by: Order,
}

/// One member, with what was said about its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// For people.
    pub(super) name: String,
    pub(super) standing: Standing,
    /// Oldest first.
    pub(super) earlier: Vec<Earlier>,
    /// `Some` once revoked: up to where each log stands, and the op that says so.
    pub(super) revoked: Option<(Cuts, Order)>,
    /// Up to where an admin has accepted each log since.
    pub(super) accepted: Cuts,
}

pub(super) fn lies_beyond(cuts: &Cuts, log: &LogId, seq: u64) -> bool {
    seq > cuts.get(log).copied().unwrap_or(0)
}

impl Member {
    pub(super) fn new(name: &str, standing: Standing) -> Self {
        Self { name: name.to_owned(), standing, earlier: Vec::new(), revoked: None, accepted: Cuts::new() }
    }

    /// What was accepted before a demotion or a revocation stands as far as that lets the log stand.
    pub(super) fn accept_at_most(&mut self, cuts: &Cuts) {
        for (log, last) in &mut self.accepted {
            *last = (*last).min(cuts.get(log).copied().unwrap_or(0));
        }
    }

    /// Which of the earlier standings holds at a position; the present one when none does.
    fn holds_at(&self, log: &LogId, seq: u64) -> Option<usize> {
        self.earlier.iter().position(|earlier| !lies_beyond(&earlier.cuts, log, seq))
    }

    pub(super) fn standing_at(&self, log: &LogId, seq: u64) -> &Standing {
        self.holds_at(log, seq).map_or(&self.standing, |at| &self.earlier[at].standing)
    }

    /// The op that revoked the member before a position, or ended its being an admin.
    pub(super) fn cut_by(&self, log: &LogId, seq: u64) -> Option<Order> {
        if let Some((cuts, by)) = &self.revoked
            && lies_beyond(cuts, log, seq)
        {
            return Some(*by);
        }
        if self.standing_at(log, seq).role == Role::Admin {
            return None;
        }
        let before = &self.earlier[..self.holds_at(log, seq).unwrap_or(self.earlier.len())];
        let was_admin = |earlier: &&Earlier| earlier.standing.role == Role::Admin;
        let ended = before.iter().rev().find(was_admin).or_else(|| self.earlier.iter().find(was_admin));
        ended.map(|earlier| earlier.by)
    }
}

pub(super) fn by_log(cuts: &[Cut]) -> Cuts {
    cuts.iter().map(|cut| (cut.log, cut.last)).collect()
}
