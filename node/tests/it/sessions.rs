//! Sessions: start, resume, parallel awareness, update, heartbeats. What needs a clock of its own is tested with the
//! rules, in `ctxnode-model`.

use ctxnode_api::{Call, Client, ClientError, Endpoint, ErrorCode};
use ctxnode_testkit::{Daemon, wait_until};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node, until};
use crate::support::{SOON, Who, agent, alpha_repo, block_on, person, ready, start, start_with_http, text};

fn sod(who: &Who<'_>, input: Value) -> Value {
    let reply = who.do_("sod", input);
    assert_eq!(reply["state"], "valid", "{reply}");
    reply
}

fn active(who: &Who<'_>) -> Vec<Value> {
    who.do_("session.list", json!({ "venture": "alpha" }))["items"].as_array().unwrap().clone()
}

#[test]
fn s_01_s_02_a_start_creates_and_the_next_one_resumes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-00000001", repo.path());
    let first = sod(&claude, json!({}));
    assert_eq!(first["status"], "created");
    let id = text(&first, "session_id");
    assert!(id.starts_with("sess_") && id.len() == 31, "{id}");
    assert_eq!(text(&first["session"], "repo"), "alpha-org/console");

    let second = sod(&claude, json!({ "branch": "dev/x", "issue": 7, "meta": { "a": 1 } }));
    assert_eq!((second["status"].as_str(), text(&second, "session_id")), (Some("resumed"), id));
    assert!(text(&second["session"], "last_heartbeat_at") >= text(&first["session"], "last_heartbeat_at"));
    assert_eq!((active(&claude).len(), text(&active(&claude)[0], "branch")), (1, "dev/x"));
    // S-12: what the request says is taken over, meta is merged.
    let third = sod(&claude, json!({ "meta": { "b": 2 } }));
    assert_eq!((&third["session"]["meta"], &third["session"]["issue"]), (&json!({ "a": 1, "b": 2 }), &json!(7)));
}

#[test]
fn s_10_s_11_parallel_agents_see_each_other_and_not_themselves() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let claude = agent(&sandbox, "claude-mac-00000001", one.path());
    let codex = agent(&sandbox, "codex-mac-00000002", two.path());
    sod(&claude, json!({ "issue": 87 }));
    let seen = sod(&codex, json!({}));
    let others = seen["active_sessions"]["items"].as_array().unwrap();
    assert_eq!((others.len(), text(&others[0], "agent")), (1, "claude-mac-00000001"));
    assert_eq!((&others[0]["issue"], text(&others[0], "repo")), (&json!(87), "alpha-org/console"));
    let back = sod(&claude, json!({}));
    assert_eq!(text(&back["active_sessions"]["items"][0], "agent"), "codex-mac-00000002");
    // W-01: an ended session is gone from the next list.
    codex.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    assert_eq!(sod(&claude, json!({}))["active_sessions"]["total"], 0);
}

#[test]
fn w_07_two_agents_on_one_branch_or_in_one_checkout_are_warned() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let warnings = |reply: &Value| reply["warnings"].to_string();
    sod(&agent(&sandbox, "claude-mac-00000001", one.path()), json!({ "branch": "dev/x" }));
    let same_checkout = sod(&agent(&sandbox, "codex-mac-00000002", one.path()), json!({ "branch": "dev/y" }));
    assert!(warnings(&same_checkout).contains("same checkout"), "{same_checkout}");
    let same_branch = sod(&agent(&sandbox, "gemini-mac-00000003", two.path()), json!({ "branch": "dev/x" }));
    assert!(warnings(&same_branch).contains("same branch"), "{same_branch}");
}

#[test]
fn s_08_s_09_a_track_is_matched_when_given_and_zero_is_one() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-00000001", repo.path());
    let zero = sod(&claude, json!({ "track": 0 }));
    assert_eq!(zero["session"]["track"], 0);
    let one = sod(&claude, json!({ "track": 1 }));
    assert_ne!(text(&zero, "session_id"), text(&one, "session_id"));
    assert_eq!(text(&sod(&claude, json!({ "track": 0 })), "session_id"), text(&zero, "session_id"));
    assert_eq!(text(&sod(&claude, json!({})), "session_id"), text(&zero, "session_id"));
    let listed = claude.do_("session.list", json!({ "track": 0 }));
    assert_eq!((listed["total"].as_u64(), &listed["items"][0]["track"]), (Some(1), &json!(0)));
}

