//! A log with two histories: both are kept, and every replica lays them out alike.

use std::collections::BTreeSet;

use ctxnode_model::frontier::{Heads, LogId};
use ctxnode_model::{DocumentId, Edit, EntryHash, Space, Stamp, Timestamp};
use ctxnode_store::entry::{Header, Op, VerifiedEntry};
use ctxnode_store::{ControlOp, Cut, Entropy as _, Finding, Location, NodeSecret, Outcome, Role, SeededEntropy, Store};
use proptest::prelude::*;

use crate::support::*;

/// A member, and the same member as a snapshot of its running machine has it.
fn twins(of: &Node, seed: u64) -> (Node, Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let (options, clock) = options(Location::File(dir.path().join(name)), seed);
        (options, clock)
    };
    let (one, _) = open("one");
    let store = Store::create_member(one, of.store.genesis().unwrap()).unwrap();
    let key = store.node();
    write(&of.store, move |draft| {
        draft.control(&ControlOp::Grant { node: key, role: Role::Writer, spaces: None, name: "twin".to_owned() })
    });
    ingest(&store, all_entries(&of.store));
    add_note(&store, "before", "what both have", &[]);
    store.close();
    std::fs::copy(dir.path().join("one"), dir.path().join("two")).unwrap();
    let again = |name: &str| {
        let (options, clock) = open(name);
        Node { store: Store::open(options).unwrap(), clock }
    };
    (again("one"), again("two"), dir)
}

fn heads(store: &Store) -> Heads {
    store.read().unwrap().reader().heads().unwrap()
}

/// Brings all entries of all stores to all of them; parents may come in a later pass than what follows them.
fn meet(stores: &[&Store]) {
    for _ in 0..3 {
        for from in stores {
            for to in stores {
                ingest(to, all_entries(from));
            }
        }
    }
}

fn held(store: &Store) -> u64 {
    store.read().unwrap().reader().quarantine(10_000).unwrap().1
}

fn sound(store: &Store) {
    let report = store.read().unwrap().check(|_| ()).unwrap();
    assert_eq!(report.problem_count, 0, "{:?}", report.problems);
}

fn title(store: &Store, id: DocumentId) -> String {
    note(store, id).title.clone().unwrap_or_default()
}

/// Nothing that either history holds is lost, whoever heard of which first, and the machine writes neither again.
#[test]
fn both_histories_of_a_machine_that_went_back_are_kept() {
    let a = founder(60);
    let c = member(&a, 61);
    grant(&a, &c, Role::Writer);
    let (one, two, _dir) = twins(&a, 62);
    assert_eq!(one.store.epoch(), two.store.epoch());
    let of_one: Vec<DocumentId> = (0..5).map(|n| add_note(&one.store, &format!("one {n}"), "x", &[])).collect();
    two.clock.advance(60_000);
    let of_two: Vec<DocumentId> = (0..3).map(|n| add_note(&two.store, &format!("two {n}"), "y", &[])).collect();
    ingest(&a.store, all_entries(&one.store));
    ingest(&c.store, all_entries(&two.store));

    let report = ingest(&two.store, all_entries(&a.store));
    assert!(report.findings.contains(&Finding::OwnCameBack), "it is told that its key wrote something else");
    assert_ne!(one.store.epoch(), two.store.epoch());
    let later = add_note(&two.store, "written afterwards", "z", &[]);
    meet(&[&a.store, &c.store, &two.store]);
    for store in [&a.store, &c.store, &two.store] {
        for id in of_one.iter().chain(&of_two).chain([&later]) {
            assert!(!title(store, *id).is_empty());
        }
        assert_eq!(heads(store), heads(&a.store));
        assert_eq!(held(store), 0);
        sound(store);
    }
    let again = ingest(&two.store, all_entries(&a.store));
    assert_eq!(again.findings, BTreeSet::new(), "once is enough");
}

