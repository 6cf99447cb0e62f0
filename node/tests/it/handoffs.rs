//! Handoffs: ending a session, what is stored, lists. Who is offered what is in `offers`.

use ctxnode_api::{Call, ErrorCode};
use ctxnode_testkit::Repo;
use serde_json::{Value, json};

use crate::support::{Who, agent, alpha_repo, person, ready, start, text};

fn done(what: &str) -> Value {
    json!({ "status": "done", "accomplished": [what] })
}

fn open(what: &str) -> Value {
    json!({ "status": "in_progress", "accomplished": [what], "next_steps": ["go on"] })
}

fn total(who: &Who<'_>) -> u64 {
    who.do_("handoff.list", json!({}))["total"].as_u64().unwrap()
}

/// Starts, hands off and returns the reply of the handoff.
fn hand_off(who: &Who<'_>, start: Value, input: Value) -> Value {
    assert_eq!(who.do_("sod", start)["state"], "valid");
    who.do_("eod", input)
}

#[test]
fn h_01_h_02_ending_twice_is_ending_once() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let first = hand_off(&claude, json!({}), done("x"));
    let id = text(&first, "session_id").to_owned();
    let again = |what: &str| {
        let mut input = done(what);
        input["session_id"] = id.as_str().into();
        claude.do_("eod", input)
    };
    let session = || claude.ok(&Call::new("session.get", json!({})).param("id", &id));
    let ended_at = text(&session(), "ended_at").to_owned();
    let second = again("x");
    assert_eq!((&second["handoff_id"], &second["no_op"]), (&first["handoff_id"], &json!(true)));
    let other = again("something else");
    assert_eq!(other["handoff_id"], first["handoff_id"]);
    assert!(other.to_string().contains("not stored"), "{other}");
    assert_eq!((total(&claude), text(&session(), "ended_at")), (1, ended_at.as_str()));
    let unknown = json!({ "session_id": "sess_00000000000000000000000000", "status": "done", "accomplished": ["x"] });
    assert_eq!(claude.refused_("eod", unknown).code, ErrorCode::NotFound);
}

#[test]
fn h_03_the_limit_counts_canonical_bytes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let with = |length: usize| {
        let mut input = done("x");
        input["extra"] = json!({ "t": "é".repeat(length / 2) + &"a".repeat(length % 2) });
        input
    };
    let frame = r#"{"accomplished":["x"],"blocked":[],"extra":{"t":""},"in_progress":[],"next_steps":[]}"#.len();
    let refused = claude.refused_("eod", with(819_201 - frame));
    assert_eq!(refused.code, ErrorCode::TooLarge, "{refused:?}");
    assert_eq!((total(&claude), text(&claude.do_("context", json!({}))["session"], "status")), (0, "active"));
    let stored = claude.do_("eod", with(819_200 - frame));
    assert_eq!(stored["payload_size_bytes"], 819_200);
}

#[test]
fn h_08_h_09_h_18_a_handoff_without_content_or_status_is_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    for (bad, field) in [
        (json!({ "status": "done", "summary": "only this" }), "accomplished"),
        (
            json!({ "status": "done", "accomplished": [], "in_progress": [], "blocked": [], "next_steps": [] }),
            "accomplished",
        ),
        (json!({ "status": "in_progress", "accomplished": ["x"] }), "next_steps"),
        (json!({ "status": "blocked", "accomplished": ["x"] }), "blocked"),
        (json!({ "status": "in-progress", "accomplished": ["x"] }), "status"),
        (json!({ "status": "completed", "accomplished": ["x"] }), "status"),
        (json!({ "accomplished": ["x"] }), "status"),
    ] {
        let refused = claude.refused_("eod", bad.clone());
        assert_eq!(refused.code, ErrorCode::ValidationFailed, "{bad}");
        let said = serde_json::to_string(&refused).unwrap();
        assert!(said.contains(field), "{bad}: {said}");
    }
    assert_eq!(total(&claude), 0);
    let input = json!({ "status": "done", "accomplished": ["x"], "next_steps": ["y"] });
    let stored = claude.do_("eod", input);
    let read = claude.ok(&Call::new("handoff.get", json!({})).param("id", text(&stored, "handoff_id")));
    assert_eq!((&read["in_progress"], &read["blocked"]), (&json!([]), &json!([])));
    let canonical = r#"{"accomplished":["x"],"blocked":[],"in_progress":[],"next_steps":["y"]}"#;
    assert_eq!(text(&read, "payload_hash"), ctxnode_model::rules::canonical::sha256_hex(canonical.as_bytes()));
}