#[test]
fn s_14_unknown_and_ended_sessions_are_told_apart_and_nothing_changes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-00000001", repo.path());
    let unknown = json!({ "session_id": "sess_00000000000000000000000000" });
    for operation in ["heartbeat", "update"] {
        assert_eq!(claude.refused_(operation, unknown.clone()).code, ErrorCode::NotFound, "{operation}");
    }
    let id = text(&sod(&claude, json!({})), "session_id").to_owned();
    claude.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    let before = claude.ok(&Call::new("session.get", json!({})).param("id", &id));
    for operation in ["heartbeat", "update"] {
        let refused = claude.refused_(operation, json!({ "session_id": id }));
        assert_eq!(refused.code, ErrorCode::SessionNotActive, "{operation}");
        assert!(refused.message.contains("ended"), "{}", refused.message);
    }
    assert_eq!(claude.ok(&Call::new("session.get", json!({})).param("id", &id)), before);
}

#[test]
fn s_15_s_16_an_update_changes_what_it_names() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-00000001", repo.path());
    sod(&claude, json!({ "branch": "dev/x", "meta": { "a": 1 } }));
    let update = |input: Value| claude.do_("update", input)["session"].clone();
    let updated = update(json!({ "issue": 91, "meta": { "b": 2 } }));
    assert_eq!((text(&updated, "branch"), &updated["issue"]), ("dev/x", &json!(91)));
    assert_eq!(updated["meta"], json!({ "a": 1, "b": 2 }));
    assert_eq!(active(&claude)[0]["issue"], 91);
    let updated = update(json!({ "branch": "", "issue": null, "meta": { "a": null } }));
    assert!(updated["branch"].is_null() && updated["issue"].is_null(), "{updated}");
    assert_eq!(updated["meta"], json!({ "b": 2 }));
    let bad = claude.refused_("update", json!({ "issue": 0, "track": 10_000, "commit_sha": "xyz" }));
    let fields: Vec<&str> = bad.details.iter().map(|field| field.field.as_str()).collect();
    assert_eq!((bad.code, fields.len()), (ErrorCode::ValidationFailed, 3), "{fields:?}");
}

#[test]
fn s_17_every_call_inside_a_session_is_a_heartbeat() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-00000001", repo.path());
    let first = text(&sod(&claude, json!({}))["session"], "last_heartbeat_at").to_owned();
    claude.do_("plan.get", json!({}));
    let heartbeat = || text(&active(&person(&sandbox))[0], "last_heartbeat_at").to_owned();
    let moved = heartbeat();
    assert!(moved > first, "{moved} {first}");
    // A person who looks does not keep an agent's session alive.
    assert_eq!(heartbeat(), moved);
}

#[test]
fn s_18_s_20_a_bad_start_names_everything_and_stores_nothing() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let claude = agent(&sandbox, "claude-mac-00000001", &sandbox.dev_dir());
    let bad = claude.refused_("sod", json!({ "agent": "", "venture": "", "repo": "no slash", "track": -1 }));
    let fields: Vec<&str> = bad.details.iter().map(|field| field.field.as_str()).collect();
    assert_eq!(bad.code, ErrorCode::ValidationFailed);
    for field in ["agent", "venture", "repo", "track"] {
        assert!(fields.contains(&field), "{field} is not named: {fields:?}");
    }
    assert!(!bad.correlation_id.as_str().is_empty());
    let unknown = claude.refused_("sod", json!({ "venture": "alpa", "repo": "alpha-org/console" }));
    assert_eq!(unknown.code, ErrorCode::UnknownVenture);
    let said = format!("{} {}", unknown.message, unknown.hint.unwrap_or_default());
    assert!(said.contains("alpha") && said.contains("beta"), "{said}");
    assert_eq!(claude.do_("session.list", json!({ "status": "any" }))["total"], 0);
}

