//! MCP of the daemon: the socket that shims connect to, and streamable HTTP. Both pass the gate like every other call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use ctxnode_api::{Call, ErrorBody, version};
use ctxnode_mcp::shim::Preface;
use ctxnode_mcp::{Answered, Backend, CallMeta, Changed, HttpOptions};
use http::request::Parts;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Lifecycle};
use crate::caller::{Bucket, Caller, Via};
use crate::conversations;
use crate::gate::{self, Incoming};
use crate::handlers;
use crate::http_server::{LocalPeer, identify_remote, local_caller};
use crate::process::{AgentProcess, ProcessId, parent_of};

/// How many lost changes a slow client may lag behind before it is told that everything may have changed.
const CHANGE_BUFFER: usize = 256;
/// The agent CLI of a client that is none of the known ones.
const UNKNOWN_CLI: &str = "mcp";

/// One connection, or one HTTP request, with its caller.
#[derive(Clone)]
struct Connection {
    app: Arc<App>,
    caller: Caller,
    notices: Arc<[String]>,
    news: Arc<News>,
    changes: broadcast::Sender<Changed>,
}

/// What the agent is told once, with its next reply.
#[derive(Default)]
struct News {
    waiting: Mutex<Vec<String>>,
    /// The state of claims that was looked at last.
    seen: AtomicU64,
}

/// Operations whose answers name clashing claims by themselves.
const SAYS_IT: &[&str] = &["sod", "update", "context"];

impl Connection {
    /// Looks for news after a call. Nothing is read while no claim and no session changed anywhere.
    async fn look_for_news(&self, operation: &str) {
        let now = self.app.claims_changed.load(Ordering::SeqCst);
        if self.news.seen.swap(now, Ordering::SeqCst) == now && !SAYS_IT.contains(&operation) {
            return;
        }
        let mut caller = self.caller.clone();
        conversations::rename(&self.app, &mut caller);
        match handlers::claim_news(&self.app, &caller.agent).await {
            Ok(found) if !SAYS_IT.contains(&operation) => {
                self.news.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            }
            Ok(_) => {}
            Err(failure) => tracing::warn!(?failure, "clashing claims could not be looked for"),
        }
    }
}

impl Backend for Connection {
    async fn call(&self, call: Call, meta: CallMeta) -> Result<Answered, ErrorBody> {
        let mut caller = self.caller.clone();
        conversations::rename(&self.app, &mut caller);
        let incoming = Incoming {
            call,
            caller: Ok(caller),
            correlation: meta.correlation_id,
            idempotency_key: meta.idempotency_key,
            broken: None,
        };
        let operation = incoming.call.operation.clone();
        let outgoing = gate::pass(&self.app, incoming).await;
        self.look_for_news(&operation).await;
        let body = outgoing.result?;
        Ok(Answered { body, correlation_id: outgoing.correlation, idempotency_hit: outgoing.idempotency_hit })
    }

    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    fn notices(&self) -> Vec<String> {
        let mut waiting = self.news.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Each is told once, so what finds no room now waits for the next answer.
        let now = waiting.len().min(ctxnode_mcp::NOTICES);
        let news: Vec<String> = waiting.drain(..now).collect();
        news.into_iter().chain(self.notices.iter().cloned()).collect()
    }
}

