//! Notes: only when a human asked, merged when edited apart, never deleted by an agent.

use std::collections::BTreeSet;

use ctxnode_api::node::{Done, Empty};
use ctxnode_api::notes::{
    DeleteRequest, NoteAction, NoteCreate, NoteQuery, NoteRead, NoteRevert, NoteRow, NoteUpdate, NoteView, PieceQuery,
    TagMode, TagRow,
};
use ctxnode_api::records::{ConflictView, HistoryQuery};
use ctxnode_api::{ErrorBody, ErrorCode, Iso, List, Patch};
use ctxnode_model::index::Index;
use ctxnode_model::record::Note;
use ctxnode_model::rules::note::{NoteChanges, NoteFields, RECOMMENDED_TAGS};
use ctxnode_model::rules::secrets;
use ctxnode_model::rules::session::{check_meta, merge_meta, meta_edits};
use ctxnode_model::{DocumentId, Edit, FieldError, Kind, Rec, Space, Timestamp};
use ctxnode_store::{Listing, Reader};
use serde_json::{Map, Value};

use super::sessions::refuse_secrets;
use super::{paging, records, ventures, who};
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;

/// Characters of a row's excerpt.
const EXCERPT: usize = 120;

pub(super) fn require_human(requested: bool) -> Result<(), Failure> {
    if requested {
        return Ok(());
    }
    let message = "ask the human first: notes are written only when a human asked for it in this conversation";
    Err(ErrorBody::new(ErrorCode::HumanRequestRequired, message).hint("then send `human_requested: true`").into())
}

fn suspects(title: Option<&str>, content: Option<&str>, tags: &[String], meta: &Map<String, Value>) -> Vec<FieldError> {
    let texts = [("title", title), ("content", content)];
    let mut fields: Vec<(String, &str)> =
        texts.into_iter().filter_map(|(field, text)| Some((field.to_owned(), text?))).collect();
    fields.extend(tags.iter().enumerate().map(|(at, tag)| (format!("tags[{at}]"), tag.as_str())));
    let mut found = secrets::scan_fields(fields);
    found.extend(secrets::scan_value("meta", &Value::Object(meta.clone())));
    found
}

pub(crate) async fn create(cx: &Cx, input: NoteCreate) -> Handled {
    require_human(input.human_requested)?;
    let fields = NoteFields { content: input.content.clone(), title: input.title.clone(), tags: input.tags.clone() };
    let mut invalid = fields.validate().err().unwrap_or_default();
    let changes: Map<String, Value> = input.meta.clone().into_iter().collect();
    let meta = merge_meta(&std::collections::BTreeMap::new(), &changes);
    check_meta(&mut invalid, &meta);
    ventures::finish(cx, invalid, input.venture.iter().map(|code| ("venture".to_owned(), code.as_str())))?;
    cx.caller.require_venture(input.venture.as_deref())?;
    if !input.allow_secret_like {
        refuse_secrets(suspects(input.title.as_deref(), input.content.as_deref(), &input.tags, &changes))?;
    }
    let origin = cx.origin();
    let answer = cx
        .commit(move |draft| {
            let space = Space::of(input.venture.as_deref());
            let id = draft.fresh_id(Kind::Note, &space)?;
            let now = draft.now();
            let content = input.content.unwrap_or_default();
            let size = content.len();
            let mut edits = vec![
                Edit::Body { field: "content", text: content, base: None },
                Edit::set("created_at", now),
                Edit::set("updated_at", now),
                Edit::set("archived", false),
                Edit::set("actor_key_id", origin.actor_key_id.as_str()),
                Edit::set("creation_correlation_id", origin.correlation.as_str()),
                Edit::set("updated_by", origin.actor_key_id.as_str()),
            ];
            edits.extend(Edit::set_some("title", input.title.clone()));
            edits.extend(Edit::set_some("venture", input.venture.clone()));
            edits.extend(input.tags.iter().map(|tag| Edit::member("tags", tag.clone())));
            edits.extend(meta_edits(changes));
            draft.edit(id, &space, edits)?;
            let note = Note {
                title: input.title,
                tags: input.tags.into_iter().collect(),
                venture: input.venture,
                archived: false,
                created_at: now,
                updated_at: now,
                actor_key_id: origin.actor_key_id.clone(),
                creation_correlation_id: origin.correlation.clone(),
                updated_by: Some(origin.actor_key_id),
                meta,
            };
            // The revision is known once the change is made; a read gives it.
            Ok((201, view(&id.to_string(), &note, size, String::new(), Vec::new(), now)))
        })
        .await?;
    with_rev(cx, answer).await
}

