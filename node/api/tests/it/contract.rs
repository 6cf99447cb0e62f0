//! Laws over the whole table of operations, so that a new row is checked without a new test.

use std::collections::BTreeSet;

use ctxnode_api::{Form, Method, Patch, ROUTES, Right, Route};
use proptest::prelude::*;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Returns a schema with everything that it refers to put in place.
fn inlined(make: fn(&mut SchemaGenerator) -> Schema) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    make(&mut SchemaGenerator::new(settings)).to_value()
}

/// Returns the names in braces of a path.
fn parameters(route: &Route) -> BTreeSet<&'static str> {
    route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// M-02: agents' clients refuse a tool whose input is a choice at its root.
#[test]
fn m_02_no_schema_has_a_choice_at_its_root() {
    for route in ROUTES {
        for schema in [inlined(route.input), inlined(route.output)] {
            for word in ["anyOf", "oneOf", "allOf"] {
                assert!(schema.get(word).is_none(), "{}: {word}", route.operation);
            }
        }
    }
}

///
#[test]
fn q_08_every_input_is_an_object_that_is_closed() {
    for route in ROUTES {
        let schema = inlined(route.input);
        assert_eq!(schema["type"], "object", "{}", route.operation);
        assert_eq!(schema["additionalProperties"], false, "{}", route.operation);
    }
}

/// M-01: a description is what an agent reads, so every field has one.
#[test]
fn m_01_every_input_field_says_what_to_pass() {
    for route in ROUTES {
        let schema = inlined(route.input);
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let described = field.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            assert!(described, "{}: {name}", route.operation);
        }
    }
}

#[test]
fn only_reads_are_gets_and_nothing_is_written_without_the_right() {
    for route in ROUTES {
        assert_eq!(route.mutating, route.method != Method::Get, "{}", route.operation);
        // The recovery key's signature is the right to it.
        let may_write = route.right >= Right::Writer || route.operation == "fleet.recover";
        assert!(!route.mutating || may_write, "{}", route.operation);
        assert!(route.right > Right::None || route.operation == "health", "{}", route.operation);
        assert!(route.form == Form::Json || !route.mutating, "{}", route.operation);
    }
}

#[test]
fn a_path_parameter_is_not_asked_for_twice() {
    for route in ROUTES {
        let fields = inlined(route.input);
        for name in parameters(route) {
            assert!(fields.pointer(&format!("/properties/{name}")).is_none(), "{}: {name}", route.operation);
        }
    }
}

#[test]
fn every_tool_over_routes_is_one_of_the_twelve() {
    let tools: BTreeSet<&str> = ROUTES.iter().filter_map(|route| route.tool).collect();
    let expected = [
        "claim",
        "context",
        "doc",
        "handoff",
        "note",
        "notes",
        "plan",
        "preflight",
        "search",
        "sod",
        "update",
        "ventures",
    ];
    assert_eq!(tools.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_operations_are_these() {
    let line = |route: &Route| {
        format!("{:<20} {:<6} {:<38} {}", route.operation, route.method.name(), route.path, route.right.name())
    };
    let lines: Vec<String> = ROUTES.iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Patch::is_keep")]
    issue: Patch<i64>,
}

proptest! {
    #[test]
    fn absent_null_and_value_survive_the_wire(value: Option<Option<i64>>) {
        let (issue, wire) = match value {
            None => (Patch::Keep, json!({})),
            Some(None) => (Patch::Clear, json!({"issue": null})),
            Some(Some(number)) => (Patch::Set(number), json!({"issue": number})),
        };
        let fields = Fields { issue };
        prop_assert_eq!(serde_json::to_value(&fields).unwrap(), wire.clone());
        prop_assert_eq!(serde_json::from_value::<Fields>(wire).unwrap(), fields);
    }
}
