//! What two replicas have to tell each other, as a pure function of their frontiers.
//!
//! Each side says how far it knows each log; from that follows, without another question, which runs of entries the
//! other lacks. Runs go out in batches of bounded size, and a batch that arrived is never sent again, so an interrupted
//! catch-up goes on where it stopped. Here is no socket, no clock and no store: only what to send next.

use std::collections::BTreeSet;

use ctxnode_model::SpaceId;
use ctxnode_model::frontier::{Frontier, Run};

/// The most entries of one batch. A batch is one transaction of the receiver: larger ones hold its writer too long,
/// smaller ones cost an fsync for little.
pub const BATCH_ENTRIES: u64 = 500;

/// Returns what a peer lacks, in batches that follow each other: each begins where the one before it ended.
///
/// Only spaces that the peer has a right to are looked at; of others it learns neither content nor name.
#[must_use]
pub fn batches(own: &Frontier, peer: &Frontier, allowed: &BTreeSet<SpaceId>) -> Vec<Vec<Run>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut room = BATCH_ENTRIES;
    for run in own.beyond(peer).into_iter().filter(|run| allowed.contains(&run.log.space)) {
        let mut from = run.from;
        while from <= run.to {
            let to = run.to.min(from + room - 1);
            room -= to - from + 1;
            batch.push(Run { from, to, ..run });
            from = to + 1;
            if room == 0 {
                batches.push(std::mem::take(&mut batch));
                room = BATCH_ENTRIES;
            }
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Notes that a batch arrived.
pub fn arrived(peer: &mut Frontier, batch: &[Run]) {
    for run in batch {
        peer.advance(run.log, run.to);
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_model::NodeKey;
    use ctxnode_model::frontier::LogId;
    use proptest::prelude::*;

    use super::*;

    fn frontier() -> impl Strategy<Value = Frontier> {
        proptest::collection::btree_map((0_u8..3, 0_u8..4), 0_u64..1_800, 0..9).prop_map(|logs| {
            let log = |(space, author)| LogId { space: SpaceId([space; 16]), author: NodeKey([author; 32]), epoch: 1 };
            Frontier(logs.into_iter().map(|(key, length)| (log(key), length)).collect())
        })
    }

    proptest! {
        #[test]
        fn an_interrupted_catch_up_goes_on_where_it_stopped(
            own in frontier(),
            mut peer in frontier(),
            stop in 0_usize..6,
            spaces in proptest::collection::btree_set(0_u8..3, 0..4),
        ) {
            let allowed: BTreeSet<SpaceId> = spaces.into_iter().map(|space| SpaceId([space; 16])).collect();
            let first = batches(&own, &peer, &allowed);
            for batch in &first {
                let entries: u64 = batch.iter().map(|run| run.to - run.from + 1).sum();
                prop_assert!((1..=BATCH_ENTRIES).contains(&entries));
                prop_assert!(batch.iter().all(|run| allowed.contains(&run.log.space)));
            }
            for batch in first.iter().take(stop) {
                for run in batch {
                    prop_assert_eq!(peer.length(&run.log) + 1, run.from);
                    peer.advance(run.log, run.to);
                }
            }
            let rest = batches(&own, &peer, &allowed);
            prop_assert_eq!(rest.len(), first.len().saturating_sub(stop));
            rest.iter().for_each(|batch| arrived(&mut peer, batch));
            prop_assert!(batches(&own, &peer, &allowed).is_empty());
        }
    }
}
