//! Bad input to every field of every operation, made from the API's own table: a named error, and no trace.

use ctxnode_api::shape::Shape;
use ctxnode_api::{Call, ClientError, ErrorCode, ROUTES, Route};
use serde_json::{Value, json};

use crate::support::{agent, ctxnode, person, printed, ready, start};

/// Values that are wrong for nearly every field; what a field takes is left out.
const WRONG: [&str; 8] =
    ["null", "true", "-1", "99999999999", "\"\"", "\"\\u0000\\u202e\"", "[[]]", "{\"deep\":{\"deeper\":[1e300]}}"];

fn call(route: &Route, input: Value) -> Call {
    let parameters = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    parameters.fold(Call::new(route.operation, input), |call, name| call.param(name, "\u{202e}../x"))
}

fn usable() -> impl Iterator<Item = &'static Route> {
    // These end the daemon, work through the disk, or never end.
    let left = ["node.stop", "node.handover", "node.backup", "node.check", "event.stream", "token.create"];
    ROUTES.iter().filter(move |route| !left.contains(&route.operation))
}

#[test]
fn q_08_a_wrong_type_or_unknown_field_is_named_and_leaves_no_trace() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let records = || {
        let mut all = ada.do_("node", json!({}))["records"].clone();
        // The daemon writes its own when it comes to it.
        all.as_object_mut().unwrap().remove("machine");
        all
    };
    let before = records();
    for (number, route) in usable().enumerate() {
        // Each route has a caller of its own, so that the rate limit stays out of the way.
        let who = agent(&sandbox, &format!("bad-x-{number}"), &sandbox.dev_dir());
        let shape = Shape::of_input(route);
        for name in shape.names().chain(["no_such_field"]) {
            let allowed = shape.allows(name).types;
            // In a query everything is text; only a number or a list can be of the wrong type there.
            let wrong = if allowed.iter().any(|kind| kind == "object") { json!("text") } else { json!({ "x": 1 }) };
            let wrong = if route.method == ctxnode_api::Method::Get { json!("\u{1}wrong") } else { wrong };
            match who.ask(&call(route, json!({ name: wrong }))) {
                Err(ClientError::Refused(body)) => {
                    assert!((400..500).contains(&body.code.status()), "{} {name}: {body:?}", route.operation);
                    let named = body.details.iter().any(|detail| detail.field.starts_with(name));
                    let other = body.code != ErrorCode::ValidationFailed;
                    let loose = route.method == ctxnode_api::Method::Get || name == "update_id";
                    assert!(named || other || loose, "{} {name}: {body:?}", route.operation);
                }
                // A query for a text that nobody has is no error.
                Ok(_) => assert_eq!(route.method, ctxnode_api::Method::Get, "{} {name}", route.operation),
                Err(error) => panic!("{} {name}: {error:?}", route.operation),
            }
        }
    }
    assert_eq!(records(), before);
}

#[test]
fn no_value_in_any_field_is_a_fault_of_the_daemon() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    for (number, route) in usable().enumerate() {
        for (turn, wrong) in WRONG.iter().enumerate() {
            let who = agent(&sandbox, &format!("odd-{turn}-{number}"), &sandbox.dev_dir());
            let wrong: Value = serde_json::from_str(wrong).unwrap();
            let shape = Shape::of_input(route);
            let mut inputs: Vec<Value> = shape.names().map(|name| json!({ name: wrong })).collect();
            inputs.push(Value::Object(shape.names().map(|name| (name.to_owned(), wrong.clone())).collect()));
            for input in inputs {
                if let Err(error) = who.ask(&call(route, input.clone())) {
                    let ClientError::Refused(body) = error else { panic!("{} {input}: {error:?}", route.operation) };
                    assert!(body.code.status() < 500, "{} {input}: {body:?}", route.operation);
                }
            }
        }
    }
    assert_eq!(person(&sandbox).do_("health", json!({}))["status"], "ok");
}

