//! Changes that stand at one place: two copies of a disk wrote under one key, and both wrote to one document.
//!
//! The document library takes one change of an author's log at each place. Which one it is depends on nothing but the set
//! of changes that are known: those that their author said again to give way come last, then the smaller hash counts. The
//! others wait, and with them what was built on them; who wrote them writes their content anew.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::DocumentId;
use ctxnode_model::frontier::LogId;

use super::{Batch, Origin, Place};
use crate::entry::{Op, VerifiedEntry};
use crate::kv::{Direction, Kv as _};
use crate::rows::{self, ChangeRow, Held};
use crate::tables::Table;
use crate::writer::log_row;
use crate::{StoreError, query, recover, screen};

impl Origin {
    pub(super) fn of_entry(entry: &VerifiedEntry, place: Place) -> Self {
        let header = entry.header();
        Self {
            log: header.log,
            log_no: place.log_no,
            order: header.order(),
            time: header.time,
            is_again: false,
            yields: false,
        }
    }
}

/// An applied change at whose place another one wants to be.
pub(super) struct Rival {
    hash: [u8; 32],
    held: Held,
}

impl Batch<'_> {
    /// Returns where an op was first said.
    pub(super) fn origin(&self, entry: &VerifiedEntry, place: Place) -> Result<Origin, StoreError> {
        let header = entry.header();
        let Some(op @ Op::Again { original, .. }) = entry.ops().get(usize::from(place.op)) else {
            return Ok(Origin::of_entry(entry, place));
        };
        let log = LogId { epoch: original.epoch, ..header.log };
        Ok(Origin {
            log,
            log_no: self.number_of(&log)?,
            order: op.order(header),
            time: original.time,
            is_again: true,
            yields: original.yields,
        })
    }

    /// Returns the number of a log, of which no entry need be here.
    fn number_of(&self, log: &LogId) -> Result<u32, StoreError> {
        let row = log_row(self, log)?;
        if row.length == 0 {
            row.save(&self.tables, log)?;
        }
        Ok(row.number)
    }

    pub(super) fn is_applied(&self, id: DocumentId, hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self.tables.get(Table::Changes, &rows::change_key(id, hash))?.is_some())
    }

    /// A change that is said in its own log is read from there: what repeats it may be withdrawn.
    pub(super) fn prefer(
        &self,
        id: DocumentId,
        hash: &[u8; 32],
        origin: &Origin,
        place: Place,
    ) -> Result<(), StoreError> {
        let key = rows::change_key(id, hash);
        let Some(payload) = self.tables.get(Table::Changes, &key)? else { return Ok(()) };
        let row = ChangeRow::decode(&payload)?;
        if row.first.is_none() || origin.is_again {
            return Ok(());
        }
        self.tables.put(Table::Changes, &key, &ChangeRow { held: place.held(), first: None, ..row }.encode())
    }

    /// Notes that an op says something again: should the first word of it be withdrawn, this one may still stand.
    pub(super) fn note_again(
        &self,
        id: DocumentId,
        hash: &[u8; 32],
        place: Place,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        if !origin.is_again {
            return Ok(());
        }
        self.tables.put(Table::Again, &rows::again_key(id, hash, place.held()), &[u8::from(origin.yields)])
    }

    /// Forgets what entries that are no longer allowed say again.
    pub(super) fn forget_again(&self, id: DocumentId) -> Result<(), StoreError> {
        for (key, _) in self.tables.scan_prefix(Table::Again, &id.to_bytes(), Direction::Forward, usize::MAX)? {
            let held = rows::held_of_again(&key)?;
            let whole = rows::held_key(held.log_no, held.seq, rows::WHOLE_ENTRY);
            if self.tables.get(Table::Quarantine, &whole)?.is_some() {
                self.tables.remove(Table::Again, &key)?;
            }
        }
        Ok(())
    }

    /// Puts a row that names the op which says something; an op that says it again does not replace the first word.
    pub(super) fn put_unless_again(
        &self,
        table: Table,
        key: &[u8],
        value: &[u8],
        origin: &Origin,
    ) -> Result<(), StoreError> {
        if origin.is_again && self.tables.get(table, key)?.is_some() {
            return Ok(());
        }
        self.tables.put(table, key, value)
    }

    /// Returns the applied change at the place of another. One log may have two as well: its author wrote on after a change
    /// of its own lost what it stood on, because somebody's rights ended.
    pub(super) fn rival(
        &self,
        id: DocumentId,
        origin: &Origin,
        facts: &screen::ChangeFacts,
    ) -> Result<Option<Rival>, StoreError> {
        let last = self.dirty.get(&id).and_then(|dirty| dirty.row.authors.get(&origin.log_no)).copied();
        if last.is_none_or(|last| facts.seq > last) {
            return Ok(None);
        }
        for (hash, row) in query::changes(&self.tables, id)? {
            if row.made_in().0 != origin.log_no || hash == facts.hash {
                continue;
            }
            let (_, bytes) = query::change_bytes(&self.tables, row.held)?;
            if screen::parse(&bytes).is_ok_and(|found| found.seq == facts.seq) {
                return Ok(Some(Rival { hash, held: row.held }));
            }
        }
        Ok(None)
    }

    /// Decides between a change and the one at its place; returns whether it is done with.
    pub(super) fn contest(
        &mut self,
        id: DocumentId,
        hash: &[u8; 32],
        place: Place,
        rival: &Rival,
    ) -> Result<bool, StoreError> {
        self.contested.insert(id);
        // One that stands on what is behind its rival has no case: it would be asked again for ever.
        if self.rank(id, hash)? > self.rank(id, &rival.hash)? || !self.contesting.insert(*hash) {
            return Ok(false);
        }
        let before = query::changes(&self.tables, id)?;
        let space = self.dirty.get(&id).ok_or(StoreError::Closed)?.row.space;
        let mut seen = BTreeSet::from([place.held(), rival.held]);
        let mut keep = recover::standing(&self.tables, id)?;
        keep.retain(|held| seen.insert(*held));
        // What stood behind the rival has to wait now; the rival itself comes last, and finds its place taken.
        let at = before.len().saturating_sub(1).min(keep.len());
        keep.insert(at, place.held());
        keep.push(rival.held);
        self.rebuild(id, space, &keep)?;
        self.contesting.remove(hash);
        // Whoever wrote what has to wait now, in a log that is here, writes it anew.
        for (lost, row) in before.into_iter().filter(|(_, row)| row.first.is_none()) {
            if !self.is_applied(id, &lost)? {
                self.lost.insert((id, lost), row.held.log_no);
            }
        }
        Ok(self.tables.get(Table::Waiting, &rows::change_key(id, hash))?.is_none())
    }

    fn rank(&self, id: DocumentId, hash: &[u8; 32]) -> Result<(bool, [u8; 32]), StoreError> {
        let prefix = rows::change_key(id, hash);
        let again = self.tables.scan_prefix(Table::Again, &prefix, Direction::Forward, usize::MAX)?;
        Ok((again.iter().any(|(_, yields)| yields == &[1]), *hash))
    }

    /// Takes the changes that were applied and had to give way, with the logs that they are in.
    pub(crate) fn take_lost(&mut self) -> BTreeMap<(DocumentId, [u8; 32]), u32> {
        std::mem::take(&mut self.lost)
    }

    /// Takes the documents in which a change gave way.
    pub(crate) fn take_contested(&mut self) -> BTreeSet<DocumentId> {
        std::mem::take(&mut self.contested)
    }
}
