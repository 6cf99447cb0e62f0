//! A healed fleet whose connections stay while machines go back again and again.

use super::world::World;

/// How often somebody goes back.
const TIMES: usize = 4;

impl World {
    /// Lets everything happen that is due.
    pub(super) fn fall_silent(&mut self) {
        let mut moves = 0_u32;
        while self.advance() {
            moves += 1;
            assert!(moves < 200_000, "they never fall silent: {}", self.tail());
        }
    }

    /// Machines go back to a snapshot that they do not notice, and meet the others anew each time, while the connections among
    /// these are old ones, on which histories were compared before.
    pub(super) fn go_back_again(&mut self) {
        for _ in 0..TIMES {
            let node = self.below(self.nodes.len());
            if self.revoked.contains(&self.nodes[node].key) || self.perhaps_revoked.contains(&self.nodes[node].key) {
                continue;
            }
            self.keep_snapshot(node);
            self.edit(node);
            self.edit(node);
            self.fall_silent();
            self.rewind(node);
            self.edit(node);
            self.edit(node);
            for other in 0..self.nodes.len() {
                self.connect(node, other);
            }
            self.fall_silent();
        }
    }
}
