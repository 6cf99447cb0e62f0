//! Bad input to every field of every operation, made from the API's own table: a named error, and no trace.

use ctxnode_api::shape::Shape;
use ctxnode_api::{Call, ClientError, ErrorCode, ROUTES, Route};
use serde_json::{Value, json};

use crate::support::{agent, person, ready, start};

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
