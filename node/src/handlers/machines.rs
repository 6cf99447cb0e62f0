//! Machines: the registry of hosts. This host's record is kept by its own daemon (`own`), unless it
//! looks like one that was installed anew (`again`); `retire` takes one out of use.

mod again;
mod own;
mod retire;

use std::sync::Arc;

use ctxnode_api::operations::{MachinePut, MachineQuery, MachineView};
use ctxnode_api::{ErrorBody, Iso, List};
use ctxnode_model::record::{Machine, MachineStatus};
use ctxnode_model::rules::machine::{known_as, one_each};
use ctxnode_model::rules::secrets;
use ctxnode_model::rules::session::{check_meta, merge_meta, meta_edits};
use ctxnode_model::{DocumentId, Edit, Invalid, Kind, NodeKey, Rec, Scalar, Space};
use ctxnode_store::Draft;
use serde_json::{Map, Value, json};

pub(super) use again::waiting;
pub(crate) use own::{follow_network, keep as register_this_machine, knows_the_fleet};
pub(super) use retire::give_up_sessions;
pub(crate) use retire::{restore, retire};

use super::sessions::refuse_secrets;
use crate::app::{Answer, App, Cx, Handled};
use crate::failure::Failure;

pub(crate) async fn list(cx: &Cx, input: MachineQuery) -> Handled {
    let all = one_each(&cx.read()?.reader().all::<Machine>(Kind::Machine)?);
    let mut all: Vec<MachineView> = all.iter().map(|machine| view(&cx.app, machine)).collect();
    all.retain(|machine| input.all.unwrap_or(false) || machine.status == MachineStatus::Active);
    Answer::ok(List::all(all))
}

pub(crate) async fn register(cx: &Cx, input: MachinePut) -> Handled {
    cx.caller.require_venture(None)?;
    refuse_secrets(secrets::scan_value("", &json!(input)))?;
    let mut invalid = Invalid::new();
    let mut text = |field: &str, value: &Option<String>| {
        let good = value.as_deref().is_some_and(|value| !value.trim().is_empty() && value.len() <= 255);
        invalid.require(good, field, "is required: a text of 1 to 255 characters");
        value.clone().unwrap_or_default()
    };
    let hostname = text("hostname", &input.hostname);
    let address = text("address", &input.address);
    let user = text("user", &input.user);
    let (os, arch) = (text("os", &input.os), text("arch", &input.arch));
    let word = |value: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    invalid.require(word(&hostname), "hostname", "may hold letters, digits, `.`, `_` and `-`");
    invalid.require(word(&user), "user", "may hold letters, digits, `.`, `_` and `-`");
    let changes: Map<String, Value> = input.meta.clone().into_iter().collect();
    check_meta(&mut invalid, &merge_meta(&std::collections::BTreeMap::new(), &changes));
    invalid.finish()?;
    let (app, origin) = (Arc::clone(&cx.app), cx.origin());
    cx.commit(move |draft| {
        let all = draft.reader().all::<Machine>(Kind::Machine)?;
        // Of several with one name, that of which no daemon keeps the record is meant.
        let is_kept = |machine: &Rec<Machine>| {
            machine.status != MachineStatus::Active
                || machine.node_key.as_deref().is_some_and(|key| !is_revoked(&app, key))
        };
        let same_host = one_each(&all).into_iter().filter(|machine| machine.hostname.eq_ignore_ascii_case(&hostname));
        // Two users of one host have a node each: the own one is meant before the other's.
        let known = same_host.min_by_key(|machine| (is_of_another_daemon(&app, machine), is_kept(machine)));
        if let Some(machine) = known.as_ref().filter(|machine| is_of_another_daemon(&app, machine)) {
            let message =
                format!("is the name of a machine whose own daemon keeps its record (node {})", key_of(machine));
            return Err(ErrorBody::field("hostname", message)
                .hint("run it there, or give this one another name")
                .into());
        }
        let ids = known.as_ref().and_then(|machine| known_as(&all, machine.id)).unwrap_or_default();
        let now = draft.now();
        let id = match &known {
            Some(machine) => machine.id,
            None => draft.fresh_id(Kind::Machine, &Space::Fleet)?,
        };
        let before = known.as_ref().map(|machine| machine.value.clone()).unwrap_or_default();
        let node_key = before.node_key.clone().filter(|key| !is_revoked(&app, key));
        let after = Machine {
            node_key,
            hostname,
            os,
            arch,
            user,
            addresses: vec![address],
            ssh_public_keys: input.ssh_public_keys.unwrap_or_else(|| before.ssh_public_keys.clone()),
            role: input.role.unwrap_or_else(|| if known.is_some() { before.role.clone() } else { "dev".to_owned() }),
            registered_at: if known.is_some() { before.registered_at } else { now },
            meta: merge_meta(&before.meta, &changes),
            ..before.clone()
        };
        let mut edits = edits(&after);
        edits.extend(meta_edits(changes));
        if known.is_none() {
            edits.push(Edit::set("actor_key_id", origin.actor_key_id.as_str()));
            edits.push(Edit::set("creation_correlation_id", origin.correlation.as_str()));
        }
        forget_revoked(draft, &app, &all, &ids)?;
        draft.edit(id, &Space::Fleet, edits)?;
        Ok((if known.is_some() { 200 } else { 201 }, view_of(&app, &id.to_string(), &after)))
    })
    .await
}

