//! The request log: one row for every call that came to the gate, kept seven days, never with a body or a secret.
//!
//! Rows are collected in memory and written every second, so that logging costs no fsync of its own. A crash loses at
//! most that second of log, never an effect.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use ctxnode_api::node::RequestLogRow;
use ctxnode_api::{CorrelationId, Iso};
use ctxnode_model::Timestamp;
use ctxnode_model::rules::text::cut;
use ctxnode_store::{LocalTable, Store, StoreError};

use super::idempotency::Reserved;
use super::{Incoming, Outgoing};
use crate::app::App;

/// How long rows are kept, in milliseconds.
pub(crate) const KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// The most rows that wait to be written. At 100 calls per minute and actor this is far away; beyond it the oldest go.
const BUFFERED: usize = 20_000;
/// Characters that are kept of what a caller says of itself and its call. All that can be valid is shorter; what is not must not
/// fill the disk for a week.
const SAID_CHARS: usize = 200;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    rows: Mutex<Vec<RequestLogRow>>,
    number: AtomicU32,
    // Whoever reads the log waits for rows that are being written.
    writing: tokio::sync::Mutex<()>,
}

impl RequestLog {
    fn push(&self, row: RequestLogRow) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= BUFFERED {
            rows.remove(0);
        }
        rows.push(row);
    }

    /// Writes what waits.
    pub(crate) async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            rows.into_iter().filter_map(|row| Some((self.key(row.time.0), serde_json::to_vec(&row).ok()?))).collect();
        let written = store.write(move |draft| {
            for (key, value) in rows {
                draft.put_local(LocalTable::RequestLog, key, value);
            }
            Ok::<(), StoreError>(())
        });
        match written.await {
            Ok(_) => Ok(()),
            Err(ctxnode_store::WriteError::Refused(error) | ctxnode_store::WriteError::Store(error)) => Err(error),
        }
    }

    /// Time, then a number that tells apart calls of one millisecond.
    fn key(&self, time: Timestamp) -> Vec<u8> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        [&time_key(time)[..], &number.to_be_bytes()].concat()
    }
}

/// The beginning of the keys of a time.
pub(crate) fn time_key(time: Timestamp) -> [u8; 8] {
    u64::try_from(time.0).unwrap_or(0).to_be_bytes()
}

/// A row being made.
pub(crate) struct Entry(RequestLogRow);

impl Entry {
    pub(crate) fn begin(now: Timestamp, correlation: &CorrelationId, incoming: &Incoming) -> Self {
        let caller = incoming.caller.as_ref().ok();
        // What a stranger sends is kept nowhere: anybody could send it, and any amount of it.
        let input = caller.map(|_| &incoming.call.input);
        let said = |text: &str| cut(text, SAID_CHARS).to_owned();
        let text = |name: &str| Some(said(input?.get(name)?.as_str()?));
        let number = |name: &str| u32::try_from(input?.get(name)?.as_u64()?).ok();
        let flag = |name: &str| input?.get(name)?.as_bool();
        Self(RequestLogRow {
            time: Iso(now),
            correlation_id: correlation.to_string(),
            via: caller.map_or("http", |caller| caller.via.name()).to_owned(),
            operation: incoming.call.operation.clone(),
            actor_key_id: caller.map_or_else(|| "unknown".to_owned(), |caller| caller.actor_key_id.clone()),
            agent: caller.map(|caller| said(&caller.agent)),
            venture: text("venture"),
            repo: text("repo"),
            track: number("track"),
            issue: number("issue"),
            status: 0,
            duration_ms: 0,
            error: None,
            idempotency_key_hash: None,
            idempotency_hit: false,
            secret_override: flag("allow_secret_like").unwrap_or(false),
            bytes: 0,
        })
    }

    pub(crate) fn reserved(&mut self, reserved: Option<&Reserved>) {
        self.0.idempotency_key_hash = reserved.map(|reserved| reserved.key_hash.clone());
    }

    pub(crate) fn finish(mut self, app: &App, outgoing: &Outgoing) {
        let row = &mut self.0;
        row.status = outgoing.status;
        row.duration_ms = u64::try_from(app.now().since(row.time.0)).unwrap_or(0);
        row.idempotency_hit = outgoing.idempotency_hit;
        match &outgoing.result {
            Ok(body) => row.bytes = body.to_string().len() as u64,
            Err(error) => row.error = Some(error.code.name().to_owned()),
        }
        // Asking whether the daemon lives is not a call worth keeping.
        if row.operation != "health" {
            app.request_log.push(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_api::{Call, ErrorBody, ErrorCode};
    use serde_json::json;

    use super::*;
    use crate::caller::Caller;

    fn row(caller: Result<Caller, Box<ErrorBody>>) -> RequestLogRow {
        let long = "x".repeat(5_000);
        let input =
            json!({ "venture": "alpha", "repo": long, "track": 3, "issue": 7, "allow_secret_like": true, "q": long });
        let call = Call::new("search", input);
        let incoming = Incoming { call, caller, correlation: None, idempotency_key: None, broken: None };
        Entry::begin(Timestamp(0), &CorrelationId::default(), &incoming).0
    }

    #[test]
    fn of_a_strangers_call_nothing_is_kept_that_it_chose() {
        let row = row(Err(Box::new(ErrorBody::new(ErrorCode::Unauthorized, "a bearer token is needed"))));
        assert_eq!((row.operation.as_str(), row.actor_key_id.as_str()), ("search", "unknown"));
        assert_eq!((row.agent, row.venture, row.repo, row.track, row.issue), (None, None, None, None, None));
        assert!(!row.secret_override);
    }

    #[test]
    fn of_any_other_call_no_text_is_kept_that_is_long() {
        let row = row(Ok(Caller { agent: "é".repeat(5_000), ..Caller::nobody() }));
        assert_eq!((row.venture.as_deref(), row.track, row.issue), (Some("alpha"), Some(3), Some(7)));
        let chars = |text: Option<String>| text.map(|text| text.chars().count());
        assert_eq!((chars(row.agent), chars(row.repo)), (Some(SAID_CHARS), Some(SAID_CHARS)));
        assert!(row.secret_override);
    }
}
