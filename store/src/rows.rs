//! Keys and values of the tables, as bytes. `FORMAT.md` says the same in words.

use std::collections::BTreeMap;

use automerge::ChangeHash;
use ctxnode_model::frontier::LogId;
use ctxnode_model::id::DOCUMENT_ID_LEN;
use ctxnode_model::index::{Index, IndexRow};
use ctxnode_model::{DocumentId, Kind, NodeKey, Order, RecordMeta, SpaceId, Stamp, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::StoreError;
use crate::authority::Refusal;
use crate::document::Fault;
use crate::kv::WriteTables;
use crate::tables::Table;

/// The op number that stands for all of an entry.
pub(crate) const WHOLE_ENTRY: u16 = u16::MAX;

const ORDER_LEN: usize = 56;

/// Reads a big-endian number from the first eight bytes; shorter values read as 0.
pub(crate) fn be_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

pub(crate) fn entry_key(log_no: u32, seq: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&log_no.to_be_bytes());
    key[4..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(crate) fn held_key(log_no: u32, seq: u64, op: u16) -> [u8; 14] {
    let mut key = [0; 14];
    key[..12].copy_from_slice(&entry_key(log_no, seq));
    key[12..].copy_from_slice(&op.to_be_bytes());
    key
}

pub(crate) fn change_key(id: DocumentId, hash: &[u8; 32]) -> [u8; DOCUMENT_ID_LEN + 32] {
    let mut key = [0; DOCUMENT_ID_LEN + 32];
    key[..DOCUMENT_ID_LEN].copy_from_slice(&id.to_bytes());
    key[DOCUMENT_ID_LEN..].copy_from_slice(hash);
    key
}

pub(crate) fn order_key(order: &Order) -> [u8; ORDER_LEN] {
    let mut key = [0; ORDER_LEN];
    key[..8].copy_from_slice(&order.stamp.0.to_be_bytes());
    key[8..40].copy_from_slice(&order.author.0);
    key[40..48].copy_from_slice(&order.epoch.to_be_bytes());
    key[48..].copy_from_slice(&order.seq.to_be_bytes());
    key
}

pub(crate) fn mark_key(id: DocumentId, order: &Order) -> Vec<u8> {
    [&id.to_bytes()[..], &order_key(order)].concat()
}

/// A tombstone or revival: which entry says so, and whether it hides.
pub(crate) fn mark_value(held: Held, hides: bool) -> Vec<u8> {
    [&held.encode()[..], &[u8::from(hides)]].concat()
}

pub(crate) fn mark_from_row(key: &[u8], payload: &[u8]) -> Result<(Order, Held, bool), StoreError> {
    let mut input = Input::new(Table::Marks, key);
    input.take(DOCUMENT_ID_LEN)?;
    let order = input.order()?;
    let mut input = Input::new(Table::Marks, payload);
    let (held, flag) = (input.held()?, input.array::<1>()?[0]);
    input.end((order, held, flag == 1))
}

pub(crate) fn order_from_key(key: &[u8]) -> Result<Order, StoreError> {
    let mut input = Input::new(Table::Control, key);
    input.order()
}

/// `index u8 | kind u8 | prefix parts, each followed by 0`.
pub(crate) fn index_prefix<S: AsRef<str>>(index: Index, kind: Kind, prefix: &[S]) -> Vec<u8> {
    let mut key = vec![index as u8, kind as u8];
    for part in prefix {
        key.extend_from_slice(part.as_ref().as_bytes());
        key.push(0);
    }
    key
}

/// The prefix, `sort u64`, `id 16`.
pub(crate) fn index_key(row: &IndexRow, id: DocumentId) -> Vec<u8> {
    let mut key = index_prefix(row.index, id.kind, &row.prefix);
    key.extend_from_slice(&row.sort.to_be_bytes());
    key.extend_from_slice(&id.raw);
    key
}

/// Reads sort and id from the end of an index key.
pub(crate) fn index_tail(key: &[u8]) -> Option<(u64, [u8; 16])> {
    let tail: &[u8; 24] = key.last_chunk()?;
    Some((be_u64(tail), tail[8..].try_into().ok()?))
}

pub(crate) fn log_key(log: &LogId) -> [u8; 56] {
    let mut key = [0; 56];
    key[..16].copy_from_slice(&log.space.0);
    key[16..48].copy_from_slice(&log.author.0);
    key[48..].copy_from_slice(&log.epoch.to_be_bytes());
    key
}

pub(crate) fn log_from_key(key: &[u8]) -> Result<LogId, StoreError> {
    let mut input = Input::new(Table::Logs, key);
    Ok(LogId { space: SpaceId(input.array()?), author: NodeKey(input.array()?), epoch: input.u64()? })
}

/// How far a log is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogRow {
    pub(crate) number: u32,
    pub(crate) length: u64,
    pub(crate) tip: [u8; 32],
    pub(crate) stamp: Stamp,
}

impl LogRow {
    pub(crate) fn save(&self, tables: &WriteTables<'_>, log: &LogId) -> Result<(), StoreError> {
        let mut out = Vec::with_capacity(52);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.tip);
        out.extend_from_slice(&self.stamp.0.to_be_bytes());
        if self.length == 1 {
            tables.put(Table::LogNumbers, &self.number.to_be_bytes(), &log_key(log))?;
        }
        tables.put(Table::Logs, &log_key(log), &out)
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input::new(Table::Logs, payload);
        let row = Self { number: input.u32()?, length: input.u64()?, tip: input.array()?, stamp: Stamp(input.u64()?) };
        input.end(row)
    }
}

