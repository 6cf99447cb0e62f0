//! Integrity: reads everything, verifies every chain and signature, derives every view again and compares.

use ctxnode_model::frontier::LogId;
use ctxnode_model::{DocumentId, index};

use crate::apply::{State, derive};
use crate::entry::VerifiedEntry;
use crate::kv::{Kv, Snapshot};
use crate::rows::{self, DocumentRow, LogRow, StoredRecord};
use crate::tables::Table;
use crate::{StoreError, branches, query};

/// How many rows are read at a time.
const STEP: usize = 256;
/// How many problems are named; beyond that they are only counted.
const NAMED: usize = 50;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries whose chain and signature were verified.
    pub entries: u64,
    /// Documents whose view was derived again.
    pub documents: u64,
    /// Rows of all tables that were read.
    pub rows: u64,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many there are in all.
    pub problem_count: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The table.
    pub table: &'static str,
    /// The key as hex, or the record's id.
    pub what: String,
    /// What is wrong.
    pub why: &'static str,
}

impl CheckReport {
    fn add(&mut self, table: Table, what: impl Into<String>, why: &'static str) {
        self.problem_count += 1;
        if self.problems.len() < NAMED {
            self.problems.push(Problem { table: table.name(), what: what.into(), why });
        }
    }
}

impl Snapshot {
    /// Checks everything in this snapshot. Damage is reported, not returned as an error.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn check(&self, mut progress: impl FnMut(u64)) -> Result<CheckReport, StoreError> {
        let mut report = CheckReport::default();
        for table in Table::ALL {
            self.check_table(*table, &mut report, &mut progress)?;
        }
        Ok(report)
    }

    fn check_table(
        &self,
        table: Table,
        report: &mut CheckReport,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        let mut chain = Chain::default();
        loop {
            let (step, damaged) = self.step(table, after.as_deref(), STEP)?;
            if let Some(key) = &damaged {
                report.add(table, hex(key), "the value does not match its hash");
            }
            let Some(last) = damaged.or_else(|| step.last().map(|(key, _)| key.clone())) else { return Ok(()) };
            after = Some(last);
            report.rows += step.len() as u64;
            progress(report.rows);
            for (key, payload) in &step {
                match table {
                    Table::Entries => self.check_entry(key, payload, &mut chain, report)?,
                    Table::Documents => self.check_document(key, payload, report)?,
                    _ => {}
                }
            }
        }
    }

    fn check_entry(
        &self,
        key: &[u8],
        payload: &[u8],
        chain: &mut Chain,
        report: &mut CheckReport,
    ) -> Result<(), StoreError> {
        report.entries += 1;
        let Ok(entry) = VerifiedEntry::verify(payload.to_vec()) else {
            report.add(Table::Entries, hex(key), "the signature does not hold");
            return Ok(());
        };
        let header = entry.header();
        let log_no = key.first_chunk().map_or(0, |chunk| u32::from_be_bytes(*chunk));
        if chain.log_no != Some(log_no) {
            *chain = self.chain_of(log_no, &entry)?;
        }
        let seq = rows::be_u64(&key[4..]);
        if seq != chain.seq + 1 || header.seq != chain.claims + 1 || header.prev != chain.tip {
            report.add(Table::Entries, hex(key), "the chain is broken");
        }
        (chain.seq, chain.claims, chain.tip) = (seq, header.seq, *entry.hash());
        let row = match chain.log {
            Some(log) => self.get(Table::Logs, &rows::log_key(&log))?.map(|row| LogRow::decode(&row)).transpose()?,
            None => None,
        };
        match row {
            Some(row) if row.length > seq => {}
            Some(row) if row.length == seq && row.tip == *entry.hash() => {}
            _ => report.add(Table::Logs, hex(key), "the log's length or tip is wrong"),
        }
        Ok(())
    }

    /// Where the entries of a log begin: at nothing, or for a branch behind an entry of another strand, whose name it bears.
    fn chain_of(&self, log_no: u32, first: &VerifiedEntry) -> Result<Chain, StoreError> {
        let log = query::log_by_number(self, log_no)?;
        let begun = Chain { log_no: Some(log_no), log, ..Chain::default() };
        let Some((origin, start)) = branches::origin(self, log_no)? else { return Ok(begun) };
        let named = log.is_some_and(|log| log.epoch == branches::branch_epoch(first.hash()));
        let follows = branches::follows_a_strand(self, origin, first)?;
        let tip = if named && follows { first.header().prev } else { [0xff; 32] };
        Ok(Chain { claims: start - 1, tip, ..begun })
    }

    fn check_document(&self, key: &[u8], payload: &[u8], report: &mut CheckReport) -> Result<(), StoreError> {
        report.documents += 1;
        let Some(id) = DocumentId::from_bytes(key) else { return Ok(()) };
        let row = DocumentRow::decode(payload)?;
        let derived = query::build_document(self, id).and_then(|doc| derive(self, id, &row, &State::Loaded(doc)));
        let (record, body) = match derived {
            Ok(derived) => derived.unzip(),
            Err(StoreError::Corrupt { .. }) => {
                report.add(Table::Documents, id.to_string(), "the document cannot be built from its changes");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if self.get(Table::Records, key)?.as_deref() != record.as_ref().map(StoredRecord::encode).as_deref() {
            report.add(Table::Records, id.to_string(), "the view differs from the document");
        }
        if self.get(Table::Bodies, key)?.as_deref() != body.flatten().as_deref().map(str::as_bytes) {
            report.add(Table::Bodies, id.to_string(), "the body differs from the document");
        }
        let expected = record.as_ref().map_or_else(Vec::new, |record| index::rows(id, &record.meta, &record.view));
        for index_row in expected {
            if self.get(Table::Index, &rows::index_key(&index_row, id))?.is_none() {
                report.add(Table::Index, id.to_string(), "an index row is missing");
            }
        }
        Ok(())
    }
}

/// How far the entries of a log have been followed.
#[derive(Default)]
struct Chain {
    log_no: Option<u32>,
    log: Option<LogId>,
    seq: u64,
    /// The position that the last entry claims; in a branch it is not where it lies.
    claims: u64,
    tip: [u8; 32],
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
