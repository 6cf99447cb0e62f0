//! The weekly plan, ventures, escalations and events at their edges.

use ctxnode_api::operations::EventQuery;
use ctxnode_api::{Call, Client, Endpoint, ErrorCode};
use serde_json::{Value, json};

use crate::notes::{by_token, token_of_alpha};
use crate::support::{agent, alpha_repo, block_on, person, ready, start, start_with_http, text};

#[test]
fn p_01_a_plan_is_stale_by_its_own_time() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let old = json!({ "priority_venture": "alpha", "as_of": "2020-01-01T00:00:00Z" });
    assert_eq!(text(&ada.do_("plan.put", old), "state"), "stale");
    let plan = ada.do_("plan.get", json!({}));
    assert!(text(&plan, "display").contains("Stale") && text(&plan, "updated_at").starts_with("2020"), "{plan}");
    assert_eq!(text(&ada.do_("plan.put", json!({ "touch": true })), "state"), "valid");
    let plan = ada.do_("plan.get", json!({}));
    assert!(text(&plan, "display").contains("Valid") && text(&plan, "display").contains("alpha"), "{plan}");
}

#[test]
fn p_02_an_older_state_is_refused_unless_forced() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    assert_eq!(ada.refused_("plan.put", json!({ "touch": true })).code, ErrorCode::NotFound);
    ada.do_("plan.put", json!({ "priority_venture": "alpha", "secondary_focus": "speed", "capacity_notes": "half" }));
    let older = json!({ "priority_venture": "beta", "as_of": "2020-01-01T00:00:00Z" });
    assert_eq!(ada.refused_("plan.put", older.clone()).code, ErrorCode::Stale);
    let plan = ada.do_("plan.get", json!({}));
    assert_eq!((text(&plan, "priority_venture"), text(&plan, "secondary_focus")), ("alpha", "speed"));
    let mut forced = older;
    forced["force"] = json!(true);
    ada.do_("plan.put", forced);
    let plan = ada.do_("plan.get", json!({}));
    assert_eq!((text(&plan, "priority_venture"), &plan["secondary_focus"]), ("beta", &Value::Null));
}

#[test]
fn p_04_a_start_shows_the_plan_and_an_unknown_priority_is_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let refused = ada.refused_("plan.put", json!({ "priority_venture": "alpa" }));
    assert_eq!(refused.details[0].field, "priority_venture");
    assert!(refused.details[0].message.contains("did you mean alpha"), "{refused:?}");
    assert_eq!(text(&ada.do_("plan.get", json!({})), "state"), "missing");
    ada.do_("plan.put", json!({ "priority_venture": "beta" }));
    let repo = alpha_repo(&sandbox, "console");
    let seen = agent(&sandbox, "claude-mac-1", repo.path()).do_("sod", json!({}));
    assert_eq!((text(&seen["plan"], "priority_venture"), text(&seen["plan"], "age")), ("beta", "just now"), "{seen}");
}

#[test]
fn p_07_an_import_twice_changes_nothing_and_bad_codes_are_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let file = |code: &str| {
        let entry = json!({ "code": code, "name": "N", "org": "o", "capabilities": ["has_magic"], "colour": "red" });
        json!({ "text": json!({ "ventures": [entry] }).to_string() })
    };
    assert_eq!(ada.do_("venture.import", file("gamma"))["created"], json!(["gamma"]));
    let again = ada.do_("venture.import", file("gamma"));
    assert_eq!(
        (&again["created"], &again["changed"], &again["unchanged"]),
        (&json!([]), &json!([]), &json!(["gamma"]))
    );
    let list = ada.do_("venture.list", json!({}));
    let gamma = list["items"].as_array().unwrap().iter().find(|row| row["code"] == "gamma").unwrap();
    assert_eq!((&gamma["capabilities"], &gamma["meta"]["colour"]), (&json!(["has_magic"]), &json!("red")));
    for bad in ["global", "A", &"a".repeat(21), "", "1a", "a_b"] {
        let refused = ada.refused_("venture.import", file(bad));
        assert_eq!(refused.details[0].field, "ventures[0].code", "{bad}: {refused:?}");
        if !bad.is_empty() {
            let put = Call::new("venture.put", json!({ "name": "N" })).param("code", bad);
            assert_eq!(ada.refused(&put).details[0].field, "code", "{bad}");
        }
    }
    assert_eq!(ada.do_("venture.list", json!({}))["total"], 3);
}

#[test]
fn p_07_an_archived_venture_leaves_lists_and_starts_and_stays_readable() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let note = json!({ "content": "kept", "venture": "beta", "human_requested": true });
    let id = text(&ada.do_("note.create", note), "id").to_owned();
    ada.ok(&Call::new("venture.archive", json!({})).param("code", "beta"));
    assert_eq!(ada.do_("venture.list", json!({}))["total"], 1);
    assert_eq!(ada.do_("venture.list", json!({ "include_archived": true }))["total"], 2);
    assert_eq!(text(&ada.ok(&Call::new("note.get", json!({})).param("id", &id)), "content"), "kept");
    let lost = agent(&sandbox, "claude-mac-1", &sandbox.dev_dir());
    let reply = lost.do_("sod", json!({}));
    assert!(!reply["candidates"].to_string().contains("beta"), "{reply}");
    assert_eq!(ada.refused_("plan.put", json!({ "priority_venture": "beta" })).details[0].field, "priority_venture");
    let unknown = Call::new("venture.archive", json!({})).param("code", "alpa");
    let refused = ada.refused(&unknown);
    assert_eq!(refused.code, ErrorCode::UnknownVenture);
    assert!(refused.message.contains("did you mean `alpha`"), "{refused:?}");
}

