//! The record of this host, kept by its own daemon: written when the node may write and when it knows where it listens,
//! and only when something in it changed. A host that looks like one that was installed anew waits for an admin.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ctxnode_api::version;
use ctxnode_fleet::network;
use ctxnode_model::record::{Machine, MachineStatus};
use ctxnode_model::rules::machine::one_each;
use ctxnode_model::{Kind, NodeKey, Rec, Space};
use ctxnode_store::{Draft, Role};
use ctxnode_sync::{PeerState, PeerStatus};
use serde_json::{Value, json};

use super::super::who::Names;
use super::{again, edits};
use crate::app::App;
use crate::daemon::host;
use crate::failure::Failure;
use crate::peers::SYNC_PORT;

/// Whether this node has seen all that somebody else knows, or is alone: before that it cannot tell whether its host is known.
pub(crate) fn knows_the_fleet(app: &App) -> bool {
    let is_alone = app.store.authority().members().nth(1).is_none();
    let peers = app.fleet.get().map(ctxnode_sync::Fleet::status).unwrap_or_default();
    let is_equal = |peer: &PeerStatus| peer.lacks.is_some_and(|lacks| lacks.own == 0);
    is_alone || peers.iter().any(|peer| peer.state == PeerState::Connected && is_equal(peer)) || has_record(app)
}

fn has_record(app: &App) -> bool {
    let key = app.store.node().to_string();
    let all = app.store.read().and_then(|snapshot| snapshot.reader().all::<Machine>(Kind::Machine));
    all.is_ok_and(|all| all.iter().any(|machine| machine.node_key.as_deref() == Some(&key)))
}

/// Writes the record, and again once it is known where this node listens. Returns whether there is one: not while the host is
/// known with another key that is still a member's.
///
/// # Errors
/// When it cannot be written.
pub(crate) async fn keep(app: &Arc<App>) -> Result<bool, Failure> {
    if !register(app).await? {
        return Ok(false);
    }
    if let Some(fleet) = app.fleet.get() {
        // Alone it listens nowhere. The port stays the same, so that this changes the record once in its life.
        fleet.bound().await;
        register(app).await?;
    }
    Ok(true)
}

/// Brings the record up to date when this host has other addresses than it says: another network, a tailnet that came up. Only
/// the record that there is: whether there may be one is for [`keep`].
///
/// What was seen at the last look is in `before`: a network that comes and goes, or is not up yet after sleep, is no place.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) async fn follow_network(app: &Arc<App>, before: &mut Vec<IpAddr>) -> Result<(), Failure> {
    let now = host::addresses(&app.config.sync.bind);
    let is_steady = !now.is_empty() && now == *before;
    *before = now;
    if !is_steady {
        return Ok(());
    }
    let key = app.store.node().to_string();
    let all = app.store.read()?.reader().all::<Machine>(Kind::Machine)?;
    let own = all.iter().find(|machine| machine.node_key.as_deref() == Some(&key));
    let is_known = own.is_none_or(|machine| machine.addresses == addresses(app));
    if !is_known && app.store.authority().role(&app.store.node()) >= Some(Role::Writer) {
        register(app).await?;
    }
    Ok(())
}

/// Brings the record up to date. Equal values make no entry.
async fn register(app: &Arc<App>) -> Result<bool, Failure> {
    let (facts, inner) = (facts(app), Arc::clone(app));
    let done = app.store.write(move |draft| stage(draft, &inner, facts));
    Ok(done.await?.value)
}

/// Where this host can be reached, best first, with the name by which its own network knows it at the end.
fn addresses(app: &App) -> Vec<String> {
    let listening = host::addresses(&app.config.sync.bind);
    let local = network::local_name(&app.host.hostname);
    listening.iter().map(ToString::to_string).chain([local]).collect()
}

fn facts(app: &App) -> Machine {
    Machine {
        hostname: app.host.hostname.clone(),
        os: app.host.os.to_owned(),
        arch: app.host.arch.to_owned(),
        user: app.host.user.clone(),
        addresses: addresses(app),
        ssh_public_keys: public_keys(&app.config.paths.home),
        node_key: Some(app.store.node().to_string()),
        version: Some(version::VERSION.to_owned()),
        commit: Some(version::COMMIT.to_owned()),
        ctxnode_path: std::env::current_exe().ok().map(|path| program(&path)),
        ..Machine::default()
    }
}

/// A binary that was replaced while it runs leaves its old name with this mark behind on Linux.
fn program(path: &Path) -> String {
    let text = path.display().to_string();
    text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned()
}

fn stage(draft: &mut Draft<'_>, app: &App, facts: Machine) -> Result<bool, Failure> {
    let all = draft.reader().all::<Machine>(Kind::Machine)?;
    let names = Names::read(&app.store, draft.reader())?;
    // Two users of one host have a node each, and who gives a node a name of its own means another machine.
    let is_host = |known: &Machine| known.hostname.eq_ignore_ascii_case(&facts.hostname) && known.user == facts.user;
    let namesakes = again::namesakes(&all, &app.store.authority(), &names, app.store.node());
    if namesakes.iter().any(|(_, known)| is_host(known)) {
        return Ok(false);
    }
    let known = known(&all, app, &facts);
    let now = draft.now();
    let id = match &known {
        Some(machine) => machine.id,
        None => draft.fresh_id(Kind::Machine, &Space::Fleet)?,
    };
    let before = known.map(|machine| machine.value);
    let port = app.fleet.get().and_then(ctxnode_sync::Fleet::port);
    let said = before.as_ref().and_then(|machine| machine.meta.get(SYNC_PORT).and_then(Value::as_u64));
    let machine = match before {
        Some(before) => {
            Machine { role: before.role, registered_at: before.registered_at, status: before.status, ..facts }
        }
        None => Machine { role: "dev".to_owned(), registered_at: now, ..facts },
    };
    let mut edits = edits(&machine);
    if let Some(port) = port.filter(|port| said != Some(u64::from(*port))) {
        edits.extend(ctxnode_model::rules::session::meta_edits(
            [(SYNC_PORT.to_owned(), json!(port))].into_iter().collect(),
        ));
    }
    draft.edit(id, &Space::Fleet, edits)?;
    Ok(true)
}

/// Finds the record of this host: by the node's key; else the one that was made by its name for a machine without a
/// daemon, or whose node was revoked. That the new node is a member at all is an admin's doing.
fn known(all: &[Rec<Machine>], app: &App, facts: &Machine) -> Option<Rec<Machine>> {
    if let Some(own) = all.iter().find(|machine| machine.node_key == facts.node_key) {
        return Some(own.clone());
    }
    let authority = app.store.authority();
    let is_free = |machine: &Rec<Machine>| {
        let key = machine.node_key.as_deref().map(str::parse::<NodeKey>);
        key.is_none_or(|key| key.is_ok_and(|key| authority.revoked().any(|revoked| revoked == key)))
    };
    let same_host = |machine: &Rec<Machine>| machine.hostname.eq_ignore_ascii_case(&facts.hostname);
    one_each(all)
        .into_iter()
        .find(|machine| machine.status == MachineStatus::Active && same_host(machine) && is_free(machine))
}

/// The public halves of the user's SSH keys.
fn public_keys(home: &Path) -> Vec<String> {
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
