//! Why two machines do not speak, as the status of one of them says it: what `doctor` and `peers` show.

use ctxnode_model::NodeKey;
use ctxnode_store::Role;
use ctxnode_sync::{PeerState, PeerStatus, Reason, join};
use ctxnode_sync_proto::{Bye, Hello, Message, code, limits};

use crate::liar::{answer, hello, listener};
use crate::support::{Node, block_on, equal, founder, joined, loopback, run, secret, until};

fn peer(at: &Node, other: NodeKey) -> Option<PeerStatus> {
    at.fleet.status().into_iter().find(|peer| peer.node == other)
}

fn reason(at: &Node, other: NodeKey) -> Option<Reason> {
    peer(at, other)?.trouble.map(|trouble| trouble.reason)
}

/// The other one speaks newer protocols only, or is of another fleet. Either side may notice first: this one by what the other
/// says of itself, or the other one, which says so.
#[test]
fn a_machine_that_answers_and_is_not_spoken_with_says_why() {
    block_on(async {
        let mac = founder();
        let (_, known) = limits::PROTOCOL;
        let newer = Hello { oldest: known + 1, newest: known + 2, ..hello(&mac) };
        let mut stranger = hello(&mac);
        stranger.fleet[0] ^= 1;
        // What it says in words is its own: the code is what counts.
        let bye = |code| Message::Bye(Bye { code, text: "no".to_owned() });
        let cases = [
            ("newer", Message::Hello(newer), Reason::Protocol),
            ("of another fleet", Message::Hello(stranger), Reason::OtherFleet),
            ("newer, and says so", bye(code::VERSION), Reason::Protocol),
            ("of another fleet, and says so", bye(code::FLEET), Reason::OtherFleet),
        ];
        for (name, word, expected) in cases {
            let secret = secret();
            let other = secret.public();
            // It has to be a member: whoever is none is closed before it says anything.
            join(&secret, &mac.invite(Role::Writer, None).await, name, &loopback()).await.unwrap();
            let listener = listener(&secret).await;
            mac.look_for(other, listener.bound_sockets()[0]).await;
            tokio::select! {
                () = answer(&listener, &word) => unreachable!("it answers for ever"),
                () = until(name, || reason(&mac, other) == Some(expected)) => {}
            }
        }
    });
}

/// Others let a new machine in while the founder was away. It dials the founder, which has never heard of it.
#[test]
fn a_machine_whose_key_is_not_known_there_says_so_until_it_is() {
    block_on(async {
        let mac = founder();
        let one = joined(&mac.invite(Role::Admin, None).await, "one").await;
        equal(&[&mac, &one]).await;
        mac.fleet.stop().await;
        let two = joined(&one.invite(Role::Writer, None).await, "two").await;
        equal(&[&one, &two]).await;
        one.fleet.stop().await;

        let mac = run(mac.store, mac.secret);
        let at = mac.fleet.listen().await.unwrap()[0];
        two.look_for(mac.key(), at).await;
        until("its key is not known there", || reason(&two, mac.key()) == Some(Reason::UnknownKey)).await;
        assert_eq!(mac.store.authority().role(&two.key()), None);
        assert!(peer(&mac, two.key()).is_none(), "nobody else is known there either");

        let one = run(one.store, one.secret);
        one.look_for(mac.key(), at).await;
        until("it is heard of there", || mac.store.authority().role(&two.key()).is_some()).await;
        two.fleet.wake().await;
        let speaks = |peer: PeerStatus| peer.state == PeerState::Connected && peer.trouble.is_none();
        until("the two speak, and nothing is wrong any more", || peer(&two, mac.key()).is_some_and(speaks)).await;
    });
}
