//! The one way into the replica: an entry becomes log, documents, record views, indexes and journal, in one transaction.
//!
//! Local edits and foreign entries differ only in how their changes were made: a local one is applied to the document
//! already, a foreign one passes the screener and the panic boundary first.

mod context;
mod foreign;
mod rivals;

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, ChangeHash};
use ctxnode_model::frontier::LogId;
use ctxnode_model::index;
use ctxnode_model::{DocumentId, Edit, Ids, Kind, NodeKey, Order, RecordMeta, Space, SpaceId, Timestamp};

use crate::authority::{Authority, Refusal, holds_control, is_where_it_belongs};
use crate::document::{self, DocumentCache};
use crate::entry::{Header, Op, VerifiedEntry};
use crate::fresh::{Facts, Fresh};
use crate::index_rows::write_index;
use crate::kv::{Direction, Kv, WriteTables};
use crate::project::{Document, project};
use crate::query;
use crate::rows::{self, ChangeRow, DocumentRow, Held, JournalRow, LogRow, QuarantineReason, StoredRecord};
use crate::tables::Table;
use crate::{StoreError, branches, genesis, threads};

/// After how many changes since the last one a document is saved, so that it is not rebuilt from all of them.
const SAVE_EVERY: u32 = 32;
/// How many control ops of one batch are evaluated one by one, as they come. Whoever writes very many makes nobody slow.
const RENEWALS: u32 = 16;

/// Documents touched within one transaction, not yet projected.
struct Dirty {
    row: DocumentRow,
    state: State,
    /// The last change of each log, once somebody had to know.
    last: Option<BTreeMap<u32, Last>>,
    /// Whether changes to it were set aside, once somebody had to know.
    has_set_aside: Option<bool>,
}

/// The last change of a log to a document.
#[derive(Clone, Copy)]
struct Last {
    ordinal: u32,
    hash: [u8; 32],
    max_op: u64,
}

impl Dirty {
    fn new(row: DocumentRow, state: State) -> Self {
        Self { row, state, last: None, has_set_aside: None }
    }
}

/// What a document is after its changes so far.
#[expect(clippy::large_enum_variant, reason = "a transaction touches few, and documents move in and out of the cache")]
pub(crate) enum State {
    /// Loaded.
    Loaded(Automerge),
    /// It has one change, which was never given to the document library.
    Fresh(Fresh),
}

/// One transaction being filled.
pub(crate) struct Batch<'t> {
    pub(crate) tables: WriteTables<'t>,
    pub(crate) authority: Authority,
    pub(crate) cache: &'t mut DocumentCache,
    dirty: BTreeMap<DocumentId, Dirty>,
    next_ordinal: u64,
    journal: Vec<JournalRow>,
    unsettled: BTreeSet<NodeKey>,
    /// Documents in which two changes want one place, with their spaces: built again before anybody reads them.
    rivalled: BTreeMap<DocumentId, SpaceId>,
    /// Whether any change waits; where none does, nothing is looked up.
    has_waiting: bool,
    ids: Ids,
    pub(crate) fleet_space: SpaceId,
    /// Whether any log has branches; where none has, nothing is looked up.
    pub(crate) has_branches: bool,
    /// How often a control op has changed rights in this batch.
    renewed: u32,
    /// Whether the last of them have not been evaluated yet.
    pub(crate) is_outdated: bool,
}

/// A change of this node, with the document after it.
pub(crate) struct Made {
    pub(crate) change: Vec<u8>,
    state: State,
    facts: Facts,
}

/// Changes that this node made, not yet written.
pub(crate) type Prepared = BTreeMap<DocumentId, Made>;

/// Where an op stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    log: LogId,
    log_no: u32,
    /// The log whose actor its changes have: the one that it is a branch of.
    origin: u32,
    seq: u64,
    op: u16,
}

impl Place {
    fn held(self) -> Held {
        Held { log_no: self.log_no, seq: self.seq, op: self.op }
    }

    /// Its place in the causal order.
    fn order(self, header: &Header) -> Order {
        let LogId { author, epoch, .. } = self.log;
        Order { stamp: header.stamp, author, epoch, seq: self.seq }
    }
}

