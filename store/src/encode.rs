//! The encoder of a document's first change: Automerge's canonical form of ops that set new values, and of no others.
//!
//! Columns are runs, as the screener reads them; see its `runs` for the rules. What is written here passes the screener.

use ctxnode_model::Scalar;
use ctxnode_model::rules::canonical::sha256;

use crate::screen::Column;

/// Where an op of a new document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// At a key of a map.
    Key(&'a str),
    /// In a list, behind the element with that counter; at the beginning when absent.
    After(Option<u64>),
}

/// An op that sets a new value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewOp<'a> {
    /// The counter of the genesis op that made the object; the root when absent.
    pub(crate) container: Option<u64>,
    pub(crate) place: Place<'a>,
    pub(crate) value: &'a Scalar,
}

/// The action that sets a value.
const SET: u64 = 1;
/// The author's index among the actors of a change, and that of the genesis, which is the only other one.
const AUTHOR: u64 = 0;
const GENESIS: u64 = 1;

/// Who makes a change, when, and for whom.
pub(crate) struct By<'a> {
    pub(crate) actor: &'a [u8],
    /// Seconds since 1970.
    pub(crate) time: i64,
    pub(crate) message: &'a str,
}

/// Returns the change and its hash. `containers` is the actor that made the containers, if there are any.
pub(crate) fn first_change(
    by: &By<'_>,
    containers: Option<&[u8]>,
    deps: &[[u8; 32]],
    start_op: u64,
    ops: &[NewOp<'_>],
) -> (Vec<u8>, [u8; 32]) {
    let mut data = Vec::with_capacity(1_024);
    unsigned(&mut data, deps.len() as u64);
    deps.iter().for_each(|dep| data.extend_from_slice(dep));
    prefixed(&mut data, by.actor);
    unsigned(&mut data, 1);
    unsigned(&mut data, start_op);
    signed(&mut data, by.time);
    prefixed(&mut data, by.message.as_bytes());
    let others: Vec<&[u8]> = containers.filter(|_| ops.iter().any(|op| op.container.is_some())).into_iter().collect();
    unsigned(&mut data, others.len() as u64);
    others.iter().for_each(|other| prefixed(&mut data, other));

    let columns = columns(ops);
    let present = || columns.iter().filter(|(_, bytes)| !bytes.is_empty());
    unsigned(&mut data, present().count() as u64);
    for (column, bytes) in present() {
        unsigned(&mut data, *column as u64);
        unsigned(&mut data, bytes.len() as u64);
    }
    present().for_each(|(_, bytes)| data.extend_from_slice(bytes));

    let mut hashed = Vec::with_capacity(data.len() + 8);
    hashed.push(1);
    unsigned(&mut hashed, data.len() as u64);
    hashed.extend_from_slice(&data);
    let hash = sha256(&hashed);
    ([&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &hashed].concat(), hash)
}

/// The columns in the order in which they are written.
fn columns(ops: &[NewOp<'_>]) -> [(Column, Vec<u8>); 10] {
    let number = |out: &mut Vec<u8>, value: &u64| unsigned(out, *value);
    let difference = |out: &mut Vec<u8>, value: &i64| signed(out, *value);
    let text = |out: &mut Vec<u8>, value: &&str| prefixed(out, value.as_bytes());
    let mut values = Vec::new();
    let meta: Vec<u64> = ops.iter().map(|op| value(&mut values, op.value)).collect();
    let mut last = 0;
    let counters = ops.iter().map(|op| match op.place {
        Place::Key(_) => None,
        Place::After(element) => {
            let counter = element.unwrap_or(0) as i64;
            Some(counter - std::mem::replace(&mut last, counter))
        }
    });
    let counters = runs(counters, difference);
    let behind = |op: &NewOp<'_>| matches!(op.place, Place::After(Some(_))).then_some(AUTHOR);
    [
        (Column::ObjectActor, runs(ops.iter().map(|op| op.container.map(|_| GENESIS)), number)),
        (Column::ObjectCounter, runs(ops.iter().map(|op| op.container), number)),
        (Column::KeyActor, runs(ops.iter().map(behind), number)),
        (Column::KeyCounter, counters),
        (Column::KeyText, runs(ops.iter().map(key_of), text)),
        (Column::Insert, flags(ops.iter().map(|op| matches!(op.place, Place::After(_))))),
        (Column::Action, runs(ops.iter().map(|_| Some(SET)), number)),
        (Column::ValueMeta, runs(meta.into_iter().map(Some), number)),
        (Column::Value, values),
        (Column::PredCount, runs(ops.iter().map(|_| Some(0)), number)),
    ]
}

fn key_of<'a>(op: &NewOp<'a>) -> Option<&'a str> {
    if let Place::Key(key) = op.place { Some(key) } else { None }
}

/// Appends a value's bytes; returns its type and length.
fn value(out: &mut Vec<u8>, value: &Scalar) -> u64 {
    let from = out.len();
    let code = match value {
        Scalar::Bool(false) => 1,
        Scalar::Bool(true) => 2,
        Scalar::Int(number) => {
            signed(out, *number);
            4
        }
        Scalar::Str(text) => {
            out.extend_from_slice(text.as_bytes());
            6
        }
    };
    ((out.len() - from) as u64) << 4 | code
}

/// Equal neighbours are a run, nulls too; what stands alone is gathered into literals. All null is written as nothing.
fn runs<T: PartialEq + Copy>(values: impl Iterator<Item = Option<T>>, write: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut groups: Vec<(Option<T>, u64)> = Vec::new();
    for value in values {
        match groups.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => groups.push((value, 1)),
        }
    }
    let mut out = Vec::new();
    if groups.iter().all(|(value, _)| value.is_none()) {
        return out;
    }
    let mut rest = groups.as_slice();
    while let Some((value, count)) = rest.first() {
        match value {
            None => {
                signed(&mut out, 0);
                unsigned(&mut out, *count);
                rest = &rest[1..];
            }
            Some(value) if *count > 1 => {
                signed(&mut out, i64::try_from(*count).unwrap_or(i64::MAX));
                write(&mut out, value);
                rest = &rest[1..];
            }
            Some(_) => {
                let alone = rest.iter().take_while(|(value, count)| value.is_some() && *count == 1).count();
                signed(&mut out, -i64::try_from(alone).unwrap_or(i64::MAX));
                rest[..alone].iter().filter_map(|(value, _)| value.as_ref()).for_each(|value| write(&mut out, value));
                rest = &rest[alone..];
            }
        }
    }
    out
}

/// Lengths of runs, in turns false and true, beginning with false.
fn flags(values: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut present, mut count) = (false, 0);
    for value in values {
        if value != present {
            unsigned(&mut out, std::mem::take(&mut count));
            present = value;
        }
        count += 1;
    }
    if count > 0 {
        unsigned(&mut out, count);
    }
    out
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(out: &mut Vec<u8>, mut value: i64) {
    while !(-0x40..0x40).contains(&value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 & 0x7f);
}
