//! What a foreign change is checked against: its own past, the changes that it depends on and all before them. What else has
//! come plays no part, so that every replica decides alike, whatever came first.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ChangeHash;
use ctxnode_model::DocumentId;

use super::{Batch, Last, MaxOps, State};
use crate::kv::{Direction, Kv as _};
use crate::rows::{self, ChangeRow};
use crate::screen::{ACTOR_BYTES, ChangeFacts, Expected, ScreenError, check};
use crate::tables::Table;
use crate::{StoreError, document, genesis, query};

/// The greatest op counters of actors in the past of a change.
type Past = BTreeMap<[u8; ACTOR_BYTES], u64>;

impl Batch<'_> {
    /// Applies the rules that need to know the document. The dependencies are applied, and the number is the next one.
    pub(super) fn check_context(
        &mut self,
        id: DocumentId,
        origin: u32,
        facts: &ChangeFacts,
        deps: &MaxOps,
    ) -> Result<Result<(), ScreenError>, StoreError> {
        let genesis = genesis::genesis(id.kind);
        if genesis.is_some() && facts.deps.is_empty() {
            return Ok(Err(ScreenError::NoDeps));
        }
        let last = if facts.seq > 1 { self.last_by(id, origin)? } else { None };
        // Every change builds on the genesis, so that most need no more than that.
        let mut past: Past = genesis.map(|genesis| (genesis.actor, genesis.max_op)).into_iter().collect();
        if facts.other_actors.iter().any(|actor| !past.contains_key(actor)) {
            past.extend(self.past_of(id, facts)?);
        }
        let next_seq = self.dirty(id)?.row.authors.get(&origin).copied().unwrap_or(0) + 1;
        let expected = Expected {
            actor: &facts.actor,
            next_seq,
            deps_max_op: &|dep| deps.get(dep).copied(),
            is_previous: &|dep| last.is_some_and(|last| last.hash == *dep),
            past: &|actor| past.get(actor).copied().unwrap_or(0),
        };
        Ok(check(facts, &expected))
    }

    /// Returns the last change of a log to a document, those of its branches included.
    fn last_by(&mut self, id: DocumentId, origin: u32) -> Result<Option<Last>, StoreError> {
        if self.dirty(id)?.last.is_none() {
            let mut found: BTreeMap<u32, Last> = BTreeMap::new();
            for (key, payload) in
                self.tables.scan_prefix(Table::Changes, &id.to_bytes(), Direction::Forward, usize::MAX)?
            {
                let row = ChangeRow::decode(&payload)?;
                let hash = *key.last_chunk().ok_or(StoreError::Closed)?;
                let last = Last { ordinal: row.ordinal, hash, max_op: row.max_op };
                let known = found.entry(self.origin(row.held.log_no)?).or_insert(last);
                if known.ordinal < last.ordinal {
                    *known = last;
                }
            }
            self.dirty_mut(id)?.last = Some(found);
        }
        Ok(self.dirty(id)?.last.as_ref().and_then(|last| last.get(&origin)).copied())
    }

    /// Returns the greatest counters in the past of a change, for the actors that its ops refer to.
    fn past_of(&mut self, id: DocumentId, facts: &ChangeFacts) -> Result<Past, StoreError> {
        let mut actors: BTreeMap<u32, [u8; ACTOR_BYTES]> = BTreeMap::new();
        for origin in self.dirty(id)?.row.authors.keys() {
            let actor = query::log_by_number(&self.tables, *origin)?.map(|log| document::actor(&log));
            let actor = actor.and_then(|actor| <[u8; ACTOR_BYTES]>::try_from(actor.to_bytes()).ok());
            actors.extend(actor.filter(|actor| facts.other_actors.contains(actor)).map(|actor| (*origin, actor)));
        }
        let mut past = Past::new();
        let is_dep = |head: &ChangeHash| facts.deps.contains(&head.0);
        if self.dirty(id)?.row.heads.iter().all(is_dep) {
            for (origin, actor) in actors {
                past.extend(self.last_by(id, origin)?.map(|last| (actor, last.max_op)));
            }
            return Ok(past);
        }
        self.load_fully(id)?;
        let State::Loaded(doc) = &self.dirty(id)?.state else { return Err(StoreError::Closed) };
        let deps: Vec<ChangeHash> = facts.deps.iter().map(|dep| ChangeHash(*dep)).collect();
        let outside: BTreeSet<[u8; 32]> = doc.get_changes_meta(&deps).into_iter().map(|meta| meta.hash.0).collect();
        for (key, payload) in self.tables.scan_prefix(Table::Changes, &id.to_bytes(), Direction::Forward, usize::MAX)? {
            let row = ChangeRow::decode(&payload)?;
            if let Some(actor) = actors.get(&self.origin(row.held.log_no)?)
                && key.last_chunk().is_some_and(|hash| !outside.contains(hash))
            {
                let last = past.entry(*actor).or_default();
                *last = (*last).max(row.max_op);
            }
        }
        Ok(past)
    }

    /// Whether a change comes next of its author. Until then it waits.
    pub(super) fn is_next(&self, id: DocumentId, origin: u32, facts: &ChangeFacts) -> Result<bool, StoreError> {
        let next = self.dirty(id)?.row.authors.get(&origin).copied().unwrap_or(0) + 1;
        Ok(facts.seq <= next)
    }

    /// Whether another change of its author has a change's number in the document already.
    pub(super) fn is_taken(&self, id: DocumentId, origin: u32, facts: &ChangeFacts) -> Result<bool, StoreError> {
        Ok(facts.seq <= self.dirty(id)?.row.authors.get(&origin).copied().unwrap_or(0))
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
