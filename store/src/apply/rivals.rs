//! Two changes of one author with one number in one document.
//!
//! A document counts the changes of each author. An honest author gives a number twice only when its machine went back to
//! an earlier moment, or when what it wrote past a revocation was accepted later. Then the change that stands first is kept:
//! the log before its branches, the earlier position before the later one. The other one stays where it is, named in
//! quarantine, and comes back should the first one be withdrawn. So the document does not depend on which came first here.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::DocumentId;

use super::{Batch, Place};
use crate::entry::Op;
use crate::kv::Kv as _;
use crate::rows::{self, Held, LogRow, QuarantineReason};
use crate::tables::Table;
use crate::{StoreError, query, recover, screen};

/// What comes first: the log itself, then its branches by their epochs; in each the earlier position.
type Rank = (bool, u64, u64, u16);

impl Place {
    fn rank(self) -> Rank {
        (self.log_no != self.origin, self.log.epoch, self.seq, self.op)
    }
}

impl Batch<'_> {
    /// Takes a change whose number another one of its author has in the document.
    pub(super) fn take_rival(
        &mut self,
        id: DocumentId,
        place: Place,
        facts: &screen::ChangeFacts,
    ) -> Result<(), StoreError> {
        self.tables.put(Table::Waiting, &rows::change_key(id, &facts.hash), &place.held().encode())?;
        // What was just written to a log without branches stands behind everything else of its author. So a flood of such
        // changes costs a lookup each, and not a look at the whole document.
        if !self.has_branches && self.is_last(place)? {
            return self.hold(place, &QuarantineReason::Rival);
        }
        let space = place.log.space;
        let standing = recover::standing_of(&self.tables, recover::ops_of(&self.tables, id)?)?;
        self.rebuild(id, space, &standing)
    }

    fn is_last(&self, place: Place) -> Result<bool, StoreError> {
        let row = self.tables.get(Table::Logs, &rows::log_key(&place.log))?;
        Ok(row.map(|payload| LogRow::decode(&payload)).transpose()?.is_some_and(|row| row.length == place.seq))
    }

    /// Returns the ops of a document that may be applied, and sets aside the changes that stand behind a rival.
    pub(super) fn without_rivals(&mut self, id: DocumentId, ops: &[Held]) -> Result<Vec<Held>, StoreError> {
        let mut numbered: BTreeMap<(u32, u64), Vec<(Rank, Held, [u8; 32])>> = BTreeMap::new();
        for held in ops {
            let entry = query::entry(&self.tables, held.log_no, held.seq)?;
            let Some(Op::Change { change, .. }) = entry.ops().get(usize::from(held.op)) else { continue };
            let Ok(facts) = screen::parse(change) else { continue };
            let place = self.place(*held)?;
            numbered.entry((place.origin, facts.seq)).or_default().push((place.rank(), *held, facts.hash));
        }
        let mut set_aside = BTreeSet::new();
        for mut rivals in numbered.into_values() {
            rivals.sort_unstable();
            for (at, (_, held, hash)) in rivals.into_iter().enumerate() {
                let was_set_aside = self.tables.get(Table::Quarantine, &held.encode())?.is_some();
                if at > 0 {
                    set_aside.insert(held);
                    self.tables.put(Table::Waiting, &rows::change_key(id, &hash), &held.encode())?;
                    self.tables.put(Table::Quarantine, &held.encode(), &QuarantineReason::Rival.encode())?;
                } else if was_set_aside {
                    self.tables.remove(Table::Quarantine, &held.encode())?;
                }
            }
        }
        Ok(ops.iter().copied().filter(|held| !set_aside.contains(held)).collect())
    }
}
