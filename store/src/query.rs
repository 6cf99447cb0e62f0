//! Reading the replica: typed records, lists with totals, node-local rows, the journal, the frontier.

use std::collections::BTreeMap;
use std::ops::Bound;

use automerge::{Automerge, Change, ChangeHash};
use ctxnode_model::frontier::{Frontier, Head, Heads, LogId, Run};
use ctxnode_model::id::FleetId;
use ctxnode_model::index::Index;
use ctxnode_model::page::{Cursor, Page};
use ctxnode_model::{DocumentId, Ids, Kind, NodeKey, Order, Rec, Record, RecordMeta, Timestamp};
use serde_json::Value;

use crate::authority::ControlOp;
use crate::entry::{Op, VerifiedEntry};
use crate::kv::{Direction, Kv, Snapshot, successor};
pub use crate::rows::JournalRow;
use crate::rows::{self, ChangeRow, DocumentRow, Held, LogRow, QuarantineReason, StoredRecord};
use crate::tables::Table;
use crate::{LocalTable, StoreError, document};

/// How many index rows are read at a time while a filter looks for matches. Larger steps waste reads when the page is
/// full early, smaller ones open the table more often.
const SCAN_STEP: usize = 256;

/// A list to read: one prefix of one index, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// The index.
    pub index: Index,
    /// The kind.
    pub kind: Kind,
    /// The prefix; see [`Index`] for what each takes.
    pub prefix: &'a [&'a str],
    /// Where the last page ended.
    pub after: Option<Cursor>,
    /// The most rows.
    pub limit: usize,
}

/// The author of an entry and the documents that it changed.
pub type Touched = (NodeKey, Vec<DocumentId>);
/// Key and value of a node-local row.
pub type LocalRow = (Vec<u8>, Vec<u8>);
/// The stored bytes of a record's view and of its body.
pub type ViewBytes = (Option<Vec<u8>>, Option<Vec<u8>>);

/// An entry or op that is kept and not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRow {
    /// The log.
    pub log: LogId,
    /// The position.
    pub seq: u64,
    /// The op in the entry; `None` for the whole entry.
    pub op: Option<u16>,
    /// When it was written, by its author's clock.
    pub at: Timestamp,
    /// What it would do: `note note_...`, `deletes note_...`, or a control op by its name.
    pub what: Vec<String>,
    /// Why.
    pub reason: Value,
    /// The same in words.
    pub why: String,
}

/// Reads of one consistent state: a snapshot, or what a draft sees.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub(crate) kv: &'a dyn Kv,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Returns the typed reads of this snapshot.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { kv: self }
    }
}