fn edits(machine: &Machine) -> Vec<Edit> {
    let mut edits = vec![
        Edit::set("hostname", machine.hostname.as_str()),
        Edit::set("os", machine.os.as_str()),
        Edit::set("arch", machine.arch.as_str()),
        Edit::set("user", machine.user.as_str()),
        Edit::set("addresses", Scalar::json(&json!(machine.addresses))),
        Edit::set("ssh_public_keys", Scalar::json(&json!(machine.ssh_public_keys))),
        Edit::set("role", machine.role.as_str()),
        Edit::set("status", if machine.status == MachineStatus::Retired { "retired" } else { "active" }),
        Edit::set("registered_at", machine.registered_at),
    ];
    edits.extend(Edit::set_some("node_key", machine.node_key.clone()));
    edits.extend(Edit::set_some("version", machine.version.clone()));
    edits.extend(Edit::set_some("commit", machine.commit.clone()));
    edits.extend(Edit::set_some("ctxnode_path", machine.ctxnode_path.clone()));
    edits
}

/// Whether another member's daemon keeps a record: then nobody else knows better what it says.
fn is_of_another_daemon(app: &App, machine: &Rec<Machine>) -> bool {
    let own = app.store.node().to_string();
    machine.status == MachineStatus::Active
        && machine.node_key.as_deref().is_some_and(|key| key != own && !is_revoked(app, key))
}

/// The beginning of the key of a machine's node.
fn key_of(machine: &Machine) -> &str {
    machine.node_key.as_deref().map_or("", |key| key.get(..8).unwrap_or(key))
}

fn is_revoked(app: &App, key: &str) -> bool {
    key.parse::<NodeKey>().is_ok_and(|key| app.store.authority().revoked().any(|revoked| revoked == key))
}

/// Takes the keys of revoked nodes out of the records of a machine that somebody puts back into use: it reads retired as
/// long as it names one, and goes on without a daemon, or with the node that it joins as anew.
fn forget_revoked(draft: &mut Draft<'_>, app: &App, all: &[Rec<Machine>], ids: &[DocumentId]) -> Result<(), Failure> {
    for record in all.iter().filter(|record| ids.contains(&record.id)) {
        if record.node_key.as_deref().is_some_and(|key| is_revoked(app, key)) {
            draft.edit(record.id, &Space::Fleet, [Edit::Unset { field: "node_key" }])?;
        }
    }
    Ok(())
}

fn view(app: &App, machine: &Rec<Machine>) -> MachineView {
    view_of(app, &machine.id.to_string(), &machine.value)
}

fn view_of(app: &App, id: &str, machine: &Machine) -> MachineView {
    // A machine whose node is out of the fleet is out of use, whatever its record says: asked here, the two cannot differ.
    let revoked = machine.node_key.as_deref().is_some_and(|key| is_revoked(app, key));
    MachineView {
        id: id.to_owned(),
        hostname: machine.hostname.clone(),
        os: machine.os.clone(),
        arch: machine.arch.clone(),
        user: machine.user.clone(),
        addresses: machine.addresses.clone(),
        ssh_public_keys: machine.ssh_public_keys.clone(),
        node_key: machine.node_key.clone(),
        role: machine.role.clone(),
        version: machine.version.clone(),
        commit: machine.commit.clone(),
        ctxnode_path: machine.ctxnode_path.clone(),
        status: if revoked { MachineStatus::Retired } else { machine.status },
        revoked,
        registered_at: Iso(machine.registered_at),
        this_machine: machine.node_key.as_deref() == Some(app.store.node().to_string().as_str()),
        meta: machine.meta.clone(),
    }
}
