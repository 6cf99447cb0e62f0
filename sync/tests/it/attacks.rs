//! Peers that mean no good and try the same again and again, on the real wire, while honest nodes write: each attack costs
//! little memory, and nobody notices it. What entries that lie lead to in the replicas is in `hostile`.

use ctxnode_model::Space;
use ctxnode_model::frontier::{Heads, LogId};
use ctxnode_store::entry::Op;
use ctxnode_store::{ControlOp, NodeSecret, Role};
use ctxnode_sync_proto::{Entries, Message, frame, limits};

use crate::liar::{Liar, dial, endpoint, entries, forge, hello, log_of, thrown_out};
use crate::support::{Node, block_on, corrupted, equal, founder, joined, meanwhile, secret};

/// How much memory one attack may cost at any moment, in MiB, however often it is tried: what QUIC holds for a few connections,
/// and what honest nodes need. One bomb that goes off takes as much.
const MOST: u64 = 64;
/// How many histories one author makes of its log: fewer than the branches that a replica keeps, so that all keep the same.
const FORKS: usize = 48;

/// How often each attack is tried. `CTXNODE_TEST_ATTACKS` makes it more, for a run by hand.
fn times() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a long run by hand chooses its size")]
    let chosen = std::env::var("CTXNODE_TEST_ATTACKS").ok().and_then(|text| text.parse().ok());
    chosen.unwrap_or(8)
}

/// Three honest nodes, and a member whose key is in the wrong hands.
async fn fleet() -> [Node; 4] {
    let mac = founder();
    let one = joined(&mac.invite(Role::Writer, None).await, "one").await;
    let two = joined(&mac.invite(Role::Writer, None).await, "two").await;
    one.note(None, "of an honest node").await;
    equal(&[&mac, &one, &two]).await;
    let bad = corrupted(&mac, Role::Writer, "bad").await;
    [mac, one, two, bad]
}

/// Bytes in the form of a frame that says what one likes about itself.
fn claims(length: usize, kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [length.as_slice(), &[kind, flags], body].concat()
}

fn compressed(body: &[u8]) -> Vec<u8> {
    claims(body.len() + 2, 3, 1, body)
}

#[test]
fn bytes_that_are_no_frame_and_keys_of_no_member_leave_honest_traffic_alone() {
    block_on(async {
        let [mac, one, two, bad] = fleet().await;
        let lost = corrupted(&mac, Role::Writer, "lost").await;
        let node = lost.key();
        mac.control(move |cuts| ControlOp::Revoke { node, cuts }, node).await;
        let stranger = secret();
        let zeros = vec![0; limits::MAX_PAYLOAD * 8];
        let bomb = zstd::bulk::compress(&zeros, 1).unwrap();
        let hidden = zstd::stream::encode_all(zeros.as_slice(), 1).unwrap();
        // What begins like this is no message, as is seen at once.
        let large = zstd::bulk::compress(&vec![0xff; limits::MAX_PAYLOAD], 1).unwrap();
        let greeting = frame::encode(&Message::Hello(hello(&mac)));
        let after_hello = |bytes: &[u8]| [greeting.as_slice(), bytes].concat();
        let (bad, lost) = (&bad.secret, &lost.secret);
        let huge = claims(u32::MAX as usize, 3, 0, &[]);
        let half = claims(limits::MAX_FRAME - 4, 3, 0, &vec![7; 1 << 20]);
        // What it is, whose key is shown, what is sent, and what is said about it.
        let attacks: [(&str, &NodeSecret, Vec<u8>, &str); 11] = [
            ("a huge frame after hello", bad, after_hello(&huge), "a frame of"),
            ("a huge frame", bad, huge, "a frame of"),
            ("one byte too much", bad, after_hello(&claims(limits::MAX_FRAME - 3, 3, 0, &[])), "a frame of"),
            ("half a frame", bad, after_hello(&half), "ended"),
            ("garbage", bad, after_hello(&claims(12, 2, 0, &[9; 10])), "not a message"),
            ("no hello", bad, frame::encode(&Message::Heads(Heads::default())), "before hello"),
            ("a bomb", bad, after_hello(&compressed(&bomb)), "does not inflate"),
            ("a bomb that hides its size", bad, after_hello(&compressed(&hidden)), "does not inflate"),
            ("as much as may be", bad, after_hello(&compressed(&large)), "not a message"),
            ("an unknown key", &stranger, greeting.clone(), "not a member"),
            ("a revoked key", lost, greeting.clone(), "revoked"),
        ];
        for (what, key, bytes, answer) in attacks {
            let endpoint = endpoint(key).await;
            let attack = async {
                for _ in 0..times() {
                    let reason = thrown_out(&dial(&endpoint, &mac).await, &bytes).await;
                    assert!(reason.contains(answer), "{what}: {reason}");
                }
            };
            let ((), seen) = meanwhile(&one, &[&two, &mac], attack).await;
            seen.judge(what, MOST);
        }
        equal(&[&mac, &one, &two]).await;
    });
}

