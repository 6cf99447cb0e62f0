//! The typed client: HTTP/1.1 over the Unix socket, or over TCP with a token.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::operations::EventQuery;
use crate::sse::{EventParser, ServerEvent};
use crate::{Call, Caller, ErrorBody, Method, Route, headers, route};

/// How long a connect may take; the socket is local.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long an ordinary call may take. Checks and exports of a large store take longer; see [`Client::with_limit`].
pub const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer that is read: a full start with every doc.
pub const MAX_ANSWER: usize = 64 << 20;

/// How long a stream of events may be silent. The daemon sends a comment every 15 seconds; three lost ones mean that the
/// connection is gone without a word, as after a suspend.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// Where the daemon listens.
#[derive(Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Socket(PathBuf),
    /// An address and a token.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The token.
        token: String,
    },
}

/// As in messages: never the token.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp { address, .. } => address.fmt(f),
        }
    }
}

/// A connection to the daemon that is made again when it was lost.
///
/// A mutating call without a key gets one, so that a call whose connection broke can be sent again and still happens
/// once.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    limit: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer with what the headers said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// Whether it was kept from an earlier call with the same key.
    pub idempotency_hit: bool,
    /// The daemon's build.
    pub build: Option<String>,
    /// All headers.
    pub headers: http::HeaderMap,
}

/// A call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("the daemon does not answer at {endpoint}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(Box<ErrorBody>),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
    /// The connection broke in the middle of a call.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// The answer is not what this version expects.
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// The answer is too large or broke off.
    #[error("the answer is too large or broke off")]
    Incomplete,
    /// A value cannot be sent in a header.
    #[error("{name} cannot be sent")]
    Header {
        /// The header.
        name: &'static str,
    },
    /// No such operation.
    #[error("there is no operation {0}")]
    NoOperation(String),
}