/// The key of a change that waits: two entries may hold the same change, and each counts where it stands.
pub(crate) fn waiting_key(id: DocumentId, hash: &[u8; 32], held: Held) -> Vec<u8> {
    [&change_key(id, hash)[..], &held.encode()].concat()
}

/// Encodes what a branch is a branch of, and which position its first entry claims.
pub(crate) fn branch_encode(origin: u32, start: u64) -> Vec<u8> {
    [&origin.to_be_bytes()[..], &start.to_be_bytes()].concat()
}

/// Decodes the same.
pub(crate) fn branch_decode(payload: &[u8]) -> Result<(u32, u64), StoreError> {
    let mut input = Input::new(Table::Branches, payload);
    let row = (input.u32()?, input.u64()?);
    input.end(row)
}

/// An op inside a stored entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) log_no: u32,
    pub(crate) seq: u64,
    pub(crate) op: u16,
}

impl Held {
    pub(crate) fn encode(self) -> [u8; 14] {
        held_key(self.log_no, self.seq, self.op)
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input::new(Table::Waiting, payload);
        let held = input.held()?;
        input.end(held)
    }
}

/// An applied change of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    /// The order in which this replica applied it.
    pub(crate) ordinal: u32,
    pub(crate) held: Held,
    pub(crate) max_op: u64,
    pub(crate) stamp: Stamp,
    pub(crate) time: Timestamp,
}

impl ChangeRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(42);
        out.extend_from_slice(&self.ordinal.to_be_bytes());
        out.extend_from_slice(&self.held.encode());
        out.extend_from_slice(&self.max_op.to_be_bytes());
        out.extend_from_slice(&self.stamp.0.to_be_bytes());
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input::new(Table::Changes, payload);
        let row = Self {
            ordinal: input.u32()?,
            held: input.held()?,
            max_op: input.u64()?,
            stamp: Stamp(input.u64()?),
            time: Timestamp(i64::from_be_bytes(input.array()?)),
        };
        input.end(row)
    }
}

/// What is known of a document beside its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentRow {
    pub(crate) space: SpaceId,
    pub(crate) changes: u32,
    /// The number of changes that the save holds; 0 without one.
    pub(crate) saved: u32,
    /// The newest tombstone or revival, and whether it hides.
    pub(crate) tombstone: Option<(Order, bool)>,
    pub(crate) created: Order,
    pub(crate) updated: Order,
    pub(crate) heads: Vec<ChangeHash>,
    /// Per author's log the last sequence number of its actor here.
    pub(crate) authors: BTreeMap<u32, u64>,
}

impl DocumentRow {
    pub(crate) fn new(kind: Kind, space: SpaceId) -> Self {
        let heads = crate::genesis::genesis(kind).map(|genesis| ChangeHash(genesis.hash)).into_iter().collect();
        Self {
            space,
            changes: 0,
            saved: 0,
            tombstone: None,
            created: Order::FIRST,
            updated: Order::FIRST,
            heads,
            authors: BTreeMap::new(),
        }
    }

