//! Peers that mean no good, on the real wire: strangers and members who lie, and what stays of it. What it costs when they do
//! so again and again, and frames that are none, are in `attacks`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ctxnode_model::frontier::{Head, Heads, LogId};
use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Space, SpaceId};
use ctxnode_store::entry::{Op, decode};
use ctxnode_store::{ControlOp, Role, Store, StoreError};
use ctxnode_sync::{Beat, Fleet, Host, Reach, join, remember_inviter};
use ctxnode_sync_proto::{Entries, Message, frame, limits};

use crate::liar::{Liar, dial, endpoint, entries, forge, log_of, thrown_out};
use crate::support::{Node, block_on, corrupted, equal, founder, joined, loopback, options, resident, secret, until};

#[test]
fn a_stranger_is_closed_before_anything_of_it_is_read() {
    block_on(async {
        let mac = founder();
        mac.fleet.listen().await.unwrap();
        let endpoint = endpoint(&secret()).await;
        let reason = thrown_out(&dial(&endpoint, &mac).await, b"hello").await;
        assert!(reason.contains("not a member"), "{reason}");
        assert!(mac.fleet.status().is_empty());
    });
}

#[test]
fn a_revoked_key_is_closed_before_anything_of_it_is_read() {
    block_on(async {
        let mac = founder();
        let lost = joined(&mac.invite(Role::Writer, None).await, "lost").await;
        equal(&[&mac, &lost]).await;
        let key = lost.key();
        lost.fleet.stop().await;
        mac.control(move |cuts| ControlOp::Revoke { node: key, cuts }, key).await;
        let endpoint = endpoint(&lost.secret).await;
        let hello = frame::encode(&Message::Presence(vec![1; 100]));
        let reason = thrown_out(&dial(&endpoint, &mac).await, &hello).await;
        assert!(reason.contains("revoked"), "{reason}");
    });
}

/// Writes a doc as an admin's node does.
async fn doc(node: &Node) -> DocumentId {
    let done = node.store.write(move |draft| {
        let id = draft.fresh_id(Kind::Doc, &Space::Fleet)?;
        let named =
            [Edit::set("scope", "global"), Edit::set("name", "policy.md"), Edit::set("created_at", draft.now())];
        draft.edit(id, &Space::Fleet, named)?;
        Ok::<DocumentId, StoreError>(id)
    });
    done.await.unwrap().value
}

