//! The operations: decode the input, ask the rules, read or write the store, answer. One file per area.

mod arrivals;
mod attention;
mod claims;
mod conflicts;
mod context;
mod docs;
mod drafts;
mod errors;
mod escalations;
mod events;
mod export;
mod field;
mod fleet;
mod git_view;
mod handoffs;
mod hooks;
mod machines;
mod node;
mod notes;
mod paging;
mod plan;
mod preflight;
mod quarantine;
mod records;
mod requirements;
mod search;
mod sessions;
mod spans;
mod start;
mod tokens;
mod ventures;
mod who;

use ctxnode_api::shape::decode;
use serde_json::Value;

use crate::app::{Cx, Handled};

macro_rules! operations {
    ($cx:ident, $input:ident, { $($operation:literal => $module:ident :: $function:ident),* $(,)? }) => {
        match $cx.route.operation {
            $($operation => $module::$function($cx, decode($cx.route, $input)?).await,)*
            other => unreachable_operation(other),
        }
    };
}

/// Runs the operation of a call.
pub(crate) async fn dispatch(cx: &Cx, input: Value) -> Handled {
    operations!(cx, input, {
        "health" => node::health,
        "sod" => start::sod,
        "eod" => handoffs::eod,
        "update" => sessions::update,
        "heartbeat" => sessions::heartbeat,
        "hook" => hooks::hook,
        "session.expect" => start::expect,
        "session.list" => sessions::list,
        "session.get" => sessions::get,
        "session.abandon" => sessions::abandon,
        "session.draft" => drafts::draft,
        "context" => context::context,
        "handoff.list" => handoffs::list,
        "handoff.latest" => handoffs::latest,
        "handoff.get" => handoffs::get,
        "handoff.close" => handoffs::close,
        "note.list" => notes::list,
        "note.tags" => notes::tags,
        "note.get" => notes::get,
        "note.history" => notes::history,
        "note.resolve" => records::resolve_note,
        "note.revert" => notes::revert,
        "note.create" => notes::create,
        "note.update" => notes::update,
        "note.archive" => notes::archive,
        "note.restore" => notes::restore,
        "note.delete" => notes::delete,
        "record.history" => records::history,
        "record.resolve" => records::resolve,
        "search" => search::search,
        "doc.list" => docs::list,
        "doc.audit" => docs::audit,
        "doc.get" => docs::get,
        "doc.history" => docs::history,
        "doc.put" => docs::put,
        "doc.put-generated" => docs::put_generated,
        "doc.delete" => docs::delete,
        "requirement.list" => requirements::list,
        "requirement.put" => requirements::put,
        "requirement.delete" => requirements::delete,
        "claim.list" => claims::list,
        "claim.take" => claims::take,
        "claim.release" => claims::release,
        "claim.release-id" => claims::release_id,
        "machine.list" => machines::list,
        "machine.register" => machines::register,
        "machine.retire" => machines::retire,
        "machine.restore" => machines::restore,
        "venture.list" => ventures::list,
        "venture.put" => ventures::put,
        "venture.archive" => ventures::archive,
        "venture.import" => ventures::import,
        "plan.get" => plan::get,
        "plan.put" => plan::put,
        "escalation.list" => escalations::list,
        "escalation.create" => escalations::create,
        "escalation.resolve" => escalations::resolve,
        "event.list" => events::list,
        "preflight" => preflight::preflight,
        "node" => node::node,
        "node.check" => node::check,
        "node.backup" => node::backup,
        "node.export" => node::export,
        "node.stop" => node::stop,
        "node.handover" => node::handover,
        "quarantine.list" => quarantine::list,
        "waiting.list" => quarantine::waiting,
        "quarantine.accept" => fleet::accept,
        "peer.list" => fleet::peers,
        "peer.wake" => fleet::wake,
        "alert.acknowledge" => fleet::acknowledge,
        "field.get" => field::get,
        "field.on" => field::on,
        "field.off" => field::off,
        "peer.revoke" => fleet::revoke,
        "peer.role" => fleet::role,
        "fleet.recover" => fleet::recover,
        "invite.create" => fleet::invite,
        "invite.list" => fleet::invites,
        "invite.withdraw" => fleet::withdraw,
        "token.list" => tokens::list,
        "token.create" => tokens::create,
        "token.revoke" => tokens::revoke,
        "request-log" => tokens::request_log,
        "openapi" => node::openapi,
    })
}

/// The table of routes and the table above are compared by a test; this is for the time between two commits.
fn unreachable_operation(operation: &str) -> Handled {
    Err(crate::failure::Failure::new(
        ctxnode_api::ErrorCode::UnknownRoute,
        format!("operation `{operation}` is not part of this build"),
    ))
}

pub(crate) use arrivals::Arrivals;
pub(crate) use claims::news as claim_news;
pub(crate) use conflicts::look as look_for_conflicts;
pub(crate) use hooks::{Memory as HookMemory, Spooled, apply_spooled, look_later};
pub(crate) use machines::{follow_network, knows_the_fleet, register_this_machine};
pub(crate) use node::{last_backup, run_backup};
pub(crate) use requirements::seed as seed_requirement;
pub(crate) use sessions::{sweep, touch};
pub(crate) use start::{expectations, is_old_expectation};
