//! Our engine: two stores of a fleet and the exchange between them.

use std::path::Path;
use std::sync::Arc;

use ctxnode_model::frontier::Run;
use ctxnode_model::{DocumentId, Edit, Kind, Space, Timestamp};
use ctxnode_store::{
    ControlOp, Draft, Location, NodeSecret, Options, OsEntropy, Role, Store, StoreError, SystemClock, WriteError,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::figures::{Figures, Meter};
use crate::{Case, exchange, note, wire};

/// How many callers write at a time, as in a busy daemon.
const CALLERS: usize = 64;
/// How many entries are taken in at once, as in the exchange.
const BATCH: usize = 500;

/// Where the stores are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In memory, like those of the other engines here.
    Memory,
    /// In files, with an fsync for each batch, like those of the daemon.
    Disk,
}

fn options(place: Place, dir: &Path, name: &str) -> Options {
    let location = match place {
        Place::Memory => Location::Memory,
        Place::Disk => Location::File(dir.join(name)),
    };
    Options {
        location,
        secret: NodeSecret::generate(&OsEntropy),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        incarnation: None,
    }
}

/// Lets two replicas meet.
pub(crate) async fn meet(case: Case, place: Place) -> Figures {
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk that is measured");
    let (a, b, notes) = equal_replicas(case, place, dir.path()).await;
    change(&a, &notes, case.by_a()).await;
    change(&b, &notes, case.by_b()).await;
    let is_equal = || exchange::heads(&a) == exchange::heads(&b);
    assert_eq!(is_equal(), case.changed == 0, "what was changed apart differs");

    let (end_a, end_b, counters) = wire::pair();
    let meter = Meter::start();
    let (equal_a, mut at_a) = watch::channel(false);
    let (equal_b, mut at_b) = watch::channel(false);
    let mut sides = JoinSet::new();
    sides.spawn(exchange::run(a.clone(), b.node(), end_a, equal_a));
    sides.spawn(exchange::run(b.clone(), a.node(), end_b, equal_b));
    let equal = async {
        at_a.wait_for(|equal| *equal).await.expect("an exchange that goes on");
        at_b.wait_for(|equal| *equal).await.expect("an exchange that goes on");
    };
    let figures = meter.finish(equal, &counters).await;
    assert!(is_equal(), "both said that they are equal");
    sides.shutdown().await;
    figures
}

/// A founder with notes and a member that has taken them in.
async fn equal_replicas(case: Case, place: Place, dir: &Path) -> (Store, Store, Vec<DocumentId>) {
    let a = Store::create(options(place, dir, "a.redb"), "compare").expect("a store").store;
    let genesis = a.genesis().expect("the genesis of a store");
    let b = Store::create_member(options(place, dir, "b.redb"), genesis).expect("a store");
    let node = b.node();
    write(&a, move |draft| {
        draft.control(&ControlOp::Grant { node, role: Role::Admin, spaces: None, name: "b".to_owned() })
    })
    .await;
    let notes = write_each(&a, 0..case.documents, |number| {
        move |draft| {
            let id = draft.fresh_id(Kind::Note, &space())?;
            draft.edit(id, &space(), edits(number))?;
            Ok(id)
        }
    })
    .await;
    for run in exchange::heads(&a).frontier().beyond(&exchange::heads(&b).frontier()) {
        for from in (run.from..=run.to).step_by(BATCH) {
            let run = Run { from, to: run.to.min(from + BATCH as u64 - 1), ..run };
            let entries = a.read().and_then(|snapshot| snapshot.reader().entries(&run, usize::MAX));
            exchange::take(&b, entries.expect("the entries of a log")).await;
        }
    }
    (a, b, notes)
}

fn space() -> Space {
    Space::Venture(note::VENTURE.to_owned())
}

fn edits(number: usize) -> Vec<Edit> {
    let note = note::note(number);
    let tags = note.tags.map(|tag| Edit::member("tags", tag));
    let fields = [
        Edit::set("title", note.title),
        Edit::Body { field: "content", text: note.content, base: None },
        Edit::set("venture", note::VENTURE),
        Edit::set("created_at", Timestamp(note.at)),
        Edit::set("updated_at", Timestamp(note.at)),
    ];
    fields.into_iter().chain(tags).collect()
}

async fn change(store: &Store, notes: &[DocumentId], numbers: std::ops::Range<usize>) {
    let first = numbers.start;
    let ids = notes.get(numbers.clone()).expect("notes that are there").to_vec();
    write_each(store, numbers, move |number| {
        let id = ids[number - first];
        move |draft| {
            let (title, at) = note::change(number);
            draft.edit(id, &space(), [Edit::set("title", title), Edit::set("updated_at", Timestamp(at))])
        }
    })
    .await;
}

/// Runs a command for each number, each an entry of its own, and returns what they made, in the order of the numbers.
async fn write_each<T, F>(store: &Store, numbers: std::ops::Range<usize>, command: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: FnOnce(&mut Draft<'_>) -> Result<T, StoreError> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut made = Vec::new();
    for number in numbers {
        if running.len() == CALLERS {
            // There is one to wait for.
            made.extend(running.join_next().await);
        }
        let (store, command) = (store.clone(), command(number));
        running.spawn(async move { (number, write(&store, command).await) });
    }
    while let Some(done) = running.join_next().await {
        made.push(done);
    }
    let mut made: Vec<(usize, T)> = made.into_iter().map(|done| done.expect("a command that did not panic")).collect();
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, made)| made).collect()
}

async fn write<T: Send + 'static>(
    store: &Store,
    command: impl FnOnce(&mut Draft<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    let done = store.write(command).await;
    done.map_err(WriteError::<StoreError>::flatten).expect("a written record").value
}
