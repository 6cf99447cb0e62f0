//! Bringing what is applied in line with what is allowed, and what is derived in line with what is stored.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::LogId;
use ctxnode_model::{DocumentId, SpaceId};

use crate::apply::{Batch, Prepared, State, derive};
use crate::index_rows::write_index;
use crate::kv::{Direction, Kv, WriteTables};
use crate::rows::{self, Held, LogRow, QuarantineReason};
use crate::tables::Table;
use crate::{StoreError, query, threads};

/// Judges again the logs of every node whose rights changed: what is no longer allowed is taken out of its documents,
/// what is allowed now is applied. Runs until nothing changes.
pub(crate) fn judge_again(batch: &mut Batch<'_>) -> Result<(), StoreError> {
    loop {
        let nodes = batch.take_unsettled();
        if nodes.is_empty() {
            return Ok(());
        }
        let mut withdrawn: BTreeMap<DocumentId, SpaceId> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for (key, payload) in batch.tables.scan_prefix(Table::Logs, &[], Direction::Forward, usize::MAX)? {
            let log = rows::log_from_key(&key)?;
            if !nodes.contains(&log.author) {
                continue;
            }
            let row = LogRow::decode(&payload)?;
            for seq in 1..=row.length {
                judge_one(batch, (&log, row.number, seq), &mut withdrawn, &mut touched)?;
                if seq.is_multiple_of(STEP as u64) {
                    // What is applied need not stay in memory until everything is.
                    batch.flush()?;
                }
            }
        }
        for (id, space) in &withdrawn {
            let keep = standing_of(&batch.tables, ops_of(&batch.tables, *id)?)?;
            batch.rebuild(*id, *space, &keep)?;
            touched.insert(*id);
        }
        batch.journal_documents(touched.into_iter().collect());
        batch.flush()?;
    }
}

fn judge_one(
    batch: &mut Batch<'_>,
    (log, log_no, seq): (&LogId, u32, u64),
    withdrawn: &mut BTreeMap<DocumentId, SpaceId>,
    touched: &mut BTreeSet<DocumentId>,
) -> Result<(), StoreError> {
    let entry = query::entry(&batch.tables, log_no, seq)?;
    let key = rows::held_key(log_no, seq, rows::WHOLE_ENTRY);
    let held = batch.tables.get(Table::Quarantine, &key)?.is_some();
    match (batch.authority.judge(entry.header(), entry.ops(), log, seq), held) {
        (Ok(()), true) => {
            batch.tables.remove(Table::Quarantine, &key)?;
            let place = batch.place(Held { log_no, seq, op: rows::WHOLE_ENTRY })?;
            batch.apply_ops(&entry, place, &mut Prepared::new(), touched)
        }
        (Err(reason), was_held) => {
            // Why a part of it was held plays no part any more.
            let parts = rows::entry_key(log_no, seq);
            for (part, _) in batch.tables.scan_prefix(Table::Quarantine, &parts, Direction::Forward, usize::MAX)? {
                batch.tables.remove(Table::Quarantine, &part)?;
            }
            batch.tables.put(Table::Quarantine, &key, &QuarantineReason::Right { reason }.encode())?;
            if !was_held {
                let documents = entry.ops().iter().filter_map(|op| batch.document_of(op, log.space));
                withdrawn.extend(documents.map(|id| (id, log.space)));
            }
            Ok(())
        }
        (Ok(()), false) => Ok(()),
    }
}

/// The ops of a document that were ever allowed, applied or not.
pub(crate) fn ops_of(tables: &WriteTables<'_>, id: DocumentId) -> Result<Vec<Held>, StoreError> {
    let mut all: Vec<Held> = query::changes(tables, id)?.into_iter().map(|(_, row)| row.held).collect();
    for (_, payload) in tables.scan_prefix(Table::Waiting, &id.to_bytes(), Direction::Forward, usize::MAX)? {
        all.push(Held::decode(&payload)?);
    }
    for (key, payload) in tables.scan_prefix(Table::Marks, &id.to_bytes(), Direction::Forward, usize::MAX)? {
        all.push(rows::mark_from_row(&key, &payload)?.1);
    }
    Ok(all)
}

/// Those whose entries are not in quarantine.
pub(crate) fn standing_of(tables: &WriteTables<'_>, all: Vec<Held>) -> Result<Vec<Held>, StoreError> {
    let mut keep = Vec::new();
    for held in all {
        let key = rows::held_key(held.log_no, held.seq, rows::WHOLE_ENTRY);
        if tables.get(Table::Quarantine, &key)?.is_none() {
            keep.push(held);
        }
    }
    Ok(keep)
}

/// Deletes every derived table and makes it again from entries and documents.
pub(crate) fn rederive(tables: &WriteTables<'_>) -> Result<u64, StoreError> {
    for table in Table::ALL.iter().copied().filter(|table| table.is_derived()) {
        tables.clear(table)?;
    }
    let mut open_threads = BTreeSet::new();
    let mut done = 0;
    let mut after: Vec<u8> = Vec::new();
    loop {
        let bounds = (std::ops::Bound::Excluded(after.as_slice()), std::ops::Bound::Unbounded);
        let step = tables.scan(Table::Documents, bounds, Direction::Forward, STEP)?;
        let Some((last, _)) = step.last() else { break };
        after = last.clone();
        for (key, payload) in &step {
            let Some(id) = DocumentId::from_bytes(key) else { continue };
            let mut row = rows::DocumentRow::decode(payload)?;
            if row.saved > 0 {
                row.saved = 0;
                tables.put(Table::Documents, key, &row.encode())?;
            }
            let state = State::Loaded(query::build_document(tables, id)?);
            let Some((record, body)) = derive(tables, id, &row, &state)? else { continue };
            let index = ctxnode_model::index::rows(id, &record.meta, &record.view);
            write_index(tables, id, &[], &index)?;
            open_threads.extend(index.iter().filter_map(threads::thread_of));
            tables.put(Table::Records, key, &record.encode())?;
            if let Some(body) = body {
                tables.put(Table::Bodies, key, body.as_bytes())?;
            }
            done += 1;
        }
    }
    for (venture, thread) in open_threads {
        threads::refresh(tables, &venture, &thread)?;
    }
    Ok(done)
}

/// Rows, entries or documents that are read or held at a time, where all of them are gone through.
const STEP: usize = 1_024;
