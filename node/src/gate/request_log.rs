//! The request log: one row for every call that came to the gate, kept seven days, never with a body or a secret.
//!
//! Rows are collected in memory and written every second, so that logging costs no fsync of its own. A crash loses at
//! most that second of log, never an effect.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use ctxnode_api::node::RequestLogRow;
use ctxnode_api::{CorrelationId, Iso};
use ctxnode_model::Timestamp;
use ctxnode_store::{LocalTable, Store, StoreError};
use serde_json::Value;

use super::idempotency::Reserved;
use super::{Incoming, Outgoing};
use crate::app::App;

/// How long rows are kept, in milliseconds.
pub(crate) const KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// The most rows that wait to be written. At 100 calls per minute and actor this is far away; beyond it the oldest go.
const BUFFERED: usize = 20_000;

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
        let input = &incoming.call.input;
        let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| input.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let caller = incoming.caller.as_ref().ok();
        Self(RequestLogRow {
            time: Iso(now),
            correlation_id: correlation.to_string(),
            via: caller.map_or("http", |caller| caller.via.name()).to_owned(),
            operation: incoming.call.operation.clone(),
            actor_key_id: caller.map_or_else(|| "unknown".to_owned(), |caller| caller.actor_key_id.clone()),
            agent: caller.map(|caller| caller.agent.clone()),
            venture: text("venture"),
            repo: text("repo"),
            track: number("track"),
            issue: number("issue"),
            status: 0,
            duration_ms: 0,
            error: None,
            idempotency_key_hash: None,
            idempotency_hit: false,
            secret_override: input.get("allow_secret_like").and_then(Value::as_bool).unwrap_or(false),
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
