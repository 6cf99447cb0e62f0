//! Which spaces somebody may read.

use std::collections::BTreeSet;

use crate::SpaceId;

/// A set of spaces. The genesis log lies in the space zero, which is in no set: every member has it from its invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spaces {
    /// Every one, also those that are made later.
    All,
    /// These.
    Only(BTreeSet<SpaceId>),
}

impl Spaces {
    /// Whether a space is in the set.
    #[must_use]
    pub fn contains(&self, space: &SpaceId) -> bool {
        *space != SpaceId([0; 16])
            && match self {
                Self::All => true,
                Self::Only(spaces) => spaces.contains(space),
            }
    }

    /// Returns what is in both sets.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, both) | (both, Self::All) => both.clone(),
            (Self::Only(one), Self::Only(two)) => Self::Only(one.intersection(two).copied().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spaces() -> impl Strategy<Value = Spaces> {
        let only = proptest::collection::btree_set(0_u8..5, 0..5);
        let only = only.prop_map(|some| Spaces::Only(some.into_iter().map(|n| SpaceId([n; 16])).collect()));
        prop_oneof![1 => Just(Spaces::All), 3 => only]
    }

    proptest! {
        #[test]
        fn the_meet_holds_what_both_hold(a in spaces(), b in spaces(), n in 0_u8..6) {
            let space = SpaceId([n; 16]);
            prop_assert_eq!(a.meet(&b).contains(&space), a.contains(&space) && b.contains(&space));
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert!(!a.contains(&SpaceId([0; 16])));
        }
    }
}
