//! A server on a Unix socket that answers as a script says, for the client's tests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The connection, counted from 0.
    pub(crate) connection: usize,
    /// Path and query.
    pub(crate) uri: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body; null when empty.
    pub(crate) body: Value,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers.
    Send(u16, String),
    /// Closes the connection instead of answering.
    Hang,
    /// Never answers.
    Wait,
}

/// The server; dropping it ends it.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) socket: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
    _directory: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts a server whose `script` gets the number of requests so far and the request.
    pub(crate) fn start(script: fn(usize, &Seen) -> Reply) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, script, Arc::clone(&seen)));
        Self { socket, seen, _directory: directory, _tasks: tasks }
    }

    /// Returns all requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn accept(listener: UnixListener, script: fn(usize, &Seen) -> Reply, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let request = Seen { connection, uri: parts.uri.to_string(), headers: parts.headers, body };
                let reply = {
                    let mut seen = seen.lock().unwrap();
                    let reply = script(seen.len(), &request);
                    seen.push(request);
                    reply
                };
                match reply {
                    Reply::Send(status, text) => {
                        Ok(Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap())
                    }
                    Reply::Hang => Err(std::io::Error::other("hang up")),
                    Reply::Wait => std::future::pending().await,
                }
            }
        });
        connections.spawn(async move {
            // A connection that hangs up on purpose ends with an error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
