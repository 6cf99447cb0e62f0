//! The stream of changes, as server-sent events: one line for each record that changed, without its content. It ends with
//! the daemon, and with the credential of its reader.
//!
//! Opening it takes the steps of a call at the gate; what is sent afterwards is counted and logged no more. Earlier changes are
//! not sent again: a reader that comes back with the last id that it saw (`Last-Event-ID`) is told first, by the event `lagged`,
//! that it may have missed some, as one is that was too slow.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use ctxnode_api::operations::{ChangeView, EventQuery};
use ctxnode_api::shape::decode;
use ctxnode_api::{ErrorBody, ErrorCode, Route, headers};
use ctxnode_model::Invalid;
use ctxnode_model::record::Venture;
use http::HeaderMap;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream, WatchStream};
use tokio_stream::{Stream, StreamExt as _};

use super::{Peer, describe, identify, respond};
use crate::app::{App, Changed, Lifecycle};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::gate::rate::Allowance;
use crate::gate::request_log::Entry;
use crate::gate::{self, Incoming, Outgoing};

/// How often a stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Opens a stream, or says why not.
pub(super) fn open(
    app: &Arc<App>,
    peer: Peer,
    request_headers: HeaderMap,
    route: &Route,
    incoming: Incoming,
) -> Response {
    let correlation = gate::correlation_of(app, &incoming);
    let entry = Entry::begin(app.now(), &correlation, &incoming);
    let mut outgoing = Outgoing::of(&correlation);
    // First, so that what changes while it is let in is not missed.
    let changes = app.changes.subscribe();
    let reader = match admit(app, route, incoming, &mut outgoing.allowance) {
        Ok(reader) => reader,
        Err(failure) => {
            let body = ErrorBody { correlation_id: correlation, ..failure.into_body() };
            outgoing.status = body.code.status();
            outgoing.result = Err(body);
            entry.finish(app, &outgoing);
            return respond(outgoing);
        }
    };
    entry.finish(app, &outgoing);
    let missed = request_headers.contains_key(headers::LAST_EVENT_ID).then(lagged);
    let heard = BroadcastStream::new(changes).filter_map(move |change| match change {
        Ok(change) if reader.hears_of(change.venture.as_deref()) => Some(told(&change)),
        Ok(_) => None,
        Err(_) => Some(lagged()),
    });
    let ticks = IntervalStream::new(interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE));
    let signs = ticks.map(|_| Event::default().comment(""));
    let lifecycle = app.lifecycle.subscribe();
    let app = Arc::clone(app);
    // The socket proves the user for as long as it is open; a token can be revoked meanwhile.
    let is_welcome = move || matches!(peer, Peer::Local(_)) || identify(&app, &peer, &request_headers).is_ok();
    let events = while_served(tokio_stream::iter(missed).chain(heard).merge(signs), lifecycle, is_welcome);
    let mut response = Sse::new(events.map(Ok::<_, Infallible>)).into_response();
    describe(response.headers_mut(), &outgoing);
    response
}

/// Who listens, and to what.
struct Reader {
    caller: Caller,
    /// The venture that it asked for; all that it may see without one.
    venture: Option<String>,
}

impl Reader {
    fn hears_of(&self, venture: Option<&str>) -> bool {
        self.caller.sees(venture) && (self.venture.is_none() || self.venture.as_deref() == venture)
    }
}