/// Completes an answer with the revision that the commit made, and with what is in conflict still.
async fn with_rev(cx: &Cx, mut answer: Answer) -> Handled {
    let text = answer.body.get("id").and_then(Value::as_str).unwrap_or_default();
    if let Ok(id) = DocumentId::parse(Kind::Note, text)
        && let Some(note) = cx.read()?.reader().get::<Note>(id)?
    {
        answer.body["rev"] = Value::String(note.meta.rev.clone());
        let conflicts = who::conflicts(&cx.app, &note.meta.conflicts, cx.now());
        if !conflicts.is_empty() {
            answer.body["conflicts"] = serde_json::json!(conflicts);
        }
    }
    cx.completed(answer).await
}

pub(crate) async fn update(cx: &Cx, input: NoteUpdate) -> Handled {
    require_human(input.human_requested)?;
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    let found = visible(cx, id)?;
    cx.caller.require_venture(found.venture.as_deref())?;
    let venture = if let Patch::Set(code) = &input.venture { Some(code.as_str()) } else { None };
    if !input.venture.is_keep() {
        // Without a venture it is everybody's.
        cx.caller.require_venture(venture)?;
    }
    let changes = NoteChanges {
        content: input.content.clone().into_change(),
        title: input.title.clone().into_change(),
        tags: input.tags.clone().into_change(),
    };
    let mut invalid = changes.validate().err().unwrap_or_default();
    let meta_changes: Map<String, Value> = input.meta.clone().into_iter().collect();
    check_meta(&mut invalid, &merge_meta(&found.meta_values(), &meta_changes));
    if let Some(rev) = &input.rev {
        let is_one = cx.read()?.body_at(id, rev)?.is_some();
        invalid.require(is_one, "rev", "is not a revision of this note; read it again");
    }
    ventures::finish(cx, invalid, venture.map(|code| ("venture".to_owned(), code)))?;
    if !input.allow_secret_like {
        let text = |patch: &Patch<String>| if let Patch::Set(text) = patch { Some(text.clone()) } else { None };
        let tags = if let Patch::Set(tags) = &input.tags { tags.clone() } else { Vec::new() };
        let (title, content) = (text(&input.title), text(&input.content));
        refuse_secrets(suspects(title.as_deref(), content.as_deref(), &tags, &meta_changes))?;
    }
    let origin = cx.origin();
    let answer = cx
        .commit(move |draft| {
            let reader = draft.reader();
            let current = reader.get::<Note>(id)?.ok_or_else(|| Failure::not_found("note", &id.to_string()))?;
            let now = draft.now();
            let mut note = current.value.clone();
            let mut edits = vec![Edit::set("updated_at", now), Edit::set("updated_by", origin.actor_key_id.as_str())];
            match input.title {
                Patch::Keep => {}
                Patch::Clear => {
                    edits.push(Edit::Unset { field: "title" });
                    note.title = None;
                }
                Patch::Set(title) => {
                    edits.push(Edit::set("title", title.as_str()));
                    note.title = Some(title);
                }
            }
            match input.venture {
                Patch::Keep => {}
                Patch::Clear => {
                    edits.push(Edit::Unset { field: "venture" });
                    note.venture = None;
                }
                Patch::Set(code) => {
                    edits.push(Edit::set("venture", code.as_str()));
                    note.venture = Some(code);
                }
            }
            let tags: Option<BTreeSet<String>> = match input.tags {
                Patch::Keep => None,
                Patch::Clear => Some(BTreeSet::new()),
                Patch::Set(tags) => Some(tags.into_iter().collect()),
            };
            if let Some(tags) = tags {
                edits.extend(tags.difference(&note.tags).map(|tag| Edit::member("tags", tag.clone())));
                edits.extend(note.tags.difference(&tags).map(|tag| Edit::remove("tags", tag.clone())));
                note.tags = tags;
            }
            let mut size = reader.body(id)?.map_or(0, |body| body.len());
            if let Patch::Set(text) = input.content {
                size = text.len();
                edits.push(Edit::Body { field: "content", text, base: input.rev.clone() });
            }
            note.meta = merge_meta(&note.meta, &meta_changes);
            edits.extend(meta_edits(meta_changes));
            draft.edit(id, &Space::of(current.venture.as_deref()), edits)?;
            note.updated_at = now;
            note.updated_by = Some(origin.actor_key_id);
            Ok((200, view(&id.to_string(), &note, size, String::new(), Vec::new(), now)))
        })
        .await?;
    with_rev(cx, answer).await
}

/// The values of a note's meta; the name avoids the record's own `meta`.
trait MetaValues {
    fn meta_values(&self) -> std::collections::BTreeMap<String, Value>;
}

impl MetaValues for Rec<Note> {
    fn meta_values(&self) -> std::collections::BTreeMap<String, Value> {
        self.value.meta.clone()
    }
}

pub(crate) async fn archive(cx: &Cx, input: NoteAction) -> Handled {
    set_archived(cx, input, true).await
}