    /// Widens the span of orders; the first touch sets both ends. The document belongs to the space of its first op:
    /// which op arrived first plays no part.
    pub(crate) fn touch(&mut self, order: Order, space: SpaceId) {
        // A log has one entry at an order, and each space has logs of its own.
        if self.created == Order::FIRST || (order, space) < (self.created, self.space) {
            self.created = order;
            self.space = space;
        }
        self.updated = self.updated.max(order);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.space.0);
        out.extend_from_slice(&self.changes.to_be_bytes());
        out.extend_from_slice(&self.saved.to_be_bytes());
        out.push(match self.tombstone {
            None => 0,
            Some((_, true)) => 1,
            Some((_, false)) => 2,
        });
        if let Some((order, _)) = &self.tombstone {
            out.extend_from_slice(&order_key(order));
        }
        out.extend_from_slice(&order_key(&self.created));
        out.extend_from_slice(&order_key(&self.updated));
        out.extend_from_slice(&(self.heads.len() as u32).to_be_bytes());
        self.heads.iter().for_each(|head| out.extend_from_slice(&head.0));
        out.extend_from_slice(&(self.authors.len() as u32).to_be_bytes());
        for (log_no, seq) in &self.authors {
            out.extend_from_slice(&log_no.to_be_bytes());
            out.extend_from_slice(&seq.to_be_bytes());
        }
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input::new(Table::Documents, payload);
        let space = SpaceId(input.array()?);
        let changes = input.u32()?;
        let saved = input.u32()?;
        let tombstone = match input.array::<1>()?[0] {
            0 => None,
            flag => Some((input.order()?, flag == 1)),
        };
        let created = input.order()?;
        let updated = input.order()?;
        let heads = (0..input.u32()?).map(|_| input.array().map(ChangeHash)).collect::<Result<_, _>>()?;
        let authors = (0..input.u32()?).map(|_| Ok((input.u32()?, input.u64()?))).collect::<Result<_, StoreError>>()?;
        input.end(Self { space, changes, saved, tombstone, created, updated, heads, authors })
    }
}

/// One step of the journal: which entry was accepted, and whose views may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Log number and position; absent when views changed without a new entry.
    pub(crate) log: Option<(u32, u64)>,
    /// The documents.
    pub documents: Vec<DocumentId>,
}

impl JournalRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (log_no, seq) = self.log.unwrap_or((u32::MAX, 0));
        let mut out = Vec::with_capacity(16 + self.documents.len() * DOCUMENT_ID_LEN);
        out.extend_from_slice(&entry_key(log_no, seq));
        out.extend_from_slice(&(self.documents.len() as u32).to_be_bytes());
        self.documents.iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input::new(Table::Journal, payload);
        let (log_no, seq) = (input.u32()?, input.u64()?);
        let mut documents = Vec::new();
        for _ in 0..input.u32()? {
            // A document of a kind that an older binary does not know is not its reader's business.
            documents.extend(DocumentId::from_bytes(input.take(DOCUMENT_ID_LEN)?));
        }
        let log = (log_no != u32::MAX).then_some((log_no, seq));
        input.end(Self { log, documents })
    }
}

/// Why an op or an entry is kept and not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub(crate) enum QuarantineReason {
    /// The author had no right.
    Right {
        /// Which one.
        reason: Refusal,
    },
    /// The change did not pass the screener.
    Screened {
        /// What it found.
        error: String,
    },
    /// The change names an actor that is not its author's.
    WrongActor,
    /// The record lies in another space than the log.
    OtherSpace,
    /// Another change of the same author has its number in the document, and comes first.
    Rival,
    /// The document library panicked on it.
    Panicked,
    /// The document library refused it.
    Refused {
        /// What it said.
        error: String,
    },
    /// The document library took it without effect, or its document could not be read afterwards.
    NotApplied,
    /// A newer version has held it.
    #[serde(other)]
    Unknown,
}

impl From<Fault> for QuarantineReason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Panicked => Self::Panicked,
            Fault::Refused(error) => Self::Refused { error },
            Fault::NotApplied => Self::NotApplied,
        }
    }
}

