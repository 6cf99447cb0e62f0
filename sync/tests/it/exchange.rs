//! What connected nodes do for each other.

use std::sync::Arc;

use ctxnode_model::Timestamp;
use ctxnode_store::{ManualClock, Role, Store};
use ctxnode_sync::{PeerState, Reach};

use crate::support::{block_on, equal, founder, founder_by, joined, joined_by, options, run, until};

#[test]
fn what_one_spoke_writes_reaches_the_other_through_the_hub() {
    block_on(async {
        let hub = founder();
        let one = joined(&hub.invite(Role::Writer, None).await, "one").await;
        let two = joined(&hub.invite(Role::Writer, None).await, "two").await;
        equal(&[&hub, &one, &two]).await;
        let note = one.note(Some("alpha"), "from one").await;
        until("it is there", || two.body(note).as_deref() == Some("from one")).await;
        // Each knows who is alive everywhere.
        until(
            "the presence of one is known at two",
            || matches!(two.fleet.reach(&one.key()), Reach::Reachable(beats) if beats.len() == 1),
        )
        .await;
    });
}

#[test]
fn both_write_while_apart_and_meet_again() {
    block_on(async {
        let mac = founder();
        let laptop = joined(&mac.invite(Role::Writer, None).await, "laptop").await;
        equal(&[&mac, &laptop]).await;
        laptop.fleet.stop().await;
        until("it is gone", || mac.fleet.status()[0].state != PeerState::Connected).await;
        for number in 0..1_200 {
            laptop.note(Some("alpha"), &format!("offline {number}")).await;
            mac.note(Some("beta"), &format!("at home {number}")).await;
        }
        let laptop = run(laptop.store.clone(), laptop.secret.clone());
        equal(&[&mac, &laptop]).await;
        until("nobody lacks anything", || mac.fleet.status()[0].lacks == Some(Default::default())).await;
    });
}

/// Q-02, where the two meet directly: a week apart with 200 changes on each side, half of them to what both have.
#[test]
fn q_02_a_week_apart_with_200_changes_on_each_side_loses_nothing() {
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;
    block_on(async {
        let clocks = [0, 90_000].map(|off| Arc::new(ManualClock::new(Timestamp(1_795_435_200_000 + off))));
        let mac = founder_by(&clocks[0]);
        let code = mac.invite(Role::Writer, None).await;
        let laptop = joined_by(&code, "laptop", Arc::clone(&clocks[1]) as _).await;
        let mut shared = Vec::new();
        for number in 0..20 {
            shared.push((
                mac.note(None, &format!("Note {number}. At home. Away.")).await,
                String::new(),
                String::new(),
            ));
        }
        equal(&[&mac, &laptop]).await;
        laptop.fleet.stop().await;
        until("it is gone", || mac.fleet.status()[0].state != PeerState::Connected).await;

        let mut written = Vec::new();
        for change in 0..100_usize {
            clocks.iter().for_each(|clock| clock.advance(WEEK_MS / 100));
            for (node, name) in [(&mac, "home"), (&laptop, "away")] {
                let text = format!("{name} {change}");
                written.push((node.note(None, &text).await, text));
            }
            // Each note is edited five times on each side, in another sentence.
            let (id, home, away) = &mut shared[change % 20];
            *home = format!("At home, {change}.");
            *away = format!("Away, {change}.");
            mac.rewrite(*id, &format!("Note {}. {home} Away.", change % 20)).await;
            laptop.rewrite(*id, &format!("Note {}. At home. {away}", change % 20)).await;
        }
        let laptop = run(laptop.store.clone(), laptop.secret.clone());
        equal(&[&mac, &laptop]).await;
        until("nobody lacks anything", || mac.fleet.status()[0].lacks == Some(Default::default())).await;
        for node in [&mac, &laptop] {
            for (id, text) in &written {
                assert_eq!(node.body(*id).as_ref(), Some(text));
            }
            for (id, home, away) in &shared {
                let body = node.body(*id).unwrap();
                assert!(body.contains(home.as_str()) && body.contains(away.as_str()), "{body}");
            }
            assert_eq!(node.store.read().unwrap().check(|_| ()).unwrap().problem_count, 0);
        }
        assert_eq!(mac.views(), laptop.views());
    });
}

#[test]
fn an_old_copy_of_a_replica_is_noticed_and_goes_on_in_new_logs() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mac = founder();
        let code = mac.invite(Role::Writer, None).await;
        let key = crate::support::secret();
        let welcome = ctxnode_sync::join(&key, &code, "server", &crate::support::loopback()).await.unwrap();
        let path = folder.path().join("store.redb");
        let at = |path: &std::path::Path| ctxnode_store::Options {
            location: ctxnode_store::Location::File(path.to_owned()),
            ..options(&key)
        };
        let store = Store::create_member(at(&path), welcome.genesis.clone()).unwrap();
        ctxnode_sync::remember_inviter(&store, &welcome).unwrap();
        let server = run(store, key.clone());
        equal(&[&mac, &server]).await;
        server.note(None, "kept").await;
        equal(&[&mac, &server]).await;
        server.fleet.stop().await;
        server.store.close();
        let old = folder.path().join("old.redb");
        std::fs::copy(&path, &old).unwrap();
        let server = run(Store::open(at(&path)).unwrap(), key.clone());
        let lost = server.note(None, "only in the others").await;
        equal(&[&mac, &server]).await;
        let epoch = server.store.epoch();
        server.fleet.stop().await;
        server.store.close();
        // The disk of last week comes back.
        let server = run(Store::open(at(&old)).unwrap(), key.clone());
        assert_eq!((server.store.epoch(), server.body(lost)), (epoch, None));
        equal(&[&mac, &server]).await;
        assert_ne!(server.store.epoch(), epoch);
        assert!(server.body(lost).is_some());
        until("a person is told", || server.fleet.alerts().iter().any(|alert| alert.text.contains("older copy"))).await;
        let after = server.note(None, "after").await;
        until("what it writes now is taken", || mac.body(after).is_some()).await;
        assert!(mac.fleet.alerts().is_empty(), "{:?}", mac.fleet.alerts());
    });
}
