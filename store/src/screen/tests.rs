//! What Automerge writes passes, whatever the transactions; numbers have one form.

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::{Transactable as _, Transaction};
use automerge::{ActorId, Automerge, AutomergeError, ObjId, ObjType, ROOT, ReadDoc as _, ScalarValue};
use ctxnode_model::Kind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::reader::Reader;
use super::*;

/// One step of a random transaction; the numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8, ScalarValue),
    Delete(u8, u8),
    Insert(u8, u8, ScalarValue),
    Make(u8, u8, u8),
    Increment(u8, u8, i64),
    Splice(u8, u8, u8, String),
    Mark(u8, u8, ScalarValue),
}

fn scalar() -> impl Strategy<Value = ScalarValue> {
    prop_oneof![
        ".{0,12}".prop_map(|text| ScalarValue::Str(text.as_str().into())),
        any::<i64>().prop_map(ScalarValue::Int),
        any::<u64>().prop_map(ScalarValue::Uint),
        any::<f64>().prop_map(ScalarValue::F64),
        any::<bool>().prop_map(ScalarValue::Boolean),
        vec(any::<u8>(), 0..20).prop_map(ScalarValue::Bytes),
        any::<i64>().prop_map(ScalarValue::counter),
        any::<i64>().prop_map(ScalarValue::Timestamp),
        Just(ScalarValue::Null),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<u8>;
    prop_oneof![
        4 => (at(), at(), scalar()).prop_map(|(o, k, v)| Step::Put(o, k, v)),
        2 => (at(), at()).prop_map(|(o, k)| Step::Delete(o, k)),
        4 => (at(), at(), scalar()).prop_map(|(o, i, v)| Step::Insert(o, i, v)),
        1 => (at(), at(), at()).prop_map(|(o, k, t)| Step::Make(o, k, t)),
        1 => (at(), at(), -5..5i64).prop_map(|(o, k, by)| Step::Increment(o, k, by)),
        1 => (at(), at(), at(), "[a-zé]{0,6}").prop_map(|(o, i, d, s)| Step::Splice(o, i, d, s)),
        1 => (at(), at(), scalar()).prop_map(|(o, i, v)| Step::Mark(o, i, v)),
    ]
}

/// All objects that can be reached, the root first.
fn objects(doc: &impl automerge::ReadDoc) -> Vec<(ObjId, ObjType)> {
    let mut found = vec![(ROOT, ObjType::Map)];
    let mut next = 0;
    while let Some((object, kind)) = found.get(next).cloned() {
        next += 1;
        let values: Vec<_> = if kind == ObjType::Map {
            doc.keys(&object).filter_map(|key| doc.get(&object, key).unwrap()).collect()
        } else {
            (0..doc.length(&object)).filter_map(|at| doc.get(&object, at).unwrap()).collect()
        };
        found.extend(values.into_iter().filter_map(|(value, id)| match value {
            automerge::Value::Object(kind) => Some((id, kind)),
            automerge::Value::Scalar(_) => None,
        }));
    }
    found
}

/// Carries out a step if it makes sense; Automerge refuses some, and that is no concern here.
fn run(tx: &mut Transaction<'_>, step: &Step) {
    let all = objects(tx);
    let pick = |at: u8| all[usize::from(at) % all.len()].clone();
    let name = |key: u8| format!("k{}", key % 6);
    let place = |tx: &Transaction<'_>, object: &ObjId, at: u8, room: usize| {
        let length = tx.length(object) + room;
        (length > 0).then(|| usize::from(at) % length)
    };
    let _ = match step {
        Step::Put(o, k, value) => match pick(*o) {
            (object, ObjType::Map) => tx.put(&object, name(*k), value.clone()),
            (object, ObjType::List) => match place(tx, &object, *k, 0) {
                Some(at) => tx.put(&object, at, value.clone()),
                None => Ok(()),
            },
            _ => Ok(()),
        },
        Step::Delete(o, k) => match pick(*o) {
            (object, ObjType::Map) => tx.delete(&object, name(*k)),
            (object, _) => place(tx, &object, *k, 0).map_or(Ok(()), |at| tx.delete(&object, at)),
        },
        Step::Insert(o, i, value) => match pick(*o) {
            (object, ObjType::List) => {
                let at = place(tx, &object, *i, 1).unwrap_or(0);
                tx.insert(&object, at, value.clone())
            }
            _ => Ok(()),
        },
        Step::Make(o, k, t) => {
            let kind = [ObjType::Map, ObjType::List, ObjType::Text][usize::from(t % 3)];
            match pick(*o) {
                (object, ObjType::Map) => tx.put_object(&object, name(*k), kind).map(|_| ()),
                (object, ObjType::List) => tx.insert_object(&object, 0, kind).map(|_| ()),
                _ => Ok(()),
            }
        }
        Step::Increment(o, k, by) => match pick(*o) {
            (object, ObjType::Map) => tx.increment(&object, name(*k), *by),
            (object, _) => place(tx, &object, *k, 0).map_or(Ok(()), |at| tx.increment(&object, at, *by)),
        },
        Step::Splice(o, i, d, text) => match pick(*o) {
            (object, ObjType::Text) => {
                let at = place(tx, &object, *i, 1).unwrap_or(0);
                let delete = usize::from(d % 3).min(tx.length(&object) - at);
                tx.splice_text(&object, at, delete as isize, text)
            }
            _ => Ok(()),
        },
        Step::Mark(o, i, value) => match pick(*o) {
            (object, ObjType::Text) => {
                let end = place(tx, &object, *i, 1).unwrap_or(0);
                let expand = [ExpandMark::None, ExpandMark::Both, ExpandMark::After][usize::from(i % 3)];
                tx.mark(&object, Mark::new("bold".into(), value.clone(), 0, end), expand)
            }
            _ => Ok(()),
        },
    };
}

