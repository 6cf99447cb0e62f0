//! New records without the document library: the first change of a document, made and read directly.
//!
//! Most changes create a record: they set registers, add members and entries, and fill a list, in a document that holds
//! nothing but its genesis. Through Automerge, making such a change and reading its view back took 44 of 100 samples in a
//! profile of note writes; without it a write on a RAM disk went from 390 to 200 us. Here the change is encoded into the
//! bytes that Automerge would write, and its view is read with the same rules. Anything else goes the general way, as
//! does every later change of the document.

use std::collections::BTreeSet;

use automerge::ChangeHash;
use ctxnode_model::schema::{self, Field, Shape};
use ctxnode_model::{Edit, Kind, Scalar, Timestamp};

use crate::document::{map_holds, register_holds, scalar};
use crate::encode::{self, NewOp, Place};
use crate::project::{Found, Source, shaped};
use crate::screen::{ChangeFacts, Target};
use crate::{body, genesis};

/// What the tables need to know of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) hash: ChangeHash,
    pub(crate) actor_seq: u64,
    pub(crate) max_op: u64,
    pub(crate) deps: Vec<ChangeHash>,
}

/// The ops of a first change that only adds. No key is set twice, and a list is filled from its beginning on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    kind: Kind,
    ops: Vec<FreshOp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FreshOp {
    /// The container as the counter of the genesis op that made it; the root in itself when absent.
    container: Option<u64>,
    /// The key; the next element of a list when absent.
    key: Option<String>,
    value: Scalar,
}

impl Fresh {
    /// Reads edits as the first ones of a record; `None` when they are not that simple, or wrong.
    pub(crate) fn of_edits(kind: Kind, edits: &[Edit]) -> Option<Self> {
        let shape_of = |name: &str| schema::field(kind, name).map(|field| field.shape);
        let mut ops = Vec::with_capacity(edits.len());
        let mut add = |container, key, value| ops.push(FreshOp { container, key, value });
        for edit in edits {
            match edit {
                Edit::Set { field, value } => {
                    shape_of(field).filter(|shape| register_holds(*shape, value))?;
                    add(None, Some((*field).to_owned()), value.clone());
                }
                Edit::Insert { field, key, value } => {
                    shape_of(field).filter(|shape| map_holds(*shape, value))?;
                    add(Some(genesis::container_counter(kind, field)?), Some(key.clone()), value.clone());
                }
                Edit::Body { field, text, base: None } => {
                    shape_of(field).filter(|shape| *shape == Shape::BodyText)?;
                    let container = genesis::container_counter(kind, field)?;
                    body::chunks(text).into_iter().for_each(|chunk| add(Some(container), None, Scalar::from(chunk)));
                }
                Edit::Unset { .. } | Edit::Remove { .. } | Edit::Body { .. } => return None,
            }
        }
        let bodies = edits.iter().filter(|edit| matches!(edit, Edit::Body { .. })).count();
        let fresh = Self { kind, ops };
        (bodies <= 1 && fresh.sets_no_key_twice()).then_some(fresh)
    }

    /// Reads a screened change of somebody else as the first one of a record; `None` when it is not that simple.
    pub(crate) fn of_change(kind: Kind, facts: &ChangeFacts) -> Option<Self> {
        let genesis = genesis::genesis(kind);
        let after_genesis = match genesis {
            Some(genesis) => facts.deps == [genesis.hash] && facts.start_op == genesis.max_op + 1,
            None => facts.deps.is_empty() && facts.start_op == 1,
        };
        if !after_genesis || !only_adds(kind, facts) {
            return None;
        }
        let ops = facts.adds.as_ref()?.iter().map(|addition| FreshOp {
            container: addition.target.map(|target| target.counter),
            key: addition.key.clone(),
            value: addition.value.clone(),
        });
        Some(Self { kind, ops: ops.collect() })
    }

    fn sets_no_key_twice(&self) -> bool {
        let mut seen = BTreeSet::new();
        let mut keyed = self.ops.iter().filter_map(|op| Some((op.container, op.key.as_deref()?)));
        // Automerge refuses the empty key, and says so.
        keyed.all(|place| !place.1.is_empty() && seen.insert(place))
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Makes the change.
    pub(crate) fn change(&self, actor: &[u8], now: Timestamp, agent: Option<&str>) -> (Vec<u8>, Facts) {
        let genesis = genesis::genesis(self.kind);
        let start_op = genesis.map_or(0, |genesis| genesis.max_op) + 1;
        let mut last = None;
        let ops = self.ops.iter().zip(start_op..).map(|(op, counter)| {
            let place = match &op.key {
                Some(key) => Place::Key(key),
                None => Place::After(last.replace(counter)),
            };
            NewOp { container: op.container, place, value: &op.value }
        });
        let ops: Vec<NewOp<'_>> = ops.collect();
        let deps: Vec<[u8; 32]> = genesis.map(|genesis| genesis.hash).into_iter().collect();
        let containers = genesis.map(|genesis| &genesis.actor[..]);
        let by = encode::By { actor, time: now.0 / 1_000, message: agent.unwrap_or_default() };
        let (bytes, hash) = encode::first_change(&by, containers, &deps, start_op, &ops);
        let facts = Facts {
            hash: ChangeHash(hash),
            actor_seq: 1,
            max_op: start_op + ops.len() as u64 - 1,
            deps: deps.into_iter().map(ChangeHash).collect(),
        };
        (bytes, facts)
    }

    fn at<'a>(&'a self, container: Option<&'a u64>) -> impl Iterator<Item = &'a FreshOp> {
        self.ops.iter().filter(move |op| op.container.as_ref() == container)
    }
}

impl Source for Fresh {
    type Object = u64;

