//! Claims at their edges: what a session implies, release by key, who may give back what, how long it lasts.

use ctxnode_api::{Call, ErrorCode};
use ctxnode_testkit::{Daemon, Repo};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node, until};
use crate::support::{Who, agent, alpha_repo, person, ready, start, text};

fn take(kind: &str, key: &str) -> Value {
    json!({ "kind": kind, "key": key })
}

fn keys(who: &Who<'_>) -> Vec<String> {
    let list = who.do_("claim.list", json!({ "venture": "alpha" }));
    let mut keys: Vec<String> =
        list["items"].as_array().unwrap().iter().map(|claim| text(claim, "key").to_owned()).collect();
    keys.sort();
    keys
}

#[test]
fn w_03_a_holder_is_named_with_machine_age_and_note_and_the_first_wins() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (claude, codex) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    claude.do_("sod", json!({}));
    codex.do_("sod", json!({}));
    let mut noted = take("issue", "87");
    noted["note"] = json!("halfway there");
    let taken = claude.ask(&Call::new("claim.take", noted)).unwrap();
    assert_eq!((taken.status, &taken.body["extended"]), (201, &json!(false)));
    let said = codex.refused_("claim.take", take("issue", "87")).message;
    let machine = text(&taken.body["claim"], "machine");
    for part in ["claude-mac-1", machine, "just now", "halfway there"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(keys(&claude), ["87"], "a refused claim is not stored");
    let mut forced = take("issue", "87");
    forced["force"] = json!(true);
    codex.do_("claim.take", forced);
    let list = claude.do_("claim.list", json!({ "venture": "alpha" }));
    for claim in list["items"].as_array().unwrap() {
        let beaten = claim["beaten_by"].as_str().is_some_and(|by| by.contains("claude-mac-1"));
        assert_eq!(beaten, text(claim, "agent") == "codex-mac-2", "{list}");
    }
    assert_eq!(list["total"], 2);
    let events = claude.do_("event.list", json!({ "venture": "alpha" }));
    assert_eq!(text(&events["items"][0], "kind"), "claim_conflict", "{events}");
}

#[test]
fn w_03_an_issue_and_a_branch_of_a_session_are_held_without_a_claim() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (claude, codex) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    claude.do_("sod", json!({ "issue": 12, "branch": "dev/x" }));
    let seen = codex.do_("sod", json!({}));
    assert_eq!(seen["claims"]["total"], 2, "{seen}");
    for held in [take("issue", "12"), take("branch", "dev/x")] {
        assert_eq!(codex.refused_("claim.take", held.clone()).code, ErrorCode::ClaimHeld, "{held}");
        assert_eq!(claude.do_("claim.take", held)["extended"], true);
    }
    claude.do_("update", json!({ "issue": null, "branch": "" }));
    codex.do_("claim.take", take("issue", "12"));
    assert_eq!(keys(&codex), ["12"]);
}

#[test]
fn w_05_paths_that_can_meet_are_held() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (claude, codex) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    claude.do_("sod", json!({}));
    codex.do_("sod", json!({}));
    claude.do_("claim.take", take("path", "src/auth/**"));
    assert_eq!(codex.refused_("claim.take", take("path", "src/*/login.ts")).code, ErrorCode::ClaimHeld);
    codex.do_("claim.take", take("path", "docs/**"));
    // The same path of another repo is another thing.
    let shop = Repo::with_origin(&sandbox, "shop", "git@github.com:beta-org/shop.git");
    let gemini = agent(&sandbox, "gemini-mac-3", shop.path());
    gemini.do_("sod", json!({}));
    gemini.do_("claim.take", take("path", "src/auth/**"));
    assert_eq!(keys(&claude), ["docs/**", "src/auth/**"]);
}

#[test]
fn w_06_a_claim_ends_with_an_abandoned_session_too() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let id = text(&claude.do_("sod", json!({})), "session_id").to_owned();
    claude.do_("claim.take", take("issue", "87"));
    assert_eq!(keys(&claude), ["87"]);
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    assert!(keys(&claude).is_empty());
    let refused = claude.refused_("claim.take", json!({ "kind": "issue", "key": "88", "session_id": id }));
    assert_eq!(refused.code, ErrorCode::SessionNotActive);
}

/// W-06: a claim of a machine that cannot be reached is held until it expires, and says that its holder was last seen.
#[test]
fn w_06_a_claim_of_a_machine_that_cannot_be_reached_is_held_and_last_seen() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    let (there, here) = (alpha_repo(&laptop, "console"), alpha_repo(&mac, "console"));
    let claude = agent(&laptop, "claude-laptop-1", there.path());
    claude.do_("sod", json!({}));
    claude.do_("claim.take", take("issue", "87"));
    let list = Call::new("claim.list", json!({ "venture": "alpha" }));
    let is_one = |reply: &Value, last_seen: bool| reply["total"] == 1 && reply["items"][0]["last_seen"] == last_seen;
    until(&mac, "its holder is alive", &list, |reply| is_one(reply, false));
    laptop_daemon.stop();
    let away = until(&mac, "its holder is last seen", &list, |reply| is_one(reply, true));
    let claim = &away["items"][0];
    assert_eq!((text(claim, "key"), text(claim, "agent")), ("87", "claude-laptop-1"));
    let codex = agent(&mac, "codex-mac-2", here.path());
    let started = codex.do_("sod", json!({}));
    assert!(is_one(&started["claims"], true), "{started}");
    assert_eq!(codex.refused_("claim.take", take("issue", "87")).code, ErrorCode::ClaimHeld);
    laptop_daemon.restart();
    until(&mac, "its holder is alive again", &list, |reply| is_one(reply, false));
}

