//! Changes of others: screened, then applied, kept until what they build on is here, or refused for good.

use automerge::{Change, ChangeHash};
use ctxnode_model::DocumentId;

use super::{Batch, MaxOps, Place, State};
use crate::document::{self, Fault};
use crate::entry::{Header, VerifiedEntry};
use crate::fresh::{Facts, Fresh, only_adds};
use crate::kv::{Direction, Kv as _};
use crate::rows::{self, Held, QuarantineReason};
use crate::tables::Table;
use crate::{StoreError, genesis, query, screen};

/// A foreign change that passed the screener, and the highest ops of what it depends on.
pub(super) struct Screened<'a> {
    pub(super) facts: &'a screen::ChangeFacts,
    pub(super) deps: &'a MaxOps,
    pub(super) bytes: &'a [u8],
    /// Whether it was applied before, so that nothing in it can dangle.
    pub(super) has_passed: bool,
}

impl Batch<'_> {
    /// Screens a foreign change, applies it when all that it depends on is here, and keeps it waiting otherwise.
    pub(super) fn take_foreign(
        &mut self,
        id: DocumentId,
        entry: &VerifiedEntry,
        place: Place,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let header = entry.header();
        let facts = match screen::parse(bytes) {
            Ok(facts) => facts,
            Err(error) => {
                let reason = QuarantineReason::Screened { error: error.to_string() };
                return self.hold(place, &reason);
            }
        };
        if facts.actor != document::actor(&header.log).to_bytes() || genesis::is_reserved(&facts.actor) {
            return self.hold(place, &QuarantineReason::WrongActor);
        }
        self.load(id, header.log.space)?;
        if self.rivalled.contains_key(&id) {
            return self.wait(id, place, &facts);
        }
        let ready = self.is_next(id, place.origin, &facts)?;
        let Some(deps) = self.known_deps(id, &facts.deps)?.filter(|_| ready) else {
            self.settle(id, place)?;
            return self.wait(id, place, &facts);
        };
        if self.is_taken(id, place.origin, &facts)? {
            return self.take_rival(id, place, &facts);
        }
        match self.apply_screened(
            id,
            header,
            place,
            &Screened { facts: &facts, deps: &deps, bytes, has_passed: false },
        )? {
            Ok(()) => {
                self.settle(id, place)?;
                self.drain_waiting(id)
            }
            Err(reason) => {
                self.refuse(id, place, &facts, &reason)?;
                self.settle(id, place)
            }
        }
    }

    /// Keeps a change until it can be applied.
    pub(super) fn wait(&mut self, id: DocumentId, place: Place, facts: &screen::ChangeFacts) -> Result<(), StoreError> {
        self.has_waiting = true;
        let held = place.held();
        self.tables.put(Table::Waiting, &rows::waiting_key(id, &facts.hash, held), &held.encode())
    }

    /// Names a change in quarantine that can never be applied. It still says what it builds on.
    pub(super) fn refuse(
        &mut self,
        id: DocumentId,
        place: Place,
        facts: &screen::ChangeFacts,
        reason: &QuarantineReason,
    ) -> Result<(), StoreError> {
        self.wait(id, place, facts)?;
        self.dirty_mut(id)?.has_set_aside = Some(true);
        self.hold(place, reason)
    }

    /// Applies waiting changes of a document until none of them has all it needs.
    pub(super) fn drain_waiting(&mut self, id: DocumentId) -> Result<(), StoreError> {
        while self.has_waiting && !self.rivalled.contains_key(&id) {
            let waiting = self.tables.scan_prefix(Table::Waiting, &id.to_bytes(), Direction::Forward, usize::MAX)?;
            let mut progress = false;
            for (key, payload) in waiting {
                let held = Held::decode(&payload)?;
                if self.tables.get(Table::Quarantine, &held.encode())?.is_some() {
                    continue;
                }
                let (entry, bytes) = query::change_bytes(&self.tables, held)?;
                let Ok(facts) = screen::parse(&bytes) else { continue };
                let place = self.place(held)?;
                let Some(deps) = self.known_deps(id, &facts.deps)? else { continue };
                if !self.is_next(id, place.origin, &facts)? {
                    continue;
                }
                if self.is_taken(id, place.origin, &facts)? {
                    return self.take_rival(id, place, &facts);
                }
                let screened = Screened { facts: &facts, deps: &deps, bytes: &bytes, has_passed: false };
                match self.apply_screened(id, entry.header(), place, &screened)? {
                    Ok(()) => {
                        self.tables.remove(Table::Waiting, &key)?;
                    }
                    Err(reason) => self.refuse(id, place, &facts, &reason)?,
                }
                self.settle(id, place)?;
                progress = true;
            }
            if !progress {
                break;
            }
        }
        Ok(())
    }

    /// Applies a change whose dependencies are here, or says why it never can be.
    pub(super) fn apply_screened(
        &mut self,
        id: DocumentId,
        header: &Header,
        place: Place,
        screened: &Screened<'_>,
    ) -> Result<Result<(), QuarantineReason>, StoreError> {
        let Screened { facts, deps, bytes, has_passed } = *screened;
        if let Err(error) = self.check_context(id, place.origin, facts, deps)? {
            return Ok(Err(QuarantineReason::Screened { error: error.to_string() }));
        }
        let state = match self.state_after(id, facts, bytes, has_passed)? {
            Ok(state) => state,
            Err(fault) => return Ok(Err(QuarantineReason::from(fault))),
        };
        self.dirty_mut(id)?.state = state;
        let facts = Facts {
            hash: ChangeHash(facts.hash),
            actor_seq: facts.seq,
            max_op: facts.max_op,
            deps: facts.deps.iter().map(|hash| ChangeHash(*hash)).collect(),
        };
        self.note(id, header, place, &facts).map(Ok)
    }

    /// Applies a change that passed the screener; the first one of a record often needs no more than its facts.
    fn state_after(
        &mut self,
        id: DocumentId,
        facts: &screen::ChangeFacts,
        bytes: &[u8],
        has_passed: bool,
    ) -> Result<Result<State, Fault>, StoreError> {
        if self.dirty(id)?.row.changes == 0
            && let Some(fresh) = Fresh::of_change(id.kind, facts)
        {
            return Ok(Ok(State::Fresh(fresh)));
        }
        self.load_fully(id)?;
        let State::Loaded(doc) = &self.dirty(id)?.state else { return Err(StoreError::Closed) };
        let change = std::panic::catch_unwind(|| Change::from_bytes(bytes.to_vec())).ok().and_then(Result::ok);
        let applied = match change {
            Some(change) if has_passed || only_adds(id.kind, facts) => document::apply_additions(doc, change),
            Some(change) => document::apply_foreign(doc, change),
            None => Err(Fault::Panicked),
        };
        Ok(applied.map(State::Loaded))
    }

    /// Gives a document to the document library that was never given to it.
    pub(super) fn load_fully(&mut self, id: DocumentId) -> Result<(), StoreError> {
        if let State::Fresh(_) = self.dirty(id)?.state {
            let doc = query::build_document(&self.tables, id)?;
            self.dirty_mut(id)?.state = State::Loaded(doc);
        }
        Ok(())
    }
}
