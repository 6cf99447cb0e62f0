//! What happens to machines: crashes, power cuts, old images that are put back, snapshots, copies.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctxnode_model::frontier::Heads;
use ctxnode_store::{Clock as _, ManualClock, Store};

use super::world::{Node, World};

impl World {
    /// Kills the daemon, which loses nothing that was written, or cuts the power, which loses what was not synced and
    /// boots the machine anew.
    pub(super) fn crash(&mut self, node: usize) {
        let power = self.chance(50);
        self.note(|| format!("crash {node} power={power}"));
        // What the store does after this moment, to close itself, does not reach the disk.
        if power {
            // In the middle of a write, half of the time.
            if self.chance(50) {
                let room = self.below(12);
                self.nodes[node].disk.fill(u32::try_from(room).unwrap_or(0));
                self.edit(node);
            }
            self.nodes[node].disk.cut();
            self.boot(node);
        } else {
            self.nodes[node].disk.halt();
        }
        self.stop(node);
        self.start(node);
    }

    fn boot(&mut self, node: usize) {
        self.boots += 1;
        self.nodes[node].incarnation = self.boots;
    }

    pub(super) fn stop(&mut self, node: usize) {
        self.wires.retain(|(a, b), _| *a != node && *b != node);
        self.nodes[node].standing = None;
        if let Some(store) = self.nodes[node].store.take() {
            store.close();
        }
        self.nodes[node].disk.reset();
    }

    pub(super) fn start(&mut self, node: usize) {
        let options = self.options(&self.nodes[node]);
        match Store::open(options) {
            Ok(store) => self.nodes[node].store = Some(store),
            Err(error) => panic!("node {node} does not start after a crash: {error}; {}", self.tail()),
        }
        self.nodes[node].stand();
    }

    /// Puts an older state of the disk back, as somebody does who restores an image of the machine.
    pub(super) fn restore(&mut self, node: usize) {
        let Some((backup, _)) = self.nodes[node].backup.take() else { return };
        self.note(|| format!("restore {node}"));
        self.stop(node);
        self.nodes[node].disk = backup;
        self.boot(node);
        self.nodes[node].acked.clear();
        self.nodes[node].promised.clear();
        self.start(node);
    }

    /// Goes back to a snapshot of the running machine, which it does not notice.
    pub(super) fn rewind(&mut self, node: usize) {
        let kept = self.nodes[node].backup.as_ref().map(|(disk, incarnation)| (disk.copy(), *incarnation));
        let Some((snapshot, incarnation)) = kept else { return };
        self.note(|| format!("rewind {node}"));
        self.stop(node);
        self.nodes[node].disk = snapshot;
        self.nodes[node].incarnation = incarnation;
        self.nodes[node].acked.clear();
        self.nodes[node].promised.clear();
        self.start(node);
    }

    /// Starts a second machine from a copy of the disk, key included; or goes on with it as with a copy of a running machine,
    /// which does not notice.
    pub(super) fn duplicate(&mut self, node: usize, boots: bool) {
        if self.nodes.len() >= self.life.most {
            return;
        }
        let original = &self.nodes[node];
        let copy = Node {
            key: original.key,
            newer: original.newer,
            disk: original.disk.copy(),
            store: None,
            standing: None,
            inviter: original.inviter,
            secret: original.secret.clone(),
            clock: Arc::new(ManualClock::new(original.clock.now())),
            incarnation: original.incarnation,
            backup: None,
            ventures: original.ventures.clone(),
            lies: original.lies,
            acked: BTreeMap::new(),
            promised: BTreeMap::new(),
            known: Heads::default(),
        };
        self.note(|| format!("clone {node} boots={boots}"));
        self.nodes.push(copy);
        if boots {
            self.boot(self.nodes.len() - 1);
        }
        self.start(self.nodes.len() - 1);
    }

    pub(super) fn keep_snapshot(&mut self, node: usize) {
        self.nodes[node].backup = Some((self.nodes[node].disk.copy(), self.nodes[node].incarnation));
    }

    /// Lets nobody tidy up: what stores do to close themselves is a tenth of the time of a short life.
    pub(super) fn end(self) {
        self.nodes.iter().for_each(|node| node.disk.halt());
    }
}