#[test]
fn h_10_h_16_a_handoff_carries_the_sessions_values_and_latest_finds_it() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let start = json!({ "track": 3, "issue": 7, "branch": "dev/x" });
    let mut input = open("x");
    input["issue"] = json!(8);
    hand_off(&claude, start, input);
    let latest = claude.do_("handoff.latest", json!({ "venture": "alpha", "repo": "alpha-org/console" }));
    assert_eq!((&latest["track"], &latest["issue"], text(&latest, "branch")), (&json!(3), &json!(8), "dev/x"));
    assert_eq!(text(&latest, "commit_sha"), repo.git(&["rev-parse", "HEAD"]));
    // Without an issue in the request, the session's; the newest counts, whatever its track.
    let newer = hand_off(&claude, json!({ "track": 5, "issue": 7 }), open("y"));
    let of = |more: Value| {
        let mut query = json!({ "venture": "alpha", "repo": "alpha-org/console" });
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claude.do_("handoff.latest", query)
    };
    let any = of(json!({}));
    assert_eq!((&any["id"], &any["track"], &any["issue"]), (&newer["handoff_id"], &json!(5), &json!(7)));
    assert_eq!((&of(json!({ "track": 3 }))["id"], &of(json!({ "issue": 8 }))["id"]), (&latest["id"], &latest["id"]));
    let refused = claude.refused_("handoff.latest", json!({ "venture": "alpha" }));
    assert_eq!(refused.code, ErrorCode::ValidationFailed);
}

#[test]
fn h_14_h_15_pages_neither_repeat_nor_lose_rows() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    (0..25).for_each(|n| drop(hand_off(&claude, json!({ "issue": n + 1 }), done(&format!("item {n}")))));
    let (mut ids, mut cursor) = (Vec::new(), Value::Null);
    for page in 0..3 {
        let mut query = json!({ "limit": 10 });
        if !cursor.is_null() {
            query["cursor"] = cursor.clone();
        }
        let rows = claude.do_("handoff.list", query);
        assert_eq!(rows["total"], 25 + page, "{rows}");
        ids.extend(rows["items"].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()));
        assert_eq!(rows["has_more"], page < 2);
        cursor = rows["next_cursor"].clone();
        hand_off(&claude, json!({ "issue": 100 + page }), done("meanwhile"));
    }
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (25, 25));
    for bad in [json!({ "limit": 0 }), json!({ "limit": 101 }), json!({ "limit": -1 }), json!({ "limit": "abc" })] {
        assert_eq!(claude.refused_("handoff.list", bad).details[0].field, "limit");
    }
    for bad in ["x", "e30", "eyJ0IjoxfQ"] {
        assert_eq!(claude.refused_("handoff.list", json!({ "cursor": bad })).code, ErrorCode::InvalidCursor);
    }
}

#[test]
fn h_17_a_handoff_from_another_repo_is_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let started = agent(&sandbox, "claude-mac-1", repo.path()).do_("sod", json!({}));
    let shop = Repo::with_origin(&sandbox, "shop", "git@github.com:beta-org/shop.git");
    let claude = agent(&sandbox, "claude-mac-1", shop.path());
    let refused = claude.refused_("eod", done("x"));
    assert_eq!(refused.code, ErrorCode::WrongRepo);
    assert!(refused.message.contains("alpha-org/console") && refused.message.contains("beta-org/shop"), "{refused:?}");
    let session = claude.ok(&Call::new("session.get", json!({})).param("id", text(&started, "session_id")));
    assert_eq!((text(&session, "status"), total(&claude)), ("active", 0));
}

