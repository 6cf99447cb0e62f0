//! Two changes of one author with one number in one document.
//!
//! A document counts the changes of each author. An honest author gives a number twice only when its machine went back to
//! an earlier moment, or when a change of its own was withdrawn and it wrote on. Which of the two then counts must not depend
//! on which came first here: the document is built again from all that may stand. Of the changes that want one number, the
//! one on which more others have built goes first, and among equals the first in the causal order: so nobody takes the ground
//! from under the work of others by writing a second history later. Whatever finds its number taken is kept beside it, named
//! in quarantine, until more is built on it or a withdrawal makes room.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::{DocumentId, NodeKey, Order, SpaceId};

use super::foreign::Screened;
use super::{Batch, Place};
use crate::entry::{Header, Op};
use crate::kv::{Direction, Kv as _};
use crate::rows::{Held, QuarantineReason};
use crate::tables::Table;
use crate::{StoreError, query, recover, screen};

/// A change that may stand.
struct Candidate {
    /// Its place among all: a log has one entry at an order, and each space has logs of its own.
    order: (Order, SpaceId, u16),
    place: Place,
    header: Header,
    bytes: Vec<u8>,
    facts: screen::ChangeFacts,
    /// What is known of it already, which follows from its past alone.
    verdict: Verdict,
    /// How many of those that want its number go before it.
    rank: usize,
}

/// What is known of a change before it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Unknown,
    /// It was applied before.
    Fits,
    /// It can never be applied.
    Never(QuarantineReason),
}

/// What became of one of them.
enum Attempt {
    Applied,
    /// Something before it is not applied, or its number is taken.
    NotYet,
    /// It cannot be applied, ever.
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
        self.rivalled.insert(id, place.log.space);
        Ok(())
    }

    /// A change of a loaded document has come, whatever became of it. Where changes were set aside, because their number is taken
    /// or because they can never be applied, it may decide which of them count.
    pub(super) fn settle(&mut self, id: DocumentId, place: Place) -> Result<(), StoreError> {
        if self.has_waiting && self.has_set_aside(id)? {
            self.rivalled.insert(id, place.log.space);
        }
        Ok(())
    }

    fn has_set_aside(&mut self, id: DocumentId) -> Result<bool, StoreError> {
        if let Some(known) = self.dirty(id)?.has_set_aside {
            return Ok(known);
        }
        let mut found = false;
        for (_, held) in self.tables.scan_prefix(Table::Waiting, &id.to_bytes(), Direction::Forward, usize::MAX)? {
            found = found || self.tables.get(Table::Quarantine, &held)?.is_some();
        }
        self.dirty_mut(id)?.has_set_aside = Some(found);
        Ok(found)
    }

    /// Builds every document anew in which there were rivals.
    pub(super) fn settle_rivals(&mut self) -> Result<(), StoreError> {
        for (id, space) in std::mem::take(&mut self.rivalled) {
            let standing = recover::standing_of(&self.tables, recover::ops_of(&self.tables, id)?)?;
            self.rebuild(id, space, &standing)?;
        }
        Ok(())
    }

    /// Applies changes to an empty document in the causal order, each as soon as what it depends on is there and nothing
    /// that goes before it can still have its number.
    pub(super) fn apply_in_order(
        &mut self,
        id: DocumentId,
        ops: &[Held],
        applied: &BTreeSet<Held>,
    ) -> Result<(), StoreError> {
        let mut candidates = self.candidates(ops, applied)?;
        rank(&mut candidates);
        let mut refused = Vec::new();
        // Where nothing moves any more, what goes before waits for something that is not here, and one is let past it.
        while self.pass(id, &mut candidates, &mut refused, false)?
            || self.pass(id, &mut candidates, &mut refused, true)?
        {}
        for (Candidate { place, facts, .. }, reason) in refused {
            self.refuse(id, place, &facts, &reason)?;
        }
        for Candidate { place, facts, .. } in candidates {
            self.wait(id, place, &facts)?;
            if self.is_taken(id, place.origin, &facts)? && self.known_deps(id, &facts.deps)?.is_some() {
                self.hold(place, &QuarantineReason::Rival)?;
            }
        }
        Ok(())
    }

    /// Tries each candidate once; returns whether any was done with. A number goes to the one that ranks first of those that
    /// are left, or to the first that can have it.
    fn pass(
        &mut self,
        id: DocumentId,
        candidates: &mut Vec<Candidate>,
        refused: &mut Vec<(Candidate, QuarantineReason)>,
        lets_one_past: bool,
    ) -> Result<bool, StoreError> {
        let mut ranks: BTreeMap<(u32, u64), BTreeSet<usize>> = BTreeMap::new();
        for candidate in candidates.iter() {
            ranks.entry(candidate.number()).or_default().insert(candidate.rank);
        }
        let mut progress = false;
        for candidate in std::mem::take(candidates) {
            let number = ranks.entry(candidate.number()).or_default();
            let is_first = number.first() == Some(&candidate.rank);
            let attempt = if is_first || (lets_one_past && !progress) {
                self.apply_candidate(id, &candidate)?
            } else {
                Attempt::NotYet
            };
            if let Attempt::NotYet = attempt {
                candidates.push(candidate);
                continue;
            }
            progress = true;
            number.remove(&candidate.rank);
            if let Attempt::Refused(reason) = attempt {
                refused.push((candidate, reason));
            }
        }
        Ok(progress)
    }

    fn candidates(&self, ops: &[Held], applied: &BTreeSet<Held>) -> Result<Vec<Candidate>, StoreError> {
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
            let known = self.tables.get(Table::Quarantine, &held.encode())?;
            let verdict = match known.map(|reason| QuarantineReason::decode(&reason)).transpose()? {
                Some(QuarantineReason::Rival) => Verdict::Unknown,
                Some(reason) => Verdict::Never(reason),
                None if applied.contains(held) => Verdict::Fits,
                None => Verdict::Unknown,
            };
            self.tables.remove(Table::Quarantine, &held.encode())?;
            let (header, bytes) = (entry.header().clone(), change.clone());
            let order = (place.order(&header), place.log.space, held.op);
            candidates.push(Candidate { order, place, header, bytes, facts, verdict, rank: 0 });
        }
        candidates.sort_by_key(|candidate| candidate.order);
        Ok(candidates)
    }

    fn apply_candidate(&mut self, id: DocumentId, candidate: &Candidate) -> Result<Attempt, StoreError> {
        let Candidate { place, header, bytes, facts, verdict, .. } = candidate;
        if self.is_taken(id, place.origin, facts)? || !self.is_next(id, place.origin, facts)? {
            return Ok(Attempt::NotYet);
        }
        let Some(deps) = self.known_deps(id, &facts.deps)? else { return Ok(Attempt::NotYet) };
        if let Verdict::Never(reason) = verdict {
            return Ok(Attempt::Refused(reason.clone()));
        }
        let screened = Screened { facts, deps: &deps, bytes, has_passed: *verdict == Verdict::Fits };
        let applied = self.apply_screened(id, header, *place, &screened)?;
        Ok(applied.map_or_else(Attempt::Refused, |()| Attempt::Applied))
    }
}