impl<'t> Batch<'t> {
    pub(crate) fn new(
        tables: WriteTables<'t>,
        authority: Authority,
        cache: &'t mut DocumentCache,
    ) -> Result<Self, StoreError> {
        let ids = tables.ids()?;
        let last = tables.scan_prefix(Table::Journal, &[], Direction::Backward, 1)?;
        let next_ordinal = last.first().map_or(1, |(key, _)| rows::be_u64(key) + 1);
        let has_branches = tables.len(Table::Branches)? > 0;
        let has_waiting = tables.len(Table::Waiting)? > 0;
        Ok(Self {
            tables,
            authority,
            cache,
            dirty: BTreeMap::new(),
            next_ordinal,
            journal: Vec::new(),
            unsettled: BTreeSet::new(),
            rivalled: BTreeMap::new(),
            has_waiting,
            ids,
            fleet_space: ids.space(&Space::Fleet),
            has_branches,
            renewed: 0,
            is_outdated: false,
        })
    }

    /// Takes an entry into a log and applies what the author had a right to. The caller has checked that it is the next
    /// one there; the log is the one that the entry names, or a branch of it.
    pub(crate) fn take(
        &mut self,
        entry: &VerifiedEntry,
        log: &LogId,
        row: &mut LogRow,
        prepared: &mut Prepared,
    ) -> Result<Option<Refusal>, StoreError> {
        let header = entry.header();
        row.length += 1;
        row.tip = *entry.hash();
        row.stamp = header.stamp;
        row.save(&self.tables, log)?;
        let (log_no, seq) = (row.number, row.length);
        self.tables.put(Table::Entries, &rows::entry_key(log_no, seq), entry.bytes())?;
        let place = Place { log: *log, log_no, origin: self.origin(log_no)?, seq, op: rows::WHOLE_ENTRY };

        // Control ops count by the set that they form, so they are known before anything is judged. Those of whoever was never made
        // an admin change nothing until it is.
        let mut control = false;
        let ops = if holds_control(header, self.fleet_space) { entry.ops() } else { &[] };
        for payload in ops.iter().filter_map(Op::control).filter(|payload| is_where_it_belongs(header, payload)) {
            self.tables.put(Table::Control, &rows::order_key(&place.order(header)), payload)?;
            control = true;
        }
        if control && self.authority.may_rule(&header.log.author) {
            // Many of them are evaluated together, once they are all here.
            self.renewed += 1;
            if self.renewed <= RENEWALS { self.renew_authority()? } else { self.is_outdated = true }
        }
        let refusal = self.authority.judge(header, entry.ops(), log, seq).err();
        let mut touched = BTreeSet::new();
        if let Some(reason) = refusal {
            self.hold(place, &QuarantineReason::Right { reason })?;
        } else {
            self.apply_ops(entry, place, prepared, &mut touched)?;
        }
        self.journal.push(JournalRow { log: Some((log_no, seq)), documents: touched.into_iter().collect() });
        Ok(refusal)
    }

    /// Evaluates the control ops anew; whose rights changed is judged again.
    pub(crate) fn renew_authority(&mut self) -> Result<(), StoreError> {
        self.is_outdated = false;
        let authority = Authority::evaluate(&branches::control_ops(&self.tables)?, self.fleet_space);
        self.unsettled.extend(self.authority.difference(&authority));
        self.authority = authority;
        Ok(())
    }

    /// Has every entry of an author judged again.
    pub(crate) fn unsettle(&mut self, author: NodeKey) {
        self.unsettled.insert(author);
    }

    /// The number of the log whose actor the changes of a log have.
    pub(super) fn origin(&self, number: u32) -> Result<u32, StoreError> {
        if !self.has_branches {
            return Ok(number);
        }
        Ok(branches::origin(&self.tables, number)?.map_or(number, |(origin, _)| origin))
    }

    /// Where a stored op stands.
    pub(crate) fn place(&self, held: Held) -> Result<Place, StoreError> {
        let Held { log_no, seq, op } = held;
        let corrupt = || StoreError::Corrupt { table: Table::LogNumbers.name(), key: log_no.to_be_bytes().to_vec() };
        let log = query::log_by_number(&self.tables, log_no)?.ok_or_else(corrupt)?;
        Ok(Place { log, log_no, origin: self.origin(log_no)?, seq, op })
    }

