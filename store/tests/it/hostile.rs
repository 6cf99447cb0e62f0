//! A member that signs changes which no honest store makes.

use std::num::NonZeroU64;

use automerge::{Change, ExpandedChange};
use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::record::Handoff;
use ctxnode_model::{DocumentId, Edit, EntryHash, Kind, Space};
use ctxnode_store::entry::{Header, Op, VerifiedEntry, decode};
use ctxnode_store::screen::OP_COUNTER_END;
use ctxnode_store::{ControlOp, Cut, NodeSecret, Outcome, Role, SeededEntropy, Store, StoreError, WriteError};
use sha2::{Digest as _, Sha256};

use crate::support::*;

const SEED: u64 = 61;

/// The last entry of a node in any log that holds a change.
fn last_change(store: &Store) -> (Vec<u8>, Op) {
    let snapshot = store.read().unwrap();
    let frontier = snapshot.reader().frontier().unwrap();
    let own = frontier.0.iter().filter(|(log, _)| log.author == store.node());
    let entries = own.flat_map(|(log, length)| {
        snapshot.reader().entries(&Run { log: *log, from: *length, to: *length }, 1).unwrap()
    });
    let mut with_op = entries.map(|bytes| {
        let (_, ops) = decode(&bytes).unwrap();
        (bytes, ops.into_iter().next().unwrap())
    });
    with_op.rfind(|(_, op)| matches!(op, Op::Change { .. })).unwrap()
}

