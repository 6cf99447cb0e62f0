//! What other members are not known to have of what this node wrote: known without a connection, and after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctxnode_model::NodeKey;

use super::Shared;

impl Shared {
    /// A peer is known to have so many of this node's own entries.
    pub(crate) fn confirmed(&self, node: NodeKey, entries: u64) {
        self.peers.one(node, |peer| peer.has(entries));
    }

    /// Returns how many entries this node has written that each member may read.
    pub(super) fn written(&self) -> BTreeMap<NodeKey, u64> {
        let own = self.store.node();
        let heads = Arc::clone(&self.heads.borrow());
        let members: Vec<NodeKey> = self.store.authority().members().map(|(node, _)| node).collect();
        let written = |node: NodeKey| {
            let allowed = self.allowed(node).filter(|_| node != own)?;
            let logs = heads.heads.0.iter().filter(|(log, _)| log.author == own && allowed.contains(&log.space));
            Some((node, logs.map(|(_, head)| head.length).sum()))
        };
        members.into_iter().filter_map(written).collect()
    }

    /// Returns how many entries this node has of each other member that it does not speak with; the others hear that as it happens.
    pub(super) fn held(&self) -> BTreeMap<NodeKey, u64> {
        let own = self.store.node();
        let heads = Arc::clone(&self.heads.borrow());
        let authority = self.store.authority();
        let Some(spaces) = authority.spaces(&own) else { return BTreeMap::new() };
        let others = authority.members().map(|(node, _)| node).filter(|node| *node != own);
        let is_met = |node: &NodeKey| self.peers.one(*node, |peer| peer.speaks());
        let mut held: BTreeMap<NodeKey, u64> = others.filter(|node| !is_met(node)).map(|node| (node, 0)).collect();
        for (log, head) in heads.heads.0.iter().filter(|(log, _)| spaces.contains(&log.space)) {
            if let Some(count) = held.get_mut(&log.author) {
                *count += head.length;
            }
        }
        held
    }

    /// Notes since when members lack what was written here.
    pub(super) fn note_unsent(&self) {
        let now = self.store.clock().now();
        for (node, all) in self.written() {
            self.peers.one(node, |peer| peer.note_unsent(all, now));
        }
    }
}
