//! Taking in entries that other nodes wrote, in any order, interrupted and repeated as it comes.

use std::sync::Arc;

use ctxnode_model::Stamp;
use ctxnode_model::id::FleetId;

use crate::apply::Prepared;
use crate::authority::Refusal;
use crate::entry::{EntryError, Op, VerifiedEntry};
use crate::open::Shared;
use crate::query;
use crate::writer::Group;
use crate::{Store, StoreError};

/// What became of one received entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted and applied.
    Applied,
    /// Accepted into its log and kept in quarantine.
    Held(Refusal),
    /// Known already.
    Duplicate,
    /// An earlier entry of its log is missing: ask for the log from `have + 1` on.
    Gap {
        /// How far the log is known.
        have: u64,
    },
    /// Another entry stands at its position: somebody cloned a disk. Kept out.
    Fork,
    /// It does not continue the entry before it. Kept out.
    Broken,
    /// It claims to be this node's own and is not: this node was restored from an old copy, or its key is used twice.
    OwnLog,
    /// It belongs to another fleet.
    OtherFleet,
    /// It is not an entry, or its signature does not hold.
    Bad(EntryError),
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestReport {
    /// One outcome for each entry, in the order given.
    pub outcomes: Vec<Outcome>,
    /// The journal position afterwards.
    pub journal: u64,
}

impl Store {
    /// Takes in a batch of encoded entries in one transaction and returns when they are durable.
    ///
    /// Signatures are checked on the calling thread, so that the writer only waits for what it must do itself.
    ///
    /// # Errors
    /// When the storage fails; then nothing of the batch was taken.
    pub async fn ingest(&self, batch: Vec<Vec<u8>>) -> Result<IngestReport, StoreError> {
        let verified: Vec<Result<VerifiedEntry, EntryError>> = batch.into_iter().map(VerifiedEntry::verify).collect();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(Box::new(move |group: &mut Group<'_, '_>| {
            let outcomes = group.ingest(verified)?;
            Ok(Box::new(move |committed: Result<u64, Arc<str>>| {
                let report = committed.map(|journal| IngestReport { outcomes, journal }).map_err(StoreError::Group);
                // A caller that went away no longer wants to hear.
                let _ = sender.send(report);
            }))
        }))?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

impl Group<'_, '_> {
    fn ingest(&mut self, batch: Vec<Result<VerifiedEntry, EntryError>>) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for item in batch {
            outcomes.push(match item {
                Ok(entry) => self.ingest_one(&entry)?,
                Err(error) => Outcome::Bad(error),
            });
        }
        self.batch.flush()?;
        crate::recover::judge_again(&mut self.batch)?;
        Ok(outcomes)
    }

    fn ingest_one(&mut self, entry: &VerifiedEntry) -> Result<Outcome, StoreError> {
        let header = entry.header();
        if !belongs(self.shared, entry) {
            return Ok(Outcome::OtherFleet);
        }
        let mut row = self.log_row(&header.log)?;
        if header.seq <= row.length {
            let known = query::entry(&self.batch.tables, row.number, header.seq)?;
            return Ok(if known.hash() == entry.hash() { Outcome::Duplicate } else { Outcome::Fork });
        }
        if header.log.author == self.shared.secret.public() && header.log.epoch == self.shared.epoch() {
            return Ok(Outcome::OwnLog);
        }
        if header.seq > row.length + 1 {
            return Ok(Outcome::Gap { have: row.length });
        }
        let continues = if row.length == 0 { header.prev == [0; 32] } else { header.prev == row.tip };
        if !continues || (row.length > 0 && header.stamp <= row.stamp) {
            return Ok(Outcome::Broken);
        }
        *self.clock = Stamp::max(*self.clock, header.stamp);
        let refusal = self.batch.take(entry, &mut row, &mut Prepared::new())?;
        Ok(refusal.map_or(Outcome::Applied, Outcome::Held))
    }
}

/// An entry names its fleet; the genesis entry is the one whose hash is the fleet's id.
fn belongs(shared: &Shared, entry: &VerifiedEntry) -> bool {
    let header = entry.header();
    if header.fleet == shared.fleet {
        return true;
    }
    header.fleet == FleetId([0; 16])
        && entry.hash()[..16] == shared.fleet.0
        && entry.ops().iter().all(|op| matches!(op, Op::Control(_)))
}