/// Lets a reader in as the gate lets callers in, and reads what it asks for.
fn admit(app: &App, route: &Route, incoming: Incoming, allowance: &mut Option<Allowance>) -> Result<Reader, Failure> {
    let caller = gate::admit(app, route, incoming.caller, allowance)?;
    if let Some(error) = incoming.broken {
        return Err(error.into());
    }
    let query: EventQuery = decode(route, incoming.call.input)?;
    let mut invalid = Invalid::new();
    for (field, is_given) in [("limit", query.limit.is_some()), ("cursor", query.cursor.is_some())] {
        invalid.require(!is_given, field, "a stream has no pages");
    }
    invalid.finish()?;
    if let Some(code) = &query.venture {
        if !caller.sees(Some(code)) {
            return Err(Failure::new(ErrorCode::Forbidden, format!("this credential may not read `{code}`")));
        }
        let snapshot = app.store.read()?;
        let reader = snapshot.reader();
        // Of one that nobody knows nothing would ever come, and nobody would know why.
        if reader.get::<Venture>(reader.ids()?.venture(code))?.is_none() {
            let unknown = ErrorBody::new(ErrorCode::UnknownVenture, format!("venture `{code}` is not known"));
            return Err(unknown.hint("`ctxnode venture list` shows those that are").into());
        }
    }
    Ok(Reader { caller, venture: query.venture })
}

fn told(change: &Changed) -> Event {
    let view =
        ChangeView { id: change.id.clone(), kind: change.kind.name().to_owned(), venture: change.venture.clone() };
    Event::default().event("change").id(change.journal.to_string()).data(json!(view).to_string())
}

/// Tells a reader that it may have missed changes, so that it reads the lists again.
fn lagged() -> Event {
    Event::default().event("lagged").data("{}")
}

/// Ends a stream when the daemon was asked to stop: a call that never ends would hold up each stop for as long as calls may
/// take. And before the first thing that its reader may not be told any more.
fn while_served<T>(
    events: impl Stream<Item = T>,
    lifecycle: watch::Receiver<Lifecycle>,
    mut is_welcome: impl FnMut() -> bool,
) -> impl Stream<Item = T> {
    let end = WatchStream::new(lifecycle).filter_map(|state| (state != Lifecycle::Run).then_some(None));
    events.map(Some).merge(end).map_while(move |event| event.filter(|_| is_welcome()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_when_the_daemon_is_asked_to() {
        let (changes, lifecycle) = (broadcast::Sender::new(4), watch::Sender::new(Lifecycle::Run));
        let open = || while_served(BroadcastStream::new(changes.subscribe()), lifecycle.subscribe(), || true);
        let mut stream = std::pin::pin!(open());
        changes.send(1).unwrap();
        assert_eq!(stream.next().await, Some(Ok(1)));
        lifecycle.send_replace(Lifecycle::Handover);
        assert_eq!(stream.next().await, None);
        assert_eq!(std::pin::pin!(open()).next().await, None, "one that was opened too late");
    }

    #[tokio::test]
    async fn nothing_is_told_to_a_reader_whose_credential_holds_no_more() {
        let (changes, lifecycle) = (broadcast::Sender::new(4), watch::Sender::new(Lifecycle::Run));
        let holds = AtomicBool::new(true);
        let events = BroadcastStream::new(changes.subscribe());
        let is_welcome = || holds.load(Ordering::SeqCst);
        let mut stream = std::pin::pin!(while_served(events, lifecycle.subscribe(), is_welcome));
        changes.send(1).unwrap();
        assert_eq!(stream.next().await, Some(Ok(1)));
        holds.store(false, Ordering::SeqCst);
        changes.send(2).unwrap();
        assert_eq!(stream.next().await, None);
    }

    #[test]
    fn a_reader_hears_of_the_venture_that_it_asked_for_and_may_see() {
        let reader = |ventures: &[&str], venture: Option<&str>| {
            let ventures = ventures.iter().map(|code| (*code).to_owned()).collect();
            let caller = Caller { ventures: Some(ventures), ..Caller::nobody() };
            Reader { caller, venture: venture.map(str::to_owned) }
        };
        let hears = |reader: &Reader| [Some("alpha"), Some("beta"), None].map(|venture| reader.hears_of(venture));
        assert_eq!(hears(&reader(&["alpha"], None)), [true, false, true]);
        assert_eq!(hears(&reader(&["alpha", "beta"], Some("beta"))), [false, true, false]);
        let unlimited = Reader { caller: Caller::nobody(), venture: Some("alpha".to_owned()) };
        assert_eq!(hears(&unlimited), [true, false, false]);
    }
}