    /// Applies the ops of an entry that is allowed.
    pub(crate) fn apply_ops(
        &mut self,
        entry: &VerifiedEntry,
        place: Place,
        prepared: &mut Prepared,
        touched: &mut BTreeSet<DocumentId>,
    ) -> Result<(), StoreError> {
        for (at, op) in entry.ops().iter().enumerate() {
            let place = Place { op: u16::try_from(at).unwrap_or(u16::MAX), ..place };
            if op.document().is_some() && self.document_of(op, place.log.space).is_none() {
                self.hold(place, &QuarantineReason::OtherSpace)?;
                continue;
            }
            match op {
                Op::Change { document, change } => {
                    touched.insert(*document);
                    match prepared.remove(document) {
                        Some(made) => self.take_made(*document, entry, place, made)?,
                        None => self.take_foreign(*document, entry, place, change)?,
                    }
                }
                Op::Tombstone(document) | Op::Revive(document) => {
                    touched.insert(*document);
                    self.mark(*document, entry, place, matches!(op, Op::Tombstone(_)))?;
                }
                Op::Control(_) | Op::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    /// The document that an op is about, if it may be changed in a space.
    pub(crate) fn document_of(&self, op: &Op, space: SpaceId) -> Option<DocumentId> {
        op.document().filter(|id| self.ids.may_lie_in(*id, space))
    }

    fn take_made(&mut self, id: DocumentId, entry: &VerifiedEntry, place: Place, made: Made) -> Result<(), StoreError> {
        let row = match self.dirty.remove(&id) {
            Some(dirty) => dirty.row,
            None => self.row(id, entry.header().log.space)?,
        };
        self.dirty.insert(id, Dirty::new(row, made.state));
        self.note(id, entry.header(), place, &made.facts)?;
        self.settle(id, place)
    }

    fn dirty(&self, id: DocumentId) -> Result<&Dirty, StoreError> {
        self.dirty.get(&id).ok_or(StoreError::Closed)
    }

    fn dirty_mut(&mut self, id: DocumentId) -> Result<&mut Dirty, StoreError> {
        self.dirty.get_mut(&id).ok_or(StoreError::Closed)
    }

    /// Notes an applied change: its row, the document's heads, counts and order.
    fn note(&mut self, id: DocumentId, header: &Header, place: Place, facts: &Facts) -> Result<(), StoreError> {
        let dirty = self.dirty.get_mut(&id).ok_or(StoreError::Closed)?;
        let row = &mut dirty.row;
        let change = ChangeRow {
            ordinal: row.changes,
            held: place.held(),
            max_op: facts.max_op,
            stamp: header.stamp,
            time: header.time,
        };
        row.changes += 1;
        row.heads.retain(|head| !facts.deps.contains(head));
        row.heads.push(facts.hash);
        row.authors.insert(place.origin, facts.actor_seq);
        if let Some(last) = &mut dirty.last {
            last.insert(place.origin, Last { ordinal: change.ordinal, hash: facts.hash.0, max_op: facts.max_op });
        }
        row.touch(place.order(header), header.log.space);
        self.tables.put(Table::Changes, &rows::change_key(id, &facts.hash.0), &change.encode())
    }

    fn mark(&mut self, id: DocumentId, entry: &VerifiedEntry, place: Place, hides: bool) -> Result<(), StoreError> {
        let order = place.order(entry.header());
        self.tables.put(Table::Marks, &rows::mark_key(id, &order), &rows::mark_value(place.held(), hides))?;
        self.load(id, entry.header().log.space)?;
        let dirty = self.dirty.get_mut(&id).ok_or(StoreError::Closed)?;
        if dirty.row.tombstone.is_none_or(|(known, _)| known <= order) {
            dirty.row.tombstone = Some((order, hides));
        }
        dirty.row.touch(order, entry.header().log.space);
        Ok(())
    }

    /// Makes sure that a document is loaded and marked as touched.
    pub(crate) fn load(&mut self, id: DocumentId, space: SpaceId) -> Result<(), StoreError> {
        if self.dirty.contains_key(&id) {
            return Ok(());
        }
        let row = self.row(id, space)?;
        let doc = self.document(id, &row)?;
        self.dirty.insert(id, Dirty::new(row, State::Loaded(doc)));
        Ok(())
    }

    /// Makes the change that carries out edits; `None` when nothing would change.
    pub(crate) fn make(
        &mut self,
        id: DocumentId,
        log: &LogId,
        now: Timestamp,
        agent: Option<&str>,
        edits: &[Edit],
    ) -> Result<Option<Made>, StoreError> {
        let row = query::document_row(&self.tables, id)?;
        let fresh = if row.is_none() { Fresh::of_edits(id.kind, edits) } else { None };
        if let Some(fresh) = fresh {
            let (change, facts) = fresh.change(document::actor(log).to_bytes(), now, agent);
            return Ok((!fresh.is_empty()).then_some(Made { change, facts, state: State::Fresh(fresh) }));
        }
        let mut doc = match row {
            Some(row) => self.document(id, &row)?,
            None => genesis::base_document(id.kind),
        };
        let made = document::edit(&mut doc, id, log, now, agent, edits)?;
        Ok(made.map(|made| Made {
            change: made.raw_bytes().to_vec(),
            facts: Facts {
                hash: made.hash(),
                actor_seq: made.seq(),
                max_op: made.max_op(),
                deps: made.deps().to_vec(),
            },
            state: State::Loaded(doc),
        }))
    }

    fn row(&self, id: DocumentId, space: SpaceId) -> Result<DocumentRow, StoreError> {
        Ok(query::document_row(&self.tables, id)?.unwrap_or_else(|| DocumentRow::new(id.kind, space)))
    }

    fn document(&mut self, id: DocumentId, row: &DocumentRow) -> Result<Automerge, StoreError> {
        if let Some(doc) = self.cache.take(&id, &row.heads) {
            return Ok(doc);
        }
        query::build_document(&self.tables, id)
    }

    fn hold(&self, place: Place, reason: &QuarantineReason) -> Result<(), StoreError> {
        self.tables.put(Table::Quarantine, &place.held().encode(), &reason.encode())
    }

    /// Projects every touched document and writes the journal. After this, reads see what was done.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        self.settle_rivals()?;
        let mut changed_threads = BTreeSet::new();
        for (id, dirty) in std::mem::take(&mut self.dirty) {
            self.write_record(id, dirty, &mut changed_threads)?;
        }
        let mut also = BTreeSet::new();
        for (venture, thread) in changed_threads {
            also.extend(threads::refresh(&self.tables, &venture, &thread)?);
        }
        let mut rows = std::mem::take(&mut self.journal);
        let named: BTreeSet<DocumentId> = rows.iter().flat_map(|row| row.documents.iter().copied()).collect();
        let rest: Vec<DocumentId> = also.difference(&named).copied().collect();
        if !rest.is_empty() {
            rows.push(JournalRow { log: None, documents: rest });
        }
        for row in rows {
            self.tables.put(Table::Journal, &self.next_ordinal.to_be_bytes(), &row.encode())?;
            self.next_ordinal += 1;
        }
        Ok(())
    }

    fn write_record(
        &mut self,
        id: DocumentId,
        dirty: Dirty,
        changed_threads: &mut BTreeSet<(String, String)>,
    ) -> Result<(), StoreError> {
        let Dirty { mut row, state, .. } = dirty;
        if row.changes >= row.saved + SAVE_EVERY
            && let State::Loaded(doc) = &state
            && let Ok(save) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| doc.save_and_verify()))
            && let Ok(bytes) = save
        {
            self.tables.put(Table::Saves, &id.to_bytes(), &bytes)?;
            row.saved = row.changes;
        }
        self.tables.put(Table::Documents, &id.to_bytes(), &row.encode())?;

        let (record, body) = derive(&self.tables, id, &row, &state)?.unzip();
        let body = body.flatten();
        let before = query::stored_record(&self.tables, id)?;
        let rows_of = |record: &StoredRecord| index::rows(id, &record.meta, &record.view);
        let old_rows = before.as_ref().map_or_else(Vec::new, rows_of);
        let new_rows = record.as_ref().map_or_else(Vec::new, rows_of);
        write_index(&self.tables, id, &old_rows, &new_rows)?;
        if id.kind == Kind::Handoff {
            let moved = |old: &StoredRecord| {
                record.as_ref().is_none_or(|new| new.meta.deleted || old.meta.created != new.meta.created)
            };
            if let Some(old) = before.as_ref().filter(|old| moved(old)) {
                threads::forget(&self.tables, id, old)?;
            }
            let all = old_rows.iter().chain(&new_rows);
            changed_threads.extend(all.filter_map(threads::thread_of));
        }
        match &record {
            Some(record) => self.tables.put(Table::Records, &id.to_bytes(), &record.encode())?,
            None => drop(self.tables.remove(Table::Records, &id.to_bytes())?),
        }
        match &body {
            Some(body) => self.tables.put(Table::Bodies, &id.to_bytes(), body.as_bytes())?,
            None => drop(self.tables.remove(Table::Bodies, &id.to_bytes())?),
        }
        if let State::Loaded(doc) = state {
            self.cache.keep(id, doc, body.as_deref());
        }
        Ok(())
    }

