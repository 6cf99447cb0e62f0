//! What kind of fleet a seed makes, and how long it lives.
//!
//! Most fleets are small and live a short life: what goes wrong goes wrong between few machines, in few steps, and a
//! thousand small fleets meet more of that than a hundred large ones do. Some are large and live long, for the rest.

use ctxnode_store::{Entropy as _, SeededEntropy};

/// One of so many fleets is large.
const LARGE_EVERY: usize = 32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// How many machines there are in the beginning.
    pub(super) size: usize,
    /// How many there may be with their copies.
    pub(super) most: usize,
    /// How many things happen before it heals.
    pub(super) steps: usize,
    /// Whether the third machine lies.
    pub(super) has_liar: bool,
    /// Whether the second one speaks a newer protocol.
    pub(super) is_mixed: bool,
    /// Whether wires lose frames, bring them twice and in another order.
    pub(super) is_faulty: bool,
    /// Whether machines go back all the time, and admins govern meanwhile.
    pub(super) is_restless: bool,
    /// Whether one goes back again and again once the fleet has healed.
    pub(super) goes_back_again: bool,
}

impl Life {
    pub(super) fn of(seed: u64) -> Self {
        let random = SeededEntropy::new(seed ^ 0x11fe_0000_0000);
        let below = |n: usize| usize::try_from(random.number() % n as u128).unwrap_or(0);
        let is_large = below(LARGE_EVERY) == 0;
        let has_liar = below(3) == 0;
        let size = 2 + below(if is_large { 11 } else { 3 });
        let size = if has_liar { size.max(3) } else { size };
        let is_restless = below(4) == 0;
        Self {
            size,
            most: if is_large { (size + 2).max(9) } else { size + 2 },
            steps: if is_large { 60 + below(61) } else { 8 + below(33) },
            has_liar,
            is_mixed: below(3) == 0,
            is_restless,
            is_faulty: below(3) == 0,
            goes_back_again: is_restless && below(if is_large { 2 } else { 4 }) == 0,
        }
    }
}
