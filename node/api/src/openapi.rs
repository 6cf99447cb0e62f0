//! The OpenAPI 3.1 document, made from the route table. Its schemas are JSON Schema 2020-12, as OpenAPI 3.1 uses it.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{ErrorBody, Form, Method, ROUTES, Right, Route, version};

/// Returns the document.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        "/components/schemas".clone_into(settings.definitions_path.to_mut());
    });
    let mut generator = SchemaGenerator::new(settings);
    let error = generator.subschema_for::<ErrorBody>();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let operation = describe(route, &mut generator, error.as_value());
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.name().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "ctxnode", "version": version::VERSION, "license": { "name": "Apache-2.0" } },
        "servers": [{ "url": "http://127.0.0.1:4747" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn describe(route: &Route, generator: &mut SchemaGenerator, error: &Value) -> Value {
    let input = (route.input)(generator);
    let output = (route.output)(generator);
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let media = match route.form {
        Form::Json => "application/json",
        Form::EventStream => "text/event-stream",
    };
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "x-right": route.right.name(),
        "x-command": format!("ctxnode {}", route.cli),
        "x-tool": route.tool,
        "responses": {
            "200": { "description": "Done.", "content": { media: { "schema": output } } },
            "default": { "description": "Refused or failed.", "content": { "application/json": { "schema": error } } },
        },
    });
    if route.method == Method::Get {
        let fields = properties(generator, input.as_value());
        parameters.extend(
            fields
                .into_iter()
                .map(|(name, schema)| json!({ "name": name, "in": "query", "required": false, "schema": schema })),
        );
    } else {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": input } } });
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if route.right != Right::None {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

/// Returns the fields of an input that the generator holds as a component.
fn properties(generator: &SchemaGenerator, input: &Value) -> Map<String, Value> {
    let name = input.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let component = name.and_then(|name| generator.definitions().get(name)).unwrap_or(input);
    component.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                out.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, out));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, out)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_resolves() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn a_query_parameter_keeps_its_type() {
        let document = document();
        let parameters = document["paths"]["/v1/notes"]["get"]["parameters"].as_array().unwrap();
        let schema = |name: &str| &parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"];
        assert_eq!(schema("tags")["items"]["type"], "string");
        assert_eq!(schema("include_archived")["type"], json!(["boolean", "null"]));
    }

    #[test]
    fn every_route_is_described() {
        let document = document();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
            assert_eq!(operation["operationId"], route.operation);
        }
    }
}
