//! What works for records of every kind: their past, and the end of a conflict.

use ctxnode_api::records::{
    ConflictResolve, ConflictResolved, FieldChangeView, HappenedView, HistoryQuery, HistoryRow,
};
use ctxnode_api::{ErrorBody, ErrorCode, Iso, List, Right};
use ctxnode_model::record::Note;
use ctxnode_model::rules::change::Change;
use ctxnode_model::rules::note::NoteChanges;
use ctxnode_model::rules::secrets;
use ctxnode_model::schema::{self, Shape};
use ctxnode_model::{Conflict, DocumentId, Edit, Kind, RecordMeta, Scalar, Space};
use ctxnode_store::{Happened, HistoryEntry, Reader};
use serde_json::Value;

use super::notes::require_human;
use super::sessions::refuse_secrets;
use super::who::{self, Names};
use super::{paging, ventures};
use crate::app::{Answer, Cx, Handled};
use crate::caller::{Caller, venture_field, venture_named, venture_of};
use crate::failure::Failure;

/// Finds the record that somebody names: by its id, a doc by scope and name, a venture by its code, the plan by its word.
fn named(reader: Reader<'_>, text: &str) -> Result<DocumentId, Failure> {
    let ids = reader.ids()?;
    let exists = |id: DocumentId| Ok::<bool, Failure>(reader.meta(id)?.is_some());
    if let Some((scope, name)) = text.split_once('/') {
        let uploaded = ids.doc(scope, name);
        return Ok(if exists(uploaded)? { uploaded } else { ids.generated_doc(scope, name) });
    }
    if text == "plan" {
        return Ok(ids.plan());
    }
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) if exists(ids.venture(text))? => Ok(ids.venture(text)),
        Err(_) => {
            let message = "is no id, no scope/name of a doc, no venture's code, and not `plan`";
            Err(ErrorBody::field("id", message).into())
        }
    }
}

/// Returns the venture of a record that the caller may see.
fn visible(cx: &Cx, reader: Reader<'_>, id: DocumentId) -> Result<Option<String>, Failure> {
    let venture = reader.view(id)?.map(|view| venture_of(id.kind, &view));
    let seen = venture.filter(|venture| cx.caller.sees(venture.as_deref()));
    seen.ok_or_else(|| Failure::not_found(id.kind.name(), cx.param("id")))
}

pub(crate) async fn history(cx: &Cx, input: HistoryQuery) -> Handled {
    let id = named(cx.read()?.reader(), cx.param("id"))?;
    past(cx, id, &input)
}

/// Answers with one page of a record's past. A cursor counts from the oldest step, which new ones do not move.
pub(super) fn past(cx: &Cx, id: DocumentId, input: &HistoryQuery) -> Handled {
    let limit = paging::window(input.limit, None, id.kind)?.limit;
    let snapshot = cx.read()?;
    visible(cx, snapshot.reader(), id)?;
    let (_, total) = snapshot.history(id, 0, 0)?;
    let left = match input.cursor.as_deref() {
        None => total,
        Some(text) => text.parse::<usize>().ok().filter(|left| (1..=total).contains(left)).ok_or_else(|| {
            ErrorBody::new(ErrorCode::InvalidCursor, "the cursor is not one that this list gave out")
                .hint("begin again without a cursor")
        })?,
    };
    let (entries, total) = snapshot.history(id, total - left, limit)?;
    let names = Names::read(&cx.app.store, snapshot.reader())?;
    let now = cx.now();
    let row = |entry: HistoryEntry| HistoryRow {
        happened: match entry.happened {
            Happened::Changed => HappenedView::Changed,
            Happened::Deleted => HappenedView::Deleted,
            Happened::Revived => HappenedView::Restored,
        },
        rev: entry.rev,
        node: entry.node.to_string(),
        machine: names.of(entry.node),
        agent: entry.agent,
        at: Iso(entry.at),
        age: entry.at.age(now),
        changed: entry.fields.into_iter().map(field_change).collect(),
        diff: entry.diff,
        size: entry.body_bytes,
    };
    let items: Vec<HistoryRow> = entries.into_iter().map(row).collect();
    let (shown, left) = (items.len(), left.saturating_sub(items.len()));
    let next_cursor = (left > 0).then(|| left.to_string());
    Answer::ok(List { items, shown, total: total as u64, has_more: left > 0, next_cursor })
}

fn field_change(change: ctxnode_store::FieldChange) -> FieldChangeView {
    FieldChangeView { field: change.field, before: change.before, after: change.after }
}

pub(crate) async fn resolve(cx: &Cx, input: ConflictResolve) -> Handled {
    let id = named(cx.read()?.reader(), cx.param("id"))?;
    settle(cx, id, input).await
}

pub(crate) async fn resolve_note(cx: &Cx, input: ConflictResolve) -> Handled {
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    settle(cx, id, input).await
}

/// What shall hold: one of the values, or a new one.
enum Choice {
    Pick(usize),
    Value(String),
}

fn choice(id: DocumentId, input: &ConflictResolve) -> Result<Choice, Failure> {
    match (&input.value, input.pick) {
        (None, Some(number)) => Ok(Choice::Pick(usize::try_from(number).unwrap_or(0))),
        (Some(value), None) if id.kind == Kind::Note => Ok(Choice::Value(value.clone())),
        (Some(_), None) => {
            let message = format!("only notes take a new value here: pick one, or change the {} itself", id.kind);
            Err(ErrorBody::field("value", message).into())
        }
        _ => Err(ErrorBody::field("pick", "exactly one of `pick` and `value` is needed").into()),
    }
}

