//! Who wrote what, for people: names of nodes, and the values of a conflict.

use std::collections::BTreeMap;

use ctxnode_api::Iso;
use ctxnode_api::records::{ConflictView, ValueView};
use ctxnode_model::record::Machine;
use ctxnode_model::{Conflict, Kind, NodeKey, Timestamp, Written};
use ctxnode_store::{Reader, Store};

use crate::app::App;
use crate::failure::Failure;

/// How much of a key stands for a node without a name.
const KEY_CHARS: usize = 8;

/// The names of all nodes that are known.
#[derive(Default)]
pub(super) struct Names(BTreeMap<NodeKey, String>);

impl Names {
    /// Reads them: what a node was called when it joined, else its machine's name.
    pub(super) fn read(store: &Store, reader: Reader<'_>) -> Result<Self, Failure> {
        let mut names = BTreeMap::new();
        for machine in reader.all::<Machine>(Kind::Machine)? {
            if let Some(node) = machine.node_key.as_deref().and_then(|key| key.parse().ok()) {
                names.insert(node, machine.hostname.clone());
            }
        }
        let authority = store.authority();
        for node in authority.members().map(|(node, _)| node).chain(authority.revoked()) {
            if let Some(name) = authority.name(&node).filter(|name| !name.is_empty()) {
                names.insert(node, name.to_owned());
            }
        }
        Ok(Self(names))
    }

    /// Returns what a node is called.
    pub(super) fn of(&self, node: NodeKey) -> String {
        self.0.get(&node).cloned().unwrap_or_else(|| node.to_string()[..KEY_CHARS].to_owned())
    }
}

/// Returns a record's conflicts for an answer. Names are read only when there are any; where they cannot be, keys stand
/// for them.
pub(super) fn conflicts(app: &App, found: &[Conflict], now: Timestamp) -> Vec<ConflictView> {
    if found.is_empty() {
        return Vec::new();
    }
    let names = app.store.read().map_err(Failure::from).and_then(|snapshot| Names::read(&app.store, snapshot.reader()));
    let names = names.unwrap_or_else(|_| Names(BTreeMap::new()));
    let view = |conflict: &Conflict| {
        let values = values(conflict).enumerate().map(|(at, written)| ValueView {
            pick: at + 1,
            shown: at == 0 && conflict.shown.is_some(),
            value: written.value.clone(),
            node: written.node.to_string(),
            machine: names.of(written.node),
            agent: written.agent.clone(),
            at: Iso(written.at),
            age: written.at.age(now),
        });
        ConflictView { field: conflict.field.clone(), values: values.collect() }
    };
    found.iter().map(view).collect()
}

/// The values of a conflict in the order of their numbers.
pub(super) fn values(conflict: &Conflict) -> impl Iterator<Item = &Written> {
    conflict.shown.iter().chain(&conflict.others)
}
