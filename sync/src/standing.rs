//! Who may speak with whom, as this replica knows it now.

use std::sync::{Mutex, PoisonError};

use ctxnode_model::{NodeKey, Spaces};
use ctxnode_store::Store;

/// Why a node is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No control op makes it a member.
    Unknown,
    /// It was one.
    Revoked,
}

/// The members, and the node that invited this one as long as its grant has not arrived.
#[derive(Debug)]
pub(crate) struct Standing {
    store: Store,
    inviter: Mutex<Option<NodeKey>>,
}

impl Standing {
    pub(crate) fn new(store: Store, inviter: Option<NodeKey>) -> Self {
        Self { store, inviter: Mutex::new(inviter) }
    }

    /// Returns the inviter while this node is a newcomer: it has the genesis and nothing else, so neither the inviter's
    /// membership nor its own can be known yet. The invitation named the inviter's key.
    pub(crate) fn inviter(&self) -> Option<NodeKey> {
        let authority = self.store.authority();
        let own = self.store.node();
        let is_newcomer = authority.role(&own).is_none() && authority.revoked().all(|node| node != own);
        is_newcomer.then(|| *self.inviter.lock().unwrap_or_else(PoisonError::into_inner)).flatten()
    }

    /// Whether a node may connect.
    pub(crate) fn admits(&self, node: NodeKey) -> Result<(), Refused> {
        let authority = self.store.authority();
        if authority.role(&node).is_some() || self.inviter() == Some(node) {
            return Ok(());
        }
        Err(if authority.revoked().any(|revoked| revoked == node) { Refused::Revoked } else { Refused::Unknown })
    }

    /// Returns the spaces that both this node and a peer may read; `None` when they may not speak.
    pub(crate) fn allowed(&self, peer: NodeKey) -> Option<Spaces> {
        if self.inviter() == Some(peer) {
            // The inviter knows what this node may read, and sends nothing else.
            return Some(Spaces::All);
        }
        let authority = self.store.authority();
        Some(authority.spaces(&self.store.node())?.meet(&authority.spaces(&peer)?))
    }

    /// Returns whom to dial.
    pub(crate) fn others(&self) -> Vec<NodeKey> {
        let own = self.store.node();
        let authority = self.store.authority();
        let mut others: Vec<NodeKey> = authority.members().map(|(node, _)| node).filter(|node| *node != own).collect();
        if authority.role(&own).is_none() {
            // A newcomer knows the founder from the genesis; a revoked node has nobody to talk to.
            others = self.inviter().into_iter().collect();
        }
        others
    }
}
