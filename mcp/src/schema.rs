//! Compact JSON schemas of the tools' inputs and outputs.
//!
//! Every session of every agent pays for the tool list, so what an agent does not need is taken out: titles, formats,
//! defaults, and `null` where it means the same as leaving the field out. Input schemas come from the types that the
//! gate decodes; nothing here decides what is accepted.

use ctxnode_api::routes::SchemaOf;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Keywords that say nothing to an agent that chooses arguments.
const DROPPED: [&str; 6] = ["$schema", "$defs", "title", "format", "default", "minimum"];

/// Returns the schema of an input as a plain object. `nullable` names the fields where null is a value of its own.
pub(crate) fn input(schema: SchemaOf, nullable: &[&str]) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut generator = SchemaGenerator::new(settings);
    let mut root = schema(&mut generator).to_value();
    slim(&mut root);
    let properties = root.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in properties.into_iter().flatten() {
        if !nullable.contains(&name.as_str()) {
            without_null(field);
        }
    }
    let mut object = root.as_object().cloned().unwrap_or_default();
    // The tool's description says it better.
    object.remove("description");
    object.insert("type".to_owned(), "object".into());
    object.insert("additionalProperties".to_owned(), false.into());
    object
}

/// Returns the schema of an output: the fields that are always there, with their types.
pub(crate) fn output(fields: &[(&str, &str)]) -> Map<String, Value> {
    let properties = fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind })));
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("properties".to_owned(), Value::Object(properties.collect()));
    object
}

fn slim(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(slim),
        Value::Object(object) => {
            // Inside `properties` the keys are names of fields and not keywords.
            for (_, field) in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
                slim(field);
            }
            DROPPED.iter().for_each(|keyword| drop(object.remove(*keyword)));
            for (keyword, inner) in object.iter_mut().filter(|(keyword, _)| *keyword != "properties") {
                if keyword != "enum" && keyword != "required" {
                    slim(inner);
                }
            }
            words(object);
        }
        _ => {}
    }
}

/// Turns the words of an enum, which schemars describes one by one, into one list.
fn words(object: &mut Map<String, Value>) {
    let Some(options) = object.get("oneOf").and_then(Value::as_array) else { return };
    let words: Option<Vec<Value>> = options.iter().map(|option| option.get("const").cloned()).collect();
    if let Some(words) = words {
        object.remove("oneOf");
        object.insert("type".to_owned(), "string".into());
        object.insert("enum".to_owned(), Value::Array(words));
    }
}

/// Takes null out of a field, whether it is one of several types or one of several schemas.
fn without_null(field: &mut Value) {
    let Some(object) = field.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(options)) = object.get("anyOf") else { return };
    let others: Vec<&Value> = options.iter().filter(|option| option["type"] != "null").collect();
    if let [Value::Object(only)] = others.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        // The field's own description is about this use of the type.
        for (keyword, value) in only {
            object.entry(keyword).or_insert(value);
        }
    }
}
