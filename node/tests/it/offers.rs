//! Handoffs at a start: which one is offered, to whom, and which ones nobody is offered any more.

use ctxnode_api::{Call, ErrorCode};
use serde_json::{Value, json};

use crate::support::{Who, agent, alpha_repo, person, ready, start, text};

/// Starts, hands off and returns the id of the handoff.
fn hand_off(who: &Who<'_>, start: Value, status: &str, what: &str, more: Value) -> String {
    assert_eq!(who.do_("sod", start)["state"], "valid");
    let mut input = json!({ "status": status, "accomplished": [what], "next_steps": ["go on"] });
    if status == "blocked" {
        input["blocked"] = json!(["no key"]);
    }
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    text(&who.do_("eod", input), "handoff_id").to_owned()
}

/// The ids of a section's rows.
fn ids(section: &Value) -> Vec<String> {
    section["items"].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect()
}

#[test]
fn h_12_h_13_the_newest_of_a_thread_is_offered_to_whoever_comes_next() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let older = hand_off(&claude, json!({ "issue": 5 }), "in_progress", "older", json!({}));
    let codex = agent(&sandbox, "codex-server-2", repo.path());
    let seen = codex.do_("sod", json!({ "issue": 5, "machine": "server" }));
    let offered = &seen["last_handoff"];
    assert_eq!((text(offered, "id"), text(offered, "from_agent")), (older.as_str(), "claude-mac-1"), "{seen}");
    assert_eq!((text(offered, "status"), &offered["next_steps"]), ("in_progress", &json!(["go on"])));
    codex.do_("eod", json!({ "status": "done", "accomplished": ["finished five"] }));
    let seen = agent(&sandbox, "gemini-x-3", repo.path()).do_("sod", json!({}));
    assert!(text(&seen["last_handoff"], "summary").contains("finished five"), "{seen}");
    assert_eq!(seen["open_handoffs"]["total"], 0, "{seen}");
    // A finished one on another issue hides nothing.
    let six = hand_off(&claude, json!({ "issue": 6 }), "in_progress", "six", json!({}));
    hand_off(&codex, json!({ "issue": 9 }), "done", "nine", json!({}));
    let seen = agent(&sandbox, "gemini-x-4", repo.path()).do_("sod", json!({}));
    assert_eq!(ids(&seen["open_handoffs"]), [six], "{seen}");
}

#[test]
fn h_12_a_restart_forgets_no_handoff() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let id = hand_off(&agent(&sandbox, "claude-mac-1", repo.path()), json!({}), "blocked", "x", json!({}));
    daemon.kill();
    daemon.restart();
    let seen = agent(&sandbox, "codex-server-2", repo.path()).do_("sod", json!({}));
    assert_eq!(text(&seen["last_handoff"], "id"), id);
}

#[test]
fn h_13_a_thread_a_list_of_closes_and_a_command_supersede() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let work = |issue: u32, more: Value| hand_off(&claude, json!({ "issue": issue }), "in_progress", "x", more);
    let open = || ids(&claude.do_("handoff.list", json!({ "open": true })));
    let first = work(1, json!({ "thread": "big move" }));
    let second = work(2, json!({ "thread": "big move" }));
    assert_eq!(open(), [second.clone()], "one thread over two issues");
    let third = work(3, json!({}));
    let fourth = work(4, json!({ "closes": [second, third] }));
    assert_eq!(open(), [fourth.clone()]);
    let close = |id: &str| Call::new("handoff.close", json!({ "reason": "not needed" })).param("id", id);
    assert_eq!(person(&sandbox).ok(&close(&fourth))["open"], false);
    assert!(open().is_empty());
    let read = claude.ok(&Call::new("handoff.get", json!({})).param("id", &fourth));
    assert!(read["closed"].to_string().contains("not needed"), "{read}");
    // All of them stay in history, and a wrong id closes nothing.
    assert_eq!(ids(&claude.do_("handoff.list", json!({ "open": false }))).len(), 4);
    assert_eq!(text(&claude.ok(&Call::new("handoff.get", json!({})).param("id", &first)), "id"), first);
    assert_eq!(claude.refused(&close("ho_00000000000000000000000000")).code, ErrorCode::NotFound);
    assert_eq!(claude.refused(&close("nonsense")).details[0].field, "id");
    claude.do_("sod", json!({}));
    let bad = json!({ "status": "done", "accomplished": ["x"], "closes": ["ho_00000000000000000000000000"] });
    assert_eq!(claude.refused_("eod", bad).code, ErrorCode::NotFound);
    assert_eq!(claude.do_("handoff.list", json!({}))["total"], 4);
}

#[test]
fn h_25_a_handoff_for_a_machine_or_a_cli_comes_first_there() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let to = |issue: u32, whom: &str| {
        hand_off(&claude, json!({ "issue": issue }), "in_progress", "x", json!({ "to_agent": whom }))
    };
    let (machine, cli, one) = (to(1, "server1"), to(2, "codex"), to(3, "gemini-box-9"));
    let newest = hand_off(&claude, json!({ "issue": 4 }), "in_progress", "y", json!({}));
    let seen_by = |name: &str, input: Value| agent(&sandbox, name, repo.path()).do_("sod", input);
    for (name, input, mine) in [
        ("claude-server1-2", json!({ "machine": "server1" }), &machine),
        ("codex-mac2-3", json!({ "machine": "mac2", "cli": "codex" }), &cli),
        ("gemini-box-9", json!({ "machine": "box" }), &one),
    ] {
        let seen = seen_by(name, input);
        let last = &seen["last_handoff"];
        assert_eq!((text(last, "id"), &last["for_you"]), (mine.as_str(), &json!(true)), "{name}: {seen}");
    }
    let seen = seen_by("claude-mac1-5", json!({ "machine": "mac1" }));
    assert_eq!((text(&seen["last_handoff"], "id"), &seen["last_handoff"]["for_you"]), (newest.as_str(), &json!(false)));
    let rows = seen["open_handoffs"]["items"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{seen}");
    assert!(rows.iter().all(|row| row["for_you"] == false), "{seen}");
}

#[test]
fn h_13_open_handoffs_show_blocked_ones_first_and_count_the_rest() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let blocked = hand_off(&claude, json!({ "issue": 1 }), "blocked", "x", json!({}));
    for issue in 2..=13 {
        hand_off(&claude, json!({ "issue": issue }), "in_progress", "x", json!({}));
    }
    let seen = agent(&sandbox, "codex-mac-2", repo.path()).do_("sod", json!({}));
    let open = &seen["open_handoffs"];
    assert_eq!((&open["shown"], &open["total"], text(&open["items"][0], "id")), (&json!(10), &json!(12), &*blocked));
}
