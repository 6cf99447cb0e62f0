//! Search over notes, docs and handoffs.

use ctxnode_api::notes::{SearchHit, SearchKind as ApiKind, SearchQuery, SearchReply};
use ctxnode_api::{ErrorBody, ErrorCode};
use ctxnode_model::rules::handoff::parse_status;
use ctxnode_model::{Invalid, Timestamp};
use ctxnode_search::{Hit, Query, SearchError, SearchKind};

use super::{paging, ventures};
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;

/// The statuses of a handoff, as a caller may write them.
const STATUSES: &str = "`in_progress`, `blocked` or `done`";

pub(crate) async fn search(cx: &Cx, input: SearchQuery) -> Handled {
    if !cx.app.search.is_enabled() {
        let error = ErrorBody::new(ErrorCode::Stale, "search is switched off on this machine");
        return Err(error.hint("set `[search] enabled = true` in the configuration and restart the daemon").into());
    }
    let query = query(cx, input)?;
    if let Some(code) = query.venture.as_ref().filter(|code| !cx.caller.sees(Some(code))) {
        return Err(Failure::new(ErrorCode::Forbidden, format!("this credential may not read `{code}`")));
    }
    let now = cx.now();
    let app = std::sync::Arc::clone(&cx.app);
    let searched = tokio::task::spawn_blocking(move || app.search.search(&query, now)).await;
    let results = searched.map_err(|_| Failure::new(ErrorCode::Internal, "the search failed inside ctxnode"))?;
    let results = results.map_err(failed)?;
    Answer::ok(SearchReply {
        shown: results.hits.len(),
        total: results.total as u64,
        has_more: results.next.is_some(),
        next_cursor: results.next.map(|offset| offset.to_string()),
        items: results.hits.into_iter().map(|hit| row(hit, now)).collect(),
        incomplete: incomplete(cx, results.total == 0)?,
    })
}

/// Checks every field, so that one answer names all that are wrong.
fn query(cx: &Cx, input: SearchQuery) -> Result<Query, Failure> {
    let mut invalid = Invalid::new();
    let text = input.q.unwrap_or_default();
    if let Err(error) = ctxnode_search::parse(&text) {
        invalid.add("q", error.to_string());
    }
    let limit = paging::check_limit(&mut invalid, input.limit);
    let offset = input.cursor.as_deref().map_or(Some(0), |cursor| cursor.parse().ok());
    invalid.require(offset.is_some(), "cursor", "is not one that a search gave out; begin again without it");
    let status = input.status.as_deref();
    invalid.require(
        status.is_none_or(|status| parse_status(status).is_some()),
        "status",
        format!("expected {STATUSES}"),
    );
    ventures::finish(cx, invalid, input.venture.iter().map(|code| ("venture".to_owned(), code.as_str())))?;
    Ok(Query {
        text,
        kinds: input.kinds.into_iter().map(kind).collect(),
        venture: input.venture,
        include_global: input.include_global.unwrap_or(true),
        visible: cx.caller.ventures.as_ref().map(|ventures| ventures.iter().cloned().collect()),
        repo: input.repo,
        tags: input.tags,
        status: input.status,
        since: input.since.map(|iso| iso.0.0),
        until: input.until.map(|iso| iso.0.0),
        include_archived: input.include_archived.unwrap_or(false),
        limit,
        offset: offset.unwrap_or(0),
    })
}

fn kind(kind: ApiKind) -> SearchKind {
    match kind {
        ApiKind::Note => SearchKind::Note,
        ApiKind::Doc => SearchKind::Doc,
        ApiKind::Handoff => SearchKind::Handoff,
    }
}

fn row(hit: Hit, now: Timestamp) -> SearchHit {
    SearchHit {
        kind: match hit.kind {
            SearchKind::Note => ApiKind::Note,
            SearchKind::Doc => ApiKind::Doc,
            SearchKind::Handoff => ApiKind::Handoff,
        },
        id: hit.id,
        title: hit.title,
        snippet: hit.snippet,
        highlights: hit.highlights,
        venture: hit.venture,
        age: Timestamp(hit.time_ms).age(now),
        score: hit.score,
        superseded: hit.superseded,
    }
}

fn failed(error: SearchError) -> Failure {
    match error {
        SearchError::Query(error) => ErrorBody::field("q", error.to_string()).into(),
        error => {
            tracing::error!(%error, "a search failed");
            let body = ErrorBody::new(ErrorCode::StorageFailed, "the search index failed; it is being made again");
            body.hint("search again in a moment").into()
        }
    }
}

/// Says how much is missing while the index is far behind; a write of this moment is no news. But that nothing was found is
/// said only of what was looked at.
fn incomplete(cx: &Cx, found_nothing: bool) -> Result<Option<String>, Failure> {
    /// The journal rows that a busy machine may be behind within the time that a write may take to be findable.
    const USUAL: u64 = 500;
    let state = cx.app.search.state();
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let behind = reader.journal_end()?.saturating_sub(state.watermark);
    if behind == 0 || (behind <= USUAL && !found_nothing) {
        return Ok(None);
    }
    let all = crate::search_index::searchable(reader)?;
    if behind <= USUAL && state.documents >= all {
        return Ok(None);
    }
    Ok(Some(format!("index incomplete: {} of {all}", state.documents.min(all))))
}
