//! The stream of changes, as server-sent events: one line for each record that changed, without its content. It ends with
//! the daemon.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};
use tokio_stream::{Stream, StreamExt as _};

use super::{Peer, identify};
use crate::app::{App, Lifecycle};

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
    let events = while_running(events, app.lifecycle.subscribe());
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Ends a stream when the daemon was asked to stop: a call that never ends would hold up each stop for as long as calls may
/// take.
fn while_running<T>(events: impl Stream<Item = T>, lifecycle: watch::Receiver<Lifecycle>) -> impl Stream<Item = T> {
    let end = WatchStream::new(lifecycle).filter_map(|state| (state != Lifecycle::Run).then_some(None));
    events.map(Some).merge(end).map_while(|event| event)
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_when_the_daemon_is_asked_to() {
        let (changes, lifecycle) = (broadcast::Sender::new(4), watch::Sender::new(Lifecycle::Run));
        let open = || while_running(BroadcastStream::new(changes.subscribe()), lifecycle.subscribe());
        let mut stream = std::pin::pin!(open());
        changes.send(1).unwrap();
        assert_eq!(stream.next().await, Some(Ok(1)));
        lifecycle.send_replace(Lifecycle::Handover);
        assert_eq!(stream.next().await, None);
        assert_eq!(std::pin::pin!(open()).next().await, None, "one that was opened too late");
    }
}
