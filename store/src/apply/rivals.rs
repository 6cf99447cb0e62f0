//! Two changes of one author with one number in one document.
//!
//! A document counts the changes of each author. An honest author gives a number twice only when its machine went back to
//! an earlier moment, or when a change of its own was withdrawn and it wrote on. Which of the two then counts must not depend
//! on which came first here: the document is built again from all that may stand, in the causal order, and whatever finds its
//! number taken is kept beside it, named in quarantine, until another withdrawal makes room.

use ctxnode_model::{DocumentId, Order};

use super::foreign::Screened;
use super::{Batch, Place};
use crate::entry::{Op, VerifiedEntry};
use crate::rows::{Held, QuarantineReason};
use crate::tables::Table;
use crate::{StoreError, query, recover, screen};

/// A change that may stand.
struct Candidate {
    order: (Order, u16),
    place: Place,
    entry: VerifiedEntry,
    bytes: Vec<u8>,
    facts: screen::ChangeFacts,
}

/// What became of one of them.
enum Attempt {
    Applied,
    /// Something before it is not applied, or its number is taken.
    NotYet,
    /// It does not fit the document as it is.
    Refused(QuarantineReason),
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
        self.unsettled_documents.insert(id, place.log.space);
        Ok(())
    }

    /// Builds every document anew in which there were rivals, or that a change did not fit.
    pub(super) fn settle_documents(&mut self) -> Result<(), StoreError> {
        for (id, space) in std::mem::take(&mut self.unsettled_documents) {
            let standing = recover::standing_of(&self.tables, recover::ops_of(&self.tables, id)?)?;
            self.rebuild(id, space, &standing)?;
        }
        Ok(())
    }

    /// Applies changes to an empty document in the causal order, each as soon as what it depends on is there. What does not
    /// fit is tried again when nothing else can be applied any more.
    pub(super) fn apply_in_order(&mut self, id: DocumentId, ops: &[Held]) -> Result<(), StoreError> {
        let mut candidates = self.candidates(ops)?;
        let mut refused = Vec::new();
        let mut has_grown = false;
        loop {
            let mut left = Vec::new();
            let mut progress = false;
            for candidate in candidates {
                match self.apply_candidate(id, &candidate)? {
                    Attempt::Applied => progress = true,
                    Attempt::NotYet => left.push(candidate),
                    Attempt::Refused(reason) => refused.push((candidate, reason)),
                }
            }
            candidates = left;
            has_grown |= progress;
            if !progress {
                if refused.is_empty() || !std::mem::take(&mut has_grown) {
                    break;
                }
                candidates.extend(std::mem::take(&mut refused).into_iter().map(|(candidate, _)| candidate));
                candidates.sort_by_key(|candidate| candidate.order);
            }
        }
        for (Candidate { place, facts, .. }, reason) in refused {
            self.refuse(id, place, &facts, &reason)?;
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
            // It passed when it came; what did not is not among the ops that may stand.
            let Ok(facts) = screen::parse(change) else { continue };
            let place = self.place(*held)?;
            self.tables.remove(Table::Quarantine, &held.encode())?;
            let bytes = change.clone();
            candidates.push(Candidate { order: (place.order(&entry), held.op), place, entry, bytes, facts });
        }
        candidates.sort_by_key(|candidate| candidate.order);
        Ok(candidates)
    }

    fn apply_candidate(&mut self, id: DocumentId, candidate: &Candidate) -> Result<Attempt, StoreError> {
        let Candidate { place, entry, bytes, facts, .. } = candidate;
        if self.is_taken(id, place.origin, facts)? || !self.is_next(id, place.origin, facts)? {
            return Ok(Attempt::NotYet);
        }
        let Some(deps) = self.known_deps(id, &facts.deps)? else { return Ok(Attempt::NotYet) };
        let applied = self.apply_screened(id, entry, *place, &Screened { facts, deps: &deps, bytes })?;
        Ok(applied.map_or_else(Attempt::Refused, |()| Attempt::Applied))
    }
}
