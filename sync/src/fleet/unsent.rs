//! What other members are not known to have of what this node wrote: known without a connection, and after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctxnode_model::NodeKey;

use super::Shared;

impl Shared {
    /// A peer is known to have so many of this node's own entries.
    pub(crate) fn confirmed(&self, node: NodeKey, entries: u64) {
        self.peers.one(node, |peer| {
            if peer.row.confirmed != entries {
                peer.row.confirmed = entries;
                peer.unsaved = true;
            }
        });
    }

    /// Returns how many entries that this node wrote each member is not known to have.
    pub(super) fn unsent(&self) -> BTreeMap<NodeKey, u64> {
        let own = self.store.node();
        let own_heads = Arc::clone(&self.heads.borrow());
        let members: Vec<NodeKey> = self.store.authority().members().map(|(node, _)| node).collect();
        let mut found = BTreeMap::new();
        for node in members.into_iter().filter(|node| *node != own) {
            let Some(allowed) = self.allowed(node) else { continue };
            let logs = own_heads.heads.0.iter().filter(|(log, _)| log.author == own && allowed.contains(&log.space));
            let all: u64 = logs.map(|(_, head)| head.length).sum();
            let confirmed = self.peers.one(node, |peer| peer.row.confirmed);
            found.insert(node, all.saturating_sub(confirmed));
        }
        found
    }

    /// Notes since when members lack what was written here.
    pub(super) fn note_unsent(&self) {
        let now = self.store.clock().now();
        for (node, unsent) in self.unsent() {
            self.peers.one(node, |peer| {
                let since = (unsent > 0).then(|| peer.row.unsent_since.unwrap_or(now));
                if peer.row.unsent_since != since {
                    peer.row.unsent_since = since;
                    peer.unsaved = true;
                }
            });
        }
    }
}
