//! Machines: the registry of hosts. This host's record is kept by its own daemon.

use std::sync::Arc;

use ctxnode_api::operations::{MachinePut, MachineQuery, MachineView, PlainAction};
use ctxnode_api::{Iso, List, version};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Machine, MachineStatus};
use ctxnode_model::rules::secrets;
use ctxnode_model::rules::session::{check_meta, merge_meta, meta_edits};
use ctxnode_model::{Edit, Invalid, Kind, Rec, Scalar, Space};
use serde_json::{Map, Value, json};

use super::paging;
use super::sessions::refuse_secrets;
use crate::app::{Answer, App, Cx, Handled};
use crate::failure::Failure;

pub(crate) async fn list(cx: &Cx, input: MachineQuery) -> Handled {
    let mut all = cx.read()?.reader().all::<Machine>(Kind::Machine)?;
    all.retain(|machine| input.all.unwrap_or(false) || machine.status == MachineStatus::Active);
    all.sort_by(|a, b| (&a.hostname, a.id).cmp(&(&b.hostname, b.id)));
    Answer::ok(List::all(all.iter().map(|machine| view(&cx.app, machine)).collect()))
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
        let known = draft.reader().newest::<Machine>(Index::Host, Kind::Machine, &[&hostname], 10)?;
        let known = known.into_iter().min_by_key(|machine| machine.id);
        let now = draft.now();
        let id = known.as_ref().map_or_else(|| draft.fresh_id(Kind::Machine), |machine| machine.id);
        let before = known.as_ref().map(|machine| machine.value.clone()).unwrap_or_default();
        let after = Machine {
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

/// Registers this machine, or brings its record up to date. Equal values make no entry.
pub(crate) async fn register_this(app: &Arc<App>) -> Result<(), Failure> {
    let key = app.store.node().to_string();
    let facts = Machine {
        hostname: app.host.hostname.clone(),
        os: app.host.os.to_owned(),
        arch: app.host.arch.to_owned(),
        user: app.host.user.clone(),
        addresses: vec![format!("{}.local", app.host.hostname.trim_end_matches(".local"))],
        ssh_public_keys: public_keys(&app.config.paths.home),
        node_key: Some(key.clone()),
        version: Some(version::VERSION.to_owned()),
        commit: Some(version::COMMIT.to_owned()),
        ctxnode_path: std::env::current_exe().ok().map(|path| path.display().to_string()),
        ..Machine::default()
    };
    let done = app.store.write(move |draft| {
        let all = draft.reader().all::<Machine>(Kind::Machine)?;
        let known = all.into_iter().find(|machine| machine.node_key.as_deref() == Some(&key));
        let now = draft.now();
        let (id, machine) = match known {
            Some(known) => {
                let before = known.value.clone();
                (
                    known.id,
                    Machine { role: before.role, registered_at: before.registered_at, status: before.status, ..facts },
                )
            }
            None => (draft.fresh_id(Kind::Machine), Machine { role: "dev".to_owned(), registered_at: now, ..facts }),
        };
        draft.edit(id, &Space::Fleet, edits(&machine))?;
        Ok::<(), Failure>(())
    });
    done.await?;
    Ok(())
}

/// The public halves of the user's SSH keys.
fn public_keys(home: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(home.join(".ssh")).into_iter().flatten().flatten();
    let mut keys: Vec<String> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| text.lines().next().map(|line| line.trim().to_owned()))
        .filter(|line| line.starts_with("ssh-") || line.starts_with("ecdsa-"))
        .collect();
    keys.sort();
    keys
}

pub(crate) async fn retire(cx: &Cx, _: PlainAction) -> Handled {
    set_status(cx, MachineStatus::Retired).await
}

pub(crate) async fn restore(cx: &Cx, _: PlainAction) -> Handled {
    set_status(cx, MachineStatus::Active).await
}

async fn set_status(cx: &Cx, status: MachineStatus) -> Handled {
    let id = paging::id(Kind::Machine, "id", cx.param("id"))?;
    let found = cx.read()?.reader().get::<Machine>(id)?;
    let mut found = found.ok_or_else(|| Failure::not_found("machine", &id.to_string()))?;
    let app = Arc::clone(&cx.app);
    cx.commit(move |draft| {
        let word = if status == MachineStatus::Retired { "retired" } else { "active" };
        draft.edit(id, &Space::Fleet, [Edit::set("status", word)])?;
        found.value.status = status;
        Ok((200, view(&app, &found)))
    })
    .await
}

fn view(app: &App, machine: &Rec<Machine>) -> MachineView {
    view_of(app, &machine.id.to_string(), &machine.value)
}

fn view_of(app: &App, id: &str, machine: &Machine) -> MachineView {
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
        status: machine.status,
        registered_at: Iso(machine.registered_at),
        this_machine: machine.node_key.as_deref() == Some(app.store.node().to_string().as_str()),
        meta: machine.meta.clone(),
    }
}
