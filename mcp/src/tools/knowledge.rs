//! The tools for what is kept: notes, docs, search.

use ctxnode_api::notes::{SearchQuery, TagMode};
use ctxnode_api::{Call, ErrorBody, Iso};
use schemars::JsonSchema;
use serde_json::Value;

use super::{Arguments, Hints, Step, Tool, take_action, take_text};

const ACTIONS: &[&str] = &["create", "update", "archive", "restore"];

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
enum NoteAction {
    Create,
    Update,
    Archive,
    Restore,
}

/// What `note` takes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
struct NoteInput {
    action: NoteAction,
    /// The note; not for create.
    id: Option<String>,
    /// At most 200 characters.
    title: Option<String>,
    /// The whole text, at most 512,000 bytes.
    content: Option<String>,
    /// Recommended: executive-summary, prd, design, strategy, methodology, market-research, bio, marketing, governance.
    tags: Option<Vec<String>>,
    /// The venture code; global when left out.
    venture: Option<String>,
    /// For update: the `rev` of the read that it is based on.
    rev: Option<String>,
    /// True only when a human asked for it in this conversation.
    human_requested: bool,
    /// True stores it although it looks like it holds a secret.
    allow_secret_like: Option<bool>,
    /// Idempotency key, 20 to 200 characters.
    update_id: Option<String>,
}

/// What `notes` takes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
struct NotesInput {
    /// Reads this note; without it, lists.
    id: Option<String>,
    /// With id: where to begin, in characters.
    offset: Option<i64>,
    /// With id: at most and by default 16,000.
    max_chars: Option<i64>,
    /// The venture code.
    venture: Option<String>,
    /// With venture: also global notes. Without: only global ones.
    include_global: Option<bool>,
    tags: Option<Vec<String>>,
    /// Default any.
    tag_mode: Option<TagMode>,
    /// A literal part of title or body.
    q: Option<String>,
    created_since: Option<Iso>,
    created_until: Option<Iso>,
    include_archived: Option<bool>,
    /// 1 to 100, default 20.
    limit: Option<i64>,
    /// From the last page.
    cursor: Option<String>,
}

/// What `doc` takes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
struct DocInput {
    /// `global` or a venture code; without it the venture's doc, else the global one.
    scope: Option<String>,
    /// For example `alpha-api.md`.
    name: String,
    /// Where to begin, in characters.
    offset: Option<i64>,
    /// At most and by default 16,000.
    max_chars: Option<i64>,
    /// Only headings and the first paragraph.
    summary_only: Option<bool>,
    /// An earlier version.
    version: Option<i64>,
}

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "note",
        description: "Use only when a human asked to keep, change, archive or restore a note in this conversation. \
                      Answers with the note without its body.",
        hints: Hints::WRITE,
        input: |generator| generator.subschema_for::<NoteInput>(),
        nullable: &["title", "tags", "venture"],
        output: &[("id", "string"), ("rev", "string"), ("archived", "boolean"), ("size", "integer")],
        operation: "note.create",
        plan: note,
    },
    Tool {
        name: "notes",
        description: "Use to read one note (id) or to list notes by venture, tag or text. A long body comes in pieces: \
                      go on with next_offset.",
        hints: Hints::READ,
        input: |generator| generator.subschema_for::<NotesInput>(),
        nullable: &[],
        output: &[("items", "array"), ("total", "integer"), ("content", "string"), ("next_offset", "integer")],
        operation: "note.list",
        plan: notes,
    },
    Tool {
        name: "doc",
        description: "Use to read an operational doc of the venture by name, for example before touching its API or \
                      schema. A long one comes in pieces: go on with next_offset.",
        hints: Hints::READ,
        input: |generator| generator.subschema_for::<DocInput>(),
        nullable: &[],
        output: &[("scope", "string"), ("name", "string"), ("content", "string"), ("next_offset", "integer")],
        operation: "doc.get",
        plan: doc,
    },
    Tool {
        name: "search",
        description: "Use to find notes, docs and handoffs by words before asking a human what is already written \
                      down. Read a hit with notes (id) or doc (scope/name).",
        hints: Hints::READ,
        input: |generator| generator.subschema_for::<SearchQuery>(),
        nullable: &[],
        output: &[("items", "array"), ("shown", "integer"), ("total", "integer")],
        operation: "search",
        plan: |arguments| Ok(Step::Call(Call::new("search", Value::Object(arguments)))),
    },
];

fn note(mut arguments: Arguments) -> Result<Step, ErrorBody> {
    let action = take_action(&mut arguments, ACTIONS)?;
    if action == "create" {
        // The gate knows no id there and says so when one was sent.
        return Ok(Step::Call(Call::new("note.create", Value::Object(arguments))));
    }
    let id = take_text(&mut arguments, "id")?;
    Ok(Step::Call(Call::new(&format!("note.{action}"), Value::Object(arguments)).param("id", id)))
}

#[expect(clippy::unnecessary_wraps, reason = "the form of every plan")]
fn notes(mut arguments: Arguments) -> Result<Step, ErrorBody> {
    Ok(Step::Call(match arguments.remove("id") {
        Some(Value::String(id)) => Call::new("note.get", Value::Object(arguments)).param("id", id),
        _ => Call::new("note.list", Value::Object(arguments)),
    }))
}

fn doc(mut arguments: Arguments) -> Result<Step, ErrorBody> {
    let name = take_text(&mut arguments, "name")?;
    let scope = arguments.remove("scope");
    let call = Call::new("doc.get", Value::Object(arguments)).param("name", name);
    Ok(match scope {
        Some(Value::String(scope)) => Step::Call(call.param("scope", scope)),
        _ => Step::NearestDoc(call),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ctxnode_api::notes::NoteQuery;
    use ctxnode_api::route;
    use ctxnode_api::shape::Shape;
    use schemars::SchemaGenerator;

    use super::*;

    fn fields<T: JsonSchema>() -> BTreeSet<String> {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        schema.get("properties").and_then(Value::as_object).unwrap().keys().cloned().collect()
    }

    fn accepted(operations: &[&str]) -> BTreeSet<String> {
        let shapes = operations.iter().map(|operation| Shape::of_input(route(operation).unwrap()));
        shapes.flat_map(|shape| shape.names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// M-02: what these tools advertise is what their operations accept, beside what becomes the path or the operation.
    #[test]
    fn m_02_each_advertised_field_is_accepted_by_an_operation_behind_the_tool() {
        let with = |mut set: BTreeSet<String>, names: &[&str]| {
            set.extend(names.iter().map(|name| (*name).to_owned()));
            set
        };
        let note = with(accepted(&["note.create", "note.update", "note.archive", "note.restore"]), &["action", "id"]);
        assert!(fields::<NoteInput>().is_subset(&note));
        let notes = with(accepted(&["note.list", "note.get"]), &["id"]);
        assert!(fields::<NotesInput>().is_subset(&notes));
        assert!(fields::<NoteQuery>().is_subset(&fields::<NotesInput>()));
        assert_eq!(fields::<DocInput>(), with(accepted(&["doc.get"]), &["scope", "name"]));
    }
}