impl<'a> Reader<'a> {
    /// Returns what makes the ids of records with natural keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn ids(&self) -> Result<Ids, StoreError> {
        self.kv.ids()
    }

    pub(crate) fn new(kv: &'a dyn Kv) -> Self {
        Self { kv }
    }

    pub(crate) fn raw(&self) -> &'a dyn Kv {
        self.kv
    }

    /// Returns a living record.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get<T: Record>(&self, id: DocumentId) -> Result<Option<Rec<T>>, StoreError> {
        Ok(self.get_even_deleted(id)?.filter(|record| !record.meta.deleted))
    }

    /// Returns a record, hidden by a tombstone or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get_even_deleted<T: Record>(&self, id: DocumentId) -> Result<Option<Rec<T>>, StoreError> {
        debug_assert!(T::KINDS.contains(&id.kind));
        stored_record(self.kv, id)?.map(|stored| typed(id, stored)).transpose()
    }

    /// Returns the view as JSON, with every field that any version wrote.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn view(&self, id: DocumentId) -> Result<Option<Value>, StoreError> {
        Ok(stored_record(self.kv, id)?.map(|stored| Value::Object(stored.view)))
    }

    /// Returns what the store knows about a record of any kind, hidden by a tombstone or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn meta(&self, id: DocumentId) -> Result<Option<RecordMeta>, StoreError> {
        Ok(stored_record(self.kv, id)?.map(|stored| stored.meta))
    }

    /// Returns the exact bytes of a record's view and body, for comparing replicas.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn view_bytes(&self, id: DocumentId) -> Result<ViewBytes, StoreError> {
        Ok((self.kv.get(Table::Records, &id.to_bytes())?, self.kv.get(Table::Bodies, &id.to_bytes())?))
    }

    /// Returns the body: a note's or doc's content, a handoff's payload.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn body(&self, id: DocumentId) -> Result<Option<String>, StoreError> {
        let bytes = self.kv.get(Table::Bodies, &id.to_bytes())?;
        bytes.map(|bytes| String::from_utf8(bytes).map_err(|_| corrupt(Table::Bodies, &id.to_bytes()))).transpose()
    }

    /// Returns how many rows one prefix of an index has, without walking it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count(&self, index: Index, kind: Kind, prefix: &[&str]) -> Result<u64, StoreError> {
        let key = rows::index_prefix(index, kind, prefix);
        Ok(self.kv.get(Table::Counts, &key)?.map_or(0, |payload| rows::be_u64(&payload)))
    }

    /// Returns one page of a list, newest first, with the total.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list<T: Record>(&self, listing: &Listing<'_>) -> Result<Page<Rec<T>>, StoreError> {
        let total = self.count(listing.index, listing.kind, listing.prefix)?;
        let mut items = Vec::new();
        let mut last = None;
        let mut more = false;
        self.walk(listing, listing.after, |at, id| {
            if items.len() == listing.limit {
                more = true;
                return Ok(false);
            }
            if let Some(record) = self.get(id)? {
                items.push(record);
                last = Some(Cursor { t: at, id });
            }
            Ok(true)
        })?;
        Ok(Page { items, total, next: last.filter(|_| more) })
    }

    /// Returns one page of the rows that pass a filter. The total walks every row of the prefix: choose the index so
    /// that the prefix is as narrow as the question allows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list_where<T: Record>(
        &self,
        listing: &Listing<'_>,
        mut keep: impl FnMut(&Rec<T>) -> bool,
    ) -> Result<Page<Rec<T>>, StoreError> {
        let mut items = Vec::new();
        let mut last = None;
        let mut total = 0;
        let mut more = false;
        self.walk(listing, None, |at, id| {
            let Some(record) = self.get(id)?.filter(|record| keep(record)) else { return Ok(true) };
            total += 1;
            let after = listing.after.is_none_or(|cursor| (at, id.raw) < (cursor.t, cursor.id.raw));
            if after && items.len() < listing.limit {
                items.push(record);
                last = Some(Cursor { t: at, id });
            } else if after {
                more = true;
            }
            Ok(true)
        })?;
        Ok(Page { items, total, next: last.filter(|_| more) })
    }

    /// Visits the rows of a prefix, newest first, until the visitor returns false.
    fn walk(
        &self,
        listing: &Listing<'_>,
        after: Option<Cursor>,
        mut visit: impl FnMut(Timestamp, DocumentId) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let prefix = rows::index_prefix(listing.index, listing.kind, listing.prefix);
        let mut upper = match after {
            Some(cursor) => {
                let mut key = prefix.clone();
                key.extend_from_slice(&u64::try_from(cursor.t.0).unwrap_or(0).to_be_bytes());
                key.extend_from_slice(&cursor.id.raw);
                Some(key)
            }
            None => successor(&prefix),
        };
        loop {
            let bound = upper.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let bounds = (Bound::Included(prefix.as_slice()), bound);
            let step = self.kv.scan(Table::Index, bounds, Direction::Backward, SCAN_STEP)?;
            let full = step.len() == SCAN_STEP;
            for (key, _) in &step {
                // A longer prefix (one more part) also begins with this one: its keys are longer.
                if key.len() != prefix.len() + 24 {
                    continue;
                }
                let (sort, raw) = rows::index_tail(key).ok_or_else(|| corrupt(Table::Index, key))?;
                let at = Timestamp(i64::try_from(sort).unwrap_or(i64::MAX));
                if !visit(at, DocumentId { kind: listing.kind, raw })? {
                    return Ok(());
                }
            }
            match step.into_iter().next_back() {
                Some((key, _)) if full => upper = Some(key),
                _ => return Ok(()),
            }
        }
    }

    /// Returns the newest rows of a prefix without a total.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest<T: Record>(
        &self,
        index: Index,
        kind: Kind,
        prefix: &[&str],
        limit: usize,
    ) -> Result<Vec<Rec<T>>, StoreError> {
        Ok(self.list(&Listing { index, kind, prefix, after: None, limit })?.items)
    }

    /// Returns every living record of a kind, newest first. For kinds of which a fleet has few.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn all<T: Record>(&self, kind: Kind) -> Result<Vec<Rec<T>>, StoreError> {
        self.newest(Index::All, kind, &[], usize::MAX)
    }

    /// Returns the ids of every living record of a kind, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn ids_in(&self, index: Index, kind: Kind) -> Result<Vec<DocumentId>, StoreError> {
        let mut ids = Vec::new();
        let listing = Listing { index, kind, prefix: &[], after: None, limit: usize::MAX };
        self.walk(&listing, None, |_, id| {
            ids.push(id);
            Ok(true)
        })?;
        Ok(ids)
    }

    /// Returns every tag in use: venture code or `-`, tag, living notes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn note_tags(&self) -> Result<Vec<(String, String, u64)>, StoreError> {
        let prefix = [Index::NoteTag as u8, Kind::Note as u8];
        let found = self.kv.scan_prefix(Table::Counts, &prefix, Direction::Forward, usize::MAX)?;
        let rows = found.into_iter().filter_map(|(key, payload)| {
            let mut parts = key.get(2..)?.split(|byte| *byte == 0);
            let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
            Some((text()?, text()?, rows::be_u64(&payload)))
        });
        Ok(rows.collect())
    }

    /// Whether nothing has superseded or closed a handoff.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_open_handoff(&self, handoff: &Rec<ctxnode_model::record::Handoff>) -> Result<bool, StoreError> {
        let row = crate::threads::open_row(&handoff.venture, handoff.meta.created.stamp);
        Ok(self.kv.get(Table::Index, &rows::index_key(&row, handoff.id))?.is_some())
    }

    /// Returns a node-local row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn local(&self, table: LocalTable, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.kv.get(table.table(), key)
    }

    /// Returns up to `limit` node-local rows whose key begins with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn local_prefix(&self, table: LocalTable, prefix: &[u8], limit: usize) -> Result<Vec<LocalRow>, StoreError> {
        self.kv.scan_prefix(table.table(), prefix, Direction::Forward, limit)
    }

    /// Returns up to `limit` node-local rows with keys in `from..to`; with the greatest key first when `newest_first`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn local_range(
        &self,
        table: LocalTable,
        from: &[u8],
        to: &[u8],
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<LocalRow>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let direction = if newest_first { Direction::Backward } else { Direction::Forward };
        self.kv.scan(table.table(), (Bound::Included(from), Bound::Excluded(to)), direction, limit)
    }

    /// Returns the number of rows in a node-local table.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn local_len(&self, table: LocalTable) -> Result<u64, StoreError> {
        self.kv.len(table.table())
    }

    /// Returns journal rows after a position, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn journal_after(&self, position: u64, limit: usize) -> Result<Vec<(u64, JournalRow)>, StoreError> {
        let from = position.to_be_bytes();
        let bounds = (Bound::Excluded(from.as_slice()), Bound::Unbounded);
        let found = self.kv.scan(Table::Journal, bounds, Direction::Forward, limit)?;
        found.into_iter().map(|(key, payload)| Ok((rows::be_u64(&key), JournalRow::decode(&payload)?))).collect()
    }

    /// Returns journal rows after a position that came with entries of other nodes, oldest first: author and documents.
    /// At most `limit` rows of any node are looked at; the flag says whether there are more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn journal_of_others(
        &self,
        own: NodeKey,
        position: u64,
        limit: usize,
    ) -> Result<(Vec<Touched>, bool), StoreError> {
        let rows = self.journal_after(position, limit)?;
        let more = rows.len() == limit;
        let mut authors: BTreeMap<u32, Option<NodeKey>> = BTreeMap::new();
        let mut found = Vec::new();
        for (_, row) in rows {
            let Some((number, _)) = row.log else { continue };
            let author = match authors.get(&number) {
                Some(author) => *author,
                None => {
                    let author = log_by_number(self.kv, number)?.map(|log| log.author);
                    authors.insert(number, author);
                    author
                }
            };
            found.extend(author.filter(|author| *author != own).map(|author| (author, row.documents)));
        }
        Ok((found, more))
    }

    /// Returns the last journal position; 0 when nothing was accepted yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn journal_end(&self) -> Result<u64, StoreError> {
        let last = self.kv.scan_prefix(Table::Journal, &[], Direction::Backward, 1)?;
        Ok(last.first().map_or(0, |(key, _)| rows::be_u64(key)))
    }

    /// Returns how far each log is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn frontier(&self) -> Result<Frontier, StoreError> {
        Ok(self.heads()?.frontier())
    }

    /// Returns how often a part of a log has become a branch here. As long as it stays the same, logs only grow.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn layout(&self) -> Result<u64, StoreError> {
        self.kv.len(Table::Branches)
    }

    /// Returns where each known log ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn heads(&self) -> Result<Heads, StoreError> {
        let mut heads = Heads::default();
        for (key, payload) in self.kv.scan_prefix(Table::Logs, &[], Direction::Forward, usize::MAX)? {
            let row = LogRow::decode(&payload)?;
            heads.0.insert(rows::log_from_key(&key)?, Head { length: row.length, tip: row.tip });
        }
        Ok(heads)
    }

    /// Returns the signed bytes of a run, in order, at most `limit` entries.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn entries(&self, run: &Run, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(payload) = self.kv.get(Table::Logs, &rows::log_key(&run.log))? else { return Ok(Vec::new()) };
        let number = LogRow::decode(&payload)?.number;
        let (from, to) = (rows::entry_key(number, run.from), rows::entry_key(number, run.to));
        let bounds = (Bound::Included(from.as_slice()), Bound::Included(to.as_slice()));
        let found = self.kv.scan(Table::Entries, bounds, Direction::Forward, limit)?;
        Ok(found.into_iter().map(|(_, bytes)| bytes).collect())
    }

    /// Returns what is kept and not applied, at most `limit` rows, and how many there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn quarantine(&self, limit: usize) -> Result<(Vec<QuarantineRow>, u64), StoreError> {
        let found = self.kv.scan_prefix(Table::Quarantine, &[], Direction::Forward, limit)?;
        let mut out = Vec::new();
        for (key, payload) in found {
            let held = Held::decode(&key)?;
            let Some(log) = log_by_number(self.kv, held.log_no)? else { continue };
            let reason = QuarantineReason::decode(&payload)?;
            let entry = entry(self.kv, held.log_no, held.seq)?;
            let op = (held.op != rows::WHOLE_ENTRY).then_some(held.op);
            let ops = entry.ops().iter().enumerate().filter(|(at, _)| op.is_none_or(|op| usize::from(op) == *at));
            out.push(QuarantineRow {
                log,
                seq: held.seq,
                op,
                at: entry.header().time,
                what: ops.map(|(_, op)| op.in_words()).collect(),
                why: reason.in_words(),
                reason: serde_json::to_value(reason).unwrap_or(Value::Null),
            });
        }
        Ok((out, self.kv.len(Table::Quarantine)?))
    }
}

