//! What happens by the clock: saving heartbeats and the log, the session sweep, the purge, the daily backup.

use std::sync::Arc;
use std::time::Duration;

use ctxnode_model::Timestamp;
use ctxnode_store::{LocalTable, Role, StoreError};
use tokio::time::sleep;

use super::presence::Presence;
use super::spool;
use crate::app::App;
use crate::conversations;
use crate::failure::Failure;
use crate::gate::idempotency::Kept;
use crate::gate::request_log;
use crate::handlers;

/// How often a newcomer looks whether it has caught up.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a failure this machine is registered again: what was wrong, a full disk mostly, is put right by people.
const REGISTER_AGAIN: Duration = Duration::from_secs(30);
/// How often heartbeats and the request log are written.
const SAVE: Duration = Duration::from_secs(5);
/// How often stale sessions are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How often events are looked for that hooks could not bring.
const SPOOL: Duration = Duration::from_secs(60);
/// How long captures of a session are kept after their last change, in milliseconds: 7 days after the end.
const CAPTURES_MS: i64 = 7 * 24 * 3_600_000;
/// How often expired node-local rows are removed.
const PURGE: Duration = Duration::from_secs(3_600);
/// How many rows one purge transaction removes, so that no write waits long for it.
const PURGE_BATCH: usize = 1_000;
/// Milliseconds between two backups.
const BACKUP_MS: i64 = 24 * 3_600_000;

/// Runs until the daemon ends.
pub(super) async fn run(app: Arc<App>) {
    let attempt = |app: Arc<App>| async move { handlers::register_this_machine(&app).await };
    tokio::join!(register(&app, attempt, REGISTER_AGAIN), by_the_clock(&app));
}

/// Registers this machine as soon as it may: a newcomer has no right to write before its first exchange brought its grant, and
/// does not know before it has caught up whether its host is known. After an attempt that fails it waits for `pause`.
pub(super) async fn register<F>(app: &Arc<App>, attempt: impl Fn(Arc<App>) -> F, pause: Duration)
where
    F: Future<Output = Result<bool, Failure>>,
{
    let mut journal = app.store.watch();
    let (mut is_told, mut is_failure_told) = (false, false);
    loop {
        // A look of its own wakes everybody who waits for the journal, and changes nothing in it.
        let seen = *journal.borrow_and_update();
        let may_write = app.store.authority().role(&app.store.node()) >= Some(Role::Writer);
        let knows = may_write && handlers::knows_the_fleet(app);
        if knows {
            match attempt(Arc::clone(app)).await {
                Ok(true) => return,
                Ok(false) if is_told => {}
                Ok(false) => {
                    tracing::warn!("a machine of this name is known with another key; an admin has to revoke that");
                    is_told = true;
                }
                Err(failure) => {
                    if !is_failure_told {
                        tracing::warn!(?failure, "this machine could not be registered; it is tried again until it is");
                        is_failure_told = true;
                    }
                    // What others write meanwhile says nothing about the next attempt.
                    sleep(pause).await;
                    continue;
                }
            }
        }
        // That a peer has no more comes without an entry; an admin's word is one.
        let again = async { if may_write && !knows { sleep(LOOK).await } else { std::future::pending().await } };
        tokio::select! {
            changed = journal.wait_for(|now| *now != seen) => if changed.is_err() { return },
            () = again => {}
        }
    }
}

