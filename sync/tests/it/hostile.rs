//! Peers that mean no good, on the real wire: strangers, members who lie, frames that are none.

use ctxnode_store::Role;
use iroh::endpoint::presets;
use iroh::{Endpoint, EndpointAddr, SecretKey, TransportAddr};

use crate::support::{Node, block_on, equal, founder, joined, secret, until};

async fn dial(secret: &ctxnode_store::NodeSecret, to: &Node, alpn: &[u8]) -> (Endpoint, iroh::endpoint::Connection) {
    let builder = Endpoint::builder(presets::Minimal).secret_key(SecretKey::from_bytes(&secret.seed()));
    let endpoint = builder.clear_ip_transports().bind_addr("127.0.0.1:0").unwrap().bind().await.unwrap();
    let id = iroh::EndpointId::from_bytes(&to.key().0).unwrap();
    let address = EndpointAddr::from_parts(id, to.fleet.addresses().into_iter().map(TransportAddr::Ip));
    let connection = endpoint.connect(address, alpn).await.unwrap();
    (endpoint, connection)
}

/// Sends bytes as a peer and returns why it was thrown out.
async fn thrown_out(connection: &iroh::endpoint::Connection, bytes: &[u8]) -> String {
    if let Ok((mut send, mut receive)) = connection.open_bi().await {
        // The other side may end it while we still speak.
        let _ = send.write_all(bytes).await;
        let _ = receive.read_to_end(1 << 20).await;
    }
    connection.closed().await.to_string()
}

#[test]
fn a_stranger_is_closed_before_anything_of_it_is_read() {
    block_on(async {
        let mac = founder();
        mac.fleet.listen().await.unwrap();
        let (_endpoint, connection) = dial(&secret(), &mac, b"ctxnode/exchange/1").await;
        let reason = thrown_out(&connection, b"hello").await;
        assert!(reason.contains("not a member"), "{reason}");
        assert!(mac.fleet.status().is_empty());
    });
}

#[test]
fn frames_that_are_none_end_the_connection_and_honest_traffic_goes_on() {
    block_on(async {
        let mac = founder();
        let honest = joined(&mac.invite(Role::Writer, None).await, "honest").await;
        let code = mac.invite(Role::Writer, None).await;
        let bad = secret();
        ctxnode_sync::join(&bad, &code, "bad", &crate::support::loopback()).await.unwrap();
        let zip_bomb = {
            let body = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
            let mut frame = u32::try_from(body.len() + 2).unwrap().to_be_bytes().to_vec();
            frame.extend_from_slice(&[3, 1]);
            frame.extend_from_slice(&body);
            frame
        };
        let huge = [u32::MAX.to_be_bytes().as_slice(), &[3, 0]].concat();
        let garbage = [12_u32.to_be_bytes().as_slice(), &[1, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]].concat();
        let unasked = ctxnode_sync_proto::frame::encode(&ctxnode_sync_proto::Message::Heads(Default::default()));
        for (what, bytes) in [("huge", huge), ("garbage", garbage), ("unasked", unasked), ("bomb", zip_bomb)] {
            let (_endpoint, connection) = dial(&bad, &mac, b"ctxnode/exchange/1").await;
            let reason = thrown_out(&connection, &bytes).await;
            assert!(reason.contains("frame") || reason.contains("before hello"), "{what}: {reason}");
        }
        let note = honest.note(None, "still here").await;
        until("honest traffic goes on", || mac.body(note).is_some()).await;
        equal(&[&mac, &honest]).await;
    });
}
