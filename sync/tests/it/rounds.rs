//! Machines that count their bytes: they meet in rounds, also when there is nobody else between them.

use std::cell::Cell;
use std::time::Duration;

use ctxnode_store::Role;
use ctxnode_sync::{Pace, PeerState, Reason, Rounds, Spent};

use crate::liar;
use crate::support::{Node, block_on, equal, founder, joined, until};

const BUDGET: u64 = 5_000_000;

/// A day's bytes, of which others may use half.
fn rounds(left: u64) -> Pace {
    Pace::Rounds(Rounds { left: Some(left), for_others: Some(left / 2), every: Duration::from_secs(900) })
}

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
            node.fleet.set_pace(rounds(BUDGET));
        }
        until("both have left", || is_apart(&mac) && is_apart(&laptop)).await;
        let _ = (mac.fleet.take_spent(), laptop.fleet.take_spent());
        let (home, away) = (mac.note(None, "at home").await, laptop.note(None, "away").await);
        assert!(mac.body(away).is_none() && laptop.body(home).is_none());
        laptop.fleet.wake().await;
        until("both have both", || mac.body(away).is_some() && laptop.body(home).is_some()).await;
        until("they part again", || is_apart(&mac) && is_apart(&laptop)).await;
        let (here, there) = (mac.fleet.take_spent(), laptop.fleet.take_spent());
        assert_eq!(here.by_others, here.all, "the one that answered was in no round of its own");
        let (here, there) = (here.all, there.all);
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
        laptop.fleet.set_pace(rounds(BUDGET));
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
        mac.fleet.set_pace(rounds(0));
        laptop.fleet.set_pace(rounds(BUDGET));
        until("both have left", || is_apart(&mac) && is_apart(&laptop)).await;
        let note = laptop.note(None, "for tomorrow").await;
        laptop.fleet.wake().await;
        let is_away =
            || laptop.fleet.status()[0].trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::Away);
        until("it is told", is_away).await;
        assert!(mac.body(note).is_none());
        // The next day.
        mac.fleet.set_pace(rounds(BUDGET));
        laptop.fleet.wake().await;
        until("it came", || mac.body(note).is_some()).await;
    });
}

fn are_apart(nodes: &[&Node]) -> bool {
    let status = nodes.iter().flat_map(|node| node.fleet.status());
    status.into_iter().all(|peer| peer.state != PeerState::Connected)
}

/// Whoever asks for round after round is answered in a few of them and then told to wait; in the end nothing is said to it
/// any more. What that costs is counted, as that of others. Another member behind the same address is met as ever.
#[test]
fn a_member_that_asks_again_and_again_is_answered_a_few_times_only() {
    block_on(async {
        let (mac, greedy) = pair().await;
        let modest = joined(&mac.invite(Role::Writer, None).await, "modest").await;
        let all = [&mac, &greedy, &modest];
        equal(&all).await;
        for node in all {
            node.fleet.set_pace(rounds(BUDGET));
        }
        until("all have left", || are_apart(&all)).await;
        let _ = mac.fleet.take_spent();
        let mut answered = 0;
        let last = loop {
            let note = greedy.note(None, "once more").await;
            greedy.fleet.wake().await;
            let is_away = || {
                let status = greedy.fleet.status();
                let of_mac = status.iter().find(|peer| peer.node == mac.key()).and_then(|peer| peer.trouble.as_ref());
                of_mac.is_some_and(|trouble| trouble.reason == Reason::Away)
            };
            until("it is answered, or told to wait", || mac.body(note).is_some() || is_away()).await;
            if mac.body(note).is_none() {
                break note;
            }
            answered += 1;
            assert!(answered < 20, "it is answered without end");
            until("they part again", || are_apart(&all)).await;
        };
        assert!((2..=3).contains(&answered), "{answered}");
        let visits = mac.fleet.take_spent();
        greedy.fleet.stop().await;
        let (door, mut refused) = (liar::endpoint(&greedy.secret).await, 0);
        while liar::knock(&door, &mac).await {
            refused += 1;
            assert!(refused < 20, "it is refused without end");
        }
        // It was refused once already.
        assert!((1..=5).contains(&refused), "{refused}");
        assert!(mac.body(last).is_none());
        let knocks = mac.fleet.take_spent();
        println!("{answered} rounds cost {visits:?}, {refused} refusals {knocks:?}");
        assert!(visits.all < 300_000 && knocks.all > 0 && knocks.all < 300_000, "{visits:?} {knocks:?}");
        assert_eq!((visits.by_others, knocks.by_others), (visits.all, knocks.all));
        let note = modest.note(None, "from next door").await;
        modest.fleet.wake().await;
        until("the other is answered", || mac.body(note).is_some()).await;
    });
}

/// However much a member has to send in its own rounds, one visit takes half of the share of others at most, and all of them
/// no more than the share.
#[test]
fn what_others_send_ends_at_their_share() {
    block_on(async {
        let (mac, greedy) = pair().await;
        mac.fleet.set_pace(rounds(6_000_000));
        greedy.fleet.set_pace(rounds(u64::MAX / 2));
        until("both have left", || is_apart(&mac) && is_apart(&greedy)).await;
        let _ = mac.fleet.take_spent();
        let mut random = 1_u64;
        let mut noise = || -> String {
            let mut letter = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from((random >> 33) % 26).unwrap())
            };
            (0..200_000).map(|_| letter()).collect()
        };
        let mut notes = Vec::new();
        for _ in 0..40 {
            notes.push(greedy.note(None, &noise()).await);
        }
        greedy.fleet.wake().await;
        until("it is answered", || notes.iter().any(|note| mac.body(*note).is_some())).await;
        until("it is told to wait", || is_apart(&mac) && is_apart(&greedy)).await;
        let spent = mac.fleet.take_spent();
        println!("{spent:?}");
        // The handshake went before the visit; what was on its way when its share was used up is paid for.
        assert!(spent.by_others >= 1_480_000 && spent.by_others < 2_000_000, "{spent:?}");
        let (rest, again) = (3_000_000 - spent.by_others, Cell::new(Spent::default()));
        let count = || {
            let (before, more) = (again.get(), mac.fleet.take_spent());
            again.set(Spent { all: before.all + more.all, by_others: before.by_others + more.by_others });
            again.get()
        };
        greedy.fleet.wake().await;
        until("its next visit took its half too", || count().by_others >= rest / 2 - 20_000).await;
        until("it is told to wait again", || is_apart(&mac) && is_apart(&greedy)).await;
        let again = count();
        println!("{again:?}");
        assert!(again.by_others < rest / 2 + 500_000, "{again:?} of {rest}");
        assert!(notes.iter().any(|note| mac.body(*note).is_none()));
        // The daemon counts, and says what is left: half of the day is still its own.
        let left = 6_000_000 - spent.all - again.all;
        mac.fleet.set_pace(Pace::Rounds(Rounds {
            left: Some(left),
            for_others: Some(0),
            every: Duration::from_secs(900),
        }));
        let before = notes.iter().filter(|note| mac.body(**note).is_some()).count();
        mac.fleet.wake().await;
        until("its own round goes on", || notes.iter().filter(|note| mac.body(**note).is_some()).count() > before)
            .await;
    });
}
