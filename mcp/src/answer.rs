//! Turns what the gate answered into the result of a tool: structured content, its text twin, and `_meta`.

use ctxnode_api::sessions::SodReply;
use ctxnode_api::version::BUILD;
use ctxnode_api::{CorrelationId, ErrorBody};
use ctxnode_model::rules::text::{chars, ellipsis};
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Value, json};

use crate::backend::Answered;
use crate::fit::{OUTPUT_CHARS, encoded, fit};
use crate::tools::Tool;
use crate::{render, twin};

/// The most notices of one answer. Whoever has more keeps them for the next one.
pub const NOTICES: usize = 3;
/// The most characters of one.
const NOTICE: usize = 200;
/// The most characters of what a start says beside its text.
const START_FACTS: usize = 4_000;

/// Returns the result of a call that went well.
pub(crate) fn success(tool: &Tool, answered: &Answered, notices: &[String]) -> CallToolResult {
    let notices = Notices::of(notices);
    let room = OUTPUT_CHARS - notices.encoded();
    let body = &answered.body;
    let (structured, text) = match serde_json::from_value::<SodReply>(body.clone()) {
        Ok(reply) if tool.name == "sod" => start(&reply, body, room),
        _ => plain(body, room, notices.text_length()),
    };
    let structured = notices.on_structured(structured);
    let mut result = CallToolResult::success(vec![ContentBlock::text(notices.on_text(&text))]);
    result.structured_content = Some(structured);
    result.with_meta(Some(meta(&answered.correlation_id, answered.idempotency_hit)))
}

/// Returns the result of a call that was refused or failed.
pub(crate) fn failure(error: &ErrorBody, notices: &[String]) -> CallToolResult {
    let notices = Notices::of(notices);
    let structured = serde_json::to_value(error).unwrap_or_else(|_| json!({ "message": error.to_string() }));
    let text = notices.on_text(&failure_text(error, twin::TWIN_CHARS - notices.text_length()));
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result.structured_content = Some(notices.on_structured(fit(structured, OUTPUT_CHARS - notices.encoded())));
    result.with_meta(Some(meta(&error.correlation_id, false)))
}

fn failure_text(error: &ErrorBody, max: usize) -> String {
    let mut lines = vec![format!("error: {}: {}", error.code.name(), ellipsis(&error.message, 500))];
    lines.extend(error.hint.as_deref().map(|hint| format!("hint: {}", ellipsis(hint, 300))));
    lines.extend(error.retry_after_seconds.map(|seconds| format!("retry after {seconds} s")));
    lines.push(format!("correlation_id: {}", error.correlation_id));
    let fields = error.details.iter().map(|field| format!("- {}: {}", field.field, ellipsis(&field.message, 120)));
    lines.extend(fields);
    let unnamed = error.details_total.map(|total| total.saturating_sub(error.details.len()));
    lines.extend(unnamed.map(|count| format!("{count} more bad fields")));
    ellipsis(&lines.join("\n"), max)
}

fn plain(body: &Value, room: usize, notices: usize) -> (Value, String) {
    let structured = fit(body.clone(), room);
    let piece = structured.as_object().filter(|object| object.contains_key("total_chars"));
    let content = piece.and_then(|object| object.get("content")).and_then(Value::as_str);
    let text = match (piece, content) {
        (Some(object), Some(content)) => twin::body(object, content),
        _ => twin::twin(&structured, twin::TWIN_CHARS - notices),
    };
    (structured, text)
}

/// The start: the text holds everything that is to be read, the other fields what programs and follow-up calls need.
fn start(reply: &SodReply, body: &Value, room: usize) -> (Value, String) {
    let mut facts = json!({ "state": body["state"], "failed_parts": reply.failed_parts });
    let names = ["status", "session_id", "next_heartbeat_at", "heartbeat_interval_seconds", "path", "command"];
    let present = names.iter().filter_map(|name| Some((*name, body.get(*name)?.clone())));
    present.for_each(|(name, value)| facts[name] = value);
    if let Some(session) = &reply.session {
        facts["venture"] = session.venture.as_str().into();
        facts["repo"] = session.repo.as_str().into();
        facts["branch"] = json!(session.branch);
        facts["issue"] = json!(session.issue);
        facts["track"] = json!(session.track);
    }
    if !reply.candidates.is_empty() {
        facts["candidates"] = reply.candidates.iter().map(|venture| venture.code.as_str()).collect();
    }
    facts["last_handoff_id"] = json!(reply.last_handoff.as_ref().map(|handoff| &handoff.row.id));
    facts["open_handoff_ids"] = reply.open_handoffs.items.iter().take(10).map(|row| row.id.as_str()).collect();
    facts["note_ids"] = reply.notes.items.iter().take(10).map(|note| note.id.as_str()).collect();
    let mut structured = fit(facts, START_FACTS);
    let text = text_beside(reply, room - encoded(&structured));
    structured["text"] = text.as_str().into();
    (structured, text)
}

/// Renders the start so that it takes at most `room` characters as encoded: quotes and line ends count twice there.
fn text_beside(reply: &SodReply, room: usize) -> String {
    let room = room.saturating_sub("\"text\":,".len());
    let mut max = render::TOOL_CHARS;
    loop {
        let text = render::tool_within(reply, max);
        let over = encoded(&Value::from(text.as_str())).saturating_sub(room);
        if over == 0 || max == 0 {
            return text;
        }
        max = chars(&text).min(max).saturating_sub(over);
    }
}

fn meta(correlation_id: &CorrelationId, idempotency_hit: bool) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.insert("correlation_id".to_owned(), correlation_id.as_str().into());
    meta.insert("build".to_owned(), BUILD.into());
    meta.insert("idempotency_hit".to_owned(), idempotency_hit.into());
    meta
}

/// What every answer says besides, in both forms.
struct Notices(Vec<String>);

impl Notices {
    fn of(lines: &[String]) -> Self {
        Self(lines.iter().take(NOTICES).map(|line| ellipsis(line, NOTICE)).collect())
    }

    fn encoded(&self) -> usize {
        if self.0.is_empty() { 0 } else { encoded(&json!({ "notices": self.0 })) }
    }

    fn text_length(&self) -> usize {
        self.0.iter().map(|line| chars(line) + 1).sum()
    }

    fn on_structured(&self, mut structured: Value) -> Value {
        if !self.0.is_empty() {
            structured["notices"] = json!(self.0);
        }
        structured
    }

    fn on_text(&self, text: &str) -> String {
        let lines = self.0.iter().map(|line| format!("{line}\n"));
        format!("{}{text}", lines.collect::<String>())
    }
}
