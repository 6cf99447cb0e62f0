//! The durable replica: everything a node knows, in one redb file.
//!
//! Local edits and foreign entries take the same way in: one writer thread, one redb transaction that holds log,
//! document, record view, indexes and journal together, one fsync before anybody hears of it ([`Store::write`],
//! [`Store::ingest`]). Readers take snapshots ([`Store::read`]) and never wait for the writer.
//!
//! What is stored, byte by byte, is in `FORMAT.md`. Never here: network, HTTP, full-text search, printing.

mod apply;
mod authority;
mod backup;
mod body;
mod branches;
mod check;
mod clock;
mod document;
mod encode;
mod engine;
pub mod entry;
mod error;
mod findings;
mod frame;
mod fresh;
pub mod genesis;
mod guard;
mod history;
mod index_rows;
mod ingest;
mod judged;
mod keys;
mod kv;
mod location;
mod migrate;
mod once;
mod open;
mod project;
mod query;
mod recover;
mod rescue;
mod rows;
pub mod screen;
mod tables;
mod threads;
mod waiting;
mod writer;

pub use authority::{Authority, ControlOp, Cut, Refusal, Role};
pub use backup::{BackupReport, NewestBackup, backup_to, newest_backup};
pub use check::{CheckReport, Problem};
pub use clock::{Clock, Entropy, ManualClock, OsEntropy, SeededEntropy, SystemClock};
pub use error::{OpenError, StoreError, WriteError};
pub use findings::Finding;
pub use history::{FieldChange, Happened, HistoryEntry};
pub use ingest::{IngestReport, Outcome};
pub use keys::{KeyError, NodeSecret, RecoveryKey, RecoveryKeyError, verify};
pub use kv::Snapshot;
pub use location::Location;
pub use once::VerifyOnce;
pub use open::{Created, FORMAT, Options, Store};
pub use query::{JournalRow, Listing, LocalRow, QuarantineRow, Reader, Touched, ViewBytes};
pub use rescue::{RescueError, rescue_entry};
pub use tables::LocalTable;
pub use waiting::{Missing, WaitingRow};
pub use writer::{Committed, Draft};