/// What a member says that lies, in entries of the right form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// An entry in another's name. It is thrown out for it, and comes again.
    ForgedAuthor,
    /// Everything that everybody has.
    Replay,
    /// Another entry for a place in its log.
    Fork,
    /// What its role does not allow any more.
    Role,
}

/// Those who lie: a writer, and a writer that an admin has made a reader, which its own replica does not know.
struct Liars {
    writer: Node,
    reader: Node,
    /// The last entry of an honest node.
    stolen: Entries,
}

impl Liars {
    /// Tells a lie to a node again and again.
    async fn tell(&self, lie: Lie, mac: &Node) {
        let by = if lie == Lie::Role { &self.reader } else { &self.writer };
        let endpoint = endpoint(&by.secret).await;
        let mut liar = Liar::greet_from(&endpoint, mac).await;
        let (own, head) = log_of(&by.store, by.key(), &Space::Fleet);
        let last = entries(&by.store, own, head.length, head.length).entries.remove(0);
        let run = |log: LogId, from: u64, entry: &[u8]| vec![Entries { log, from, entries: vec![entry.to_vec()] }];
        match lie {
            Lie::ForgedAuthor => {
                let mut forged = self.stolen.entries[0].clone();
                forged[150] ^= 1;
                for _ in 0..times() {
                    let refused = liar.push(run(self.stolen.log, self.stolen.from, &forged)).await;
                    assert!(refused.as_ref().is_err_and(|text| text.contains("bad entry")), "{refused:?}");
                    liar = Liar::greet_from(&endpoint, mac).await;
                }
            }
            Lie::Replay => {
                for _ in 0..times() {
                    let all = vec![entries(&by.store, own, 1, head.length), self.stolen.clone()];
                    liar.push(all).await.unwrap();
                }
                assert_eq!(log_of(&mac.store, by.key(), &Space::Fleet), (own, head), "nothing is taken twice");
            }
            Lie::Fork => {
                for number in 0..times().min(FORKS) {
                    let op = Op::Unknown { kind: 200, payload: number.to_be_bytes().to_vec() };
                    let fork = forge(&by.secret, &last, vec![op], head.length + 1);
                    liar.push(run(own, head.length + 1, fork.bytes())).await.unwrap();
                }
            }
            Lie::Role => {
                for at in 1..=times() as u64 {
                    by.note(None, "written by a reader").await;
                    let at = head.length + at;
                    liar.push(vec![entries(&by.store, own, at, at)]).await.unwrap();
                }
            }
        }
    }
}

#[test]
fn entries_that_lie_again_and_again_leave_honest_traffic_alone() {
    block_on(async {
        let [mac, one, two, writer] = fleet().await;
        let reader = corrupted(&mac, Role::Writer, "demoted").await;
        let node = reader.key();
        mac.control(move |cuts| ControlOp::SetRole { node, role: Role::Reader, cuts }, node).await;
        let (log, head) = log_of(&mac.store, one.key(), &Space::Fleet);
        let stolen = entries(&mac.store, log, head.length, head.length);
        let liars = Liars { writer, reader, stolen };
        // A log with several histories is looked at last.
        for lie in [Lie::ForgedAuthor, Lie::Replay, Lie::Role, Lie::Fork] {
            let ((), seen) = meanwhile(&one, &[&two, &mac], liars.tell(lie, &mac)).await;
            seen.judge(&format!("{lie:?}"), MOST);
        }
        equal(&[&mac, &one, &two]).await;
        for node in [&mac, &one, &two] {
            let snapshot = node.store.read().unwrap();
            let heads = snapshot.reader().heads().unwrap();
            let histories = heads.0.keys().filter(|log| log.author == liars.writer.key()).count();
            assert_eq!(histories, times().min(FORKS), "every history is kept once");
            let (held, count) = snapshot.reader().quarantine(10_000).unwrap();
            assert_eq!(count, times() as u64, "{held:?}");
            assert!(held.iter().all(|row| row.log.author == liars.reader.key()), "{held:?}");
        }
    });
}
