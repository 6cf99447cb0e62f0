//! Events: what happened, for those who work in parallel. They are shown for 30 days.

use ctxnode_api::operations::{EventQuery, EventView};
use ctxnode_api::{Iso, List};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Event, Session};
use ctxnode_model::rules::text::ellipsis;
use ctxnode_model::{Edit, Kind, Rec, Space};
use ctxnode_store::{Draft, Listing};

use super::paging;
use crate::app::{Answer, Cx, Handled, Origin};
use crate::failure::Failure;

/// Characters of an event's line.
const TEXT: usize = 200;
/// How long events are shown, in milliseconds. The rule is the same on every node, so nothing has to be deleted.
const SHOWN_MS: i64 = 30 * 24 * 3_600_000;

/// Stages an event about a session.
pub(super) fn stage(
    draft: &mut Draft<'_>,
    kind: &str,
    session: &Rec<Session>,
    issue: Option<u32>,
    text: &str,
    origin: &Origin,
) -> Result<(), Failure> {
    let mut edits = vec![
        Edit::set("event_kind", kind),
        Edit::set("session_id", session.id.to_string()),
        Edit::set("agent", session.agent.as_str()),
        Edit::set("machine", session.machine.as_str()),
        Edit::set("venture", session.venture.as_str()),
        Edit::set("repo", session.repo.as_str()),
        Edit::set("text", ellipsis(text, TEXT)),
        Edit::set("at", draft.now()),
        Edit::set("actor_key_id", origin.actor_key_id.as_str()),
    ];
    edits.extend(Edit::set_some("issue", issue));
    let space = Space::of(Some(&session.venture));
    Ok(draft.edit(draft.fresh_id(Kind::Event, &space)?, &space, edits)?)
}

pub(crate) async fn list(cx: &Cx, input: EventQuery) -> Handled {
    let window = paging::window(input.limit, input.cursor.as_deref(), Kind::Event)?;
    let now = cx.now();
    let snapshot = cx.read()?;
    let (index, prefix): (Index, Vec<&str>) = match &input.venture {
        Some(venture) => (Index::Venture, vec![venture]),
        None => (Index::All, vec![]),
    };
    let listing = Listing { index, kind: Kind::Event, prefix: &prefix, after: window.after, limit: window.limit };
    let page = snapshot.reader().list_where::<Event>(&listing, |event| {
        cx.caller.sees(Some(&event.venture)) && now.since(event.at) < SHOWN_MS
    })?;
    Answer::ok(List::of(page.map(|event| EventView {
        id: event.id.to_string(),
        kind: event.event_kind.clone(),
        agent: event.agent.clone(),
        machine: event.machine.clone(),
        venture: event.venture.clone(),
        repo: event.repo.clone(),
        issue: event.issue,
        session_id: event.session_id.clone(),
        url: event.url.clone(),
        text: event.text.clone(),
        at: Iso(event.at),
        age: event.at.age(now),
    })))
}
