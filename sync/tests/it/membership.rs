//! Inviting, joining, leaving.

use std::sync::Arc;

use ctxnode_model::Timestamp;
use ctxnode_store::{ControlOp, ManualClock, Role};
use ctxnode_sync::{JoinError, PeerState, Reason, join};

use crate::support::{block_on, equal, founder, founder_by, joined, loopback, secret, until};

#[test]
fn f_01_a_machine_joins_with_a_code_and_has_everything() {
    block_on(async {
        let mac = founder();
        let note = mac.note(None, "quokka").await;
        let code = mac.invite(Role::Writer, None).await;
        let server = joined(&code, "server").await;
        equal(&[&mac, &server]).await;
        assert_eq!(server.body(note).as_deref(), Some("quokka"));
        assert_eq!(mac.store.authority().role(&server.key()), Some(Role::Writer));
        assert_eq!(mac.store.authority().name(&server.key()), Some("server"));
        // And back.
        let answer = server.note(None, "wombat").await;
        until("the answer is there", || mac.body(answer).is_some()).await;
        until("both say so", || {
            let good = |status: &ctxnode_sync::PeerStatus| {
                status.state == PeerState::Connected
                    && status.lacks == Some(Default::default())
                    && status.path.is_some()
            };
            mac.fleet.status().iter().all(good) && server.fleet.status().iter().all(good)
        })
        .await;
        mac.fleet.stop().await;
        until("the other notices", || server.fleet.status()[0].state == PeerState::Unreachable).await;
        server.fleet.stop().await;
    });
}

#[test]
fn f_01_a_code_is_used_once_and_only_while_it_is_open() {
    block_on(async {
        let mac = founder();
        let code = mac.invite(Role::Writer, None).await;
        let first = secret();
        assert!(join(&first, &code, "first", &loopback()).await.is_ok());
        assert!(join(&first, &code, "first", &loopback()).await.is_ok(), "a lost answer can be had again");
        let second = join(&secret(), &code, "second", &loopback()).await;
        assert!(matches!(second, Err(JoinError::Refused(_))), "{second:?}");
        let mut guess = code.clone();
        guess.secret[0] ^= 1;
        let guessed = join(&secret(), &guess, "third", &loopback()).await;
        assert!(matches!(guessed, Err(JoinError::Refused(_))), "{guessed:?}");
        assert_eq!(mac.store.authority().members().count(), 2);
    });
}

/// Another one is open: so it is not the door that refuses, before the secret is read.
#[test]
fn f_01_an_expired_code_is_refused_beside_an_open_one() {
    block_on(async {
        let clock = Arc::new(ManualClock::new(Timestamp(1_800_000_000_000)));
        let mac = founder_by(&clock);
        let first = mac.invite(Role::Writer, None).await;
        clock.advance(30_000);
        let second = mac.invite(Role::Writer, None).await;
        clock.advance(30_000);
        let late = join(&secret(), &first, "late", &loopback()).await;
        assert!(matches!(late, Err(JoinError::Refused(_))), "{late:?}");
        assert_eq!(mac.store.authority().members().count(), 1);
        let early = secret();
        assert!(join(&early, &second, "early", &loopback()).await.is_ok());
        mac.invite(Role::Writer, None).await;
        clock.advance(30_000);
        let lost = join(&early, &second, "early", &loopback()).await;
        assert!(matches!(lost, Err(JoinError::Refused(_))), "a lost answer can be had again until then only: {lost:?}");
        assert_eq!(mac.store.authority().members().count(), 2);
    });
}

#[test]
fn a_machine_without_an_open_invitation_refuses_before_it_reads() {
    block_on(async {
        let mac = founder();
        let code = mac.invite(Role::Writer, None).await;
        let open = ctxnode_sync::invites(mac.store.read().unwrap().reader()).unwrap();
        assert!(ctxnode_sync::withdraw_invite(&mac.store, open[0].id.clone()).await.unwrap());
        let refused = join(&secret(), &code, "late", &loopback()).await;
        assert!(matches!(refused, Err(JoinError::Refused(_))), "{refused:?}");
    });
}