    /// Returns the position of the last journal row written so far.
    pub(crate) fn journal_end(&self) -> u64 {
        self.next_ordinal - 1
    }

    /// Takes the nodes whose rights changed, whose logs must be judged again.
    pub(crate) fn take_unsettled(&mut self) -> BTreeSet<NodeKey> {
        std::mem::take(&mut self.unsettled)
    }

    /// Notes documents whose views changed without a new entry.
    pub(crate) fn journal_documents(&mut self, documents: Vec<DocumentId>) {
        if !documents.is_empty() {
            self.journal.push(JournalRow { log: None, documents });
        }
    }

    /// Drops all that is applied of a document and applies the given ops of it from the beginning.
    pub(crate) fn rebuild(&mut self, id: DocumentId, space: SpaceId, keep: &[Held]) -> Result<(), StoreError> {
        let applied = query::changes(&self.tables, id)?.into_iter().map(|(_, row)| row.held).collect();
        for table in [Table::Changes, Table::Waiting, Table::Marks] {
            for (key, payload) in self.tables.scan_prefix(table, &id.to_bytes(), Direction::Forward, usize::MAX)? {
                self.tables.remove(table, &key)?;
                if table == Table::Waiting && !keep.contains(&Held::decode(&payload)?) {
                    // It is withdrawn, and why it was set aside plays no part any more.
                    self.tables.remove(Table::Quarantine, &payload)?;
                }
            }
        }
        self.tables.remove(Table::Saves, &id.to_bytes())?;
        let row = DocumentRow::new(id.kind, space);
        self.dirty.insert(id, Dirty::new(row, State::Loaded(genesis::base_document(id.kind))));
        for held in keep {
            let entry = query::entry(&self.tables, held.log_no, held.seq)?;
            if let Some(op @ (Op::Tombstone(_) | Op::Revive(_))) = entry.ops().get(usize::from(held.op)) {
                self.mark(id, &entry, self.place(*held)?, matches!(op, Op::Tombstone(_)))?;
            }
        }
        self.apply_in_order(id, keep, &applied)
    }
}

