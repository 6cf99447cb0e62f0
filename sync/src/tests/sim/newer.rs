//! A machine with a newer build: it says and writes what the others do not know, and they keep it and pass it on.

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::{Space, Stamp};
use ctxnode_store::Clock as _;
use ctxnode_store::entry::{Header, Op, VerifiedEntry, decode};
use ctxnode_sync_proto::Entries;

use super::world::{World, at_once};
use crate::transfer;

/// The log of what only a newer build writes; its own entries of the usual kinds are in others.
const EPOCH: u64 = 0x0e37;

impl World {
    /// Writes an op of a kind that nobody here knows, in a log of its own; now and then a control op.
    pub(super) fn write_of_the_future(&mut self, node: usize) {
        let Some(store) = self.nodes[node].store.clone() else { return };
        let log = LogId { space: Space::Fleet.id(&store.fleet()), author: store.node(), epoch: EPOCH };
        let last = self.nodes[node].heads().0.get(&log).copied();
        let number = self.random_number();
        let op = match number % 3 {
            0 => Op::Control(br#"{"op":"of-the-future","number":1}"#.to_vec()),
            _ => Op::Unknown { kind: 200, payload: number.to_be_bytes().to_vec() },
        };
        // Later than what it has written there, whatever its clock says now.
        let length = last.map_or(0, |head| head.length);
        let now = self.nodes[node].clock.now();
        let before = last.and_then(|head| {
            let run = Run { log, from: head.length, to: head.length };
            let entry = store.read().ok()?.reader().entries(&run, 1).ok()?.pop()?;
            Some(decode(&entry).ok()?.0.stamp)
        });
        let header = Header {
            fleet: store.fleet(),
            log,
            seq: length + 1,
            prev: last.map_or([0; 32], |head| head.tip),
            stamp: before.unwrap_or(Stamp(0)).next(now),
            time: now,
        };
        let entry = VerifiedEntry::sign(header, vec![op], &self.nodes[node].secret).expect("a small entry");
        let run = Entries { log, from: length + 1, entries: vec![entry.bytes().to_vec()] };
        self.note(|| format!("future {node} {}", length + 1));
        // Its disk may be full.
        if at_once(transfer::ingest(&store, vec![run])).is_ok() {
            self.grown(node);
        }
    }
}