pub(crate) async fn restore(cx: &Cx, input: NoteAction) -> Handled {
    set_archived(cx, input, false).await
}

async fn set_archived(cx: &Cx, input: NoteAction, archived: bool) -> Handled {
    require_human(input.human_requested)?;
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    let found = visible(cx, id)?;
    cx.caller.require_venture(found.venture.as_deref())?;
    let origin = cx.origin();
    let answer = cx
        .commit(move |draft| {
            let now = draft.now();
            // It may have been withdrawn meanwhile.
            let found = draft.reader().get::<Note>(id)?.ok_or_else(|| unknown(id))?;
            let mut note = found.value.clone();
            let size = draft.reader().body(id)?.map_or(0, |body| body.len());
            if note.archived != archived {
                let by = Edit::set("updated_by", origin.actor_key_id.as_str());
                let edits = [Edit::set("archived", archived), Edit::set("updated_at", now), by];
                draft.edit(id, &Space::of(found.venture.as_deref()), edits)?;
                note.archived = archived;
                note.updated_at = now;
            }
            Ok((200, view(&id.to_string(), &note, size, String::new(), Vec::new(), now)))
        })
        .await?;
    with_rev(cx, answer).await
}

pub(crate) async fn delete(cx: &Cx, _: DeleteRequest) -> Handled {
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    let found = visible(cx, id)?;
    cx.caller.require_venture(found.venture.as_deref())?;
    cx.commit(move |draft| {
        draft.tombstone(id)?;
        Ok((200, Done { changed: true }))
    })
    .await
}

fn visible(cx: &Cx, id: DocumentId) -> Result<Rec<Note>, Failure> {
    let found = cx.read()?.reader().get::<Note>(id)?.filter(|note| cx.caller.sees(note.venture.as_deref()));
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: DocumentId) -> Failure {
    let body = ErrorBody::new(ErrorCode::NotFound, format!("note `{id}` does not exist"));
    body.hint("`notes` lists them, archived ones with `include_archived`").into()
}

pub(crate) async fn get(cx: &Cx, input: PieceQuery) -> Handled {
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    let found = visible(cx, id)?;
    let snapshot = cx.read()?;
    let body = match &input.rev {
        None => snapshot.reader().body(id)?.unwrap_or_default(),
        Some(rev) => snapshot
            .body_at(id, rev)?
            .ok_or_else(|| Failure::from(ErrorBody::field("rev", "is not a revision of this note")))?,
    };
    let piece = paging::piece(&body, input.offset, input.max_chars)?;
    let now = cx.now();
    let conflicts = who::conflicts(&cx.app, &found.meta.conflicts, now);
    let note = view(&id.to_string(), &found.value, body.len(), found.meta.rev.clone(), conflicts, now);
    Answer::ok(NoteRead {
        note,
        content: piece.content,
        offset: piece.offset,
        total_chars: piece.total_chars,
        next_offset: piece.next_offset,
    })
}

pub(crate) async fn history(cx: &Cx, input: HistoryQuery) -> Handled {
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    records::past(cx, id, &input)
}

/// Brings an earlier text back as a new edit: what was written since stays in the note's past.
pub(crate) async fn revert(cx: &Cx, input: NoteRevert) -> Handled {
    require_human(input.human_requested)?;
    let id = paging::id(Kind::Note, "id", cx.param("id"))?;
    let found = visible(cx, id)?;
    cx.caller.require_venture(found.venture.as_deref())?;
    let rev = input.rev.ok_or_else(|| Failure::from(ErrorBody::field("rev", "is required")))?;
    let text = cx.read()?.body_at(id, &rev)?.ok_or_else(|| {
        Failure::from(ErrorBody::field("rev", "is not a revision of this note; its history lists them"))
    })?;
    let origin = cx.origin();
    let answer = cx
        .commit(move |draft| {
            let current = draft.reader().get::<Note>(id)?;
            let current = current.ok_or_else(|| Failure::not_found("note", &id.to_string()))?;
            let (now, size) = (draft.now(), text.len());
            let by = Edit::set("updated_by", origin.actor_key_id.as_str());
            let edits = [Edit::Body { field: "content", text, base: None }, Edit::set("updated_at", now), by];
            draft.edit(id, &Space::of(current.venture.as_deref()), edits)?;
            let note = Note { updated_at: now, updated_by: Some(origin.actor_key_id), ..current.value };
            Ok((200, view(&id.to_string(), &note, size, String::new(), Vec::new(), now)))
        })
        .await?;
    with_rev(cx, answer).await
}

