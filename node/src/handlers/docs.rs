//! Docs: whole revisions in causal order; what people upload stands before what ctxnode generates.

use ctxnode_api::docs::{
    AuditQuery, AuditReply, AuditRow, DocHistoryRow, DocPut, DocPutReply, DocQuery, DocRead, DocReadQuery, DocView,
};
use ctxnode_api::node::{Done, Empty};
use ctxnode_api::notes::DeleteRequest;
use ctxnode_api::sessions::{DocLine, DocText, DocsFull, DocsIndex};
use ctxnode_api::{ErrorBody, ErrorCode, Iso, List};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Doc, DocOrigin, DocRevision, Requirement, Venture};
use ctxnode_model::rules::audit::{AuditStatus, AuditedDoc, DocState, audit as audit_venture};
use ctxnode_model::rules::canonical::sha256_hex;
use ctxnode_model::rules::doc::{DocType, GLOBAL, Pair, Put, PutFields, Stored, decide_put, doc_type, set_hash};
use ctxnode_model::rules::{secrets, text};
use ctxnode_model::{DocumentId, Edit, Ids, Invalid, Kind, Rec, Scalar, Space, Timestamp};
use ctxnode_store::Reader;
use serde_json::json;

use super::sessions::refuse_secrets;
use super::{paging, ventures};
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;

/// Both records of one (scope, name).
struct Both {
    ids: Ids,
    scope: String,
    name: String,
    uploaded: Option<Rec<Doc>>,
    generated: Option<Rec<Doc>>,
}

impl Both {
    fn read(reader: Reader<'_>, scope: &str, name: &str) -> Result<Self, Failure> {
        let ids = reader.ids()?;
        Ok(Self {
            ids,
            scope: scope.to_owned(),
            name: name.to_owned(),
            uploaded: reader.get_even_deleted(ids.doc(scope, name))?,
            generated: reader.get_even_deleted(ids.generated_doc(scope, name))?,
        })
    }

    fn pair(&self) -> Pair<'_> {
        Pair {
            uploaded: self.uploaded.as_ref().map(|rec| Stored { doc: &rec.value, deleted: rec.meta.deleted }),
            generated: self.generated.as_ref().map(|rec| Stored { doc: &rec.value, deleted: rec.meta.deleted }),
        }
    }

    fn id(&self, origin: DocOrigin) -> DocumentId {
        match origin {
            DocOrigin::Uploaded => self.ids.doc(&self.scope, &self.name),
            DocOrigin::Generated => self.ids.generated_doc(&self.scope, &self.name),
        }
    }

    /// The answer for the living state; `None` when there is none.
    fn view(&self, now: Timestamp) -> Option<DocView> {
        let pair = self.pair();
        let view = pair.view()?;
        let living = view.living?;
        let revision = living.revision;
        Some(DocView {
            scope: self.scope.clone(),
            name: self.name.clone(),
            title: revision.title.clone(),
            doc_type: type_name(&self.name).to_owned(),
            origin: living.origin,
            version: view.version(),
            size: revision.size,
            content_hash: revision.hash.clone(),
            updated_at: Iso(revision.at),
            refreshed_at: Iso(living.refreshed_at),
            age: living.refreshed_at.age(now),
            uploaded_by: revision.by.clone(),
            source_repo: revision.source_repo.clone(),
            source_path: revision.source_path.clone(),
            sources: revision.sources.clone(),
        })
    }
}

fn type_name(name: &str) -> &'static str {
    match doc_type(name) {
        Some(DocType::Json) => "json",
        _ => "markdown",
    }
}

fn space_of(scope: &str) -> Space {
    if scope == GLOBAL { Space::Fleet } else { Space::Venture(scope.to_owned()) }
}

fn venture_of(scope: &str) -> Option<&str> {
    (scope != GLOBAL).then_some(scope)
}

fn sees(cx: &Cx, scope: &str) -> bool {
    cx.caller.sees(venture_of(scope))
}

/// The names of all living docs of a scope, sorted.
fn names(reader: Reader<'_>, scope: &str) -> Result<Vec<String>, Failure> {
    let mut names = std::collections::BTreeSet::new();
    for kind in [Kind::Doc, Kind::GeneratedDoc] {
        for doc in reader.newest::<Doc>(Index::Scope, kind, &[scope], usize::MAX)? {
            names.insert(doc.name.clone());
        }
    }
    Ok(names.into_iter().collect())
}

/// The living docs that a venture sees: its own, then the global ones.
fn seen_by(reader: Reader<'_>, venture: Option<&str>) -> Result<Vec<Both>, Failure> {
    let mut out = Vec::new();
    for scope in venture.into_iter().chain([GLOBAL]) {
        for name in names(reader, scope)? {
            out.push(Both::read(reader, scope, &name)?);
        }
    }
    Ok(out)
}