async fn settle(cx: &Cx, id: DocumentId, input: ConflictResolve) -> Handled {
    if id.kind == Kind::Note {
        require_human(input.human_requested)?;
    }
    let venture = visible(cx, cx.read()?.reader(), id)?;
    cx.caller.require_venture(venture.as_deref())?;
    // What only an admin may write, only an admin decides.
    let needed = match id.kind {
        Kind::Doc | Kind::Requirement | Kind::Venture | Kind::Machine => Right::Admin,
        _ => Right::Writer,
    };
    if cx.caller.right < needed {
        let message = format!("deciding a conflict of a {} needs the admin right", id.kind.name());
        return Err(ErrorBody::new(ErrorCode::Forbidden, message).into());
    }
    let field = input.field.clone().ok_or_else(|| Failure::from(ErrorBody::field("field", "is required")))?;
    let choice = choice(id, &input)?;
    if let Choice::Value(value) = &choice {
        refuse_secrets(secrets::scan_fields([("value".to_owned(), value.as_str())]))?;
    }
    let (app, origin, caller) = (std::sync::Arc::clone(&cx.app), cx.origin(), cx.caller.clone());
    cx.commit(move |draft| {
        let reader = draft.reader();
        let meta = reader.meta(id)?.ok_or_else(|| Failure::not_found(id.kind.name(), &id.to_string()))?;
        let conflict = in_conflict(&meta, &field)?;
        let wanted = match &choice {
            Choice::Pick(number) => picked(conflict, *number)?,
            Choice::Value(text) => Value::from(text.as_str()),
        };
        // Before it is looked up: who may not write in a venture does not learn whether there is one.
        check_venture(&caller, id.kind, &field, &wanted)?;
        let chosen = match &choice {
            Choice::Pick(_) => wanted,
            Choice::Value(text) => note_value(reader, &caller, &field, text)?,
        };
        let mut edits = vec![edit(id.kind, &field, &chosen)?];
        if id.kind == Kind::Note {
            edits.push(Edit::set("updated_at", draft.now()));
            edits.push(Edit::set("updated_by", origin.actor_key_id.as_str()));
        }
        // An existing record stays in its space, whatever is named here.
        draft.edit(id, &Space::Fleet, edits)?;
        let rest: Vec<Conflict> = meta.conflicts.iter().filter(|other| other.field != field).cloned().collect();
        let conflicts = who::conflicts(&app, &rest, draft.now());
        Ok((200, ConflictResolved { id: id.to_string(), field, value: chosen, conflicts }))
    })
    .await
}

fn in_conflict<'a>(meta: &'a RecordMeta, field: &str) -> Result<&'a Conflict, Failure> {
    meta.conflicts.iter().find(|conflict| conflict.field == field).ok_or_else(|| {
        let fields: Vec<&str> = meta.conflicts.iter().map(|conflict| conflict.field.as_str()).collect();
        let message = match fields.as_slice() {
            [] => "is not in conflict, and no other field of this record is".to_owned(),
            fields => format!("is not in conflict; these are: {}", fields.join(", ")),
        };
        ErrorBody::field("field", message).into()
    })
}

fn picked(conflict: &Conflict, number: usize) -> Result<Value, Failure> {
    let values: Vec<&Value> = who::values(conflict).map(|written| &written.value).collect();
    let chosen = number.checked_sub(1).and_then(|at| values.get(at)).copied().cloned();
    chosen.ok_or_else(|| ErrorBody::field("pick", format!("expected 1 to {}", values.len())).into())
}

/// Refuses a choice that would move the record to where the caller may not write.
fn check_venture(caller: &Caller, kind: Kind, field: &str, value: &Value) -> Result<(), ErrorBody> {
    if venture_field(kind) == Some(field) { caller.require_venture(venture_named(kind, value)) } else { Ok(()) }
}

/// Checks a new value of a note's field.
fn note_value(reader: Reader<'_>, caller: &Caller, field: &str, text: &str) -> Result<Value, Failure> {
    match field {
        "title" => {
            NoteChanges { title: Change::Set(text.to_owned()), ..NoteChanges::default() }.validate()?;
            Ok(text.into())
        }
        "venture" => Ok(ventures::require(reader, caller, text)?.code.clone().into()),
        "archived" => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(ErrorBody::field("value", "expected true or false").into()),
        },
        _ => Ok(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
    }
}

/// The write that ends a conflict.
fn edit(kind: Kind, name: &str, value: &Value) -> Result<Edit, Failure> {
    let wrong = || Failure::from(ErrorBody::field("field", format!("a {kind} has no field `{name}`")));
    let (field, key) = name.split_once('.').map_or((name, None), |(field, key)| (field, Some(key)));
    let field = schema::field(kind, field).ok_or_else(wrong)?;
    let scalar = match field.shape {
        Shape::Json | Shape::JsonMap => Scalar::json(value),
        _ => match value {
            Value::Bool(truth) => Scalar::Bool(*truth),
            Value::String(text) => Scalar::Str(text.clone()),
            Value::Number(number) => Scalar::Int(number.as_i64().ok_or_else(wrong)?),
            _ => return Err(wrong()),
        },
    };
    Ok(match key {
        None => Edit::Set { field: field.name, value: scalar },
        Some(key) => Edit::Insert { field: field.name, key: key.to_owned(), value: scalar },
    })
}

/// The names of a note's fields that are in conflict, for a start.
pub(super) fn in_conflict_names(note: &ctxnode_model::Rec<Note>) -> Vec<String> {
    note.meta.conflicts.iter().map(|conflict| conflict.field.clone()).collect()
}
