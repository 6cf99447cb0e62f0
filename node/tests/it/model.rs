//! A model that follows a script. It speaks the APIs that agent CLIs ask their models by, on loopback, so that a whole
//! session of a real CLI runs without an account.
//!
//! Each request carries the conversation so far; the number of tool calls in it says where in the script it stands.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A conversation with all tools of a CLI fits many times.
const MOST: usize = 32 << 20;

/// How often it is asked in one test at the most: ten times what a script has. A CLI that something makes go on for ever comes to
/// an end.
const ASKED: usize = 60;

/// A call of one of ctxnode's tools, and its input.
pub(crate) type Step = (&'static str, Value);

struct Script {
    steps: Vec<Step>,
    heard: Mutex<Vec<Value>>,
    answers: AtomicU64,
}

/// The running model.
pub(crate) struct Model {
    address: SocketAddr,
    script: Arc<Script>,
    _runtime: Runtime,
}

impl Model {
    /// Starts a model that calls the tools of the script in order and then says that it is done.
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let script = Arc::new(Script { steps, heard: Mutex::default(), answers: AtomicU64::new(0) });
        let router = Router::new()
            .route("/v1/messages", post(messages))
            .route("/v1/messages/count_tokens", post(|| async { Json(json!({ "input_tokens": 1 })) }))
            .route("/v1/responses", post(responses))
            .route("/v1beta/models/{call}", post(contents))
            .fallback(|| async { Json(json!({ "object": "list", "data": [], "models": [] })) })
            .layer(DefaultBodyLimit::max(MOST))
            .layer(middleware::from_fn_with_state(Arc::clone(&script), bounded))
            .with_state(Arc::clone(&script));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        // It serves until the runtime is dropped.
        runtime.spawn(async move { drop(axum::serve(listener, router).await) });
        Self { address, script, _runtime: runtime }
    }

    /// Returns where it is asked.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns every request, oldest first.
    pub(crate) fn heard(&self) -> Vec<Value> {
        self.script.heard.lock().unwrap().clone()
    }

    /// Returns those of the conversation itself. Some questions are beside it, such as one for its title: they offer no tools.
    pub(crate) fn turns(&self) -> Vec<Value> {
        self.heard().into_iter().filter(has_tools).collect()
    }
}

impl Script {
    /// Takes a request in; returns the step that follows `done` of them, and a number for the answer.
    fn next(&self, request: Value, done: usize) -> (Option<&Step>, u64) {
        self.heard.lock().unwrap().push(request);
        (self.steps.get(done), self.answers.fetch_add(1, Ordering::SeqCst))
    }
}

/// Refuses, in a way that no CLI tries again, once the model was asked too often.
async fn bounded(State(script): State<Arc<Script>>, request: Request, next: Next) -> Response {
    if script.heard.lock().unwrap().len() >= ASKED {
        return StatusCode::BAD_REQUEST.into_response();
    }
    next.run(request).await
}

fn has_tools(request: &Value) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    // Codex has them among what was said.
    !list(&request["tools"]).is_empty() || list(&request["input"]).iter().any(|item| item["type"] == "additional_tools")
}

fn stream(events: &[Value]) -> Response {
    let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    let body: String = events.iter().map(line).collect();
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Anthropic's Messages API.
async fn messages(State(script): State<Arc<Script>>, Json(request): Json<Value>) -> Response {
    let blocks = |message: &Value| message["content"].as_array().cloned().unwrap_or_default();
    let conversation = request["messages"].as_array().cloned().unwrap_or_default();
    let done = conversation.iter().flat_map(blocks).filter(|block| block["type"] == "tool_use").count();
    let model = request["model"].clone();
    let done = if has_tools(&request) { done } else { usize::MAX };
    let (step, number) = script.next(request, done);
    let (start, delta, stop) = match step {
        Some((tool, input)) => (
            json!({ "type": "tool_use", "id": format!("toolu_{number}"), "name": format!("mcp__ctxnode__{tool}"), "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
            "tool_use",
        ),
        None => {
            (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": "All done." }), "end_turn")
        }
    };
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    stream(&[
        json!({ "type": "message_start", "message": {
            "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": start }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ])
}

/// OpenAI's Responses API.
async fn responses(State(script): State<Arc<Script>>, Json(request): Json<Value>) -> Response {
    let items = request["input"].as_array().cloned().unwrap_or_default();
    let done = items.iter().filter(|item| item["type"] == "function_call_output").count();
    let (step, number) = script.next(request, done);
    let item = match step {
        Some((tool, input)) => json!({
            "type": "function_call", "id": format!("fc_{number}"), "call_id": format!("call_{number}"),
            "namespace": "mcp__ctxnode", "name": tool, "arguments": input.to_string(),
        }),
        None => json!({
            "type": "message", "role": "assistant", "id": format!("msg_{number}"),
            "content": [{ "type": "output_text", "text": "All done." }],
        }),
    };
    let id = format!("resp_{number}");
    let usage = json!({ "input_tokens": 1, "input_tokens_details": null, "output_tokens": 1,
        "output_tokens_details": null, "total_tokens": 2 });
    stream(&[
        json!({ "type": "response.created", "response": { "id": id } }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": { "id": id, "usage": usage } }),
    ])
}

/// Google's Gemini API.
async fn contents(State(script): State<Arc<Script>>, Path(call): Path<String>, Json(request): Json<Value>) -> Response {
    let parts = |content: &Value| content["parts"].as_array().cloned().unwrap_or_default();
    let conversation = request["contents"].as_array().cloned().unwrap_or_default();
    let done = conversation.iter().flat_map(parts).filter(|part| part.get("functionResponse").is_some()).count();
    let done = if has_tools(&request) { done } else { usize::MAX };
    let (step, _) = script.next(request, done);
    let part = match step {
        Some((tool, input)) => json!({ "functionCall": { "name": format!("mcp_ctxnode_{tool}"), "args": input } }),
        None => json!({ "text": "All done." }),
    };
    let usage = json!({ "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2 });
    let content = json!({ "role": "model", "parts": [part] });
    let answer = json!({
        "candidates": [{ "content": content, "finishReason": "STOP", "index": 0 }], "usageMetadata": usage,
    });
    if call.ends_with(":streamGenerateContent") {
        return ([(header::CONTENT_TYPE, "text/event-stream")], format!("data: {answer}\n\n")).into_response();
    }
    Json(answer).into_response()
}
