//! Nodes of a fleet, and waiting until they agree.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Space, Timestamp};
use ctxnode_store::{
    Clock, ControlOp, Location, ManualClock, NodeSecret, Options, OsEntropy, Role, Store, StoreError, SystemClock,
};
use ctxnode_sync::{Beat, Code, Fleet, Host, NetConfig, Offer, Patience, Reach, create_invite, join, remember_inviter};

/// The view of a record and its text, as they are stored.
type View = (Option<Vec<u8>>, Option<Vec<u8>>);

/// How long something that follows by itself may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What a node's daemon knows: the sessions that are alive, and where others may be.
#[derive(Clone)]
struct Daemon {
    sessions: Arc<Mutex<Vec<String>>>,
    places: Arc<Mutex<Vec<(NodeKey, SocketAddr)>>>,
}

impl Host for Daemon {
    fn beats(&self) -> Vec<Beat> {
        let beat = |session: &String| Beat { session: session.clone(), age_ms: 1_000 };
        self.sessions.lock().unwrap().iter().map(beat).collect()
    }

    fn addresses(&self, node: &NodeKey) -> Vec<SocketAddr> {
        let places = self.places.lock().unwrap();
        places.iter().filter(|(of, _)| of == node).map(|(_, place)| *place).collect()
    }
}

pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) secret: NodeSecret,
    pub(crate) fleet: Fleet,
    daemon: Daemon,
}

/// One end of this machine that the other does not reach, unless a third does both. `None` where there is no IPv6.
#[expect(clippy::print_stdout, reason = "a test that was skipped should say so")]
pub(crate) fn two_sides() -> Option<(IpAddr, IpAddr)> {
    let sides = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let there_is = UdpSocket::bind((sides.1, 0)).is_ok();
    if !there_is {
        println!("skipped: this machine has no IPv6");
    }
    there_is.then_some(sides)
}

pub(crate) fn loopback() -> NetConfig {
    NetConfig { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..NetConfig::default() }
}

