//! The one gate: authenticate, right, rate, validate, idempotency, execute, log. Every call of every kind passes it.
//!
//! The transport has found out who calls ([`Caller`]); refusals at any step are logged like answers.

pub(crate) mod idempotency;
pub(crate) mod rate;
pub(crate) mod request_log;
pub(crate) mod tokens;

use std::sync::Arc;
use std::time::Duration;

use ctxnode_api::{Call, CorrelationId, Domain, ErrorBody, ErrorCode, Right, Route, route};
use ctxnode_store::StoreError;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::app::{Answer, App, Cx};
use crate::caller::{Bucket, Caller, Via, effective};
use crate::failure::Failure;
use crate::handlers;
use idempotency::{Claimed, Reserved};
use rate::Allowance;
use request_log::Entry;

/// How often a read is tried while the storage fails, and the pause between. Opening the file anew takes milliseconds;
/// on a full disk every background write makes it happen again.
const READ_TRIES: u32 = 20;
const READ_PAUSE: Duration = Duration::from_millis(50);

/// The operation of hooks.
const HOOK: &str = "hook";

/// A call on its way in.
pub(crate) struct Incoming {
    pub(crate) call: Call,
    /// The caller, or why the credential was refused.
    pub(crate) caller: Result<Caller, Box<ErrorBody>>,
    /// What the client sent; a malformed one is replaced.
    pub(crate) correlation: Option<String>,
    /// From a header; beats `update_id` in the body.
    pub(crate) idempotency_key: Option<String>,
    /// Why the request cannot be read; told after right and rate, logged like any refusal.
    pub(crate) broken: Option<ErrorBody>,
}

/// An answer on its way out.
pub(crate) struct Outgoing {
    pub(crate) status: u16,
    pub(crate) result: Result<Value, ErrorBody>,
    pub(crate) correlation: CorrelationId,
    /// The call that the answer is of: an earlier one when it is told again.
    pub(crate) answered: CorrelationId,
    pub(crate) idempotency_hit: bool,
    /// For an answer that was too large to keep.
    pub(crate) truncated: bool,
    pub(crate) allowance: Option<Allowance>,
}

impl Outgoing {
    /// Begins the answer to a call.
    pub(crate) fn of(correlation: &CorrelationId) -> Self {
        Self {
            status: 200,
            result: Ok(Value::Null),
            correlation: correlation.clone(),
            answered: correlation.clone(),
            idempotency_hit: false,
            truncated: false,
            allowance: None,
        }
    }
}

/// Returns the name of a call: what the client gave it, when that is one.
pub(crate) fn correlation_of(app: &App, incoming: &Incoming) -> CorrelationId {
    let given = incoming.correlation.as_deref().and_then(CorrelationId::parse);
    given.unwrap_or_else(|| CorrelationId::from_random(app.store.entropy().number().to_le_bytes()))
}

/// Lets one call through.
pub(crate) async fn pass(app: &Arc<App>, incoming: Incoming) -> Outgoing {
    let began = app.now();
    let correlation = correlation_of(app, &incoming);
    let mut entry = Entry::begin(began, &correlation, &incoming);
    let mut outgoing = Outgoing::of(&correlation);
    match step(app, incoming, &correlation, &mut outgoing, &mut entry).await {
        Ok(answer) => {
            outgoing.status = answer.status;
            outgoing.result = Ok(answer.body);
        }
        Err(failure) => {
            let mut body = failure.into_body();
            body.correlation_id = correlation;
            outgoing.status = body.code.status();
            outgoing.result = Err(body);
        }
    }
    entry.finish(app, &outgoing);
    outgoing
}

async fn step(
    app: &Arc<App>,
    incoming: Incoming,
    correlation: &CorrelationId,
    outgoing: &mut Outgoing,
    entry: &mut Entry,
) -> Result<Answer, Failure> {
    let Some(route) = route(&incoming.call.operation) else {
        let unknown = || ErrorBody::new(ErrorCode::UnknownRoute, format!("no operation `{}`", incoming.call.operation));
        return Err(incoming.broken.unwrap_or_else(unknown).into());
    };
    let caller = admit(app, route, incoming.caller, &mut outgoing.allowance)?;
    if let Some(error) = incoming.broken {
        return Err(error.into());
    }
    let claimed = if route.mutating {
        let key = incoming.idempotency_key.as_deref();
        idempotency::claim(app, route, &caller, key, &incoming.call, correlation).await?
    } else {
        Claimed::Free(None)
    };
    let reserved = match claimed {
        Claimed::Kept(kept) => {
            outgoing.idempotency_hit = true;
            outgoing.truncated = kept.is_truncated();
            // A repeated call gets the very same body.
            outgoing.answered = kept.correlation().clone();
            return kept.answer();
        }
        Claimed::Free(reserved) => reserved,
    };
    entry.reserved(reserved.as_ref());
    execute(app, route, caller, incoming.call, correlation, reserved).await
}

