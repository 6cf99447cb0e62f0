//! Who is alive where: what this node says of itself, what it believes of others, and what of that it passes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ctxnode_model::NodeKey;
use ctxnode_store::{LocalTable, StoreError};

use super::Shared;
use crate::endpoint;
use crate::presence::Statement;

/// Where it is kept how often this daemon has begun to listen.
const LIFE_KEY: &[u8] = b"sync_life";

impl Shared {
    /// Begins another life: what is said in it is newer than everything before, whatever the clock was set to, and also after
    /// an older copy of the replica was restored, unless the clock was set back as well.
    pub(super) async fn begin_life(&self) {
        let lives =
            |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let begun = self.store.write(move |draft| {
            let seconds = u64::try_from(draft.now().0 / 1_000).unwrap_or(0);
            let life = lives(draft.reader().local(LocalTable::Caches, LIFE_KEY)?).saturating_add(1).max(seconds);
            draft.put_local(LocalTable::Caches, LIFE_KEY, life.to_be_bytes());
            Ok::<u64, StoreError>(life)
        });
        match begun.await {
            Ok(done) => self.life.store(done.value, Ordering::SeqCst),
            Err(error) => tracing::warn!(%error, "it could not be noted that this node listens again"),
        }
    }

    /// A statement arrived from a peer, about itself or about another.
    pub(crate) fn heard(&self, from: NodeKey, bytes: Vec<u8>) {
        let Some(statement) = Statement::verify(&bytes) else {
            return tracing::debug!(%from, "a statement that is not signed by its node");
        };
        let node = statement.node;
        if node == self.store.node() || self.store.authority().role(&node).is_none() {
            return;
        }
        let (now, bytes) = (self.moment(), Arc::new(bytes));
        let has = statement.has.get(&self.store.node()).copied();
        let is_news = self.peers.one(node, |peer| {
            let is_news = peer.hear(statement, &bytes, from == node, now);
            // With a connection of its own it is known better.
            if let Some(has) = has.filter(|_| is_news && !peer.speaks()) {
                peer.has(has);
            }
            is_news
        });
        if is_news {
            // Without connections there is nobody to tell.
            let _ = self.told.send((from, bytes));
        }
    }

    /// Returns what a newly connected peer should hear: this node's statement and those of others that are of now.
    pub(crate) fn statements(&self, peer: NodeKey) -> Vec<Vec<u8>> {
        let now = self.moment();
        let mut all = vec![self.own_statement()];
        self.peers.with(|peers| {
            for (node, other) in peers.iter().filter(|(node, _)| **node != peer) {
                if let Some((_, bytes, _)) = other.said.as_ref().filter(|_| other.is_fresh(now)) {
                    tracing::trace!(%node, "passing on what it said");
                    all.push(bytes.to_vec());
                }
            }
        });
        all
    }

    /// Tells everybody who is connected what this node says now.
    pub(super) fn tell(&self) {
        if self.told.receiver_count() > 0 {
            // A connection may have gone in between.
            let _ = self.told.send((self.store.node(), Arc::new(self.own_statement())));
        }
    }

    fn own_statement(&self) -> Vec<u8> {
        let bound = self.bound.borrow().clone();
        let relay = bound.as_ref().and_then(|endpoint| self.config.relays.home(endpoint));
        let mut statement = Statement {
            node: self.store.node(),
            life: Some(self.life.load(Ordering::SeqCst)).filter(|life| *life > 0),
            at: self.next_at(),
            sessions: self.host.beats(),
            has: self.held(),
            addresses: bound.as_ref().map(endpoint::reachable).unwrap_or_default(),
            relay: relay.map(|url| url.to_string()),
            software: self.software.clone(),
        };
        statement.fit();
        statement.sign(&self.store)
    }

    /// Returns the time, or a moment after the last statement when the clock was set back: the next one is always newer.
    fn next_at(&self) -> i64 {
        let now = self.store.clock().now().0;
        let next = |last: i64| now.max(last.saturating_add(1));
        let before = self.said_at.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        // It is never refused.
        before.map_or(now, next)
    }
}
