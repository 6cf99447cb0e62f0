//! Entries between the store and an exchange: batches that are taken in, runs that are read out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ctxnode_model::frontier::{Head, Heads, LogId, Run};
use ctxnode_store::{Outcome, Parted, Store, StoreError, entry};
use ctxnode_sync_proto::{Bye, Entries, Event, Theirs, code, limits};
use tokio::sync::mpsc;

use crate::fleet::Shared;

const CAME_BACK: &str = "entries that this machine wrote came back from others: this replica was restored from an older copy \
                         and has them again, or a copy of it runs on another machine, which then needs an invitation of its own";
const FORKED: &str = "two copies of this replica have written different entries (a cloned disk, or a machine that was set back to \
                      a snapshot?): this one goes on in new logs, in which it has said again what both wrote";
/// The most entries that are read from the store at a time.
const READ_STEP: usize = 64;

/// Takes batches into the store one after the other, and tells the exchange how that went.
pub(crate) async fn take_batches(
    shared: Arc<Shared>,
    mut batches: mpsc::Receiver<Vec<Entries>>,
    events: mpsc::Sender<Event>,
) {
    while let Some(runs) = batches.recv().await {
        let event = match ingest(&shared.store, runs).await {
            Ok(taken) => {
                if let Some(alert) = taken.alert {
                    shared.alert_once(alert);
                }
                taken.event
            }
            Err(error) => {
                tracing::error!(%error, "entries of a peer could not be stored");
                Event::Stop(Bye { code: code::STORE, text: "the local store failed".to_owned() })
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// What taking in a batch made of it.
pub(crate) struct Taken {
    /// For the exchange.
    pub(crate) event: Event,
    /// What a person should know.
    pub(crate) alert: Option<&'static str>,
}

/// Takes a batch into the store and says how its logs stand afterwards.
pub(crate) async fn ingest(store: &Store, runs: Vec<Entries>) -> Result<Taken, StoreError> {
    let touched: BTreeSet<LogId> = runs.iter().map(|run| run.log).collect();
    let before = heads_of(store, &touched)?;
    let is_beyond = |run: &Entries| run.to() > before.0.get(&run.log).map_or(0, |head| head.length);
    let is_own = |run: &&Entries| run.log.author == store.node();
    let own: Vec<Entries> = runs.iter().filter(is_own).cloned().collect();
    let own_came_back = own.iter().any(is_beyond);
    let parts = |run: &Entries| before.0.get(&run.log).is_some_and(|head| parts_from(run, head));
    let renews = |run: &Entries| run.log.epoch == store.epoch() && is_beyond(run) && !parts(run) && is_signed(run);
    if own.iter().any(renews) {
        // This replica would write the same positions again: it goes on in new logs, and the old ones can be taken in.
        store.renew_epoch().await?;
    }
    let mut places = Vec::new();
    let mut entries = Vec::new();
    for run in runs {
        places.extend(std::iter::repeat_n(run.log, run.entries.len()));
        entries.extend(run.entries);
    }
    let report = store.ingest(entries).await?;
    let (mut forks, mut left) = (BTreeSet::new(), BTreeSet::new());
    let mut bad = None;
    for (log, outcome) in places.into_iter().zip(report.outcomes) {
        match outcome {
            Outcome::Fork | Outcome::Broken => drop(forks.insert(log)),
            Outcome::OwnLog if own.iter().any(|run| run.log == log && parts(run)) => drop(forks.insert(log)),
            Outcome::Bad(error) => bad = Some(format!("a bad entry of {}: {error}", log.author)),
            Outcome::OtherFleet => bad = Some("an entry of another fleet".to_owned()),
            Outcome::Gap { .. } | Outcome::OwnLog => drop(left.insert(log)),
            Outcome::Applied | Outcome::Held(_) | Outcome::Duplicate => {}
        }
    }
    let mut alert = own_came_back.then_some(CAME_BACK);
    let mut earlier = BTreeMap::new();
    let mut held = Heads::default();
    for run in own {
        if forks.contains(&run.log) {
            match store.take_other_history(run.entries.clone()).await? {
                Parted::Here => {
                    forks.remove(&run.log);
                    left.remove(&run.log);
                    alert = Some(FORKED);
                }
                Parted::Earlier => {
                    forks.remove(&run.log);
                    earlier.insert(run.log, run.from);
                    continue;
                }
                Parted::Nowhere => continue,
            }
        }
        // The peer sends its history of an own log from the beginning, or from where it may part from the one here: it
        // goes on behind this batch.
        if let Some(last) = run.entries.last().filter(|_| !left.contains(&run.log)) {
            held.0.insert(run.log, Head { length: run.to(), tip: *blake3::hash(last).as_bytes() });
        }
    }
    let heads = heads_of(store, &touched)?;
    held.0.retain(|log, head| heads.0.get(log) != Some(head));
    Ok(Taken { event: Event::Ingested { heads, forks, bad, held, earlier }, alert })
}

/// Whether a run ends as its author wrote it: what merely claims to be of an own log proves nothing.
fn is_signed(run: &Entries) -> bool {
    let last = run.entries.last().cloned().map(entry::VerifiedEntry::verify);
    last.and_then(Result::ok).is_some_and(|last| last.header().log == run.log && last.header().seq == run.to())
}

/// Whether a run that begins behind the end of a log does not continue it.
fn parts_from(run: &Entries, head: &Head) -> bool {
    let first = run.entries.first().and_then(|bytes| entry::decode(bytes).ok());
    run.from == head.length + 1 && first.is_some_and(|(header, _)| header.prev != head.tip)
}

/// How far back a peer's history of an own log is asked for, to see where it parts from the one here: most forks are young.
const BACK: [u64; 3] = [64, 4_096, u64::MAX];

/// How often each own log was asked for in an exchange, and from behind which position.
pub(crate) type Asked = BTreeMap<LogId, (usize, u64)>;

/// Looks whether a peer has another history of an own log; returns what the exchange should go by.
pub(crate) fn parted(
    store: &Store,
    log: LogId,
    theirs: Theirs,
    asked: &mut Asked,
) -> Result<Option<Event>, StoreError> {
    let snapshot = store.read()?;
    let reader = snapshot.reader();
    let Some(own) = reader.heads()?.0.get(&log).copied() else { return Ok(None) };
    let (times, stated) = asked.entry(log).or_default();
    let mut to = own.length;
    if let Theirs::Begins(from) = theirs
        && *times > 0
        && from != *stated + 1
    {
        // It was on its way before the peer heard from where on its history is wanted.
        return Ok(None);
    }
    if let Theirs::Ends(theirs) = theirs {
        if theirs.length > own.length || reader.hash_at(&log, theirs.length)? == Some(theirs.tip) {
            // What is beyond will come; what it has of this history is no other one.
            return Ok(None);
        }
        if reader.was_said(&theirs.tip)? {
            return Ok(Some(Event::Holds { log, head: theirs, tell: false }));
        }
        to = theirs.length;
    }
    let Some(back) = BACK.get(*times) else { return Ok(None) };
    *times += 1;
    to = to.saturating_sub(*back);
    *stated = to;
    let head = Head { length: to, tip: reader.hash_at(&log, to)?.unwrap_or_default() };
    Ok(Some(Event::Holds { log, head, tell: true }))
}

fn heads_of(store: &Store, logs: &BTreeSet<LogId>) -> Result<Heads, StoreError> {
    let mut heads = store.read()?.reader().heads()?;
    heads.0.retain(|log, _| logs.contains(log));
    Ok(heads)
}

/// Reads runs up to the size of a batch, from their beginning on.
pub(crate) fn read_runs(store: &Store, runs: &[Run]) -> Result<Vec<Entries>, StoreError> {
    let snapshot = store.read()?;
    let reader = snapshot.reader();
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut largest = limits::BATCH_BYTES;
    for run in runs {
        let mut entries = Vec::new();
        let mut rest = *run;
        while bytes < limits::BATCH_BYTES && rest.from <= rest.to {
            // As many as may fit: large ones would be read many times over, and held for nothing.
            let fit = (limits::BATCH_BYTES - bytes) / largest;
            let step = reader.entries(&rest, fit.clamp(1, READ_STEP))?;
            largest = step.iter().map(Vec::len).max().unwrap_or(1).max(1);
            let mut full = step.is_empty();
            for entry in step {
                if bytes > 0 && bytes + entry.len() > limits::BATCH_BYTES {
                    full = true;
                    break;
                }
                bytes += entry.len();
                rest.from += 1;
                entries.push(entry);
            }
            if full {
                bytes = limits::BATCH_BYTES;
            }
        }
        if !entries.is_empty() {
            found.push(Entries { log: run.log, from: run.from, entries });
        }
        if bytes >= limits::BATCH_BYTES {
            break;
        }
    }
    Ok(found)
}