/// It kept its key and lost its replica. What it wrote as an admin stands, although it comes back as less.
#[test]
fn a_machine_that_joins_again_with_its_key_keeps_what_it_wrote() {
    block_on(async {
        let mac = founder();
        let server = joined(&mac.invite(Role::Admin, None).await, "server").await;
        let note = server.note(Some("beta"), "of an admin").await;
        equal(&[&mac, &server]).await;
        server.fleet.stop().await;
        let code = mac.invite(Role::Writer, Some(&["alpha"])).await;
        assert!(join(&server.secret, &code, "server", &loopback()).await.is_ok());
        assert_eq!(mac.store.authority().role(&server.key()), Some(Role::Writer));
        assert_eq!(mac.body(note).as_deref(), Some("of an admin"));
        assert_eq!(mac.store.read().unwrap().reader().quarantine(10).unwrap().1, 0);
    });
}

#[test]
fn a_machine_alone_opens_no_port() {
    block_on(async {
        let mac = founder();
        mac.note(None, "alone").await;
        assert!(mac.fleet.addresses().is_empty());
        mac.invite(Role::Writer, None).await;
        assert!(!mac.fleet.addresses().is_empty());
    });
}

#[test]
fn r_05_a_machine_of_one_venture_gets_nothing_of_another() {
    block_on(async {
        let mac = founder();
        let (alpha, beta) = (mac.note(Some("alpha"), "of alpha").await, mac.note(Some("beta"), "of beta").await);
        let global = mac.note(None, "of all").await;
        let limited = joined(&mac.invite(Role::Writer, Some(&["alpha"])).await, "limited").await;
        until("its venture and the global notes are there", || {
            limited.body(alpha).is_some() && limited.body(global).is_some()
        })
        .await;
        let later = mac.note(Some("beta"), "later").await;
        let last = mac.note(Some("alpha"), "last").await;
        until("what came after it is there", || limited.body(last).is_some()).await;
        assert_eq!((limited.body(beta), limited.body(later)), (None, None));
        let heads = limited.store.read().unwrap().reader().heads().unwrap();
        let beta_space = ctxnode_model::Space::Venture("beta".to_owned()).id(&mac.store.fleet());
        assert!(heads.0.keys().all(|log| log.space != beta_space), "not even the log is known");
    });
}

#[test]
fn f_03_a_revoked_machine_is_cut_off_at_once_and_its_later_entries_count_nowhere() {
    block_on(async {
        let mac = founder();
        let code = mac.invite(Role::Writer, None).await;
        let lost = joined(&code, "lost").await;
        let kept = joined(&mac.invite(Role::Writer, None).await, "kept").await;
        let before = lost.note(None, "before").await;
        equal(&[&mac, &lost, &kept]).await;
        let key = lost.key();
        // It is out of reach when it is revoked, and goes on writing.
        lost.fleet.stop().await;
        mac.control(move |cuts| ControlOp::Revoke { node: key, cuts }, key).await;
        let after = lost.note(None, "after").await;
        let lost = crate::support::run(lost.store.clone(), lost.secret.clone());
        equal(&[&mac, &kept]).await;
        until("the others know", || kept.store.authority().role(&key).is_none()).await;
        until("it is told why", || {
            lost.fleet
                .status()
                .iter()
                .any(|peer| peer.trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::Revoked))
        })
        .await;
        assert!(kept.body(before).is_some() && kept.body(after).is_none() && mac.body(after).is_none());
        let revoked = |peer: &ctxnode_sync::PeerStatus| peer.node == key && peer.state == PeerState::Revoked;
        assert!(mac.fleet.status().iter().any(revoked));
    });
}

#[test]
fn a_connected_machine_that_is_revoked_is_cut_off_at_once() {
    block_on(async {
        let mac = founder();
        let lost = joined(&mac.invite(Role::Writer, None).await, "lost").await;
        equal(&[&mac, &lost]).await;
        let key = lost.key();
        mac.control(move |cuts| ControlOp::Revoke { node: key, cuts }, key).await;
        until("it is cut off", || {
            mac.fleet.status().iter().any(|peer| peer.state == PeerState::Revoked && peer.path.is_none())
        })
        .await;
        let secret = mac.note(None, "after").await;
        assert!(lost.body(secret).is_none());
    });
}
