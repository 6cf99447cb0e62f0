//! From a document to its record view: a pure function of the document and of the order of its changes.
//!
//! The rules read a [`Source`]: a loaded document, as it is now or as of some heads, or a first change that never became
//! one.
//!
//! Where a register has concurrent values, the one from the newest entry is shown and all are listed. What does not have
//! the shape that the schema gives it is left out: a hostile value never breaks a list.

use automerge::{Automerge, ChangeHash, ObjId as ExId, ObjType, ROOT, ReadDoc as _, ScalarValue, Value as AmValue};
use ctxnode_model::schema::{Field, Shape, fields, is_bookkeeping};
use ctxnode_model::{Conflict, Kind, Order, Timestamp, Written};
use serde_json::{Map, Value};

use crate::{body, genesis};

/// How many states of the plan its view keeps.
const PLAN_STATES: usize = 10;

/// A document as callers see it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Projected {
    pub(crate) view: Map<String, Value>,
    pub(crate) body: Option<String>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Returns when and by whom a change was made.
pub(crate) type OrderOf<'a> = dyn Fn(&ChangeHash) -> Option<(Order, Timestamp)> + 'a;

/// A value and where it comes from; the origin is known only where there are several.
pub(crate) struct Found {
    value: Value,
    order: Order,
    at: Timestamp,
    agent: Option<String>,
}

impl Found {
    /// The only value of its place.
    pub(crate) fn alone(value: Value) -> Self {
        Self { value, order: Order::FIRST, at: Timestamp(0), agent: None }
    }
}

impl From<Found> for Written {
    fn from(found: Found) -> Self {
        Self { value: found.value, node: found.order.author, agent: found.agent, at: found.at }
    }
}

/// What a view is read from.
pub(crate) trait Source {
    /// A container.
    type Object;

    /// Returns the container of a field.
    fn container(&self, field: &Field) -> Option<Self::Object>;
    /// Returns the well-shaped values at a key of a container or of the root, newest first.
    fn values(&self, object: Option<&Self::Object>, key: &str, shape: Shape) -> Vec<Found>;
    /// Returns the keys of a container in any order.
    fn keys(&self, object: &Self::Object) -> Vec<String>;
    /// Returns the text of a list; `None` when the container is something else.
    fn text(&self, object: &Self::Object) -> Option<String>;
}

/// Reads a record.
pub(crate) fn project(kind: Kind, source: &impl Source) -> Projected {
    let mut out = Projected::default();
    for field in fields(kind) {
        if !field.shape.is_container() {
            project_register(source, *field, &mut out);
        } else if let Some(object) = source.container(field) {
            project_container(kind, source, *field, &object, &mut out);
        }
    }
    out
}

/// A loaded document: as it is now, or as of some heads.
pub(crate) struct Document<'a> {
    pub(crate) kind: Kind,
    pub(crate) doc: &'a Automerge,
    pub(crate) heads: Option<&'a [ChangeHash]>,
    pub(crate) order_of: &'a OrderOf<'a>,
}

impl Source for Document<'_> {
    type Object = ExId;

    fn container(&self, field: &Field) -> Option<ExId> {
        container(self.kind, self.doc, field.name)
    }

    fn values(&self, object: Option<&ExId>, key: &str, shape: Shape) -> Vec<Found> {
        let object = object.unwrap_or(&ROOT);
        let found = match self.heads {
            None => self.doc.get_all(object, key),
            Some(heads) => self.doc.get_all_at(object, key, heads),
        };
        let found = found.unwrap_or_default();
        let several = found.len() > 1;
        let mut values: Vec<Found> = found
            .into_iter()
            .filter_map(|(value, id)| {
                let AmValue::Scalar(scalar) = &value else { return None };
                let value = shaped(scalar, shape)?;
                // With one value there is nothing to order, and the lookup is what costs.
                let Some(hash) = several.then(|| self.doc.hash_for_opid(&id)).flatten() else {
                    return Some(Found::alone(value));
                };
                let (order, at) = (self.order_of)(&hash).unwrap_or((Order::FIRST, Timestamp(0)));
                Some(Found { value, order, at, agent: agent_of(self.doc, &hash) })
            })
            .collect();
        values.sort_by_key(|found| std::cmp::Reverse(found.order));
        values
    }

    fn keys(&self, object: &ExId) -> Vec<String> {
        match self.heads {
            None => self.doc.keys(object).collect(),
            Some(heads) => self.doc.keys_at(object, heads).collect(),
        }
    }

    fn text(&self, object: &ExId) -> Option<String> {
        let is_list = self.doc.object_type(object).is_ok_and(|found| found == ObjType::List);
        is_list.then(|| match self.heads {
            None => body::text(self.doc, object),
            Some(heads) => body::text_at(self.doc, object, heads),
        })
    }
}

