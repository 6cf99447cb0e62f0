//! Ventures.

use ctxnode_api::operations::{
    VentureArchive, VentureImport, VentureImportReply, VenturePut, VentureQuery, VentureView,
};
use ctxnode_api::{ErrorBody, ErrorCode, List};
use ctxnode_model::record::Venture;
use ctxnode_model::rules::session::{merge_meta, meta_edits};
use ctxnode_model::rules::text::near;
use ctxnode_model::rules::{secrets, venture};
use ctxnode_model::{Edit, Invalid, Kind, Rec, Scalar, Space, Timestamp};
use ctxnode_store::{Draft, Reader};
use serde_json::{Map, Value, json};

use super::sessions::refuse_secrets;
use super::who;
use crate::app::{Answer, App, Cx, Handled, Origin};
use crate::caller::Caller;
use crate::checkouts::{self, Places};
use crate::failure::Failure;

/// Returns the ventures that are not archived, by code.
pub(super) fn all_living(reader: Reader<'_>) -> Result<Vec<Rec<Venture>>, Failure> {
    let mut all = reader.all::<Venture>(Kind::Venture)?;
    all.retain(|venture| !venture.archived);
    all.sort_by(|a, b| a.code.cmp(&b.code));
    Ok(all)
}

/// What an admin does about a code that nobody knows.
const ADD: &str = "an admin adds one with `ctxnode venture set CODE`";

/// Returns a venture, or refuses with the known codes that the caller sees, and near matches.
pub(super) fn require(reader: Reader<'_>, caller: &Caller, code: &str) -> Result<Rec<Venture>, Failure> {
    match reader.get::<Venture>(reader.ids()?.venture(code))? {
        Some(found) => Ok(found),
        None => Err(unknown(format!("venture {}", not_known(reader, caller, code)?)).into()),
    }
}

fn unknown(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::UnknownVenture, message).hint(ADD)
}

/// Ends the check of a request that names ventures: an unknown one is a bad field beside the others, and has an error code
/// of its own when nothing else is wrong. Ventures that the caller may not see are left to the check of its rights.
///
/// # Errors
/// When a field is bad.
pub(super) fn finish<'a>(
    cx: &Cx,
    mut invalid: Invalid,
    named: impl IntoIterator<Item = (String, &'a str)>,
) -> Result<(), Failure> {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let others = invalid.fields.len();
    for (field, code) in named {
        let is_named = invalid.fields.iter().any(|bad| bad.field == field);
        if !is_named && cx.caller.sees(Some(code)) && reader.get::<Venture>(reader.ids()?.venture(code))?.is_none() {
            invalid.add(field, not_known(reader, &cx.caller, code)?);
        }
    }
    if invalid.fields.is_empty() {
        return Ok(());
    }
    if others > 0 {
        let has_unknown = invalid.fields.len() > others;
        let body = ErrorBody::from(invalid);
        return Err(if has_unknown { body.hint(ADD) } else { body }.into());
    }
    let messages: Vec<String> = invalid.fields.iter().map(|bad| format!("venture {}", bad.message)).collect();
    Err(unknown(messages.join("; ")).details(invalid.fields).into())
}

/// Says that a code is not known, and what is, as far as the caller sees it.
fn not_known(reader: Reader<'_>, caller: &Caller, code: &str) -> Result<String, Failure> {
    let mut known = all_living(reader)?;
    known.retain(|venture| caller.sees(Some(&venture.code)));
    let codes: Vec<&str> = known.iter().map(|venture| venture.code.as_str()).collect();
    let close = near(code, &codes);
    Ok(match close.first() {
        Some(first) => format!("`{code}` is not known; did you mean `{first}`? known are: {}", codes.join(", ")),
        None if codes.is_empty() => format!("`{code}` is not known; there are none yet"),
        None => format!("`{code}` is not known; known are: {}", codes.join(", ")),
    })
}

pub(crate) async fn list(cx: &Cx, input: VentureQuery) -> Handled {
    let mut all = cx.read()?.reader().all::<Venture>(Kind::Venture)?;
    all.retain(|venture| cx.caller.sees(Some(&venture.code)));
    all.retain(|venture| input.include_archived.unwrap_or(false) || !venture.archived);
    all.sort_by(|a, b| a.code.cmp(&b.code));
    let wanted: Vec<&Venture> = all.iter().map(|venture| &venture.value).collect();
    let places = checkouts::places(&cx.app, &wanted).await;
    Answer::ok(List::all(all.iter().map(|venture| view(&cx.app, &places, venture)).collect()))
}

pub(crate) async fn put(cx: &Cx, input: VenturePut) -> Handled {
    let code = cx.param("code").to_owned();
    cx.caller.require_venture(Some(&code))?;
    refuse_secrets(secrets::scan_value("", &json!(input)))?;
    let origin = cx.origin();
    // Not while others wait to write.
    let places = checkouts::places_now(&cx.app).await;
    cx.commit(move |draft| {
        let known = draft.reader().get::<Venture>(draft.ids().venture(&code))?;
        let created = known.is_none();
        let before =
            known.map(|venture| venture.value).unwrap_or_else(|| Venture { code: code.clone(), ..Venture::default() });
        let changes: Map<String, Value> = input.meta.clone().into_iter().collect();
        let after = Venture {
            name: input.name.unwrap_or_else(|| if created { code.clone() } else { before.name.clone() }),
            org: input.org.or_else(|| before.org.clone()),
            repos: input.repos.unwrap_or_else(|| before.repos.clone()),
            capabilities: input.capabilities.unwrap_or_else(|| before.capabilities.clone()),
            secrets: input.secrets.or_else(|| before.secrets.clone()),
            settings: input.settings.or_else(|| before.settings.clone()),
            meta: merge_meta(&before.meta, &changes),
            ..before.clone()
        };
        let after = write(draft, &before, after, &origin)?;
        Ok((if created { 201 } else { 200 }, view_of(&places, &after)))
    })
    .await
}