pub(crate) fn options(secret: &NodeSecret) -> Options {
    Options {
        location: Location::Memory,
        secret: secret.clone(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        incarnation: None,
    }
}

pub(crate) fn secret() -> NodeSecret {
    NodeSecret::generate(&OsEntropy)
}

pub(crate) fn run(store: Store, secret: NodeSecret) -> Node {
    run_with(store, secret, loopback())
}

pub(crate) fn run_with(store: Store, secret: NodeSecret, config: NetConfig) -> Node {
    let daemon = Daemon { sessions: Arc::new(Mutex::new(vec!["sess_1".to_owned()])), places: Arc::default() };
    let host = Arc::new(daemon.clone());
    let fleet = Fleet::start(store.clone(), secret.clone(), config, "test".to_owned(), host).unwrap();
    Node { store, secret, fleet, daemon }
}

pub(crate) fn founder() -> Node {
    founder_with(Patience::default())
}

/// A founder that waits for others as long as it is told to.
pub(crate) fn founder_with(patience: Patience) -> Node {
    founder_at(Location::Memory, patience)
}

/// A founder whose clock the test sets.
pub(crate) fn founder_by(clock: &Arc<ManualClock>) -> Node {
    founder_in(Arc::clone(clock) as _, loopback())
}

/// The same somewhere in the network.
pub(crate) fn founder_in(clock: Arc<dyn Clock>, config: NetConfig) -> Node {
    let secret = secret();
    let store = Store::create(Options { clock, ..options(&secret) }, "test").unwrap().store;
    run_with(store, secret, config)
}

/// The same with its store somewhere.
pub(crate) fn founder_at(location: Location, patience: Patience) -> Node {
    let secret = secret();
    let store = Store::create(Options { location, ..options(&secret) }, "test").unwrap().store;
    run_with(store, secret, NetConfig { patience, ..loopback() })
}

impl Node {
    pub(crate) fn key(&self) -> NodeKey {
        self.store.node()
    }

    pub(crate) async fn invite(&self, role: Role, ventures: Option<&[&str]>) -> Code {
        let addresses = self.fleet.listen().await.unwrap();
        let spaces = |codes: &[&str]| -> BTreeSet<_> {
            codes.iter().map(|code| Space::Venture((*code).to_owned()).id(&self.store.fleet())).collect()
        };
        let expires_at = Timestamp(self.store.clock().now().0 + 60_000);
        let offer = Offer { role, ventures: Vec::new(), spaces: ventures.map(spaces), expires_at };
        create_invite(&self.store, offer, addresses, self.fleet.relay().await).await.unwrap().1
    }

    /// Says that one session is alive here, and no other.
    pub(crate) fn runs(&self, session: &str) {
        *self.daemon.sessions.lock().unwrap() = vec![session.to_owned()];
        self.fleet.sessions_changed();
    }

    /// Looks for another node at an address as well, and at once.
    pub(crate) async fn look_for(&self, node: NodeKey, at: SocketAddr) {
        self.daemon.places.lock().unwrap().push((node, at));
        self.fleet.wake().await;
    }

    /// Waits until it is known here that a session is alive on another node.
    pub(crate) async fn hears(&self, session: &str, of: NodeKey) {
        let is_alive =
            |reach: Reach| matches!(reach, Reach::Reachable(beats) if beats.iter().any(|b| b.session == session));
        until(&format!("{session} is heard of"), || is_alive(self.fleet.reach(&of))).await;
    }

    pub(crate) async fn control(
        &self,
        make: impl FnOnce(Vec<ctxnode_store::Cut>) -> ControlOp + Send + 'static,
        about: NodeKey,
    ) {
        let done = self.store.write(move |draft| {
            let cuts = draft.cuts_of(about)?;
            draft.control(&make(cuts))
        });
        done.await.unwrap();
    }

    pub(crate) async fn note(&self, venture: Option<&str>, text: &str) -> DocumentId {
        let (venture, text) = (venture.map(str::to_owned), text.to_owned());
        let done = self.store.write(move |draft| {
            let space = Space::of(venture.as_deref());
            let id = draft.fresh_id(Kind::Note, &space)?;
            let now = draft.now();
            let edits = [
                Edit::set("title", text.as_str()),
                Edit::Body { field: "content", text: text.clone(), base: None },
                Edit::set("created_at", now),
                Edit::set("updated_at", now),
            ];
            draft.edit(id, &space, edits)?;
            Ok::<DocumentId, StoreError>(id)
        });
        done.await.unwrap().value
    }

    /// Writes another text into a note, as somebody who had read the present one.
    pub(crate) async fn rewrite(&self, id: DocumentId, text: &str) {
        let text = text.to_owned();
        let done = self.store.write(move |draft| {
            let now = draft.now();
            draft.edit(
                id,
                &Space::Fleet,
                [Edit::Body { field: "content", text, base: None }, Edit::set("updated_at", now)],
            )
        });
        done.await.unwrap();
    }

    /// Every record with its view and text, as this node has them.
    pub(crate) fn views(&self) -> Vec<(DocumentId, View)> {
        let snapshot = self.store.read().unwrap();
        let reader = snapshot.reader();
        let journal = reader.journal_after(0, usize::MAX).unwrap();
        let ids: BTreeSet<DocumentId> = journal.into_iter().flat_map(|(_, row)| row.documents).collect();
        ids.into_iter().map(|id| (id, reader.view_bytes(id).unwrap())).collect()
    }

    pub(crate) fn body(&self, id: DocumentId) -> Option<String> {
        self.store.read().unwrap().reader().body(id).unwrap()
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.store.read().unwrap().reader().heads().unwrap().digest()
    }
}

/// Joins with a code and starts the new node.
pub(crate) async fn joined(code: &Code, name: &str) -> Node {
    joined_by(code, name, Arc::new(SystemClock)).await
}

/// The same with a clock.
pub(crate) async fn joined_by(code: &Code, name: &str, clock: Arc<dyn Clock>) -> Node {
    joined_in(code, name, clock, loopback()).await
}

/// The same somewhere in the network.
pub(crate) async fn joined_in(code: &Code, name: &str, clock: Arc<dyn Clock>, config: NetConfig) -> Node {
    let secret = secret();
    let welcome = join(&secret, code, name, &config).await.unwrap();
    let store = Store::create_member(Options { clock, ..options(&secret) }, welcome.genesis.clone()).unwrap();
    remember_inviter(&store, &welcome).unwrap();
    let node = run_with(store, secret, config);
    // It may write once its grant has arrived, which its first exchange brings.
    until("it knows its role", || node.store.authority().role(&node.key()).is_some()).await;
    node
}

/// A member with a role, whose own node has gone away, and the key of which now belongs to a liar.
pub(crate) async fn corrupted(mac: &Node, role: Role, name: &str) -> Node {
    let node = joined(&mac.invite(role, None).await, name).await;
    node.note(None, &format!("{name} was honest once")).await;
    equal(&[mac, &node]).await;
    node.fleet.stop().await;
    node
}

/// How many bytes of memory this process has in use.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
}