fn corrupt(table: Table, key: &[u8]) -> StoreError {
    StoreError::Corrupt { table: table.name(), key: key.to_vec() }
}

fn typed<T: Record>(id: DocumentId, stored: StoredRecord) -> Result<Rec<T>, StoreError> {
    // A view whose known fields have shapes that no version ever wrote reads as far as it can: as an empty record.
    let value = serde_json::from_value(Value::Object(stored.view)).unwrap_or_default();
    Ok(Rec { id, meta: stored.meta, value })
}

pub(crate) fn stored_record(kv: &dyn Kv, id: DocumentId) -> Result<Option<StoredRecord>, StoreError> {
    kv.get(Table::Records, &id.to_bytes())?.map(|payload| StoredRecord::decode(&payload)).transpose()
}

pub(crate) fn document_row(kv: &dyn Kv, id: DocumentId) -> Result<Option<DocumentRow>, StoreError> {
    kv.get(Table::Documents, &id.to_bytes())?.map(|payload| DocumentRow::decode(&payload)).transpose()
}

pub(crate) fn log_by_number(kv: &dyn Kv, number: u32) -> Result<Option<LogId>, StoreError> {
    kv.get(Table::LogNumbers, &number.to_be_bytes())?.map(|key| rows::log_from_key(&key)).transpose()
}

