//! The matrix of rights: every kind x role x space x standing of its author x way on which its entry came.
//!
//! The table below is what people are told (who may write what); the code is asked by real entries. The author writes
//! with a store in which it is an admin, as a changed program would: a node's own refusal protects nobody else. Ops that a
//! newer version may know are signed by hand.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::schema::{Shape, fields};
use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Scalar, Space, Stamp};
use ctxnode_store::entry::{Header, Op, VerifiedEntry};
use ctxnode_store::{ControlOp, Cut, Location, NodeSecret, Role, SeededEntropy, Store, backup_to};

use crate::support::*;

/// What is written, and whether a reader, a writer and an admin may.
const TABLE: &[(&str, [bool; 3])] = &[
    ("session", [false, true, true]),
    ("handoff", [false, true, true]),
    ("note", [false, true, true]),
    ("doc", [false, false, true]),
    ("generated-doc", [false, true, true]),
    ("requirement", [false, false, true]),
    ("claim", [false, true, true]),
    ("machine", [false, true, true]),
    ("venture", [false, false, true]),
    ("plan", [false, true, true]),
    ("escalation", [false, true, true]),
    ("event", [false, true, true]),
    ("deletion", [false, false, true]),
    // What takes a deletion back is no less than a deletion.
    ("revival", [false, false, true]),
    ("membership", [false, false, true]),
    // Whatever a newer version means by it: it does nothing here, is kept and passed on, and readers write nothing.
    ("unknown op", [false, true, true]),
];
const ROLES: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];

/// How the author stands when its entries are judged: it wrote half of them before that was said, half after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Active,
    Demoted(Role),
    Revoked,
}

/// How an author may come to stand that was let in with a role. An admin can lose a part of it.
fn standings(role: Role) -> impl Iterator<Item = Standing> {
    let all = [Standing::Active, Standing::Demoted(Role::Reader), Standing::Revoked];
    all.into_iter().chain((role == Role::Admin).then_some(Standing::Demoted(Role::Writer)))
}

/// What one entry tries.
#[derive(Clone, Debug)]
struct Attempt {
    what: &'static str,
    space: Space,
    before: bool,
    at: (LogId, u64),
    /// The record that it makes, where it makes one.
    record: Option<DocumentId>,
}

fn spaces() -> [Space; 3] {
    [Space::Fleet, Space::Venture("alpha".to_owned()), Space::Venture("beta".to_owned())]
}

fn register(kind: Kind) -> Edit {
    let held = |shape| match shape {
        Shape::Str => Some(Scalar::Str("x".to_owned())),
        Shape::Int => Some(Scalar::Int(1)),
        _ => None,
    };
    // What names the space is not to name another one.
    let names_the_space = |name: &str| ["venture", "scope", "scope_venture", "code"].contains(&name);
    let others = fields(kind).iter().filter(|field| !names_the_space(field.name));
    let edit = others.into_iter().find_map(|field| Some(Edit::Set { field: field.name, value: held(field.shape)? }));
    // The plan has a map alone.
    edit.unwrap_or_else(|| Edit::entry("states", "1", "{}"))
}

/// Everything that an author tries, in entries of its own.
struct Author {
    entries: Vec<Vec<u8>>,
    attempts: Vec<Attempt>,
    cuts: Vec<Cut>,
    key: NodeKey,
}

fn make(store: &Store, kind: Kind, space: &Space) -> DocumentId {
    let space = space.clone();
    write(store, move |draft| {
        let id = draft.fresh_id(kind, &space)?;
        draft.edit(id, &space, [register(kind)])?;
        Ok(id)
    })
}

/// Another log of the author, with two ops that nobody knows: the first from before it was said how the author stands. A store
/// writes none, and would begin new logs if it met some in its own.
fn unknown_ops(store: &Store, secret: &NodeSecret, space: &Space) -> (LogId, [Vec<u8>; 2]) {
    let log = LogId { space: space.id(&store.fleet()), author: store.node(), epoch: !store.epoch() };
    let (mut prev, mut stamp) = ([0; 32], Stamp::default());
    let entries = [1, 2].map(|seq| {
        stamp = stamp.next(NOON);
        let header = Header { fleet: store.fleet(), log, seq, prev, stamp, time: NOON };
        let entry = VerifiedEntry::sign(header, vec![Op::Unknown { kind: 200, payload: vec![1] }], secret).unwrap();
        prev = *entry.hash();
        entry.bytes().to_vec()
    });
    (log, entries)
}