#[test]
fn entries_that_lie_change_nothing_and_honest_traffic_goes_on() {
    block_on(async {
        let mac = founder();
        let honest = joined(&mac.invite(Role::Writer, None).await, "honest").await;
        let victim = honest.note(None, "what the victim wrote").await;
        equal(&[&mac, &honest]).await;
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        let (own, head) = log_of(&bad.store, bad.key(), &Space::Fleet);
        let (theirs, their_head) = log_of(&bad.store, honest.key(), &Space::Fleet);
        let last = entries(&bad.store, own, head.length, head.length).entries.remove(0);
        let stolen = entries(&bad.store, theirs, their_head.length, their_head.length).entries.remove(0);
        let held = |node: &Node| node.store.read().unwrap().reader().quarantine(100).unwrap().1;
        let run = |log: LogId, from: u64, entry: &[u8]| vec![Entries { log, from, entries: vec![entry.to_vec()] }];

        // In another's name: the signature does not hold.
        let mut forged = stolen.clone();
        forged[150] ^= 1;
        let refused = Liar::greet(&bad.secret, &mac).await.push(run(theirs, their_head.length, &forged)).await;
        assert!(refused.as_ref().is_err_and(|text| text.contains("bad entry")), "{refused:?}");
        // Of another fleet.
        let mut header = decode(&last).unwrap().0;
        (header.fleet.0[0], header.seq) = (header.fleet.0[0] ^ 1, head.length + 1);
        let foreign = ctxnode_store::entry::VerifiedEntry::sign(header, Vec::new(), &bad.secret).unwrap();
        let refused = Liar::greet(&bad.secret, &mac).await.push(run(own, head.length + 1, foreign.bytes())).await;
        assert!(refused.as_ref().is_err_and(|text| text.contains("another fleet")), "{refused:?}");

        let mut liar = Liar::greet(&bad.secret, &mac).await;
        // Everything again: known already.
        let before = mac.digest();
        liar.push(vec![entries(&bad.store, own, 1, head.length), entries(&bad.store, theirs, 1, their_head.length)])
            .await
            .unwrap();
        // Far ahead: what is between is missing.
        let far = forge(&bad.secret, &last, Vec::new(), head.length + 9);
        liar.push(run(own, head.length + 9, far.bytes())).await.unwrap();
        assert_eq!(mac.digest(), before, "nothing of it was taken");

        // At the last position that can be counted.
        let refused = Liar::greet(&bad.secret, &mac).await.push(run(own, u64::MAX, &last)).await;
        assert!(refused.as_ref().is_err_and(|text| text.contains("frame")), "{refused:?}");
        let mut liar = Liar::greet(&bad.secret, &mac).await;

        // A change that another's actor made, in the liar's own log: kept there, applied nowhere.
        let ops = decode(&stolen).unwrap().1;
        let borrowed = forge(&bad.secret, &last, ops, head.length + 1);
        liar.push(run(own, head.length + 1, borrowed.bytes())).await.unwrap();
        assert_eq!(held(&mac), 1);
        // Another entry at the same place: both histories are the liar's own, and both are kept.
        let fork = forge(&bad.secret, &last, vec![Op::Unknown { kind: 200, payload: vec![1] }], head.length + 1);
        liar.push(run(own, head.length + 1, fork.bytes())).await.unwrap();
        let both = |node: &Node| {
            let heads = node.store.read().unwrap().reader().heads().unwrap();
            let logs = heads.0.into_iter().filter(|(log, _)| log.author == bad.key());
            let all = logs.flat_map(|(log, head)| entries(&node.store, log, 1, head.length).entries);
            all.filter(|entry| entry == borrowed.bytes() || entry == fork.bytes()).count() == 2
        };
        assert!(both(&mac));
        until("a person is told", || mac.fleet.alerts().iter().any(|alert| alert.text.contains("two different"))).await;

        let note = honest.note(None, "still here").await;
        until("honest traffic goes on", || mac.body(note).is_some()).await;
        equal(&[&mac, &honest]).await;
        for node in [&mac, &honest] {
            assert!(both(node));
            assert_eq!(node.body(victim).as_deref(), Some("what the victim wrote"));
            assert_eq!(held(node), 1);
        }
    });
}

/// A writer uploads a doc, a reader writes a note, past the place in their logs at which an admin took the right away.
#[test]
fn what_a_role_does_not_allow_is_applied_nowhere() {
    block_on(async {
        let mac = founder();
        let honest = joined(&mac.invite(Role::Writer, None).await, "honest").await;
        let was_admin = corrupted(&mac, Role::Admin, "was admin").await;
        let was_writer = corrupted(&mac, Role::Writer, "was writer").await;
        for (node, role) in [(was_admin.key(), Role::Writer), (was_writer.key(), Role::Reader)] {
            mac.control(move |cuts| ControlOp::SetRole { node, role, cuts }, node).await;
        }
        // Their own replicas do not know it, and write.
        let policy = doc(&was_admin).await;
        let note = was_writer.note(None, "written by a reader").await;
        for node in [&was_admin, &was_writer] {
            let (log, head) = log_of(&node.store, node.key(), &Space::Fleet);
            let written = entries(&node.store, log, head.length, head.length);
            Liar::greet(&node.secret, &mac).await.push(vec![written]).await.unwrap();
        }
        equal(&[&mac, &honest]).await;
        for node in [&mac, &honest] {
            let snapshot = node.store.read().unwrap();
            assert_eq!(snapshot.reader().view(policy).unwrap(), None);
            assert_eq!(snapshot.reader().body(note).unwrap(), None);
            assert_eq!(snapshot.reader().quarantine(10).unwrap().1, 2);
        }
    });
}

fn invented(count: usize, salt: u8) -> Heads {
    let log = |number: usize| {
        let mut author = [salt; 32];
        author[..8].copy_from_slice(&(number as u64).to_be_bytes());
        LogId { space: SpaceId([3; 16]), author: NodeKey(author), epoch: number as u64 }
    };
    Heads((0..count).map(|number| (log(number), Head { length: u64::MAX / 2, tip: [salt; 32] })).collect())
}

