//! Values in a JSON file that belongs to somebody else: text in, text out, and every byte that is not ours stays.
//!
//! Which values go where is the adapters' business.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstObject, CstObjectProp, CstRootNode};
use serde_json::{Map, Value};

use super::{Broken, status_line};

/// What a file may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Plain JSON: a comment in it already breaks the CLI that reads it.
    Strict,
    /// With comments and trailing commas.
    Comments,
}

/// One thing that should be in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The names that lead to it.
    pub path: Vec<&'static str>,
    /// How it is kept.
    pub kept: Kept,
}

impl Entry {
    /// Returns its name in a ledger.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join(".")
    }

    /// Whether it is set only when there is no value.
    #[must_use]
    pub fn is_default(&self) -> bool {
        matches!(self.kept, Kept::Default(_))
    }
}

/// How an entry is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// An object of ours: these fields have these values, and fields that somebody added to it stay.
    Fields(Map<String, Value>),
    /// An element of a list. Ours are those that call `ctxnode hook`.
    Element(Value),
    /// A value that is set when there is none. What somebody chose stays.
    Default(Value),
    /// The status line, of which there is one: ours when there is none; with `wrap`, ours after somebody's own.
    StatusLine {
        /// Ours.
        line: Value,
        /// Whether ours is added to one that is there.
        wrap: bool,
    },
}

/// Returns the text with every entry in it. Text that is as it should be comes back as it is.
///
/// # Errors
/// When the text is no such JSON, or something else stands where an object or a list is needed.
pub fn put(text: &str, dialect: Dialect, entries: &[Entry]) -> Result<String, Broken> {
    if text.trim().is_empty() {
        return Ok(fresh(entries));
    }
    let root = parse(text, dialect)?;
    let top = root.object_value().ok_or_else(|| Broken::shape("the file"))?;
    let mut changed = false;
    for entry in entries {
        changed |= put_one(&top, entry)?;
    }
    Ok(if changed { root.to_string() } else { text.to_owned() })
}

/// Returns the text without our entries, and without objects and lists that are empty then.
///
/// # Errors
/// When the text is no such JSON.
pub fn take(text: &str, dialect: Dialect, entries: &[Entry]) -> Result<String, Broken> {
    if text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    let root = parse(text, dialect)?;
    let top = root.object_value().ok_or_else(|| Broken::shape("the file"))?;
    let mut changed = false;
    for entry in entries {
        changed |= take_one(&top, entry);
    }
    Ok(if changed { root.to_string() } else { text.to_owned() })
}

/// Returns what stands at a path.
#[must_use]
pub fn look(text: &str, path: &[&str]) -> Option<Value> {
    let root = CstRootNode::parse(text, &ParseOptions::default()).ok()?;
    let value = root.to_serde_value()?;
    path.iter().try_fold(&value, |at, name| at.get(name)).cloned()
}

/// Whether nothing is left in the file.
#[must_use]
pub fn is_empty(text: &str) -> bool {
    text.trim().is_empty() || text.split_whitespace().collect::<String>() == "{}"
}

fn parse(text: &str, dialect: Dialect) -> Result<CstRootNode, Broken> {
    let lenient = dialect == Dialect::Comments;
    // The tree below keeps comments whatever it is told.
    if !lenient && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default().to_owned();
        return Err(Broken::Syntax { line: error.line(), what });
    }
    let options = ParseOptions {
        allow_comments: lenient,
        allow_trailing_commas: lenient,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    CstRootNode::parse(text, &options)
        .map_err(|error| Broken::Syntax { line: error.line_display(), what: error.kind().to_string() })
}

fn put_one(top: &CstObject, entry: &Entry) -> Result<bool, Broken> {
    let Some((last, parents)) = entry.path.split_last() else { return Ok(false) };
    let mut at = top.clone();
    // A default does not even make the objects around it when the value is there in another form.
    for name in parents {
        at = at.object_value_or_create(name).ok_or_else(|| Broken::shape(name))?;
    }
    match &entry.kept {
        Kept::Fields(fields) => {
            let made = at.get(last).is_none();
            let object = at.object_value_or_create(last).ok_or_else(|| Broken::shape(last))?;
            let mut changed = made;
            for (name, wanted) in fields {
                match object.get(name) {
                    Some(found) if found.value().and_then(|value| value.to_serde_value()).as_ref() == Some(wanted) => {}
                    Some(found) => {
                        found.set_value(input(wanted));
                        changed = true;
                    }
                    None => {
                        object.append(name, input(wanted));
                        changed = true;
                    }
                }
            }
            Ok(changed)
        }
        Kept::Default(wanted) => match at.get(last) {
            Some(_) => Ok(false),
            None => {
                at.append(last, input(wanted));
                Ok(true)
            }
        },
        Kept::StatusLine { line, wrap } => {
            let Some(found) = at.get(last) else {
                at.append(last, input(line));
                return Ok(true);
            };
            let own = found.object_value().and_then(|object| object.get("command"));
            let command = own.as_ref().and_then(text_of);
            let wrapped = command.filter(|_| *wrap).and_then(|command| status_line::wrapped(&command));
            match (own, wrapped) {
                (Some(own), Some(wrapped)) => {
                    own.set_value(CstInputValue::String(wrapped));
                    Ok(true)
                }
                _ => Ok(false),
            }
        }
        Kept::Element(wanted) => {
            let list = at.array_value_or_create(last).ok_or_else(|| Broken::shape(last))?;
            Ok(put_element(&list, wanted))
        }
    }
}

