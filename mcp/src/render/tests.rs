//! Limits and content of the start text, over replies of every size and script.

use ctxnode_api::sessions::SodReply;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Text of every width: ASCII, CJK, emoji with joiners, markup that could break the frame.
fn words(most: usize) -> impl Strategy<Value = String> {
    let unit =
        prop_oneof!["[a-z]{1,8}", "[一-龥]{1,6}", Just("👩‍🚀".to_owned()), "[#`│\\-\\*]{1,3}", Just("\n".to_owned())];
    proptest::collection::vec(unit, 0..most).prop_map(|units| units.join(" "))
}

fn session() -> Value {
    json!({
        "id": "sess_01", "agent": "claude-mac-1234abcd", "machine": "mac", "venture": "alpha", "repo": "o/alpha",
        "track": 1, "issue": 42, "branch": "claude/42", "status": "active", "live": true, "age": "2 h",
        "created_at": "2026-01-01T00:00:00.000Z", "meta": {}, "actor_key_id": "k", "creation_correlation_id": "c",
    })
}

fn handoff(text: &str, items: usize) -> Value {
    let list = vec![text; items];
    json!({
        "id": "ho_01", "from_agent": "codex-mac-1", "for_you": false, "status": "in_progress", "summary": text,
        "venture": "alpha", "repo": "o/alpha", "thread": "t", "drafted": false, "open": true,
        "created_at": "2026-01-01T00:00:00.000Z", "age": "3 h", "session_id": "sess_00", "accomplished": list,
        "in_progress": list, "blocked": list, "next_steps": list, "payload_hash": "h", "payload_size_bytes": 1,
        "closed": {}, "actor_key_id": "k", "creation_correlation_id": "c",
    })
}

fn section(row: &Value, count: usize) -> Value {
    json!({ "items": vec![row; count.min(20)], "shown": count.min(20), "total": count })
}

fn reply(text: &str, long: &str, count: usize) -> SodReply {
    let note = json!({
        "id": "note_01", "title": text, "age": "1 d", "old": false, "content": long, "total_chars": 400_000,
    });
    let doc = json!({ "scope": "alpha", "name": "alpha-api.md", "title": text, "size": 1_000, "age": "5 d" });
    let row = json!({ "id": "sess_02", "agent": "gemini-x-1", "machine": "x", "repo": "o/alpha", "age": "1 min" });
    let claim = json!({
        "id": "claim_01", "kind": "path", "key": text, "venture": "alpha", "repo": "o/alpha", "session_id": "sess_02",
        "agent": "gemini-x-1", "machine": "x", "taken_at": "2026-01-01T00:00:00.000Z", "age": "1 h",
        "expires_at": "2026-01-02T00:00:00.000Z", "last_seen": false,
    });
    let value = json!({
        "state": "valid", "status": "created", "session": session(), "venture": { "code": "alpha", "name": text },
        "failed_parts": [{ "part": "plan", "reason": "boom" }], "warnings": vec![text; count.min(30)],
        "last_handoff": handoff(text, count.min(50)), "open_handoffs": section(&handoff(text, 1), count),
        "active": section(&row, count), "last_seen": section(&row, count), "claims": section(&claim, count),
        "notes": section(&note, count),
        "docs": { "items": vec![doc; count.min(100)], "shown": count.min(100), "total": count, "missing": vec![text; 9] },
    });
    serde_json::from_value(value).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// S-28: both forms keep their limits, and what must never be cut is there.
    #[test]
    fn s_28_the_text_keeps_its_limits(text in words(40), long in words(3_000), count in 0_usize..1_000) {
        let reply = reply(&text, &long, count);
        let (tool, hook) = (tool(&reply), hook(&reply));
        prop_assert!(chars(&tool) <= TOOL_CHARS, "{} characters", chars(&tool));
        prop_assert!(chars(&hook) <= HOOK_CHARS && tokens(&hook) <= HOOK_TOKENS, "{} tokens", tokens(&hook));
        for form in [&tool, &hook] {
            prop_assert!(form.contains("sess_01") && form.contains("boom"), "{form}");
        }
    }

    #[test]
    fn any_room_is_kept_as_far_as_the_frame_allows(text in words(40), max in 0_usize..20_000) {
        let reply = reply(&text, &text, 300);
        let least = chars(&tool_within(&reply, 0));
        prop_assert!(chars(&tool_within(&reply, max)) <= max.max(least));
    }
}

/// S-29: a text that names a tool names one that exists. Every word in backticks that looks like a call is one.
#[test]
fn s_29_every_tool_in_the_text_is_advertised() {
    let reply = reply("text", "long", 300);
    let names: Vec<&str> = crate::tools::all().map(|tool| tool.name).collect();
    let quoted = quoted_words(&tool(&reply)).into_iter().chain(quoted_words(&hook(&reply)));
    for word in quoted {
        let first = word.split([' ', '(']).next().unwrap_or_default();
        let known = names.contains(&first) || first == "ctxnode" || !word.chars().all(|c| c.is_ascii_lowercase());
        assert!(known, "`{word}` is no tool");
    }
}

fn quoted_words(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
