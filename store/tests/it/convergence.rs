//! Invariants 4 and 5: nothing enters without verification, and equal sets of entries make equal replicas.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::Run;
use ctxnode_model::index::Index;
use ctxnode_model::record::{Claim, Doc, DocRevision, Note, Plan, PlanState, Record, Requirement};
use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Scalar, Space};
use ctxnode_store::entry::decode;
use ctxnode_store::{Clock as _, ControlOp, Cut, Missing, Outcome, Refusal, Role, Store};
use proptest::prelude::*;
use serde_json::json;

use crate::support::*;

type Views = Vec<(DocumentId, (Option<Vec<u8>>, Option<Vec<u8>>))>;

fn views(store: &Store) -> (Views, Vec<DocumentId>) {
    let snapshot = store.read().unwrap();
    let reader = snapshot.reader();
    let mut ids = BTreeSet::new();
    for (_, row) in reader.journal_after(0, usize::MAX).unwrap() {
        ids.extend(row.documents);
    }
    let views = ids.into_iter().map(|id| (id, reader.view_bytes(id).unwrap())).collect();
    (views, open_handoffs(store))
}

/// The entries that a store has of one author.
fn entries_of(store: &Store, author: NodeKey) -> Vec<Vec<u8>> {
    let snapshot = store.read().unwrap();
    let frontier = snapshot.reader().frontier().unwrap();
    let logs = frontier.0.iter().filter(|(log, _)| log.author == author);
    let runs = logs.map(|(log, length)| Run { log: *log, from: 1, to: *length });
    runs.flat_map(|run| snapshot.reader().entries(&run, usize::MAX).unwrap()).collect()
}

/// D-09 and the natural-key rule: what two nodes create apart under one natural key is one record.
#[test]
fn a_natural_key_created_apart_is_one_record() {
    let (a, b) = (founder(20), member(&founder(20), 21));
    grant(&a, &b, Role::Admin);
    let id = a.store.ids().requirement("x.md", "global", None);
    for node in [&a, &b] {
        write(&node.store, move |draft| {
            draft.edit(id, &Space::Fleet, [Edit::set("name_pattern", "x.md"), Edit::set("required", true)])
        });
    }
    sync(&a.store, &b.store);
    assert_eq!(views(&a.store), views(&b.store));
    let snapshot = b.store.read().unwrap();
    assert_eq!(snapshot.reader().all::<Requirement>(Kind::Requirement).unwrap().len(), 1);
}

/// N-12 on the level of the store: edits of different sentences made apart are both there.
#[test]
fn n_12_edits_of_different_sentences_merge() {
    let (a, b) = (founder(22), member(&founder(22), 23));
    grant(&a, &b, Role::Writer);
    let id = add_note(&a.store, "t", "One is here. Two is here. Three is here.", &["x"]);
    sync(&a.store, &b.store);
    set_body(&a.store, id, "One was changed by a. Two is here. Three is here.", None);
    set_body(&b.store, id, "One is here. Two is here. Three was changed by b.", None);
    sync(&a.store, &b.store);
    for node in [&a, &b] {
        assert_eq!(body(&node.store, id), "One was changed by a. Two is here. Three was changed by b.");
    }
    assert_eq!(views(&a.store), views(&b.store));
}

#[test]
fn of_concurrent_titles_the_newest_is_shown_and_the_other_is_a_conflict() {
    let (a, b) = (founder(24), member(&founder(24), 25));
    grant(&a, &b, Role::Writer);
    let id = add_note(&a.store, "t", "x", &[]);
    sync(&a.store, &b.store);
    let title = |node: &Node, text: &'static str| {
        write(&node.store, move |draft| draft.edit(id, &alpha(), [Edit::set("title", text)]));
    };
    // `b` writes more often, so its operation counters are higher, but `a` writes last.
    title(&b, "b1");
    title(&b, "b2");
    a.clock.advance(60_000);
    title(&a, "a");
    sync(&a.store, &b.store);
    for node in [&a, &b] {
        let found = note(&node.store, id);
        assert_eq!(found.title.as_deref(), Some("a"));
        assert_eq!(found.meta.conflicts.len(), 1);
        assert_eq!(found.meta.conflicts[0].others[0].value, "b2");
    }
    title(&b, "settled");
    sync(&a.store, &b.store);
    assert!(note(&a.store, id).meta.conflicts.is_empty());
}

