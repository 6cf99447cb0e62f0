//! What each side is known to have, and to lack.

use ctxnode_model::NodeKey;
use ctxnode_model::frontier::{Frontier, LogId, Run};

use super::Exchange;

/// How many entries each side lacks, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Entries that the peer lacks.
    pub peer: u64,
    /// Entries that we lack.
    pub own: u64,
}

impl Exchange {
    /// Returns what each side lacks; `None` before the peer has said what it has.
    #[must_use]
    pub fn lacks(&self) -> Option<Lacks> {
        // A peer may state any length.
        let length = |run: &Run| (run.to - run.from).saturating_add(1);
        let count = |runs: Vec<Run>| runs.iter().map(length).fold(0, u64::saturating_add);
        let own = self.held();
        self.stated.then(|| Lacks { peer: count(own.beyond(&self.said)), own: count(self.said.beyond(&own)) })
    }

    /// Whether both sides have the same as far as is known, and nothing is on its way to make it so.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let sendable = self.sendable();
        let again = self.again.keys().any(|log| sendable.0.contains_key(log));
        self.is_idle() && !again && self.lacks() == Some(Lacks::default())
    }

    /// Whether this side waits for nothing: no batch is read, on its way or being stored.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.on_the_way.is_empty() && !self.reading && self.waiting_ingests == 0
    }

    /// Returns how many entries of an author the peer is known to have; `None` before it has said what it has.
    #[must_use]
    pub fn confirmed(&self, author: NodeKey) -> Option<u64> {
        let own = self.allowed_heads();
        let logs = own.0.iter().filter(|(log, _)| log.author == author);
        let has = |log: &LogId| self.said.length(log);
        self.stated.then(|| logs.map(|(log, head)| has(log).min(head.length)).sum())
    }

    /// Returns how long the logs are here that both sides may read.
    #[must_use]
    pub fn held(&self) -> Frontier {
        self.allowed_heads().frontier()
    }

    /// Whether the peer is known to have all that was held here when [`Self::held`] said so, as far as it is still held.
    #[must_use]
    pub fn has_arrived(&self, earlier: &Frontier) -> bool {
        let own = self.held();
        earlier.0.iter().all(|(log, length)| self.said.length(log) >= (*length).min(own.length(log)))
    }
}
