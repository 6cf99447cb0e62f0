//! The text twin of an answer: lines for a reader without structured content, short, with every id that a following call
//! needs.

use ctxnode_model::rules::text::{chars, cut, ellipsis};
use serde_json::{Map, Value};

/// The most characters of a twin; body reads and the start text have their own limit.
pub(crate) const TWIN_CHARS: usize = 2_000;
/// How many conflicts, and how many values of one, a body names.
const CONFLICTS: usize = 3;
/// One value inside a line.
const VALUE: usize = 160;
/// Fields that a following call needs: they come first in a line and are never cut.
const KEYS: [&str; 10] =
    ["id", "handoff_id", "session_id", "escalation_id", "rev", "next_cursor", "next_offset", "scope", "name", "code"];

/// Returns the twin of an answer in at most `max` characters.
pub(crate) fn twin(value: &Value, max: usize) -> String {
    let Some(object) = value.as_object() else { return ellipsis(&value.to_string(), max) };
    let mut lines = Vec::new();
    facts(object, "", &mut lines);
    // What follow-up calls need survives the cut.
    lines.sort_by_key(|(is_key, _)| !is_key);
    let mut text = String::new();
    for (_, line) in &lines {
        push(&mut text, line, max);
    }
    let lists = object.iter().filter_map(|(name, list)| Some((name, rows_of(list)?)));
    for (name, rows) in lists {
        let total = object.get("total").and_then(Value::as_u64).filter(|_| name == "items");
        list(&mut text, name, rows, total.unwrap_or(rows.len() as u64), max);
    }
    text
}

/// Returns the twin of a body: the body, then what is needed to read on.
pub(crate) fn body(object: &Map<String, Value>, content: &str) -> String {
    let field = |name: &str| object.get(name).map(|value| format!("{name} {}", plain(value)));
    let names = ["id", "scope", "name", "rev", "read_version", "age", "offset", "total_chars", "next_offset"];
    let facts: Vec<String> = names.iter().filter_map(|name| field(name)).collect();
    format!("{content}\n[{}]{}", facts.join(", "), conflicts(object))
}

/// Says which fields were written on several machines while they were apart, one line each, within a few lines.
fn conflicts(object: &Map<String, Value>) -> String {
    let found = object.get("conflicts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let line = |conflict: &Value| {
        let values = conflict["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        let value = |value: &Value| {
            let by = value["agent"].as_str().unwrap_or("ctxnode");
            let (text, machine) = (ellipsis(&plain(&value["value"]), 60), plain(&value["machine"]));
            format!("{}: {text} ({by} on {machine}, {})", value["pick"], plain(&value["age"]))
        };
        let values: Vec<String> = values.iter().take(CONFLICTS).map(value).collect();
        format!("\n[conflict in {}: {}]", plain(&conflict["field"]), ellipsis(&values.join("; "), 400))
    };
    found.iter().take(CONFLICTS).map(line).collect()
}