    fn container(&self, field: &Field) -> Option<u64> {
        genesis::container_counter(self.kind, field.name)
    }

    fn values(&self, object: Option<&u64>, key: &str, shape: Shape) -> Vec<Found> {
        let found = self.at(object).find(|op| op.key.as_deref() == Some(key));
        let value = found.and_then(|op| shaped(&scalar(&op.value), shape));
        value.map(Found::alone).into_iter().collect()
    }

    fn keys(&self, object: &u64) -> Vec<String> {
        self.at(Some(object)).filter_map(|op| op.key.clone()).collect()
    }

    fn text(&self, object: &u64) -> Option<String> {
        let is_text = |value: &Scalar| if let Scalar::Str(text) = value { Some(text.clone()) } else { None };
        Some(self.at(Some(object)).filter_map(|op| is_text(&op.value)).collect())
    }
}

/// Whether a change adds to the root and to containers of its kind's genesis, and does nothing else.
pub(crate) fn only_adds(kind: Kind, facts: &ChangeFacts) -> bool {
    let actor = genesis::genesis(kind).map(|genesis| genesis.actor);
    let is_container =
        |target: Target| Some(target.actor) == actor && genesis::makes_map(kind, target.counter) == Some(target.as_map);
    facts.adds.as_ref().is_some_and(|adds| adds.iter().filter_map(|addition| addition.target).all(is_container))
}

#[cfg(test)]
mod tests {
    use automerge::{Automerge, Change};
    use ctxnode_model::frontier::LogId;
    use ctxnode_model::{DocumentId, NodeKey, SpaceId};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::project::{Document, project};
    use crate::{document, screen};

    const LOG: LogId = LogId { space: SpaceId([1; 16]), author: NodeKey([2; 32]), epoch: 3 };
    const NOW: Timestamp = Timestamp(1_795_000_000_123);
    const AGENT: Option<&str> = Some("claude-mac-1");

    /// Edits of any field with values that suit it, more or less.
    fn edits(kind: Kind) -> impl Strategy<Value = Vec<Edit>> {
        let text = || prop_oneof!["[a-z{}\":1é. ]{0,20}", "[a-zé. \n]{0,900}", Just("{\"a\":[1]}".to_owned())];
        let number = prop_oneof![any::<i64>(), -70..70_i64];
        let one = (any::<prop::sample::Index>(), "[a-d]{1,2}", text(), number, any::<bool>());
        let fields = schema::fields(kind);
        let edit = one.prop_map(move |(at, key, text, number, truth)| {
            let Field { name, shape } = fields[at.index(fields.len())];
            match shape {
                Shape::Str | Shape::Json | Shape::BodyStr => Edit::set(name, text),
                Shape::Int => Edit::set(name, number),
                Shape::Bool => Edit::set(name, truth),
                Shape::Set => Edit::member(name, key),
                Shape::Map if truth => Edit::entry(name, key, Scalar::Int(number)),
                Shape::Map | Shape::JsonMap | Shape::BodyMap => Edit::entry(name, key, Scalar::Str(text)),
                Shape::BodyText => Edit::Body { field: name, text, base: None },
            }
        });
        vec(edit, 0..24)
    }

    fn kind_and_edits() -> impl Strategy<Value = (Kind, Vec<Edit>)> {
        (0..Kind::ALL.len()).prop_flat_map(|at| (Just(Kind::ALL[at]), edits(Kind::ALL[at])))
    }

    fn by_automerge(kind: Kind, edits: &[Edit]) -> (Automerge, Option<Change>) {
        let mut doc = genesis::base_document(kind);
        let id = DocumentId { kind, raw: [9; 16] };
        let change = document::edit(&mut doc, id, &LOG, NOW, AGENT, edits).unwrap();
        (doc, change)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The change has the bytes and the view that Automerge gives to the same edits, and reads back as itself.
        #[test]
        fn a_fresh_record_is_what_automerge_makes_of_the_same_edits((kind, edits) in kind_and_edits()) {
            if let Some(fresh) = Fresh::of_edits(kind, &edits) {
                let (doc, change) = by_automerge(kind, &edits);
                prop_assert_eq!(fresh.is_empty(), change.is_none());
                if let Some(change) = change {
                    let (bytes, facts) = fresh.change(document::actor(&LOG).to_bytes(), NOW, AGENT);
                    prop_assert_eq!(&bytes, change.raw_bytes());
                    let expected = Facts { hash: change.hash(), actor_seq: 1, max_op: change.max_op(), deps: change.deps().to_vec() };
                    prop_assert_eq!(facts, expected);
                    prop_assert_eq!(Fresh::of_change(kind, &screen::parse(&bytes).unwrap()), Some(fresh.clone()));
                }
                let seen = project(kind, &Document { kind, doc: &doc, heads: None, order_of: &|_| None });
                prop_assert_eq!(project(kind, &fresh), seen);
            }
        }
    }

    #[test]
    fn most_generated_edits_take_this_way() {
        use proptest::strategy::ValueTree as _;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut taken = 0;
        for _ in 0..200 {
            let (kind, edits) = kind_and_edits().new_tree(&mut runner).unwrap().current();
            taken += usize::from(Fresh::of_edits(kind, &edits).is_some_and(|fresh| !fresh.is_empty()));
        }
        assert!(taken > 40, "{taken}");
    }
}