pub(crate) async fn list(cx: &Cx, input: DocQuery) -> Handled {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let mut invalid = Invalid::new();
    let limit = paging::check_limit(&mut invalid, input.limit);
    ventures::finish(cx, invalid, input.venture.iter().map(|code| ("venture".to_owned(), code.as_str())))?;
    if let Some(code) = input.venture.as_ref().filter(|code| !cx.caller.sees(Some(code))) {
        return Err(Failure::new(ErrorCode::Forbidden, format!("this credential may not read `{code}`")));
    }
    let now = cx.now();
    let all: Vec<DocView> =
        seen_by(reader, input.venture.as_deref())?.iter().filter_map(|both| both.view(now)).collect();
    let total = all.len() as u64;
    // The order is by scope and name, which do not move when others write: a place in it stays one when its doc is gone.
    let start = match input.cursor.as_deref() {
        None => 0,
        Some(cursor) => {
            let bad = || ErrorBody::new(ErrorCode::InvalidCursor, "the cursor is not one that this list gave out");
            let (scope, name) = cursor.split_once('/').ok_or_else(bad)?;
            let listed = scope == GLOBAL || Some(scope) == input.venture.as_deref();
            if !listed || doc_type(name).is_none() {
                return Err(bad().into());
            }
            let last = (scope == GLOBAL, name);
            all.partition_point(|doc| (doc.scope == GLOBAL, doc.name.as_str()) <= last)
        }
    };
    let items: Vec<DocView> = all.into_iter().skip(start).take(limit).collect();
    let more = start + items.len() < usize::try_from(total).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|_| more).map(|doc| format!("{}/{}", doc.scope, doc.name));
    Answer::ok(List { shown: items.len(), items, total, has_more: more, next_cursor })
}

fn find(cx: &Cx, reader: Reader<'_>) -> Result<Both, Failure> {
    let (scope, name) = (cx.param("scope"), cx.param("name"));
    let both = Both::read(reader, scope, name)?;
    if sees(cx, scope) && both.view(cx.now()).is_some() {
        return Ok(both);
    }
    let known = if sees(cx, scope) { names(reader, scope)? } else { Vec::new() };
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let close = text::near(name, &known);
    let hint = if close.is_empty() {
        "`doc list` shows what there is".to_owned()
    } else {
        format!("did you mean {}?", close.join(", "))
    };
    Err(ErrorBody::new(ErrorCode::NotFound, format!("doc `{scope}/{name}` does not exist")).hint(hint).into())
}

pub(crate) async fn get(cx: &Cx, input: DocReadQuery) -> Handled {
    let snapshot = cx.read()?;
    let both = find(cx, snapshot.reader())?;
    let now = cx.now();
    let Some(doc) = both.view(now) else { return Err(Failure::not_found("doc", cx.param("name"))) };
    let pair = both.pair();
    let Some(view) = pair.view() else { return Err(Failure::not_found("doc", cx.param("name"))) };
    let wanted = input.version.unwrap_or_else(|| i64::from(view.version()));
    let version = view.history.iter().find(|version| i64::from(version.number) == wanted);
    let version = version.ok_or_else(|| {
        Failure::from(ErrorBody::field("version", format!("this doc has versions 1 to {}", view.version())))
    })?;
    let content = snapshot.body_entry(both.id(version.origin), version.key)?.unwrap_or_default();
    let content = if input.summary_only.unwrap_or(false) { summary(&content) } else { content };
    let piece = paging::piece(&content, input.offset, input.max_chars)?;
    Answer::ok(DocRead {
        doc,
        read_version: version.number,
        content: piece.content,
        offset: piece.offset,
        total_chars: piece.total_chars,
        next_offset: piece.next_offset,
    })
}

/// Headings and the first paragraph.
fn summary(content: &str) -> String {
    let mut out = Vec::new();
    let mut paragraph_done = false;
    let mut in_paragraph = false;
    for line in content.lines() {
        if line.starts_with('#') {
            paragraph_done |= in_paragraph;
            in_paragraph = false;
            out.push(line);
        } else if line.trim().is_empty() {
            paragraph_done |= in_paragraph;
            in_paragraph = false;
        } else if !paragraph_done {
            in_paragraph = true;
            out.push(line);
        }
    }
    out.join("\n")
}

pub(crate) async fn history(cx: &Cx, _: Empty) -> Handled {
    let snapshot = cx.read()?;
    let both = find(cx, snapshot.reader())?;
    let pair = both.pair();
    let versions = pair.view().map(|view| view.history).unwrap_or_default();
    let rows = versions.iter().rev().map(|version| DocHistoryRow {
        version: version.number,
        origin: version.origin,
        content_hash: version.revision.hash.clone(),
        size: version.revision.size,
        at: Iso(version.revision.at),
        by: version.revision.by.clone(),
    });
    Answer::ok(List::all(rows.collect()))
}