/// Returns the container that the genesis change made. A rival object that somebody put at the same key is ignored.
pub(crate) fn container(kind: Kind, doc: &Automerge, name: &str) -> Option<ExId> {
    let actor = &genesis::genesis(kind)?.actor;
    let values = doc.get_all(ROOT, name).ok()?;
    values.into_iter().find_map(|(value, id)| match (&value, &id) {
        (AmValue::Object(_), ExId::Id(_, maker, _)) if maker.to_bytes() == actor.as_slice() => Some(id),
        _ => None,
    })
}

/// Returns the agent that a change names: its message.
pub(crate) fn agent_of(doc: &Automerge, hash: &ChangeHash) -> Option<String> {
    doc.get_change_meta_by_hash(hash)?.message.map(|text| text.into_owned()).filter(|text| !text.is_empty())
}

/// Returns a value as the schema wants it; `None` when it does not have that shape.
pub(crate) fn shaped(scalar: &ScalarValue, shape: Shape) -> Option<Value> {
    match (scalar, shape) {
        (ScalarValue::Str(text), Shape::Str | Shape::BodyStr | Shape::Map | Shape::BodyMap) => {
            Some(Value::String(text.to_string()))
        }
        (ScalarValue::Str(text), Shape::Json | Shape::JsonMap) => serde_json::from_str(text).ok(),
        (ScalarValue::Int(number), Shape::Int | Shape::Map) => Some(Value::from(*number)),
        (ScalarValue::Boolean(truth), Shape::Bool | Shape::Map | Shape::Set) => Some(Value::Bool(*truth)),
        _ => None,
    }
}

fn project_register(source: &impl Source, field: Field, out: &mut Projected) {
    let Some(winner) = settle(source, None, field.name, (field.shape, field.name), out) else { return };
    if field.shape.is_body() {
        out.body = winner.as_str().map(str::to_owned);
    } else {
        out.view.insert(field.name.to_owned(), winner);
    }
}

/// Returns the newest value at a key and notes the others as a conflict under `name`.
fn settle<S: Source>(
    source: &S,
    object: Option<&S::Object>,
    key: &str,
    (shape, name): (Shape, &str),
    out: &mut Projected,
) -> Option<Value> {
    let mut values = source.values(object, key, shape).into_iter();
    let winner = values.next()?;
    let mut others: Vec<Written> = Vec::new();
    for found in values {
        if found.value != winner.value && others.iter().all(|other| other.value != found.value) {
            others.push(found.into());
        }
    }
    let value = winner.value.clone();
    if !others.is_empty() && !shape.is_body() && !is_bookkeeping(name) {
        out.conflicts.push(Conflict { field: name.to_owned(), shown: Some(winner.into()), others });
    }
    Some(value)
}

fn project_container<S: Source>(kind: Kind, source: &S, field: Field, object: &S::Object, out: &mut Projected) {
    if field.shape == Shape::BodyText {
        out.body = source.text(object).or(out.body.take());
        return;
    }
    if field.shape == Shape::BodyMap {
        let last = source.keys(object).into_iter().max();
        let values = last.map(|key| source.values(Some(object), &key, field.shape)).unwrap_or_default();
        out.body = values.into_iter().next().and_then(|found| found.value.as_str().map(str::to_owned));
        return;
    }
    let mut keys = source.keys(object);
    keys.sort();
    let mut entries: Vec<(String, Value)> = Vec::new();
    for key in keys {
        let name = format!("{}.{key}", field.name);
        if let Some(value) = settle(source, Some(object), &key, (field.shape, &name), out) {
            entries.push((key, value));
        }
    }
    if kind == Kind::Plan && entries.len() > PLAN_STATES {
        entries.drain(..entries.len() - PLAN_STATES);
    }
    let value = if field.shape == Shape::Set {
        Value::Array(entries.into_iter().map(|(key, _)| Value::String(key)).collect())
    } else {
        Value::Object(entries.into_iter().collect())
    };
    out.view.insert(field.name.to_owned(), value);
}