pub(crate) async fn tags(cx: &Cx, _: Empty) -> Handled {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let mut counts: std::collections::BTreeMap<String, u64> =
        RECOMMENDED_TAGS.iter().map(|tag| ((*tag).to_owned(), 0)).collect();
    for (venture, tag, count) in reader.note_tags()? {
        if cx.caller.sees(Some(venture.as_str()).filter(|code| *code != "-")) {
            *counts.entry(tag).or_default() += count;
        }
    }
    let mut rows: Vec<TagRow> = counts
        .into_iter()
        .map(|(tag, notes)| TagRow { recommended: RECOMMENDED_TAGS.contains(&tag.as_str()), tag, notes })
        .collect();
    rows.sort_by_key(|row| (!row.recommended, row.tag.clone()));
    Answer::ok(List::all(rows))
}

pub(crate) async fn list(cx: &Cx, input: NoteQuery) -> Handled {
    let window = paging::window(input.limit, input.cursor.as_deref(), Kind::Note)?;
    if let Some(code) = input.venture.as_deref().filter(|code| !cx.caller.sees(Some(code))) {
        return Err(Failure::new(ErrorCode::Forbidden, format!("this credential may not read `{code}`")));
    }
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let now = cx.now();
    let needle = input.q.as_deref().map(str::to_lowercase);
    let archived = input.include_archived.unwrap_or(false);
    let global = input.include_global.unwrap_or(false);
    // One venture without global and archived ones is a prefix of its own; everything else walks all notes.
    let (index, prefix): (Index, Vec<&str>) = match (&input.venture, input.tags.as_slice()) {
        (Some(venture), [tag]) if !global && !archived => (Index::NoteTag, vec![venture, tag]),
        (Some(venture), _) if !global && !archived => (Index::NoteLive, vec![venture]),
        (Some(venture), _) if !global => (Index::Venture, vec![venture]),
        (None, [tag]) if global && !archived => (Index::NoteTag, vec!["-", tag]),
        (None, _) if global && !archived => (Index::NoteLive, vec!["-"]),
        _ => (Index::All, vec![]),
    };
    let fits = |note: &Rec<Note>| {
        let place = match (&input.venture, global) {
            (None, false) => true,
            (None, true) => note.venture.is_none(),
            (Some(code), false) => note.venture.as_deref() == Some(code),
            (Some(code), true) => note.venture.is_none() || note.venture.as_deref() == Some(code),
        };
        let tagged = match input.tag_mode.unwrap_or_default() {
            _ if input.tags.is_empty() => true,
            TagMode::Any => input.tags.iter().any(|tag| note.tags.contains(tag)),
            TagMode::All => input.tags.iter().all(|tag| note.tags.contains(tag)),
        };
        let contains = |needle: &String| {
            let titled = note.title.as_ref().is_some_and(|title| title.to_lowercase().contains(needle));
            titled || reader.body(note.id).ok().flatten().is_some_and(|body| body.to_lowercase().contains(needle))
        };
        cx.caller.sees(note.venture.as_deref())
            && place
            && tagged
            && (archived || !note.archived)
            && input.created_since.is_none_or(|since| note.created_at >= since.0)
            && input.created_until.is_none_or(|until| note.created_at < until.0)
            && needle.as_ref().is_none_or(contains)
    };
    let listing = Listing { index, kind: Kind::Note, prefix: &prefix, after: window.after, limit: window.limit };
    let page = reader.list_where::<Note>(&listing, fits)?;
    let next = page.next;
    let mut items = Vec::new();
    for note in &page.items {
        items.push(row(reader, note, now)?);
    }
    Answer::ok(List::of(ctxnode_model::page::Page { items, total: page.total, next }))
}

fn row(reader: Reader<'_>, note: &Rec<Note>, now: Timestamp) -> Result<NoteRow, Failure> {
    let body = reader.body(note.id)?.unwrap_or_default();
    let text = |name: &str| note.value.meta.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(NoteRow {
        id: note.id.to_string(),
        title: note.title.clone(),
        tags: note.tags.clone(),
        venture: note.venture.clone(),
        archived: note.archived,
        size: body.len(),
        age: note.updated_at.age(now),
        updated_at: Iso(note.updated_at),
        excerpt: ctxnode_model::rules::text::cut(&body, EXCERPT).to_owned(),
        source: text("source"),
        source_hash: text("source_hash"),
    })
}

fn view(id: &str, note: &Note, size: usize, rev: String, conflicts: Vec<ConflictView>, now: Timestamp) -> NoteView {
    NoteView {
        id: id.to_owned(),
        title: note.title.clone(),
        tags: note.tags.clone(),
        venture: note.venture.clone(),
        archived: note.archived,
        size,
        created_at: Iso(note.created_at),
        updated_at: Iso(note.updated_at),
        age: note.updated_at.age(now),
        updated_by: note.updated_by.clone(),
        rev,
        meta: note.meta.clone(),
        conflicts,
        actor_key_id: note.actor_key_id.clone(),
        creation_correlation_id: note.creation_correlation_id.clone(),
    }
}