pub(crate) async fn put(cx: &Cx, input: DocPut) -> Handled {
    store(cx, input, DocOrigin::Uploaded).await
}

pub(crate) async fn put_generated(cx: &Cx, input: DocPut) -> Handled {
    store(cx, input, DocOrigin::Generated).await
}

async fn store(cx: &Cx, input: DocPut, origin: DocOrigin) -> Handled {
    let (scope, name) = (cx.param("scope").to_owned(), cx.param("name").to_owned());
    let content = input.content.clone().unwrap_or_default();
    let fields = PutFields { scope: &scope, name: &name, title: input.title.as_deref(), content: &content };
    let mut invalid = fields.validate().err().unwrap_or_default();
    invalid.require(input.content.is_some(), "content", "is required");
    ventures::finish(cx, invalid, venture_of(&scope).map(|code| ("scope".to_owned(), code)))?;
    let title = fields.title();
    cx.caller.require_venture(venture_of(&scope))?;
    if !input.allow_secret_like {
        let places = [("source_repo", &input.source_repo), ("source_path", &input.source_path)];
        let mut texts = vec![("content".to_owned(), content.as_str()), ("title".to_owned(), title.as_str())];
        texts.extend(places.iter().filter_map(|(field, text)| Some(((*field).to_owned(), text.as_deref()?))));
        texts.extend(input.sources.iter().enumerate().map(|(at, text)| (format!("sources[{at}]"), text.as_str())));
        refuse_secrets(secrets::scan_fields(texts))?;
    }
    let who = cx.origin();
    cx.commit(move |draft| {
        let reader = draft.reader();
        let both = Both::read(reader, &scope, &name)?;
        let pair = both.pair();
        let view = pair.view();
        let hash = sha256_hex(content.as_bytes());
        let before = view.as_ref().filter(|view| view.living.is_some()).map(|view| view.version());
        let decided = decide_put(view.as_ref(), origin, &hash)
            .map_err(|error| Failure::from(ErrorBody::new(ErrorCode::UploadedDocExists, error.to_string())))?;
        let now = draft.now();
        let id = both.id(origin);
        let space = space_of(&scope);
        let size = content.len() as u64;
        let reply = |version, created, changed| DocPutReply {
            scope: scope.clone(),
            name: name.clone(),
            version,
            content_hash: hash.clone(),
            content_size_bytes: size,
            created,
            changed,
            previous_version: before,
        };
        match decided {
            Put::Refresh => {
                draft.edit(id, &space, [Edit::set("refreshed_at", now)])?;
                Ok((200, reply(before.unwrap_or(1), false, false)))
            }
            Put::Write { created, version } => {
                let known = if origin == DocOrigin::Uploaded { &both.uploaded } else { &both.generated };
                let revision = DocRevision {
                    hash: hash.clone(),
                    size,
                    at: now,
                    by: who.actor_key_id.clone(),
                    title,
                    source_repo: input.source_repo,
                    source_path: input.source_path,
                    sources: input.sources,
                };
                let key = draft.order(&space)?.sort_key();
                let mut edits = vec![
                    Edit::set("refreshed_at", now),
                    Edit::entry("revisions", key.clone(), Scalar::json(&json!(revision))),
                    Edit::entry("contents", key, content.as_str()),
                ];
                if known.is_none() {
                    edits.push(Edit::set("scope", scope.as_str()));
                    edits.push(Edit::set("name", name.as_str()));
                    edits.push(Edit::set("created_at", now));
                    edits.push(Edit::set("actor_key_id", who.actor_key_id.as_str()));
                    edits.push(Edit::set("creation_correlation_id", who.correlation.as_str()));
                }
                draft.edit(id, &space, edits)?;
                if known.as_ref().is_some_and(|rec| rec.meta.deleted) {
                    draft.revive(id)?;
                }
                Ok((if created { 201 } else { 200 }, reply(version, created, true)))
            }
        }
    })
    .await
}

pub(crate) async fn delete(cx: &Cx, _: DeleteRequest) -> Handled {
    let both = find(cx, cx.read()?.reader())?;
    cx.caller.require_venture(venture_of(&both.scope))?;
    cx.commit(move |draft| {
        for (id, known) in
            [(both.id(DocOrigin::Uploaded), &both.uploaded), (both.id(DocOrigin::Generated), &both.generated)]
        {
            if known.as_ref().is_some_and(|rec| !rec.meta.deleted) {
                draft.tombstone(id)?;
            }
        }
        Ok((200, Done { changed: true }))
    })
    .await
}

