//! A member that says something else than an honest node would.

use automerge::{Change, ChangeHash};
use ctxnode_model::{DocumentId, NodeKey};
use ctxnode_store::entry::{Header, Op, VerifiedEntry, decode};
use ctxnode_store::genesis::genesis;
use ctxnode_store::{ControlOp, Entropy as _, NodeSecret, Role, SeededEntropy};
use ctxnode_sync_proto::{Entries, Message};

/// Says something else than an honest node would.
pub(super) fn lie(random: &SeededEntropy, secret: &NodeSecret, records: &[DocumentId], message: Message) -> Message {
    let dice = random.number() % 9;
    match message {
        Message::Entries(mut runs) if dice == 8 && !records.is_empty() => {
            // Of any space: ids can be guessed, or were heard of before.
            let note = records[usize::try_from(random.number() % records.len() as u128).unwrap_or(0)];
            let mark = [None, Some(Op::Tombstone(note)), Some(Op::Revive(note))];
            let mark = &mark[usize::try_from(random.number() % 3).unwrap_or(0)];
            sign_others(secret, &mut runs, &|_, op| about_another(op, note, mark.as_ref()));
            Message::Entries(runs)
        }
        Message::Entries(mut runs) if dice >= 6 => {
            sign_others(secret, &mut runs, if dice == 6 { &build_on_less } else { &take_rights });
            Message::Entries(runs)
        }
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

/// Signs other entries in the place of its own last ones.
fn sign_others(secret: &NodeSecret, runs: &mut [Entries], make: &dyn Fn(&Header, &Op) -> Op) {
    for run in runs.iter_mut().filter(|run| run.log.author == secret.public()) {
        let Some(last) = run.entries.last_mut() else { continue };
        let Ok((header, ops)) = decode(last) else { continue };
        let ops = ops.iter().map(|op| make(&header, op)).collect();
        if let Ok(other) = VerifiedEntry::sign(header, ops, secret) {
            *last = other.bytes().to_vec();
        }
    }
}

/// The same change for another record, which may be of a space that the log is not of; or a mark on that.
fn about_another(op: &Op, note: DocumentId, mark: Option<&Op>) -> Op {
    match (op, mark) {
        (Op::Change { .. }, Some(mark)) => mark.clone(),
        (Op::Change { change, .. }, None) => Op::Change { document: note, change: change.clone() },
        _ => op.clone(),
    }
}

/// A change that says that it builds on less than it does, and refers to the ops of others as before.
fn build_on_less(header: &Header, op: &Op) -> Op {
    let Op::Change { document, change } = op else { return op.clone() };
    let Ok(honest) = Change::from_bytes(change.clone()) else { return op.clone() };
    let mut expanded = honest.decode();
    if expanded.deps.len() > 1 {
        // Half of the time what is left has the counter before its first op, so that nothing else gives it away.
        expanded.deps.remove(usize::from(header.seq.is_multiple_of(2)));
    } else {
        expanded.deps = genesis(document.kind).map(|genesis| ChangeHash(genesis.hash)).into_iter().collect();
    }
    expanded.hash = None;
    Op::Change { document: *document, change: Change::from(expanded).raw_bytes().to_vec() }
}

/// What only an admin may: it deletes the record, or makes itself one.
fn take_rights(header: &Header, op: &Op) -> Op {
    match op {
        Op::Change { document, .. } if header.seq.is_multiple_of(2) => Op::Tombstone(*document),
        _ => Op::Control(ControlOp::SetRole { node: header.log.author, role: Role::Admin, cuts: Vec::new() }.encode()),
    }
}
