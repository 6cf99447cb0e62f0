//! Who changed what: a record's past, read from the entries that made it.
//!
//! Each change is compared with the state that its author saw, so that of two changes made apart each shows what its
//! author did, and a merge shows nothing that nobody wrote.

use std::time::Duration;

use automerge::{Automerge, ChangeHash, ReadDoc as _};
use ctxnode_model::schema::is_bookkeeping;
use ctxnode_model::{DocumentId, NodeKey, Order, Timestamp};
use serde_json::{Map, Value};
use similar::TextDiff;

use crate::kv::{Direction, Kv as _, Snapshot};
use crate::project::{Document, Projected, agent_of, container, project};
use crate::rows::{self, ChangeRow, Held};
use crate::tables::Table;
use crate::{StoreError, body, document, query};

/// Lines around a change in the difference of two bodies.
const CONTEXT: usize = 2;
/// The longest difference in bytes; who wants more reads both revisions.
const DIFF_BYTES: usize = 16 << 10;
/// How long one difference may take before the rest counts as replaced.
const DIFF_DEADLINE: Duration = Duration::from_millis(50);

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Fields or body changed.
    Changed,
    /// It was deleted.
    Deleted,
    /// It was brought back.
    Revived,
}

/// One field before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field, or `field.key` for an entry of a map.
    pub field: String,
    /// Null when it was absent.
    pub before: Value,
    /// Null when it is absent.
    pub after: Value,
}

/// One step in the life of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What happened.
    pub happened: Happened,
    /// The revision that a change made; reads of the record at it see this state. Empty for a deletion.
    pub rev: String,
    /// The node that made it.
    pub node: NodeKey,
    /// The agent for whom the node made it, when it said so.
    pub agent: Option<String>,
    /// When, by that node's clock.
    pub at: Timestamp,
    /// The fields that it changed, without those that ctxnode writes along.
    pub fields: Vec<FieldChange>,
    /// How the body changed, as a unified difference, cut at 16 KiB; `None` when it did not.
    pub diff: Option<String>,
    /// Bytes of the body afterwards.
    pub body_bytes: usize,
}

/// Where a step stands; steps are listed by it, newest first.
type Place = (Order, u16);

enum Step {
    Change(ChangeHash, ChangeRow),
    Mark(Held, bool),
}

