//! The stream of changes, as server-sent events: one line for each record that changed, without its content.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

use super::{Peer, identify};
use crate::app::App;

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    let caller = match identify(&app, &peer, &headers) {
        Ok(caller) => caller,
        Err(error) => {
            let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::UNAUTHORIZED);
            return (status, axum::Json(*error)).into_response();
        }
    };
    let events = BroadcastStream::new(app.changes.subscribe()).filter_map(move |change| match change {
        Ok(change) if caller.sees(change.venture.as_deref()) => {
            let data = json!({ "kind": change.kind.name(), "id": change.id, "venture": change.venture });
            let event = Event::default().event("change").id(change.journal.to_string()).data(data.to_string());
            Some(Ok::<_, Infallible>(event))
        }
        Ok(_) => None,
        // A reader that was too slow is told, so that it reads the lists again instead of missing something.
        Err(_) => Some(Ok(Event::default().event("lagged").data("{}"))),
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
