//! From a document to its record view: a pure function of the document and of the order of its changes.
//!
//! The rules read a [`Source`]: a loaded document, or a first change that never became one.
//!
//! Where a register has concurrent values, the one from the newest entry is shown and the others are listed. What does
//! not have the shape that the schema gives it is left out: a hostile value never breaks a list.

use automerge::{Automerge, ChangeHash, ObjId as ExId, ObjType, ROOT, ReadDoc as _, ScalarValue, Value as AmValue};
use ctxnode_model::schema::{Field, Shape, fields};
use ctxnode_model::{Conflict, Kind, Order, Timestamp};
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

/// What a view is read from.
pub(crate) trait Source {
    /// A container.
    type Object;

    /// Returns the container of a field.
    fn container(&self, field: &Field) -> Option<Self::Object>;
    /// Returns the well-shaped values at a key of a container or of the root, newest first.
    fn values(&self, object: Option<&Self::Object>, key: &str, shape: Shape) -> Vec<(Value, (Order, Timestamp))>;
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

/// A loaded document.
pub(crate) struct Document<'a> {
    pub(crate) kind: Kind,
    pub(crate) doc: &'a Automerge,
    pub(crate) order_of: &'a OrderOf<'a>,
}

impl Source for Document<'_> {
    type Object = ExId;

    fn container(&self, field: &Field) -> Option<ExId> {
        container(self.kind, self.doc, field.name)
    }

    fn values(&self, object: Option<&ExId>, key: &str, shape: Shape) -> Vec<(Value, (Order, Timestamp))> {
        let found = self.doc.get_all(object.unwrap_or(&ROOT), key).unwrap_or_default();
        let several = found.len() > 1;
        let mut values: Vec<(Value, (Order, Timestamp))> = found
            .into_iter()
            .filter_map(|(value, id)| {
                let AmValue::Scalar(scalar) = &value else { return None };
                let value = shaped(scalar, shape)?;
                // With one value there is nothing to order, and the lookup is what costs.
                let order_of = |hash| (self.order_of)(&hash);
                let place = several.then(|| self.doc.hash_for_opid(&id).and_then(order_of)).flatten();
                Some((value, place.unwrap_or((Order::FIRST, Timestamp(0)))))
            })
            .collect();
        values.sort_by_key(|(_, (order, _))| std::cmp::Reverse(*order));
        values
    }

    fn keys(&self, object: &ExId) -> Vec<String> {
        self.doc.keys(object).collect()
    }

    fn text(&self, object: &ExId) -> Option<String> {
        let is_list = self.doc.object_type(object).is_ok_and(|found| found == ObjType::List);
        is_list.then(|| body::text(self.doc, object))
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

fn project_register(source: &impl Source, field: Field, out: &mut Projected) {
    let mut values = source.values(None, field.name, field.shape).into_iter();
    let Some((winner, _)) = values.next() else { return };
    let mut others: Vec<ctxnode_model::record::Lost> = Vec::new();
    for (value, (order, at)) in values {
        if value != winner && others.iter().all(|other| other.value != value) {
            others.push(ctxnode_model::record::Lost { value, node: order.author, at });
        }
    }
    if !others.is_empty() && !field.shape.is_body() {
        out.conflicts.push(Conflict { field: field.name.to_owned(), others });
    }
    if field.shape.is_body() {
        out.body = winner.as_str().map(str::to_owned);
    } else {
        out.view.insert(field.name.to_owned(), winner);
    }
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

fn project_container<S: Source>(kind: Kind, source: &S, field: Field, object: &S::Object, out: &mut Projected) {
    if field.shape == Shape::BodyText {
        out.body = source.text(object).or(out.body.take());
        return;
    }
    let winner = |key: &str| source.values(Some(object), key, field.shape).into_iter().next().map(|(value, _)| value);
    if field.shape == Shape::BodyMap {
        let last = source.keys(object).into_iter().max();
        out.body = last.and_then(|key| winner(&key)).and_then(|value| value.as_str().map(str::to_owned));
        return;
    }
    let keyed = source.keys(object).into_iter().filter_map(|key| winner(&key).map(|value| (key, value)));
    let mut entries: Vec<(String, Value)> = keyed.collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
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
