//! What connected nodes do for each other.

use ctxnode_store::{Role, Store};
use ctxnode_sync::{PeerState, Reach};

use crate::support::{block_on, equal, founder, joined, options, run, until};

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