/// The same change as the next one of its author: other number, other hash, the same counters of its ops.
fn as_second(change: &[u8]) -> Vec<u8> {
    let length_bytes = change[9..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let data = 9 + length_bytes;
    let deps = usize::from(change[data]);
    let actor = data + 1 + deps * 32;
    let seq = actor + 1 + usize::from(change[actor]);
    let mut second = change.to_vec();
    assert_eq!(second[seq], 1);
    second[seq] = 2;
    let hash = Sha256::digest(&second[8..]);
    second[4..8].copy_from_slice(&hash[..4]);
    second
}

/// Two ops of one author with one counter would wedge the document: what is saved of it could never be read again, and
/// the next honest change would be held by everybody but its author.
#[test]
fn a_change_that_repeats_the_counters_of_its_author_is_held_and_honest_ones_go_on() {
    let founder_ = founder(60);
    let liar = member(&founder_, SEED);
    grant(&founder_, &liar, Role::Writer);
    let id = add_note(&liar.store, "title", "body", &[]);
    sync(&founder_.store, &liar.store);

    let (bytes, op) = last_change(&liar.store);
    let Op::Change { document, change } = op else { unreachable!() };
    let (header, _) = decode(&bytes).unwrap();
    let ops = vec![Op::Change { document, change: as_second(&change) }];
    let prev = *blake3::hash(&bytes).as_bytes();
    let header = Header { seq: header.seq + 1, prev, stamp: header.stamp.next(header.time), ..header };
    let secret = NodeSecret::generate(&SeededEntropy::new(SEED ^ 0x5eed));
    let forged = VerifiedEntry::sign(header, ops, &secret).unwrap();
    ingest(&founder_.store, vec![forged.bytes().to_vec()]);
    let held = founder_.store.read().unwrap().reader().quarantine(10).unwrap();
    assert_eq!(held.1, 1, "{held:?}");
    assert!(held.0[0].reason.to_string().contains("no dependency"), "{held:?}");

    set_body(&founder_.store, id, "another body", None);
    let third = member(&founder_, 62);
    sync(&founder_.store, &third.store);
    let views = |store: &Store| store.read().unwrap().reader().view_bytes(id).unwrap();
    assert_eq!(views(&founder_.store), views(&third.store));
    assert_eq!(third.store.read().unwrap().reader().body(id).unwrap().as_deref(), Some("another body"));
    assert_eq!(founder_.store.read().unwrap().check(|_| ()).unwrap().problem_count, 0);
}

/// Members are cut by the logs of the fleet's space. In another space, at a low position and under an earlier time, a revoked
/// admin could have taken its revocation back.
#[test]
fn a_revoked_admin_takes_nothing_back_in_another_space() {
    let first = founder(62);
    let liar = member(&first, SEED);
    grant(&first, &liar, Role::Admin);
    sync(&first.store, &liar.store);
    // An entry in the fleet's space, up to which the revocation lets its log stand.
    write(&liar.store, |draft| {
        let id = draft.fresh_id(Kind::Note, &Space::Fleet)?;
        draft.edit(id, &Space::Fleet, note_edits(draft.now(), "title", "body", &[]))
    });
    sync(&first.store, &liar.store);
    let (bytes, _) = last_change(&liar.store);
    let (header, _) = decode(&bytes).unwrap();
    let (node, founder_) = (liar.store.node(), first.store.node());
    // What the founder did until then, the grant among it, is to stand.
    let cuts = write(&liar.store, move |draft| draft.cuts_of(founder_));
    write(&first.store, move |draft| {
        let cuts = draft.cuts_of(node)?;
        draft.control(&ControlOp::Revoke { node, cuts })
    });
    assert_eq!(first.store.authority().role(&node), None);

    let log = LogId { space: alpha().id(&first.store.fleet()), ..header.log };
    let revenge = ControlOp::Revoke { node: founder_, cuts };
    let header = Header { log, seq: 1, prev: [0; 32], ..header };
    let secret = NodeSecret::generate(&SeededEntropy::new(SEED ^ 0x5eed));
    let forged = VerifiedEntry::sign(header, vec![Op::Control(revenge.encode())], &secret).unwrap();
    let outcomes = ingest(&first.store, vec![forged.bytes().to_vec()]).outcomes;
    assert!(matches!(outcomes.as_slice(), [Outcome::Held(_)]), "{outcomes:?}");
    let authority = first.store.authority();
    assert_eq!((authority.role(&founder_), authority.role(&node)), (Some(Role::Admin), None));
}

/// A founder with a note, and a writer who has it; equal every time, ids and keys included.
fn founder_and_liar() -> (Node, Node, DocumentId) {
    let founder_ = founder(64);
    let liar = member(&founder_, SEED);
    grant(&founder_, &liar, Role::Writer);
    let id = add_note(&founder_.store, "first", "body", &[]);
    sync(&founder_.store, &liar.store);
    (founder_, liar, id)
}

fn set_title(store: &Store, id: DocumentId, title: &'static str) {
    write(store, move |draft| draft.edit(id, &alpha(), [Edit::set("title", title)]));
}

/// Signs the last change of a liar once more, made into another one, in the same place.
fn forge(liar: &Store, make: impl FnOnce(&mut ExpandedChange)) -> Vec<Vec<u8>> {
    let (bytes, op) = last_change(liar);
    let Op::Change { document, change } = op else { unreachable!() };
    let mut expanded = Change::from_bytes(change).unwrap().decode();
    make(&mut expanded);
    expanded.hash = None;
    let change = Change::from(expanded).raw_bytes().to_vec();
    let (header, _) = decode(&bytes).unwrap();
    let secret = NodeSecret::generate(&SeededEntropy::new(SEED ^ 0x5eed));
    let forged = VerifiedEntry::sign(header, vec![Op::Change { document, change }], &secret).unwrap();
    vec![forged.bytes().to_vec()]
}

/// A liar's change refers to an op of another author without building on it, so that Automerge takes it where that op has
/// come and does not where it is yet to come. It counts nowhere.
#[test]
fn a_change_that_refers_to_what_it_does_not_build_on_counts_in_no_order() {
    let (founder_, liar, id) = founder_and_liar();
    set_body(&liar.store, id, "many sentences. So that. Its counters. Are ahead.", None);
    let own = all_entries(&liar.store);
    let (_, Op::Change { change, .. }) = last_change(&liar.store) else { unreachable!() };
    let own_last = Change::from_bytes(change).unwrap().hash();
    set_title(&founder_.store, id, "second");
    sync(&founder_.store, &liar.store);
    set_title(&liar.store, id, "third");
    let forged = forge(&liar.store, |change| {
        assert_eq!(change.deps.len(), 2);
        change.deps.retain(|dep| *dep == own_last);
    });

    let after = member(&founder_, 65);
    ingest(&after.store, all_entries(&founder_.store));
    ingest(&after.store, forged.clone());
    let before = member(&founder_, 66);
    ingest(&before.store, own.clone());
    ingest(&before.store, forged.clone());
    ingest(&before.store, all_entries(&founder_.store));
    // And where the op that it refers to is written afterwards.
    let (author, _, _) = founder_and_liar();
    ingest(&author.store, [own.clone(), forged.clone()].concat());
    set_title(&author.store, id, "second");
    let reader = member(&founder_, 68);
    ingest(&reader.store, all_entries(&author.store));
    // And where all of it comes in one batch.
    let at_once = member(&founder_, 67);
    ingest(&at_once.store, [own, forged, all_entries(&founder_.store)].concat());

    let view = |node: &Node| node.store.read().unwrap().reader().view_bytes(id).unwrap();
    let pairs = [("before", &before, &after), ("author", &author, &reader), ("at once", &at_once, &after)];
    for (name, node, other) in pairs {
        assert_eq!(view(node), view(other), "{name}");
        assert_eq!(note(&node.store, id).title.as_deref(), Some("second"), "{name}");
        let held = node.store.read().unwrap().reader().quarantine(10).unwrap();
        assert_eq!(held.1, 1, "{name}: {held:?}");
        assert!(held.0[0].reason.to_string().contains("does not build on"), "{name}: {held:?}");
        assert_eq!(node.store.read().unwrap().check(|_| ()).unwrap().problem_count, 0, "{name}");
    }
}

/// A change that takes a counter near the end would leave none for whoever edits the record next: nobody but its author
/// would take that edit.
#[test]
fn a_change_that_uses_up_the_counters_is_held_and_others_go_on() {
    let (founder_, liar, id) = founder_and_liar();
    set_title(&liar.store, id, "last");
    let forged = forge(&liar.store, |change| change.start_op = NonZeroU64::new(OP_COUNTER_END - 2).unwrap());
    ingest(&founder_.store, forged);
    let held = founder_.store.read().unwrap().reader().quarantine(10).unwrap();
    assert_eq!(held.1, 1, "{held:?}");
    set_title(&founder_.store, id, "goes on");
    let other = member(&founder_, 69);
    ingest(&other.store, all_entries(&founder_.store));
    assert_eq!(note(&other.store, id).title.as_deref(), Some("goes on"));
}

/// A founder, and a writer who has nothing but the venture beta.
fn founder_and_limited_liar() -> (Node, Node, Space) {
    let founder_ = founder(66);
    let liar = member(&founder_, SEED);
    let (key, beta) = (liar.store.node(), Space::Venture("beta".to_owned()));
    let spaces = Some([beta.id(&founder_.store.fleet())].into());
    write(&founder_.store, move |draft| {
        draft.control(&ControlOp::Grant { node: key, role: Role::Writer, spaces, name: "beta only".to_owned() })
    });
    ingest(&liar.store, all_entries(&founder_.store));
    (founder_, liar, beta)
}

/// Signs other ops in the place of the last entry of a liar that holds a change.
fn sign_instead(liar: &Store, ops: impl FnOnce(Vec<u8>) -> Vec<Op>) -> Vec<u8> {
    let (bytes, op) = last_change(liar);
    let Op::Change { change, .. } = op else { unreachable!() };
    let (header, _) = decode(&bytes).unwrap();
    let secret = NodeSecret::generate(&SeededEntropy::new(SEED ^ 0x5eed));
    VerifiedEntry::sign(header, ops(change), &secret).unwrap().bytes().to_vec()
}

fn why_held(store: &Store) -> Vec<String> {
    let (rows, _) = store.read().unwrap().reader().quarantine(100).unwrap();
    rows.iter().map(|row| row.reason["why"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A member of one venture writes into the log of that venture what changes records of another one: a note that it has
/// heard of, and a doc whose id it can guess, before anybody else has written it. For those who read both they would be the
/// records from then on, and what they build on them could be read by nobody who reads the other venture alone.
#[test]
fn a_record_is_not_changed_from_another_space() {
    let (founder_, liar, beta) = founder_and_limited_liar();
    let rights = all_entries(&founder_.store);
    let space = beta.clone();
    let own = write(&liar.store, move |draft| {
        let id = draft.fresh_id(Kind::Note, &space)?;
        draft.edit(id, &space, note_edits(draft.now(), "of beta", "by beta", &[]))?;
        Ok(id)
    });
    let note = add_note(&founder_.store, "of alpha", "body", &[]);
    let doc = founder_.store.ids().generated_doc("alpha", "x.md");
    // What it may change in the same entry stays.
    let forged = sign_instead(&liar.store, |change| {
        let taken = |document| Op::Change { document, change: change.clone() };
        vec![taken(note), taken(own), taken(doc)]
    });

    let before = member(&founder_, 67);
    ingest(&before.store, [rights, vec![forged.clone()]].concat());
    assert_eq!(why_held(&before.store), ["other-space"; 2]);
    ingest(&founder_.store, vec![forged]);
    set_title(&founder_.store, note, "still of alpha");
    write(&founder_.store, move |draft| draft.edit(doc, &alpha(), [Edit::set("scope", "alpha")]));
    ingest(&before.store, all_entries(&founder_.store));
    for node in [&founder_, &before] {
        let snapshot = node.store.read().unwrap();
        let reader = snapshot.reader();
        let space_of = |id| reader.meta(id).unwrap().map(|meta| meta.space);
        let fleet = node.store.fleet();
        assert_eq!(why_held(&node.store), ["other-space"; 2]);
        assert_eq!(reader.body(note).unwrap().as_deref(), Some("body"));
        assert_eq!([note, doc].map(space_of), [Some(alpha().id(&fleet)); 2]);
        assert_eq!(space_of(own), Some(beta.id(&fleet)));
        assert_eq!(reader.waiting_count().unwrap(), 0);
        assert_eq!(snapshot.check(|_| ()).unwrap().problem_count, 0);
    }

    // Its rights go and come back: what it wrote in its own space is taken out and applied again, the rest never.
    let journal = founder_.store.read().unwrap().reader().journal_end().unwrap();
    let key = liar.store.node();
    write(&founder_.store, move |draft| draft.control(&ControlOp::Revoke { node: key, cuts: Vec::new() }));
    let exists = |node: &Node, id| node.store.read().unwrap().reader().meta(id).unwrap().is_some();
    assert_eq!((exists(&founder_, own), why_held(&founder_.store)), (false, vec!["right".to_owned()]));
    write(&founder_.store, move |draft| {
        let cut = draft.reader().heads()?.0.into_iter().find(|(log, _)| log.author == key);
        let (log, head) = cut.ok_or(StoreError::Closed)?;
        let cut = Cut { log, last: head.length, tip: Some(EntryHash(head.tip)) };
        draft.control(&ControlOp::AcceptUpTo { cut, before: Vec::new() })
    });
    assert_eq!((exists(&founder_, own), why_held(&founder_.store)), (true, vec!["other-space".to_owned(); 2]));
    let changed = founder_.store.read().unwrap().reader().journal_after(journal, 100).unwrap();
    let changed: Vec<DocumentId> = changed.into_iter().flat_map(|(_, row)| row.documents).collect();
    assert!(changed.contains(&own) && !changed.contains(&note) && !changed.contains(&doc), "{changed:?}");

    // One's own replica refuses it before anybody else has to.
    let wrong = liar.store.write_blocking(move |draft| draft.edit(note, &beta, [Edit::set("title", "taken")]));
    assert!(matches!(wrong, Err(WriteError::Refused(StoreError::OtherSpace { .. }))), "{wrong:?}");
}

/// An admin may delete everywhere, and does it in the log of each record's own space.
#[test]
fn a_mark_in_the_log_of_another_space_marks_nothing() {
    let founder_ = founder(62);
    let liar = member(&founder_, SEED);
    grant(&founder_, &liar, Role::Admin);
    let note = add_note(&founder_.store, "of alpha", "body", &[]);
    sync(&founder_.store, &liar.store);
    write(&liar.store, |draft| {
        let id = draft.fresh_id(Kind::Note, &Space::Fleet)?;
        draft.edit(id, &Space::Fleet, note_edits(draft.now(), "title", "body", &[]))
    });
    let forged = sign_instead(&liar.store, |_| vec![Op::Tombstone(note), Op::Revive(note)]);
    ingest(&founder_.store, vec![forged]);
    assert_eq!(why_held(&founder_.store), ["other-space"; 2]);
    assert!(founder_.store.read().unwrap().reader().meta(note).unwrap().is_some_and(|meta| !meta.deleted));
}

/// Lists go by what a record says of itself. One that lies in one venture and says that it belongs to another would count
/// there for those who read both: a handoff would end the handoffs of a venture that its author cannot even read.
#[test]
fn a_record_that_says_it_belongs_to_another_venture_counts_in_none() {
    let (founder_, liar, beta) = founder_and_limited_liar();
    let open = add_handoff(&founder_.store, "the thread", false);
    liar.clock.advance(10_000);
    let id = write(&liar.store, move |draft| {
        let id = draft.fresh_id(Kind::Handoff, &beta)?;
        let fields = [Edit::set("venture", "alpha"), Edit::set("thread", "the thread"), Edit::set("payload", "{}")];
        draft.edit(id, &beta, fields)?;
        Ok(id)
    });
    let doc = write(&liar.store, |draft| {
        let beta = Space::Venture("beta".to_owned());
        let id = draft.ids().generated_doc("beta", "x.md");
        draft.edit(id, &beta, [Edit::set("scope", "alpha"), Edit::set("name", "x.md")])?;
        Ok(id)
    });
    sync(&founder_.store, &liar.store);
    assert_eq!(open_handoffs(&founder_.store), [open]);
    let snapshot = founder_.store.read().unwrap();
    assert!(snapshot.reader().meta(doc).unwrap().is_none(), "a doc is asked for by its scope");
    let shown = snapshot.reader().get::<Handoff>(id).unwrap().unwrap();
    assert_eq!((shown.venture.as_str(), shown.thread.as_str()), ("-", "the thread"), "it is there to be looked at");
    assert_eq!(snapshot.check(|_| ()).unwrap().problem_count, 0);
}
