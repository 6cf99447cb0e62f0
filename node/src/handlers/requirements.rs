//! Doc requirements: one record for each (pattern, scope type, venture).

use ctxnode_api::List;
use ctxnode_api::docs::{RequirementPut, RequirementView};
use ctxnode_api::node::{Done, Empty};
use ctxnode_api::notes::DeleteRequest;
use ctxnode_model::record::Requirement;
use ctxnode_model::rules::requirement::{id as id_of, scope_name, validate};
use ctxnode_model::rules::{limits::STALENESS_DAYS, secrets};
use ctxnode_model::{DocumentId, Edit, Kind, Scalar, Space};
use ctxnode_store::{Draft, StoreError};
use serde_json::json;

use super::sessions::refuse_secrets;
use super::{paging, ventures};
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;

pub(crate) async fn list(cx: &Cx, _: Empty) -> Handled {
    let mut all = cx.read()?.reader().all::<Requirement>(Kind::Requirement)?;
    all.retain(|requirement| cx.caller.sees(requirement.scope_venture.as_deref()));
    all.sort_by(|a, b| (&a.name_pattern, a.scope_type).cmp(&(&b.name_pattern, b.scope_type)));
    Answer::ok(List::all(all.iter().map(|found| view(found.id, &found.value)).collect()))
}

pub(crate) async fn put(cx: &Cx, input: RequirementPut) -> Handled {
    refuse_secrets(secrets::scan_value("", &json!(input)))?;
    let origin = cx.origin();
    let days = input.staleness_days.unwrap_or_else(|| i64::from(STALENESS_DAYS));
    // What does not fit is out of range as well.
    let staleness_days = u32::try_from(days).unwrap_or(0);
    let requirement = Requirement {
        name_pattern: input.name_pattern.unwrap_or_default(),
        scope_type: input.scope_type.unwrap_or_default(),
        scope_venture: input.scope_venture,
        required: input.required.unwrap_or(true),
        condition: input.condition,
        staleness_days,
        auto_generate: input.auto_generate.unwrap_or(false),
        generation_sources: input.generation_sources,
        description: input.description,
        actor_key_id: origin.actor_key_id,
        ..Requirement::default()
    };
    let invalid = validate(&requirement).err().unwrap_or_default();
    let named = requirement.scope_venture.as_deref();
    ventures::finish(cx, invalid, named.map(|code| ("scope_venture".to_owned(), code)))?;
    cx.caller.require_venture(requirement.scope_venture.as_deref())?;
    cx.commit(move |draft| {
        let id = id_of(&draft.ids(), &requirement);
        let known = draft.reader().get_even_deleted::<Requirement>(id)?;
        write(draft, &requirement)?;
        if known.as_ref().is_some_and(|known| known.meta.deleted) {
            draft.revive(id)?;
        }
        Ok((if known.is_some() { 200 } else { 201 }, view(id, &requirement)))
    })
    .await
}

pub(crate) async fn delete(cx: &Cx, _: DeleteRequest) -> Handled {
    let id = paging::id(Kind::Requirement, "id", cx.param("id"))?;
    let found = cx.read()?.reader().get::<Requirement>(id)?;
    let found = found.ok_or_else(|| Failure::not_found("requirement", &id.to_string()))?;
    cx.caller.require_venture(found.scope_venture.as_deref())?;
    cx.commit(move |draft| {
        draft.tombstone(id)?;
        Ok((200, Done { changed: true }))
    })
    .await
}

/// Writes a requirement of the release once, when a fleet is made; never over one that is there.
pub(crate) fn seed(draft: &mut Draft<'_>, requirement: &Requirement) -> Result<(), StoreError> {
    if draft.reader().get_even_deleted::<Requirement>(id_of(&draft.ids(), requirement))?.is_none() {
        write(draft, requirement)?;
    }
    Ok(())
}

fn write(draft: &mut Draft<'_>, requirement: &Requirement) -> Result<(), StoreError> {
    let edits = [
        Edit::set("name_pattern", requirement.name_pattern.as_str()),
        Edit::set("scope_type", scope_name(requirement.scope_type)),
        Edit::set_or_unset("scope_venture", requirement.scope_venture.clone()),
        Edit::set("required", requirement.required),
        Edit::set_or_unset("condition", requirement.condition.clone()),
        Edit::set("staleness_days", requirement.staleness_days),
        Edit::set("auto_generate", requirement.auto_generate),
        Edit::set("generation_sources", Scalar::json(&json!(requirement.generation_sources))),
        Edit::set_or_unset("description", requirement.description.clone()),
        Edit::set("actor_key_id", requirement.actor_key_id.as_str()),
        Edit::set("updated_at", draft.now()),
    ];
    draft.edit(id_of(&draft.ids(), requirement), &Space::of(requirement.scope_venture.as_deref()), edits)
}

fn view(id: DocumentId, requirement: &Requirement) -> RequirementView {
    RequirementView {
        id: id.to_string(),
        name_pattern: requirement.name_pattern.clone(),
        scope_type: requirement.scope_type,
        scope_venture: requirement.scope_venture.clone(),
        required: requirement.required,
        condition: requirement.condition.clone(),
        staleness_days: requirement.staleness_days,
        auto_generate: requirement.auto_generate,
        generation_sources: requirement.generation_sources.clone(),
        description: requirement.description.clone(),
    }
}
