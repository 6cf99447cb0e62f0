//! subduction: two nodes that hold each document as a tree of signed commits, one commit for each Automerge change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use automerge::{ActorId, Automerge};
use future_form::Sendable;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use sedimentree_core::blob::Blob;
use sedimentree_core::depth::CountLeadingZeroBytes;
use sedimentree_core::id::SedimentreeId;
use sedimentree_core::loose_commit::id::CommitId;
use subduction_core::authenticated::Authenticated;
use subduction_core::handler::sync::SyncHandler;
use subduction_core::handshake::{self, MAX_PLAUSIBLE_DRIFT, audience::Audience};
use subduction_core::nonce_cache::NonceCache;
use subduction_core::peer::id::PeerId;
use subduction_core::policy::open::OpenPolicy;
use subduction_core::spawn::Spawn;
use subduction_core::storage::memory::MemoryStorage;
use subduction_core::subduction::{Subduction, builder::SubductionBuilder};
use subduction_core::timeout::{TimedOut, Timeout, call::CallTimeout};
use subduction_core::timestamp::TimestampSeconds;
use subduction_core::transport::message::MessageTransport;
use subduction_crypto::nonce::Nonce;
use subduction_crypto::signer::memory::MemorySigner;
use tokio::time::interval;

use crate::figures::{Figures, Meter};
use crate::frames::Frames;
use crate::{Case, note, wire};

type Conn = MessageTransport<Frames>;
type Handler = SyncHandler<Sendable, MemoryStorage, Conn, OpenPolicy, CountLeadingZeroBytes, Tokio>;
type Inner = Subduction<
    'static,
    Sendable,
    MemoryStorage,
    Conn,
    Handler,
    OpenPolicy,
    MemorySigner,
    Tokio,
    Tokio,
    CountLeadingZeroBytes,
>;

/// The runtime for what subduction spawns and limits in time.
#[derive(Clone, Copy, Debug)]
struct Tokio;

impl Spawn<Sendable> for Tokio {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        spawn(Abortable::new(future, registration));
        handle
    }
}

impl Timeout<Sendable> for Tokio {
    fn timeout<'a, T: 'a>(&'a self, limit: Duration, future: BoxFuture<'a, T>) -> BoxFuture<'a, Result<T, TimedOut>> {
        Box::pin(async move { tokio::time::timeout(limit, future).await.map_err(|_| TimedOut) })
    }
}

#[expect(clippy::disallowed_methods, reason = "the tasks of an engine live as long as the process that measures it")]
fn spawn<F: Future<Output: Send + 'static> + Send + 'static>(future: F) {
    drop(tokio::spawn(future));
}

/// One node.
struct Node {
    inner: Arc<Inner>,
    signer: MemorySigner,
}

impl Node {
    fn start(key: u8) -> Self {
        let signer = MemorySigner::from_bytes(&[key; 32]);
        let (inner, _, listener, manager) = SubductionBuilder::new()
            .signer(signer.clone())
            .storage(MemoryStorage::new(), Arc::new(OpenPolicy))
            .spawner(Tokio)
            .timer(Tokio)
            .build::<Sendable, Conn>();
        spawn(listener);
        spawn(manager);
        Self { inner, signer }
    }

    fn peer_id(&self) -> PeerId {
        PeerId::from(self.signer.verifying_key())
    }

    /// Stores the change that a document ends in, as a commit of its tree.
    async fn store(&self, number: usize, document: &Automerge) {
        let change = document.get_last_local_change().expect("the change that was just made");
        let parents: BTreeSet<CommitId> = change.deps().iter().map(|hash| CommitId::new(hash.0)).collect();
        let commit = (CommitId::new(change.hash().0), parents, Blob::new(change.raw_bytes().to_vec()));
        self.inner.store_commits_batch(tree(number), vec![commit]).await.expect("a stored commit");
    }

    async fn change(&self, number: usize) {
        let mut document = note::document(number);
        document.set_actor(ActorId::from(self.peer_id().as_bytes().as_slice()));
        note::change_document(&mut document, number);
        self.store(number, &document).await;
    }

    /// How many commits there are of a document.
    async fn commits(&self, number: usize) -> usize {
        self.inner.get_commits(tree(number)).await.map_or(0, |commits| commits.len())
    }

    /// Waits until all documents that were changed anywhere have two commits here.
    async fn has_all(&self, case: Case) {
        let mut tick = interval(Duration::from_millis(1));
        for number in case.by_a().chain(case.by_b()) {
            while self.commits(number).await < 2 {
                tick.tick().await;
            }
        }
    }
}

fn tree(number: usize) -> SedimentreeId {
    let mut id = [0; 32];
    let (one, other) = id.split_at_mut(16);
    one.copy_from_slice(&note::id(number));
    other.copy_from_slice(&note::id(!number));
    SedimentreeId::new(id)
}

/// Lets two nodes meet.
pub(crate) async fn meet(case: Case) -> Figures {
    let (a, b) = (Node::start(1), Node::start(2));
    for number in 0..case.documents {
        let document = note::document(number);
        a.store(number, &document).await;
        b.store(number, &document).await;
    }
    for number in case.by_a() {
        a.change(number).await;
    }
    for number in case.by_b() {
        b.change(number).await;
    }

    let (end_a, end_b, counters) = wire::pair();
    let meter = Meter::start();
    let equal = async {
        connect(&a, &b, Frames::new(end_a), Frames::new(end_b)).await;
        // Each tree is asked for once, by one side, and only for what is there now: the least that makes both equal.
        let (_, stats, unanswered, failed) =
            a.inner.full_sync_with_peer(&b.peer_id(), false, CallTimeout::Uncapped).await;
        assert!(unanswered.is_empty() && failed.is_empty(), "{} and {} failed", unanswered.len(), failed.len());
        assert_eq!((stats.commits_received, stats.commits_sent), (case.changed, case.changed));
        a.has_all(case).await;
        b.has_all(case).await;
    };
    meter.finish(equal, &counters).await
}

async fn connect(a: &Node, b: &Node, end_a: Frames, end_b: Frames) {
    let wrap = |frames: Frames, _: PeerId| (Conn::new(frames), ());
    let (nonces, now) = (NonceCache::default(), TimestampSeconds::now());
    let dialled = handshake::initiate::<Sendable, _, Conn, (), _>(
        end_a,
        wrap,
        &a.signer,
        Audience::known(b.peer_id()),
        now,
        Nonce::random(),
    );
    let accepted = handshake::respond::<Sendable, _, Conn, (), _>(
        end_b,
        wrap,
        &b.signer,
        &nonces,
        b.peer_id(),
        None,
        now,
        MAX_PLAUSIBLE_DRIFT,
    );
    let (dialled, accepted) = tokio::join!(dialled, accepted);
    let (dialled, accepted): (Authenticated<Conn, Sendable>, Authenticated<Conn, Sendable>) =
        (dialled.expect("a handshake").0, accepted.expect("a handshake").0);
    a.inner.add_connection(dialled).await.expect("a connection");
    b.inner.add_connection(accepted).await.expect("a connection");
}
