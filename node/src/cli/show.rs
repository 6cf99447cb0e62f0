//! From the answer of an operation to text for people. Pure.
//!
//! An answer with `items` becomes a table of the columns in [`columns`]; every other one is written as facts, lists and
//! tables in the order of its fields. A few have a form of their own.

mod columns;
mod past;

use ctxnode_api::sessions::SodReply;
use serde_json::{Map, Value};

pub(super) use past::conflicts;

use super::screen::{Footer, Screen, body, facts, line};

/// Fields that people do not read: who and which call made a record is shown by `--json`.
const HIDDEN: &[&str] = &["actor_key_id", "creation_correlation_id", "correlation_id", "payload_hash", "content_hash"];

/// Returns the text for an answer.
pub(super) fn answer(screen: &Screen, operation: &str, value: &Value) -> String {
    match operation {
        "sod" => match serde_json::from_value::<SodReply>(value.clone()) {
            Ok(reply) => body(&ctxnode_mcp::render::tool(&reply)),
            Err(_) => object(screen, value),
        },
        "note.get" | "doc.get" => body(value["content"].as_str().unwrap_or_default()),
        "search" => hits(value),
        "note.history" | "record.history" => join([past::history(value), footer(value), String::new()]),
        "openapi" => serde_json::to_string_pretty(value).unwrap_or_default(),
        _ if value.get("items").is_some_and(Value::is_array) => list(screen, operation, value),
        _ => object(screen, value),
    }
}

fn list(screen: &Screen, operation: &str, value: &Value) -> String {
    let items = value["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let columns = columns::of(operation);
    let table = match columns.is_empty() {
        true => any_table(screen, items),
        false => {
            let rows = items.iter().map(|item| columns.iter().map(|(_, path)| cell(at(item, path))));
            screen.table(&columns.iter().map(|(heading, _)| *heading).collect::<Vec<_>>(), rows)
        }
    };
    let rest: Map<String, Value> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !["items", "shown", "total", "has_more", "next_cursor"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let rest = if rest.is_empty() { String::new() } else { object(screen, &Value::Object(rest)) };
    join([table, footer(value), rest])
}

fn footer(value: &Value) -> String {
    let footer = Footer {
        shown: value["shown"].as_u64().and_then(|shown| usize::try_from(shown).ok()).unwrap_or(0),
        total: value["total"].as_u64().unwrap_or(0),
        has_more: value["has_more"] == Value::Bool(true),
        next: value["next_cursor"].as_str(),
    };
    footer.to_string()
}

/// Search results are read and not compared: a block each.
fn hits(value: &Value) -> String {
    let items = value["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let block = |hit: &Value| {
        let text = |name: &str| line(hit[name].as_str().unwrap_or_default());
        let venture = hit["venture"].as_str().map_or_else(|| "global".to_owned(), line);
        let old = if hit["superseded"] == Value::Bool(true) { ", superseded" } else { "" };
        let title = format!("{} {}  {}", text("kind"), text("id"), text("title"));
        let snippet = text("snippet");
        let snippet = snippet.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}\n    {snippet}\n    {venture}, {}{old}", title.trim_end(), text("age"))
    };
    let blocks: Vec<String> = items.iter().map(block).collect();
    let incomplete = value["incomplete"].as_str().map(line).unwrap_or_default();
    join([blocks.join("\n"), footer(value), incomplete])
}

/// Writes an object: its simple fields first, then what needs lines of its own.
fn object(screen: &Screen, value: &Value) -> String {
    let Some(fields) = value.as_object() else { return cell(value) };
    let shown = || fields.iter().filter(|(name, value)| !HIDDEN.contains(&name.as_str()) && !is_empty(value));
    let simple: Vec<(String, String)> = shown()
        .filter(|(_, value)| is_simple(value))
        .map(|(name, value)| (name.replace('_', " "), cell(value)))
        .collect();
    let simple: Vec<(&str, Option<String>)> =
        simple.iter().map(|(name, value)| (name.as_str(), Some(value.clone()))).collect();
    let mut parts = vec![facts(&simple)];
    for (name, value) in shown().filter(|(_, value)| !is_simple(value)) {
        let text = match value {
            Value::Array(items) if items.iter().all(is_simple) => {
                let lines = items.iter().map(|item| format!("  - {}", cell(item)));
                lines.collect::<Vec<_>>().join("\n")
            }
            Value::Array(items) => any_table(screen, items),
            Value::Object(inner) if inner.contains_key("items") => list(screen, "", value),
            _ => indented(&object(screen, value)),
        };
        parts.push(format!("{}:\n{text}", name.replace('_', " ")));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Lays out rows whose columns nobody chose: all simple fields of the first row.
fn any_table(screen: &Screen, items: &[Value]) -> String {
    let Some(first) = items.first().and_then(Value::as_object) else {
        return items.iter().map(cell).collect::<Vec<_>>().join("\n");
    };
    let names: Vec<&str> = first
        .iter()
        .filter(|(name, value)| is_simple(value) && !HIDDEN.contains(&name.as_str()))
        .map(|(name, _)| name.as_str())
        .collect();
    let headings: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    screen.table(&headings, items.iter().map(|item| names.iter().map(|name| cell(&item[*name]))))
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

fn is_simple(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() || fields.get("items").is_some_and(is_empty),
        _ => false,
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => line(text),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(_) => line(&value.to_string()),
        Value::Number(number) => number.to_string(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn join<const N: usize>(parts: [String; N]) -> String {
    super::screen::parts(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_shows_its_columns_and_how_much_there_is() {
        let note = json!({ "id": "note_1", "title": "A\u{1b}[31m", "tags": ["x", "y"], "age": "2 h", "size": 5 });
        let list = json!({ "items": [note], "shown": 1, "total": 9, "has_more": true, "next_cursor": "c" });
        let text = answer(&Screen::plain(), "note.list", &list);
        assert!(text.starts_with("ID") && text.contains("note_1") && text.contains("x, y"), "{text}");
        assert!(text.ends_with("1 of 9 shown; more with --cursor c") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn an_object_becomes_facts_lists_and_tables() {
        let value = json!({
            "handoff_id": "ho_1", "no_op": false, "warnings": ["a", "b"], "issue": null, "actor_key_id": "k",
            "conflicts": [{ "key": "42", "agent": "x" }], "observed": { "dirty_files": 2 },
        });
        let text = answer(&Screen::plain(), "eod", &value);
        assert_eq!(
            text,
            "handoff id:  ho_1\nno op:       no\nwarnings:\n  - a\n  - b\nconflicts:\nKEY  AGENT\n42   x\n\
             observed:\n  dirty files:  2"
        );
    }

    #[test]
    fn every_column_belongs_to_an_operation_that_lists() {
        for operation in columns::operations() {
            assert!(ctxnode_api::route(operation).is_some(), "{operation}");
        }
    }
}
