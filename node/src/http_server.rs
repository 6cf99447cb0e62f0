//! HTTP over the Unix socket and, when configured, over TCP: finds out who calls and hands the call to the gate.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::serve::IncomingStream;
use ctxnode_api::{Call, ErrorBody, ErrorCode, Form, Method, ROUTES, Right, Route, headers, version};
use ctxnode_model::rules::{canonical, identity};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use tokio::net::{TcpListener, UnixListener};

use crate::app::{App, name_call};
use crate::caller::{Bucket, Caller, Via};
use crate::conversations;
use crate::gate::{self, Incoming, Outgoing, tokens};
use crate::process::{AgentProcess, agents_above, boot_id};

mod events;

/// The largest query string: filters are short, and the line limit of HTTP/1.1 implementations is near this.
const MAX_QUERY: usize = 16 << 10;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// A process on this machine.
    Local(Arc<LocalPeer>),
    /// A TCP client.
    Remote,
}

/// A process on this machine, with what is found out about it once per connection.
#[derive(Debug)]
pub(crate) struct LocalPeer {
    uid: Option<u32>,
    pid: Option<u32>,
    agents: OnceLock<Vec<AgentProcess>>,
}

impl LocalPeer {
    pub(crate) fn new(uid: Option<u32>, pid: Option<u32>) -> Self {
        Self { uid, pid, agents: OnceLock::new() }
    }

    fn agents(&self) -> &[AgentProcess] {
        self.agents.get_or_init(|| self.pid.map(agents_above).unwrap_or_default())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        let uid = credentials.as_ref().map(tokio::net::unix::UCred::uid);
        let pid = credentials.and_then(|credentials| credentials.pid()).and_then(|pid| u32::try_from(pid).ok());
        Self::Local(Arc::new(LocalPeer::new(uid, pid)))
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, TcpListener>) -> Self {
        Self::Remote
    }
}

/// Returns the service that both listeners use.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new().fallback(handle).with_state(app)
}

async fn handle(State(app): State<Arc<App>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let caller = identify(&app, &peer, &parts.headers);
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut incoming = Incoming {
        call: Call { operation: "unknown".to_owned(), params: Map::new(), input: Value::Object(Map::new()) },
        caller,
        correlation: text(headers::CORRELATION_ID),
        idempotency_key: text(headers::IDEMPOTENCY_KEY),
        broken: None,
    };
    let Some((route, params)) = find(parts.method.as_str(), parts.uri.path()) else {
        let message = format!("no route {} {}", parts.method, parts.uri.path());
        incoming.broken = Some(ErrorBody::new(ErrorCode::UnknownRoute, message).hint("GET /v1/openapi.json lists all"));
        return respond(gate::pass(&app, incoming).await);
    };
    route.operation.clone_into(&mut incoming.call.operation);
    incoming.call.params = params;
    // The body of a stranger is not read: it could be any amount, of which nothing counts.
    if incoming.caller.is_ok() || route.right == Right::None {
        match read_input(route, parts.uri.query(), body).await {
            Ok(input) => incoming.call.input = input,
            Err(error) => incoming.broken = Some(error),
        }
    }
    if route.form == Form::EventStream {
        return events::open(&app, peer, parts.headers, route, incoming);
    }
    respond(gate::pass(&app, incoming).await)
}

/// Finds the route of a path. Fixed parts beat parameters.
fn find(method: &str, path: &str) -> Option<(&'static Route, Map<String, Value>)> {
    let parts: Vec<&str> = path.split('/').collect();
    let candidates = ROUTES.iter().filter(|route| route.method.name() == method);
    let mut matching: Vec<(usize, &'static Route, Map<String, Value>)> = candidates
        .filter_map(|route| {
            let pattern: Vec<&str> = route.path.split('/').collect();
            if pattern.len() != parts.len() {
                return None;
            }
            let mut params = Map::new();
            for (pattern, part) in pattern.iter().zip(&parts) {
                match pattern.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) => drop(params.insert(name.to_owned(), Value::String(percent_decode(part)?))),
                    None if pattern == part => {}
                    None => return None,
                }
            }
            Some((params.len(), route, params))
        })
        .collect();
    matching.sort_by_key(|(parameters, ..)| *parameters);
    matching.into_iter().next().map(|(_, route, params)| (route, params))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let pair = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

