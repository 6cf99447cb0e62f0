//! One member: what it may do, at which positions of its logs.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::SpaceId;
use ctxnode_model::frontier::LogId;

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
}

/// One member, with what was said about its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// For people.
    pub(super) name: String,
    pub(super) standing: Standing,
    /// Oldest first.
    pub(super) earlier: Vec<Earlier>,
    /// `Some` once revoked: up to where each log stands.
    pub(super) revoked: Option<Cuts>,
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

    /// Whoever is revoked again has no more than before.
    pub(super) fn revoke(&mut self, mut cuts: Cuts) {
        if let Some(before) = &self.revoked {
            cuts.retain(|log, _| before.contains_key(log));
            cuts.iter_mut().for_each(|(log, last)| *last = (*last).min(before[log]));
        }
        self.revoked = Some(cuts);
    }

    /// Which of the earlier standings holds at a position; the present one when none does.
    fn holds_at(&self, log: &LogId, seq: u64) -> Option<usize> {
        self.earlier.iter().position(|earlier| !lies_beyond(&earlier.cuts, log, seq))
    }

    pub(super) fn standing_at(&self, log: &LogId, seq: u64) -> &Standing {
        self.holds_at(log, seq).map_or(&self.standing, |at| &self.earlier[at].standing)
    }
}

pub(super) fn by_log(cuts: &[Cut]) -> Cuts {
    cuts.iter().map(|cut| (cut.log, cut.last)).collect()
}