/// One element of ours stays, as it should be; further ones go.
fn put_element(list: &CstArray, wanted: &Value) -> bool {
    let mut ours = list.elements().into_iter().filter(|element| element.to_serde_value().is_some_and(|v| is_ours(&v)));
    let Some(first) = ours.next() else {
        list.append(input(wanted));
        return true;
    };
    let rest: Vec<_> = ours.collect();
    let mut changed = !rest.is_empty();
    rest.into_iter().for_each(|element| element.remove());
    if first.to_serde_value().as_ref() != Some(wanted) {
        match first.as_object() {
            Some(object) => drop(object.replace_with(input(wanted))),
            None => drop(list.append(input(wanted))),
        }
        changed = true;
    }
    changed
}

fn take_one(top: &CstObject, entry: &Entry) -> bool {
    let Some((last, parents)) = entry.path.split_last() else { return false };
    let mut chain = vec![top.clone()];
    for name in parents {
        match chain.last().and_then(|at| at.object_value(name)) {
            Some(next) => chain.push(next),
            None => return false,
        }
    }
    let Some(found) = chain.last().and_then(|at| at.get(last)) else { return false };
    match &entry.kept {
        Kept::Fields(_) => found.remove(),
        Kept::Default(value) => {
            if found.value().and_then(|found| found.to_serde_value()).as_ref() != Some(value) {
                return false;
            }
            found.remove();
        }
        Kept::StatusLine { line, .. } => {
            let own = found.object_value().and_then(|object| object.get("command"));
            let theirs = own.as_ref().and_then(text_of).and_then(|command| status_line::unwrapped(&command));
            match (own, theirs) {
                (Some(own), Some(theirs)) => {
                    own.set_value(CstInputValue::String(theirs));
                    return true;
                }
                _ if found.value().and_then(|found| found.to_serde_value()).as_ref() == Some(line) => found.remove(),
                _ => return false,
            }
        }
        Kept::Element(_) => {
            let Some(list) = found.array_value() else { return false };
            let ours: Vec<_> =
                list.elements().into_iter().filter(|e| e.to_serde_value().is_some_and(|v| is_ours(&v))).collect();
            if ours.is_empty() {
                return false;
            }
            ours.into_iter().for_each(|element| element.remove());
            if list.elements().is_empty() {
                found.remove();
            }
        }
    }
    // What is empty now was made for us, or says nothing.
    for (name, holder) in parents.iter().zip(&chain).rev() {
        match holder.get(name) {
            Some(prop) if prop.object_value().is_some_and(|object| object.properties().is_empty()) => prop.remove(),
            _ => break,
        }
    }
    true
}

/// The text that a property holds.
fn text_of(property: &CstObjectProp) -> Option<String> {
    property.value()?.to_serde_value()?.as_str().map(str::to_owned)
}

