//! From a document to its record view: a pure function of the document and of the order of its changes.
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
#[derive(Debug, Default)]
pub(crate) struct Projected {
    pub(crate) view: Map<String, Value>,
    pub(crate) body: Option<String>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Returns when and by whom a change was made.
pub(crate) type OrderOf<'a> = dyn Fn(&ChangeHash) -> Option<(Order, Timestamp)> + 'a;

/// Reads a document.
pub(crate) fn project(kind: Kind, doc: &Automerge, order_of: &OrderOf<'_>) -> Projected {
    let mut out = Projected::default();
    for field in fields(kind) {
        if field.shape.is_container() {
            if let Some(object) = container(kind, doc, field.name) {
                project_container(kind, doc, *field, &object, order_of, &mut out);
            }
        } else {
            project_register(doc, *field, order_of, &mut out);
        }
    }
    out
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

fn project_register(doc: &Automerge, field: Field, order_of: &OrderOf<'_>, out: &mut Projected) {
    let mut values = ordered(doc, &ROOT, field.name, field.shape, order_of).into_iter();
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

/// The well-shaped values at a key, newest first.
fn ordered(
    doc: &Automerge,
    object: &ExId,
    key: &str,
    shape: Shape,
    order_of: &OrderOf<'_>,
) -> Vec<(Value, (Order, Timestamp))> {
    let found = doc.get_all(object, key).unwrap_or_default();
    let several = found.len() > 1;
    let mut values: Vec<(Value, (Order, Timestamp))> = found
        .into_iter()
        .filter_map(|(value, id)| {
            let value = shaped(&value, shape)?;
            // With one value there is nothing to order, and the lookup is what costs.
            let place = several.then(|| doc.hash_for_opid(&id).and_then(|hash| order_of(&hash))).flatten();
            Some((value, place.unwrap_or((Order::FIRST, Timestamp(0)))))
        })
        .collect();
    values.sort_by_key(|(_, (order, _))| std::cmp::Reverse(*order));
    values
}

fn shaped(value: &AmValue<'_>, shape: Shape) -> Option<Value> {
    let AmValue::Scalar(scalar) = value else { return None };
    match (scalar.as_ref(), shape) {
        (ScalarValue::Str(text), Shape::Str | Shape::BodyStr | Shape::Map | Shape::BodyMap) => {
            Some(Value::String(text.to_string()))
        }
        (ScalarValue::Str(text), Shape::Json | Shape::JsonMap) => serde_json::from_str(text).ok(),
        (ScalarValue::Int(number), Shape::Int | Shape::Map) => Some(Value::from(*number)),
        (ScalarValue::Boolean(truth), Shape::Bool | Shape::Map | Shape::Set) => Some(Value::Bool(*truth)),
        _ => None,
    }
}

fn project_container(
    kind: Kind,
    doc: &Automerge,
    field: Field,
    object: &ExId,
    order_of: &OrderOf<'_>,
    out: &mut Projected,
) {
    if field.shape == Shape::BodyText {
        if doc.object_type(object).is_ok_and(|found| found == ObjType::List) {
            out.body = Some(body::text(doc, object));
        }
        return;
    }
    if field.shape == Shape::BodyMap {
        let last = doc.keys(object).max();
        let values = last.map(|key| ordered(doc, object, &key, field.shape, order_of)).unwrap_or_default();
        out.body = values.into_iter().next().and_then(|(value, _)| value.as_str().map(str::to_owned));
        return;
    }
    let mut entries: Vec<(String, Value)> = doc
        .keys(object)
        .filter_map(|key| {
            let winner = ordered(doc, object, &key, field.shape, order_of).into_iter().next();
            winner.map(|(value, _)| (key, value))
        })
        .collect();
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
