//! What the shim remembers of a conversation, so that a new daemon can be brought to the same point. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// The most requests without an answer. Agents have a handful; more is a client that does not read.
const MAX_IN_FLIGHT: usize = 256;
/// The most subscriptions that are repeated, as many as the daemon takes.
const MAX_SUBSCRIPTIONS: usize = 1_000;
/// Begins the ids of requests that the shim repeats by itself.
const OWN: &str = "ctxnode-again-";
/// JSON-RPC 2.0, section 5.1: an invalid request, and the first of the server's own errors.
const INVALID_REQUEST: i64 = -32_600;
const UNAVAILABLE: i64 = -32_000;

/// What to do with a line of the client.
#[derive(Debug, PartialEq)]
pub(super) enum FromClient {
    /// Pass this on.
    Send(String),
    /// Answer this.
    Answer(String),
}

/// What to do with a line of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromDaemon {
    Forward,
    Swallow,
}

/// A request without an answer.
#[derive(Debug)]
struct Waiting {
    id: Value,
    line: String,
    since: Instant,
}

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct Memory {
    initialize: Option<String>,
    initialize_id: Value,
    // Its answer reached the client, so that of a repetition is not passed on.
    is_initialized: bool,
    initialized: Option<String>,
    // In the order of arrival.
    waiting: Vec<Waiting>,
    subscriptions: BTreeMap<String, Value>,
    swallow_initialize: bool,
}

impl Memory {
    pub(super) fn client_said(&mut self, line: String, now: Instant) -> FromClient {
        // What is not JSON is the daemon's to refuse; a batch, which MCP dropped in 2025-06-18, as well.
        let Ok(mut message) = serde_json::from_str::<Value>(&line) else { return FromClient::Send(line) };
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = message.get("id").cloned().unwrap_or(Value::Null);
        if id.is_null() || method.is_empty() {
            match method.as_str() {
                "notifications/initialized" => self.initialized = Some(line.clone()),
                // The client does not expect an answer any more.
                "notifications/cancelled" => self.answered(&message["params"]["requestId"]),
                _ => {}
            }
            return FromClient::Send(line);
        }
        if self.waiting.len() >= MAX_IN_FLIGHT {
            let message = format!("{MAX_IN_FLIGHT} requests are waiting for an answer already");
            return FromClient::Answer(error(&id, UNAVAILABLE, &message));
        }
        let line = match method.as_str() {
            "initialize" => {
                self.initialize = Some(line.clone());
                self.initialize_id = id.clone();
                self.is_initialized = false;
                line
            }
            "tools/call" => {
                with_key(&mut message);
                message.to_string()
            }
            "resources/subscribe" | "resources/unsubscribe" => {
                self.subscribe(&method, &message["params"]);
                line
            }
            _ => line,
        };
        self.waiting.push(Waiting { id, line: line.clone(), since: now });
        FromClient::Send(line)
    }

    fn subscribe(&mut self, method: &str, params: &Value) {
        let Some(uri) = params.get("uri").and_then(Value::as_str) else { return };
        if method == "resources/unsubscribe" {
            self.subscriptions.remove(uri);
        } else if self.subscriptions.len() < MAX_SUBSCRIPTIONS {
            self.subscriptions.insert(uri.to_owned(), params.clone());
        }
    }

    pub(super) fn daemon_said(&mut self, line: &str) -> FromDaemon {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return FromDaemon::Forward };
        if message.get("method").is_some() {
            return FromDaemon::Forward;
        }
        let id = &message["id"];
        if id.as_str().is_some_and(|id| id.starts_with(OWN)) {
            return FromDaemon::Swallow;
        }
        if *id == self.initialize_id && !id.is_null() {
            if std::mem::take(&mut self.swallow_initialize) {
                return FromDaemon::Swallow;
            }
            self.is_initialized = true;
        }
        self.answered(id);
        FromDaemon::Forward
    }

    fn answered(&mut self, id: &Value) {
        self.waiting.retain(|waiting| waiting.id != *id);
    }

    /// Returns what a new connection has to be told: the handshake, the subscriptions, the requests without an answer.
    pub(super) fn replay(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.is_initialized {
            self.swallow_initialize = true;
            lines.extend(self.initialize.clone());
            lines.extend(self.initialized.clone());
            let again = self.subscriptions.values().enumerate().map(|(number, params)| {
                let id = format!("{OWN}{number}");
                json!({ "jsonrpc": "2.0", "id": id, "method": "resources/subscribe", "params": params }).to_string()
            });
            lines.extend(again);
        }
        lines.extend(self.waiting.iter().map(|waiting| waiting.line.clone()));
        lines
    }

    /// The daemon is gone: from now on the patience of the requests counts.
    pub(super) fn disconnected(&mut self, now: Instant) {
        self.waiting.iter_mut().for_each(|waiting| waiting.since = now);
    }

    /// Answers the requests that have waited too long for a daemon.
    pub(super) fn give_up(&mut self, now: Instant, patience: Duration, why: &str) -> Vec<String> {
        let (late, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| now - waiting.since >= patience);
        self.waiting = waiting;
        let late: Vec<Waiting> = late;
        let message = format!("the ctxnode daemon cannot be reached: {why}. Run `ctxnode doctor` in a terminal.");
        late.iter().map(|waiting| error(&waiting.id, UNAVAILABLE, &message)).collect()
    }

    /// Whether nothing waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Gives a call without an idempotency key one, before it is first sent: a repetition then has the same.