/// what a reader authors is in quarantine on every node and applied on none.
#[test]
fn q_05_entries_without_right_are_held_and_apply_once_the_right_is_given() {
    let (a, b) = (founder(26), member(&founder(26), 27));
    grant(&a, &b, Role::Writer);
    let id = add_note(&b.store, "mine", "x", &[]);
    // `c` gets the note before it hears of the grant.
    let c = member(&a, 28);
    let report = ingest(&c.store, entries_of(&b.store, b.store.node()));
    assert_eq!(report.outcomes, [Outcome::Held(Refusal::UnknownAuthor)]);
    assert!(c.store.read().unwrap().reader().get::<Note>(id).unwrap().is_none());
    assert_eq!(c.store.read().unwrap().reader().quarantine(10).unwrap().1, 1);
    ingest(&c.store, all_entries(&a.store));
    assert_eq!(note(&c.store, id).title.as_deref(), Some("mine"));
    assert_eq!(c.store.read().unwrap().reader().quarantine(10).unwrap().1, 0);
    sync(&a.store, &b.store);
    assert_eq!(views(&c.store), views(&a.store));
}

#[test]
fn what_lies_past_a_revocation_is_taken_out_again() {
    let (a, b) = (founder(29), member(&founder(29), 30));
    grant(&a, &b, Role::Writer);
    let id = add_note(&a.store, "t", "From a.", &[]);
    sync(&a.store, &b.store);
    set_body(&b.store, id, "From a. Before.", None);
    sync(&a.store, &b.store);
    let cuts: Vec<Cut> = {
        let frontier = a.store.read().unwrap().reader().frontier().unwrap();
        let own = frontier.0.iter().filter(|(log, _)| log.author == b.store.node());
        own.map(|(log, length)| Cut { log: *log, last: *length, tip: None }).collect()
    };
    set_body(&b.store, id, "From a. Before. After.", None);
    sync(&a.store, &b.store);
    assert_eq!(body(&a.store, id), "From a. Before. After.");
    let node = b.store.node();
    write(&a.store, move |draft| draft.control(&ControlOp::Revoke { node, cuts }));
    sync(&a.store, &b.store);
    for store in [&a.store, &b.store] {
        assert_eq!(body(store, id), "From a. Before.");
        assert_eq!(store.read().unwrap().reader().quarantine(10).unwrap().1, 1);
        assert_eq!(store.read().unwrap().check(|_| ()).unwrap().problem_count, 0);
    }
    assert_eq!(views(&a.store), views(&b.store));
    let refused = b.store.write_blocking(move |draft| draft.edit(id, &alpha(), [Edit::set("title", "late")]));
    assert!(refused.is_err());
}

/// What builds on a change that is not here is listed with what it waits for, and not any more once that is applied.
#[test]
fn a_change_that_waits_says_what_for() {
    let (a, b) = (founder(70), member(&founder(70), 71));
    grant(&a, &b, Role::Writer);
    let c = member(&a, 72);
    sync(&a.store, &c.store);
    let id = add_note(&a.store, "t", "From a.", &[]);
    sync(&a.store, &b.store);
    set_body(&b.store, id, "From a. From b.", None);
    set_body(&b.store, id, "From a. From b, twice.", None);
    let of_b = entries_of(&b.store, b.store.node());
    let waiting = || {
        let snapshot = c.store.read().unwrap();
        assert_eq!(snapshot.reader().waiting(1).unwrap().len(), 1, "no more than asked for");
        let rows = snapshot.reader().waiting(10).unwrap();
        assert_eq!(snapshot.reader().waiting_count().unwrap(), rows.len() as u64);
        assert!(rows.iter().all(|row| row.document == id && row.log.author == b.store.node()));
        let mut missing: Vec<Vec<Missing>> = rows.into_iter().map(|row| row.missing).collect();
        missing.sort_by_key(|missing| matches!(missing[..], [Missing::Waiting(_)]));
        missing
    };
    ingest(&c.store, of_b);
    assert!(matches!(&waiting()[..], [first, second]
        if matches!(first[..], [Missing::Change(_)]) && matches!(second[..], [Missing::Waiting(_)])));
    ingest(&c.store, all_entries(&a.store));
    assert_eq!(c.store.read().unwrap().reader().waiting_count().unwrap(), 0);
    assert_eq!(body(&c.store, id), "From a. From b, twice.");
}