/// Three writers take turns; `merge` says whom one reads before writing.
fn history(turns: &[(u8, u8, Vec<Step>)]) -> Vec<Automerge> {
    let mut docs: Vec<_> = (1..=3u8)
        .map(|actor| crate::genesis::base_document(Kind::Note).with_actor(ActorId::from([actor * 80; 16])))
        .collect();
    for (who, from, steps) in turns {
        let mut other = docs[usize::from(from % 3)].clone();
        let doc = &mut docs[usize::from(who % 3)];
        doc.merge(&mut other).unwrap();
        doc.transact::<_, _, AutomergeError>(|tx| {
            steps.iter().for_each(|step| run(tx, step));
            Ok(())
        })
        .unwrap();
    }
    docs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_automerge_writes_passes(turns in vec((any::<u8>(), any::<u8>(), vec(step(), 0..14)), 1..10)) {
        for doc in history(&turns) {
            let changes = doc.get_changes(&[]);
            for change in changes.iter().filter(|change| !crate::genesis::is_reserved(change.actor_id().to_bytes())) {
                let expected = Expected {
                    actor: change.actor_id().to_bytes(),
                    next_seq: change.seq(),
                    deps_max_op: &|dep| doc.get_change_by_hash(&automerge::ChangeHash(*dep)).map(|dep| dep.max_op()),
                    is_previous: &|dep| {
                        let dep = doc.get_change_by_hash(&automerge::ChangeHash(*dep));
                        dep.is_some_and(|dep| dep.actor_id() == change.actor_id() && dep.seq() + 1 == change.seq())
                    },
                    past: &|actor| past(&doc, change, actor),
                };
                let facts = screen(change.raw_bytes(), &expected);
                let facts = facts.unwrap_or_else(|error| panic!("{error}\n{:?}", change.decode()));
                prop_assert_eq!(facts.hash, change.hash().0);
                prop_assert_eq!(facts.max_op, change.max_op());
                prop_assert_eq!(facts.ops as usize, change.len());
                prop_assert_eq!(facts.time, change.timestamp());
                prop_assert_eq!(facts.deps.len(), change.deps().len());
                prop_assert_eq!(facts.other_actors.len(), change.other_actor_ids().len());
            }
        }
    }

    #[test]
    fn numbers_are_read_back_and_have_one_form(value in any::<u64>(), signed in any::<i64>(), shift in 0u32..64) {
        let (value, signed) = (value >> shift, signed >> shift);
        let mut bytes = unsigned(value);
        prop_assert_eq!(Reader::new(&bytes, 0).unsigned(), Ok(value));
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
        prop_assert!(Reader::new(&bytes, 0).unsigned().is_err());
        let mut bytes = signed_leb(signed);
        prop_assert_eq!(Reader::new(&bytes, 0).signed(), Ok(signed));
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(if signed < 0 { 0x7f } else { 0 });
        prop_assert!(Reader::new(&bytes, 0).signed().is_err());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }
}

/// The greatest counter of an actor's ops in the past of a change.
fn past(doc: &Automerge, change: &automerge::Change, actor: &[u8]) -> u64 {
    let mut open = change.deps().to_vec();
    let mut seen = std::collections::BTreeSet::new();
    let mut max_op = 0;
    while let Some(hash) = open.pop() {
        if !seen.insert(hash) {
            continue;
        }
        let before = doc.get_change_by_hash(&hash).unwrap();
        if before.actor_id().to_bytes() == actor {
            max_op = max_op.max(before.max_op());
        }
        open.extend(before.deps());
    }
    max_op
}

fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn signed_leb(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !(-0x40..0x40).contains(&value) {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8 & 0x7f);
    bytes
}

#[test]
fn a_hundred_thousand_characters_pass() {
    let mut doc = Automerge::new().with_actor(ActorId::from([7; 16]));
    doc.transact::<_, _, AutomergeError>(|tx| {
        let text = tx.put_object(ROOT, "text", ObjType::Text)?;
        tx.splice_text(&text, 0, 0, &"ab".repeat(50_000))
    })
    .unwrap();
    let change = doc.get_last_local_change().unwrap();
    assert_eq!(parse(change.raw_bytes()).unwrap().ops, 100_001);
}