#[test]
fn w_06_a_release_by_key_or_id_is_the_holders_or_an_admins() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (claude, codex) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    claude.do_("sod", json!({}));
    codex.do_("sod", json!({}));
    let id = |taken: Value| text(&taken["claim"], "id").to_owned();
    let first = id(claude.do_("claim.take", take("issue", "87")));
    assert_eq!(codex.refused_("claim.release", json!({ "id": first })).code, ErrorCode::Forbidden);
    assert_eq!(codex.refused_("claim.release", take("issue", "87")).code, ErrorCode::NotFound);
    assert_eq!(claude.do_("claim.release", take("issue", "87")), json!({ "id": first, "released": true }));
    assert_eq!(claude.do_("claim.release", take("issue", "87")), json!({ "id": first, "released": false }));
    let second = id(codex.do_("claim.take", take("issue", "87")));
    assert_ne!(first, second);
    person(&sandbox).ok(&Call::new("claim.release-id", json!({})).param("id", &second));
    assert!(keys(&claude).is_empty());
    // Taken again after a release, it is the new one that a key means.
    let third = id(claude.do_("claim.take", take("issue", "87")));
    assert_eq!(claude.do_("claim.release", take("issue", "87")), json!({ "id": third, "released": true }));
    assert_eq!(claude.refused_("claim.release", take("issue", "99")).code, ErrorCode::NotFound);
}

#[test]
fn w_06_taking_again_extends_and_a_lifetime_has_limits() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let with = |hours: f64| json!({ "kind": "issue", "key": "87", "ttl_hours": hours });
    let short = claude.do_("claim.take", with(1.0))["claim"].clone();
    let longer = claude.do_("claim.take", with(168.0))["claim"].clone();
    assert_eq!(longer["id"], short["id"]);
    let listed = claude.do_("claim.list", json!({ "venture": "alpha" }));
    assert_eq!((listed["total"].as_u64(), &listed["items"][0]["expires_at"]), (Some(1), &longer["expires_at"]));
    assert!(text(&longer, "expires_at") > text(&short, "expires_at"));
    for hours in [0.05, 168.1, 0.0, -1.0] {
        assert_eq!(claude.refused_("claim.take", with(hours)).details[0].field, "ttl_hours", "{hours}");
    }
}

/// Taken again, a claim is the one that was first, with what is new about it: who won before is not told that it lost.
#[test]
fn w_03_taking_again_keeps_the_place_of_a_claim_and_takes_a_new_note() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (claude, codex) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    claude.do_("sod", json!({}));
    codex.do_("sod", json!({}));
    let with = |fields: Value| {
        let mut input = take("issue", "87");
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        input
    };
    let first = claude.do_("claim.take", with(json!({ "note": "begun", "ttl_hours": 1.0 })));
    codex.do_("claim.take", with(json!({ "force": true })));
    let again = claude.do_("claim.take", with(json!({ "ttl_hours": 2.0 })));
    assert_eq!((&again["extended"], &again["claim"].get("beaten_by")), (&json!(true), &None), "{again}");
    assert_eq!(again["claim"]["taken_at"], first["claim"]["taken_at"]);
    assert_eq!((text(&again["claim"], "note"), text(&again["conflicts"][0], "agent")), ("begun", "codex-mac-2"));
    let noted = claude.do_("claim.take", with(json!({ "note": "halfway" })));
    let list = claude.do_("claim.list", json!({ "venture": "alpha" }));
    let stored = list["items"].as_array().unwrap().iter().find(|claim| claim["agent"] == "claude-mac-1").unwrap();
    for field in ["id", "note", "taken_at", "expires_at"] {
        assert_eq!(noted["claim"][field], stored[field], "{field}: {list}");
    }
    assert_eq!(text(stored, "note"), "halfway");
    // The other one, taken again, is beaten as it was.
    let beaten = codex.do_("claim.take", take("issue", "87"));
    assert!(text(&beaten["claim"], "beaten_by").contains("claude-mac-1"), "{beaten}");
}

#[test]
fn w_03_what_a_session_implies_is_shown_as_it_is_and_keeps_no_note() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({ "issue": 12, "branch": "dev/x" }));
    let list = || claude.do_("claim.list", json!({ "venture": "alpha" }));
    let before = list();
    for own in [take("issue", "12"), take("branch", "dev/x")] {
        let mut short = own.clone();
        short["ttl_hours"] = json!(1.0);
        let taken = claude.do_("claim.take", short);
        let rows = before["items"].as_array().unwrap();
        let listed = rows.iter().find(|claim| claim["kind"] == own["kind"]).unwrap();
        assert_eq!(taken["extended"], true);
        for field in ["id", "key", "taken_at", "expires_at"] {
            assert_eq!(taken["claim"].get(field), listed.get(field), "{field}: {taken}");
        }
        let mut noted = own;
        noted["note"] = json!("halfway there");
        assert_eq!(claude.refused_("claim.take", noted).details[0].field, "note");
    }
    assert_eq!(list()["total"], 2);
}
