//! Small stores and the edits that tests make in them.

use std::sync::Arc;

use ctxnode_model::frontier::Run;
use ctxnode_model::record::{Handoff, Note};
use ctxnode_model::{DocumentId, Edit, Kind, Space, Timestamp};
use ctxnode_store::{
    Clock, Committed, ControlOp, Draft, Entropy, IngestReport, Location, ManualClock, NodeSecret, Options, Role,
    SeededEntropy, Store, StoreError, WriteError,
};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp(1_795_435_200_000);

pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) fn options(location: Location, seed: u64) -> (Options, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOON));
    let entropy = Arc::new(SeededEntropy::new(seed));
    let secret = NodeSecret::generate(&SeededEntropy::new(seed ^ 0x5eed));
    let options = Options {
        location,
        secret,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        entropy: entropy as Arc<dyn Entropy>,
        incarnation: None,
    };
    (options, clock)
}

/// The first node of a fleet, in memory.
pub(crate) fn founder(seed: u64) -> Node {
    let (options, clock) = options(Location::Memory, seed);
    Node { store: Store::create(options, "test").unwrap().store, clock }
}

/// Another node of the fleet, in memory, not yet granted anything.
pub(crate) fn member(of: &Node, seed: u64) -> Node {
    let (options, clock) = options(Location::Memory, seed);
    Node { store: Store::create_member(options, of.store.genesis().unwrap()).unwrap(), clock }
}

pub(crate) fn write<T: Send + 'static>(
    store: &Store,
    command: impl FnOnce(&mut Draft<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    let result: Result<Committed<T>, WriteError<StoreError>> = store.write_blocking(command);
    match result {
        Ok(committed) => committed.value,
        Err(error) => panic!("{error:?}"),
    }
}

pub(crate) fn note_edits(now: Timestamp, title: &str, content: &str, tags: &[&str]) -> Vec<Edit> {
    let mut edits = vec![
        Edit::set("title", title),
        Edit::Body { field: "content", text: content.to_owned(), base: None },
        Edit::set("created_at", now),
        Edit::set("updated_at", now),
        Edit::set("venture", "alpha"),
    ];
    edits.extend(tags.iter().map(|tag| Edit::member("tags", *tag)));
    edits
}

pub(crate) fn alpha() -> Space {
    Space::Venture("alpha".to_owned())
}

pub(crate) fn add_note(store: &Store, title: &str, content: &str, tags: &[&str]) -> DocumentId {
    let (title, content) = (title.to_owned(), content.to_owned());
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    write(store, move |draft| {
        let id = draft.fresh_id(Kind::Note, &alpha())?;
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let edits = note_edits(draft.now(), &title, &content, &tags);
        draft.edit(id, &alpha(), edits)?;
        Ok(id)
    })
}

pub(crate) fn set_body(store: &Store, id: DocumentId, text: &str, base: Option<String>) {
    let text = text.to_owned();
    write(store, move |draft| {
        let now = draft.now();
        draft.edit(id, &alpha(), [Edit::Body { field: "content", text, base }, Edit::set("updated_at", now)])
    });
}

pub(crate) fn note(store: &Store, id: DocumentId) -> ctxnode_model::Rec<Note> {
    store.read().unwrap().reader().get::<Note>(id).unwrap().expect("the note is there")
}

pub(crate) fn body(store: &Store, id: DocumentId) -> String {
    store.read().unwrap().reader().body(id).unwrap().unwrap_or_default()
}

pub(crate) fn add_handoff(store: &Store, thread: &str, drafted: bool) -> DocumentId {
    let thread = thread.to_owned();
    write(store, move |draft| {
        let id = draft.fresh_id(Kind::Handoff, &alpha())?;
        let now = draft.now();
        let edits = [
            Edit::set("venture", "alpha"),
            Edit::set("repo", "org/repo"),
            Edit::set("thread", thread),
            Edit::set("session_id", "sess_01HQXV3NK8J5Z7Y2M4T6W8R0AB"),
            Edit::set("drafted", drafted),
            Edit::set("payload", "{}"),
            Edit::set("created_at", now),
        ];
        draft.edit(id, &alpha(), edits)?;
        Ok(id)
    })
}

pub(crate) fn open_handoffs(store: &Store) -> Vec<DocumentId> {
    let snapshot = store.read().unwrap();
    let found = snapshot
        .reader()
        .newest::<Handoff>(ctxnode_model::index::Index::HandoffOpen, Kind::Handoff, &["alpha"], 100)
        .unwrap();
    found.into_iter().map(|handoff| handoff.id).collect()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

pub(crate) fn ingest(store: &Store, batch: Vec<Vec<u8>>) -> IngestReport {
    runtime().block_on(store.ingest(batch)).unwrap()
}

/// Every entry of a store, log by log.
pub(crate) fn all_entries(store: &Store) -> Vec<Vec<u8>> {
    let snapshot = store.read().unwrap();
    let frontier = snapshot.reader().frontier().unwrap();
    let runs = frontier.0.iter().map(|(log, length)| Run { log: *log, from: 1, to: *length });
    runs.flat_map(|run| snapshot.reader().entries(&run, usize::MAX).unwrap()).collect()
}

pub(crate) fn sync(a: &Store, b: &Store) {
    ingest(b, all_entries(a));
    ingest(a, all_entries(b));
}

pub(crate) fn grant(admin: &Node, node: &Node, role: Role) {
    let key = node.store.node();
    write(&admin.store, move |draft| {
        draft.control(&ControlOp::Grant { node: key, role, spaces: None, name: "second".to_owned() })
    });
    sync(&admin.store, &node.store);
}