async fn by_the_clock(app: &Arc<App>) {
    let mut save_tick = tokio::time::interval(SAVE);
    let mut sweep_tick = tokio::time::interval(SWEEP);
    let mut purge_tick = tokio::time::interval(PURGE);
    let mut spool_tick = tokio::time::interval(SPOOL);
    for tick in [&mut save_tick, &mut sweep_tick, &mut purge_tick, &mut spool_tick] {
        // After sleep of the machine one tick is enough.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            // The first tick comes at once: what waited for this daemon is applied before anything else is swept.
            _ = spool_tick.tick() => spool::replay(app).await,
            _ = save_tick.tick() => {
                save(app).await;
                if let Err(failure) = crate::returns::look(app).await {
                    tracing::warn!(?failure, "what came from others could not be looked at");
                }
                if let Err(failure) = handlers::look_for_conflicts(app).await {
                    tracing::warn!(?failure, "conflicts could not be looked for");
                }
            }
            _ = sweep_tick.tick() => {
                if let Err(failure) = handlers::sweep(app).await {
                    tracing::warn!(?failure, "the session sweep failed");
                }
            }
            _ = purge_tick.tick() => {
                if let Err(error) = purge(app).await {
                    tracing::warn!(%error, "the purge failed");
                }
                backup_when_due(app).await;
            }
        }
    }
}

/// Writes heartbeats and request log rows that are still in memory.
pub(super) async fn save(app: &App) {
    let changed = app.presence.take_unsaved();
    if !changed.is_empty() {
        let saved = app.store.write(move |draft| {
            Presence::save(draft, changed);
            Ok::<(), StoreError>(())
        });
        if let Err(error) = saved.await {
            tracing::warn!(%error, "heartbeats could not be saved");
        }
    }
    if let Err(error) = app.request_log.flush(&app.store).await {
        tracing::warn!(%error, "the request log could not be saved");
    }
}

/// Removes node-local rows that have expired.
pub(super) async fn purge(app: &App) -> Result<(), StoreError> {
    let now = app.now();
    let expired = |bytes: &[u8]| Kept::is_expired(bytes, now);
    remove_where(app, LocalTable::Idempotency, &[], &u64::MAX.to_be_bytes(), expired).await?;
    // Keys end in a session's id, values say when they were changed.
    let at =
        |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok().and_then(|value| value["at"].as_i64());
    let old = |bytes: &[u8]| at(bytes).is_some_and(|at| now.0 - at > CAPTURES_MS);
    remove_where(app, LocalTable::Captures, &[], &[u8::MAX; 8], old).await?;
    let old = |bytes: &[u8]| at(bytes).is_some_and(|at| now.0 - at > conversations::KEPT_MS);
    remove_where(app, LocalTable::Bindings, &[], &[u8::MAX; 8], old).await?;
    let (from, to) = handlers::expectations();
    remove_where(app, LocalTable::Bindings, &from, &to, |bytes| handlers::is_old_expectation(bytes, now)).await?;
    let before = request_log::time_key(Timestamp(now.0 - request_log::KEPT_MS));
    remove_where(app, LocalTable::RequestLog, &[], &before, |_| true).await
}

/// Removes rows with keys in `from..to` that are to go, a batch at a time.
async fn remove_where(
    app: &App,
    table: LocalTable,
    from: &[u8],
    to: &[u8],
    mut goes: impl FnMut(&[u8]) -> bool,
) -> Result<(), StoreError> {
    let mut from = from.to_vec();
    loop {
        let rows = {
            let snapshot = app.store.read()?;
            snapshot.reader().local_range(table, &from, to, false, PURGE_BATCH)?
        };
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = [last.as_slice(), &[0]].concat();
        let gone: Vec<Vec<u8>> = rows.into_iter().filter(|(_, value)| goes(value)).map(|(key, _)| key).collect();
        if gone.is_empty() {
            continue;
        }
        let removed = app.store.write(move |draft| {
            for key in gone {
                draft.remove_local(table, key);
            }
            Ok::<(), StoreError>(())
        });
        removed.await.map_err(|error| match error {
            ctxnode_store::WriteError::Refused(error) | ctxnode_store::WriteError::Store(error) => error,
        })?;
    }
}

async fn backup_when_due(app: &Arc<App>) {
    let last = handlers::last_backup(app);
    if last.is_some_and(|last| app.now().since(last) < BACKUP_MS) {
        return;
    }
    if let Err(failure) = handlers::run_backup(app, None).await {
        tracing::error!(?failure, "the daily backup failed");
    }
}
