//! Which entries go next: what one frontier has beyond another, in bounded batches.

use ctxnode_model::SpaceId;
use ctxnode_model::frontier::{Frontier, Run};

/// Returns the next entries that a peer lacks, at most `most`, those of `first` before all others.
///
/// Sent and noted in `peer`, the next call goes on behind them: an interrupted catch-up is the same call again.
#[must_use]
pub fn next_batch(own: &Frontier, peer: &Frontier, first: SpaceId, most: u64) -> Vec<Run> {
    let mut runs = own.beyond(peer);
    runs.sort_by_key(|run| (run.log.space != first, run.log));
    let mut room = most;
    let mut batch = Vec::new();
    for run in runs {
        if room == 0 {
            break;
        }
        let to = run.to.min(run.from + room - 1);
        room -= to - run.from + 1;
        batch.push(Run { to, ..run });
    }
    batch
}

#[cfg(test)]
mod tests {
    use ctxnode_model::NodeKey;
    use ctxnode_model::frontier::LogId;
    use proptest::prelude::*;

    use super::*;

    const FIRST: SpaceId = SpaceId([1; 16]);

    fn frontier() -> impl Strategy<Value = Frontier> {
        proptest::collection::btree_map((0_u8..3, 0_u8..4), 0_u64..1_800, 0..9).prop_map(|logs| {
            let log = |(space, author)| LogId { space: SpaceId([space; 16]), author: NodeKey([author; 32]), epoch: 1 };
            Frontier(logs.into_iter().map(|(key, length)| (log(key), length)).collect())
        })
    }

    proptest! {
        #[test]
        fn batches_follow_each_other_until_nothing_is_missing(own in frontier(), mut peer in frontier(), most in 1_u64..700) {
            let mut missing: u64 = own.beyond(&peer).iter().map(|run| run.to - run.from + 1).sum();
            let mut left_first = false;
            while missing > 0 {
                let batch = next_batch(&own, &peer, FIRST, most);
                let entries: u64 = batch.iter().map(|run| run.to - run.from + 1).sum();
                prop_assert_eq!(entries, most.min(missing));
                for run in &batch {
                    prop_assert_eq!(peer.length(&run.log) + 1, run.from);
                    prop_assert!(!(left_first && run.log.space == FIRST), "the first space goes first");
                    left_first |= run.log.space != FIRST;
                    peer.advance(run.log, run.to);
                }
                missing -= entries;
            }
            prop_assert!(next_batch(&own, &peer, FIRST, most).is_empty());
        }
    }
}