#[test]
fn s_30_a_start_says_where_it_stands_before_it_makes_a_session() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let lost = agent(&sandbox, "claude-mac-00000001", &sandbox.dev_dir());
    let reply = lost.do_("sod", json!({}));
    assert_eq!((text(&reply, "state"), reply["candidates"].as_array().unwrap().len()), ("select_venture", 2));
    let reply = lost.do_("sod", json!({ "venture": "alpha" }));
    assert_eq!(text(&reply, "state"), "needs_clone");
    assert!(text(&reply, "command").contains("alpha-org/console"), "{reply}");
    let repo = alpha_repo(&sandbox, "console");
    wait_until(SOON, "the clone is found", || {
        let reply = lost.do_("sod", json!({ "venture": "alpha" }));
        reply["state"] == "needs_navigation" && text(&reply, "path") == repo.path().to_str().unwrap()
    });
    assert_eq!(lost.do_("session.list", json!({ "status": "any" }))["total"], 0);
    sod(&agent(&sandbox, "claude-mac-00000001", repo.path()), json!({}));
    assert_eq!(lost.do_("session.list", json!({ "status": "any" }))["total"], 1);
}

#[test]
fn s_22_a_restarted_daemon_finds_the_session_again() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-00000001", repo.path());
    let id = text(&sod(&claude, json!({})), "session_id").to_owned();
    daemon.kill();
    daemon.restart();
    assert_eq!(text(&claude.do_("context", json!({}))["session"], "id"), id);
    let ended = claude.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    assert_eq!((text(&ended, "session_id"), text(&ended, "session_status")), (id.as_str(), "ended"));
}

/// S-25: the session of a machine that does not come back is given up by an admin and by nobody else. It is abandoned on all
/// nodes then, on that machine too when it comes back after all, where it is never revived.
#[test]
fn s_25_only_an_admin_abandons_the_session_of_a_dead_machine_and_it_is_so_on_all_nodes() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    let server = join(&mac, "server", &["--role", "writer"]);
    let _server_daemon = Daemon::start(&server);
    for machine in [&mac, &laptop, &server] {
        node(machine, "all are equal", |reply| connected(reply, 2));
    }
    let repo = alpha_repo(&laptop, "console");
    let claude = agent(&laptop, "claude-laptop-00000001", repo.path());
    let id = text(&sod(&claude, json!({})), "session_id").to_owned();
    let list = Call::new("session.list", json!({ "venture": "alpha" }));
    for machine in [&mac, &server] {
        until(machine, "its session is alive", &list, |reply| reply["total"] == 1);
    }
    laptop_daemon.stop();
    for machine in [&mac, &server] {
        until(machine, "it is dead", &list, |reply| reply["total"] == 0 && reply["last_seen"][0]["id"] == id.as_str());
    }
    let get = Call::new("session.get", json!({})).param("id", &id);
    let ending = |session: &Value| (session["status"].clone(), session["end_reason"].clone());
    let abandon = Call::new("session.abandon", json!({})).param("id", &id);
    assert_eq!(person(&server).refused(&abandon).code.status(), 403);
    for machine in [&mac, &server] {
        assert_eq!(ending(&person(machine).ok(&get)), (json!("active"), Value::Null));
    }

    person(&mac).ok(&abandon);
    laptop_daemon.restart();
    for machine in [&mac, &server, &laptop] {
        let by_admin = |session: &Value| ending(session) == (json!("abandoned"), json!("admin"));
        until(machine, "it is abandoned there", &get, by_admin);
        until(machine, "and is in no list", &list, |reply| reply["total"] == 0 && reply["last_seen"] == json!([]));
    }
    assert_ne!(text(&sod(&claude, json!({})), "session_id"), id, "it is not revived");
}