/// What a record names that says it belongs to another space than it lies in: as where nothing is named.
const NO_VENTURE: &str = "-";

/// The greatest op counter of changes, by hash.
type MaxOps = BTreeMap<[u8; 32], u64>;

/// Derives record and body of a document from what is stored; `None` without a change that stands: a document that only
/// a tombstone names, or whose changes were all withdrawn, is no record, nor is a doc that names another space than its own.
pub(crate) fn derive(
    kv: &dyn Kv,
    id: DocumentId,
    row: &DocumentRow,
    state: &State,
) -> Result<Option<(StoredRecord, Option<String>)>, StoreError> {
    if row.changes == 0 {
        return Ok(None);
    }
    let order_of = |hash: &ChangeHash| query::order_of_change(kv, id, hash);
    let projected = match state {
        State::Loaded(doc) => project(id.kind, &Document { kind: id.kind, doc, heads: None, order_of: &order_of }),
        State::Fresh(fresh) => project(id.kind, fresh),
    };
    let mut projected = projected;
    if let Some(field) = kv.ids()?.misplaced(id.kind, &projected.view, row.space) {
        if matches!(id.kind, Kind::Doc | Kind::GeneratedDoc | Kind::Requirement | Kind::Venture) {
            // Nobody who asks by its key asks for this one.
            return Ok(None);
        }
        // It stays to be found, and counts in no venture.
        projected.view.insert(field.to_owned(), NO_VENTURE.into());
    }
    let meta = RecordMeta {
        space: row.space,
        created: row.created,
        updated: row.updated,
        rev: document::rev(&row.heads),
        deleted: row.tombstone.is_some_and(|(_, hides)| hides),
        conflicts: projected.conflicts,
    };
    Ok(Some((StoredRecord { meta, view: projected.view }, projected.body)))
}
