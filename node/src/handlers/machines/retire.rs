//! Taking a machine out of use, and back. A retired machine's node is revoked and its sessions are given up, in one
//! transaction: there is no moment at which it is out of lists and still writes.

use std::sync::Arc;

use ctxnode_api::operations::PlainAction;
use ctxnode_api::{ErrorBody, ErrorCode};
use ctxnode_model::index::Index;
use ctxnode_model::record::{EndReason, Machine, MachineStatus, Session};
use ctxnode_model::rules::machine::{known_as, one_each};
use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Rec, Space};
use ctxnode_store::{ControlOp, Draft, Role};

use super::super::{paging, sessions};
use super::{forget_revoked, is_revoked, view};
use crate::app::{App, Cx, Handled, Origin};
use crate::failure::Failure;

/// A machine with every id under which it is known.
struct Found {
    all: Vec<Rec<Machine>>,
    machine: Rec<Machine>,
    ids: Vec<DocumentId>,
}

fn find(cx: &Cx) -> Result<Found, Failure> {
    let id = paging::id(Kind::Machine, "id", cx.param("id"))?;
    let all = cx.read()?.reader().all::<Machine>(Kind::Machine)?;
    let missing = || Failure::not_found("machine", &id.to_string());
    let ids = known_as(&all, id).ok_or_else(missing)?;
    let machine = one_each(&all).into_iter().find(|machine| ids.contains(&machine.id)).ok_or_else(missing)?;
    Ok(Found { all, machine, ids })
}

pub(crate) async fn retire(cx: &Cx, _: PlainAction) -> Handled {
    let found = find(cx)?;
    let node = found.machine.node_key.as_deref().and_then(|key| key.parse::<NodeKey>().ok());
    if node == Some(cx.app.store.node()) {
        return Err(Failure::from(ErrorBody::field("id", "is this machine: retire it from another one")));
    }
    let authority = cx.app.store.authority();
    // Any writer may write a machine record: what it names as its key must not cost an admin its place.
    if let Some(admin) = node.filter(|node| authority.role(node) == Some(Role::Admin)) {
        let name =
            authority.name(&admin).filter(|name| !name.is_empty()).map_or_else(|| admin.to_string(), str::to_owned);
        let message = format!("the record names the key of {name}, which is an admin of the fleet");
        let hint = format!(
            "if that node is meant, `ctxnode revoke {name}` takes it out: the machine then reads retired, and its sessions and \
             claims end"
        );
        return Err(ErrorBody::new(ErrorCode::Forbidden, message).hint(hint).into());
    }
    let (app, origin) = (Arc::clone(&cx.app), cx.origin());
    cx.commit(move |draft| {
        if let Some(node) = node {
            give_up_sessions(draft, &app, node, &origin)?;
            if app.store.authority().role(&node).is_some() {
                let cuts = draft.cuts_of(node)?;
                draft.control(&ControlOp::Revoke { node, cuts })?;
            }
        }
        set_status(draft, &app, found, MachineStatus::Retired)
    })
    .await
}

/// Puts a machine back into lists. A node that was revoked stays so, and the record lets go of it: the machine comes back by
/// a new invitation, and its daemon then takes this record over.
pub(crate) async fn restore(cx: &Cx, _: PlainAction) -> Handled {
    let mut found = find(cx)?;
    let app = Arc::clone(&cx.app);
    cx.commit(move |draft| {
        forget_revoked(draft, &app, &found.all, &found.ids)?;
        found.machine.value.node_key.take_if(|key| is_revoked(&app, key));
        set_status(draft, &app, found, MachineStatus::Active)
    })
    .await
}

fn set_status(
    draft: &mut Draft<'_>,
    app: &App,
    mut found: Found,
    status: MachineStatus,
) -> Result<(u16, ctxnode_api::operations::MachineView), Failure> {
    let word = if status == MachineStatus::Retired { "retired" } else { "active" };
    for id in &found.ids {
        draft.edit(*id, &Space::Fleet, [Edit::set("status", word)])?;
    }
    found.machine.value.status = status;
    let mut view = view(app, &found.machine);
    // The transaction that revokes its node is the one that this is part of.
    view.revoked |= status == MachineStatus::Retired && view.node_key.is_some();
    Ok((200, view))
}

/// Gives up the sessions of a node that is taken out. Its claims end with them.
pub(in crate::handlers) fn give_up_sessions(
    draft: &mut Draft<'_>,
    app: &App,
    node: NodeKey,
    origin: &Origin,
) -> Result<(), Failure> {
    let key = node.to_string();
    let now = draft.now();
    let open = draft.reader().newest::<Session>(Index::SessionOpenAll, Kind::Session, &[], usize::MAX)?;
    for session in open.iter().filter(|session| session.node == key) {
        sessions::give_up(draft, app, session, now, EndReason::Admin, origin)?;
    }
    Ok(())
}