/// The steps before a call is read: who it is, the right, the rate.
pub(crate) fn admit(
    app: &App,
    route: &Route,
    caller: Result<Caller, Box<ErrorBody>>,
    taken: &mut Option<Allowance>,
) -> Result<Caller, Failure> {
    let caller = match caller {
        Ok(caller) => caller,
        Err(_) if route.right == Right::None => Caller::nobody(),
        Err(error) => return Err(Failure::from(*error)),
    };
    check_right(app, route, &caller)?;
    // Hooks fire with each tool of an agent, and must not use up what it has for its own calls.
    let bucket = if route.operation == HOOK { Bucket::Hook } else { caller.bucket };
    let counted = match bucket {
        Bucket::Usual => Some((caller.actor_key_id.clone(), caller.rate_limit)),
        Bucket::Hook => Some((format!("hook:{}", caller.actor_key_id), Some(rate::HOOKS_PER_MINUTE))),
        Bucket::Import => None,
    };
    if let Some((actor, limit)) = counted.filter(|_| route.right != Right::None) {
        let allowance = app.limiter.take(&actor, limit, app.now());
        *taken = Some(allowance);
        if allowance.refused {
            let mut body =
                ErrorBody::new(ErrorCode::RateLimited, format!("more than {} calls in this minute", allowance.limit));
            body.retry_after_seconds = Some(allowance.seconds_left);
            return Err(body.into());
        }
    }
    Ok(caller)
}

fn check_right(app: &App, route: &Route, caller: &Caller) -> Result<(), Failure> {
    let has = match route.domain {
        // The socket proves the user, whose machine this is. A token was given to somebody else.
        Domain::Machine if caller.via == Via::Socket => caller.right,
        _ => effective(caller.right, app.store.authority().role(&app.store.node())),
    };
    if has >= route.right && caller.ventures.is_some() && !route.looks_at_ventures {
        let message = format!("`{}` is about all ventures, and this credential is limited to some", route.operation);
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    if has >= route.right {
        return Ok(());
    }
    let message =
        format!("`{}` needs the {} right, this caller has {}", route.operation, route.right.name(), has.name());
    Err(Failure::new(ErrorCode::Forbidden, message))
}

/// Runs the operation. A read that met the moment in which the store is opened anew after a failed write, for example on
/// a full disk, is tried again: what was acknowledged is still there.
async fn dispatch(cx: &Cx, input: Value) -> Result<Answer, Failure> {
    let mut left = READ_TRIES;
    loop {
        let done = handlers::dispatch(cx, input.clone()).await;
        left -= 1;
        match done {
            Err(Failure::Store(StoreError::Io(_) | StoreError::Group(_))) if !cx.route.mutating && left > 0 => {
                tokio::time::sleep(READ_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Runs the operation in a task of its own, so that a panic in it is an answer and not the end of the connection.
async fn execute(
    app: &Arc<App>,
    route: &'static Route,
    caller: Caller,
    call: Call,
    correlation: &CorrelationId,
    reserved: Option<Reserved>,
) -> Result<Answer, Failure> {
    let cx =
        Cx { app: Arc::clone(app), caller, route, correlation: correlation.clone(), params: call.params, reserved };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // An event that is reported twice is one heartbeat, which its handler knows.
        if cx.caller.is_agent() && cx.route.operation != HOOK {
            handlers::touch(&cx);
        }
        dispatch(&cx, call.input).await
    });
    match tasks.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            tracing::error!(%error, operation = route.operation, "an operation panicked");
            Err(Failure::new(ErrorCode::Internal, "this operation failed inside ctxnode; the daemon goes on"))
        }
        None => Err(Failure::new(ErrorCode::Internal, "the operation was lost")),
    }
}
