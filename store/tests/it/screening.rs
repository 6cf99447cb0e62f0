//! Hostile changes are refused by the screener, and what it accepts never harms Automerge's decoder.
//!
//! The oracle at the end is the one of the fuzz target `screen_vs_automerge`; here it runs over a fixed sequence.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests prepare what cannot fail")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use automerge::transaction::Transactable as _;
use automerge::{ActorId, Automerge, AutomergeError, Change, ChangeHash, ObjType, ROOT, ReadDoc as _};
use ctxnode_model::Kind;
use ctxnode_model::rules::canonical::sha256_hex;
use ctxnode_store::genesis::{base_document, genesis, makes_map};
use ctxnode_store::screen::{
    Addition, Column, Expected, MAX_DEPS, MAX_MESSAGE, MAX_OPS, MAX_OTHER_ACTORS, MAX_TIME, OP_COUNTER_END, OpFault,
    Part, ScreenError, Target, parse, screen,
};

const AUTHOR: [u8; 16] = [7; 16];

/// A change written by hand. The default sets `a` to true in the root map.
#[derive(Clone)]
struct Forged {
    kind: u8,
    deps: Vec<[u8; 32]>,
    actor: Vec<u8>,
    seq: u64,
    start_op: u64,
    time: Vec<u8>,
    message: Vec<u8>,
    others: Vec<Vec<u8>>,
    columns: Vec<(u64, Vec<u8>)>,
    extra: Vec<u8>,
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            kind: 1,
            deps: Vec::new(),
            actor: AUTHOR.to_vec(),
            seq: 1,
            start_op: 1,
            time: vec![0],
            message: Vec::new(),
            others: Vec::new(),
            columns: vec![
                (Column::KeyText as u64, vec![0x7f, 1, b'a']),
                (Column::Insert as u64, vec![1]),
                (Column::Action as u64, vec![0x7f, 1]),
                (Column::ValueMeta as u64, vec![0x7f, 2]),
                (Column::PredCount as u64, vec![0x7f, 0]),
            ],
            extra: Vec::new(),
        }
    }
}

impl Forged {
    /// Replaces, adds or (when empty) removes a column.
    fn column(mut self, spec: u64, bytes: &[u8]) -> Self {
        self.columns.retain(|(known, _)| *known != spec);
        if !bytes.is_empty() {
            self.columns.push((spec, bytes.to_vec()));
            self.columns.sort_by_key(|(spec, _)| *spec);
        }
        self
    }

    fn with(mut self, column: Column, bytes: &[u8]) -> Self {
        self = self.column(column as u64, bytes);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        unsigned(&mut data, self.deps.len() as u64);
        self.deps.iter().for_each(|dep| data.extend(dep));
        prefixed(&mut data, &self.actor);
        unsigned(&mut data, self.seq);
        unsigned(&mut data, self.start_op);
        data.extend(&self.time);
        prefixed(&mut data, &self.message);
        unsigned(&mut data, self.others.len() as u64);
        self.others.iter().for_each(|actor| prefixed(&mut data, actor));
        unsigned(&mut data, self.columns.len() as u64);
        for (spec, bytes) in &self.columns {
            unsigned(&mut data, *spec);
            unsigned(&mut data, bytes.len() as u64);
        }
        self.columns.iter().for_each(|(_, bytes)| data.extend(bytes));
        data.extend(&self.extra);
        chunk(self.kind, &data)
    }

    fn refused(&self) -> ScreenError {
        parse(&self.bytes()).expect_err("a hostile change was accepted")
    }
}

/// Sets `a` and then `b`.
fn two() -> Forged {
    Forged::default()
        .with(Column::KeyText, &[0x7e, 1, b'a', 1, b'b'])
        .with(Column::Insert, &[2])
        .with(Column::Action, &[2, 1])
        .with(Column::ValueMeta, &[2, 2])
        .with(Column::PredCount, &[2, 0])
}

/// Puts a correct header around data.
fn chunk(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut tail = vec![kind];
    unsigned(&mut tail, data.len() as u64);
    tail.extend(data);
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0];
    bytes.extend(tail);
    fix_checksum(&mut bytes);
    bytes
}

