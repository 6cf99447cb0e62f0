//! Wires that do what no transport does: frames that are lost, come twice, or change places. QUIC repairs all of that, so that
//! what is left of it are wires that end; an exchange must do no harm all the same.

use std::collections::VecDeque;

use super::world::World;

/// How many frames of a hundred.
const PERCENT: usize = 3;

impl World {
    /// Takes the next frame that arrives; `None` when it is lost.
    pub(super) fn next_frame(&self, inbox: &mut VecDeque<Vec<u8>>) -> Option<Vec<u8>> {
        if self.is_faulty && self.chance(PERCENT) {
            match self.below(3) {
                0 => {
                    inbox.pop_front();
                    return None;
                }
                // It stays, and comes again.
                1 => return inbox.front().cloned(),
                _ => {
                    if let Some(last) = inbox.len().checked_sub(1) {
                        inbox.swap(0, last);
                    }
                }
            }
        }
        inbox.pop_front()
    }
}