/// What was built on a change that a revocation took out waits for it, and the list says where that one lies.
#[test]
fn what_builds_on_a_change_in_quarantine_waits_for_it_by_name() {
    let (a, b) = (founder(73), member(&founder(73), 74));
    grant(&a, &b, Role::Writer);
    let id = add_note(&a.store, "t", "From a.", &[]);
    sync(&a.store, &b.store);
    set_body(&b.store, id, "From a. Late.", None);
    sync(&a.store, &b.store);
    set_body(&a.store, id, "From a. Late. On top.", None);
    let lost = b.store.node();
    write(&a.store, move |draft| draft.control(&ControlOp::Revoke { node: lost, cuts: Vec::new() }));
    let snapshot = a.store.read().unwrap();
    let rows = snapshot.reader().waiting(10).unwrap();
    assert!(matches!(&rows[..], [row] if row.log.author == a.store.node()), "{rows:?}");
    assert!(
        matches!(&rows[0].missing[..], [Missing::Quarantined { log, reason, .. }]
            if log.author == lost && reason["reason"] == "revoked"),
        "{:?}",
        rows[0].missing
    );
}

#[test]
fn a_changed_byte_a_gap_and_a_fork_are_kept_out() {
    let (a, b) = (founder(31), member(&founder(31), 32));
    grant(&a, &b, Role::Writer);
    add_note(&a.store, "one", "x", &[]);
    add_note(&a.store, "two", "x", &[]);
    let entries = all_entries(&a.store);
    let mut forged = entries.last().unwrap().clone();
    forged[120] ^= 1;
    assert!(matches!(ingest(&b.store, vec![forged]).outcomes[..], [Outcome::Bad(_)]));
    // Which log comes last is chance: the second entry of one that has two.
    let last = entries.iter().find(|entry| decode(entry).unwrap().0.seq == 2).unwrap().clone();
    assert!(matches!(ingest(&b.store, vec![last]).outcomes[..], [Outcome::Gap { .. }]));
    let other = founder(33);
    add_note(&other.store, "alien", "x", &[]);
    let report = ingest(&b.store, all_entries(&other.store));
    assert!(report.outcomes.iter().all(|outcome| *outcome == Outcome::OtherFleet));
    assert!(ingest(&b.store, entries.clone()).outcomes.contains(&Outcome::Applied));
    assert!(ingest(&b.store, entries).outcomes.iter().all(|outcome| *outcome == Outcome::Duplicate));
}

/// A catch-up by frontiers alone: what is missing is worked out from two frontiers, sent in batches, interrupted once.
#[test]
fn a_catch_up_by_frontiers_makes_replicas_equal() {
    let (a, b) = (founder(34), member(&founder(34), 35));
    grant(&a, &b, Role::Writer);
    for number in 0..1_200 {
        add_note(&a.store, &format!("note {number}"), "x", &[]);
    }
    add_note(&b.store, "from b", "y", &[]);
    for interrupt in [true, false] {
        for (from, to) in [(&a, &b), (&b, &a)] {
            let frontier = |node: &Node| node.store.read().unwrap().reader().frontier().unwrap();
            for _ in 0..if interrupt { 1 } else { usize::MAX } {
                let fleet = Space::Fleet.id(&from.store.fleet());
                let batch = ctxnode_sync_proto::next_batch(&frontier(from), &frontier(to), fleet, 500);
                if batch.is_empty() {
                    break;
                }
                let snapshot = from.store.read().unwrap();
                let entries = batch.iter().flat_map(|run| snapshot.reader().entries(run, usize::MAX).unwrap());
                let report = ingest(&to.store, entries.collect());
                assert!(report.outcomes.iter().all(|outcome| *outcome == Outcome::Applied));
            }
        }
    }
    let digest = |node: &Node| node.store.read().unwrap().reader().heads().unwrap().digest();
    assert_eq!(digest(&a), digest(&b));
    assert_eq!(views(&a.store), views(&b.store));
}

