//! The weekly plan: one record, the newest state is the present one.

use ctxnode_api::node::Empty;
use ctxnode_api::operations::{PlanPut, PlanReply};
use ctxnode_api::{ErrorBody, ErrorCode, Iso};
use ctxnode_model::record::{Plan, PlanState, Venture};
use ctxnode_model::rules::plan::{PlanFields, PlanFreshness, display, freshness, is_older};
use ctxnode_model::rules::secrets;
use ctxnode_model::{Edit, Kind, Scalar, Space, Timestamp};
use ctxnode_store::Reader;
use serde_json::json;

use super::sessions::refuse_secrets;
use super::ventures;
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;

/// What is shown of a venture that is not known here, or that the caller does not see.
const UNNAMED: &str = "a venture that this machine does not read";

pub(crate) async fn get(cx: &Cx, _: Empty) -> Handled {
    let state = current(cx.read()?.reader(), |code| cx.caller.sees(Some(code)))?;
    Answer::ok(reply(state.as_ref(), cx.now()))
}

/// Returns the present state, with the name of its venture where that is known and seen.
pub(super) fn current(reader: Reader<'_>, sees: impl Fn(&str) -> bool) -> Result<Option<PlanState>, Failure> {
    let plan = reader.get::<Plan>(reader.ids()?.plan())?;
    let state = plan.as_ref().and_then(|plan| present(plan));
    state.map(|state| named(reader, state, sees)).transpose()
}

/// Returns the present state as it is stored.
fn present(plan: &Plan) -> Option<PlanState> {
    let mut state = plan.current()?.clone();
    if state.priority_space.is_none() && state.priority_venture.is_empty() {
        // A build that does not know spaces has confirmed it, and dropped what it does not know.
        state.priority_space = plan.states.values().rev().find_map(|state| state.priority_space);
    }
    Some(state)
}

fn named(reader: Reader<'_>, state: PlanState, sees: impl Fn(&str) -> bool) -> Result<PlanState, Failure> {
    let known = match state.priority_space {
        Some(space) => {
            let (ids, all) = (reader.ids()?, reader.all::<Venture>(Kind::Venture)?);
            let known = all.iter().find(|venture| ids.space(&Space::of(Some(&venture.code))) == space);
            known.map(|venture| venture.code.clone())
        }
        // Earlier builds wrote the name itself.
        None if state.priority_venture.is_empty() => return Ok(state),
        None => Some(state.priority_venture.clone()),
    };
    let priority_venture = known.filter(|code| sees(code)).unwrap_or_else(|| UNNAMED.to_owned());
    Ok(PlanState { priority_venture, ..state })
}

pub(crate) async fn put(cx: &Cx, input: PlanPut) -> Handled {
    cx.caller.require_venture(None)?;
    refuse_secrets(secrets::scan_value("", &json!(input)))?;
    let by = cx.caller.agent.clone();
    cx.commit(move |draft| {
        let reader = draft.reader();
        let now = draft.now();
        let known = reader.get::<Plan>(draft.ids().plan())?;
        let current = known.as_ref().and_then(|plan| present(plan));
        let at = input.as_of.map_or(now, |time| time.0);
        if !input.force && is_older(current.as_ref(), at) {
            let message = "the present plan is newer than this state";
            return Err(ErrorBody::new(ErrorCode::Stale, message)
                .hint("pass `force: true` to write it all the same")
                .into());
        }
        let created_at = current.as_ref().map_or(at, |state| state.created_at);
        let state = if input.touch {
            let current = current.ok_or_else(|| Failure::new(ErrorCode::NotFound, "there is no plan to confirm"))?;
            // As it is stored: what is shown may have no name for its venture.
            PlanState { updated_at: at, updated_by: by, ..current }
        } else {
            let fields = PlanFields {
                priority_venture: input.priority_venture.unwrap_or_default(),
                secondary_focus: input.secondary_focus,
                target_issues: input.target_issues,
                capacity_notes: input.capacity_notes,
            };
            let all = ventures::all_living(reader)?;
            let codes: Vec<&str> = all.iter().map(|venture| venture.code.as_str()).collect();
            fields.validate(&codes)?;
            PlanState {
                priority_space: Some(draft.space_id(&Space::of(Some(&fields.priority_venture)))),
                priority_venture: String::new(),
                secondary_focus: fields.secondary_focus,
                target_issues: fields.target_issues,
                capacity_notes: fields.capacity_notes,
                created_at,
                updated_at: at,
                updated_by: by,
            }
        };
        let key = draft.order(&Space::Fleet)?.sort_key();
        draft.edit(draft.ids().plan(), &Space::Fleet, [Edit::entry("states", key, Scalar::json(&json!(state)))])?;
        // Who may write the plan is limited to no venture.
        Ok((200, reply(Some(&named(reader, state, |_| true)?), now)))
    })
    .await
}

/// Makes the answer for the present state.
pub(super) fn reply(state: Option<&PlanState>, now: Timestamp) -> PlanReply {
    let name = match freshness(state, now) {
        PlanFreshness::Valid => "valid",
        PlanFreshness::Stale => "stale",
        PlanFreshness::Missing => "missing",
    };
    PlanReply {
        state: name.to_owned(),
        display: display(state, now),
        priority_venture: state.map(|state| state.priority_venture.clone()),
        secondary_focus: state.and_then(|state| state.secondary_focus.clone()),
        target_issues: state.map(|state| state.target_issues.clone()).unwrap_or_default(),
        capacity_notes: state.and_then(|state| state.capacity_notes.clone()),
        updated_at: state.map(|state| Iso(state.updated_at)),
        age: state.map(|state| state.updated_at.age(now)),
        updated_by: state.map(|state| state.updated_by.clone()),
    }
}
