//! Members that take their time, on the real wire: they do not read, write a byte now and then, or never say hello.

use std::time::Duration;

use ctxnode_model::frontier::Heads;
use ctxnode_store::{Location, Role};
use ctxnode_sync::Patience;
use ctxnode_sync_proto::Message;
use iroh::endpoint::{Connection, SendStream};

use crate::liar::{Liar, dial, endpoint};
use crate::support::{Node, block_on, corrupted, equal, founder_at, founder_with, joined, meanwhile};

/// How long the victim waits: long enough for honest nodes on a busy machine.
const IMPATIENT: Patience =
    Patience { hello: Duration::from_secs(2), frame: Duration::from_secs(1), ack: Duration::from_secs(4) };
/// How often a slow writer writes a byte.
const NOW_AND_THEN: Duration = Duration::from_millis(50);
/// How much memory a slow peer may cost, in MiB: a window of batches, what QUIC holds for it, and what honest nodes need.
const MOST: u64 = 64;

/// An impatient node, two honest ones, and a member that will be slow.
async fn fleet() -> [Node; 4] {
    let mac = founder_with(IMPATIENT);
    let one = joined(&mac.invite(Role::Writer, None).await, "one").await;
    let two = joined(&mac.invite(Role::Writer, None).await, "two").await;
    let bad = corrupted(&mac, Role::Writer, "bad").await;
    equal(&[&mac, &one, &two]).await;
    [mac, one, two, bad]
}

/// Letters that do not compress well.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state >> 33) as u8 % 90)
    };
    (0..bytes).map(|_| letter()).collect()
}

async fn ended(connection: &Connection) -> String {
    let end = tokio::time::timeout(Duration::from_secs(30), connection.closed()).await;
    end.expect("it is thrown out in time").to_string()
}

/// Writes a byte now and then, and nothing more in the end; returns why it was thrown out.
async fn dribble(connection: &Connection, send: &mut SendStream, bytes: &[u8]) -> String {
    let write = async {
        let mut tick = tokio::time::interval(NOW_AND_THEN);
        for byte in bytes {
            tick.tick().await;
            if send.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        reason = ended(connection) => reason,
        () = write => unreachable!("it never ends"),
    }
}

#[test]
fn a_member_that_does_not_read_is_let_go_and_costs_a_window() {
    block_on(async {
        // Stores in memory would hide what is looked for.
        let folder = tempfile::tempdir().unwrap();
        let mac = founder_at(Location::File(folder.path().join("store.redb")), IMPATIENT);
        let one = joined(&mac.invite(Role::Writer, Some(&["beta"])).await, "one").await;
        let two = joined(&mac.invite(Role::Writer, Some(&["beta"])).await, "two").await;
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        #[expect(clippy::disallowed_methods, reason = "a run by hand shows that more costs no more")]
        let chosen = std::env::var("CTXNODE_TEST_NOTES").ok().and_then(|text| text.parse().ok());
        for number in 0..chosen.unwrap_or(160) {
            mac.note(Some("alpha"), &noise(256 << 10, number + 1)).await;
        }
        let attack = async {
            let mut liar = Liar::greet(&bad.secret, &mac).await;
            // It lacks everything, and goes on talking, so that the connection lives.
            liar.say(&Message::Heads(Heads::default())).await;
            let connection = liar.connection.clone();
            let talk = async {
                let mut tick = tokio::time::interval(NOW_AND_THEN);
                loop {
                    tick.tick().await;
                    liar.say(&Message::Presence(vec![0; 100])).await;
                }
            };
            tokio::select! {
                reason = ended(&connection) => reason,
                () = talk => unreachable!("it talks for ever"),
            }
        };
        let (reason, seen) = meanwhile(&one, &[&two, &mac], attack).await;
        assert!(reason.contains("reads nothing any more"), "{reason}");
        // What the database keeps of pages that were read is among it.
        seen.judge("40 MiB for a member that does not read", MOST * 4);
        equal(&[&one, &two]).await;
    });
}

#[test]
fn a_member_that_acknowledges_nothing_is_let_go() {
    block_on(async {
        let [mac, one, two, bad] = fleet().await;
        let attack = async {
            let mut liar = Liar::greet(&bad.secret, &mac).await;
            liar.say(&Message::Heads(Heads::default())).await;
            liar.until_thrown_out(Duration::from_secs(30)).await
        };
        let (reason, seen) = meanwhile(&one, &[&two, &mac], attack).await;
        assert!(reason.contains("not acknowledged"), "{reason}");
        seen.judge("a member that acknowledges nothing", MOST);
    });
}

#[test]
fn a_member_that_writes_a_byte_now_and_then_is_let_go() {
    block_on(async {
        let [mac, one, two, bad] = fleet().await;
        let mut entries = (1_u32 << 20).to_be_bytes().to_vec();
        entries.resize(1 << 10, 3);
        let attack = async {
            // A long frame after hello, the length of a frame alone, and instead of hello.
            let mut liar = Liar::greet(&bad.secret, &mac).await;
            let mut reasons = vec![dribble(&liar.connection, &mut liar.send, &entries).await];
            let mut liar = Liar::greet(&bad.secret, &mac).await;
            reasons.push(dribble(&liar.connection, &mut liar.send, &entries[..3]).await);
            let endpoint = endpoint(&bad.secret).await;
            let connection = dial(&endpoint, &mac).await;
            let (mut send, _receive) = connection.open_bi().await.unwrap();
            reasons.push(dribble(&connection, &mut send, &entries).await);
            reasons
        };
        let before = mac.store.read().unwrap().reader().heads().unwrap();
        let (reasons, seen) = meanwhile(&one, &[&two, &mac], attack).await;
        for reason in reasons {
            assert!(reason.contains("too long over one frame") || reason.contains("no hello"), "{reason}");
        }
        seen.judge("a byte now and then", MOST);
        let after = mac.store.read().unwrap().reader().heads().unwrap();
        let of_bad = |heads: &Heads| heads.0.iter().filter(|(log, _)| log.author == bad.key()).count();
        assert_eq!(of_bad(&before), of_bad(&after), "nothing of it was taken");
    });
}

#[test]
fn a_member_that_never_says_hello_is_let_go() {
    block_on(async {
        let [mac, one, two, bad] = fleet().await;
        let attack = async {
            let mut reasons = Vec::new();
            // No stream at all; a stream with a frame of a kind that nobody knows.
            for first in [None, Some([0, 0, 0, 3, 77, 0, 1])] {
                let endpoint = endpoint(&bad.secret).await;
                let connection = dial(&endpoint, &mac).await;
                let mut streams = None;
                if let Some(first) = first {
                    let (mut send, receive) = connection.open_bi().await.unwrap();
                    send.write_all(&first).await.unwrap();
                    streams = Some((send, receive));
                }
                reasons.push(ended(&connection).await);
                drop(streams);
            }
            reasons
        };
        let (reasons, seen) = meanwhile(&one, &[&two, &mac], attack).await;
        assert!(reasons[0].contains("no stream was opened"), "{reasons:?}");
        assert!(reasons[1].contains("no hello"), "{reasons:?}");
        seen.judge("no hello", MOST);
    });
}
