//! Two replicas that exchange on loopback, each with a store on disk and the fleet of the daemon, in one process: what an
//! exchange costs in bytes, time and processor. What whole daemons add is measured by `newcomer`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ctxnode_model::frontier::{Frontier, Run};
use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Space, Timestamp};
use ctxnode_store::{NodeSecret, Options, OsEntropy, Role, Store, StoreError};
use ctxnode_sync::{Beat, Fleet, Host, NetConfig, Offer, Traffic, create_invite, join, remember_inviter};
use ctxnode_sync_proto::frame;

use crate::fill::{texts, write_records};
use crate::stats::{Times, line, ratio, say};

struct Quiet;

impl Host for Quiet {
    fn beats(&self) -> Vec<Beat> {
        Vec::new()
    }

    fn addresses(&self, _: &NodeKey) -> Vec<SocketAddr> {
        Vec::new()
    }
}

struct Node {
    store: Store,
    secret: NodeSecret,
    fleet: Fleet,
}

fn start(store: &Store, secret: &NodeSecret) -> Fleet {
    let config = NetConfig { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..NetConfig::default() };
    Fleet::start(store.clone(), secret.clone(), config, "bench".to_owned(), Arc::new(Quiet)).expect("a fleet")
}

impl Node {
    fn digest(&self) -> [u8; 32] {
        self.store.read().and_then(|snapshot| Ok(snapshot.reader().heads()?.digest())).expect("heads")
    }

    fn frontier(&self) -> Frontier {
        self.store.read().and_then(|snapshot| snapshot.reader().frontier()).expect("a frontier")
    }

    fn traffic(&self) -> Traffic {
        self.fleet.status().first().map(|peer| peer.traffic).unwrap_or_default()
    }

    /// The entries that this replica has beyond a frontier, one after the other.
    fn beyond(&self, known: &Frontier) -> Vec<u8> {
        let snapshot = self.store.read().expect("a snapshot");
        let reader = snapshot.reader();
        let mut all = Vec::new();
        for (log, to) in self.frontier().0 {
            let from = known.0.get(&log).copied().unwrap_or(0) + 1;
            let entries = reader.entries(&Run { log, from, to }, usize::MAX).expect("entries");
            all.extend(entries.into_iter().flatten());
        }
        all
    }
}

/// Processor time of all threads so far.
fn processor() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

async fn until(good: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    while !good() {
        assert!(began.elapsed() < Duration::from_secs(900), "the replicas did not become equal");
        tick.tick().await;
    }
    began.elapsed()
}

pub(crate) fn run(corpus: Option<&Path>, records: usize, changed: usize, live: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk that is measured");
    let texts = texts(corpus);
    runtime.block_on(async {
        let (a, mut b) = pair(dir.path(), &texts, records).await;
        again(&a, &mut b, records).await;
        apart(&a, &mut b, &texts, records, changed).await;
        connected(&a, &b, live).await;
        a.fleet.stop().await;
        b.fleet.stop().await;
    });
}

/// A founder with records and a new member that takes them in.
async fn pair(dir: &Path, texts: &[String], records: usize) -> (Node, Node) {
    let secret = NodeSecret::generate(&OsEntropy);
    let options = |name: &str, secret: &NodeSecret| Options::file(dir.join(name), secret.clone());
    let store = Store::create(options("a.redb", &secret), "bench").expect("a store").store;
    let began = Instant::now();
    write_records(&store, 0..records, texts).await;
    let per_second = |time: Duration| records as f64 / time.as_secs_f64();
    say(&format!("{records} records written one to an entry, 64 at a time: {:.0}/s", per_second(began.elapsed())));
    let a = Node { fleet: start(&store, &secret), store, secret };

    let addresses = a.fleet.listen().await.expect("a port");
    let expires_at = Timestamp(a.store.clock().now().0 + 600_000);
    let offer = Offer { role: Role::Admin, ventures: Vec::new(), spaces: None, expires_at };
    let (_, code) = create_invite(&a.store, offer, addresses, None).await.expect("an invitation");
    let secret = NodeSecret::generate(&OsEntropy);
    let config = NetConfig { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..NetConfig::default() };
    let welcome = join(&secret, &code, "b", &config).await.expect("a welcome");
    let store = Store::create_member(options("b.redb", &secret), welcome.genesis.clone()).expect("a store");
    remember_inviter(&store, &welcome).expect("a noted inviter");
    let before = processor();
    let b = Node { fleet: start(&store, &secret), store, secret };
    let time = until(|| a.digest() == b.digest()).await;
    let used = processor().saturating_sub(before);
    say(&format!(
        "a new replica took them in: {:.0} records/s, {:.0} us of processor per record on both sides together",
        per_second(time),
        used.as_secs_f64() * 1e6 / records.max(1) as f64
    ));
    let moved = b.traffic();
    let entries = a.beyond(&Frontier::default());
    let packed = zstd::bulk::compress(&entries, frame::LEVEL).expect("compressed entries").len();
    say(&format!(
        "  {} bytes of frames for {} bytes of entries, {packed} compressed as one: {:.2}x",
        moved.received,
        entries.len(),
        moved.received as f64 / packed.max(1) as f64
    ));
    (a, b)
}

impl Node {
    async fn restart(&mut self) {
        self.fleet.stop().await;
        self.fleet = start(&self.store, &self.secret);
    }
}