/// How honest nodes fared while something else went on.
pub(crate) struct Meanwhile {
    /// How long each note of one took to reach the others, from the quickest to the slowest.
    pub(crate) took: Vec<Duration>,
    /// The most memory that was in use, and how much was in use before.
    pub(crate) peak: u64,
    before: u64,
}

impl Meanwhile {
    /// Returns the time within which so many of a hundred notes arrived.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.took[(self.took.len() * percent / 100).min(self.took.len() - 1)]
    }

    /// Fails when honest nodes noticed, or memory grew by more than so many MiB.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "the figures are what a run by hand is for")]
    pub(crate) fn judge(&self, what: &str, most: u64) {
        let grown = self.peak.saturating_sub(self.before) >> 20;
        println!(
            "{what}: {} MiB before, {} MiB at most; {} honest notes, p50 {:?}, p99 {:?}, slowest {:?}",
            self.before >> 20,
            self.peak >> 20,
            self.took.len(),
            self.percentile(50),
            self.percentile(99),
            self.percentile(100)
        );
        assert!(grown < most, "{what}: {grown} MiB more");
        // Two cores do everything here, the attack included.
        assert!(self.percentile(100) < Duration::from_secs(5), "{what}: {:?}", self.percentile(100));
    }
}

/// Writes notes at one node until some work is done, and waits for each at the others.
pub(crate) async fn meanwhile<T>(from: &Node, to: &[&Node], work: impl Future<Output = T>) -> (T, Meanwhile) {
    let before = resident();
    let mut seen = Meanwhile { took: Vec::new(), peak: before, before };
    let mut work = std::pin::pin!(work);
    let done = loop {
        let honest = async {
            let (note, sent) = (from.note(None, "meanwhile").await, Instant::now());
            until("honest traffic goes on", || to.iter().all(|node| node.body(note).is_some())).await;
            sent.elapsed()
        };
        // The work goes on while a note travels, and a note that was begun is waited for.
        let mut honest = std::pin::pin!(honest);
        let done = tokio::select! {
            took = &mut honest => {
                seen.took.push(took);
                None
            }
            done = &mut work => Some(done),
        };
        seen.peak = seen.peak.max(resident());
        if let Some(done) = done {
            seen.took.push(honest.await);
            break done;
        }
    };
    seen.took.sort_unstable();
    (done, seen)
}

/// Waits until `good`.
pub(crate) async fn until(what: &str, good: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while !good() {
        assert!(Instant::now() < deadline, "{what} did not come true in {SOON:?}");
        tick.tick().await;
    }
}

/// Waits until all nodes know the same entries.
pub(crate) async fn equal(nodes: &[&Node]) {
    until("all nodes know the same entries", || nodes.windows(2).all(|pair| pair[0].digest() == pair[1].digest()))
        .await;
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}
