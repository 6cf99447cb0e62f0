//! What a change did, as edits: to do it again where the change itself cannot stand.
//!
//! The change is compared with the state that its author saw; only what it did is done again, never what others did.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, ChangeHash, ObjId as ExId, ROOT, ReadDoc as _, ScalarValue, Value};
use ctxnode_model::schema::{Shape, fields};
use ctxnode_model::{DocumentId, Edit, Scalar};

use crate::kv::Kv;
use crate::project::container;
use crate::rows::{self, ChangeRow, Held};
use crate::tables::Table;
use crate::{StoreError, body, document, query, screen};

/// Returns the edits that do to a record, as it is now, what a change did; none when something before it is missing.
pub(crate) fn edits(kv: &dyn Kv, id: DocumentId, hash: &[u8; 32]) -> Result<Vec<Edit>, StoreError> {
    let Some((doc, deps)) = branch(kv, id, hash)? else { return Ok(Vec::new()) };
    let now =
        kv.get(Table::Bodies, &id.to_bytes())?.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (before, after) = (deps.as_slice(), [ChangeHash(*hash)]);
    let mut edits = Vec::new();
    for field in fields(id.kind) {
        if !field.shape.is_container() {
            match (value(&doc, &ROOT, field.name, before), value(&doc, &ROOT, field.name, &after)) {
                (old, new) if old == new => {}
                (_, Some(value)) => edits.push(Edit::Set { field: field.name, value }),
                (_, None) => edits.push(Edit::Unset { field: field.name }),
            }
            continue;
        }
        let Some(object) = container(id.kind, &doc, field.name) else { continue };
        if field.shape == Shape::BodyText {
            let (old, new) = (body::text_at(&doc, &object, before), body::text_at(&doc, &object, &after));
            if old != new {
                let text = body::transplant(&now, &old, &new);
                edits.push(Edit::Body { field: field.name, text, base: None });
            }
            continue;
        }
        let keys: BTreeSet<String> = doc.keys_at(&object, before).chain(doc.keys_at(&object, &after)).collect();
        for key in keys {
            match (value(&doc, &object, &key, before), value(&doc, &object, &key, &after)) {
                (old, new) if old == new => {}
                (_, Some(value)) => edits.push(Edit::Insert { field: field.name, key, value }),
                (_, None) => edits.push(Edit::Remove { field: field.name, key }),
            }
        }
    }
    Ok(edits)
}

fn value(doc: &Automerge, object: &ExId, key: &str, heads: &[ChangeHash]) -> Option<Scalar> {
    match doc.get_at(object, key, heads).ok()?? {
        (Value::Scalar(value), _) => match value.as_ref() {
            ScalarValue::Str(text) => Some(Scalar::Str(text.to_string())),
            ScalarValue::Int(number) => Some(Scalar::Int(*number)),
            ScalarValue::Boolean(truth) => Some(Scalar::Bool(*truth)),
            _ => None,
        },
        _ => None,
    }
}

/// Builds the document that a change's author had after it, of which parts may not be applied here; returns it with what
/// the change depends on. `None` when something of it is missing or does not fit together.
fn branch(kv: &dyn Kv, id: DocumentId, hash: &[u8; 32]) -> Result<Option<(Automerge, Vec<ChangeHash>)>, StoreError> {
    let genesis = crate::genesis::genesis(id.kind).map(|genesis| genesis.hash);
    let mut found: BTreeMap<[u8; 32], Change> = BTreeMap::new();
    let mut deps_of_last = Vec::new();
    let mut open = vec![*hash];
    while let Some(next) = open.pop() {
        if found.contains_key(&next) || genesis == Some(next) {
            continue;
        }
        let Some(held) = held(kv, id, &next)? else { return Ok(None) };
        let (_, bytes) = query::change_bytes(kv, held)?;
        let Ok(facts) = screen::parse(&bytes) else { return Ok(None) };
        if next == *hash {
            deps_of_last = facts.deps.iter().map(|hash| ChangeHash(*hash)).collect();
        }
        open.extend(facts.deps);
        let Some(change) = std::panic::catch_unwind(|| Change::from_bytes(bytes)).ok().and_then(Result::ok) else {
            return Ok(None);
        };
        found.insert(next, change);
    }
    let doc = document::rebuild(id.kind, None, found.into_values().collect());
    Ok(doc.ok().map(|doc| (doc, deps_of_last)))
}

fn held(kv: &dyn Kv, id: DocumentId, hash: &[u8; 32]) -> Result<Option<Held>, StoreError> {
    let key = rows::change_key(id, hash);
    if let Some(payload) = kv.get(Table::Changes, &key)? {
        return Ok(Some(ChangeRow::decode(&payload)?.held));
    }
    kv.get(Table::Waiting, &key)?.map(|payload| Held::decode(&payload)).transpose()
}
