//! What has arrived and waits: changes of a record that build on others which are not applied here. Reading only; when one
//! waits, and when it is applied, is decided in `apply`.

use std::collections::BTreeMap;

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::DOCUMENT_ID_LEN;
use ctxnode_model::{DocumentId, Timestamp};
use serde_json::Value;

use crate::entry::Op;
use crate::kv::Direction;
use crate::query::{self, Reader};
use crate::rows::{self, Held, QuarantineReason};
use crate::screen::{self, ChangeFacts};
use crate::tables::Table;
use crate::{StoreError, branches, genesis};

/// How many entries in quarantine are searched for what a change waits for. Each is decoded; with more of them, some are
/// said to be missing although they lie there, and what to do is the same.
const SEARCHED: usize = 200;

/// How many changes that wait are looked at to be counted, so that asking costs the same however many there are.
const COUNTED: usize = 1_000;

/// A change that is kept until what it builds on is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRow {
    /// The record.
    pub document: DocumentId,
    /// The log that holds it.
    pub log: LogId,
    /// The position in the log.
    pub seq: u64,
    /// The op in the entry.
    pub op: u16,
    /// When it was written, by its author's clock.
    pub at: Timestamp,
    /// What it waits for.
    pub missing: Vec<Missing>,
}

/// Something that a change builds on and that is not applied here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A change that has not arrived.
    Change([u8; 32]),
    /// A change that waits itself.
    Waiting([u8; 32]),
    /// A change that lies in quarantine, and where it is.
    Quarantined {
        /// Its hash.
        hash: [u8; 32],
        /// The log that holds it.
        log: LogId,
        /// The position in the log.
        seq: u64,
        /// Why it is held back, as in [`QuarantineRow::reason`](crate::QuarantineRow).
        reason: Value,
    },
    /// Earlier changes of the same author to the record.
    Earlier,
}

impl Reader<'_> {
    /// Returns how many changes wait for others; beyond [`COUNTED`] as if all of them did.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn waiting_count(&self) -> Result<u64, StoreError> {
        let all = self.kv.len(Table::Waiting)?;
        let mut named = 0;
        for (_, held) in self.kv.scan_prefix(Table::Waiting, &[], Direction::Forward, COUNTED)? {
            // What is named in quarantine waits for nothing that could come.
            named += u64::from(self.kv.get(Table::Quarantine, &held)?.is_some());
        }
        Ok(all - named)
    }

    /// Returns changes that wait for others, record by record, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn waiting(&self, limit: usize) -> Result<Vec<WaitingRow>, StoreError> {
        let found = self.kv.scan_prefix(Table::Waiting, &[], Direction::Forward, limit)?;
        let mut quarantined = None;
        let mut rows = Vec::new();
        for (key, payload) in found {
            let held = Held::decode(&payload)?;
            if self.kv.get(Table::Quarantine, &held.encode())?.is_some() {
                // It is listed there, and waits for nothing that could come.
                continue;
            }
            let id = key.get(..DOCUMENT_ID_LEN).and_then(DocumentId::from_bytes);
            let log = query::log_by_number(self.kv, held.log_no)?;
            let (Some(document), Some(log)) = (id, log) else { continue };
            let (entry, bytes) = query::change_bytes(self.kv, held)?;
            let Ok(facts) = screen::parse(&bytes) else { continue };
            let missing = self.missing(document, held, &facts, &mut quarantined)?;
            rows.push(WaitingRow { document, log, seq: held.seq, op: held.op, at: entry.header().time, missing });
        }
        Ok(rows)
    }

    fn missing(
        &self,
        id: DocumentId,
        held: Held,
        facts: &ChangeFacts,
        quarantined: &mut Option<BTreeMap<[u8; 32], (Held, Value)>>,
    ) -> Result<Vec<Missing>, StoreError> {
        let of_kind = genesis::genesis(id.kind).map(|genesis| genesis.hash);
        let mut missing = Vec::new();
        for hash in facts.deps.iter().copied().filter(|hash| Some(*hash) != of_kind) {
            let key = rows::change_key(id, &hash);
            if self.kv.get(Table::Changes, &key)?.is_some() {
                continue;
            }
            let waiting = self.kv.scan_prefix(Table::Waiting, &key, Direction::Forward, 1)?;
            if let Some((_, held)) = waiting.first()
                && self.kv.get(Table::Quarantine, held)?.is_none()
            {
                missing.push(Missing::Waiting(hash));
                continue;
            }
            if quarantined.is_none() {
                *quarantined = Some(self.quarantined_changes()?);
            }
            let place = quarantined.as_ref().and_then(|all| all.get(&hash));
            let log = place.map(|(held, _)| query::log_by_number(self.kv, held.log_no)).transpose()?.flatten();
            missing.push(match (place, log) {
                (Some((held, reason)), Some(log)) => {
                    Missing::Quarantined { hash, log, seq: held.seq, reason: reason.clone() }
                }
                _ => Missing::Change(hash),
            });
        }
        let authors = query::document_row(self.kv, id)?.map(|row| row.authors).unwrap_or_default();
        let origin = branches::origin(self.kv, held.log_no)?.map_or(held.log_no, |(origin, _)| origin);
        let next = authors.get(&origin).copied().unwrap_or(0) + 1;
        // Whoever refers to an author that is not here builds on a change of it, which is missing then.
        if missing.is_empty() && facts.seq > next {
            missing.push(Missing::Earlier);
        }
        Ok(missing)
    }

    fn quarantined_changes(&self) -> Result<BTreeMap<[u8; 32], (Held, Value)>, StoreError> {
        let mut found = BTreeMap::new();
        for (key, payload) in self.kv.scan_prefix(Table::Quarantine, &[], Direction::Forward, SEARCHED)? {
            let held = Held::decode(&key)?;
            let reason = serde_json::to_value(QuarantineReason::decode(&payload)?).unwrap_or(Value::Null);
            let entry = query::entry(self.kv, held.log_no, held.seq)?;
            for (at, op) in entry.ops().iter().enumerate() {
                if held.op != rows::WHOLE_ENTRY && usize::from(held.op) != at {
                    continue;
                }
                if let Op::Change { change, .. } = op
                    && let Ok(facts) = screen::parse(change)
                {
                    found.insert(facts.hash, (held, reason.clone()));
                }
            }
        }
        Ok(found)
    }
}
