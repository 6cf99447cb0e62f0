//! What taking entries in showed that a person should be told. It is written with the entries and stays until it was
//! told: they never come a second time, so a crash in between would lose it.

use ctxnode_model::frontier::LogId;

use crate::StoreError;
use crate::query::Reader;
use crate::rows::{log_from_key, log_key};
use crate::tables::{LocalTable, Table};
use crate::writer::Draft;

/// What taking entries in showed that a person should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Entries of this very node came from others: this is an older copy of the replica, or there is another copy. If
    /// they were of its present logs, it has gone on in new ones.
    OwnCameBack,
    /// A log has two histories.
    Forked(LogId),
}

const OWN: u8 = 1;
const FORKED: u8 = 2;

impl Finding {
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::OwnCameBack => vec![OWN],
            Self::Forked(log) => [&[FORKED], log_key(log).as_slice()].concat(),
        }
    }

    fn from_key(key: &[u8]) -> Result<Self, StoreError> {
        match key.split_first() {
            Some((&OWN, [])) => Ok(Self::OwnCameBack),
            Some((&FORKED, log)) => Ok(Self::Forked(log_from_key(log)?)),
            _ => Err(StoreError::Corrupt { table: Table::Findings.name(), key: key.to_vec() }),
        }
    }
}

impl Reader<'_> {
    /// Returns what nobody was told yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn findings(&self) -> Result<Vec<Finding>, StoreError> {
        let rows = self.local_prefix(LocalTable::Findings, &[], usize::MAX)?;
        rows.iter().map(|(key, _)| Finding::from_key(key)).collect()
    }
}

impl Draft<'_> {
    /// Notes that a finding was told, in the same transaction as that which tells it.
    pub fn told(&mut self, finding: &Finding) {
        self.remove_local(LocalTable::Findings, finding.key());
    }
}
