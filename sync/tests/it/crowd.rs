//! Crowds at the door, on the real wire: strangers by the thousand, handshakes that are begun and never ended, one member
//! that connects without end.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ctxnode_store::Role;
use ctxnode_sync_proto::limits;
use iroh::{EndpointAddr, TransportAddr};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::liar::{EXCHANGE, dial, endpoint};
use crate::support::{Node, block_on, corrupted, equal, founder, joined, meanwhile, secret, until};

/// How many strangers knock at the same time, each with a key of its own.
const AT_A_TIME: usize = 12;
/// How much memory a crowd may cost at any moment, in MiB, however many they are; the crowd itself lives here as well.
const MOST: u64 = 96;

async fn fleet() -> [Node; 3] {
    let mac = founder();
    let one = joined(&mac.invite(Role::Writer, None).await, "one").await;
    let two = joined(&mac.invite(Role::Writer, None).await, "two").await;
    equal(&[&mac, &one, &two]).await;
    [mac, one, two]
}

/// `CTXNODE_TEST_CONNECTS` makes it more, for a run by hand.
#[test]
fn a_flood_of_strangers_leaves_honest_traffic_alone() {
    #[expect(clippy::disallowed_methods, reason = "a long run by hand chooses its size")]
    let chosen = std::env::var("CTXNODE_TEST_CONNECTS").ok().and_then(|text| text.parse().ok());
    let connects: usize = chosen.unwrap_or(500);
    block_on(async {
        let [mac, one, two] = fleet().await;
        let (begun, since) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let mac_at = EndpointAddr::from_parts(
            iroh::EndpointId::from_bytes(&mac.key().0).unwrap(),
            mac.fleet.addresses().into_iter().map(TransportAddr::Ip),
        );
        let attack = async {
            let mut strangers = JoinSet::new();
            for _ in 0..AT_A_TIME {
                let (endpoint, begun, to) = (endpoint(&secret()).await, Arc::clone(&begun), mac_at.clone());
                strangers.spawn(async move {
                    while begun.fetch_add(1, Ordering::SeqCst) < connects {
                        let connection = endpoint.connect(to.clone(), EXCHANGE).await.unwrap();
                        let reason = connection.closed().await.to_string();
                        assert!(reason.contains("not a member"), "{reason}");
                    }
                });
            }
            while let Some(ended) = strangers.join_next().await {
                ended.unwrap();
            }
        };
        let ((), seen) = meanwhile(&one, &[&two, &mac], attack).await;
        println!("{connects} strangers in {:?}", since.elapsed());
        seen.judge("a flood of strangers", MOST);
        assert_eq!(mac.fleet.status().len(), 2, "nobody else is known");
        equal(&[&mac, &one, &two]).await;
    });
}

/// The first packets of handshakes with a node, each of another connection.
async fn first_packets(to: &Node, count: usize) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let stranger = endpoint(&secret()).await;
    let id = iroh::EndpointId::from_bytes(&to.key().0).unwrap();
    let address = EndpointAddr::from_parts(id, [TransportAddr::Ip(sink.local_addr().unwrap())]);
    let mut attempts = JoinSet::new();
    let mut known = BTreeSet::new();
    let mut packets = Vec::new();
    let mut buffer = vec![0; 2_048];
    while packets.len() < count {
        let (stranger, address) = (stranger.clone(), address.clone());
        attempts.spawn(async move { stranger.connect(address, EXCHANGE).await.map(drop) });
        // What is sent again, and the rest of a first flight, has the same connection id behind version and length.
        loop {
            let length = sink.recv(&mut buffer).await.unwrap();
            let is_first = buffer[0] & 0xb0 == 0x80 && length >= 1_200;
            let id = buffer[6..6 + usize::from(buffer[5])].to_vec();
            if is_first && known.insert(id) {
                packets.push(buffer[..length].to_vec());
                break;
            }
        }
    }
    attempts.abort_all();
    packets
}

/// From many addresses, so that none of them has its share; nobody there will ever answer.
#[test]
fn handshakes_that_never_end_keep_nobody_out() {
    block_on(async {
        let [mac, one, two] = fleet().await;
        let to: SocketAddr = mac.fleet.addresses()[0];
        let code = mac.invite(Role::Writer, None).await;
        let packets = first_packets(&mac, limits::HANDSHAKES * 2).await;
        let attack = async {
            let mut sockets = Vec::new();
            for (number, packet) in packets.iter().enumerate() {
                let ip = Ipv4Addr::new(127, 0, 1, u8::try_from(number).unwrap());
                let socket = UdpSocket::bind((IpAddr::V4(ip), 0)).await.unwrap();
                socket.send_to(packet, to).await.unwrap();
                sockets.push(socket);
            }
            let since = Instant::now();
            let late = joined(&code, "late").await;
            (late, since.elapsed())
        };
        let ((late, took), seen) = meanwhile(&one, &[&two, &mac], attack).await;
        println!("joined in {took:?} beside {} handshakes that never end", packets.len());
        assert!(took < Duration::from_secs(5), "{took:?}");
        seen.judge("handshakes that never end", MOST);
        equal(&[&mac, &one, &two, &late]).await;
    });
}

#[test]
fn a_member_that_connects_without_end_has_few_connections() {
    block_on(async {
        let [mac, one, two] = fleet().await;
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        let attack = async {
            let endpoint = endpoint(&bad.secret).await;
            let mut connections = Vec::new();
            for _ in 0..200 {
                connections.push(dial(&endpoint, &mac).await);
            }
            let open = || connections.iter().filter(|connection| connection.close_reason().is_none()).count();
            until("all but a few are closed", || open() <= limits::CONNECTIONS_OF_ONE).await;
        };
        let since = Instant::now();
        let ((), seen) = meanwhile(&one, &[&two, &mac], attack).await;
        println!("200 connections of one member in {:?}", since.elapsed());
        seen.judge("a member that connects without end", MOST);
        equal(&[&mac, &one, &two]).await;
    });
}