impl Candidate {
    /// The number that it wants: of which author, and which.
    fn number(&self) -> (u32, u64) {
        (self.place.origin, self.facts.seq)
    }
}

/// Ranks those that want one number. All changes that name what they build on count, whether they can be applied or not:
/// that is known only where what they build on is applied.
fn rank(candidates: &mut [Candidate]) {
    let mut numbers: BTreeMap<(u32, u64), Vec<usize>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        numbers.entry(candidate.number()).or_default().push(at);
    }
    numbers.retain(|_, all| all.len() > 1);
    if numbers.is_empty() {
        return;
    }
    let built = built_on(candidates);
    for mut all in numbers.into_values() {
        all.sort_by_key(|at| {
            let candidate = &candidates[*at];
            let others = built
                .get(&candidate.facts.hash)
                .map_or(0, |authors| authors.iter().filter(|author| **author != candidate.place.log.author).count());
            (std::cmp::Reverse(others), candidate.order)
        });
        for (rank, at) in all.into_iter().enumerate() {
            candidates[at].rank = rank;
        }
    }
}

/// The authors of all changes that build on a change, directly or not.
fn built_on(candidates: &[Candidate]) -> BTreeMap<[u8; 32], BTreeSet<NodeKey>> {
    let ends: BTreeMap<[u8; 32], u64> = candidates.iter().map(|one| (one.facts.hash, one.facts.max_op)).collect();
    let mut latest: Vec<&Candidate> = candidates.iter().collect();
    // What builds on a change has greater counters: from the greatest on, all that builds on one comes before it.
    latest.sort_by_key(|one| (std::cmp::Reverse(one.facts.start_op), one.facts.hash));
    let mut built: BTreeMap<[u8; 32], BTreeSet<NodeKey>> = BTreeMap::new();
    for one in latest {
        let mut authors = built.get(&one.facts.hash).cloned().unwrap_or_default();
        authors.insert(one.place.log.author);
        for dep in one.facts.deps.iter().filter(|dep| ends.get(*dep).is_some_and(|end| *end < one.facts.start_op)) {
            built.entry(*dep).or_default().extend(authors.iter().copied());
        }
    }
    built
}
