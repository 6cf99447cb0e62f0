//! Entries between the store and an exchange: batches that are taken in, runs that are read out.

use std::collections::BTreeSet;
use std::sync::Arc;

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_store::{Finding, Outcome, Store, StoreError, entry};
use ctxnode_sync_proto::{Bye, Entries, Event, OwnHeads, code, limits};
use tokio::sync::mpsc;

use crate::fleet::Shared;

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
                taken.findings.iter().for_each(|finding| shared.found(*finding));
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
    /// For people.
    pub(crate) findings: BTreeSet<Finding>,
}

/// Takes a batch into the store and says how its logs stand afterwards.
pub(crate) async fn ingest(store: &Store, runs: Vec<Entries>) -> Result<Taken, StoreError> {
    let touched: BTreeSet<LogId> = runs.iter().map(|run| run.log).collect();
    let mut places = Vec::new();
    let mut entries = Vec::new();
    for run in runs {
        if run.entries.iter().any(|entry| entry::space_of(entry) != Some(run.log.space)) {
            let bad = Some(format!("an entry of {} that is not of the space that it was sent in", run.log.author));
            let event = Event::Ingested { own: OwnHeads::default(), diverged: BTreeSet::new(), bad };
            return Ok(Taken { event, findings: BTreeSet::new() });
        }
        places.extend(std::iter::repeat_n(run.log, run.entries.len()));
        entries.extend(run.entries);
    }
    let report = store.ingest(entries).await?;
    let mut diverged = BTreeSet::new();
    let mut bad = None;
    for ((log, outcome), stands_in) in places.into_iter().zip(report.outcomes).zip(report.logs) {
        if let Some(other) = stands_in.filter(|other| *other != log) {
            // The peer has it in another strand: it lacks the history that moves it.
            diverged.extend([log, other]);
        }
        match outcome {
            Outcome::Elsewhere => drop(diverged.insert(log)),
            Outcome::Bad(error) => bad = Some(format!("a bad entry of {}: {error}", log.author)),
            Outcome::OtherFleet => bad = Some("an entry of another fleet".to_owned()),
            Outcome::Broken | Outcome::TooMany => {
                tracing::warn!(author = %log.author, ?outcome, "an entry was kept out")
            }
            Outcome::Applied | Outcome::Held(_) | Outcome::Duplicate | Outcome::Gap { .. } => {}
        }
    }
    let mut own = own(store)?;
    own.heads.0.retain(|log, _| touched.contains(log));
    let event = Event::Ingested { own, diverged, bad };
    Ok(Taken { event, findings: report.findings })
}

/// Where all logs of a store end.
pub(crate) fn own(store: &Store) -> Result<OwnHeads, StoreError> {
    let snapshot = store.read()?;
    Ok(OwnHeads { heads: snapshot.reader().heads()?, layout: snapshot.reader().layout()? })
}

/// What was found of the runs that an exchange wants to send.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// From the beginning of each run on.
    pub(crate) runs: Vec<Entries>,
    /// Logs with a row that cannot be read; what lies before it has been found.
    pub(crate) damaged: BTreeSet<LogId>,
}

/// Reads runs up to the size of a batch, from their beginning on.
pub(crate) fn read_runs(store: &Store, runs: &[Run]) -> Result<Found, StoreError> {
    let snapshot = store.read()?;
    let reader = snapshot.reader();
    let mut found = Found::default();
    let mut bytes = 0;
    let mut largest = limits::BATCH_BYTES;
    for run in runs {
        let mut entries = Vec::new();
        let mut rest = *run;
        let mut most = READ_STEP;
        while bytes < limits::BATCH_BYTES && rest.from <= rest.to {
            // As many as may fit: large ones would be read many times over, and held for nothing.
            let fit = (limits::BATCH_BYTES - bytes) / largest;
            let step = match reader.entries(&rest, fit.clamp(1, most)) {
                Ok(step) => step,
                // One of them is damaged. One by one, those before it are found.
                Err(StoreError::Corrupt { .. }) if most > 1 => {
                    most = 1;
                    continue;
                }
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, author = %run.log.author, position = rest.from, "an entry cannot be read");
                    found.damaged.insert(run.log);
                    break;
                }
                Err(error) => return Err(error),
            };
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
            found.runs.push(Entries { log: run.log, from: run.from, entries });
        }
        if bytes >= limits::BATCH_BYTES {
            break;
        }
    }
    Ok(found)
}
