//! What every operation works with: the store, presence, the search index, and the call at hand.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use ctxnode_api::{CorrelationId, Route};
use ctxnode_config::Config;
use ctxnode_model::{Kind, Timestamp};
use ctxnode_store::{Draft, LocalTable, Snapshot, Store};
use ctxnode_sync::Fleet;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{broadcast, watch};

use crate::caller::Caller;
use crate::daemon::presence::Presence;
use crate::failure::Failure;
use crate::field::Field;
use crate::gate::idempotency::{InFlight, Kept, Reserved};
use crate::gate::rate::Limiter;
use crate::gate::request_log::RequestLog;
use crate::returns::Returns;
use crate::search_index::SearchIndex;

/// How many changes a slow reader of events may lag behind before it has to read the lists again.
const CHANGE_BUFFER: usize = 1_024;

/// The machine as its operating system describes it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// As the operating system says it.
    pub(crate) hostname: String,
    /// The part of agent ids that names the machine.
    pub(crate) part: String,
    /// `linux` or `macos`.
    pub(crate) os: &'static str,
    /// `x86_64` or `aarch64`.
    pub(crate) arch: &'static str,
    /// The login user.
    pub(crate) user: String,
}

/// What the daemon was asked to do beside its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Serve.
    Run,
    /// Finish and exit.
    Stop,
    /// Finish and run the installed binary in place of this one.
    Handover,
}

/// A record that changed.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) venture: Option<String>,
    pub(crate) journal: u64,
}

/// The running daemon, shared by every call.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) presence: Presence,
    /// Set once the daemon serves; tests of single operations run without.
    pub(crate) fleet: OnceLock<Fleet>,
    /// When this node was out of touch.
    pub(crate) returns: Returns,
    pub(crate) field: Field,
    pub(crate) search: SearchIndex,
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) started: Timestamp,
    pub(crate) limiter: Limiter,
    pub(crate) request_log: RequestLog,
    pub(crate) in_flight: InFlight,
    pub(crate) hooks: crate::handlers::HookMemory,
    pub(crate) checkouts: crate::checkouts::Checkouts,
    pub(crate) changes: broadcast::Sender<Changed>,
    /// Grows when sessions or claims change, here or elsewhere.
    pub(crate) claims_changed: AtomicU64,
    pub(crate) lifecycle: watch::Sender<Lifecycle>,
}

impl App {
    pub(crate) fn change_channel() -> broadcast::Sender<Changed> {
        broadcast::Sender::new(CHANGE_BUFFER)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.store.clock().now()
    }

    pub(crate) fn random(&self) -> u64 {
        u64::try_from(self.store.entropy().number() & u128::from(u64::MAX)).unwrap_or(0)
    }
}

/// The answer of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// Answers 200.
    pub(crate) fn ok(value: impl Serialize) -> Result<Self, Failure> {
        Self::of(200, value)
    }

    pub(crate) fn of(status: u16, value: impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_value(value).map_err(|error| {
            tracing::error!(%error, "an answer cannot be encoded");
            Failure::new(ctxnode_api::ErrorCode::Internal, "the answer cannot be encoded")
        })?;
        Ok(Self { status, body })
    }
}

/// Names the call in the body of its answer, as errors do. The description of the API has a form of its own.
pub(crate) fn name_call(body: &mut Value, call: &CorrelationId) {
    if let Some(fields) = body.as_object_mut().filter(|fields| !fields.contains_key("openapi")) {
        fields.insert("correlation_id".to_owned(), Value::String(call.to_string()));
    }
}

/// What an operation returns.
pub(crate) type Handled = Result<Answer, Failure>;

/// One call of an operation.
pub(crate) struct Cx {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) route: &'static Route,
    pub(crate) correlation: CorrelationId,
    pub(crate) params: Map<String, Value>,
    pub(crate) reserved: Option<Reserved>,
}

/// Who and which call made a record; goes onto every record.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) actor_key_id: String,
    pub(crate) agent: String,
    pub(crate) correlation: String,
}

impl Cx {
    /// Returns a parameter of the path.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.app.now()
    }

    pub(crate) fn read(&self) -> Result<Snapshot, Failure> {
        Ok(self.app.store.read()?)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            actor_key_id: self.caller.actor_key_id.clone(),
            agent: self.caller.agent.clone(),
            correlation: self.correlation.to_string(),
        }
    }

    /// Runs a command whose answer is kept with its effect, in one transaction, when the call has an idempotency key.
    pub(crate) async fn commit<T, F>(&self, command: F) -> Handled
    where
        T: Serialize + Send + 'static,
        F: FnOnce(&mut Draft<'_>) -> Result<(u16, T), Failure> + Send + 'static,
    {
        let (reserved, agent) = (self.reserved.clone(), self.caller.agent.clone());
        let committed = self.app.store.write(move |draft| {
            draft.act_for(&agent);
            let (status, value) = command(draft)?;
            let answer = Answer::of(status, value)?;
            if let Some(reserved) = reserved {
                let kept = Kept::of(&reserved, &answer, draft.now());
                draft.put_local(LocalTable::Idempotency, reserved.key, kept.encode());
            }
            Ok::<Answer, Failure>(answer)
        });
        Ok(committed.await?.value)
    }

    /// Keeps an answer that was completed after its commit, so that a repeated call gets the whole of it. The effect has
    /// been kept with the commit already: a crash before this leaves the shorter answer.
    pub(crate) async fn completed(&self, answer: Answer) -> Handled {
        if let Some(reserved) = self.reserved.clone() {
            let answer = answer.clone();
            let kept = self.app.store.write(move |draft| {
                let kept = Kept::of(&reserved, &answer, draft.now());
                draft.put_local(LocalTable::Idempotency, reserved.key, kept.encode());
                Ok::<(), Failure>(())
            });
            kept.await?;
        }
        Ok(answer)
    }
}
