//! Taking in entries that other nodes wrote, in any order, interrupted and repeated as it comes.

use std::collections::BTreeSet;
use std::sync::Arc;

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::FleetId;
use ctxnode_model::{NodeKey, Stamp};

use crate::apply::Prepared;
use crate::authority::Refusal;
use crate::branches::{self, Attached, Strand};
use crate::entry::{EntryError, Op, VerifiedEntry};
use crate::findings::Finding;
use crate::open::Shared;
use crate::tables::Table;
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
    /// What it follows is not what stands here at that position: its log has two histories. Send it from its beginning.
    Elsewhere,
    /// It does not come after the entry before it in the causal order. Kept out.
    Broken,
    /// Its log has as many branches as are kept, or it claims the name of one. Kept out.
    TooMany,
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
    /// For each entry the log in which it stands now; `None` for what was kept out.
    pub logs: Vec<Option<LogId>>,
    /// What a person should be told of it. [`Reader::findings`](crate::Reader::findings) has it until it was.
    pub findings: BTreeSet<Finding>,
    /// The journal position afterwards.
    pub journal: u64,
}

/// The same while the batch is being taken in.
#[derive(Default)]
struct Taken {
    outcomes: Vec<Outcome>,
    logs: Vec<Option<LogId>>,
    findings: BTreeSet<Finding>,
    /// Cuts may mean other entries than before.
    relaid: bool,
    /// Authors whose entries lie elsewhere than before.
    moved: BTreeSet<NodeKey>,
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
            let Taken { outcomes, logs, findings, .. } = group.ingest(verified)?;
            Ok(Box::new(move |committed: Result<u64, Arc<str>>| {
                let report = committed.map(|journal| IngestReport { outcomes, logs, findings, journal });
                let report = report.map_err(StoreError::Group);
                // A caller that went away no longer wants to hear.
                let _ = sender.send(report);
            }))
        }))?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

impl Group<'_, '_> {
    fn ingest(&mut self, batch: Vec<Result<VerifiedEntry, EntryError>>) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        for item in batch {
            let (outcome, log) = match item {
                Ok(entry) => self.ingest_one(&entry, &mut taken)?,
                Err(error) => (Outcome::Bad(error), None),
            };
            taken.outcomes.push(outcome);
            taken.logs.push(log);
        }
        if taken.relaid || self.batch.is_outdated {
            self.batch.renew_authority()?;
            taken.moved.iter().for_each(|author| self.batch.unsettle(*author));
        }
        for finding in &taken.findings {
            self.batch.tables.put(Table::Findings, &finding.key(), &[])?;
        }
        self.batch.flush()?;
        crate::recover::judge_again(&mut self.batch)?;
        Ok(taken)
    }

    fn ingest_one(&mut self, entry: &VerifiedEntry, taken: &mut Taken) -> Result<(Outcome, Option<LogId>), StoreError> {
        let header = entry.header();
        if !belongs(self.shared, entry) {
            return Ok((Outcome::OtherFleet, None));
        }
        let row = self.log_row(&header.log)?;
        let attached = branches::attach(&self.batch.tables, entry, row, self.batch.has_branches)?;
        let is_new = !matches!(attached, Attached::Known(_) | Attached::Broken | Attached::TooMany);
        if is_new && header.log.author == self.shared.secret.public() && header.log.epoch == self.shared.epoch() {
            // The signature is the proof: this replica would write the same positions again.
            self.renew_epoch()?;
            taken.findings.insert(Finding::OwnCameBack);
        }
        let strand = match attached {
            Attached::Known(log) => return Ok((Outcome::Duplicate, Some(log))),
            Attached::Gap(have) => return Ok((Outcome::Gap { have }, None)),
            Attached::Elsewhere => return Ok((Outcome::Elsewhere, None)),
            Attached::Broken => return Ok((Outcome::Broken, None)),
            Attached::TooMany => return Ok((Outcome::TooMany, None)),
            Attached::Next(strand) => strand,
            Attached::Branch(of) => {
                taken.findings.insert(Finding::Forked(header.log));
                self.batch.begin_branch(&of, entry)?
            }
            Attached::Displaces(strand, keep) => {
                taken.findings.insert(Finding::Forked(header.log));
                taken.relaid = true;
                taken.moved.insert(header.log.author);
                self.batch.displace(strand, keep)?
            }
        };
        if header.log.author == self.shared.secret.public() {
            taken.findings.insert(Finding::OwnCameBack);
        }
        let Strand { log, mut row, .. } = strand;
        if header.stamp <= Stamp::MAX_FOLLOWED {
            *self.clock = Stamp::max(*self.clock, header.stamp);
        }
        let refusal = self.batch.take(entry, &log, &mut row, &mut Prepared::new())?;
        // The entry that a cut names may be this one, or another one than this that stands in its place; in a log that has branches
        // also when the cut does not count at present.
        taken.relaid |= self.batch.authority.may_end_at(&log, row.length)
            || (self.batch.has_branches && branches::has_any(&self.batch.tables, &header.log)?);
        Ok((refusal.map_or(Outcome::Applied, Outcome::Held), Some(log)))
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