/// The rows of the audit, over docs and requirements as they are.
fn audited(reader: Reader<'_>, venture: &Venture, now: Timestamp) -> Result<(AuditStatus, Vec<AuditRow>), Failure> {
    let docs: Vec<AuditedDoc> = seen_by(reader, Some(&venture.code))?
        .iter()
        .filter_map(|both| {
            let view = both.view(now)?;
            Some(AuditedDoc {
                scope: view.scope,
                name: view.name,
                origin: view.origin,
                refreshed_at: view.refreshed_at.0,
                sources_changed: false,
            })
        })
        .collect();
    let requirements = reader.all::<Requirement>(Kind::Requirement)?;
    let audit = audit_venture(venture, requirements.iter().map(|requirement| &requirement.value), &docs, now);
    let rows = audit.rows.iter().map(|row| {
        let state = match row.state {
            DocState::Missing => "missing",
            DocState::Stale => "stale",
            DocState::Outdated => "outdated",
            DocState::Present => "present",
        };
        let age = row.age_days.map(|days| if days == 1 { "1 day".to_owned() } else { format!("{days} days") });
        AuditRow { name: row.name.clone(), state: state.to_owned(), required: row.requirement.required, age }
    });
    Ok((audit.status, rows.collect()))
}

pub(crate) async fn audit(cx: &Cx, input: AuditQuery) -> Handled {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let wanted = match &input.venture {
        Some(code) => vec![ventures::require(reader, &cx.caller, code)?],
        None => ventures::all_living(reader)?,
    };
    let mut items = Vec::new();
    for venture in wanted.iter().filter(|venture| cx.caller.sees(Some(&venture.code))) {
        let (status, rows) = audited(reader, venture, cx.now())?;
        let status = match status {
            AuditStatus::Incomplete => "incomplete",
            AuditStatus::Warning => "warning",
            AuditStatus::Complete => "complete",
        };
        items.push(AuditReply { venture: venture.code.clone(), status: status.to_owned(), rows });
    }
    Answer::ok(List::all(items))
}

/// The docs of a start: the first rows, how many there are, and what the audit misses.
pub(super) fn start_index(
    reader: Reader<'_>,
    venture: &Venture,
    most: usize,
    now: Timestamp,
) -> Result<DocsIndex, Failure> {
    // Only as many records are read as are shown; the index counts the rest.
    let mut total = 0;
    let mut items = Vec::new();
    for scope in [venture.code.as_str(), GLOBAL] {
        for kind in [Kind::Doc, Kind::GeneratedDoc] {
            total += reader.count(Index::Scope, kind, &[scope])?;
            for doc in reader.newest::<Doc>(Index::Scope, kind, &[scope], most)? {
                if items.len() >= most {
                    break;
                }
                let Some(revision) = doc.revisions.values().next_back() else { continue };
                items.push(DocLine {
                    scope: scope.to_owned(),
                    name: doc.name.clone(),
                    title: revision.title.clone(),
                    size: revision.size,
                    age: doc.refreshed_at.age(now),
                });
            }
        }
    }
    let requirements = reader.all::<Requirement>(Kind::Requirement)?;
    let mut docs = Vec::new();
    for requirement in requirements.iter().filter(|found| ctxnode_model::rules::requirement::applies(found, venture)) {
        let name = ctxnode_model::rules::requirement::doc_name(requirement, &venture.code);
        for scope in [venture.code.as_str(), GLOBAL] {
            if let Some(view) = Both::read(reader, scope, &name)?.view(now) {
                docs.push(AuditedDoc {
                    scope: view.scope,
                    name: view.name,
                    origin: view.origin,
                    refreshed_at: view.refreshed_at.0,
                    sources_changed: false,
                });
            }
        }
    }
    let audit = audit_venture(venture, requirements.iter().map(|requirement| &requirement.value), &docs, now);
    let of = |state: DocState| -> Vec<String> {
        audit.rows.iter().filter(|row| row.state == state).map(|row| row.name.clone()).collect()
    };
    let (missing, stale) = (of(DocState::Missing), of(DocState::Stale));
    Ok(DocsIndex { shown: items.len(), items, total, missing, stale })
}

/// Every doc with its text, for environments that want all at once.
pub(super) fn full(reader: Reader<'_>, venture: &str) -> Result<DocsFull, Failure> {
    let mut docs = Vec::new();
    for both in seen_by(reader, Some(venture))? {
        let Some(view) = both.view(Timestamp(0)) else { continue };
        let content = reader.body(both.id(view.origin))?.unwrap_or_default();
        docs.push(DocText { scope: view.scope, name: view.name, content, content_hash: view.content_hash });
    }
    let content_hash = set_hash(docs.iter().map(|doc| doc.content_hash.as_str()));
    Ok(DocsFull { count: docs.len(), docs, content_hash })
}