/// An unknown venture is named beside everything else that is wrong; alone it is an error of its own.
#[test]
fn an_unknown_venture_is_named_beside_the_other_bad_fields() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let note = ada.do_("note.create", json!({ "content": "x", "human_requested": true }));
    let long = "x".repeat(201);
    let of_note = |call: Call| call.param("id", note["id"].as_str().unwrap());
    let doc = |name: &str, input: Value| Call::new("doc.put", input).param("scope", "alhpa").param("name", name);
    // Each with the fields that are bad beside the venture, and the same call with the venture alone.
    let cases = [
        (
            Call::new(
                "note.create",
                json!({ "venture": "alhpa", "content": " ", "title": long, "human_requested": true }),
            ),
            vec!["content", "title", "venture"],
            Call::new("note.create", json!({ "venture": "alhpa", "content": "x", "human_requested": true })),
        ),
        (
            of_note(Call::new(
                "note.update",
                json!({ "venture": "alhpa", "title": long, "rev": "none", "human_requested": true }),
            )),
            vec!["title", "rev", "venture"],
            of_note(Call::new("note.update", json!({ "venture": "alhpa", "human_requested": true }))),
        ),
        (
            Call::new("search", json!({ "q": "\"", "limit": 0, "venture": "alhpa" })),
            vec!["q", "limit", "venture"],
            Call::new("search", json!({ "q": "x", "venture": "alhpa" })),
        ),
        (
            Call::new("doc.list", json!({ "limit": 0, "venture": "alhpa" })),
            vec!["limit", "venture"],
            Call::new("doc.list", json!({ "venture": "alhpa" })),
        ),
        (doc("x", json!({})), vec!["name", "content", "scope"], doc("x.md", json!({ "content": "x" }))),
        (
            Call::new(
                "requirement.put",
                json!({ "name_pattern": "x", "scope_type": "venture", "scope_venture": "alhpa", "staleness_days": -1 }),
            ),
            vec!["name_pattern", "staleness_days", "scope_venture"],
            Call::new(
                "requirement.put",
                json!({ "name_pattern": "x.md", "scope_type": "venture", "scope_venture": "alhpa" }),
            ),
        ),
        (
            Call::new("sod", json!({ "venture": "alhpa", "repo": "alpha-org/console", "track": -1, "continues": "x" })),
            vec!["track", "continues", "venture"],
            Call::new("sod", json!({ "venture": "alhpa", "repo": "alpha-org/console" })),
        ),
        (
            Call::new("invite.create", json!({ "ttl": "1w", "role": "admin", "ventures": ["alpha", "alhpa"] })),
            vec!["ttl", "ventures", "ventures[1]"],
            Call::new("invite.create", json!({ "ventures": ["alpha", "alhpa"] })),
        ),
        (
            Call::new("token.create", json!({ "rate_limit": 0, "ttl": "soon", "ventures": ["alhpa"] })),
            vec!["name", "right", "rate_limit", "ttl", "ventures[0]"],
            Call::new("token.create", json!({ "name": "x", "right": "reader", "ventures": ["alhpa"] })),
        ),
    ];
    for (all, fields, alone) in cases {
        let refused = ada.refused(&all);
        let named: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
        assert_eq!((refused.code, named), (ErrorCode::ValidationFailed, fields), "{}: {refused:?}", all.operation);
        assert!(refused.details.last().unwrap().message.contains("did you mean `alpha`"), "{refused:?}");
        assert!(!refused.message.contains("of the form ``"), "{refused:?}");
        let refused = ada.refused(&alone);
        assert_eq!(refused.code, ErrorCode::UnknownVenture, "{}: {refused:?}", alone.operation);
        assert!(refused.message.contains("did you mean `alpha`") && refused.hint.is_some(), "{refused:?}");
    }
    assert_eq!(ada.do_("note.list", json!({}))["total"], 1);
}

/// A time is typed as people write it; what is none is answered with the forms and the range that are.
#[test]
fn a_time_that_is_none_is_answered_with_the_accepted_forms() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let said = |operation: &str, input: Value| {
        let refused = ada.refused_(operation, input);
        refused
            .details
            .iter()
            .map(|detail| format!("{}: {}", detail.field, detail.message))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let form = "a number and `s`, `m`, `h` or `d`";
    assert_eq!(
        said("invite.create", json!({ "ttl": "1 fortnight" })),
        format!("ttl: expected 1m to 7d, like `1h`: {form}")
    );
    assert_eq!(
        said("field.on", json!({ "every": "15", "for": "8d" })),
        format!("every: expected 1m to 1d, like `15m`: {form}; for: expected 1m to 7d, like `2h`: {form}")
    );
    assert_eq!(
        said("invite.create", json!({ "ttl": "1h", "ttl_seconds": 60 })),
        "ttl_seconds: is `ttl` in seconds: give one of them"
    );
    let made = ctxnode(&sandbox, &["invite", "--ttl", "90m", "--json"]);
    let made: Value = serde_json::from_str(&printed(&made)).unwrap();
    let at = |field: &str| ctxnode_model::Timestamp::parse_iso(made[field].as_str().unwrap()).unwrap();
    // It is made a moment after its end was set.
    assert_eq!((at("expires_at").since(at("created_at")) + 30_000) / 60_000, 90);
    let typed = ctxnode(&sandbox, &["invite", "--ttl", "soon"]);
    let shown = String::from_utf8_lossy(&typed.stderr).into_owned();
    assert!(typed.status.code() == Some(1) && shown.contains("like `1h`"), "{shown}");
}
