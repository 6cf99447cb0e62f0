//! Members that take their time, on the real wire: they do not read, write a byte now and then, or never say hello. And honest
//! ones on slow lines, which are waited for.

use std::time::Duration;

use ctxnode_model::Space;
use ctxnode_model::frontier::Heads;
use ctxnode_store::{Location, Role};
use ctxnode_sync::Patience;
use ctxnode_sync_proto::{Hello, Message, frame};
use iroh::endpoint::{Connection, QuicTransportConfig, RecvStream, SendStream, VarInt, presets};
use iroh::{Endpoint, SecretKey};

use crate::liar::{Liar, dial, endpoint, entries, log_of};
use crate::support::{Node, block_on, corrupted, equal, founder_at, founder_with, joined, meanwhile, until};

/// How long the victim waits: long enough for honest nodes on a busy machine.
const IMPATIENT: Patience =
    Patience { hello: Duration::from_secs(2), frame: Duration::from_secs(1), ack: Duration::from_secs(4) };
/// Longer than any of these tests: where not the acknowledgement is what is waited for.
const LONG: Duration = Duration::from_secs(60);
/// How often a slow writer writes a byte, or a slow reader reads some.
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
        let patience = Patience { ack: LONG, ..IMPATIENT };
        let mac = founder_at(Location::File(folder.path().join("store.redb")), patience);
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

/// A member whose line lets little through: it says hello, that it lacks everything, and has room for so many bytes that it
/// has not read.
struct Lacking {
    receive: RecvStream,
    connection: Connection,
    _send: SendStream,
    _endpoint: Endpoint,
}

impl Lacking {
    async fn greet(bad: &Node, mac: &Node, room: u32) -> Self {
        let config = QuicTransportConfig::builder().stream_receive_window(VarInt::from_u32(room)).build();
        let builder = Endpoint::builder(presets::Minimal).secret_key(SecretKey::from_bytes(&bad.secret.seed()));
        let builder = builder.transport_config(config).clear_ip_transports().bind_addr("127.0.0.1:0").unwrap();
        let endpoint = builder.bind().await.unwrap();
        let connection = dial(&endpoint, mac).await;
        let (mut send, receive) = connection.open_bi().await.unwrap();
        let hello = Hello {
            oldest: 1,
            newest: 1,
            fleet: mac.store.fleet().0,
            software: "slow".to_owned(),
            digest: [9; 32],
            clock_ms: mac.store.clock().now().0,
        };
        for message in [Message::Hello(hello), Message::Heads(Heads::default())] {
            send.write_all(&frame::encode(&message)).await.unwrap();
        }
        Self { receive, connection, _send: send, _endpoint: endpoint }
    }

    /// Reads up to so many bytes now and then, until it has entries of some size or the stream ends; returns how many bytes of
    /// entries there were.
    async fn read(&mut self, at_once: usize, enough: usize) -> usize {
        let (mut bytes, mut found) = (Vec::new(), 0);
        let mut tick = tokio::time::interval(NOW_AND_THEN);
        let mut part = vec![0; at_once];
        while found < enough {
            tick.tick().await;
            let Ok(Some(count)) = self.receive.read(&mut part).await else { break };
            bytes.extend_from_slice(&part[..count]);
            while let Some(field) = bytes.first_chunk::<4>() {
                let length = frame::length(*field).unwrap();
                if bytes.len() < length + 4 {
                    break;
                }
                let rest = bytes.split_off(length + 4);
                if let Some(Message::Entries(runs)) = frame::decode(&bytes[4..]).unwrap() {
                    found += runs.iter().flat_map(|run| &run.entries).map(Vec::len).sum::<usize>();
                }
                bytes = rest;
            }
        }
        found
    }
}

/// What a slow line brings takes longer than the patience, and comes all the time.
#[test]
fn a_frame_that_keeps_coming_is_waited_for() {
    block_on(async {
        let patience = Patience { frame: Duration::from_secs(3), ack: LONG, ..IMPATIENT };
        let mac = founder_with(patience);
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        let note = bad.note(None, &noise(32 << 10, 7)).await;
        let (own, head) = log_of(&bad.store, bad.key(), &Space::Fleet);
        let batch = Message::Entries(vec![entries(&bad.store, own, head.length, head.length)]);
        let batch = frame::encode(&batch);
        let mut liar = Liar::greet(&bad.secret, &mac).await;
        let begun = tokio::time::Instant::now();
        let mut tick = tokio::time::interval(NOW_AND_THEN);
        for piece in batch.chunks(batch.len() / 140) {
            tick.tick().await;
            // A node that has lost its patience has stopped the stream.
            liar.send.write_all(piece).await.unwrap();
        }
        assert!(begun.elapsed() > patience.frame * 2, "{:?}", begun.elapsed());
        until("the frame was taken", || mac.body(note).is_some()).await;
        assert!(liar.connection.close_reason().is_none());
    });
}

/// What goes over a slow line takes longer than any patience, and is taken all the time.
#[test]
fn a_frame_that_is_taken_bit_by_bit_is_waited_for() {
    block_on(async {
        let patience = Patience { frame: Duration::from_millis(500), ack: LONG, ..IMPATIENT };
        let mac = founder_with(patience);
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        for number in 0..4 {
            mac.note(None, &noise(256 << 10, number + 1)).await;
        }
        let begun = tokio::time::Instant::now();
        let mut slow = Lacking::greet(&bad, &mac, 64 << 10).await;
        let found = slow.read(8 << 10, 640 << 10).await;
        assert!(found >= 640 << 10, "{found} bytes, then {:?}", slow.connection.close_reason());
        // A reader that takes nothing is let go after six times the patience.
        assert!(begun.elapsed() > patience.frame * 7, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_member_that_reads_a_few_bytes_now_and_then_is_let_go() {
    block_on(async {
        let mac = founder_with(Patience { frame: Duration::from_millis(500), ack: LONG, ..IMPATIENT });
        let bad = corrupted(&mac, Role::Writer, "bad").await;
        mac.note(None, &noise(64 << 10, 7)).await;
        let mut slow = Lacking::greet(&bad, &mac, 512).await;
        let connection = slow.connection.clone();
        let reason = tokio::select! {
            reason = ended(&connection) => reason,
            found = slow.read(16, usize::MAX) => {
                assert_eq!(found, 0, "no entries fit through");
                ended(&connection).await
            }
        };
        assert!(reason.contains("reads nothing any more"), "{reason}");
    });
}
