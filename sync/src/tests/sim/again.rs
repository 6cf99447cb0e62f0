//! A healed fleet whose connections stay while a machine goes back again and again.

use super::world::World;

/// How often a machine goes back to the same moment.
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

    /// A machine goes back to one snapshot again and again, does not notice, and meets the others anew each time, while the
    /// connections among these are old ones, on which histories of the same log were compared before.
    pub(super) fn go_back_again(&mut self) {
        let node = self.below(self.nodes.len());
        if self.revoked.contains(&self.nodes[node].key) || self.perhaps_revoked.contains(&self.nodes[node].key) {
            return;
        }
        self.keep_snapshot(node);
        self.edit(node);
        self.edit(node);
        self.fall_silent();
        for _ in 0..TIMES {
            self.rewind(node);
            self.edit(node);
            self.edit(node);
            // One other that reads everything hears it from the machine itself, everybody else over a connection that is old.
            if self.connect_one(node) {
                self.fall_silent();
                self.look_alike();
            }
            for other in 0..self.nodes.len() {
                self.connect(node, other);
            }
            self.fall_silent();
        }
    }

    fn connect_one(&mut self, node: usize) -> bool {
        for other in 0..self.nodes.len() {
            if other != node && self.nodes[other].ventures.is_none() {
                self.connect(node, other);
            }
            if self.wires.contains_key(&(node.min(other), node.max(other))) {
                return true;
            }
        }
        false
    }
}