/// Both histories changed one record: the first in the causal order counts, the other is kept beside it and listed; in
/// whatever order they come.
#[test]
fn of_two_changes_with_one_number_the_first_counts_everywhere() {
    let a = founder(63);
    let c = member(&a, 64);
    grant(&a, &c, Role::Writer);
    let (one, two, _dir) = twins(&a, 65);
    let id = add_note(&a.store, "shared", "x", &[]);
    for twin in [&one, &two] {
        ingest(&twin.store, all_entries(&a.store));
    }
    let retitle = |node: &Node, text: &str| {
        let edit = Edit::set("title", text);
        write(&node.store, move |draft| draft.edit(id, &alpha(), [edit]));
    };
    two.clock.advance(60_000);
    retitle(&two, "of two");
    retitle(&one, "of one");
    ingest(&a.store, all_entries(&one.store));
    ingest(&c.store, all_entries(&two.store));
    assert_eq!((title(&a.store, id), title(&c.store, id)), ("of one".to_owned(), "of two".to_owned()));
    meet(&[&a.store, &c.store]);
    for node in [&a, &c] {
        assert_eq!(title(&node.store, id), "of one");
        assert_eq!(held(&node.store), 1);
        sound(&node.store);
    }
    assert_eq!(heads(&a.store), heads(&c.store));
}

/// Others have built on the later of two changes with one number. The earlier one comes afterwards, or was written
/// afterwards with an earlier time, and takes nothing from under them.
#[test]
fn what_others_built_on_is_not_taken_from_under_them() {
    let a = founder(66);
    let c = member(&a, 67);
    let d = member(&a, 68);
    grant(&a, &c, Role::Writer);
    let (one, two, _dir) = twins(&a, 69);
    let id = add_note(&a.store, "shared", "x", &[]);
    meet(&[&a.store, &c.store, &one.store, &two.store]);
    let retitle = |node: &Node, text: &str| {
        let edit = Edit::set("title", text);
        write(&node.store, move |draft| draft.edit(id, &alpha(), [edit]));
    };
    two.clock.advance(60_000);
    retitle(&two, "of two");
    ingest(&c.store, all_entries(&two.store));
    c.clock.advance(70_000);
    retitle(&c, "of c, on top");
    retitle(&one, "of one");
    // One replica hears of the earlier change first, and of what was built on the other last.
    ingest(&d.store, all_entries(&one.store));
    ingest(&d.store, all_entries(&two.store));
    assert_eq!(title(&d.store, id), "of one", "nobody has built on either");
    meet(&[&c.store, &d.store, &one.store]);
    for node in [&c, &d] {
        assert_eq!(title(&node.store, id), "of c, on top");
        assert_eq!(held(&node.store), 1);
        assert_eq!(node.store.read().unwrap().reader().waiting_count().unwrap(), 0);
        sound(&node.store);
    }
}