fn push(text: &mut String, line: &str, max: usize) {
    let room = max.saturating_sub(chars(text) + 1);
    if room > 0 && chars(line) <= room {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
}

fn facts(object: &Map<String, Value>, path: &str, lines: &mut Vec<(bool, String)>) {
    for (name, value) in object {
        let label = format!("{path}{name}");
        match value {
            Value::Null => {}
            Value::Object(inner) => facts(inner, &format!("{label}."), lines),
            Value::Array(items) if rows_of(value).is_some() || items.is_empty() => {}
            Value::Array(items) => {
                let words: Vec<String> = items.iter().map(plain).collect();
                lines.push((false, format!("{label}: {}", ellipsis(&words.join(", "), VALUE))));
            }
            _ if KEYS.contains(&name.as_str()) => lines.push((true, format!("{label}: {}", plain(value)))),
            _ => lines.push((false, format!("{label}: {}", ellipsis(&plain(value), VALUE)))),
        }
    }
}

/// Returns the rows of a list of objects.
fn rows_of(value: &Value) -> Option<&[Value]> {
    let rows = value.as_array()?;
    rows.first().filter(|row| row.is_object()).map(|_| rows.as_slice())
}

fn list(text: &mut String, name: &str, rows: &[Value], total: u64, max: usize) {
    let heading = format!("{name} ({} of {total}):", rows.len());
    let reserve = chars(&heading) + 80;
    let room = max.saturating_sub(chars(text) + reserve);
    // All rows get the same room, so that the last one has its id too; below the length of its keys rows are counted.
    let width = (room / rows.len().max(1)).saturating_sub(1).min(VALUE);
    push(text, &heading, max);
    let mut shown = 0;
    for row in rows {
        let line = row_line(row, width);
        if chars(text) + 1 + chars(&line) > max.saturating_sub(60) {
            break;
        }
        push(text, &line, max);
        shown += 1;
    }
    if shown < rows.len() {
        push(text, &format!("{} more rows: call again with a smaller limit", rows.len() - shown), max);
    }
}

/// One row: what follow-up calls need in full, then the other values as far as they fit.
fn row_line(row: &Value, width: usize) -> String {
    let Some(object) = row.as_object() else { return format!("- {}", ellipsis(&plain(row), width)) };
    let keys = KEYS.iter().filter_map(|key| object.get(*key)).map(plain);
    let head = format!("- {}", keys.collect::<Vec<_>>().join(" "));
    let others = object.iter().filter(|(name, value)| !KEYS.contains(&name.as_str()) && !value.is_null());
    let others = others.filter(|(_, value)| !value.is_object() && value.as_array().is_none_or(|list| !list.is_empty()));
    let others: Vec<String> = others.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    let left = width.saturating_sub(chars(&head) + 2);
    if left < 4 || others.is_empty() {
        return head;
    }
    format!("{head}: {}", ellipsis(&others.join("; "), left))
}

/// A value on one line.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => cut(text, 4_000).to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    if text.contains(|c: char| c.is_control()) {
        return text.split(|c: char| c.is_whitespace() || c.is_control()).collect::<Vec<_>>().join(" ");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// M-11: the text alone has every id and cursor of a default page.
    #[test]
    fn m_11_a_page_of_twenty_rows_keeps_every_id_in_two_thousand_characters() {
        let id = |n: usize| format!("note_{n:026}");
        let rows: Vec<Value> = (0..20)
            .map(|n| json!({ "id": id(n), "title": "題".repeat(200), "tags": ["a", "b"], "excerpt": "x".repeat(120) }))
            .collect();
        let text = twin(&json!({ "items": rows, "shown": 20, "total": 99, "next_cursor": "c".repeat(80) }), TWIN_CHARS);
        assert!(chars(&text) <= TWIN_CHARS, "{}", chars(&text));
        assert!((0..20).all(|n| text.contains(&id(n))) && text.contains(&"c".repeat(80)), "{text}");
        assert!(text.contains("items (20 of 99)"), "{text}");
    }

    #[test]
    fn m_08_a_hundred_rows_are_counted_where_they_do_not_fit() {
        let rows: Vec<Value> = (0..100).map(|n| json!({ "id": format!("note_{n:026}"), "title": "x" })).collect();
        let text = twin(&json!({ "items": rows, "total": 100 }), TWIN_CHARS);
        assert!(chars(&text) <= TWIN_CHARS);
        assert!(text.contains("more rows: call again with a smaller limit"), "{text}");
    }

    #[test]
    fn m_11_a_change_names_the_record_its_revision_and_its_session() {
        let value = json!({
            "session": { "id": "sess_1", "meta": { "k": "v".repeat(5_000) } },
            "title": "t".repeat(3_000), "id": "note_1", "rev": "r", "escalation_id": "esc_1",
        });
        let text = twin(&value, TWIN_CHARS);
        for part in ["session.id: sess_1", "id: note_1", "rev: r", "escalation_id: esc_1"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(chars(&text) <= TWIN_CHARS);
    }
}
