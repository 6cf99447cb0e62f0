//! Machines that were installed anew: a node that joined under the name of a machine which is known with another key. It is
//! that machine once an admin has revoked the old key, and until then it has no record: whoever has a code and a name must
//! not become a machine that others rely on.

use ctxnode_api::node::WaitingNode;
use ctxnode_model::record::{Machine, MachineStatus};
use ctxnode_model::{Kind, NodeKey, Rec};
use ctxnode_store::{Authority, Reader, Role};

use super::super::who::Names;
use crate::app::App;
use crate::failure::Failure;

/// Returns the records of machines that are known with the key of another member under the name of `node`, which has none.
pub(super) fn namesakes<'a>(
    all: &'a [Rec<Machine>],
    authority: &Authority,
    names: &Names,
    node: NodeKey,
) -> Vec<(NodeKey, &'a Rec<Machine>)> {
    let key = |machine: &Rec<Machine>| machine.node_key.as_deref().and_then(|key| key.parse::<NodeKey>().ok());
    if all.iter().any(|machine| key(machine) == Some(node)) {
        return Vec::new();
    }
    let name = names.of(node);
    let active = all.iter().filter(|machine| machine.status == MachineStatus::Active);
    active
        .filter_map(|machine| Some((key(machine)?, machine)))
        .filter(|(key, _)| authority.role(key).is_some() && names.of(*key).eq_ignore_ascii_case(&name))
        .collect()
}

/// Returns the nodes that wait for an admin.
pub(in crate::handlers) fn waiting(reader: Reader<'_>, app: &App) -> Result<Vec<WaitingNode>, Failure> {
    let all = reader.all::<Machine>(Kind::Machine)?;
    let authority = app.store.authority();
    let names = Names::read(&app.store, reader)?;
    let view = |node: NodeKey| {
        let (known, _) = *namesakes(&all, &authority, &names, node).first()?;
        Some(WaitingNode { node: node.to_string(), name: names.of(node), known: known.to_string() })
    };
    // A reader never has a record.
    let writers = authority.members().filter(|(_, role)| *role >= Role::Writer);
    Ok(writers.filter_map(|(node, _)| view(node)).collect())
}