/// Whether an element of a list of hooks calls us, whichever version wrote it.
#[must_use]
pub fn is_ours(element: &Value) -> bool {
    let is_program = |text: &str| text == "ctxnode" || text.ends_with("/ctxnode");
    let handler = |handler: &Value| {
        let command = handler.get("command").and_then(Value::as_str).unwrap_or_default();
        let first = handler.pointer("/args/0").and_then(Value::as_str);
        let words: Vec<&str> = command.split_whitespace().take(2).collect();
        (is_program(command) && first == Some("hook"))
            || matches!(words.as_slice(), [program, "hook"] if is_program(program))
    };
    let inner = element.get("hooks").and_then(Value::as_array);
    handler(element) || inner.is_some_and(|inner| !inner.is_empty() && inner.iter().all(handler))
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(flag) => CstInputValue::Bool(*flag),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => {
            CstInputValue::Object(fields.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}

/// A file that holds nothing else.
fn fresh(entries: &[Entry]) -> String {
    let mut top = Value::Object(Map::new());
    for entry in entries {
        let Some((last, parents)) = entry.path.split_last() else { continue };
        let at = parents.iter().fold(&mut top, |at, name| &mut at[*name]);
        match &entry.kept {
            Kept::Fields(fields) => at[*last] = Value::Object(fields.clone()),
            Kept::Default(value) | Kept::StatusLine { line: value, .. } => at[*last] = value.clone(),
            Kept::Element(value) => match at[*last].as_array_mut() {
                Some(list) => list.push(value.clone()),
                None => at[*last] = Value::Array(vec![value.clone()]),
            },
        }
    }
    format!("{top:#}\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn entries() -> Vec<Entry> {
        let Value::Object(fields) = json!({ "command": "ctxnode", "args": ["mcp"] }) else { unreachable!() };
        let hook = json!({ "hooks": [{ "type": "command", "command": "ctxnode hook codex stop", "timeout": 5 }] });
        vec![
            Entry { path: vec!["mcpServers", "ctxnode"], kept: Kept::Fields(fields) },
            Entry { path: vec!["hooks", "Stop"], kept: Kept::Element(hook) },
            Entry { path: vec!["ui", "flag"], kept: Kept::Default(json!(false)) },
        ]
    }

    fn put_it(text: &str) -> String {
        put(text, Dialect::Comments, &entries()).unwrap()
    }

    #[test]
    fn c_02_an_empty_file_gets_the_entries_and_gives_them_back() {
        let text = put_it("");
        assert!(text.starts_with("{\n  \"mcpServers\": {\n    \"ctxnode\": {\n"), "{text}");
        assert_eq!(put_it(&text), text);
        assert!(is_empty(&take(&text, Dialect::Comments, &entries()).unwrap()));
    }

    #[test]
    fn c_02_foreign_entries_comments_and_format_stay() {
        let before = "{\n\t// mine\n\t\"model\":  \"x\",\n\t\"mcpServers\": {\n\t\t\"other\": {\"command\":\"o\"}\n\t},\n\t\"hooks\": {\n\t\t\"Stop\": [\n\t\t\t{ \"hooks\": [ { \"type\": \"command\", \"command\": \"mine\" } ] }\n\t\t]\n\t},\n\t\"ui\": {\"flag\": true, \"theme\": \"dark\"}\n}\n";
        let after = put_it(before);
        assert!(after.contains("\t// mine\n\t\"model\":  \"x\","), "{after}");
        assert!(after.contains("\"other\": {\"command\":\"o\"}"), "{after}");
        assert!(after.contains("{\"flag\": true, \"theme\": \"dark\"}"), "what somebody chose stays: {after}");
        assert_eq!(put_it(&after), after);
        assert_eq!(take(&after, Dialect::Comments, &entries()).unwrap(), before);
    }

    #[test]
    fn c_02_a_stale_entry_is_repaired_and_what_was_added_to_it_stays() {
        let stale = json!({
            "mcpServers": { "ctxnode": { "command": "/old/ctxnode", "args": ["mcp"], "timeout": 9 } },
            "hooks": { "Stop": [
                { "hooks": [{ "type": "command", "command": "/old/ctxnode hook codex stop" }] },
                { "hooks": [{ "type": "command", "command": "ctxnode hook codex stop" }] },
                { "hooks": [{ "type": "command", "command": "ctxnode-like hook" }] },
            ] },
        });
        let text = put_it(&format!("{stale:#}"));
        let now: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(now["mcpServers"]["ctxnode"], json!({ "command": "ctxnode", "args": ["mcp"], "timeout": 9 }));
        assert_eq!(now["hooks"]["Stop"].as_array().unwrap().len(), 2, "{text}");
        assert_eq!(put_it(&text), text);
    }

    #[test]
    fn c_03_what_does_not_parse_is_refused_with_its_line() {
        let refused = put("{\n  \"a\": 1,\n  \"b\" 2\n}", Dialect::Comments, &entries()).unwrap_err();
        assert!(matches!(refused, Broken::Syntax { line: 3, .. }), "{refused}");
        let comment = put("{\n  // no\n}", Dialect::Strict, &entries()).unwrap_err();
        assert!(matches!(comment, Broken::Syntax { line: 2, .. }), "{comment}");
        let shape = put("{ \"mcpServers\": [] }", Dialect::Strict, &entries()).unwrap_err();
        assert!(matches!(shape, Broken::Shape { .. }), "{shape}");
        assert!(put("[]", Dialect::Strict, &entries()).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-z \"\\\\é]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// C-02: whatever else a file holds, putting twice is putting once, and all that was there is there still.
        #[test]
        fn c_02_putting_twice_changes_nothing(
            fields in proptest::collection::btree_map("[a-z]{1,5}", any_json(), 0..5),
            pretty: bool,
        ) {
            let value = Value::Object(fields.into_iter().filter(|(name, _)| !["hooks", "ui"].contains(&name.as_str())).collect());
            let text = if pretty { format!("{value:#}\n") } else { value.to_string() };
            let once = put_it(&text);
            prop_assert_eq!(&put_it(&once), &once);
            let back = take(&once, Dialect::Comments, &entries()).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), value);
        }
    }
}