/// How the ids of the fleet are made: the genesis says it.
pub(crate) fn read_ids(kv: &dyn Kv) -> Result<Ids, StoreError> {
    let bytes = kv.get(Table::Meta, b"genesis")?.ok_or_else(|| corrupt(Table::Meta, b"genesis"))?;
    ids_of(&VerifiedEntry::from_store(bytes).map_err(|_| corrupt(Table::Meta, b"genesis"))?)
}

/// The same, of the fleet that an entry founds.
///
/// # Errors
/// When it founds none in a way that this version knows.
pub(crate) fn ids_of(genesis: &VerifiedEntry) -> Result<Ids, StoreError> {
    // The first op alone founds.
    let version = match genesis.ops().iter().find_map(Op::control).map(ControlOp::decode) {
        Some(ControlOp::Genesis { ids, founder, .. }) if founder == genesis.header().log.author => Some(ids),
        _ => None,
    };
    let mut fleet = FleetId([0; 16]);
    fleet.0.copy_from_slice(&genesis.hash()[..16]);
    let known = version.filter(|version| (Ids::UNTAGGED..=Ids::NEWEST).contains(version));
    known.map(|version| Ids::new(fleet, version)).ok_or(StoreError::NewerFleet)
}

pub(crate) fn entry(kv: &dyn Kv, log_no: u32, seq: u64) -> Result<VerifiedEntry, StoreError> {
    let key = rows::entry_key(log_no, seq);
    let bytes = kv.get(Table::Entries, &key)?.ok_or_else(|| corrupt(Table::Entries, &key))?;
    VerifiedEntry::from_store(bytes).map_err(|_| corrupt(Table::Entries, &key))
}

