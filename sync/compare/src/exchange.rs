//! One side of our exchange over a wire: the tasks that the daemon has for it, with a plain stream instead of QUIC.

use std::collections::BTreeSet;
use std::time::Instant;

use ctxnode_model::frontier::{Heads, LogId, Run};
use ctxnode_model::{NodeKey, Space};
use ctxnode_store::{Outcome, Store};
use ctxnode_sync_proto::{Entries, Event, Exchange, Lacks, Me, Message, Output, OwnHeads, frame, limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::wire::End;

/// How many frames are read ahead.
const AHEAD: usize = 2;
/// How many messages or events may wait.
const WAITING: usize = 512;

/// Runs the exchange of a store with a peer for as long as the wire lasts; says whether neither lacks anything.
pub(crate) async fn run(store: Store, peer: NodeKey, end: End, equal: watch::Sender<bool>) {
    let (receive, send) = split(end);
    let (frames, mut arrived) = mpsc::channel(AHEAD);
    let (out, to_write) = mpsc::channel(WAITING);
    let (batches, to_ingest) = mpsc::channel(limits::WINDOW as usize + 1);
    let (events, mut inner) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    tasks.spawn(read_frames(receive, frames));
    tasks.spawn(write_frames(send, to_write));
    tasks.spawn(take_batches(store.clone(), to_ingest, events.clone()));

    let mut exchange = begin(&store, peer);
    let started = Instant::now();
    let mut event = Event::Start { clock_ms: store.clock().now().0 };
    loop {
        let mut outputs = Vec::new();
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        exchange.handle(now, event, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(message) => out.send(message).await.expect("a writer"),
                Output::Ingest(runs) => batches.send(runs).await.expect("a task that takes batches"),
                Output::Read(runs) => {
                    let (store, events) = (store.clone(), events.clone());
                    tasks.spawn_blocking(move || drop(events.blocking_send(Event::Read(read_runs(&store, &runs)))));
                }
                Output::Presence(_) => {}
                Output::Close(bye) => panic!("the exchange ended: {}", bye.text),
            }
        }
        equal.send_replace(exchange.lacks() == Some(Lacks::default()));
        event = tokio::select! {
            message = arrived.recv() => match message {
                Some(message) => Event::Received(message),
                None => return,
            },
            Some(event) = inner.recv() => event,
        };
    }
}

fn begin(store: &Store, peer: NodeKey) -> Exchange {
    let authority = store.authority();
    let spaces = |node: &NodeKey| authority.spaces(node).expect("a member");
    let me = Me {
        fleet: store.fleet(),
        fleet_space: Space::Fleet.id(&store.fleet()),
        software: format!("{} (0123456789ab)", env!("CARGO_PKG_VERSION")),
    };
    Exchange::new(me, OwnHeads { heads: heads(store), layout: 0 }, spaces(&store.node()).meet(&spaces(&peer)))
}

/// Returns the heads of all logs of a store.
pub(crate) fn heads(store: &Store) -> Heads {
    store.read().and_then(|snapshot| snapshot.reader().heads()).expect("the heads of a store")
}

async fn read_frames(mut stream: ReadHalf<End>, messages: mpsc::Sender<Message>) {
    loop {
        let mut field = [0; 4];
        if stream.read_exact(&mut field).await.is_err() {
            return;
        }
        let mut body = vec![0; frame::length(field).expect("a length that a frame may have")];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let message = frame::decode(&body).expect("a frame").expect("a message of this version");
        if messages.send(message).await.is_err() {
            return;
        }
    }
}

async fn write_frames(mut stream: WriteHalf<End>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        if stream.write_all(&frame::encode(&message)).await.is_err() {
            return;
        }
    }
}

async fn take_batches(store: Store, mut batches: mpsc::Receiver<Vec<Entries>>, events: mpsc::Sender<Event>) {
    while let Some(runs) = batches.recv().await {
        let touched: BTreeSet<LogId> = runs.iter().map(|run| run.log).collect();
        let entries = runs.into_iter().flat_map(|run| run.entries).collect();
        take(&store, entries).await;
        let mut heads = heads(&store);
        heads.0.retain(|log, _| touched.contains(log));
        if events.send(Event::Ingested { own: OwnHeads { heads, layout: 0 }, diverged: BTreeSet::new(), bad: None }).await.is_err() {
            return;
        }
    }
}

/// Takes entries into a store, all of which must be new there and good.
pub(crate) async fn take(store: &Store, entries: Vec<Vec<u8>>) {
    let report = store.ingest(entries).await.expect("a store that works");
    let other = report.outcomes.iter().find(|outcome| **outcome != Outcome::Applied);
    assert!(other.is_none(), "an entry was not applied: {other:?}");
}

/// Reads runs up to the size of a batch, from their beginning on.
fn read_runs(store: &Store, runs: &[Run]) -> Vec<Entries> {
    let snapshot = store.read().expect("a store that works");
    let mut room = limits::BATCH_BYTES;
    let mut found = Vec::new();
    for run in runs {
        let mut entries = snapshot.reader().entries(run, usize::MAX).expect("the entries of a log");
        let fits = entries.iter().take_while(|entry| {
            let fits = room >= entry.len();
            room = room.saturating_sub(entry.len());
            fits
        });
        let (fits, all) = (fits.count(), entries.len());
        entries.truncate(fits);
        if fits > 0 {
            found.push(Entries { log: run.log, from: run.from, entries });
        }
        if fits < all {
            break;
        }
    }
    found
}
