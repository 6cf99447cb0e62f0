//! A member that says something else than an honest node would.

use ctxnode_model::NodeKey;
use ctxnode_store::{Entropy as _, SeededEntropy};
use ctxnode_sync_proto::{Entries, Message};

/// Says something else than an honest node would.
pub(super) fn lie(random: &SeededEntropy, message: Message) -> Message {
    let dice = random.number() % 6;
    match message {
        Message::Entries(mut runs) if dice < 4 => {
            lie_about(&mut runs, dice, random);
            Message::Entries(runs)
        }
        Message::Heads(mut heads) if dice < 2 => {
            heads.0.values_mut().for_each(|head| head.length += 3);
            Message::Heads(heads)
        }
        Message::Ack { batches, mut heads } if dice == 0 => {
            heads.0.values_mut().for_each(|head| head.tip = [7; 32]);
            Message::Ack { batches, heads }
        }
        other => other,
    }
}

fn lie_about(runs: &mut [Entries], dice: u128, random: &SeededEntropy) {
    let Some(run) = runs.first_mut() else { return };
    match dice {
        0 => {
            let entry = &mut run.entries[0];
            let at = usize::try_from(random.number() % entry.len() as u128).unwrap_or(0);
            entry[at] ^= 1;
        }
        1 => run.from += 1,
        2 => run.log.author = NodeKey([9; 32]),
        _ => run.entries.reverse(),
    }
}