fn author(seed: u64) -> Author {
    let twin = founder(seed);
    let node = member(&twin, seed + 1);
    let (key, secret) = (node.store.node(), options(Location::Memory, seed + 1).0.secret);
    let grant = ControlOp::Grant { node: key, role: Role::Admin, spaces: None, name: String::new() };
    write(&twin.store, move |draft| draft.control(&grant));
    ingest(&node.store, all_entries(&twin.store));
    let mut lengths: BTreeMap<LogId, u64> = BTreeMap::new();
    let (mut attempts, mut cuts, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for before in [true, false] {
        for space in spaces() {
            let own = LogId { space: space.id(&node.store.fleet()), author: key, epoch: node.store.epoch() };
            let mut note = |attempts: &mut Vec<Attempt>, what, log, record| {
                let length = lengths.entry(log).or_default();
                *length += 1;
                attempts.push(Attempt { what, space: space.clone(), before, at: (log, *length), record });
            };
            for kind in Kind::ALL {
                let record = make(&node.store, kind, &space);
                note(&mut attempts, kind.name(), own, Some(record));
            }
            // What it deletes and brings back is a record of its own that nothing else is asked about.
            let victim = make(&node.store, Kind::Event, &space);
            note(&mut attempts, "event", own, None);
            write(&node.store, move |draft| draft.tombstone(victim));
            note(&mut attempts, "deletion", own, None);
            write(&node.store, move |draft| draft.revive(victim));
            note(&mut attempts, "revival", own, None);
            if space == Space::Fleet {
                let stranger = member(&twin, 99).store.node();
                let grant = ControlOp::Grant { node: stranger, role: Role::Admin, spaces: None, name: String::new() };
                write(&node.store, move |draft| draft.control(&grant));
                note(&mut attempts, "membership", own, None);
            }
            let (log, unknown) = unknown_ops(&node.store, &secret, &space);
            note(&mut attempts, "unknown op", log, None);
            if before {
                cuts.push(Cut { log, last: 1, tip: None });
                entries.extend(unknown);
            }
        }
        if before {
            let heads = node.store.read().unwrap().reader().heads().unwrap().0;
            let own = heads.into_iter().filter(|(log, _)| log.author == key);
            cuts.extend(own.map(|(log, head)| Cut { log, last: head.length, tip: None }));
        }
    }
    let snapshot = node.store.read().unwrap();
    let frontier = snapshot.reader().frontier().unwrap();
    let own = frontier.0.iter().filter(|(log, _)| log.author == key);
    let run = |(log, length): (&LogId, &u64)| {
        snapshot.reader().entries(&Run { log: *log, from: 1, to: *length }, usize::MAX).unwrap()
    };
    entries.extend(own.flat_map(run));
    Author { entries, attempts, cuts, key }
}

/// What the table says of one attempt.
fn allowed(attempt: &Attempt, role: Role, standing: Standing) -> bool {
    let (_, cells) = TABLE.iter().find(|(what, _)| *what == attempt.what).unwrap();
    let role = match (standing, attempt.before) {
        (Standing::Active, _) | (_, true) => role,
        (Standing::Demoted(rest), false) => rest,
        (Standing::Revoked, false) => return false,
    };
    // The author was granted alpha; everybody has the fleet's own space, and an admin has all.
    let in_its_space = role == Role::Admin || attempt.space != Space::Venture("beta".to_owned());
    in_its_space && cells[role as usize]
}

fn check(store: &Store, author: &Author, role: Role, standing: Standing, way: &str) {
    let snapshot = store.read().unwrap();
    let reader = snapshot.reader();
    let (held, _) = reader.quarantine(usize::MAX).unwrap();
    let held: BTreeSet<(LogId, u64)> = held.into_iter().map(|row| (row.log, row.seq)).collect();
    for attempt in &author.attempts {
        let expected = allowed(attempt, role, standing);
        let cell = format!("{attempt:?}, {role:?}, {standing:?}, {way}");
        assert_eq!(!held.contains(&attempt.at), expected, "{cell}");
        if let Some(record) = attempt.record {
            assert_eq!(reader.view(record).unwrap().is_some(), expected, "{cell}");
        }
    }
}

/// R-08 and 0.3: an entry is applied where the table allows it, and lies in quarantine everywhere else.
#[test]
fn r_08_q_05_the_matrix_of_rights_holds_on_every_way() {
    let mut cells = 0;
    for (at, role) in (0_u64..).zip(ROLES) {
        for (step, standing) in (0_u64..).zip(standings(role)) {
            let seed = 1_000 + at * 100 + step * 10;
            let author = author(seed);
            let node = author.key;
            let judge = founder(seed);
            let alpha = spaces()[1].id(&judge.store.fleet());
            let grant = ControlOp::Grant { node, role, spaces: Some([alpha].into()), name: String::new() };
            let cuts = author.cuts.clone();
            write(&judge.store, move |draft| {
                draft.control(&grant)?;
                match standing {
                    Standing::Active => Ok(()),
                    Standing::Demoted(role) => draft.control(&ControlOp::SetRole { node, role, cuts }),
                    Standing::Revoked => draft.control(&ControlOp::Revoke { node, cuts }),
                }
            });
            // Directly, to somebody who knows how the author stands.
            ingest(&judge.store, author.entries.clone());
            check(&judge.store, &author, role, standing, "direct");
            // Through somebody who does not know the author, to somebody who hears all at once.
            let relay = member(&judge, seed + 2);
            ingest(&relay.store, author.entries.clone());
            let forwarded = member(&judge, seed + 3);
            ingest(&forwarded.store, all_entries(&relay.store));
            ingest(&forwarded.store, all_entries(&judge.store));
            check(&forwarded.store, &author, role, standing, "forwarded");
            // Out of a backup, and with everything derived made again.
            let dir = tempfile::tempdir().unwrap();
            let backup = backup_to(&judge.store, dir.path()).unwrap();
            let target = dir.path().join("store.redb");
            Store::restore(&backup.path, &target, &SeededEntropy::new(seed + 4)).unwrap();
            let restored = Store::open(options(Location::File(target), seed).0).unwrap();
            check(&restored, &author, role, standing, "restored");
            runtime().block_on(restored.rederive()).unwrap();
            check(&restored, &author, role, standing, "restored and derived again");
            cells += author.attempts.len() * 3;
        }
    }
    assert!(cells > 2_000, "{cells} cells");
}

/// The table names every kind, so that a new one cannot be forgotten.
#[test]
fn the_table_of_rights_names_every_kind() {
    let named: BTreeSet<&str> = TABLE.iter().map(|(what, _)| *what).collect();
    assert!(Kind::ALL.iter().all(|kind| named.contains(kind.name())));
}