/// Stages the difference of two states of a venture. A new one is one whose `created_at` is 0.
fn write(draft: &mut Draft<'_>, before: &Venture, after: Venture, origin: &Origin) -> Result<Venture, Failure> {
    venture::validate(&after)?;
    let now = draft.now();
    let mut edits = vec![Edit::set("code", after.code.as_str()), Edit::set("name", after.name.as_str())];
    edits.extend(Edit::set_some("org", after.org.clone()));
    for (field, old, new) in
        [("repos", &before.repos, &after.repos), ("capabilities", &before.capabilities, &after.capabilities)]
    {
        edits.extend(new.difference(old).map(|member| Edit::member(field, member.clone())));
        edits.extend(old.difference(new).map(|member| Edit::remove(field, member.clone())));
    }
    edits.extend(after.secrets.as_ref().map(|secrets| Edit::set("secrets", Scalar::json(&json!(secrets)))));
    edits.extend(after.settings.as_ref().map(|settings| Edit::set("settings", Scalar::json(&json!(settings)))));
    let mut meta: Map<String, Value> = after
        .meta
        .iter()
        .filter(|(key, value)| before.meta.get(*key) != Some(value))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    meta.extend(before.meta.keys().filter(|key| !after.meta.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    edits.extend(meta_edits(meta));
    let fresh = before.created_at == Timestamp(0);
    if fresh {
        edits.push(Edit::set("created_at", now));
        edits.push(Edit::set("actor_key_id", origin.actor_key_id.as_str()));
        edits.push(Edit::set("creation_correlation_id", origin.correlation.as_str()));
    }
    if fresh || *before != after {
        edits.push(Edit::set("updated_at", now));
    }
    // In its own space: a node without a right to the venture does not learn that it exists.
    draft.edit(draft.ids().venture(&after.code), &Space::of(Some(&after.code)), edits)?;
    Ok(after)
}

pub(crate) async fn archive(cx: &Cx, input: VentureArchive) -> Handled {
    let code = cx.param("code").to_owned();
    cx.caller.require_venture(Some(&code))?;
    let caller = cx.caller.clone();
    let places = checkouts::places_now(&cx.app).await;
    cx.commit(move |draft| {
        let mut found = require(draft.reader(), &caller, &code)?;
        let archived = input.archived.unwrap_or(true);
        let now = draft.now();
        draft.edit(
            found.id,
            &Space::of(Some(&found.code)),
            [Edit::set("archived", archived), Edit::set("updated_at", now)],
        )?;
        found.value.archived = archived;
        Ok((200, view_of(&places, &found)))
    })
    .await
}

pub(crate) async fn import(cx: &Cx, input: VentureImport) -> Handled {
    cx.caller.require_venture(None)?;
    let text = input.text.ok_or_else(|| Failure::from(ErrorBody::field("text", "is required")))?;
    let wanted = venture::parse_import(&text)?;
    refuse_secrets(secrets::scan_fields([("text".to_owned(), text.as_str())]))?;
    let origin = cx.origin();
    cx.commit(move |draft| {
        let mut reply = VentureImportReply { created: Vec::new(), changed: Vec::new(), unchanged: Vec::new() };
        for entry in wanted {
            let known = draft.reader().get::<Venture>(draft.ids().venture(&entry.code))?;
            let code = entry.code.clone();
            let before = known.map(|venture| venture.value);
            let base = before.clone().unwrap_or_else(|| Venture { code: code.clone(), ..Venture::default() });
            let after = merged(&base, entry);
            let list = match &before {
                None => &mut reply.created,
                Some(before) if *before == after => {
                    reply.unchanged.push(code);
                    continue;
                }
                Some(_) => &mut reply.changed,
            };
            list.push(code);
            write(draft, &base, after, &origin)?;
        }
        Ok((200, reply))
    })
    .await
}

/// An import adds to what is there: a file that lists less does not take away what people set by command.
fn merged(base: &Venture, entry: Venture) -> Venture {
    Venture {
        name: if entry.name.is_empty() { base.name.clone() } else { entry.name },
        org: entry.org.or_else(|| base.org.clone()),
        repos: base.repos.union(&entry.repos).cloned().collect(),
        capabilities: base.capabilities.union(&entry.capabilities).cloned().collect(),
        secrets: entry.secrets.or_else(|| base.secrets.clone()),
        settings: entry.settings.or_else(|| base.settings.clone()),
        meta: base.meta.clone().into_iter().chain(entry.meta).collect(),
        ..base.clone()
    }
}

fn view(app: &App, places: &Places, venture: &Rec<Venture>) -> VentureView {
    let conflicts = who::conflicts(app, &venture.meta.conflicts, app.now());
    VentureView { conflicts, ..view_of(places, &venture.value) }
}

fn view_of(places: &Places, venture: &Venture) -> VentureView {
    VentureView {
        code: venture.code.clone(),
        name: venture.name.clone(),
        org: venture.org.clone(),
        repos: venture.repos.clone(),
        capabilities: venture.capabilities.clone(),
        local_path: places.of(venture).map(|path| path.display().to_string()),
        secrets: venture.secrets.clone(),
        settings: venture.settings.clone(),
        archived: venture.archived,
        meta: venture.meta.clone(),
        conflicts: Vec::new(),
    }
}