/// Two machines went back, each has two changes with one number in a record, and a third machine has built on the later one
/// of the one and the earlier one of the other. These two count, in every order in which the five come.
#[test]
fn what_a_third_machine_built_on_counts_of_two_that_went_back() {
    let a = founder(70);
    let c = member(&a, 71);
    grant(&a, &c, Role::Writer);
    let (one, two, _dir) = twins(&a, 72);
    let (three, four, _other_dir) = twins(&a, 73);
    let id = add_note(&a.store, "shared", "x", &[]);
    let nodes = [&a, &c, &one, &two, &three, &four];
    meet(&nodes.map(|node| &node.store));
    let before = all_entries(&a.store);
    let edit = |node: &Node, ms: i64, edit: Edit| {
        node.clock.advance(ms);
        write(&node.store, move |draft| draft.edit(id, &alpha(), [edit]));
    };
    edit(&one, 1_000, Edit::set("title", "one"));
    edit(&two, 60_000, Edit::set("title", "two"));
    edit(&three, 2_000, Edit::member("tags", "three"));
    edit(&four, 61_000, Edit::member("tags", "four"));
    ingest(&c.store, all_entries(&two.store));
    ingest(&c.store, all_entries(&three.store));
    edit(&c, 90_000, Edit::member("tags", "third"));
    let parts = [&one, &two, &three, &four, &c].map(|node| all_entries(&node.store));

    let mut orders = vec![Vec::new()];
    for part in 0..parts.len() {
        let longer = |order: &Vec<usize>| {
            (0..=order.len()).map(|at| [&order[..at], &[part], &order[at..]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    assert_eq!(orders.len(), 120);
    let mut first = None;
    for (order, seed) in orders.into_iter().zip(200..) {
        let fresh = member(&a, seed);
        ingest(&fresh.store, before.clone());
        for part in &order {
            // What the third machine has of the others is in its part: entries of one machine may be those of both.
            ingest(&fresh.store, parts[*part].clone());
        }
        for part in &order {
            ingest(&fresh.store, parts[*part].clone());
        }
        assert_eq!(title(&fresh.store, id), "two", "{order:?}");
        let tags: Vec<String> = note(&fresh.store, id).tags.iter().cloned().collect();
        assert_eq!(tags, ["third", "three"], "{order:?}");
        let shown = shown(&fresh.store, &[id]);
        assert_eq!(shown.1.len(), 2, "{order:?}");
        assert_eq!(*first.get_or_insert_with(|| shown.clone()), shown, "{order:?}");
        sound(&fresh.store);
    }
}

/// What is in a store of the records that are shared, and what it holds back.
fn shown(store: &Store, ids: &[DocumentId]) -> (Vec<ctxnode_store::ViewBytes>, BTreeSet<String>) {
    let snapshot = store.read().unwrap();
    let (rows, _) = snapshot.reader().quarantine(10_000).unwrap();
    let held = rows.into_iter().map(|row| format!("{:?} {} {:?} {}", row.log, row.seq, row.op, row.reason));
    (ids.iter().map(|id| snapshot.reader().view_bytes(*id).unwrap()).collect(), held.collect())
}

/// Gives entries to a store in an order and in batches that follow from a number, again and again until all are there.
fn give_shuffled(to: &Store, entries: &[Vec<u8>], seed: u64) {
    let random = SeededEntropy::new(seed);
    let mut left: Vec<Vec<u8>> = entries.to_vec();
    left.sort_by_key(|entry| *blake3::hash(&[&seed.to_be_bytes(), entry.as_slice()].concat()).as_bytes());
    while !left.is_empty() {
        let mut again = Vec::new();
        let before = left.len();
        while !left.is_empty() {
            let size = 1 + usize::try_from(random.number() % 7).unwrap();
            let batch: Vec<Vec<u8>> = left.drain(..size.min(left.len())).collect();
            let outcomes = ingest(to, batch.clone()).outcomes;
            let is_missing = |outcome: &Outcome| matches!(outcome, Outcome::Gap { .. } | Outcome::Elsewhere);
            again.extend(
                batch.into_iter().zip(outcomes).filter(|(_, outcome)| is_missing(outcome)).map(|(entry, _)| entry),
            );
        }
        assert!(again.len() < before, "no progress");
        left = again;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Two running copies of each of two machines and two others edit the same records and hear of each other now and then. What
    /// is shown in the end, and what is held back, follows from the set of entries alone.
    #[test]
    fn rivals_end_alike_in_every_order(
        steps in proptest::collection::vec((0..6_usize, 0..6_usize, 0..6_u8, 0..90_000_i64), 4..36),
        revoked in any::<bool>(),
        one_order in any::<u64>(),
        other_order in any::<u64>(),
    ) {
        let a = founder(110);
        let c = member(&a, 111);
        grant(&a, &c, Role::Writer);
        let (one, two, _dir) = twins(&a, 112);
        let (three, four, _other_dir) = twins(&a, 113);
        let nodes = [&a, &c, &one, &two, &three, &four];
        let ids = [add_note(&a.store, "first", "x. y.", &[]), add_note(&a.store, "second", "x", &[])];
        meet(&nodes.map(|node| &node.store));
        for (at, (node, other, action, later)) in steps.into_iter().enumerate() {
            nodes[node].clock.advance(later);
            let id = ids[usize::from(action % 2)];
            match action {
                0..4 => {
                    let edit = Edit::set("title", format!("{at}"));
                    write(&nodes[node].store, move |draft| draft.edit(id, &alpha(), [edit]));
                }
                4 => {
                    set_body(&nodes[node].store, id, &format!("x. {at}. y."), None);
                }
                _ => drop(ingest(&nodes[other].store, all_entries(&nodes[node].store))),
            }
        }
        if revoked {
            let node = one.store.node();
            write(&a.store, move |draft| {
                let cuts = draft.cuts_of(node)?;
                draft.control(&ControlOp::Revoke { node, cuts })
            });
        }
        let all: Vec<Vec<u8>> = nodes.iter().flat_map(|node| all_entries(&node.store)).collect();
        let fresh = [(member(&a, 114), one_order), (member(&a, 115), other_order)];
        for (node, order) in &fresh {
            give_shuffled(&node.store, &all, *order);
            sound(&node.store);
        }
        prop_assert_eq!(shown(&fresh[0].0.store, &ids), shown(&fresh[1].0.store, &ids));
        meet(&nodes.map(|node| &node.store));
        for node in nodes {
            prop_assert_eq!(shown(&node.store, &ids), shown(&fresh[0].0.store, &ids));
            sound(&node.store);
        }
    }
}

/// A thief of a key writes another history of positions that a revocation lets stand: what was seen stands, his does not.
#[test]
fn a_history_that_a_revocation_does_not_name_stands_nowhere() {
    for seed in 0..8 {
        let a = founder(70);
        let late = member(&a, 71);
        grant(&a, &late, Role::Writer);
        let (one, two, _dir) = twins(&a, 72 + seed);
        two.clock.advance(1);
        let seen: Vec<DocumentId> = (0..3).map(|n| add_note(&one.store, &format!("seen {n}"), "x", &[])).collect();
        let stolen: Vec<DocumentId> = (0..3).map(|n| add_note(&two.store, &format!("stolen {n}"), "y", &[])).collect();
        ingest(&a.store, all_entries(&one.store));
        let node = one.store.node();
        write(&a.store, move |draft| {
            let cuts = draft.cuts_of(node)?;
            draft.control(&ControlOp::Revoke { node, cuts })
        });
        // One replica hears of the thief's history first, one last.
        ingest(&late.store, all_entries(&two.store));
        meet(&[&late.store, &a.store]);
        ingest(&a.store, all_entries(&two.store));
        for store in [&a.store, &late.store] {
            let snapshot = store.read().unwrap();
            let there = |id: &DocumentId| snapshot.reader().view(*id).unwrap().is_some();
            assert!(seen.iter().all(there), "what was seen stands");
            assert!(!stolen.iter().any(there), "nothing of the thief's stands");
            assert_eq!(held(store), 3);
            sound(store);
        }
        assert_eq!(heads(&a.store), heads(&late.store));
    }
}

/// Entries of one author as a tree: each names the one before it, several may name the same.
struct Tree {
    secret: NodeSecret,
    log: LogId,
    entries: Vec<VerifiedEntry>,
    /// Makes entries differ that are otherwise alike.
    salt: u64,
}

impl Tree {
    fn new(of: &Node, seed: u64) -> Self {
        let secret = NodeSecret::generate(&SeededEntropy::new(seed));
        let log = LogId { space: Space::Fleet.id(&of.store.fleet()), author: secret.public(), epoch: 7 };
        Self { secret, log, entries: Vec::new(), salt: 0 }
    }

    /// Adds an entry behind another; behind nothing for `None`.
    fn grow(&mut self, of: &Node, parent: Option<usize>) {
        let payload = (self.entries.len() as u64 + (self.salt << 32)).to_be_bytes().to_vec();
        let stamp = Stamp((self.entries.len() as u64 + 1) << 20);
        self.push(of, parent, stamp, Op::Unknown { kind: 200, payload });
    }

    fn push(&mut self, of: &Node, parent: Option<usize>, stamp: Stamp, op: Op) {
        let before = parent.map(|at| &self.entries[at]);
        let header = Header {
            fleet: of.store.fleet(),
            log: self.log,
            seq: before.map_or(0, |before| before.header().seq) + 1,
            prev: before.map_or([0; 32], |before| *before.hash()),
            stamp,
            time: Timestamp(0),
        };
        self.entries.push(VerifiedEntry::sign(header, vec![op], &self.secret).unwrap());
    }

    /// Gives the chosen entries to a store, again and again, until none of them is missing.
    fn give(&self, to: &Store, order: &[usize]) {
        let mut missing: BTreeSet<usize> = order.iter().copied().collect();
        while !missing.is_empty() {
            let before = missing.len();
            for at in order {
                let report = ingest(to, vec![self.entries[*at].bytes().to_vec()]);
                if matches!(report.outcomes[..], [Outcome::Applied | Outcome::Held(_) | Outcome::Duplicate]) {
                    missing.remove(at);
                }
            }
            assert!(missing.len() < before, "no progress");
        }
    }

    fn ancestors(&self, at: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([at]);
        let mut prev = self.entries[at].header().prev;
        while let Some(parent) = self.entries.iter().position(|entry| *entry.hash() == prev) {
            found.insert(parent);
            prev = self.entries[parent].header().prev;
        }
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The layout of a tree, and what a revocation lets stand of it, depend on the set of entries alone.
    #[test]
    fn a_tree_of_entries_is_laid_out_alike_in_whatever_order_it_comes(
        parents in proptest::collection::vec(proptest::option::weighted(0.9, any::<prop::sample::Index>()), 1..24),
        one in any::<u64>(),
        two in any::<u64>(),
        seen in any::<prop::sample::Index>(),
        first in any::<bool>(),
    ) {
        let (a, b, c) = (founder(80), member(&founder(80), 81), member(&founder(80), 82));
        let mut tree = Tree::new(&a, 83);
        for (at, parent) in parents.iter().enumerate() {
            let parent = parent.filter(|_| at > 0).map(|parent| parent.index(at).max(at.saturating_sub(3)));
            tree.grow(&a, parent);
        }
        let author = tree.log.author;
        write(&a.store, move |draft| {
            draft.control(&ControlOp::Grant { node: author, role: Role::Writer, spaces: None, name: "t".to_owned() })
        });
        let shuffled = |seed: u64| {
            let mut order: Vec<usize> = (0..tree.entries.len()).collect();
            order.sort_by_key(|at| blake3::hash(&[seed.to_be_bytes(), at.to_be_bytes()].concat()).as_bytes().to_owned());
            order
        };
        ingest(&b.store, all_entries(&a.store));
        ingest(&c.store, all_entries(&a.store));
        if first {
            tree.give(&b.store, &shuffled(one));
            tree.give(&c.store, &shuffled(two));
            prop_assert_eq!(heads(&b.store), heads(&c.store));
            prop_assert_eq!(held(&b.store), 0);
            sound(&b.store);
        }
        // The founder saw one path of the tree, and revokes.
        let path = tree.ancestors(seen.index(tree.entries.len()));
        tree.give(&a.store, &path.iter().copied().collect::<Vec<_>>());
        write(&a.store, move |draft| {
            let cuts = draft.cuts_of(author)?;
            draft.control(&ControlOp::Revoke { node: author, cuts })
        });
        ingest(&b.store, all_entries(&a.store));
        tree.give(&b.store, &shuffled(one));
        tree.give(&c.store, &shuffled(two));
        ingest(&c.store, all_entries(&a.store));
        tree.give(&a.store, &shuffled(two));
        for store in [&a.store, &b.store, &c.store] {
            prop_assert_eq!(heads(store), heads(&a.store));
            prop_assert_eq!(held(store), (tree.entries.len() - path.len()) as u64);
            sound(store);
        }
    }
}

/// An author that forks without end fills nothing, and one that calls its log like a branch mixes nothing.
#[test]
fn branches_are_bounded_and_have_names_of_their_own() {
    let a = founder(85);
    let mut tree = Tree::new(&a, 86);
    (0..80).for_each(|_| tree.grow(&a, None));
    let outcomes = ingest(&a.store, tree.entries.iter().map(|entry| entry.bytes().to_vec()).collect()).outcomes;
    let refused = outcomes.iter().filter(|outcome| **outcome == Outcome::TooMany).count();
    assert_eq!(refused, 80 - 65);
    sound(&a.store);
    let branch = heads(&a.store).0.into_keys().find(|log| log.author == tree.log.author && log.epoch != 7).unwrap();
    let mut other = Tree { log: branch, ..Tree::new(&a, 86) };
    other.grow(&a, None);
    let outcomes = ingest(&a.store, vec![other.entries[0].bytes().to_vec()]).outcomes;
    assert_eq!(outcomes, [Outcome::TooMany]);
    sound(&a.store);
}

/// A founder, and an author that it granted, whose entries are made here.
fn author(seed: u64) -> (Node, Tree) {
    let a = founder(seed);
    let tree = Tree::new(&a, seed + 1);
    let node = tree.log.author;
    write(&a.store, move |draft| {
        draft.control(&ControlOp::Grant { node, role: Role::Writer, spaces: None, name: "t".to_owned() })
    });
    (a, tree)
}

fn outcomes(to: &Store, entries: &[VerifiedEntry]) -> Vec<Outcome> {
    ingest(to, entries.iter().map(|entry| entry.bytes().to_vec()).collect()).outcomes
}

fn cut(tree: &Tree, at: usize) -> Cut {
    let entry = &tree.entries[at];
    Cut { log: tree.log, last: entry.header().seq, tip: Some(EntryHash(*entry.hash())) }
}

/// A cut names an entry of a history that never came. Whether the other one had reached its position before or after the
/// revocation plays no part, nor does a fork of somebody else.
#[test]
fn a_cut_in_a_history_that_is_not_here_means_the_same_whenever_it_came() {
    for others_fork in [true, false] {
        let (a, mut tree) = author(100);
        (0..3).for_each(|at: usize| tree.grow(&a, at.checked_sub(1)));
        tree.grow(&a, Some(1));
        let mut unrelated = Tree::new(&a, 103);
        let of_others = if others_fork { 2 } else { 0 };
        (0..of_others).for_each(|_| unrelated.grow(&a, None));
        outcomes(&a.store, &unrelated.entries);
        let b = member(&a, 102);
        ingest(&b.store, all_entries(&a.store));
        outcomes(&a.store, &tree.entries[..2]);
        outcomes(&b.store, &tree.entries[..3]);
        let (node, never_came) = (tree.log.author, cut(&tree, 3));
        write(&a.store, move |draft| draft.control(&ControlOp::Revoke { node, cuts: vec![never_came] }));
        ingest(&b.store, all_entries(&a.store));
        outcomes(&a.store, &tree.entries[2..3]);
        assert_eq!(heads(&a.store), heads(&b.store));
        // Everything of it, and what somebody wrote who was never granted anything.
        assert_eq!((held(&a.store), held(&b.store)), (3 + of_others, 3 + of_others), "none of this history stands");
        for store in [&a.store, &b.store] {
            outcomes(store, &tree.entries[3..]);
        }
        let left = 1 + of_others;
        assert_eq!((held(&a.store), held(&b.store)), (left, left), "the entry has come, and what it builds on stands");
    }
}

/// What an admin accepted stays accepted when a part of it moves to a branch.
#[test]
fn what_was_accepted_is_accepted_wherever_it_lies() {
    let (a, mut tree) = author(90);
    (0..5).for_each(|at: usize| tree.grow(&a, at.checked_sub(1)));
    outcomes(&a.store, &tree.entries);
    let (node, revoked_at, accepted) = (tree.log.author, cut(&tree, 0), cut(&tree, 4));
    write(&a.store, move |draft| draft.control(&ControlOp::Revoke { node, cuts: vec![revoked_at] }));
    assert_eq!(held(&a.store), 4);
    write(&a.store, move |draft| draft.control(&ControlOp::AcceptUpTo { cut: accepted, before: Vec::new() }));
    assert_eq!(held(&a.store), 0);
    while tree.entries.last().unwrap().hash() >= tree.entries[3].hash() || tree.entries.len() == 5 {
        tree.grow(&a, Some(2));
    }
    let displacing = tree.entries.last().unwrap().clone();
    outcomes(&a.store, &[displacing]);
    assert_eq!(heads(&a.store).0[&tree.log].length, 4, "the fourth and fifth moved");
    assert_eq!(held(&a.store), 1, "nobody has accepted what displaced them");
    sound(&a.store);
}

/// The history that a revocation lets stand is not here and cannot come: then nothing else stands in its place.
#[test]
fn a_cut_whose_entry_cannot_come_lets_no_other_history_stand() {
    let (a, mut tree) = author(92);
    (0..5).for_each(|at: usize| tree.grow(&a, at.checked_sub(1)));
    let honest: Vec<VerifiedEntry> = tree.entries.clone();
    let tip = cut(&tree, 4);
    outcomes(&a.store, &honest[..2]);
    // Smaller than what they are to keep out, so that this does not depend on luck.
    while tree.entries.len() < 5 + 70 {
        tree.grow(&a, Some(1));
        if tree.entries.last().unwrap().hash() >= honest[2].hash() {
            tree.entries.pop();
        }
        tree.salt += 1;
    }
    outcomes(&a.store, &tree.entries[5..]);
    assert_eq!(outcomes(&a.store, &honest[2..3]), [Outcome::TooMany]);
    let kept = heads(&a.store).0.iter().filter(|(log, _)| log.author == tree.log.author).count() as u64;
    let node = tree.log.author;
    write(&a.store, move |draft| draft.control(&ControlOp::Revoke { node, cuts: vec![tip] }));
    assert_eq!(held(&a.store), kept, "one entry of each of these histories");
    sound(&a.store);
}

/// Only the entry by which a fleet was founded founds it, whatever time another one claims.
#[test]
fn nobody_founds_a_fleet_twice() {
    let (a, mut tree) = author(94);
    let thief = tree.log.author;
    let genesis = ControlOp::Genesis { name: "mine".to_owned(), founder: thief, recovery: thief, ids: 2 };
    tree.push(&a, None, Stamp(1), Op::Control(genesis.encode()));
    outcomes(&a.store, &tree.entries);
    let authority = a.store.authority();
    assert_eq!((authority.role(&a.store.node()), authority.role(&thief)), (Some(Role::Admin), Some(Role::Writer)));
    assert_ne!(authority.recovery(), Some(thief));
    let key = member(&a, 96).store.node();
    write(&a.store, move |draft| {
        draft.control(&ControlOp::Grant { node: key, role: Role::Writer, spaces: None, name: "n".to_owned() })
    });
}

/// A stamp at the end of time leaves room for what is written afterwards, also after a restart.
#[test]
fn a_stamp_at_the_end_of_time_stops_nobody() {
    let (a, mut tree) = author(97);
    let dir = tempfile::tempdir().unwrap();
    let on_disk = || options(Location::File(dir.path().join("store.redb")), 99);
    let (at_first, clock) = on_disk();
    let store = Store::create_member(at_first, a.store.genesis().unwrap()).unwrap();
    let mut b = Node { store, clock };
    grant(&a, &b, Role::Writer);
    for stamp in [Stamp::MAX_FOLLOWED, Stamp::MAX_ACCEPTED] {
        tree.push(&a, tree.entries.len().checked_sub(1), stamp, Op::Unknown { kind: 200, payload: Vec::new() });
        outcomes(&a.store, &tree.entries);
        let id = add_note(&a.store, "afterwards", "x", &[]);
        for text in ["by b", "by b after a restart"] {
            ingest(&b.store, all_entries(&a.store));
            assert_eq!(title(&b.store, id), "afterwards");
            set_body(&b.store, id, text, None);
            ingest(&a.store, all_entries(&b.store));
            assert_eq!(body(&a.store, id), text);
            b.store.close();
            let (again, clock) = on_disk();
            b = Node { store: Store::open(again).unwrap(), clock };
        }
        sound(&a.store);
    }
}