/// What a node of the property test does.
#[derive(Clone, Debug)]
enum Act {
    Add(u8),
    Body(u8, u8),
    Title(u8, u8),
    Tag(u8, u8, bool),
    Delete(u8),
    Revive(u8),
    Handoff(u8, bool),
    Requirement(u8),
    Put(u8, u8),
    DeleteDoc(u8),
    Plan(u8),
    Claim(u8),
    Extend(u8),
    Release(u8),
    Sync,
}

fn act() -> impl Strategy<Value = (bool, Act)> {
    let act = prop_oneof![
        any::<u8>().prop_map(Act::Add),
        (any::<u8>(), any::<u8>()).prop_map(|(n, t)| Act::Body(n, t)),
        (any::<u8>(), any::<u8>()).prop_map(|(n, t)| Act::Title(n, t)),
        (any::<u8>(), 0_u8..3, any::<bool>()).prop_map(|(n, t, on)| Act::Tag(n, t, on)),
        any::<u8>().prop_map(Act::Delete),
        any::<u8>().prop_map(Act::Revive),
        (0_u8..3, any::<bool>()).prop_map(|(t, d)| Act::Handoff(t, d)),
        (0_u8..3).prop_map(Act::Requirement),
        // Few docs and few texts, so that two nodes make the same one apart.
        (0_u8..4, 0_u8..3).prop_map(|(n, t)| Act::Put(n, t)),
        (0_u8..4).prop_map(Act::DeleteDoc),
        any::<u8>().prop_map(Act::Plan),
        (0_u8..2).prop_map(Act::Claim),
        any::<u8>().prop_map(Act::Extend),
        any::<u8>().prop_map(Act::Release),
        Just(Act::Sync),
    ];
    (any::<bool>(), act)
}

/// What both nodes made.
#[derive(Default)]
struct Made {
    notes: Vec<DocumentId>,
    /// Every text that was put, by the place at which it was.
    docs: BTreeMap<DocumentId, BTreeMap<String, String>>,
    /// The places of all states of the plan, with the issue that each names.
    plans: BTreeMap<String, u8>,
    claims: Vec<DocumentId>,
}

/// One of those records that a node has, deleted ones apart.
fn known<T: Record>(store: &Store, of: &[DocumentId], number: u8) -> Option<DocumentId> {
    let snapshot = store.read().unwrap();
    let is_here = |id: &DocumentId| snapshot.reader().get::<T>(*id).unwrap().is_some();
    let here: Vec<DocumentId> = of.iter().copied().filter(is_here).collect();
    (!here.is_empty()).then(|| here[usize::from(number) % here.len()])
}

/// Of four docs two are generated.
fn doc_id(store: &Store, number: u8) -> (DocumentId, String) {
    let (ids, name) = (store.ids(), format!("{}.md", number % 2));
    let id = if number < 2 { ids.doc("alpha", &name) } else { ids.generated_doc("alpha", &name) };
    (id, name)
}

/// Puts a doc as the daemon does when the text is another one, and brings it back when it was deleted; returns the place.
fn put(store: &Store, id: DocumentId, name: String, text: String) -> String {
    write(store, move |draft| {
        let known = draft.reader().get_even_deleted::<Doc>(id)?;
        let (now, key) = (draft.now(), draft.order(&alpha())?.sort_key());
        let revision = DocRevision { hash: text.clone(), at: now, ..DocRevision::default() };
        let mut edits = vec![
            Edit::set("refreshed_at", now),
            Edit::entry("revisions", key.clone(), Scalar::json(&json!(revision))),
            Edit::entry("contents", key.clone(), text),
        ];
        if known.is_none() {
            edits.extend([Edit::set("scope", "alpha"), Edit::set("name", name), Edit::set("created_at", now)]);
        }
        draft.edit(id, &alpha(), edits)?;
        if known.is_some_and(|doc| doc.meta.deleted) {
            draft.revive(id)?;
        }
        Ok(key)
    })
}

fn set_plan(store: &Store, issue: u8) -> String {
    write(store, move |draft| {
        let (now, key) = (draft.now(), draft.order(&Space::Fleet)?.sort_key());
        let state = PlanState { target_issues: vec![issue.to_string()], updated_at: now, ..PlanState::default() };
        let id = draft.ids().plan();
        draft.edit(id, &Space::Fleet, [Edit::entry("states", key.clone(), Scalar::json(&json!(state)))])?;
        Ok(key)
    })
}