fn fix_checksum(bytes: &mut [u8]) {
    let hex = sha256_hex(&bytes[8..]);
    for at in 0..4 {
        bytes[4 + at] = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    }
}

fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number that is not negative.
fn signed(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x40 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn run(length: u64, value: &[u8]) -> Vec<u8> {
    [signed(length), value.to_vec()].concat()
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    unsigned(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Applies bytes to an empty document; `None` when Automerge panics.
fn automerge_applies(bytes: &[u8]) -> Option<bool> {
    catch_unwind(|| {
        let mut doc = Automerge::new();
        let change = Change::try_from(bytes).ok();
        change.is_some_and(|change| doc.apply_changes([change]).is_ok())
    })
    .ok()
}

#[test]
fn the_forged_change_is_fine_until_something_is_changed() {
    let facts = parse(&Forged::default().bytes()).unwrap();
    assert_eq!((facts.ops, facts.max_op, facts.actor), (1, 1, AUTHOR));
    assert_eq!(automerge_applies(&Forged::default().bytes()), Some(true));
}

// The eight rows of hostile input.

#[test]
fn deflated_chunks_and_columns_are_refused_before_they_are_inflated() {
    let bomb = Forged { kind: 2, ..Forged::default() };
    assert_eq!(bomb.refused(), ScreenError::ChunkType { found: 2 });
    for kind in [0, 3, 4, 255] {
        assert_eq!(Forged { kind, ..Forged::default() }.refused(), ScreenError::ChunkType { found: kind });
    }
    let spec = Column::Action as u64 | 8;
    let deflated = Forged::default().with(Column::Action, &[]).column(spec, &[1]);
    assert_eq!(deflated.refused(), ScreenError::ColumnSpec { spec });
}

/// Automerge walks all 2^40 ops; it is not asked here.
#[test]
fn an_action_run_of_a_trillion_is_refused_at_once() {
    let hostile = Forged::default().with(Column::Action, &run(1 << 40, &[1]));
    assert_eq!(hostile.refused(), ScreenError::Runs { column: Column::Action });
    let ops = MAX_OPS + 1;
    let split = [run(MAX_OPS, &[1]), run(MAX_OPS, &[0])].concat();
    let hostile = Forged::default()
        .with(Column::Action, &split)
        .with(Column::KeyText, &run(ops - 1, &[1, b'a']))
        .with(Column::Insert, &{
            let mut out = Vec::new();
            unsigned(&mut out, MAX_OPS);
            out
        })
        .with(Column::ValueMeta, &run(MAX_OPS, &[0]))
        .with(Column::PredCount, &run(MAX_OPS, &[0]));
    assert!(matches!(hostile.refused(), ScreenError::Limit { part: Part::Ops, .. }));
}

#[test]
fn a_gap_in_the_seq_of_an_actor_is_refused() {
    let expected =
        Expected { actor: &AUTHOR, next_seq: 2, deps_max_op: &|_| None, is_previous: &|_| false, past: &|_| 0 };
    let gap = Forged { seq: 3, start_op: 2, ..Forged::default() };
    assert_eq!(screen(&gap.bytes(), &expected), Err(ScreenError::WrongSeq { found: 3, next: 2 }));
    // Automerge: an assertion about the length of the actor's sequence.
    let panicked = catch_unwind(|| {
        let mut doc = Automerge::new();
        doc.apply_changes([Change::from_bytes(Forged::default().bytes()).unwrap()]).unwrap();
        let _ = doc.apply_changes([Change::from_bytes(gap.bytes()).unwrap()]);
    });
    assert!(panicked.is_err(), "automerge no longer panics here: the comment is out of date");
}

#[test]
fn a_first_change_with_a_later_seq_or_an_unknown_other_actor_is_refused() {
    let expected =
        Expected { actor: &AUTHOR, next_seq: 1, deps_max_op: &|_| None, is_previous: &|_| false, past: &|_| 0 };
    let late = Forged { seq: 2, ..Forged::default() };
    assert_eq!(screen(&late.bytes(), &expected), Err(ScreenError::WrongSeq { found: 2, next: 1 }));
    let stranger = Forged { others: vec![vec![9; 16]], deps: vec![[3; 32]], start_op: 5, ..Forged::default() }
        .with(Column::ObjectActor, &[0x7f, 1])
        .with(Column::ObjectCounter, &[0x7f, 1]);
    let expected = Expected { deps_max_op: &|_| Some(4), ..expected };
    assert_eq!(screen(&stranger.bytes(), &expected), Err(ScreenError::NotInPast { index: 1 }));
    assert!(screen(&stranger.bytes(), &Expected { past: &|_| 1, ..expected }).is_ok());
    // Automerge: an unwrap of an actor that it does not know, in both cases.
    assert_eq!(automerge_applies(&late.bytes()), None);
    assert_eq!(automerge_applies(&Forged { deps: Vec::new(), ..stranger }.bytes()), None);
}

/// An object in another change is for the panic boundary; one in the same change is decided here.
#[test]
fn an_op_on_an_object_that_the_change_does_not_make_is_refused() {
    let own = |counter: u8| {
        Forged { start_op: 4, ..Forged::default() }
            .with(Column::ObjectActor, &[0x7f, 0])
            .with(Column::ObjectCounter, &[0x7f, counter])
    };
    assert_eq!(own(4).refused(), ScreenError::Op { index: 0, fault: OpFault::Future });
    assert!(parse(&own(3).bytes()).is_ok(), "this one needs the document");
    // Automerge: "Missing from Index".
    assert_eq!(automerge_applies(&own(3).bytes()), None);
}

#[test]
fn op_counters_beyond_31_bits_are_refused() {
    let ends = |start_op| Forged { start_op, ..Forged::default() };
    assert!(parse(&ends(OP_COUNTER_END - 2).bytes()).is_ok());
    assert!(matches!(ends(OP_COUNTER_END - 1).refused(), ScreenError::Limit { part: Part::EndOp, .. }));
    assert!(matches!(ends(u64::MAX).refused(), ScreenError::Limit { part: Part::StartOp, .. }));
    // Automerge checks the first op only: the second one's counter does not fit.
    let two = Forged { start_op: u64::from(u32::MAX), ..two() };
    assert!(matches!(two.refused(), ScreenError::Limit { part: Part::StartOp, .. }));
    assert_eq!(automerge_applies(&two.bytes()), None);
}

#[test]
fn an_author_footer_is_refused() {
    let hostile = Forged { seq: 2, extra: vec![1, 2, 3], ..Forged::default() };
    assert_eq!(hostile.refused(), ScreenError::Extra { count: 3 });
}

/// The eighth row is history: mutations that once crashed. The oracle below stands for it, and so do broken encodings.
#[test]
fn encodings_that_automerge_would_write_differently_are_refused() {
    let runs = |column| ScreenError::Runs { column };
    let base = Forged::default;
    // One value as a run; two equal values as a literal; a null run alone; a run of nothing.
    assert_eq!(base().with(Column::Action, &[1, 1]).refused(), runs(Column::Action));
    assert_eq!(two().with(Column::KeyText, &[0x7e, 1, b'a', 1, b'a']).refused(), runs(Column::KeyText));
    assert_eq!(base().with(Column::MarkName, &[0, 1]).refused(), runs(Column::MarkName));
    assert_eq!(base().with(Column::Action, &[0, 0]).refused(), runs(Column::Action));
    assert_eq!(base().with(Column::Expand, &[1]).refused(), runs(Column::Expand));
    assert_eq!(base().with(Column::Value, &[1]).refused(), ScreenError::Coverage { column: Column::Value });
    assert_eq!(base().column(200, &[1]).refused(), ScreenError::ColumnSpec { spec: 200 });
    let mut overlong = base();
    overlong.time = vec![0x80, 0];
    assert!(matches!(overlong.refused(), ScreenError::Number { .. }));
    let mut twice = base();
    twice.columns.push((Column::PredCount as u64, vec![0x7f, 0]));
    assert_eq!(twice.refused(), ScreenError::ColumnSpec { spec: 112 });
}

#[test]
fn ops_that_automerge_never_writes_are_refused() {
    let op = |fault| ScreenError::Op { index: 0, fault };
    let base = Forged::default;
    let act = |code: u8| base().with(Column::Action, &[0x7f, code]).with(Column::ValueMeta, &[0x7f, 0]);
    // A table panics Automerge as soon as something is put into it.
    assert_eq!(act(6).refused(), op(OpFault::Action(6)));
    assert_eq!(act(8).refused(), op(OpFault::Action(8)));
    assert_eq!(act(3).refused(), op(OpFault::Preds));
    assert_eq!(act(5).refused(), op(OpFault::Value));
    assert_eq!(act(7).refused(), op(OpFault::Insert));
    assert!(parse(&act(0).bytes()).is_ok());
    assert_eq!(base().with(Column::KeyText, &[]).refused(), op(OpFault::Key));
    assert_eq!(base().with(Column::Insert, &[0, 1]).refused(), op(OpFault::Insert));
    assert_eq!(base().with(Column::ValueMeta, &[0x7f, 0x0a]).refused(), op(OpFault::Value));
    assert_eq!(base().with(Column::MarkName, &[0x7f, 1, b'm']).refused(), op(OpFault::Mark));
    assert_eq!(base().with(Column::ObjectCounter, &[0x7f, 1]).refused(), op(OpFault::Object));
    let pred = |actor| {
        Forged { start_op: 2, ..base() }
            .with(Column::PredCount, &[0x7f, 1])
            .with(Column::PredActor, &[0x7f, actor])
            .with(Column::PredCounter, &[0x7f, 1])
    };
    assert!(parse(&pred(0).bytes()).is_ok());
    assert_eq!(pred(1).refused(), op(OpFault::ActorIndex(1)));
    let unused = Forged { others: vec![vec![9; 16]], ..base() };
    assert_eq!(unused.refused(), ScreenError::UnusedActor { index: 1 });
}

#[test]
fn ops_of_one_change_that_do_not_fit_each_other_are_refused() {
    let second = |fault| ScreenError::Op { index: 1, fault };
    assert!(parse(&two().bytes()).is_ok());
    // The second op lies in the first, which makes no object.
    let inside = two().with(Column::ObjectActor, &[0, 1, 0x7f, 0]).with(Column::ObjectCounter, &[0, 1, 0x7f, 1]);
    assert_eq!(inside.refused(), second(OpFault::Key));
    // The second op replaces the first, which is at another key.
    let replaces = two()
        .with(Column::PredCount, &[0x7e, 0, 1])
        .with(Column::PredActor, &[0x7f, 0])
        .with(Column::PredCounter, &[0x7f, 1]);
    assert_eq!(replaces.refused(), second(OpFault::Preds));
    assert!(parse(&replaces.with(Column::KeyText, &[2, 1, b'a']).bytes()).is_ok());
    // Predecessors 2 and 1 instead of 1 and 2.
    let preds = |deltas: &[u8]| {
        Forged { start_op: 3, ..Forged::default() }
            .with(Column::PredCount, &[0x7f, 2])
            .with(Column::PredActor, &[2, 0])
            .with(Column::PredCounter, deltas)
    };
    assert!(parse(&preds(&[2, 1]).bytes()).is_ok());
    assert_eq!(preds(&[0x7e, 2, 0x7f]).refused(), ScreenError::Op { index: 0, fault: OpFault::Preds });
}

#[test]
fn limits_are_inclusive() {
    let base = Forged::default;
    let dep = |n: u64| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        hash
    };
    let deps = |count: u64| Forged { deps: (0..count).map(dep).collect(), ..base() };
    assert!(parse(&deps(MAX_DEPS).bytes()).is_ok());
    assert!(matches!(deps(MAX_DEPS + 1).refused(), ScreenError::Limit { part: Part::Deps, .. }));
    let twice = Forged { deps: vec![dep(1), dep(1)], ..base() };
    assert_eq!(twice.refused(), ScreenError::Order { part: Part::Deps });
    let message = |length: u64| Forged { message: vec![b'm'; length as usize], ..base() };
    assert!(parse(&message(MAX_MESSAGE).bytes()).is_ok());
    assert!(matches!(message(MAX_MESSAGE + 1).refused(), ScreenError::Limit { part: Part::Message, .. }));
    assert!(matches!(Forged { message: vec![0xff], ..base() }.refused(), ScreenError::Text { .. }));
    let time = |time| Forged { time: signed(time), ..base() };
    assert!(parse(&time(MAX_TIME).bytes()).is_ok());
    assert!(matches!(time(MAX_TIME + 1).refused(), ScreenError::Limit { part: Part::Time, .. }));
    let others = Forged { others: (0..=MAX_OTHER_ACTORS).map(|n| vec![n as u8; 16]).collect(), ..base() };
    assert!(matches!(others.refused(), ScreenError::Limit { part: Part::OtherActors, .. }));
    assert!(matches!(Forged { actor: vec![7; 15], ..base() }.refused(), ScreenError::Limit { part: Part::Actor, .. }));
    assert!(matches!(Forged { seq: 0, ..base() }.refused(), ScreenError::Limit { part: Part::Seq, .. }));
}

#[test]
fn genesis_actors_cut_chunks_and_wrong_checksums_are_refused() {
    for genesis in Kind::ALL.into_iter().filter_map(genesis) {
        assert_eq!(parse(genesis.bytes), Err(ScreenError::ReservedActor));
    }
    let bytes = Forged::default().bytes();
    for end in 0..bytes.len() {
        assert!(parse(&bytes[..end]).is_err(), "{end}");
    }
    let mut wrong = bytes.clone();
    wrong[4] ^= 1;
    assert_eq!(parse(&wrong), Err(ScreenError::Checksum));
    let longer = [bytes, vec![0]].concat();
    assert!(matches!(parse(&longer), Err(ScreenError::Limit { part: Part::Data, .. })));
}

#[test]
fn a_change_of_another_actor_or_with_missing_or_later_dependencies_is_refused() {
    let dep = [3; 32];
    let change = Forged { deps: vec![dep], start_op: 5, ..Forged::default() }.bytes();
    let expected = |max_op: Option<u64>| {
        let known = move |_: &[u8; 32]| max_op;
        screen(
            &change,
            &Expected { actor: &AUTHOR, next_seq: 1, deps_max_op: &known, is_previous: &|_| false, past: &|_| 0 },
        )
    };
    assert_eq!(expected(None), Err(ScreenError::UnknownDep { hash: dep }));
    assert_eq!(expected(Some(5)), Err(ScreenError::StartOp { found: 5, next: 6 }));
    assert_eq!(expected(Some(3)), Err(ScreenError::StartOp { found: 5, next: 4 }), "counters are not used up");
    assert!(expected(Some(4)).is_ok());
    let other =
        Expected { actor: &[8; 16], next_seq: 1, deps_max_op: &|_| Some(4), is_previous: &|_| false, past: &|_| 0 };
    assert_eq!(screen(&change, &other), Err(ScreenError::WrongActor));
}

// The oracle.

/// A small generator, so that the sequence is the same on every machine.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// A change that only sets new values is known as such, with where it puts them.
#[test]
fn what_a_change_adds_is_told_and_anything_else_is_not() {
    let adds = |forged: &Forged| parse(&forged.bytes()).unwrap().adds;
    let add = |target, key: Option<&str>| Addition { target, key: key.map(str::to_owned), value: true.into() };
    assert_eq!(adds(&two()), Some(vec![add(None, Some("a")), add(None, Some("b"))]));
    let within = |actor: u8, insert: &[u8]| {
        Forged { start_op: 5, others: vec![vec![9; 16]], ..Forged::default() }
            .with(Column::ObjectActor, &[0x7f, actor])
            .with(Column::ObjectCounter, &[0x7f, 2])
            .with(Column::Insert, insert)
    };
    let target = Target { counter: 2, actor: [9; 16], as_map: true };
    assert_eq!(adds(&within(1, &[1])), Some(vec![add(Some(target), Some("a"))]));
    let in_list = within(1, &[0, 1]).with(Column::KeyText, &[]);
    let at_head = in_list.clone().with(Column::KeyCounter, &[0x7f, 0]);
    assert_eq!(adds(&at_head), Some(vec![add(Some(Target { as_map: false, ..target }), None)]));
    // Behind an element of another change, which may not be there.
    let behind = in_list.with(Column::KeyActor, &[0x7f, 1]).with(Column::KeyCounter, &[0x7f, 4]);
    assert_eq!(adds(&behind), None);
    // A key that is set twice, a value that is replaced, a null, an object that is made.
    let replaces = two()
        .with(Column::KeyText, &[2, 1, b'a'])
        .with(Column::PredCount, &[0x7e, 0, 1])
        .with(Column::PredActor, &[0x7f, 0])
        .with(Column::PredCounter, &[0x7f, 1]);
    assert_eq!(adds(&replaces), None);
    assert_eq!(adds(&two().with(Column::KeyText, &[2, 1, b'a'])), None);
    assert_eq!(adds(&Forged::default().with(Column::ValueMeta, &[0x7f, 0])), None);
    let makes = Forged::default().with(Column::Action, &[0x7f, 0]).with(Column::ValueMeta, &[0x7f, 0]);
    assert_eq!(adds(&makes), None);
}

/// A change and the document that it was made on.
struct Sample {
    base: Automerge,
    bytes: Vec<u8>,
}

/// Edits of the kinds that ctxnode makes, some on top of conflicts.
fn samples() -> Vec<Sample> {
    let mut doc = base_document(Kind::Note).with_actor(ActorId::from([1; 16]));
    let mut other = doc.clone().with_actor(ActorId::from([2; 16]));
    let mut out = Vec::new();
    for turn in 0..6 {
        for doc in [&mut doc, &mut other] {
            let base = doc.clone();
            edit(doc, turn);
            out.push(Sample { base, bytes: doc.get_last_local_change().unwrap().raw_bytes().to_vec() });
        }
        if turn % 2 == 1 {
            doc.merge(&mut other).unwrap();
            other.merge(&mut doc).unwrap();
        }
    }
    out.extend((0..4).map(created));
    out
}

/// A note as it is created: nothing but additions.
fn created(tags: usize) -> Sample {
    let mut doc = base_document(Kind::Note).with_actor(ActorId::from([3; 16]));
    let base = doc.clone();
    let object = |name: &str| base.get(ROOT, name).unwrap().unwrap().1;
    doc.transact::<_, _, AutomergeError>(|tx| {
        tx.put(ROOT, "title", "created")?;
        tx.put(ROOT, "created_at", 1_700_000_000_000_i64)?;
        tx.put(ROOT, "archived", false)?;
        (0..tags).try_for_each(|tag| tx.put(object("tags"), format!("tag{tag}"), true))?;
        (0..=tags).try_for_each(|at| tx.insert(object("content"), at, format!("sentence {at}. ")))
    })
    .unwrap();
    Sample { base, bytes: doc.get_last_local_change().unwrap().raw_bytes().to_vec() }
}

fn edit(doc: &mut Automerge, turn: usize) {
    let object = |name: &str| doc.get(ROOT, name).unwrap().unwrap().1;
    let (tags, content) = (object("tags"), object("content"));
    let length = doc.length(&content);
    doc.transact::<_, _, AutomergeError>(|tx| {
        tx.put(ROOT, "title", format!("title {turn}"))?;
        tx.put(ROOT, "created_at", 1_700_000_000_000_i64 + turn as i64)?;
        tx.put(ROOT, "archived", turn.is_multiple_of(2))?;
        tx.put(&tags, format!("tag{}", turn % 3), true)?;
        if turn == 3 {
            tx.delete(&tags, "tag0")?;
            tx.put_object(ROOT, "rival", ObjType::List)?;
        }
        (0..3).try_for_each(|at| tx.insert(&content, length.min(at), format!("sentence {at}. ")))?;
        if length > 2 { tx.delete(&content, 1) } else { Ok(()) }
    })
    .unwrap();
}

/// Screens bytes as the next change of the sample's author.
fn accepted(sample: &Sample, bytes: &[u8]) -> bool {
    let Ok(original) = parse(&sample.bytes) else { return false };
    let doc = &sample.base;
    let expected = Expected {
        actor: &original.actor,
        next_seq: original.seq,
        deps_max_op: &|dep| doc.get_change_meta_by_hash(&ChangeHash(*dep)).map(|meta| meta.max_op),
        is_previous: &|dep| {
            let change = doc.get_change_meta_by_hash(&ChangeHash(*dep));
            change.is_some_and(|meta| meta.actor.to_bytes() == original.actor && meta.seq + 1 == original.seq)
        },
        // The sample builds on all of it.
        past: &|actor| {
            let all = doc.get_changes_meta(&[]);
            all.iter().filter(|meta| meta.actor.to_bytes() == actor).map(|meta| meta.max_op).max().unwrap_or(0)
        },
    };
    screen(bytes, &expected).is_ok()
}

/// What became of an accepted change.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    applied: usize,
    refused: usize,
    panicked: usize,
    unloadable: usize,
    additions: usize,
}

/// Whether the store takes a change in without reading the document back: it only adds to the root and to the containers.
fn only_adds(bytes: &[u8]) -> bool {
    let actor = genesis(Kind::Note).unwrap().actor;
    let is_container =
        |target: Target| target.actor == actor && makes_map(Kind::Note, target.counter) == Some(target.as_map);
    parse(bytes).unwrap().adds.is_some_and(|adds| adds.iter().filter_map(|add| add.target).all(is_container))
}

/// Decoding must be quick and never panic; applying may, for references into other changes.
fn feed(sample: &Sample, bytes: &[u8], tally: &mut Tally) {
    if !accepted(sample, bytes) {
        return;
    }
    tally.accepted += 1;
    let additions = only_adds(bytes);
    let bad_before = tally.refused + tally.panicked + tally.unloadable;
    let begun = Instant::now();
    let change = Change::from_bytes(bytes.to_vec()).expect("an accepted change decodes");
    assert!(begun.elapsed() < Duration::from_secs(1), "decoding took {:?}", begun.elapsed());
    assert_eq!(change.hash().0, parse(bytes).unwrap().hash);
    let applied = catch_unwind(AssertUnwindSafe(|| {
        let mut copy = sample.base.clone();
        copy.apply_changes([change]).ok().map(|()| copy)
    }));
    match applied {
        Err(_) => tally.panicked += 1,
        Ok(None) => tally.refused += 1,
        Ok(Some(doc)) => {
            tally.applied += 1;
            let loads = catch_unwind(AssertUnwindSafe(|| Automerge::load(&doc.save()).is_ok()));
            tally.unloadable += usize::from(!loads.unwrap_or(false));
        }
    }
    tally.additions += usize::from(additions);
    let bad = tally.refused + tally.panicked + tally.unloadable;
    assert!(!additions || bad == bad_before, "a change that only adds did harm: {:?}", parse(bytes));
}

fn mutate(bytes: &[u8], sequence: &mut Sequence) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=sequence.below(3) {
        let at = 8 + sequence.below(out.len() - 8);
        match sequence.below(4) {
            0 => out[at] ^= 1 << sequence.below(8),
            1 => out[at] = sequence.below(256) as u8,
            2 => out[at] = out[at].wrapping_add(1),
            _ => out[at] = out[at].wrapping_sub(1),
        }
    }
    fix_checksum(&mut out);
    out
}

#[test]
fn twenty_thousand_mutations_never_reach_a_decoder_that_panics_or_hangs() {
    let seed = 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed:#x}");
    let mut sequence = Sequence(seed);
    let samples = samples();
    let mut tally = Tally::default();
    assert!(samples.iter().all(|sample| accepted(sample, &sample.bytes)), "a change of ours is refused");
    for _ in 0..20_000 {
        let sample = &samples[sequence.below(samples.len())];
        feed(sample, &mutate(&sample.bytes, &mut sequence), &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.accepted > 1_000, "the screener refuses nearly everything, so this proves nothing: {tally:?}");
    assert!(tally.applied > 0 && tally.refused == 0, "{tally:?}");
    assert!(tally.additions > 300, "{tally:?}");
}