#[test]
fn an_escalation_is_resolved_once_and_by_a_finished_thread() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({ "issue": 4 }));
    let escalate = |need: &str| {
        let made = claude.do_("escalation.create", json!({ "escalate": { "trigger": "manual", "need": need } }));
        text(&made, "id").to_owned()
    };
    let (first, _second) = (escalate("a key"), escalate("a review"));
    let resolve = |id: &str| Call::new("escalation.resolve", json!({ "reason": "here" })).param("id", id);
    let resolved = person(&sandbox).ok(&resolve(&first));
    assert_eq!(person(&sandbox).ok(&resolve(&first))["resolved_at"], resolved["resolved_at"]);
    let totals = || {
        let open = claude.do_("escalation.list", json!({ "venture": "alpha" }));
        (open["total"].clone(), claude.do_("escalation.list", json!({ "all": true }))["total"].clone())
    };
    assert_eq!(totals(), (json!(1), json!(2)));
    let unknown = resolve("esc_00000000000000000000000000");
    assert_eq!(claude.refused(&unknown).code, ErrorCode::NotFound);
    claude.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    assert_eq!(totals(), (json!(0), json!(2)));
}

#[test]
fn events_are_listed_newest_first_and_by_venture() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    for (issue, status) in [(1, "blocked"), (2, "done"), (3, "in_progress")] {
        claude.do_("sod", json!({ "issue": issue }));
        let lists = json!({ "status": status, "accomplished": ["x"], "blocked": ["y"], "next_steps": ["z"] });
        claude.do_("eod", lists);
    }
    let events = claude.do_("event.list", json!({ "venture": "alpha" }));
    let rows: Vec<(&str, u64)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (text(event, "kind"), event["issue"].as_u64().unwrap()))
        .collect();
    assert_eq!(rows, [("task_done", 2), ("blocked", 1)], "{events}");
    assert_eq!(claude.do_("event.list", json!({ "venture": "beta" }))["total"], 0);
    let page = claude.do_("event.list", json!({ "limit": 1 }));
    let rest = claude.do_("event.list", json!({ "limit": 1, "cursor": page["next_cursor"] }));
    assert_eq!((text(&page["items"][0], "kind"), text(&rest["items"][0], "kind")), ("task_done", "blocked"));
    assert_eq!(rest["has_more"], false);
}

/// the plan is everybody's, and which venture it is about is for those who see that venture.
#[test]
fn r_05_a_token_of_one_venture_reads_no_other_ones_name_in_the_plan() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let secret = token_of_alpha(&ada);
    let asked = |operation: &str, input: Value| by_token(&address, &secret, &Call::new(operation, input));
    let started =
        || asked("sod", json!({ "agent": "a-x-1", "venture": "alpha", "repo": "alpha-org/console" })).unwrap();
    ada.do_("plan.put", json!({ "priority_venture": "beta", "capacity_notes": "half" }));
    for plan in [asked("plan.get", json!({})).unwrap(), started()["plan"].clone()] {
        assert_eq!((text(&plan, "state"), text(&plan, "capacity_notes")), ("valid", "half"), "{plan}");
        assert_eq!(text(&plan, "priority_venture"), "a venture that this machine does not read");
        assert!(!plan.to_string().contains("beta"), "{plan}");
    }
    // It neither confirms nor writes what it cannot read; who can, confirms it as it is.
    for input in [json!({ "touch": true }), json!({ "priority_venture": "alpha" })] {
        assert_eq!(asked("plan.put", input), Err(ErrorCode::Forbidden));
    }
    assert_eq!(ada.do_("plan.put", json!({ "touch": true }))["priority_venture"], "beta");
    assert_eq!(ada.do_("plan.get", json!({}))["priority_venture"], "beta");
    ada.do_("plan.put", json!({ "priority_venture": "alpha" }));
    assert_eq!(asked("plan.get", json!({})).unwrap()["priority_venture"], "alpha");
    assert_eq!(started()["plan"]["priority_venture"], "alpha");
}

/// a doc requirement of another venture, and that venture itself, are not heard of and not read.
#[test]
fn r_05_a_token_of_one_venture_hears_nothing_of_another() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let secret = token_of_alpha(&ada);
    let require = |venture: &str| {
        let input = json!({ "name_pattern": "x.md", "scope_type": "venture", "scope_venture": venture });
        Call::new("requirement.put", input)
    };
    let named = json!({ "name": "Beta", "org": "beta-org" });
    let (of_alpha, of_beta, heard) = block_on(async {
        let token = Endpoint::Tcp { address: address.parse().unwrap(), token: secret.clone() };
        let mut events = Client::new(token).events(&EventQuery::default(), None).await.unwrap();
        let mut writer = Client::new(Endpoint::Socket(sandbox.socket()));
        writer.call(&Call::new("venture.put", named).param("code", "beta")).await.unwrap();
        let of_beta = text(&writer.call(&require("beta")).await.unwrap().body, "id").to_owned();
        let of_alpha = text(&writer.call(&require("alpha")).await.unwrap().body, "id").to_owned();
        let mut heard = String::new();
        // The last that was written is the last that is told.
        while !heard.contains(&of_alpha) {
            heard.push_str(&events.next().await.unwrap().unwrap().data);
        }
        (of_alpha, of_beta, heard)
    });
    assert!(!heard.contains(&of_beta) && !heard.contains("beta"), "{heard}");
    let past = |id: &str| by_token(&address, &secret, &Call::new("record.history", json!({})).param("id", id));
    assert!(past(&of_alpha).is_ok());
    for id in [of_beta.as_str(), "beta"] {
        assert_eq!(past(id), Err(ErrorCode::NotFound), "{id}");
    }
}