impl Client {
    /// Makes a client; it connects on the first call.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, limit: CALL_LIMIT, headers: Vec::new(), connection: None }
    }

    /// Sets how long a call may take.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends a header with every call.
    ///
    /// # Errors
    /// When the value cannot be a header.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| ClientError::Header { name })?;
        self.headers.push((HeaderName::from_static(name), value));
        Ok(self)
    }

    /// Says with every call who asks.
    ///
    /// # Errors
    /// When a value cannot be a header.
    pub fn with_caller(mut self, caller: &Caller) -> Result<Self, ClientError> {
        let said = caller.headers()?;
        self.headers.extend(said.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)));
        Ok(self)
    }

    /// Opens a stream of events on a connection of its own, which begins with `lagged` when `last_id` is given:
    /// what happened since that event is not sent again.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn events(&self, query: &EventQuery, last_id: Option<&str>) -> Result<EventStream, ClientError> {
        let call = Call::new("event.stream", serde_json::to_value(query).map_err(ClientError::Unreadable)?);
        let route = route(&call.operation).ok_or_else(|| ClientError::NoOperation(call.operation.clone()))?;
        let extra: Vec<(&'static str, &str)> = last_id.map(|id| (headers::LAST_EVENT_ID, id)).into_iter().collect();
        let open = async {
            let mut connection = self.connect().await?;
            let request = self.request(route, &call, &extra)?;
            let response = connection.sender.send_request(request).await.map_err(ClientError::Broken)?;
            let (parts, body) = response.into_parts();
            if !parts.status.is_success() {
                let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| ClientError::Incomplete)?;
                return Err(refusal(&body.to_bytes()));
            }
            Ok(EventStream { _connection: connection, body, parser: EventParser::default(), ready: VecDeque::new() })
        };
        timeout(self.limit, open).await.map_err(|_| ClientError::TooSlow(self.limit))?
    }

    /// Calls an operation with typed input and output.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn typed<I: Serialize, O: DeserializeOwned>(
        &mut self,
        operation: &str,
        input: &I,
    ) -> Result<O, ClientError> {
        let input = serde_json::to_value(input).map_err(ClientError::Unreadable)?;
        let answer = self.call(&Call::new(operation, input)).await?;
        serde_json::from_value(answer.body).map_err(ClientError::Unreadable)
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn call(&mut self, call: &Call) -> Result<Answer, ClientError> {
        self.call_with(call, &[]).await
    }

    /// Calls an operation with further headers.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn call_with(&mut self, call: &Call, extra: &[(&'static str, &str)]) -> Result<Answer, ClientError> {
        let found = route(&call.operation).ok_or_else(|| ClientError::NoOperation(call.operation.clone()))?;
        let limit = self.limit;
        timeout(limit, self.exchange(found, call, extra)).await.map_err(|_| ClientError::TooSlow(limit))?
    }

    async fn exchange(
        &mut self,
        route: &Route,
        call: &Call,
        extra: &[(&'static str, &str)],
    ) -> Result<Answer, ClientError> {
        let key = self.missing_key(route, call, extra);
        let mut extra = extra.to_vec();
        extra.extend(key.as_deref().map(|key| (headers::IDEMPOTENCY_KEY, key)));
        let idle = self.connection.take().filter(|connection| !connection.sender.is_closed());
        if let Some(connection) = idle {
            match self.attempt(connection, self.request(route, call, &extra)?).await {
                // The daemon was replaced while the connection was idle. Reads and calls with a key may be repeated.
                Err(ClientError::Broken(_)) => {}
                done => return done,
            }
        }
        let connection = self.connect().await?;
        self.attempt(connection, self.request(route, call, &extra)?).await
    }

    async fn attempt(
        &mut self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError> {
        let response = connection.sender.send_request(request).await.map_err(ClientError::Broken)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| ClientError::Incomplete)?.to_bytes();
        self.connection = Some(connection);
        answer(&parts, &body)
    }

    /// Returns a new idempotency key for a mutating call that has none.
    fn missing_key(&self, route: &Route, call: &Call, extra: &[(&'static str, &str)]) -> Option<String> {
        let in_body = call.input.get("update_id").is_some_and(Value::is_string);
        let in_header = extra.iter().any(|(name, _)| *name == headers::IDEMPOTENCY_KEY)
            || self.headers.iter().any(|(name, _)| name == headers::IDEMPOTENCY_KEY);
        (route.mutating && !in_body && !in_header).then(|| uuid::Uuid::new_v4().to_string())
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let unreachable = |source| ClientError::Unreachable { endpoint: self.endpoint.to_string(), source };
        let late = |_| unreachable(std::io::ErrorKind::TimedOut.into());
        match &self.endpoint {
            Endpoint::Socket(path) => {
                let stream = timeout(CONNECT_LIMIT, UnixStream::connect(path)).await.map_err(late)?;
                handshake(TokioIo::new(stream.map_err(unreachable)?)).await
            }
            Endpoint::Tcp { address, .. } => {
                let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await.map_err(late)?;
                handshake(TokioIo::new(stream.map_err(unreachable)?)).await
            }
        }
    }

    fn request(
        &self,
        route: &Route,
        call: &Call,
        extra: &[(&'static str, &str)],
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut path = route.fill(&call.params);
        let body = if route.method == Method::Get {
            let query = query_string(&call.input);
            if !query.is_empty() {
                path = format!("{path}?{query}");
            }
            Bytes::new()
        } else {
            Bytes::from(serde_json::to_vec(&call.input).map_err(ClientError::Unreadable)?)
        };
        let host = match &self.endpoint {
            Endpoint::Socket(_) => "localhost".to_owned(),
            Endpoint::Tcp { address, .. } => address.to_string(),
        };
        let mut builder = Request::builder().method(route.method.name()).uri(path).header(http::header::HOST, host);
        if route.method != Method::Get {
            builder = builder.header(http::header::CONTENT_TYPE, "application/json");
        }
        if let Endpoint::Tcp { token, .. } = &self.endpoint {
            builder = builder.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        for (name, value) in extra {
            builder = builder.header(*name, *value);
        }
        builder.body(Full::new(body)).map_err(|_| ClientError::Header { name: "a header" })
    }
}

/// Events as the daemon sends them. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    // Held, because the connection ends with its driver.
    _connection: Connection,
    body: Incoming,
    parser: EventParser,
    ready: VecDeque<ServerEvent>,
}

impl EventStream {
    /// Waits for the next event; `None` when the daemon has closed the stream.
    ///
    /// # Errors
    /// When the connection breaks, or is silent for longer than [`SILENCE_LIMIT`].
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        while self.ready.is_empty() {
            let frame = timeout(SILENCE_LIMIT, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| ClientError::TooSlow(SILENCE_LIMIT))? else { return Ok(None) };
            if let Ok(bytes) = frame.map_err(ClientError::Broken)?.into_data() {
                self.ready.extend(self.parser.feed(&bytes).map_err(|_| ClientError::Incomplete)?);
            }
        }
        Ok(self.ready.pop_front())
    }
}

async fn handshake<S>(stream: TokioIo<S>) -> Result<Connection, ClientError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await.map_err(ClientError::Broken)?;
    #[expect(clippy::disallowed_methods, reason = "the task is owned by the connection, which aborts it on drop")]
    let driver = tokio::spawn(async move {
        // How a connection ended is told to the call that was using it.
        let _ = connection.await;
    });
    Ok(Connection { sender, driver })
}

fn answer(parts: &http::response::Parts, body: &Bytes) -> Result<Answer, ClientError> {
    let value: Value =
        if body.is_empty() { Value::Null } else { serde_json::from_slice(body).map_err(ClientError::Unreadable)? };
    if !(StatusCode::OK..StatusCode::MULTIPLE_CHOICES).contains(&parts.status) {
        return Err(refusal(body));
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Answer {
        status: parts.status.as_u16(),
        body: value,
        idempotency_hit: text(headers::IDEMPOTENCY_HIT).as_deref() == Some("true"),
        build: text(headers::BUILD),
        headers: parts.headers.clone(),
    })
}

fn refusal(body: &Bytes) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(error) => ClientError::Refused(Box::new(error)),
        Err(error) => ClientError::Unreadable(error),
    }
}

/// Writes an object as a query string; lists become repeated names.
fn query_string(input: &Value) -> String {
    let encode = crate::routes::percent_encode;
    let mut pairs = Vec::new();
    for (name, value) in input.as_object().into_iter().flatten() {
        let mut push = |value: &Value| match value {
            Value::Null => {}
            Value::String(text) => pairs.push(format!("{}={}", encode(name), encode(text))),
            other => pairs.push(format!("{}={}", encode(name), encode(&other.to_string()))),
        };
        match value {
            Value::Array(items) => items.iter().for_each(&mut push),
            other => push(other),
        }
    }
    pairs.join("&")
}
