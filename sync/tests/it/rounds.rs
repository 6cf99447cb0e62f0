//! Machines that count their bytes: they meet in rounds, also when there is nobody else between them.

use ctxnode_store::Role;
use ctxnode_sync::{Pace, PeerState, Reason};

use crate::support::{Node, block_on, equal, founder, joined, until};

const BUDGET: u64 = 5_000_000;

async fn pair() -> (Node, Node) {
    let mac = founder();
    let laptop = joined(&mac.invite(Role::Writer, None).await, "laptop").await;
    equal(&[&mac, &laptop]).await;
    (mac, laptop)
}

fn is_apart(node: &Node) -> bool {
    node.fleet.status()[0].state != PeerState::Connected
}

/// One begins a round; the other answers within its budget, and is left alone again once both have the same.
#[test]
fn two_machines_with_budgets_meet_in_the_round_of_one() {
    block_on(async {
        let (mac, laptop) = pair().await;
        for node in [&mac, &laptop] {
            node.fleet.set_pace(Pace::Rounds { left: Some(BUDGET) });
        }
        until("both have left", || is_apart(&mac) && is_apart(&laptop)).await;
        let _ = (mac.fleet.take_spent(), laptop.fleet.take_spent());
        let (home, away) = (mac.note(None, "at home").await, laptop.note(None, "away").await);
        assert!(mac.body(away).is_none() && laptop.body(home).is_none());
        laptop.fleet.wake().await;
        until("both have both", || mac.body(away).is_some() && laptop.body(home).is_some()).await;
        until("they part again", || is_apart(&mac) && is_apart(&laptop)).await;
        let (here, there) = (mac.fleet.take_spent(), laptop.fleet.take_spent());
        println!("a round of two notes: {here} bytes at the one that answered, {there} at the one that asked");
        assert!(here > 0 && here < 100_000 && there < 100_000, "{here} {there}");
        // The next round is the other's.
        let later = laptop.note(None, "later").await;
        mac.fleet.wake().await;
        until("it came", || mac.body(later).is_some()).await;
    });
}

/// Between rounds nobody is answered who keeps in touch always: it is told to wait.
#[test]
fn a_machine_with_a_budget_is_left_alone_by_those_without() {
    block_on(async {
        let (mac, laptop) = pair().await;
        laptop.fleet.set_pace(Pace::Rounds { left: Some(BUDGET) });
        until("it has left", || is_apart(&mac) && is_apart(&laptop)).await;
        let note = mac.note(None, "meanwhile").await;
        mac.fleet.wake().await;
        let is_away = || mac.fleet.status()[0].trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::Away);
        until("it is told", is_away).await;
        assert!(is_apart(&mac) && laptop.body(note).is_none());
        laptop.fleet.wake().await;
        until("it comes in its round", || laptop.body(note).is_some()).await;
    });
}

#[test]
fn a_machine_whose_bytes_are_used_up_answers_nobody() {
    block_on(async {
        let (mac, laptop) = pair().await;
        mac.fleet.set_pace(Pace::Rounds { left: Some(0) });
        laptop.fleet.set_pace(Pace::Rounds { left: Some(BUDGET) });
        until("both have left", || is_apart(&mac) && is_apart(&laptop)).await;
        let note = laptop.note(None, "for tomorrow").await;
        laptop.fleet.wake().await;
        let is_away =
            || laptop.fleet.status()[0].trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::Away);
        until("it is told", is_away).await;
        assert!(mac.body(note).is_none());
        // The next day.
        mac.fleet.set_pace(Pace::Rounds { left: Some(BUDGET) });
        laptop.fleet.wake().await;
        until("it came", || mac.body(note).is_some()).await;
    });
}