impl QuarantineReason {
    /// Says it to people.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Right { reason } => reason.to_string(),
            Self::Screened { error } => format!("the change was refused before it was looked into: {error}"),
            Self::WrongActor => "the change names an actor that is not its author's".to_owned(),
            Self::OtherSpace => "the record lies in another space than the log that changes it".to_owned(),
            Self::Rival => {
                "another history of the same machine changed the record at the same time, and was kept".to_owned()
            }
            Self::Panicked => "the document library failed on the change".to_owned(),
            Self::Refused { error } => format!("the document library refused the change: {error}"),
            Self::Unknown => "a newer version of ctxnode has held it back".to_owned(),
            Self::NotApplied => "the change had no effect, or its document could not be read afterwards".to_owned(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(payload)
            .map_err(|_| StoreError::Corrupt { table: Table::Quarantine.name(), key: Vec::new() })
    }
}

/// A record view with what the store knows about it: JSON, so that a person can read it and fields that this version
/// does not know survive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredRecord {
    pub(crate) meta: RecordMeta,
    pub(crate) view: Map<String, Value>,
}

impl StoredRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(payload)
            .map_err(|_| StoreError::Corrupt { table: Table::Records.name(), key: Vec::new() })
    }
}

/// Reads fixed-size parts; what does not fit is corruption of that table.
struct Input<'a> {
    table: Table,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn new(table: Table, bytes: &'a [u8]) -> Self {
        Self { table, rest: bytes }
    }

    fn corrupt(&self) -> StoreError {
        StoreError::Corrupt { table: self.table.name(), key: Vec::new() }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or_else(|| self.corrupt())?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| self.corrupt())
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    fn held(&mut self) -> Result<Held, StoreError> {
        Ok(Held { log_no: self.u32()?, seq: self.u64()?, op: u16::from_be_bytes(self.array()?) })
    }

    fn order(&mut self) -> Result<Order, StoreError> {
        Ok(Order { stamp: Stamp(self.u64()?), author: NodeKey(self.array()?), epoch: self.u64()?, seq: self.u64()? })
    }

    fn end<T>(&self, value: T) -> Result<T, StoreError> {
        if self.rest.is_empty() { Ok(value) } else { Err(self.corrupt()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_stored_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (LogRow::decode(&bytes), Held::decode(&bytes), ChangeRow::decode(&bytes));
            let _ = (DocumentRow::decode(&bytes), JournalRow::decode(&bytes), order_from_key(&bytes));
            let _ = (log_from_key(&bytes), index_tail(&bytes));
        }

        #[test]
        fn index_keys_sort_by_sort_then_id(a: (u64, [u8; 16]), b: (u64, [u8; 16])) {
            let key = |(sort, raw): (u64, [u8; 16])| {
                let row = IndexRow { index: Index::Venture, prefix: vec!["alpha".to_owned()], sort };
                index_key(&row, DocumentId { kind: Kind::Note, raw })
            };
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
            prop_assert_eq!(index_tail(&key(a)), Some(a));
        }

        #[test]
        fn order_keys_sort_like_orders(a: (u64, [u8; 32], u64, u64), b: (u64, [u8; 32], u64, u64)) {
            let order = |(stamp, author, epoch, seq)| Order { stamp: Stamp(stamp), author: NodeKey(author), epoch, seq };
            prop_assert_eq!(order_key(&order(a)).cmp(&order_key(&order(b))), order(a).cmp(&order(b)));
            prop_assert_eq!(order_from_key(&order_key(&order(a))).unwrap(), order(a));
        }
    }

    #[test]
    fn rows_round_trip() {
        let order = Order { stamp: Stamp(3), author: NodeKey([4; 32]), epoch: 5, seq: 6 };
        let mut row = DocumentRow::new(Kind::Claim, SpaceId([1; 16]));
        row.touch(order, SpaceId([1; 16]));
        row.tombstone = Some((order, true));
        row.heads.push(ChangeHash([9; 32]));
        row.authors.insert(7, 8);
        assert_eq!(DocumentRow::decode(&row.encode()).unwrap(), row);
        let journal = JournalRow { log: Some((1, 2)), documents: vec![DocumentId { kind: Kind::Plan, raw: [3; 16] }] };
        assert_eq!(JournalRow::decode(&journal.encode()).unwrap(), journal);
    }
}
