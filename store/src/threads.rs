//! Which handoffs of a thread are open.
//!
//! A handoff supersedes the earlier ones of its thread, in causal order, so that all replicas agree. A machine draft
//! never supersedes a handoff that an agent wrote: the newest of an agent stays open beside a newer draft. Close marks
//! close any handoff. The open ones stand in an index of their own, which this file maintains.

use std::collections::BTreeSet;

use ctxnode_model::index::{Index, IndexRow};
use ctxnode_model::record::Handoff;
use ctxnode_model::{DocumentId, Kind, Stamp};

use crate::StoreError;
use crate::index_rows::write_index;
use crate::kv::{Direction, Kv as _, WriteTables};
use crate::query::{Listing, Reader};
use crate::rows::{self, StoredRecord};
use crate::tables::Table;

/// Returns venture and thread when the row says which thread a handoff belongs to.
pub(crate) fn thread_of(row: &IndexRow) -> Option<(String, String)> {
    match (row.index, row.prefix.as_slice()) {
        (Index::Thread, [venture, thread]) => Some((venture.clone(), thread.clone())),
        _ => None,
    }
}

/// The index row of an open handoff.
pub(crate) fn open_row(venture: &str, stamp: Stamp) -> IndexRow {
    IndexRow { index: Index::HandoffOpen, prefix: vec![venture.to_owned()], sort: stamp.0 }
}

/// The rows of an open handoff: by venture for start output, by thread for this file.
fn open_rows(venture: &str, thread: &str, stamp: Stamp) -> [IndexRow; 2] {
    let prefix = vec![venture.to_owned(), thread.to_owned()];
    [open_row(venture, stamp), IndexRow { index: Index::ThreadOpen, prefix, sort: stamp.0 }]
}

/// Removes the open rows of a handoff whose place in the order is no longer the one that they were made with.
pub(crate) fn forget(tables: &WriteTables<'_>, id: DocumentId, old: &StoredRecord) -> Result<(), StoreError> {
    let text = |name: &str| old.view.get(name).and_then(serde_json::Value::as_str).unwrap_or("-").to_owned();
    write_index(tables, id, &open_rows(&text("venture"), &text("thread"), old.meta.created.stamp), &[])
}

/// Brings the open rows of a thread up to date; returns the handoffs whose state changed.
pub(crate) fn refresh(tables: &WriteTables<'_>, venture: &str, thread: &str) -> Result<Vec<DocumentId>, StoreError> {
    let open = open_handoffs(Reader::new(tables), venture, thread)?;
    let prefix = rows::index_prefix(Index::ThreadOpen, Kind::Handoff, &[venture, thread]);
    let mut was_open = BTreeSet::new();
    for (key, _) in tables.scan_prefix(Table::Index, &prefix, Direction::Forward, usize::MAX)? {
        if let Some((sort, raw)) = rows::index_tail(&key) {
            was_open.insert((Stamp(sort), DocumentId { kind: Kind::Handoff, raw }));
        }
    }
    for (stamp, id) in was_open.difference(&open) {
        write_index(tables, *id, &open_rows(venture, thread, *stamp), &[])?;
    }
    for (stamp, id) in open.difference(&was_open) {
        write_index(tables, *id, &[], &open_rows(venture, thread, *stamp))?;
    }
    Ok(was_open.symmetric_difference(&open).map(|(_, id)| *id).collect())
}

/// Walks a thread from the newest on, down to the newest handoff that an agent wrote.
fn open_handoffs(reader: Reader<'_>, venture: &str, thread: &str) -> Result<BTreeSet<(Stamp, DocumentId)>, StoreError> {
    let prefix = [venture, thread];
    let mut open = BTreeSet::new();
    let mut draft_seen = false;
    let mut after = None;
    loop {
        let listing = Listing { index: Index::Thread, kind: Kind::Handoff, prefix: &prefix, after, limit: PAGE };
        let page = reader.list::<Handoff>(&listing)?;
        for handoff in &page.items {
            let newest_draft = handoff.drafted && !draft_seen;
            draft_seen |= handoff.drafted;
            if (newest_draft || !handoff.drafted) && handoff.closed.is_empty() {
                open.insert((handoff.meta.created.stamp, handoff.id));
            }
            if !handoff.drafted {
                return Ok(open);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(open);
        }
    }
}

/// The newest handoff of a thread usually settles it.
const PAGE: usize = 4;