#[test]
fn h_19_the_git_view_is_one_commit_of_one_path() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    std::fs::write(sandbox.home().join(".gitconfig"), "[user]\n\tname = Ada\n\temail = ada@example.com\n").unwrap();
    std::fs::write(repo.path().join("staged.txt"), "x").unwrap();
    repo.git(&["add", "staged.txt"]);
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let stored = hand_off(&claude, json!({}), open("seen in git"));
    let view = std::fs::read_to_string(repo.path().join("docs/handoffs/DEV.md")).unwrap();
    for heading in ["Accomplished", "In progress", "Blocked", "Next session", text(&stored, "handoff_id")] {
        assert!(view.contains(heading), "{heading}: {view}");
    }
    assert_eq!(repo.git(&["show", "--name-only", "--format=", "HEAD"]), "docs/handoffs/DEV.md");
    assert_eq!(repo.git(&["diff", "--cached", "--name-only"]), "staged.txt");
    let head = repo.git(&["rev-parse", "HEAD"]);
    let mut again = open("seen in git");
    again["session_id"] = stored["session_id"].clone();
    claude.do_("eod", again);
    assert_eq!(repo.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(std::fs::read_to_string(repo.path().join("docs/handoffs/DEV.md")).unwrap(), view);
}

#[test]
fn h_19_a_venture_that_wants_no_git_view_has_none() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let off = Call::new("venture.put", json!({ "settings": { "git_view": false } })).param("code", "alpha");
    person(&sandbox).ok(&off);
    let head = repo.git(&["rev-parse", "HEAD"]);
    let stored = hand_off(&agent(&sandbox, "claude-mac-1", repo.path()), json!({}), done("x"));
    assert!(stored["git_view"].is_null(), "{stored}");
    assert_eq!((repo.git(&["rev-parse", "HEAD"]), repo.git(&["status", "--porcelain"])), (head, String::new()));
}

#[test]
fn h_21_one_sitting_over_two_ventures_has_two_sessions() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let console = alpha_repo(&sandbox, "console");
    let shop = Repo::with_origin(&sandbox, "shop", "git@github.com:beta-org/shop.git");
    let (in_a, in_b) = (agent(&sandbox, "claude-mac-1", console.path()), agent(&sandbox, "claude-mac-1", shop.path()));
    let a = text(&in_a.do_("sod", json!({})), "session_id").to_owned();
    let b = text(&in_b.do_("sod", json!({})), "session_id").to_owned();
    assert_ne!(a, b);
    let mut half = open("half");
    half["keep_open"] = json!(true);
    let first = in_a.do_("eod", half);
    assert_eq!((text(&first, "session_id"), text(&first, "session_status")), (a.as_str(), "active"));
    let other = in_b.do_("eod", done("b"));
    assert_eq!((text(&other, "session_id"), text(&other, "session_status")), (b.as_str(), "ended"));
    assert_eq!(total(&in_a), 2);
    let second = in_a.do_("eod", done("rest"));
    assert_eq!((text(&second, "session_id"), text(&second, "session_status")), (a.as_str(), "ended"));
    assert_ne!(second["handoff_id"], first["handoff_id"]);
    assert_eq!(total(&in_a), 3);
}

#[test]
fn h_24_an_abandoned_session_still_takes_its_handoff() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let id = text(&claude.do_("sod", json!({})), "session_id").to_owned();
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    let mut input = done("late");
    input["session_id"] = id.as_str().into();
    let stored = claude.do_("eod", input);
    assert_eq!(text(&stored, "session_status"), "abandoned");
    assert!(text(&stored, "notice").contains("stays so"), "{stored}");
    let latest = claude.do_("handoff.latest", json!({ "session_id": id }));
    assert_eq!((latest["drafted"].as_bool(), &latest["id"]), (Some(false), &stored["handoff_id"]));
    // The machine's draft stays in history and is offered no more.
    let drafts = claude.do_("handoff.list", json!({ "drafted": true }));
    assert_eq!((&drafts["total"], &drafts["items"][0]["open"]), (&json!(1), &json!(false)), "{drafts}");
}