#[test]
fn w_02_of_sixty_sessions_ten_are_shown_those_of_the_repo_first() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    for number in 0..60 {
        // Those of the repo are the oldest, so that only their repo can bring them to the front.
        let name = if number < 4 { "alpha-org/console" } else { "alpha-org/other" };
        let who = agent(&sandbox, &format!("codex-mac-{number}"), &sandbox.dev_dir());
        sod(&who, json!({ "venture": "alpha", "repo": name }));
    }
    let reply = sod(&agent(&sandbox, "claude-mac-1", repo.path()), json!({}));
    let shown = reply["active_sessions"]["items"].as_array().unwrap();
    assert_eq!((&reply["active_sessions"]["total"], shown.len()), (&json!(60), 10));
    let same = shown.iter().map(|row| text(row, "repo") == "alpha-org/console");
    assert_eq!(same.collect::<Vec<_>>(), [vec![true; 4], vec![false; 6]].concat());
}

/// S-26: `claude -p` in the shell of a Claude session. Both are known by their processes alone.
#[test]
fn s_26_an_agent_inside_an_agents_shell_has_a_session_of_its_own() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let out = |name: &str| sandbox.root().join(name);
    let path = |name: &str| out(name).display().to_string();
    let inner = format!(
        "ctxnode sod --json > {}; ctxnode eod --status done --accomplished x --json > {}",
        path("inner"),
        path("eod")
    );
    std::fs::write(out("inner.sh"), inner).unwrap();
    let outer = format!(
        "ctxnode sod --json > {}; (exec -a claude bash {}); ctxnode context --json > {}",
        path("outer"),
        path("inner.sh"),
        path("context")
    );
    std::fs::write(out("outer.sh"), outer).unwrap();
    let mut command = sandbox.command("bash");
    let status =
        command.args(["-c", "exec -a claude bash \"$0\"", &path("outer.sh")]).current_dir(repo.path()).status();
    assert!(status.unwrap().success());
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(out(name)).unwrap()).unwrap() };
    let (outer, inner) = (read("outer"), read("inner"));
    assert_eq!(text(&outer["session"], "cli"), "claude");
    assert_ne!(text(&outer, "session_id"), text(&inner, "session_id"));
    assert_eq!(text(&inner["session"], "parent_session_id"), text(&outer, "session_id"));
    // both came over one socket, and are two actors.
    assert_ne!(text(&outer["session"], "actor_key_id"), text(&inner["session"], "actor_key_id"));
    assert_eq!(text(&read("eod"), "session_id"), text(&inner, "session_id"));
    let still = read("context");
    assert_eq!(text(&still["session"], "id"), text(&outer, "session_id"));
}

/// What is said of an agent beforehand is checked as a whole, and only for what is there.
#[test]
fn s_14_what_is_expected_of_a_session_is_checked() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let own = std::process::id();
    let bad =
        ada.refused_("session.expect", json!({ "pid": u32::MAX, "repo": "x", "track": 10_000, "continues": "ho_" }));
    let mut fields: Vec<&str> = bad.details.iter().map(|detail| detail.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["continues", "pid", "repo", "track", "venture"], "{bad:?}");
    let first = ada.refused_("session.expect", json!({ "pid": 1, "venture": "alpha", "repo": "alpha-org/console" }));
    assert!(first.details.len() == 1 && first.details[0].field == "pid", "{first:?}");
    let said = |venture: &str, continues: Option<&str>| json!({ "pid": own, "venture": venture, "repo": "alpha-org/console", "track": 1, "continues": continues });
    assert_eq!(ada.refused_("session.expect", said("alpah", None)).code, ErrorCode::UnknownVenture);
    let nobodys = "ho_01M8511TMBMHGNHEXKNZYZ446C";
    assert_eq!(ada.refused_("session.expect", said("alpha", Some(nobodys))).code, ErrorCode::NotFound);
    assert_eq!(ada.do_("session.expect", said("alpha", None))["changed"], true);
    let made = ada.do_("token.create", json!({ "name": "t", "right": "admin" }));
    let endpoint = Endpoint::Tcp { address: address.parse().unwrap(), token: text(&made, "secret").to_owned() };
    let far = block_on(async { Client::new(endpoint).call(&Call::new("session.expect", said("alpha", None))).await });
    assert!(matches!(far, Err(ClientError::Refused(body)) if body.code == ErrorCode::Forbidden));
}