fn claim(store: &Store, issue: u8) -> DocumentId {
    write(store, move |draft| {
        let (id, now) = (draft.fresh_id(Kind::Claim, &alpha())?, draft.now());
        let edits = [
            Edit::set("claim_kind", "issue"),
            Edit::set("key", issue.to_string()),
            Edit::set("venture", "alpha"),
            Edit::set("repo", "org/repo"),
            Edit::set("session_id", "sess_01HQXV3NK8J5Z7Y2M4T6W8R0AB"),
            Edit::set("taken_at", now),
            Edit::set("expires_at", now.plus(86_400_000)),
        ];
        draft.edit(id, &alpha(), edits)?;
        Ok(id)
    })
}

fn carry_out(node: &Node, act: &Act, made: &mut Made) {
    let store = &node.store;
    node.clock.advance(1_000);
    let set = |id: DocumentId, edits: Vec<Edit>| write(store, move |draft| draft.edit(id, &alpha(), edits));
    match *act {
        Act::Add(text) => made.notes.push(add_note(store, "n", &format!("A {text}. B {text}.\nC"), &["x"])),
        Act::Body(number, text) => {
            if let Some(id) = known::<Note>(store, &made.notes, number) {
                let changed = body(store, id).replacen('.', &format!(" and {text}."), 1 + usize::from(text % 2));
                set_body(store, id, &changed, None);
            }
        }
        Act::Title(number, text) => {
            if let Some(id) = known::<Note>(store, &made.notes, number) {
                set(id, vec![Edit::set("title", format!("t{text}"))]);
            }
        }
        Act::Tag(number, tag, on) => {
            if let Some(id) = known::<Note>(store, &made.notes, number) {
                let tag = format!("tag{tag}");
                set(id, vec![if on { Edit::member("tags", tag) } else { Edit::remove("tags", tag) }]);
            }
        }
        Act::Delete(number) => {
            if let Some(id) = known::<Note>(store, &made.notes, number) {
                write(store, move |draft| draft.tombstone(id));
            }
        }
        Act::Revive(number) => {
            let snapshot = store.read().unwrap();
            let here = |id: &DocumentId| snapshot.reader().get_even_deleted::<Note>(*id).unwrap().is_some();
            let here: Vec<DocumentId> = made.notes.iter().copied().filter(here).collect();
            if !here.is_empty() {
                let id = here[usize::from(number) % here.len()];
                write(store, move |draft| draft.revive(id));
            }
        }
        Act::Handoff(thread, drafted) => drop(add_handoff(store, &format!("t{thread}"), drafted)),
        Act::Requirement(number) => {
            let id = store.ids().requirement(&format!("{number}.md"), "global", None);
            write(store, move |draft| {
                let now = draft.now();
                draft.edit(id, &Space::Fleet, [Edit::set("updated_at", now), Edit::set("required", now.0 % 2 == 0)])
            });
        }
        Act::Put(number, text) => {
            let ((id, name), text) = (doc_id(store, number), format!("# Text {text}\nand more of it\n"));
            let place = put(store, id, name, text.clone());
            made.docs.entry(id).or_default().insert(place, text);
        }
        Act::DeleteDoc(number) => {
            if let Some(id) = known::<Doc>(store, &[doc_id(store, number).0], 0) {
                write(store, move |draft| draft.tombstone(id));
            }
        }
        Act::Plan(issue) => drop(made.plans.insert(set_plan(store, issue), issue)),
        Act::Claim(issue) => made.claims.push(claim(store, issue)),
        Act::Extend(number) => {
            if let Some(id) = known::<Claim>(store, &made.claims, number) {
                set(id, vec![Edit::set("expires_at", node.clock.now().plus(86_400_000))]);
            }
        }
        Act::Release(number) => {
            if let Some(id) = known::<Claim>(store, &made.claims, number) {
                set(id, vec![Edit::set("released_at", node.clock.now())]);
            }
        }
        Act::Sync => {}
    }
}

