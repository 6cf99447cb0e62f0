//! What was written apart, and what happened to a record: texts that no table holds.

use serde_json::Value;

use super::super::screen::{body, line};
use super::cell;

/// The longest value in a line.
const VALUE: usize = 60;

/// Says which fields of an answer are in conflict, with every value and who wrote it, one line each.
pub(in crate::cli) fn conflicts(value: &Value) -> Vec<String> {
    let id = value["id"].as_str().or(value["code"].as_str()).unwrap_or_default();
    let command = if id.starts_with("note_") { "note resolve" } else { "resolve" };
    let found = value["conflicts"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A claim that clashes with another is no field.
    let found = found.iter().filter(|conflict| conflict["values"].is_array());
    let mut lines = Vec::new();
    for conflict in found {
        let field = conflict["field"].as_str().unwrap_or_default();
        lines.push(format!("conflict: {field} was written on several machines while they were apart"));
        for value in conflict["values"].as_array().into_iter().flatten() {
            let mark = if value["shown"] == Value::Bool(true) { " (shown)" } else { "" };
            lines.push(format!("  {}. {}, {}{mark}", value["pick"], short(&value["value"]), by(value)));
        }
        lines.push(format!("  end it: ctxnode {command} {id} --field {field} --pick N"));
    }
    lines
}

fn by(value: &Value) -> String {
    let machine = value["machine"].as_str().unwrap_or_default();
    let agent = value["agent"].as_str().map_or_else(String::new, |agent| format!("{agent} "));
    line(&format!("{agent}on {machine}, {}", value["age"].as_str().unwrap_or_default()))
}

/// Writes a page of a record's past, a block for each step.
pub(super) fn history(value: &Value) -> String {
    let items = value["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(step).collect::<Vec<_>>().join("\n\n")
}

fn step(item: &Value) -> String {
    let happened = match item["happened"].as_str() {
        Some("changed") | None => String::new(),
        Some(other) => format!("  {other}"),
    };
    let at = item["at"].as_str().unwrap_or_default();
    let mut lines = vec![format!("{at}  {}{happened}", by(item))];
    if let Some(rev) = item["rev"].as_str().filter(|rev| !rev.is_empty()) {
        lines.push(format!("  rev {}", line(rev)));
    }
    for change in item["changed"].as_array().into_iter().flatten() {
        let field = line(change["field"].as_str().unwrap_or_default());
        let (before, after) = (&change["before"], &change["after"]);
        lines.push(match before {
            Value::Null => format!("  {field}: {}", short(after)),
            _ => format!("  {field}: {} -> {}", short(before), short(after)),
        });
    }
    for text in item["diff"].as_str().unwrap_or_default().lines() {
        lines.push(format!("  {}", body(text)));
    }
    lines.join("\n")
}

fn short(value: &Value) -> String {
    let text = if value.is_null() { "nothing".to_owned() } else { cell(value) };
    if text.chars().count() <= VALUE {
        return text;
    }
    text.chars().take(VALUE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conflict_is_shown_with_every_value_and_how_to_end_it() {
        let value = |pick: u8, text: &str, machine: &str| json!({ "pick": pick, "shown": pick == 1, "value": text, "machine": machine, "agent": "claude-1", "age": "2 h" });
        let note = json!({ "id": "note_1", "conflicts": [
            { "field": "title", "values": [value(1, "b", "mac"), value(2, "a", "laptop")] },
        ] });
        assert_eq!(
            conflicts(&note).join("\n"),
            "conflict: title was written on several machines while they were apart\n  \
             1. b, claude-1 on mac, 2 h (shown)\n  2. a, claude-1 on laptop, 2 h\n  \
             end it: ctxnode note resolve note_1 --field title --pick N"
        );
        assert!(conflicts(&json!({ "conflicts": [{ "key": "42", "agent": "x" }] })).is_empty());
    }

    #[test]
    fn a_past_tells_who_changed_what() {
        let item = json!({
            "at": "2026-11-26T12:00:00Z", "machine": "mac", "agent": "claude-1", "age": "2 h", "rev": "ab",
            "happened": "changed", "diff": "@@ -1 +1 @@\n-a\n+b\u{1b}\n",
            "changed": [{ "field": "title", "before": "x", "after": "y" }, { "field": "tags", "before": null, "after": ["t"] }],
        });
        let deleted = json!({ "at": "t", "machine": "mac", "agent": null, "age": "now", "rev": "", "happened": "deleted",
            "changed": [], "diff": null });
        assert_eq!(
            history(&json!({ "items": [item, deleted] })),
            "2026-11-26T12:00:00Z  claude-1 on mac, 2 h\n  rev ab\n  title: x -> y\n  tags: t\n  @@ -1 +1 @@\n  -a\n  \
             +b\\u{1b}\n\nt  on mac, now  deleted"
        );
    }
}
