//! Machines that cannot send each other a packet, and a relay that both reach: one has IPv4 only, the other IPv6.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use ctxnode_model::NodeKey;
use ctxnode_store::{Role, SystemClock};
use ctxnode_sync::{Code, JoinError, NetConfig, PeerState, PeerStatus, Relays, join};
use iroh::RelayUrl;

use crate::relay::Relay;
use crate::support::{
    Node, block_on, equal, founder, founder_in, joined, joined_in, loopback, secret, two_sides, until,
};

fn at(side: IpAddr, relays: &[&RelayUrl]) -> NetConfig {
    let relays = Relays::Own(relays.iter().map(|url| (*url).clone()).collect());
    NetConfig { bind: vec![side], relays, ..NetConfig::default() }
}

fn founded(config: NetConfig) -> Node {
    founder_in(Arc::new(SystemClock), config)
}

async fn member(code: &Code, name: &str, config: NetConfig) -> Node {
    joined_in(code, name, Arc::new(SystemClock), config).await
}

fn peer(node: &Node, other: NodeKey) -> PeerStatus {
    node.fleet.status().into_iter().find(|peer| peer.node == other).unwrap()
}

/// Waits until two nodes are connected over a relay.
async fn meet_over(relay: &Relay, one: &Node, other: &Node) {
    let is_over = |peer: PeerStatus| {
        let path = peer.path.filter(|_| peer.state == PeerState::Connected);
        path.is_some_and(|path| path.address.is_none() && path.relay.as_deref() == Some(relay.url.as_str()))
    };
    until("the relay passes packets on", || is_over(peer(one, other.key())) && is_over(peer(other, one.key()))).await;
}

#[test]
fn machines_that_cannot_reach_each_other_join_and_exchange_over_the_relay_of_the_fleet() {
    let Some((here, there)) = two_sides() else { return };
    block_on(async {
        let relay = Relay::start().await;
        let mac = founded(at(here, &[&relay.url]));
        let code = mac.invite(Role::Writer, None).await;
        let laptop = member(&code, "laptop", at(there, &[&relay.url])).await;
        let (from, to) = (mac.note(None, "from home").await, laptop.note(None, "from away").await);
        equal(&[&mac, &laptop]).await;
        assert!(laptop.body(from).is_some() && mac.body(to).is_some() && relay.passed() > 0);
        meet_over(&relay, &mac, &laptop).await;
        // A restarted daemon finds it again.
        laptop.fleet.stop().await;
        until("it is gone", || peer(&mac, laptop.key()).state == PeerState::Unreachable).await;
        let laptop = crate::support::run_with(laptop.store, laptop.secret, at(there, &[&relay.url]));
        meet_over(&relay, &mac, &laptop).await;
        // It is said where somebody was looked for.
        laptop.fleet.stop().await;
        let is_said = |trouble: &str| trouble.contains("over the relay http://127.0.0.1:");
        until("it is missed", || peer(&mac, laptop.key()).trouble.is_some_and(|trouble| is_said(&trouble.text))).await;
    });
}

/// As with the public relays: each machine has one of several. The code names that of the inviter, the answer too, and of the
/// third the two others hear through each other.
#[test]
fn of_several_relays_each_machine_is_reached_over_its_own() {
    let Some((here, there)) = two_sides() else { return };
    block_on(async {
        let relay = Relay::start().await;
        // Nobody answers there.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent: RelayUrl = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let relays = [&silent, &relay.url];
        let mac = founded(at(here, &relays));
        // Which of them answers shows in its own time, and an invitation does not wait for it for long.
        mac.fleet.listen().await.unwrap();
        let mut found = None;
        for _ in 0..6 {
            found = found.or(mac.fleet.relay().await);
        }
        assert_eq!(found.as_ref(), Some(&relay.url));
        let code = mac.invite(Role::Admin, None).await;
        assert_eq!(code.relay.as_ref(), Some(&relay.url));
        let code = Code { addresses: Vec::new(), ..code.to_string().parse().unwrap() };
        let laptop = member(&code, "laptop", at(there, &relays)).await;
        meet_over(&relay, &mac, &laptop).await;
        let server = member(&mac.invite(Role::Writer, None).await, "server", at(here, &relays)).await;
        meet_over(&relay, &server, &laptop).await;
        assert!(
            peer(&server, mac.key()).path.is_some_and(|path| path.relay.is_none()),
            "the short way where there is one"
        );
        equal(&[&mac, &laptop, &server]).await;
    });
}

/// Whatever a code or a member names: the settings of this machine allow no relay, and say so.
#[test]
fn without_the_setting_no_packet_goes_to_a_relay() {
    block_on(async {
        let relay = Relay::start().await;
        let mac = founder();
        let code = mac.invite(Role::Writer, None).await;
        assert_eq!(code.relay, None);
        let named = Code { relay: Some(relay.url.clone()), ..code };
        let lost = Code { addresses: Vec::new(), ..named.clone() };
        let refused = join(&secret(), &lost, "lost", &loopback()).await;
        let is_said = |error: &JoinError| error.to_string().contains("`sync.relay` does not allow");
        assert!(refused.as_ref().is_err_and(is_said), "{refused:?}");
        let laptop = joined(&named, "laptop").await;
        let note = laptop.note(None, "directly").await;
        until("it came", || mac.body(note).is_some()).await;
        assert_eq!(relay.asked(), 0);
    });
}