/// How many rows the indexes have, as far as they are counted.
fn counted(store: &Store) -> Vec<u64> {
    let snapshot = store.read().unwrap();
    let count = |index, kind, prefix: &[&str]| snapshot.reader().count(index, kind, prefix).unwrap();
    let tags = ["tag0", "tag1", "x"].map(|tag| count(Index::NoteTag, Kind::Note, &["alpha", tag]));
    let docs = [Kind::Doc, Kind::GeneratedDoc].map(|kind| count(Index::Scope, kind, &["alpha"]));
    let claims = count(Index::ClaimLive, Kind::Claim, &["alpha"]);
    tags.into_iter().chain(docs).chain([claims]).collect()
}

/// Equal replicas may have lost the same thing. So what the rules say (0.3, D-14, P-03) holds too: every revision of a doc is
/// there and its text is the last of them, whole; the plan has its last ten states, in order; every claim is there.
fn holds_what_was_made(store: &Store, made: &Made) {
    let snapshot = store.read().unwrap();
    let reader = snapshot.reader();
    for (id, texts) in &made.docs {
        let doc = reader.get_even_deleted::<Doc>(*id).unwrap().expect("every doc is there");
        let hashes = doc.revisions.iter().map(|(place, revision)| (place, &revision.hash));
        assert!(hashes.eq(texts), "{id}: {:?} of {texts:?}", doc.revisions);
        assert_eq!(reader.body(*id).unwrap().as_ref(), texts.values().next_back(), "{id}");
    }
    let plan = reader.get::<Plan>(store.ids().plan()).unwrap().map(|plan| plan.value).unwrap_or_default();
    let states = plan.states.iter().map(|(place, state)| (place.clone(), state.target_issues.clone()));
    let newest = made.plans.iter().skip(made.plans.len().saturating_sub(10));
    let newest = newest.map(|(place, issue)| (place.clone(), vec![issue.to_string()]));
    assert_eq!(states.collect::<Vec<_>>(), newest.collect::<Vec<_>>());
    let claims = reader.all::<Claim>(Kind::Claim).unwrap();
    let all: BTreeSet<DocumentId> = claims.iter().map(|claim| claim.id).collect();
    assert_eq!(all, made.claims.iter().copied().collect::<BTreeSet<_>>());
    let living = claims.iter().filter(|claim| claim.released_at.is_none()).count() as u64;
    assert_eq!(reader.count(Index::ClaimLive, Kind::Claim, &["alpha"]).unwrap(), living);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Invariant 5. Two nodes write, exchange now and then, and a third gets everything in a shuffled order, repeated
    /// and cut into batches anyhow: in the end the views of all three are equal, byte for byte.
    #[test]
    fn replicas_with_the_same_entries_are_equal(
        acts in proptest::collection::vec(act(), 1..40),
        shuffle in any::<u64>(),
        cut in 1_usize..7,
    ) {
        let (a, b) = (founder(40), member(&founder(40), 41));
        grant(&a, &b, Role::Admin);
        let mut made = Made::default();
        for (first, act) in &acts {
            if matches!(act, Act::Sync) {
                sync(&a.store, &b.store);
            }
            carry_out(if *first { &a } else { &b }, act, &mut made);
        }
        sync(&a.store, &b.store);
        prop_assert_eq!(views(&a.store), views(&b.store));
        prop_assert_eq!(counted(&a.store), counted(&b.store));

        let c = member(&a, 42);
        let mut entries = all_entries(&a.store);
        let mut random = shuffle | 1;
        for at in (1..entries.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            entries.swap(at, (random >> 33) as usize % (at + 1));
        }
        // A log takes its entries in order only, so shuffled batches are sent until nothing is missing.
        let mut rounds = 0;
        while c.store.read().unwrap().reader().frontier().unwrap() != a.store.read().unwrap().reader().frontier().unwrap() {
            for batch in entries.chunks(cut) {
                ingest(&c.store, batch.to_vec());
            }
            rounds += 1;
            prop_assert!(rounds <= entries.len() + 1, "no progress");
        }
        prop_assert_eq!(views(&c.store), views(&a.store));
        prop_assert_eq!(counted(&c.store), counted(&a.store));
        for node in [&a, &b, &c] {
            holds_what_was_made(&node.store, &made);
        }
        prop_assert_eq!(c.store.read().unwrap().check(|_| ()).unwrap().problem_count, 0);
    }
}