fn with_key(message: &mut Value) {
    let Some(params) = message.get_mut("params").and_then(Value::as_object_mut) else { return };
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.entry("idempotency_key").or_insert_with(|| format!("shim-{}", uuid::Uuid::new_v4()).into());
    }
}

fn error(id: &Value, code: i64, message: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }).to_string()
}

/// The answer to a line that was too long to read, and so has no id.
pub(super) fn too_long() -> String {
    let message = format!("the message is longer than {} bytes and was not passed on", super::lines::MAX_LINE);
    error(&Value::Null, INVALID_REQUEST, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u64) -> String {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "sod" } }).to_string()
    }

    fn sent(memory: &mut Memory, line: String) -> String {
        match memory.client_said(line, Instant::now()) {
            FromClient::Send(line) => line,
            FromClient::Answer(line) => panic!("answered {line}"),
        }
    }

    #[test]
    fn a_call_gets_one_key_and_keeps_its_own() {
        let mut memory = Memory::default();
        let line = sent(&mut memory, call(1));
        let key =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["params"]["_meta"]["idempotency_key"].clone();
        assert!(key(&line).as_str().unwrap().len() >= 20);
        assert_eq!(memory.replay(), [line]);
        let own = json!({ "id": 2, "method": "tools/call", "params": { "_meta": { "idempotency_key": "mine" } } });
        assert_eq!(key(&sent(&mut memory, own.to_string())), "mine");
    }

    #[test]
    fn what_was_answered_or_cancelled_is_not_repeated() {
        let mut memory = Memory::default();
        sent(&mut memory, call(1));
        sent(&mut memory, call(2));
        assert_eq!(memory.daemon_said(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), FromDaemon::Forward);
        let cancel = json!({ "method": "notifications/cancelled", "params": { "requestId": 2 } });
        sent(&mut memory, cancel.to_string());
        assert!(memory.is_idle() && memory.replay().is_empty());
    }

    #[test]
    fn a_handshake_is_repeated_once_and_its_answer_swallowed() {
        let mut memory = Memory::default();
        sent(&mut memory, r#"{"id":0,"method":"initialize","params":{}}"#.to_owned());
        // Before the first answer it is a request like others: it is sent again, and its answer goes to the client.
        assert_eq!(memory.replay().len(), 1);
        let answer = r#"{"id":0,"result":{}}"#;
        assert_eq!(memory.daemon_said(answer), FromDaemon::Forward);
        sent(&mut memory, r#"{"method":"notifications/initialized"}"#.to_owned());
        sent(&mut memory, r#"{"id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}"#.to_owned());
        memory.daemon_said(r#"{"id":1,"result":{}}"#);
        let again = memory.replay();
        assert_eq!(again.len(), 3, "{again:?}");
        assert_eq!(memory.daemon_said(answer), FromDaemon::Swallow);
        assert_eq!(memory.daemon_said(r#"{"id":"ctxnode-again-0","result":{}}"#), FromDaemon::Swallow);
        assert_eq!(memory.daemon_said(r#"{"method":"notifications/x"}"#), FromDaemon::Forward);
    }

    #[test]
    fn patience_counts_from_the_loss_of_the_daemon() {
        let mut memory = Memory::default();
        let begin = Instant::now();
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(60));
        memory.client_said(call(7), begin);
        memory.disconnected(begin + long);
        assert!(memory.give_up(begin + long, short, "why").is_empty());
        let answers = memory.give_up(begin + long + short, short, "why");
        assert!(answers[0].contains("\"id\":7") && answers[0].contains("why"), "{answers:?}");
        assert!(memory.is_idle());
    }

    #[test]
    fn too_many_requests_are_answered_by_the_shim() {
        let mut memory = Memory::default();
        (0..MAX_IN_FLIGHT as u64).for_each(|id| drop(sent(&mut memory, call(id))));
        assert!(matches!(memory.client_said(call(999), Instant::now()), FromClient::Answer(_)));
    }
}
