//! samod: two repos that each have every document open, as it needs to sync one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use automerge::ChangeHash;
use futures::future::BoxFuture;
use samod::storage::{Storage, StorageKey};
use samod::{BackoffConfig, ConnectionId, DialError, Dialer, DocHandle, DocumentId, PeerId, Repo, Transport, Url};

use tokio::time::{Duration, interval};

use crate::figures::{Figures, Meter};
use crate::wire::End;
use crate::{Case, note, wire};

/// Lets two repos meet.
pub(crate) async fn meet(case: Case) -> Figures {
    let (a, at_a) = open("a", case).await;
    let (b, at_b) = open("b", case).await;
    for number in case.by_a() {
        at_a[number].with_document(|document| note::change_document(document, number));
    }
    for number in case.by_b() {
        at_b[number].with_document(|document| note::change_document(document, number));
    }
    assert_eq!(differ(&at_a, &at_b), 2 * case.changed, "what was changed apart differs");

    let (end_a, end_b, counters) = wire::pair();
    let meter = Meter::start();
    let acceptor = b.make_acceptor(url()).expect("a repo that runs");
    acceptor.accept(Transport::from_tokio_io(end_b)).expect("a repo that runs");
    let dialer = a.dial(BackoffConfig::default(), Arc::new(OneEnd(Mutex::new(Some(end_a))))).expect("a repo that runs");
    let equal = async {
        dialer.established().await.expect("a connection");
        let to_b = dialer.connection_id().expect("a connection");
        let to_a = b.when_connected(a.peer_id()).await.expect("a connection").id();
        are_equal((&at_a, to_b), (&at_b, to_a)).await;
    };
    let figures = meter.finish(equal, &counters).await;
    assert_eq!(differ(&at_a, &at_b), 0, "they have met");
    figures
}

/// Waits until each document is the same on both sides and both have heard of the other's. That a side knows of the
/// equality is not waited for: the last word on it was not always heard.
async fn are_equal(a: (&[DocHandle], ConnectionId), b: (&[DocHandle], ConnectionId)) {
    let mut tick = interval(Duration::from_millis(1));
    for (at_a, at_b) in a.0.iter().zip(b.0) {
        while !(has_heard(at_a, a.1) && has_heard(at_b, b.1) && heads(at_a) == heads(at_b)) {
            tick.tick().await;
        }
    }
}

/// Whether the peer has said how its document is.
fn has_heard(handle: &DocHandle, peer: ConnectionId) -> bool {
    handle.peers().0.get(&peer).is_some_and(|state| state.their_heads.is_some())
}

fn heads(handle: &DocHandle) -> Vec<ChangeHash> {
    handle.with_document(|document| document.get_heads())
}

/// How many documents are not the same on both sides.
fn differ(a: &[DocHandle], b: &[DocHandle]) -> usize {
    a.iter().zip(b).filter(|(a, b)| heads(a) != heads(b)).count()
}

/// Makes a repo over stored documents and opens them all.
async fn open(name: &str, case: Case) -> (Repo, Vec<DocHandle>) {
    let memory = Memory::default();
    let ids: Vec<DocumentId> = (0..case.documents).map(|number| store(&memory, number)).collect();
    let repo = Repo::build_tokio().with_storage(memory).with_peer_id(PeerId::from(name)).load().await;
    let mut handles = Vec::new();
    for id in ids {
        handles.push(repo.find(id).await.expect("a repo that runs").expect("a document that is stored"));
    }
    (repo, handles)
}

/// Stores a document as samod does: its change under its hash.
fn store(memory: &Memory, number: usize) -> DocumentId {
    let id = DocumentId::try_from(note::id(number).to_vec()).expect("16 bytes are an id");
    let change = note::document(number).get_last_local_change().expect("the change that made it");
    let key = StorageKey::from_parts([id.to_string(), "incremental".to_owned(), change.hash().to_string()]);
    memory.put_now(key.expect("parts without slashes"), change.raw_bytes().to_vec());
    id
}

fn url() -> Url {
    Url::parse("compare://b").expect("a URL")
}

/// Dials once, with an end that is there already.
struct OneEnd(Mutex<Option<End>>);

impl Dialer for OneEnd {
    type Error = Infallible;

    fn url(&self) -> Url {
        url()
    }

    fn connect(&self) -> BoxFuture<'static, Result<Transport, DialError<Infallible>>> {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let transport = end.map(Transport::from_tokio_io);
        let transport = transport.ok_or_else(|| DialError::transient(io::Error::from(io::ErrorKind::NotConnected)));
        Box::pin(std::future::ready(transport))
    }
}

type Values = HashMap<StorageKey, Vec<u8>>;

/// Values in memory by document. samod's own storage in memory looks at every value to load a document, which makes
/// opening many of them take quadratic time.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<HashMap<String, Values>>>);

impl Memory {
    /// Does something with the values of the document that a key begins with.
    fn with<T>(&self, key: &StorageKey, change: impl FnOnce(&mut Values) -> T) -> T {
        let document = key.into_iter().next().cloned().unwrap_or_default();
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(document).or_default())
    }

    fn put_now(&self, key: StorageKey, data: Vec<u8>) {
        self.with(&key.clone(), |values| values.insert(key, data));
    }
}

impl Storage for Memory {
    async fn load(&self, key: StorageKey) -> Option<Vec<u8>> {
        self.with(&key, |values| values.get(&key).cloned())
    }

    async fn load_range(&self, prefix: StorageKey) -> Values {
        self.with(&prefix, |values| {
            let found = values.iter().filter(|(key, _)| prefix.is_prefix_of(key));
            found.map(|(key, data)| (key.clone(), data.clone())).collect()
        })
    }

    async fn put(&self, key: StorageKey, data: Vec<u8>) {
        self.put_now(key, data);
    }

    async fn delete(&self, key: StorageKey) {
        self.with(&key, |values| values.remove(&key));
    }
}
