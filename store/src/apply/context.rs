//! What a foreign change is checked against: the changes and authors that its document has here.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::DocumentId;

use super::{Batch, MaxOps};
use crate::kv::{Direction, Kv as _};
use crate::rows::{self, ChangeRow};
use crate::tables::Table;
use crate::{StoreError, document, genesis, query, screen};

impl Batch<'_> {
    pub(super) fn check_context(
        &mut self,
        id: DocumentId,
        origin: u32,
        facts: &screen::ChangeFacts,
        deps: &MaxOps,
    ) -> Result<Result<(), screen::ScreenError>, StoreError> {
        let actors = self.actors(id, facts)?;
        let Some(dirty) = self.dirty.get(&id) else { return Err(StoreError::Closed) };
        let expected = screen::Expected {
            actor: &facts.actor,
            next_seq: dirty.row.authors.get(&origin).copied().unwrap_or(0) + 1,
            deps_max_op: &|dep| deps.get(dep).copied(),
            actor_known: &|actor| actors.contains(actor),
        };
        let checked = screen::check(facts, &expected);
        if checked.is_ok() && facts.seq > 1 {
            // Two ops of one author with one counter would wedge the document: it could never be saved and read again.
            let min = self.max_op_by(id, origin)? + 1;
            if facts.start_op < min {
                return Ok(Err(screen::ScreenError::StaleStartOp { found: facts.start_op, min }));
            }
        }
        Ok(checked)
    }

    /// Returns the greatest op counter of a log's changes of a loaded document, those of its branches included.
    fn max_op_by(&mut self, id: DocumentId, origin: u32) -> Result<u64, StoreError> {
        if self.dirty.get(&id).ok_or(StoreError::Closed)?.max_ops.is_none() {
            let rows = self.tables.scan_prefix(Table::Changes, &id.to_bytes(), Direction::Forward, usize::MAX)?;
            let mut found: BTreeMap<u32, u64> = BTreeMap::new();
            for (_, payload) in rows {
                let change = ChangeRow::decode(&payload)?;
                let max = found.entry(self.origin(change.held.log_no)?).or_default();
                *max = (*max).max(change.max_op);
            }
            self.dirty.get_mut(&id).ok_or(StoreError::Closed)?.max_ops = Some(found);
        }
        let max_ops = self.dirty.get(&id).and_then(|dirty| dirty.max_ops.as_ref());
        Ok(max_ops.and_then(|max_ops| max_ops.get(&origin)).copied().unwrap_or(0))
    }

    /// Whether another change of its author has a change's number in the document already.
    pub(super) fn is_taken(
        &self,
        id: DocumentId,
        origin: u32,
        facts: &screen::ChangeFacts,
    ) -> Result<bool, StoreError> {
        let dirty = self.dirty.get(&id).ok_or(StoreError::Closed)?;
        Ok(facts.seq <= dirty.row.authors.get(&origin).copied().unwrap_or(0))
    }

    /// Whether a change comes next of its author, and refers only to authors that are here. Until then it waits: what is
    /// refused must not depend on what happened to arrive first.
    pub(super) fn is_next(&self, id: DocumentId, origin: u32, facts: &screen::ChangeFacts) -> Result<bool, StoreError> {
        let Some(dirty) = self.dirty.get(&id) else { return Err(StoreError::Closed) };
        let next = dirty.row.authors.get(&origin).copied().unwrap_or(0) + 1;
        if facts.seq > next {
            return Ok(false);
        }
        let known = self.actors(id, facts)?;
        Ok(facts.other_actors.iter().all(|actor| known.contains(actor)))
    }

    /// Returns the actors of a document; only the one of its containers when a change refers to no other.
    fn actors(
        &self,
        id: DocumentId,
        facts: &screen::ChangeFacts,
    ) -> Result<BTreeSet<[u8; screen::ACTOR_BYTES]>, StoreError> {
        let Some(dirty) = self.dirty.get(&id) else { return Err(StoreError::Closed) };
        let genesis = genesis::genesis(id.kind).map(|genesis| genesis.actor);
        let mut actors: BTreeSet<[u8; screen::ACTOR_BYTES]> = genesis.into_iter().collect();
        // Most changes refer to nobody but the genesis: the others need not be looked up for them.
        if facts.other_actors.iter().any(|actor| !actors.contains(actor)) {
            for other in dirty.row.authors.keys() {
                let log = query::log_by_number(&self.tables, *other)?;
                actors.extend(
                    log.and_then(|log| <[u8; screen::ACTOR_BYTES]>::try_from(document::actor(&log).to_bytes()).ok()),
                );
            }
        }
        Ok(actors)
    }

    fn max_op_of(&self, id: DocumentId, hash: &[u8; 32]) -> Result<Option<u64>, StoreError> {
        if let Some(genesis) = genesis::genesis(id.kind)
            && genesis.hash == *hash
        {
            return Ok(Some(genesis.max_op));
        }
        let row = self.tables.get(Table::Changes, &rows::change_key(id, hash))?;
        row.map(|payload| ChangeRow::decode(&payload).map(|row| row.max_op)).transpose()
    }

    /// Returns the greatest op counter of each dependency; `None` when one is not here.
    pub(super) fn known_deps(&self, id: DocumentId, deps: &[[u8; 32]]) -> Result<Option<MaxOps>, StoreError> {
        deps.iter().map(|dep| Ok(self.max_op_of(id, dep)?.map(|max_op| (*dep, max_op)))).collect()
    }
}