async fn read_input(route: &Route, query: Option<&str>, body: Body) -> Result<Value, ErrorBody> {
    if route.method == Method::Get {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(too_large(MAX_QUERY));
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode(&text.replace('+', " ")).unwrap_or_else(|| text.to_owned());
            (decode(name), decode(value))
        });
        let pairs: Vec<(String, String)> = pairs.collect();
        return Ok(ctxnode_api::shape::Shape::of_input(route).from_query(&pairs));
    }
    // The limit counts the bytes that arrive, whatever the header announced.
    let bytes = to_bytes(body, route.body_limit).await.map_err(|_| too_large(route.body_limit))?;
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let bad = |message: String| ErrorBody::new(ErrorCode::BadJson, format!("the body is not JSON: {message}"));
    let text = std::str::from_utf8(&bytes).map_err(|error| bad(error.to_string()))?;
    canonical::parse(text).map_err(|error| bad(error.to_string()))
}

fn too_large(limit: usize) -> ErrorBody {
    ErrorBody::new(ErrorCode::TooLarge, format!("the request is larger than {limit} bytes"))
}

/// Finds out who calls.
pub(crate) fn identify(app: &App, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Box<ErrorBody>> {
    match peer {
        Peer::Local(local) => identify_local(app, local, headers),
        Peer::Remote => identify_remote(app, headers),
    }
}

fn identify_local(app: &App, peer: &LocalPeer, headers: &HeaderMap) -> Result<Caller, Box<ErrorBody>> {
    if peer.uid != Some(rustix::process::getuid().as_raw()) {
        let message = "the socket belongs to another user";
        return Err(Box::new(ErrorBody::new(ErrorCode::Unauthorized, message)));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bucket = if text(headers::CALLER) == Some("import") { Bucket::Import } else { Bucket::Usual };
    let directory = text(headers::DIRECTORY).map(Into::into);
    Ok(local_caller(app, peer, text(headers::AGENT), directory, Via::Socket, bucket))
}

/// Makes the caller behind a local process. An agent found by lineage beats a person's name, and an agent id that the
/// caller gave beats both.
pub(crate) fn local_caller(
    app: &App,
    peer: &LocalPeer,
    named: Option<&str>,
    directory: Option<std::path::PathBuf>,
    via: Via,
    bucket: Bucket,
) -> Caller {
    let mut agents = peer.agents().iter().cloned();
    let (agent_process, parent_process) = (agents.next(), agents.next());
    let given = named.filter(|agent| !agent.starts_with("user-"));
    let agent = match (given, &agent_process) {
        (Some(given), _) => given.to_owned(),
        (None, Some(found)) => agent_id_of(app, found),
        (None, None) => named.map_or_else(|| identity::user_agent(&app.host.user), str::to_owned),
    };
    Caller {
        actor_key_id: identity::local_actor_key_id(&app.store.node(), &agent),
        explicit_agent: given.is_some(),
        agent,
        right: Right::Admin,
        ventures: None,
        rate_limit: None,
        via,
        bucket,
        directory,
        agent_process,
        parent_process,
    }
}

/// Returns the agent id of a process of this machine.
pub(crate) fn agent_id_of(app: &App, agent: &AgentProcess) -> String {
    identity::agent_id(agent.cli, &app.host.part, &conversations::instance_of(app, agent))
}

/// Returns the eight characters that name an agent process, whatever conversation it goes on with.
pub(crate) fn own_instance(agent: &AgentProcess) -> String {
    let boot = boot_id();
    identity::instance(identity::Root::Process {
        boot_id: &boot,
        pid: agent.process.pid,
        started: agent.process.started,
    })
}

/// Checks the token of a TCP client, and that no page of a browser calls under a foreign name.
pub(crate) fn identify_remote(app: &App, headers: &HeaderMap) -> Result<Caller, Box<ErrorBody>> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    check_origin(app, text(header::HOST), text(header::ORIGIN))?;
    let secret = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let secret = secret.ok_or_else(|| Box::new(ErrorBody::new(ErrorCode::Unauthorized, "a bearer token is needed")))?;
    let snapshot = app.store.read().map_err(|error| Box::new(crate::failure::Failure::from(error).into_body()))?;
    let token = tokens::authenticate(snapshot.reader(), secret, app.now())?;
    let named = headers.get(headers::AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let agent = named.or_else(|| token.agent.clone().filter(|agent| !agent.contains('*')));
    if let Some(agent) = &agent
        && !token.allows_agent(agent)
    {
        let message = format!("the token belongs to `{}`", token.agent.as_deref().unwrap_or("another agent"));
        return Err(Box::new(ErrorBody::new(ErrorCode::Forbidden, message)));
    }
    Ok(Caller {
        actor_key_id: token.actor_key_id().to_owned(),
        agent: agent.unwrap_or_else(|| format!("token-{}", token.actor_key_id())),
        explicit_agent: true,
        right: token.right,
        ventures: (!token.ventures.is_empty()).then(|| token.ventures.iter().cloned().collect()),
        rate_limit: Some(token.rate_limit),
        via: Via::Http,
        bucket: Bucket::Usual,
        directory: None,
        agent_process: None,
        parent_process: None,
    })
}

/// A page in a browser must not be able to reach the daemon under a foreign name, not even with the user's token.
fn check_origin(app: &App, host: Option<&str>, origin: Option<&str>) -> Result<(), Box<ErrorBody>> {
    let refuse = |what: &str| Box::new(ErrorBody::new(ErrorCode::Forbidden, format!("foreign {what} header")));
    let Some(listen) = app.config.http_listen else { return Err(refuse("Host")) };
    let own = [listen.to_string(), format!("localhost:{}", listen.port()), format!("127.0.0.1:{}", listen.port())];
    if !host.is_some_and(|host| own.iter().any(|own| own == host)) {
        return Err(refuse("Host"));
    }
    match origin {
        Some(origin) if !own.iter().any(|own| origin == format!("http://{own}")) => Err(refuse("Origin")),
        _ => Ok(()),
    }
}

fn respond(mut outgoing: Outgoing) -> Response {
    let body = match &mut outgoing.result {
        Ok(body) => {
            name_call(body, &outgoing.answered);
            body.to_string()
        }
        Err(error) => serde_json::to_string(error).unwrap_or_default(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    describe(response.headers_mut(), &outgoing);
    response
}

/// Says of an answer, whatever its form, which call it is of and how many are left.
fn describe(into: &mut HeaderMap, outgoing: &Outgoing) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            into.insert(HeaderName::from_static(name), value);
        }
    };
    set(headers::CORRELATION_ID, outgoing.correlation.as_str());
    set(headers::BUILD, version::BUILD);
    if outgoing.idempotency_hit {
        set(headers::IDEMPOTENCY_HIT, "true");
    }
    if outgoing.truncated {
        set(headers::IDEMPOTENCY_TRUNCATED, "true");
    }
    if let Some(allowance) = &outgoing.allowance {
        set(headers::RATE_LIMIT, &allowance.limit.to_string());
        set(headers::RATE_REMAINING, &allowance.remaining.to_string());
        set(headers::RATE_RESET, &allowance.reset.iso());
        if allowance.refused {
            set("retry-after", &allowance.seconds_left.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_parts_beat_parameters() {
        assert_eq!(find("GET", "/v1/notes/tags").unwrap().0.operation, "note.tags");
        assert_eq!(find("GET", "/v1/notes/note_1").unwrap().0.operation, "note.get");
        assert_eq!(find("GET", "/v1/docs/alpha/a%20b.md").unwrap().1["name"], "a b.md");
        assert!(find("POST", "/v1/docs/alpha/x.md").is_none());
        assert!(find("GET", "/v1/notes/%zz").is_none());
    }
}
