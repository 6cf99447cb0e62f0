//! Two changes of one author with one number in one document.
//!
//! A document counts the changes of each author. An honest author gives a number twice only when its machine went back to
//! an earlier moment, or when a change of its own was withdrawn and it wrote on. Which of the two then counts must not depend
//! on which came first here: the document is built again from all that may stand, in the causal order, and whatever finds its
//! number taken is kept beside it, named in quarantine, until another withdrawal makes room.

use ctxnode_model::{DocumentId, Order};

use super::foreign::Screened;
use super::{Batch, Place};
use crate::entry::{Header, Op};
use crate::rows::{Held, QuarantineReason};
use crate::tables::Table;
use crate::{StoreError, query, recover, screen};

/// A change that may stand.
struct Candidate {
    order: (Order, u16),
    place: Place,
    header: Header,
    bytes: Vec<u8>,
    facts: screen::ChangeFacts,
}

impl Batch<'_> {
    /// Takes a change that is ready to be applied, but whose number another one of its author has. The document is built
    /// again once, at the end of the batch, however many there are.
    pub(super) fn take_rival(
        &mut self,
        id: DocumentId,
        place: Place,
        facts: &screen::ChangeFacts,
    ) -> Result<(), StoreError> {
        self.wait(id, place, facts)?;
        self.rivalled.insert(id, place.log.space);
        Ok(())
    }

    /// Builds every document anew in which there were rivals.
    pub(super) fn settle_rivals(&mut self) -> Result<(), StoreError> {
        for (id, space) in std::mem::take(&mut self.rivalled) {
            let standing = recover::standing_of(&self.tables, recover::ops_of(&self.tables, id)?)?;
            self.rebuild(id, space, &standing)?;
        }
        Ok(())
    }

    /// Applies changes to an empty document in the causal order, each as soon as what it depends on is there.
    pub(super) fn apply_in_order(&mut self, id: DocumentId, ops: &[Held]) -> Result<(), StoreError> {
        let mut candidates = self.candidates(ops)?;
        loop {
            let mut left = Vec::new();
            let before = candidates.len();
            for candidate in candidates {
                if !self.apply_candidate(id, &candidate)? {
                    left.push(candidate);
                }
            }
            candidates = left;
            if candidates.len() == before {
                break;
            }
        }
        for Candidate { place, facts, .. } in candidates {
            self.wait(id, place, &facts)?;
            let is_ready = self.is_next(id, place.origin, &facts)? && self.known_deps(id, &facts.deps)?.is_some();
            if is_ready && self.is_taken(id, place.origin, &facts)? {
                self.hold(place, &QuarantineReason::Rival)?;
            }
        }
        Ok(())
    }

    fn candidates(&self, ops: &[Held]) -> Result<Vec<Candidate>, StoreError> {
        let mut candidates = Vec::new();
        for held in ops {
            let entry = query::entry(&self.tables, held.log_no, held.seq)?;
            let Some(Op::Change { change, .. }) = entry.ops().get(usize::from(held.op)) else { continue };
            let place = self.place(*held)?;
            // It passed when it came; what did not is not among the ops that may stand.
            let facts = match screen::parse(change) {
                Ok(facts) => facts,
                Err(error) => {
                    self.hold(place, &QuarantineReason::Screened { error: error.to_string() })?;
                    continue;
                }
            };
            self.tables.remove(Table::Quarantine, &held.encode())?;
            let (header, bytes) = (entry.header().clone(), change.clone());
            candidates.push(Candidate { order: (place.order(&header), held.op), place, header, bytes, facts });
        }
        candidates.sort_by_key(|candidate| candidate.order);
        Ok(candidates)
    }

    /// Returns whether it could be applied, or was refused for good.
    fn apply_candidate(&mut self, id: DocumentId, candidate: &Candidate) -> Result<bool, StoreError> {
        let Candidate { place, header, bytes, facts, .. } = candidate;
        if self.is_taken(id, place.origin, facts)? || !self.is_next(id, place.origin, facts)? {
            return Ok(false);
        }
        let Some(deps) = self.known_deps(id, &facts.deps)? else { return Ok(false) };
        self.apply_screened(id, header, *place, &Screened { facts, deps: &deps, bytes })?;
        Ok(true)
    }
}
