//! Inputs as the CLIs send them, and outputs as they accept them.

use serde_json::{Value, json};

use super::*;
use crate::agents::Agent;
use ctxnode_api::hooks::HookReply;

#[test]
fn paths_come_from_fields_and_from_patches() {
    let of = |agent, tool: &str, input: Value| {
        request(agent, Event::BeforeTool, &json!({ "tool_name": tool, "tool_input": input })).paths
    };
    assert_eq!(of(Agent::Claude, "Edit", json!({ "file_path": "/r/src/a.rs", "old_string": "x" })), ["/r/src/a.rs"]);
    assert_eq!(of(Agent::Claude, "Read", json!({ "file_path": "/r/src/a.rs" })), [""; 0]);
    let patch = "*** Begin Patch\n*** Update File: src/a.rs\n*** Move to: src/b.rs\n@@\n-x\n+y\n*** Add File: c.md\n+*** no\n*** End Patch";
    assert_eq!(of(Agent::Codex, "apply_patch", json!({ "command": patch })), ["src/a.rs", "src/b.rs", "c.md"]);
    assert_eq!(of(Agent::Codex, "apply_patch", json!({ "command": ["apply_patch", patch] })).len(), 3);
    assert_eq!(of(Agent::Gemini, "replace", json!({ "file_path": "x" })), ["x"]);
    let many: String = (0..200).map(|n| format!("*** Add File: f{n}\n")).collect();
    assert_eq!(of(Agent::Codex, "apply_patch", json!({ "command": many })).len(), MOST_PATHS);
}

/// C-07: what fired twice has one name, what happened twice has two.
#[test]
fn c_07_an_event_that_fires_twice_keeps_its_name() {
    let use_ = |id: &str| json!({ "session_id": "s", "tool_name": "Bash", "tool_use_id": id });
    let turn = |value: &Value| request(Agent::Claude, Event::AfterTool, value).turn;
    assert_eq!(turn(&use_("1")), turn(&use_("1")));
    assert_ne!(turn(&use_("1")), turn(&use_("2")));
    let stop = |text: &str| json!({ "session_id": "s", "last_assistant_message": text });
    let turn = |value: &Value| request(Agent::Codex, Event::Stop, value).turn;
    assert_eq!(turn(&stop("a")), turn(&stop("a")));
    assert_ne!(turn(&stop("a")), turn(&stop("b")));
    // A prompt that ends twice.
    let stop = |id: &str, text: &str| json!({ "prompt_id": id, "last_assistant_message": text });
    let turn = |value: &Value| request(Agent::Claude, Event::Stop, value).turn.unwrap();
    assert_eq!(turn(&stop("p", "a")), turn(&stop("p", "a")));
    assert_ne!(turn(&stop("p", "a")), turn(&stop("p", "b")));
    assert_ne!(turn(&stop("p", "a")), turn(&stop("q", "a")));
    assert_eq!(turn(&json!({ "prompt_id": "p" })), "p");
    assert_eq!(turn(&stop(&"é".repeat(300), "a")).chars().count(), 200, "what the daemon takes");
}

#[test]
fn what_a_human_types_and_what_tools_return_is_not_sent() {
    let stdin = json!({ "prompt": "secret words", "tool_response": "secret", "last_assistant_message": "secret" });
    for event in [Event::Prompt, Event::BeforeTool, Event::AfterTool] {
        let sent = serde_json::to_string(&request(Agent::Claude, event, &stdin)).unwrap();
        assert!(!sent.contains("secret"), "{sent}");
    }
    let long = json!({ "last_assistant_message": "é".repeat(90_000) });
    assert_eq!(request(Agent::Claude, Event::Stop, &long).text.unwrap().chars().count(), TEXT_CHARS);
}

/// H-26: a secret on any cut is redacted whole: on that of what is kept, and on that of what is searched.
#[test]
fn h_26_a_secret_is_redacted_before_any_cut() {
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let kept = |message: String| {
        let stdin = json!({ "last_assistant_message": message });
        request(Agent::Claude, Event::Stop, &stdin).text.unwrap()
    };
    for before in [TEXT_CHARS - 30, TEXT_CHARS - 5, SEARCHED - 5] {
        let text = kept(format!("{}{secret} and more", "word ".repeat(before / 5)));
        assert!(!text.contains("ghp_") && text.chars().count() <= TEXT_CHARS, "{before}");
    }
    // What shrinks to almost nothing brings the cut of what is searched into what is kept.
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", "QUJD".repeat(3_000));
    let text = kept(key.repeat(9));
    assert!(!text.contains("QUJD") && text.contains("[redacted: "), "{text}");
}