#[test]
fn statements_of_heads_fill_no_memory_and_prove_nothing() {
    block_on(async {
        let mac = founder();
        let honest = joined(&mac.invite(Role::Writer, None).await, "honest").await;
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        let mut liar = Liar::greet(&bad.secret, &mac).await;
        liar.say(&Message::Heads(invented(limits::MAX_LOGS + 1, 0))).await;
        let reason = liar.until_thrown_out(Duration::from_secs(20)).await;
        assert!(reason.contains("frame"), "{reason}");

        let mut liar = Liar::greet(&bad.secret, &mac).await;
        liar.say(&Message::Heads(invented(limits::MAX_LOGS, 1))).await;
        let note = honest.note(None, "first").await;
        until("honest traffic goes on", || mac.body(note).is_some()).await;
        let before = resident();
        for salt in 2..60 {
            liar.say(&Message::Heads(invented(limits::MAX_LOGS, salt))).await;
        }
        // What is answered comes after all that was said before.
        let (own, head) = log_of(&bad.store, bad.key(), &Space::Fleet);
        liar.push(vec![entries(&bad.store, own, 1, head.length)]).await.unwrap();
        let grown = resident().saturating_sub(before) >> 20;
        println!("58 statements of {} logs each: {grown} MiB more", limits::MAX_LOGS);
        assert!(grown < 64, "{grown} MiB");

        // That somebody has other entries in this node's own log is believed once, not each time it is said.
        for _ in 0..5 {
            let (log, head) = log_of(&mac.store, mac.key(), &Space::Fleet);
            liar.say(&Message::Heads(Heads([(log, Head { tip: [7; 32], ..head })].into()))).await;
            liar.push(vec![entries(&bad.store, own, 1, head.length.min(1))]).await.unwrap();
            mac.note(None, "in whatever log").await;
        }
        let heads = mac.store.read().unwrap().reader().heads().unwrap();
        let space = Space::Fleet.id(&mac.store.fleet());
        let logs = heads.0.keys().filter(|log| log.author == mac.key() && log.space == space).count();
        assert!(logs <= 2, "{logs} logs of one node");
        equal(&[&mac, &honest]).await;
    });
}

#[test]
fn presence_that_is_too_large_is_ignored_and_the_exchange_goes_on() {
    block_on(async {
        let mac = founder();
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        let mut liar = Liar::greet(&bad.secret, &mac).await;
        liar.say(&Message::Presence(vec![7; limits::MAX_PRESENCE + 1])).await;
        liar.say(&Message::Presence(vec![7; limits::MAX_PAYLOAD])).await;
        // What is answered comes after all that was said before.
        let (own, head) = log_of(&bad.store, bad.key(), &Space::Fleet);
        liar.push(vec![entries(&bad.store, own, 1, head.length)]).await.unwrap();
    });
}

/// A machine on which more sessions are alive than a statement holds.
struct Crowd;

impl Host for Crowd {
    fn beats(&self) -> Vec<Beat> {
        (0..3_000).map(|age_ms| Beat { session: format!("sess_{age_ms}"), age_ms }).collect()
    }

    fn addresses(&self, _: &NodeKey) -> Vec<SocketAddr> {
        Vec::new()
    }
}

#[test]
fn a_machine_with_more_sessions_than_a_statement_holds_is_heard() {
    block_on(async {
        let mac = founder();
        let (code, secret) = (mac.invite(Role::Writer, None).await, secret());
        let welcome = join(&secret, &code, "crowd", &loopback()).await.unwrap();
        let store = Store::create_member(options(&secret), welcome.genesis.clone()).unwrap();
        remember_inviter(&store, &welcome).unwrap();
        let fleet = Fleet::start(store.clone(), secret, loopback(), "test".to_owned(), Arc::new(Crowd)).unwrap();
        let heard = || match mac.fleet.reach(&store.node()) {
            Reach::Reachable(beats) => beats,
            Reach::Unreachable(_) => Vec::new(),
        };
        until("its sessions are heard of", || !heard().is_empty()).await;
        let beats = heard();
        assert!(beats.len() > 1_000 && beats.len() < 3_000, "{} sessions", beats.len());
        let are_newest = beats.iter().enumerate().all(|(place, beat)| beat.session == format!("sess_{place}"));
        assert!(are_newest, "those with the newest signs of life");
        let note = mac.note(None, "for a machine that is busy").await;
        until("notes arrive there", || store.read().unwrap().reader().body(note).unwrap().is_some()).await;
        fleet.stop().await;
    });
}
