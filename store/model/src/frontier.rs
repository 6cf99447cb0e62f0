//! The frontier: how far a replica knows each log. It is what version vectors are elsewhere.
//!
//! Two replicas find out that they are equal by comparing one 32-byte digest, and what differs by exchanging their
//! frontiers once, whatever the number of records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{NodeKey, SpaceId};

/// The append-only hash chain of one author's entries in one space, within one epoch of that author's data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The space.
    pub space: SpaceId,
    /// The author.
    pub author: NodeKey,
    /// Random, minted when a data directory is created or restored.
    pub epoch: u64,
}

/// How long each known log is. An absent log has length 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier(pub BTreeMap<LogId, u64>);

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// How many entries it has.
    pub length: u64,
    /// The hash of the last one. Two replicas with equal lengths and different tips hold a fork.
    pub tip: [u8; 32],
}

/// The heads of all known logs: the frontier, with what it ends in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads(pub BTreeMap<LogId, Head>);

impl Heads {
    /// Returns the lengths alone.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        Frontier(self.0.iter().map(|(log, head)| (*log, head.length)).collect())
    }

    /// Returns the digest that is equal exactly when two replicas know the same entries of the same logs.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("ctxnode 2026-11 heads digest v1");
        for (log, head) in self.0.iter().filter(|(_, head)| head.length > 0) {
            hasher.update(&log.space.0).update(&log.author.0).update(&log.epoch.to_be_bytes());
            hasher.update(&head.length.to_be_bytes()).update(&head.tip);
        }
        *hasher.finalize().as_bytes()
    }
}

/// A run of entries of one log: positions `from..=to`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The log.
    pub log: LogId,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
}

impl Frontier {
    /// Returns the length of a log.
    #[must_use]
    pub fn length(&self, log: &LogId) -> u64 {
        self.0.get(log).copied().unwrap_or(0)
    }

    /// Notes that a log is known up to `length`.
    pub fn advance(&mut self, log: LogId, length: u64) {
        let known = self.0.entry(log).or_default();
        *known = (*known).max(length);
    }

    /// Returns the runs that `self` has and `other` lacks.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<Run> {
        let runs = self.0.iter().filter_map(|(log, length)| {
            let known = other.length(log);
            (*length > known).then_some(Run { log: *log, from: known + 1, to: *length })
        });
        runs.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frontier() -> impl Strategy<Value = Frontier> {
        proptest::collection::btree_map((0_u8..3, 0_u8..3, 0_u64..2), 0_u64..5, 0..8).prop_map(|logs| {
            let log =
                |(space, author, epoch)| LogId { space: SpaceId([space; 16]), author: NodeKey([author; 32]), epoch };
            Frontier(logs.into_iter().map(|(key, length)| (log(key), length)).collect())
        })
    }

    proptest! {
        #[test]
        fn taking_in_what_is_missing_makes_frontiers_equal(mut a in frontier(), mut b in frontier()) {
            for run in a.beyond(&b) {
                prop_assert_eq!(b.length(&run.log) + 1, run.from);
                b.advance(run.log, run.to);
            }
            for run in b.beyond(&a) {
                a.advance(run.log, run.to);
            }
            a.0.retain(|_, length| *length > 0);
            b.0.retain(|_, length| *length > 0);
            prop_assert_eq!(&a, &b);
        }

        #[test]
        fn the_digest_tells_lengths_and_tips_apart(at in frontier(), length in 1_u64..9, tip: [u8; 32]) {
            let heads = |frontier: &Frontier| {
                Heads(frontier.0.iter().map(|(log, length)| (*log, Head { length: *length, tip: [0; 32] })).collect())
            };
            let before = heads(&at);
            let Some(log) = at.0.keys().next().copied() else { return Ok(()) };
            let mut after = before.clone();
            after.0.insert(log, Head { length, tip });
            prop_assert_eq!(before.digest() == after.digest(), before.0[&log] == after.0[&log]);
        }
    }
}
