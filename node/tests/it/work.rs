//! Claims, the weekly plan, ventures, escalations.

use ctxnode_api::{Call, ErrorCode};
use serde_json::json;

use crate::support::{agent, alpha_repo, person, ready, start, text};

#[test]
fn w_03_w_06_a_claim_is_held_until_it_is_released_or_its_session_ends() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (claude, codex) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    claude.do_("sod", json!({}));
    codex.do_("sod", json!({}));
    let take = json!({ "kind": "issue", "key": "87", "note": "mine" });
    let taken = claude.do_("claim.take", take.clone());
    let refused = codex.refused_("claim.take", take.clone());
    assert_eq!(refused.code, ErrorCode::ClaimHeld);
    assert!(refused.message.contains("claude-mac-1"), "{refused:?}");
    let forced = codex.do_("claim.take", json!({ "kind": "issue", "key": "87", "force": true }));
    assert_eq!(text(&forced["conflicts"][0], "agent"), "claude-mac-1");
    assert_eq!(claude.do_("claim.take", take)["extended"], true);
    let id = text(&taken["claim"], "id").to_owned();
    let release = Call::new("claim.release-id", json!({})).param("id", &id);
    assert_eq!(codex.refused(&release).code, ErrorCode::Forbidden);
    claude.ok(&release);
    claude.ok(&release);
    let unknown = Call::new("claim.release-id", json!({})).param("id", "clm_00000000000000000000000000");
    assert_eq!(claude.refused(&unknown).code, ErrorCode::NotFound);
    let list = || claude.do_("claim.list", json!({ "venture": "alpha" }))["total"].as_u64().unwrap();
    assert_eq!(list(), 1);
    codex.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    assert_eq!(list(), 0);
}

#[test]
fn w_12_bad_keys_are_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let long = "x".repeat(201);
    for (kind, key) in [("path", "../x"), ("path", "/etc"), ("path", long.as_str()), ("issue", "0"), ("issue", "x")] {
        let refused = claude.refused_("claim.take", json!({ "kind": kind, "key": key }));
        assert_eq!((refused.code, refused.details[0].field.as_str()), (ErrorCode::ValidationFailed, "key"), "{key}");
    }
}

#[test]
fn p_01_p_02_the_plan_is_missing_then_valid_then_confirmed() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    assert_eq!(text(&ada.do_("plan.get", json!({})), "state"), "missing");
    let refused = ada.refused_("plan.put", json!({ "priority_venture": "alpa" }));
    assert!(serde_json::to_string(&refused).unwrap().contains("alpha"), "{refused:?}");
    ada.do_("plan.put", json!({ "priority_venture": "alpha", "target_issues": ["#1"] }));
    let plan = ada.do_("plan.get", json!({}));
    assert_eq!((text(&plan, "state"), &plan["target_issues"]), ("valid", &json!(["#1"])));
    ada.do_("plan.put", json!({ "touch": true }));
    assert_eq!(ada.do_("plan.get", json!({}))["target_issues"], json!(["#1"]));
}

#[test]
fn ventures_are_imported_archived_and_brought_back() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let file = r#"{"ventures":[{"code":"gamma","name":"Gamma","org":"gamma-org","capabilities":["has_api"]}]}"#;
    ada.do_("venture.import", json!({ "text": file }));
    let codes = || -> Vec<String> {
        let list = ada.do_("venture.list", json!({}));
        list["items"].as_array().unwrap().iter().map(|row| text(row, "code").to_owned()).collect()
    };
    assert_eq!(codes(), ["alpha", "beta", "gamma"]);
    ada.ok(&Call::new("venture.archive", json!({})).param("code", "gamma"));
    assert_eq!(codes(), ["alpha", "beta"]);
    ada.ok(&Call::new("venture.archive", json!({ "archived": false })).param("code", "gamma"));
    assert_eq!(codes().len(), 3);
}

#[test]
fn an_escalation_is_open_until_it_is_resolved() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let bad = claude.refused_("escalation.create", json!({ "escalate": { "trigger": "nonsense" } }));
    assert_eq!(bad.code, ErrorCode::ValidationFailed);
    let escalate = json!({ "trigger": "repeated_error", "tried": ["a", "b", "c"], "need": "a key" });
    let made = claude.ask(&Call::new("escalation.create", json!({ "escalate": escalate })));
    let Ok(made) = made else { panic!("{made:?}") };
    assert_eq!(claude.do_("escalation.list", json!({}))["total"], 1);
    person(&sandbox)
        .ok(&Call::new("escalation.resolve", json!({ "reason": "here" })).param("id", text(&made.body, "id")));
    assert_eq!(claude.do_("escalation.list", json!({}))["total"], 0);
}