/// Accepts shims until the daemon ends; dropping the future closes their connections, and they come back by themselves.
pub(crate) async fn serve_socket(app: Arc<App>, listener: UnixListener) {
    let mut connections = JoinSet::new();
    let mut tasks = JoinSet::new();
    let changes = relay(&app, &mut tasks);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(Arc::clone(&app), stream, changes.clone()));
                }
                Err(error) => {
                    // Out of file descriptors: the next connection that ends frees one.
                    tracing::error!(%error, "a shim could not be accepted");
                    connections.join_next().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes the daemon's changes on in the form of the MCP crate. Ventures that a caller may not see are filtered where a
/// record is read; a change carries only its id.
fn relay(app: &App, tasks: &mut JoinSet<()>) -> broadcast::Sender<Changed> {
    let sender = broadcast::Sender::new(CHANGE_BUFFER);
    let (out, mut changes) = (sender.clone(), app.changes.subscribe());
    tasks.spawn(async move {
        loop {
            match changes.recv().await {
                // Without listeners there is nobody to tell.
                Ok(change) => drop(out.send(Changed { kind: change.kind, id: change.id })),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    });
    sender
}

async fn serve(app: Arc<App>, stream: UnixStream, changes: broadcast::Sender<Changed>) {
    let credentials = stream.peer_cred().ok();
    let uid = credentials.as_ref().map(tokio::net::unix::UCred::uid);
    if uid != Some(rustix::process::getuid().as_raw()) {
        tracing::warn!(?uid, "a shim of another user was refused");
        return;
    }
    let mut stream = BufReader::new(stream);
    let preface = match Preface::read(&mut stream).await {
        Ok(preface) => preface,
        Err(error) => return tracing::debug!(%error, "a connection to the MCP socket was not one of a shim"),
    };
    let known = credentials.and_then(|credentials| credentials.pid()).and_then(|pid| u32::try_from(pid).ok());
    let pid = known.unwrap_or(preface.pid);
    let caller = {
        let (app, directory) = (Arc::clone(&app), preface.directory.clone());
        let found = tokio::task::spawn_blocking(move || caller_of(&app, uid, pid, directory)).await;
        let Ok(caller) = found else { return };
        caller
    };
    let connection = Connection { notices: notices(&preface.build).into(), news: Arc::default(), app, caller, changes };
    if let Err(error) = ctxnode_mcp::serve_stream(connection, stream).await {
        tracing::info!(%error, "an MCP connection ended");
    }
}

/// Finds the agent above a shim. A client that is no known CLI is itself the agent: the process that started the shim,
/// which stays the same when the shim is started again.
fn caller_of(app: &App, uid: Option<u32>, pid: u32, directory: std::path::PathBuf) -> Caller {
    let peer = LocalPeer::new(uid, Some(pid));
    let mut caller = local_caller(app, &peer, None, Some(directory.clone()), Via::Mcp, Bucket::Usual);
    let parent = parent_of(pid).and_then(ProcessId::of);
    if let (None, Some(process)) = (&caller.agent_process, parent) {
        let unknown = AgentProcess { cli: UNKNOWN_CLI, process };
        let named = crate::http_server::agent_id_of(app, &unknown);
        caller = local_caller(app, &peer, Some(&named), Some(directory), Via::Mcp, Bucket::Usual);
        caller.agent_process = Some(unknown);
        caller.explicit_agent = false;
    }
    caller
}

fn notices(shim: &str) -> Vec<String> {
    if shim == version::BUILD {
        return Vec::new();
    }
    vec![format!(
        "note: this MCP connection runs ctxnode {shim}, the daemon {}; restart the agent CLI to use one build",
        version::BUILD
    )]
}

/// Returns the routes of streamable HTTP. Every request is checked as those of the other routes are.
pub(crate) fn http_routes(app: Arc<App>) -> Router {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let changes = relay(&app, &mut tasks);
    let mut lifecycle = app.lifecycle.subscribe();
    let stopping = stop.clone();
    tasks.spawn(async move {
        // An error means that the daemon is gone, which is a stop too.
        let _ = lifecycle.wait_for(|state| *state != Lifecycle::Run).await;
        stopping.cancel();
    });
    tasks.detach_all();
    let own = app.config.http_listen.map(|address| {
        [address.to_string(), format!("localhost:{}", address.port()), format!("127.0.0.1:{}", address.port())]
    });
    let hosts: Vec<String> = own.into_iter().flatten().collect();
    let origins = hosts.iter().map(|host| format!("http://{host}")).collect();
    let checked = Arc::clone(&app);
    let make = move |parts: &Parts| {
        let caller = identify_remote(&checked, &parts.headers).map_err(|error| *error)?;
        Ok(Connection {
            app: Arc::clone(&checked),
            caller: Caller { via: Via::Mcp, ..caller },
            notices: Arc::from([]),
            news: Arc::default(),
            changes: changes.clone(),
        })
    };
    let service = ctxnode_mcp::http_service(make, HttpOptions { hosts, origins, stop });
    let guarded = axum::middleware::from_fn_with_state(app, require_token);
    Router::new().nest_service("/mcp", service).layer(guarded)
}

/// Answers 401 before a session of MCP is made for a caller without a token.
async fn require_token(
    axum::extract::State(app): axum::extract::State<Arc<App>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    match identify_remote(&app, request.headers()) {
        Ok(_) => next.run(request).await,
        Err(error) => {
            let status = http::StatusCode::from_u16(error.code.status()).unwrap_or(http::StatusCode::UNAUTHORIZED);
            (status, axum::Json(*error)).into_response()
        }
    }
}
