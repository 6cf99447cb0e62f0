//! What happens by the clock: saving heartbeats and the log, the session sweep, the purge, the daily backup.

use std::sync::Arc;
use std::time::Duration;

use ctxnode_model::Timestamp;
use ctxnode_store::{LocalTable, Role, StoreError};
use tokio::time::{Instant, interval, interval_at, sleep};

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
/// How often this machine looks where it is, so that its record says so to those who go there by ssh.
const PLACE: Duration = Duration::from_secs(15);
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
    // What waited for this daemon is applied before anything is swept: it belongs into the handoffs of sessions whose agents
    // are gone, and is part of none once they are written.
    spool::replay(app).await;
    let mut spool_tick = interval_at(Instant::now() + SPOOL, SPOOL);
    let mut save_tick = interval(SAVE);
    let mut sweep_tick = interval(SWEEP);
    let mut purge_tick = interval(PURGE);
    let mut place_tick = interval(PLACE);
    let mut addresses = Vec::new();
    for tick in [&mut save_tick, &mut sweep_tick, &mut purge_tick, &mut spool_tick, &mut place_tick] {
        // After sleep of the machine one tick is enough.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
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
            _ = place_tick.tick() => {
                if let Err(failure) = handlers::follow_network(app, &mut addresses).await {
                    tracing::warn!(?failure, "where this machine is could not be written down");
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ctxnode_api::hooks::{HookRequest, Moment};
    use ctxnode_api::{Call, ErrorBody, ErrorCode, Iso, Right};
    use ctxnode_config::{Environment, Inputs, Overrides, Platform};
    use ctxnode_model::record::{EndReason, Ending, Session, SessionStatus};
    use ctxnode_model::rules::identity::{self, Root};
    use ctxnode_model::{DocumentId, Edit, Kind, Scalar, Space};
    use ctxnode_store::{Location, ManualClock, NodeSecret, Options, SeededEntropy, Store};
    use serde_json::{Value, json};

    use super::*;
    use crate::caller::{Caller, Via};
    use crate::daemon::serve;
    use crate::gate::{self, Incoming};
    use crate::search_index::SearchIndex;

    const MINUTE: i64 = 60_000;

    /// A daemon without sockets, and its clock.
    struct Node {
        app: Arc<App>,
        clock: Arc<ManualClock>,
    }

    impl Node {
        /// With the files in a home of its own, and the venture that sessions are of.
        async fn new(home: &Path) -> Self {
            let clock = Arc::new(ManualClock::new(Timestamp(1_795_435_200_000)));
            let options = Options {
                location: Location::Memory,
                clock: Arc::clone(&clock) as Arc<dyn ctxnode_store::Clock>,
                entropy: Arc::new(SeededEntropy::new(2)),
                ..Options::file("", NodeSecret::generate(&SeededEntropy::new(1)))
            };
            let store = Store::create(options, "test").unwrap().store;
            let env = Environment::from_pairs([("HOME", home.display().to_string())]);
            let inputs = Inputs { platform: Platform::Linux, env: &env, files: &[], overrides: &Overrides::default() };
            let config = ctxnode_config::load(&inputs).unwrap();
            let app = serve::app(config, store, SearchIndex::open(home, false)).unwrap();
            let node = Self { app, clock };
            let venture = json!({ "name": "Alpha", "org": "alpha-org", "repos": ["alpha-org/console"] });
            node.ask("user-ada", Call::new("venture.put", venture).param("code", "alpha")).await.unwrap();
            node
        }

        async fn ask(&self, agent: &str, call: Call) -> Result<Value, ErrorBody> {
            let caller = Caller {
                actor_key_id: agent.to_owned(),
                agent: agent.to_owned(),
                explicit_agent: true,
                right: Right::Admin,
                via: Via::Socket,
                ..Caller::nobody()
            };
            let incoming =
                Incoming { call, caller: Ok(caller), correlation: None, idempotency_key: None, broken: None };
            gate::pass(&self.app, incoming).await.result
        }

        /// Begins the session of an agent that is known by its conversation.
        async fn begin(&self, conversation: &str) -> DocumentId {
            let instance = identity::instance(Root::Conversation(conversation));
            let agent = identity::agent_id("claude", &self.app.host.part, &instance);
            let call = Call::new("sod", json!({ "venture": "alpha", "repo": "alpha-org/console" }));
            let started = self.ask(&agent, call).await.unwrap();
            started["session_id"].as_str().unwrap().parse().unwrap()
        }

        fn status(&self, id: DocumentId) -> SessionStatus {
            self.app.store.read().unwrap().reader().get::<Session>(id).unwrap().unwrap().status()
        }

        async fn until_over(&self, id: DocumentId) {
            let mut journal = self.app.store.watch();
            while self.status(id) == SessionStatus::Active {
                journal.changed().await.unwrap();
            }
        }
    }

    /// An agent that is gone said its last while no daemon ran: its words are in the handoff that the first sweep writes.
    #[tokio::test]
    async fn what_waited_on_disk_is_in_the_handoff_of_an_agent_that_is_gone() {
        let home = tempfile::TempDir::new().unwrap();
        let node = Node::new(home.path()).await;
        // Often: which of two things is done first must not be left to chance.
        for turn in 0..8 {
            let (conversation, words) = (format!("conversation {turn}"), format!("the last words of {turn}"));
            let id = node.begin(&conversation).await;
            node.clock.advance(MINUTE);
            let request = HookRequest {
                cli: "claude".to_owned(),
                moment: Moment::TurnEnd,
                conversation: Some(conversation),
                turn: Some("1".to_owned()),
                text: Some(words.clone()),
                at: Some(Iso(node.app.now())),
                ..HookRequest::default()
            };
            let event = handlers::Spooled { request, agent: None };
            spool::append(&node.app.config.paths.state_dir, &event).unwrap();
            node.clock.advance(120 * MINUTE);
            tokio::select! {
                () = by_the_clock(&node.app) => {}
                () = node.until_over(id) => {}
            }
            let latest = Call::new("handoff.latest", json!({ "session_id": id.to_string() }));
            let handoff = node.ask("user-ada", latest).await.unwrap();
            assert!(handoff["in_progress"].to_string().contains(&words), "{turn}: {handoff:#}");
        }
    }

    /// What counts as alive here, which peers are told, are the own sessions that are not over. Nothing makes another node's one
    /// of them, and one that was ended elsewhere, or was noted by an earlier build, is forgotten.
    #[tokio::test]
    async fn only_own_sessions_that_are_not_over_are_alive_here() {
        let home = tempfile::TempDir::new().unwrap();
        let node = Node::new(home.path()).await;
        let (lives, over) = (node.begin("one").await, node.begin("two").await);
        let written = node.app.store.write_blocking(move |draft| {
            let (space, now) = (Space::Venture("alpha".to_owned()), draft.now());
            let ending = Ending { at: now, reason: EndReason::Admin, handoff: None };
            draft.edit(over, &space, [Edit::set("abandoned", Scalar::json(&json!(ending)))])?;
            let foreign = draft.fresh_id(Kind::Session, &space)?;
            let fields = [
                Edit::set("agent", "codex-laptop-00000001"),
                Edit::set("machine", "laptop"),
                Edit::set("venture", "alpha"),
                Edit::set("repo", "alpha-org/console"),
                Edit::set("node", "the key of the laptop"),
                Edit::set("explicit_agent", false),
                Edit::set("created_at", now),
            ];
            draft.edit(foreign, &space, fields)?;
            Ok::<DocumentId, StoreError>(foreign)
        });
        let foreign = written.unwrap().value;
        let alive = || node.app.presence.all().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(node.status(foreign), SessionStatus::Active);

        let named = json!({ "session_id": foreign.to_string() });
        for operation in ["heartbeat", "update"] {
            let refused = node.ask("user-ada", Call::new(operation, named.clone())).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::Forbidden, "{operation}: {refused:?}");
            assert!(refused.message.contains("a session of laptop"), "{refused:?}");
        }
        let mut handoff = named;
        handoff["status"] = json!("in_progress");
        handoff["next_steps"] = json!(["go on"]);
        handoff["keep_open"] = json!(true);
        node.ask("user-ada", Call::new("eod", handoff)).await.unwrap();
        assert!(!alive().contains(&foreign), "it lives there");

        // As an earlier build noted it.
        node.app.presence.beat(foreign, node.app.now());
        save(&node.app).await;
        let noted = || {
            let snapshot = node.app.store.read().unwrap();
            snapshot.reader().local_prefix(LocalTable::Heartbeats, &[], usize::MAX).unwrap().len()
        };
        assert_eq!((alive().len(), noted()), (3, 3));
        handlers::sweep(&node.app).await.unwrap();
        assert_eq!((alive(), noted()), (vec![lives], 1));
    }
}
