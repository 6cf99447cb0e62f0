//! Time that passes while nothing is said.

use ctxnode_sync_proto::Event;
use ctxnode_sync_proto::limits::{ACK_MS, HELLO_MS};

use super::world::World;

impl World {
    /// Time passes: a side that has waited too long for the other lets go.
    pub(super) fn wait(&mut self) {
        let most = usize::try_from(ACK_MS.max(HELLO_MS) * 2).unwrap_or(usize::MAX);
        let ms = self.below(most);
        self.note(|| format!("wait {ms}"));
        self.pass(ms as u64);
    }

    /// Nobody waits for anybody, so that no time is too long.
    pub(super) fn silence_lasts(&mut self) {
        self.pass(ACK_MS.max(HELLO_MS) * 10);
        for (pair, wire) in &self.wires {
            assert!(wire.closed.is_none(), "{pair:?} ended in silence, {:?}: {}", wire.closed, self.tail());
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        let pairs: Vec<(usize, usize)> = self.wires.keys().copied().collect();
        for pair in pairs {
            (0..2).for_each(|side| self.handle(pair, side, Event::Tick));
        }
    }
}
