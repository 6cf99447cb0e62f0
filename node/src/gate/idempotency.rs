//! Idempotency: a key, an actor and an operation name one effect.
//!
//! The key is reserved before anything runs, and the answer is kept in the transaction of the effect. Only successes are
//! remembered: a refused call may be repeated with the same key and a better body.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ctxnode_api::{Call, CorrelationId, ErrorBody, ErrorCode, Route};
use ctxnode_model::Timestamp;
use ctxnode_model::rules::canonical::{Canonical, sha256_hex};
use ctxnode_store::LocalTable;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::app::{Answer, App, name_call};
use crate::caller::Caller;
use crate::failure::Failure;

/// How long an answer is kept, in milliseconds.
pub(crate) const KEPT_MS: i64 = 3_600_000;
/// From this size on, only status, hash and size of an answer are kept.
pub(crate) const KEPT_BYTES: usize = 65_536;
/// How long a second call with a key waits for the first.
const WAIT: Duration = Duration::from_secs(10);

/// A key that was taken for a call.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    /// The row's key.
    pub(crate) key: Vec<u8>,
    /// SHA-256 of the canonical input.
    body_hash: String,
    /// SHA-256 of the key, for the log.
    pub(crate) key_hash: String,
    correlation: CorrelationId,
    /// Releases the key when the call is over.
    _guard: Arc<Guard>,
}

/// An answer that was kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    at: Timestamp,
    body_hash: String,
    status: u16,
    /// The call that had the effect.
    #[serde(default)]
    correlation: CorrelationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    answer_hash: String,
    answer_size: usize,
}

/// What a key stands for.
pub(crate) enum Claimed {
    /// Nothing yet: go on.
    Free(Option<Reserved>),
    /// An earlier call.
    Kept(Kept),
}

/// Keys of calls that are running.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<Vec<u8>, Arc<Notify>>>>);

#[derive(Debug)]
struct Guard {
    keys: Arc<Mutex<HashMap<Vec<u8>, Arc<Notify>>>>,
    key: Vec<u8>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let notify = self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }
}

impl InFlight {
    /// Takes a key, or returns what to wait for.
    fn take(&self, key: &[u8]) -> Result<Arc<Guard>, Arc<Notify>> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = keys.get(key) {
            return Err(Arc::clone(running));
        }
        keys.insert(key.to_vec(), Arc::new(Notify::new()));
        Ok(Arc::new(Guard { keys: Arc::clone(&self.0), key: key.to_vec() }))
    }
}

/// Looks a key up and reserves it. The header beats `update_id`; without either there is nothing to reserve.
pub(crate) async fn claim(
    app: &App,
    route: &Route,
    caller: &Caller,
    header: Option<&str>,
    call: &Call,
    correlation: &CorrelationId,
) -> Result<Claimed, Failure> {
    let in_body = call.input.get("update_id").and_then(Value::as_str);
    let Some(key) = header.or(in_body) else { return Ok(Claimed::Free(None)) };
    check_form(key)?;
    let body_hash = hash_input(call)?;
    let row = row_key(&caller.actor_key_id, route.operation, key);
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        if let Some(kept) = find(app, &row)? {
            if kept.body_hash != body_hash {
                let message = "this idempotency key was used with another body; the first result stands";
                return Err(Failure::new(ErrorCode::IdempotencyMismatch, message));
            }
            return Ok(Claimed::Kept(kept));
        }
        let running = match app.in_flight.take(&row) {
            Ok(guard) => {
                // The call that held the key may have finished between the lookup and the reservation.
                if find(app, &row)?.is_some() {
                    continue;
                }
                let key_hash = sha256_hex(key.as_bytes());
                let correlation = correlation.clone();
                return Ok(Claimed::Free(Some(Reserved { key: row, body_hash, key_hash, correlation, _guard: guard })));
            }
            Err(running) => running,
        };
        // Woken or not, the state is looked at again; the pause bounds a wake-up that came before the wait.
        let pause = tokio::time::timeout(Duration::from_millis(100), running.notified());
        let _ = pause.await;
        if tokio::time::Instant::now() >= deadline {
            let message = "a call with this idempotency key is still running";
            return Err(Failure::new(ErrorCode::IdempotencyInProgress, message));
        }
    }
}

fn check_form(key: &str) -> Result<(), Failure> {
    let good = (20..=200).contains(&key.len()) && key.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if good {
        return Ok(());
    }
    let message = "an idempotency key is 20 to 200 printable ASCII characters, for example a UUID";
    Err(Failure::new(ErrorCode::InvalidIdempotencyKey, message))
}

fn hash_input(call: &Call) -> Result<String, Failure> {
    let mut input = call.input.clone();
    if let Some(object) = input.as_object_mut() {
        object.remove("update_id");
    }
    Ok(Canonical::of(&json!({ "params": call.params, "input": input }))?.hash)
}

fn row_key(actor: &str, operation: &str, key: &str) -> Vec<u8> {
    sha256_hex(format!("{actor}\0{operation}\0{key}").as_bytes()).into_bytes()
}

fn find(app: &App, row: &[u8]) -> Result<Option<Kept>, Failure> {
    let snapshot = app.store.read()?;
    let found = snapshot.reader().local(LocalTable::Idempotency, row)?;
    let kept: Option<Kept> = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(kept.filter(|kept| kept.is_fresh(app.now())))
}

impl Kept {
    /// Makes the row for an answer.
    pub(crate) fn of(reserved: &Reserved, answer: &Answer, now: Timestamp) -> Self {
        // As it goes out: that is what the limit is about.
        let mut sent = answer.body.clone();
        name_call(&mut sent, &reserved.correlation);
        let text = sent.to_string();
        Self {
            at: now,
            body_hash: reserved.body_hash.clone(),
            status: answer.status,
            correlation: reserved.correlation.clone(),
            body: (text.len() < KEPT_BYTES).then(|| answer.body.clone()),
            answer_hash: sha256_hex(text.as_bytes()),
            answer_size: text.len(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the row of those bytes can be purged.
    pub(crate) fn is_expired(bytes: &[u8], now: Timestamp) -> bool {
        serde_json::from_slice::<Self>(bytes).map_or(true, |kept| !kept.is_fresh(now))
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.at) < KEPT_MS
    }

    /// Returns the call that had the effect.
    pub(crate) fn correlation(&self) -> &CorrelationId {
        &self.correlation
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.body.is_none()
    }

    /// Returns the answer again.
    pub(crate) fn answer(self) -> Result<Answer, Failure> {
        match self.body {
            Some(body) => Ok(Answer { status: self.status, body }),
            None => {
                let message = format!(
                    "the call with this key succeeded with status {}; its answer of {} bytes (SHA-256 {}) was too large to keep",
                    self.status, self.answer_size, self.answer_hash
                );
                Err(ErrorBody::new(ErrorCode::IdempotencyResultNotKept, message).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a key replays for 3,599 s and is free at 3,600 s.
    #[test]
    fn a_06_a_key_is_kept_for_less_than_an_hour() {
        let kept = Kept {
            at: Timestamp(5_000),
            body_hash: String::new(),
            status: 201,
            correlation: CorrelationId::default(),
            body: None,
            answer_hash: String::new(),
            answer_size: 0,
        };
        for (age, fresh) in [(0, true), (3_599_000, true), (3_599_999, true), (3_600_000, false)] {
            assert_eq!(kept.is_fresh(Timestamp(5_000 + age)), fresh, "{age}");
            assert_eq!(Kept::is_expired(&kept.encode(), Timestamp(5_000 + age)), !fresh, "{age}");
        }
    }
}
