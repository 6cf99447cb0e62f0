//! How the daemon serves MCP: connections of its Unix socket, and streamable HTTP beside its other routes.
//!
//! **Socket.** The daemon accepts a connection, reads one line with [`crate::shim::Preface::read`], makes the backend of
//! that caller, and awaits [`serve_stream`] in a task of its supervisor; dropping the future closes the connection.
//!
//! **HTTP.** `Router::nest_service("/mcp", http_service(make, options))`. `make` sees the head of every request and so
//! checks the token each time; it refuses with the error that the other routes give. A refused request is answered with
//! a tool error or a protocol error and not with 401, so the mount keeps the daemon's token layer in front of it.

use std::sync::Arc;

use ctxnode_api::ErrorBody;
use rmcp::ServiceExt;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::server::Server;

/// The service to mount at `/mcp`.
pub type Http<B> = StreamableHttpService<Server<B>, LocalSessionManager>;

/// A body of one HTTP request: notes and docs travel in it, up to six times larger as JSON escapes.
const MAX_BODY: usize = 8 << 20;

/// From where HTTP clients may come.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Names or addresses that a `Host` header may hold; loopback only when empty.
    pub hosts: Vec<String>,
    /// Origins of pages that may call; none when empty.
    pub origins: Vec<String>,
    /// Ends all sessions when it is cancelled.
    pub stop: CancellationToken,
}

/// A connection ended otherwise than by its client.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The client did not shake hands.
    #[error("the handshake failed")]
    Handshake(#[source] Box<ServerInitializeError>),
    /// The task of the connection panicked.
    #[error("the connection's task failed")]
    Task(#[source] tokio::task::JoinError),
}

/// Serves one connection until the client closes it or the future is dropped.
///
/// # Errors
/// When the handshake fails or the connection's task panics.
pub async fn serve_stream<B: Backend>(
    backend: B,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let _stopped_on_drop = stop.clone().drop_guard();
    let served = Server::new(backend).serve_with_ct(stream, stop).await;
    let running = match served {
        Ok(running) => running,
        // A client that connects and leaves is no fault: probes do that.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(ServeError::Handshake(Box::new(error))),
    };
    match running.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => Err(ServeError::Task(error)),
        Ok(_) => Ok(()),
    }
}

/// Returns the service for HTTP. `make` turns the head of each request into the backend of its caller.
pub fn http_service<B: Backend>(
    make: impl Fn(&http::request::Parts) -> Result<B, ErrorBody> + Send + Sync + 'static,
    options: HttpOptions,
) -> Http<B> {
    let make: crate::server::Make<B> = Arc::new(make);
    let mut config = StreamableHttpServerConfig::default()
        .with_allowed_origins(options.origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(MAX_BODY)
        .with_cancellation_token(options.stop);
    if !options.hosts.is_empty() {
        config = config.with_allowed_hosts(options.hosts);
    }
    let factory = move || Ok(Server::per_request(Arc::clone(&make)));
    StreamableHttpService::new(factory, Arc::new(LocalSessionManager::default()), config)
}
