//! The writer: groups of commands, commits, and the way back from a failed disk.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ctxnode_model::Stamp;

use crate::StoreError;
use crate::apply::Batch;
use crate::document::DocumentCache;
use crate::guard::guarded;
use crate::kv::WriteTables;
use crate::location::{Location, open_database};
use crate::open::Shared;
use crate::tables::Table;
use crate::writer::{Group, Job, QUEUE, Queue, Tell, collect};

/// After this long without a command the writer saves the allocator state, so that a crash while idle needs no repair
/// at the next start. Doing it on every commit would double the time of each.
const SETTLE_AFTER: Duration = Duration::from_millis(500);
/// How long reopening waits for readers to let go of a failed database. Readers hold snapshots for milliseconds.
const REOPEN_WAIT: Duration = Duration::from_secs(5);

/// The one writer, and what it keeps from group to group.
pub(crate) struct Writer {
    clock: Stamp,
    cache: DocumentCache,
}

impl Writer {
    pub(crate) fn new(clock: Stamp) -> Self {
        Self { clock, cache: DocumentCache::new() }
    }

    /// Runs a group of commands; returns whether it was committed.
    pub(crate) fn run(&mut self, shared: &Shared, group: Vec<Job>) -> bool {
        let done = run_group(shared, group, &mut self.clock, &mut self.cache);
        if let Err(error) = &done {
            tracing::error!(%error, "a group of commands failed");
            self.cache.clear();
            reopen(shared);
            shared.reload();
        }
        done.is_ok()
    }
}

/// How commands get to the writer.
pub(crate) enum Commands {
    /// Through a queue to a thread of its own.
    Queue(Queue, JoinHandle<()>),
    /// Whoever has a command lends it a thread.
    Lent(Writer),
    /// No more: the store is closed.
    Closed,
}

impl Commands {
    /// Starts the thread.
    pub(crate) fn queue(shared: &Arc<Shared>, writer: Writer) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        Ok(Self::Queue(queue, thread.spawn(move || write_loop(&shared, &jobs, writer))?))
    }
}

/// The writer's thread: takes groups of commands until the last client is gone.
fn write_loop(shared: &Shared, jobs: &Receiver<Job>, mut writer: Writer) {
    let mut unsettled = false;
    loop {
        let first = match jobs.recv_timeout(SETTLE_AFTER) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                if std::mem::take(&mut unsettled) {
                    settle(shared);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        unsettled |= writer.run(shared, collect(first, jobs));
    }
    *shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Runs a group and commits it. Every caller hears how it went, also when the storage fails.
fn run_group(shared: &Shared, jobs: Vec<Job>, clock: &mut Stamp, cache: &mut DocumentCache) -> Result<(), StoreError> {
    let mut tells: Vec<Tell> = Vec::with_capacity(jobs.len());
    let result = guarded(|| fill_and_commit(shared, jobs, clock, cache, &mut tells));
    let told = match &result {
        Ok(journal) => {
            shared.journal.send_replace(*journal);
            Ok(*journal)
        }
        Err(error) => Err(Arc::from(describe(error))),
    };
    for tell in tells {
        tell(told.clone());
    }
    result.map(|_| ())
}

fn fill_and_commit(
    shared: &Shared,
    jobs: Vec<Job>,
    clock: &mut Stamp,
    cache: &mut DocumentCache,
    tells: &mut Vec<Tell>,
) -> Result<u64, StoreError> {
    let database = shared.database()?;
    let transaction = database.begin_write()?;
    let before = shared.authority.read().unwrap_or_else(PoisonError::into_inner).as_ref().clone();
    let (journal, authority, changed) = {
        let tables = WriteTables::of_fleet(&transaction, shared.ids);
        let batch = Batch::new(tables, before, cache)?;
        let mut group = Group { shared, batch, clock };
        for job in jobs {
            tells.push(job(&mut group)?);
        }
        let changed = group.batch.tables.changed();
        (group.batch.journal_end(), group.batch.authority, changed)
    };
    if !changed {
        // Entries that are here already come from every peer that has them: what is durable need not become so again.
        transaction.abort()?;
        return Ok(journal);
    }
    transaction.commit()?;
    *shared.authority.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authority);
    Ok(journal)
}

fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Commits nothing but the allocator state.
fn settle(shared: &Shared) {
    let done: Result<(), StoreError> = guarded(|| {
        let database = shared.database()?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        WriteTables::new(&transaction).put(Table::Meta, b"settled", &[1])?;
        Ok(transaction.commit()?)
    });
    if let Err(error) = done {
        tracing::warn!(%error, "the idle commit failed; the next start may need a repair");
    }
}

/// After a failed write redb refuses everything until the file is opened anew. Committed data is not affected.
fn reopen(shared: &Shared) {
    let Some(path) = &shared.path else { return };
    let old = shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
    let (done, wait) = sync_channel::<()>(0);
    if let Some(mut old) = old {
        let deadline = std::time::Instant::now() + REOPEN_WAIT;
        loop {
            match Arc::try_unwrap(old) {
                Ok(database) => {
                    drop(database);
                    break;
                }
                Err(held) => old = held,
            }
            if std::time::Instant::now() > deadline {
                tracing::error!("readers hold the failed store open; it stays closed until they let go");
                *shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(old);
                return;
            }
            // Nobody sends: this is a pause that ends by itself.
            let _ = wait.recv_timeout(Duration::from_millis(5));
        }
    }
    drop(done);
    match guarded(|| open_database(Location::File(path.clone()))) {
        Ok(database) => {
            *shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(database));
        }
        Err(error) => tracing::error!(%error, "the store cannot be reopened"),
    }
}
