//! Who changed what: a record's past, read from the entries that made it.

use automerge::ChangeHash;
use ctxnode_model::{DocumentId, NodeKey, Timestamp};

use crate::kv::Snapshot;
use crate::project::container;
use crate::rows::ChangeRow;
use crate::{StoreError, body, document, query};

/// One past state of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The revision that this change made; reads of the record at it see this state.
    pub rev: String,
    /// The node that made it.
    pub node: NodeKey,
    /// When, by that node's clock.
    pub at: Timestamp,
    /// Bytes of the body afterwards.
    pub body_bytes: usize,
}

impl Snapshot {
    /// Returns a record's changes, newest first, at most `limit`, and how many there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(&self, id: DocumentId, limit: usize) -> Result<(Vec<HistoryEntry>, usize), StoreError> {
        let mut changes = query::changes(self, id)?;
        changes.sort_by_key(|(_, row)| std::cmp::Reverse((row.stamp, row.held)));
        let total = changes.len();
        let doc = query::build_document(self, id)?;
        let mut out = Vec::new();
        for (hash, ChangeRow { held, time, .. }) in changes.into_iter().take(limit) {
            let heads = [ChangeHash(hash)];
            let Some(log) = query::log_by_number(self, held.log_no)? else { continue };
            let body_bytes = body_at(id, &doc, &heads).map_or(0, |body| body.len());
            out.push(HistoryEntry { rev: document::rev(&heads), node: log.author, at: time, body_bytes });
        }
        Ok((out, total))
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
        use automerge::ReadDoc as _;
        use ctxnode_model::schema::{Shape, fields};
        let Some(field) = fields(id.kind).iter().find(|field| field.shape == Shape::BodyMap) else { return Ok(None) };
        let doc = query::build_document(self, id)?;
        let Some(object) = container(id.kind, &doc, field.name) else { return Ok(None) };
        let found = doc.get(&object, key).ok().flatten();
        Ok(found.and_then(|(value, _)| value.into_string().ok()))
    }
}

fn body_at(id: DocumentId, doc: &automerge::Automerge, heads: &[ChangeHash]) -> Option<String> {
    use ctxnode_model::schema::{Shape, fields};
    let field = fields(id.kind).iter().find(|field| field.shape == Shape::BodyText)?;
    container(id.kind, doc, field.name).map(|list| body::text_at(doc, &list, heads))
}
