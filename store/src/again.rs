//! What an author says again when one of its logs has forked.
//!
//! Two copies of a running machine (a memory image, a snapshot of a virtual machine) write under one key and one epoch.
//! Others keep the history that reached them first. The copy that learns of another history of its log goes on in a new
//! epoch and says there what both histories have beyond the place at which they part, so that everybody gets both. Not
//! here: what becomes of two changes at one place of a document; see `apply/again.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctxnode_model::frontier::LogId;
use ctxnode_model::{DocumentId, Space};

use crate::apply::Prepared;
use crate::entry::{EntryError, Header, Op, Original, VerifiedEntry};
use crate::kv::{Direction, Kv as _};
use crate::rows::{self, Held};
use crate::tables::Table;
use crate::writer::{Draft, Group};
use crate::{Store, StoreError, lost, query, recover, screen};

/// What became of entries of another history of an own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// They are of the history that is here.
    Nowhere,
    /// Both histories are said again from where they part.
    Here,
    /// They part before the first of these entries: earlier ones are needed.
    Earlier,
}

/// Whether an own change that gave way still has to be written anew.
const OWED: [u8; 1] = [0];
const WRITTEN: [u8; 1] = [1];

impl Store {
    /// Takes entries that follow each other in one of this node's own logs and did not fit into it. When they show where
    /// the two histories part, this node goes on in a new epoch, in which it says again what both have from there on,
    /// each entry once. What of its own cannot stand beside the other history is written anew.
    ///
    /// # Errors
    /// When the storage fails; then nothing was written.
    pub async fn take_other_history(&self, entries: Vec<Vec<u8>>) -> Result<Parted, StoreError> {
        let verified: Result<Vec<VerifiedEntry>, EntryError> = entries.into_iter().map(VerifiedEntry::verify).collect();
        let Some(run) = verified.ok().and_then(|entries| Run::of(self, entries)) else { return Ok(Parted::Nowhere) };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(Box::new(move |group: &mut Group<'_, '_>| {
            let parted = group.take_other_history(&run)?;
            Ok(Box::new(move |committed: Result<u64, Arc<str>>| {
                // A caller that went away no longer wants to hear.
                let _ = sender.send(committed.map(|_| parted).map_err(StoreError::Group));
            }))
        }))?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

/// Entries of one own log, each behind the one before.
struct Run {
    log: LogId,
    entries: Vec<VerifiedEntry>,
}

impl Run {
    fn of(store: &Store, entries: Vec<VerifiedEntry>) -> Option<Self> {
        let log = entries.first()?.header().log;
        let own = log.author == store.node();
        let here = entries.iter().all(|entry| entry.header().log == log && entry.header().fleet == store.fleet());
        let follow = |pair: &[VerifiedEntry]| {
            let (one, two) = (&pair[0], &pair[1]);
            two.header().prev == *one.hash() && two.header().seq == one.header().seq + 1
        };
        (own && here && entries.windows(2).all(follow)).then_some(Self { log, entries })
    }
}

impl Group<'_, '_> {
    fn take_other_history(&mut self, run: &Run) -> Result<Parted, StoreError> {
        let row = self.log_row(&run.log)?;
        let hash_of = |group: &Self, seq: u64| -> Result<Option<[u8; 32]>, StoreError> {
            let is_here = (1..=row.length).contains(&seq);
            is_here.then(|| query::entry(&group.batch.tables, row.number, seq).map(|entry| *entry.hash())).transpose()
        };
        let first = run.entries[0].header();
        let continues_other = self.was_said(&first.prev)?;
        let continues_own =
            if first.seq == 1 { first.prev == [0; 32] } else { hash_of(self, first.seq - 1)? == Some(first.prev) };
        if !continues_own && !continues_other {
            return Ok(Parted::Earlier);
        }
        let mut from = None;
        for (at, entry) in run.entries.iter().enumerate() {
            match hash_of(self, entry.header().seq)? {
                Some(hash) if hash == *entry.hash() => {}
                // What merely goes on where the own history ends is none of this.
                None if !continues_other && from.is_none() => return Ok(Parted::Nowhere),
                _ => {
                    from = Some(at);
                    break;
                }
            }
        }
        let Some(from) = from else { return Ok(Parted::Nowhere) };
        if run.log.epoch == self.shared.epoch() {
            self.renew_epoch()?;
        }
        // Where the other history was said before, so was the own one.
        let own = if continues_other { row.length + 1 } else { run.entries[from].header().seq };
        for seq in own..=row.length {
            let entry = query::entry(&self.batch.tables, row.number, seq)?;
            self.say_again(&entry, true)?;
        }
        for entry in &run.entries[from..] {
            self.say_again(entry, false)?;
        }
        self.batch.flush()?;
        recover::judge_again(&mut self.batch)?;
        self.write_anew()?;
        Ok(Parted::Here)
    }

    fn was_said(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self.batch.tables.get(Table::Said, hash)?.is_some())
    }

    fn say_again(&mut self, entry: &VerifiedEntry, yields: bool) -> Result<(), StoreError> {
        if self.was_said(entry.hash())? {
            return Ok(());
        }
        self.batch.tables.put(Table::Said, entry.hash(), &[])?;
        let Header { log, seq, stamp, time, .. } = *entry.header();
        *self.clock = (*self.clock).max(stamp);
        let original = Original { epoch: log.epoch, seq, stamp, time, yields };
        for op in entry.ops() {
            if let Op::Change { document, change } = op
                && yields
                && let Ok(facts) = screen::parse(change)
            {
                self.batch.tables.put(Table::Said, &rows::change_key(*document, &facts.hash), &OWED)?;
            }
        }
        let again = |op: &Op| match op {
            Op::Again { .. } => op.clone(),
            op => Op::Again { original, op: Box::new(op.clone()) },
        };
        self.append(log, entry.ops().iter().map(again).collect())
    }

    /// Appends an entry to this node's present log of a space; in parts when it is too large with what is said of each op.
    fn append(&mut self, of: LogId, mut ops: Vec<Op>) -> Result<(), StoreError> {
        let log = self.shared.log(of.space);
        let mut row = self.log_row(&log)?;
        let prev = if row.length == 0 { [0; 32] } else { row.tip };
        let now = self.shared.clock.now();
        let stamp = self.clock.next(now);
        let header = Header { fleet: self.shared.fleet, log, seq: row.length + 1, prev, stamp, time: now };
        match VerifiedEntry::sign(header, ops.clone(), &self.shared.secret) {
            Ok(entry) => {
                *self.clock = stamp;
                self.batch.take(&entry, &mut row, &mut Prepared::new()).map(drop)
            }
            Err(EntryError::TooLarge { .. }) if ops.len() > 1 => {
                let rest = ops.split_off(ops.len() / 2);
                self.append(of, ops)?;
                self.append(of, rest)
            }
            Err(error) => {
                // One op of four megabytes: no command makes one.
                tracing::error!(%error, "an entry of a forked log cannot be said again");
                Ok(())
            }
        }
    }

    /// Writes anew what own changes did that gave way to others, each once.
    pub(crate) fn write_anew(&mut self) -> Result<(), StoreError> {
        for ((id, hash), log_no) in self.batch.take_lost() {
            let log = query::log_by_number(&self.batch.tables, log_no)?;
            let key = rows::change_key(id, &hash);
            if log.is_some_and(|log| log.author == self.shared.secret.public())
                && self.batch.tables.get(Table::Said, &key)?.is_none()
            {
                self.batch.tables.put(Table::Said, &key, &OWED)?;
            }
        }
        for id in self.batch.take_contested() {
            for (hash, held) in self.owed(id)? {
                let edits = lost::edits(&self.batch.tables, id, &hash)?;
                self.batch.tables.put(Table::Said, &rows::change_key(id, &hash), &WRITTEN)?;
                if edits.is_empty() {
                    continue;
                }
                tracing::info!(%id, log = held.log_no, seq = held.seq, "what a forked log wrote is written anew");
                // An existing record stays in its space.
                let write = |draft: &mut Draft<'_>| draft.edit(id, &Space::Fleet, edits);
                if let Err(error) = self.run(write)? {
                    // A right that is gone: others would not take it either.
                    tracing::warn!(%id, error = %error.flatten(), "what a forked log wrote cannot be written anew");
                }
            }
        }
        Ok(())
    }

    /// Returns the own changes of a document that wait behind others, in the order in which they were made.
    fn owed(&self, id: DocumentId) -> Result<Vec<([u8; 32], Held)>, StoreError> {
        let tables = &self.batch.tables;
        let mut found = BTreeMap::new();
        for (key, payload) in tables.scan_prefix(Table::Waiting, &id.to_bytes(), Direction::Forward, usize::MAX)? {
            if tables.get(Table::Said, &key)?.as_deref() != Some(&OWED) {
                continue;
            }
            let held = Held::decode(&payload)?;
            let (entry, bytes) = query::change_bytes(tables, held)?;
            let order = entry.ops()[usize::from(held.op)].order(entry.header());
            if let Ok(facts) = screen::parse(&bytes) {
                found.insert((order, facts.seq), (facts.hash, held));
            }
        }
        Ok(found.into_values().collect())
    }
}