impl Snapshot {
    /// Returns what happened to a record, newest first: at most `limit` steps after the first `skip`, and how many there
    /// are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(&self, id: DocumentId, skip: usize, limit: usize) -> Result<(Vec<HistoryEntry>, usize), StoreError> {
        let mut steps: Vec<(Place, Step)> = Vec::new();
        for (hash, row) in query::changes(self, id)? {
            let Some(log) = query::log_by_number(self, row.held.log_no)? else { continue };
            let order = Order { stamp: row.stamp, author: log.author, epoch: log.epoch, seq: row.held.seq };
            steps.push(((order, row.held.op), Step::Change(ChangeHash(hash), row)));
        }
        for (key, payload) in self.scan_prefix(Table::Marks, &id.to_bytes(), Direction::Forward, usize::MAX)? {
            let (order, held, hides) = rows::mark_from_row(&key, &payload)?;
            steps.push(((order, held.op), Step::Mark(held, hides)));
        }
        steps.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        let total = steps.len();
        let doc = query::build_document(self, id)?;
        let page = steps.into_iter().skip(skip).take(limit);
        let entries = page.map(|((order, _), step)| match step {
            Step::Change(hash, row) => Ok(self.changed(id, &doc, hash, &row, order.author)),
            Step::Mark(held, hides) => {
                let entry = query::entry(self, held.log_no, held.seq)?;
                Ok(HistoryEntry {
                    happened: if hides { Happened::Deleted } else { Happened::Revived },
                    rev: String::new(),
                    node: order.author,
                    agent: None,
                    at: entry.header().time,
                    fields: Vec::new(),
                    diff: None,
                    body_bytes: 0,
                })
            }
        });
        Ok((entries.collect::<Result<_, StoreError>>()?, total))
    }

    fn changed(
        &self,
        id: DocumentId,
        doc: &Automerge,
        hash: ChangeHash,
        row: &ChangeRow,
        node: NodeKey,
    ) -> HistoryEntry {
        let deps = doc.get_change_meta_by_hash(&hash).map(|meta| meta.deps).unwrap_or_default();
        let order_of = |hash: &ChangeHash| query::order_of_change(self, id, hash);
        let state = |heads: &[ChangeHash]| {
            // Before the first change there was nothing.
            let source = Document { kind: id.kind, doc, heads: Some(heads), order_of: &order_of };
            if heads.is_empty() { Projected::default() } else { project(id.kind, &source) }
        };
        let (before, after) = (state(&deps), state(&[hash]));
        HistoryEntry {
            happened: Happened::Changed,
            rev: document::rev(&[hash]),
            node,
            agent: agent_of(doc, &hash),
            at: row.time,
            fields: field_changes(&before.view, &after.view),
            diff: difference(&before, &after),
            body_bytes: after.body.map_or(0, |body| body.len()),
        }
    }

    /// Returns a note's body as of a revision; `None` when the record has no such revision.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn body_at(&self, id: DocumentId, rev: &str) -> Result<Option<String>, StoreError> {
        let Some(heads) = document::heads_of_rev(rev) else { return Ok(None) };
        let doc = query::build_document(self, id)?;
        if heads.iter().any(|hash| doc.get_change_meta_by_hash(hash).is_none()) {
            return Ok(None);
        }
        Ok(body_at(id, &doc, &heads))
    }

    /// Returns a value of a body map, for example the content of an earlier revision of a doc.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn body_entry(&self, id: DocumentId, key: &str) -> Result<Option<String>, StoreError> {
        use ctxnode_model::schema::{Shape, fields};
        let Some(field) = fields(id.kind).iter().find(|field| field.shape == Shape::BodyMap) else { return Ok(None) };
        let doc = query::build_document(self, id)?;
        let Some(object) = container(id.kind, &doc, field.name) else { return Ok(None) };
        let found = doc.get(&object, key).ok().flatten();
        Ok(found.and_then(|(value, _)| value.into_string().ok()))
    }
}

fn body_at(id: DocumentId, doc: &Automerge, heads: &[ChangeHash]) -> Option<String> {
    use ctxnode_model::schema::{Shape, fields};
    let field = fields(id.kind).iter().find(|field| field.shape == Shape::BodyText)?;
    container(id.kind, doc, field.name).map(|list| body::text_at(doc, &list, heads))
}

/// Compares two views; entries of maps are compared one by one.
fn field_changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", before, after, &mut changes);
    changes
}

fn compare(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, changes: &mut Vec<FieldChange>) {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    for name in after.keys().chain(gone).filter(|name| !is_bookkeeping(name)) {
        let of = |view: &Map<String, Value>| view.get(name).cloned().unwrap_or_default();
        let (old, new) = (of(before), of(after));
        match (&old, &new) {
            _ if old == new => {}
            (Value::Object(old), Value::Object(new)) if path.is_empty() => {
                compare(&format!("{name}."), old, new, changes);
            }
            (Value::Null, Value::Object(new)) if path.is_empty() => {
                compare(&format!("{name}."), &Map::new(), new, changes);
            }
            // A set that was empty from the beginning says nothing.
            (Value::Null, Value::Array(items)) if items.is_empty() => {}
            _ => changes.push(FieldChange { field: format!("{path}{name}"), before: old, after: new }),
        }
    }
}

fn difference(before: &Projected, after: &Projected) -> Option<String> {
    let (old, new) = (before.body.as_deref().unwrap_or_default(), after.body.as_deref().unwrap_or_default());
    if old == new {
        return None;
    }
    let diff = TextDiff::configure().timeout(DIFF_DEADLINE).diff_lines(old, new);
    let mut text = diff.unified_diff().context_radius(CONTEXT).to_string();
    if text.len() > DIFF_BYTES {
        let mut end = DIFF_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let left = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("\n[{left} more bytes of difference]\n"));
    }
    Some(text)
}