/// C-04: whatever comes in, what goes out is valid for its CLI.
#[test]
fn c_04_every_answer_is_what_its_cli_accepts() {
    let full =
        HookReply { context: Some("a \"fact\"\nmore".into()), deny: Some("held".into()), ..HookReply::default() };
    let replies = [None, Some(HookReply::default()), Some(full)];
    for agent in Agent::ALL {
        for event in Event::ALL {
            for reply in &replies {
                let text = answer(agent, event, reply.as_ref(), None);
                if text.is_empty() {
                    assert_eq!(agent, Agent::Claude);
                    continue;
                }
                assert_eq!(text.matches('\n').count(), 1, "{text}");
                let value: Value = serde_json::from_str(&text).unwrap();
                let object = value.as_object().unwrap();
                let may_deny = event == Event::BeforeTool;
                let denies = text.contains("deny");
                assert_eq!(denies, may_deny && reply.as_ref().is_some_and(|reply| reply.deny.is_some()), "{text}");
                if agent == Agent::Antigravity && matches!(event, Event::BeforeTool | Event::Stop) && !denies {
                    assert_eq!(object["decision"], "allow");
                }
                if event == Event::Stop && agent == Agent::Codex {
                    assert_eq!(text, "{}\n");
                }
            }
        }
    }
}

/// An offer reaches the human where the CLI has a place for it, and changes nothing for the agent.
#[test]
fn an_offer_is_shown_beside_what_the_agent_reads() {
    let reply = HookReply { context: Some("a fact".into()), ..HookReply::default() };
    let said = |agent, event, reply| {
        let text = answer(agent, event, reply, Some("go on\u{7} elsewhere"));
        serde_json::from_str::<Value>(&text).unwrap_or_default()
    };
    assert_eq!(
        said(Agent::Claude, Event::Failed, None),
        json!({ "terminalSequence": "\u{1b}]9;ctxnode: go on elsewhere\u{7}" })
    );
    for agent in [Agent::Claude, Agent::Codex, Agent::Gemini] {
        let value = said(agent, Event::Prompt, Some(&reply));
        assert_eq!(value["systemMessage"], "ctxnode: go on\u{7} elsewhere", "{value}");
        assert_eq!(value["hookSpecificOutput"]["additionalContext"], "a fact");
        assert_eq!(said(agent, Event::Stop, None)["systemMessage"], Value::Null);
    }
    assert_eq!(said(Agent::Antigravity, Event::Stop, None), json!({ "decision": "allow" }));
}

#[test]
fn a_failed_turn_says_why_and_keeps_the_last_words() {
    let stdin = json!({ "session_id": "s", "error": "rate_limit", "last_assistant_message": "You've hit your limit",
        "error_details": "429 with parts of the prompt" });
    let failed = request(Agent::Claude, Event::Failed, &stdin);
    assert_eq!(failed.failure.as_deref(), Some("rate_limit: You've hit your limit"));
    assert_eq!(failed.text, None, "the words of the provider are not those of the agent");
    assert!(!serde_json::to_string(&failed).unwrap().contains("429"));
    assert_eq!(request(Agent::Claude, Event::Stop, &stdin).failure, None);
    let long = json!({ "error": "x".repeat(900) });
    assert_eq!(request(Agent::Claude, Event::Failed, &long).failure.unwrap().chars().count(), 200);
    assert_eq!(request(Agent::Claude, Event::Failed, &json!({})).failure, None);
}

#[test]
fn words_of_events_lead_back() {
    for event in Event::ALL {
        assert_eq!(Event::of_name(event.name()), Some(event));
    }
    assert_eq!(Event::of_name("Stop"), None);
}

#[test]
fn garbage_is_an_event_without_details() {
    for stdin in [Value::Null, json!([1]), json!({ "session_id": 5, "tool_input": "x", "tool_name": ["Edit"] })] {
        let request = request(Agent::Claude, Event::AfterTool, &stdin);
        assert_eq!((request.conversation, request.paths.len()), (None, 0));
    }
}