/// Returns when and by whom an applied change was made.
pub(crate) fn order_of_change(kv: &dyn Kv, id: DocumentId, hash: &ChangeHash) -> Option<(Order, Timestamp)> {
    let payload = kv.get(Table::Changes, &rows::change_key(id, &hash.0)).ok()??;
    let change = ChangeRow::decode(&payload).ok()?;
    let log: LogId = log_by_number(kv, change.held.log_no).ok()??;
    let order = Order { stamp: change.stamp, author: log.author, epoch: log.epoch, seq: change.held.seq };
    Some((order, change.time))
}

/// Returns the entry that holds a change, and the change's bytes.
pub(crate) fn change_bytes(kv: &dyn Kv, held: Held) -> Result<(VerifiedEntry, Vec<u8>), StoreError> {
    let entry = entry(kv, held.log_no, held.seq)?;
    match entry.ops().get(usize::from(held.op)) {
        Some(Op::Change { change, .. }) => {
            let change = change.clone();
            Ok((entry, change))
        }
        _ => Err(corrupt(Table::Entries, &held.encode())),
    }
}

/// The applied changes of a document in the order in which this replica applied them.
pub(crate) fn changes(kv: &dyn Kv, id: DocumentId) -> Result<Vec<([u8; 32], ChangeRow)>, StoreError> {
    let mut out = Vec::new();
    for (key, payload) in kv.scan_prefix(Table::Changes, &id.to_bytes(), Direction::Forward, usize::MAX)? {
        let hash = *key.last_chunk().ok_or_else(|| corrupt(Table::Changes, &key))?;
        out.push((hash, ChangeRow::decode(&payload)?));
    }
    out.sort_by_key(|(_, row)| row.ordinal);
    Ok(out)
}

/// Builds a document from its save and the changes after it.
pub(crate) fn build_document(kv: &dyn Kv, id: DocumentId) -> Result<Automerge, StoreError> {
    let saved = document_row(kv, id)?.map_or(0, |row| row.saved);
    let save = if saved > 0 { kv.get(Table::Saves, &id.to_bytes())? } else { None };
    let skip = if save.is_some() { saved } else { 0 };
    let mut tail = Vec::new();
    for (_, row) in changes(kv, id)?.into_iter().filter(|(_, row)| row.ordinal >= skip) {
        let (_, bytes) = change_bytes(kv, row.held)?;
        tail.push(Change::from_bytes(bytes).map_err(|_| corrupt(Table::Entries, &row.held.encode()))?);
    }
    document::rebuild(id.kind, save.as_deref(), tail).map_err(|_| corrupt(Table::Documents, &id.to_bytes()))
}