/// H-22 and 2.7: a session that stopped gets its draft when somebody asks, once for one state; its own handoff closes that.
#[test]
fn h_22_a_draft_is_written_on_request_and_ends_the_session_only_when_asked_to() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    repo.commit("a.txt", "a");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let id = text(&claude.do_("sod", json!({ "issue": 7 })), "session_id").to_owned();
    let draft = |end: bool| Call::new("session.draft", json!({ "end": end })).param("id", &id);
    let empty = person(&sandbox).ok(&draft(false));
    assert_eq!((&empty["activity"], &empty["session"]["status"]), (&json!(false), &json!("active")), "{empty}");
    std::fs::write(repo.path().join("half.txt"), "b").unwrap();
    let first = person(&sandbox).ok(&draft(false));
    assert_eq!(person(&sandbox).ok(&draft(false))["handoff_id"], first["handoff_id"], "the same state");
    claude.do_("update", json!({ "blocked_on": "a review" }));
    let second = person(&sandbox).ok(&draft(false));
    assert_ne!(second["handoff_id"], first["handoff_id"]);
    let open = claude.do_("handoff.list", json!({ "session_id": id, "open": true }));
    assert_eq!((&open["total"], &open["items"][0]["id"]), (&json!(1), &second["handoff_id"]), "{open}");
    // Somebody goes on from it: the thread, the issue and the handoff in front.
    let codex = agent(&sandbox, "codex-mac-1", repo.path());
    let begun = codex.do_("sod", json!({ "continues": second["handoff_id"] }));
    assert_eq!((&begun["session"]["thread"], &begun["session"]["issue"]), (&open["items"][0]["thread"], &json!(7)));
    assert_eq!(begun["last_handoff"]["id"], second["handoff_id"], "{begun}");
    let wrong = codex.refused_("sod", json!({ "continues": "ho_1" }));
    assert_eq!(wrong.details[0].field, "continues");
    let ended = person(&sandbox).ok(&draft(true));
    assert_eq!((&ended["session"]["status"], &ended["session"]["end_reason"]), (&json!("abandoned"), &json!("error")));
    assert_eq!(person(&sandbox).ok(&draft(true))["handoff_id"], second["handoff_id"], "again is the same");
}

#[test]
fn h_26_a_secret_is_refused_and_repeated_nowhere() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let secret = format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let refused = claude.refused_("eod", done(&format!("used {secret} there")));
    assert_eq!(refused.code, ErrorCode::SecretSuspected);
    let said = serde_json::to_string(&refused).unwrap();
    assert!(said.contains("accomplished") && !said.contains(&secret), "{said}");
    for (field, value) in [("blocked", json!(["fine", secret])), ("extra", json!({ "deep": [{ "er": secret }] }))] {
        let mut input = done("x");
        input[field] = value;
        let refused = claude.refused_("eod", input);
        assert_eq!(refused.code, ErrorCode::SecretSuspected, "{field}");
        assert!(refused.details[0].field.starts_with(field), "{refused:?}");
    }
    assert_eq!(total(&claude), 0);
    let found = std::process::Command::new("grep").args(["-rlF", &secret]).arg(sandbox.home()).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[test]
fn h_28_a_failing_hook_of_git_does_not_cost_the_handoff() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    std::fs::write(sandbox.home().join(".gitconfig"), "[user]\n\tname = Ada\n\temail = ada@example.com\n").unwrap();
    let hook = repo.path().join(".git/hooks/pre-commit");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let stored = hand_off(&claude, json!({}), done("x"));
    assert!(text(&stored, "git_view").contains("could not be committed"), "{stored}");
    assert_eq!(total(&claude), 1);
}