/// Reconnecting when nothing has changed.
async fn again(a: &Node, b: &mut Node, records: usize) {
    let (mut connected, mut used) = (Times::default(), Times::default());
    let mut moved = Traffic::default();
    for _ in 0..10 {
        b.fleet.stop().await;
        until(|| a.fleet.status().first().is_some_and(|peer| peer.path.is_none())).await;
        let before = processor();
        b.fleet = start(&b.store, &b.secret);
        // Both have said hello: each knows what the other lacks, which is nothing.
        let settled = |node: &Node| node.traffic().received > 0 && node.traffic().sent > 0;
        connected.add(until(|| settled(a) && settled(b)).await);
        used.add(processor().saturating_sub(before));
        // What follows the hellos, if anything does, has been said by the first tick of both sides.
        until(|| {
            let lacks = |node: &Node| node.fleet.status().first().and_then(|peer| peer.lacks);
            lacks(a) == Some(ctxnode_sync_proto::Lacks::default())
                && lacks(b) == Some(ctxnode_sync_proto::Lacks::default())
        })
        .await;
        moved = b.traffic();
    }
    say(&format!("nothing changed, {records} records:"));
    line("  connected and told that nothing is missing", &connected);
    line("  processor for it, both sides", &used);
    say(&format!(
        "  frames {} bytes out, {} in (goal <= 1024 each); with handshake and probes {} and {} of UDP",
        moved.sent, moved.received, moved.udp_sent, moved.udp_received
    ));
}

/// Changes on both sides while they are apart: half of them new records, half edits of notes that both have.
async fn apart(a: &Node, b: &mut Node, texts: &[String], records: usize, changed: usize) {
    b.fleet.stop().await;
    until(|| a.fleet.status().first().is_some_and(|peer| peer.path.is_none())).await;
    let (known_a, known_b) = (a.frontier(), b.frontier());
    let notes =
        a.store.read().and_then(|snapshot| snapshot.reader().ids_in(ctxnode_model::index::Index::All, Kind::Note));
    let notes = notes.expect("the notes");
    for (node, side) in [(a, 0), (&*b, 1)] {
        let from = records + side * changed;
        write_records(&node.store, from..from + changed / 2, texts).await;
        let own: Vec<DocumentId> = notes.iter().skip(side).step_by(2).take(changed - changed / 2).copied().collect();
        for id in own {
            let edited = node.store.write(move |draft| {
                let now = draft.now();
                let text = format!("retitled at {}", now.0);
                draft.edit(id, &Space::Fleet, [Edit::set("title", text), Edit::set("updated_at", now)])
            });
            edited.await.map_err(ctxnode_store::WriteError::<StoreError>::flatten).expect("an edited note");
        }
    }
    let missing_a = b.beyond(&known_b);
    let missing_b = a.beyond(&known_a);
    let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, frame::LEVEL).expect("compressed entries").len();
    let (packed_a, packed_b) = (packed(&missing_a), packed(&missing_b));
    let before = processor();
    b.restart().await;
    let time = until(|| a.digest() == b.digest()).await;
    let used = processor().saturating_sub(before);
    let settled = |node: &Node| node.fleet.status().first().and_then(|peer| peer.lacks).unwrap_or_default();
    until(|| a.traffic().sent > 0 && settled(a) == ctxnode_sync_proto::Lacks::default()).await;
    let moved = b.traffic();
    say(&format!("{changed} changed on each side among {records}:"));
    say(&format!(
        "  equal after {time:.2?} (goal <= 1.5 s), {used:.2?} of processor on both sides; frames {} bytes in for {packed_b} compressed: \
         {:.2}x, {} out for {packed_a}: {:.2}x (goal <= 1.15x)",
        moved.received,
        moved.received as f64 / packed_b.max(1) as f64,
        moved.sent,
        moved.sent as f64 / packed_a.max(1) as f64
    ));
}

/// From the acknowledgement of a write on one to a read on the other.
async fn connected(a: &Node, b: &Node, live: usize) {
    let (mut there, mut write) = (Times::default(), Times::default());
    let mut journal = b.store.watch();
    for number in 0..live {
        let began = Instant::now();
        let done = a.store.write(move |draft| {
            let space = Space::Venture("alpha".to_owned());
            let id = draft.fresh_id(Kind::Note, &space)?;
            let now = draft.now();
            let text = format!("live note {number} with a sentence in it");
            let edits = [
                Edit::set("title", "live"),
                Edit::Body { field: "content", text, base: None },
                Edit::set("created_at", now),
                Edit::set("updated_at", now),
            ];
            draft.edit(id, &space, edits)?;
            Ok::<DocumentId, StoreError>(id)
        });
        let id = done.await.expect("a written note").value;
        write.add(began.elapsed());
        let began = Instant::now();
        while b.store.read().and_then(|snapshot| snapshot.reader().body(id)).expect("a read").is_none() {
            journal.changed().await.expect("an open store");
        }
        there.add(began.elapsed());
    }
    line("durable write on A, connected (reference)", &write);
    line("from its acknowledgement to readable on B", &there);
    say(&format!(
        "  p50 {:.1}x the write itself (goal: p50 <= 10 ms, p99 <= 50 ms)",
        ratio(there.percentile(50), write.percentile(50))
    ));
}
