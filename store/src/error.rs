//! What can go wrong in the store. Corruption, a full disk and a refusal are different, because callers branch on them.

use std::path::PathBuf;

use thiserror::Error;

/// A read or a write failed for a reason that is not the caller's.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk refused: full, gone, or not writable.
    #[error("storage failed")]
    Io(#[source] std::io::Error),
    /// A stored value does not match its hash or cannot be read.
    #[error("stored value is damaged in table {table}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key.
        key: Vec<u8>,
    },
    /// The storage engine failed for another reason.
    #[error("storage engine failed")]
    Engine(#[source] Box<redb::Error>),
    /// The document library refused what this version itself made.
    #[error("document {id} cannot be edited")]
    Document {
        /// The document.
        id: String,
        /// What it said.
        #[source]
        source: Box<automerge::AutomergeError>,
    },
    /// An edit names a field that the kind does not have, or in a way that its shape does not allow.
    #[error("kind {kind} has no field {field} of that shape")]
    Schema {
        /// The kind.
        kind: &'static str,
        /// The field.
        field: String,
    },
    /// One command is larger than an entry may be.
    #[error("the change is {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Encoded bytes.
        size: usize,
        /// [`crate::entry::MAX_ENTRY_LEN`].
        limit: usize,
    },
    /// There is no record to hide or bring back.
    #[error("there is no record {id}")]
    NoRecord {
        /// The id.
        id: String,
    },
    /// The fleet was made by a newer version, in a way that this one does not know.
    #[error("the fleet was made by a newer version of ctxnode: install that one here too")]
    NewerFleet,
    /// The id of a new record was made for another space than it would lie in.
    #[error("{id} is not the id of a record of this space")]
    OtherSpace {
        /// The id.
        id: String,
    },
    /// The node has no right to write this; its own replica refuses it before any other does.
    #[error("this node may not write {what}")]
    Forbidden {
        /// The kind or the control op.
        what: &'static str,
    },
    /// The writer has stopped, because the store is closed.
    #[error("the store is closed")]
    Closed,
    /// Earlier in the same group of commands the storage failed, and nothing of the group was written.
    #[error("storage failed: {0}")]
    Group(std::sync::Arc<str>),
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == std::io::ErrorKind::StorageFull,
            Self::Group(text) => text.contains("No space left"),
            _ => false,
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(io) => Self::Io(io),
            redb::Error::PreviousIo => Self::Io(std::io::Error::other("an earlier write to the store failed")),
            other => Self::Engine(Box::new(other)),
        }
    }
}

macro_rules! from_redb {
    ($($source:ty),*) => {
        $(impl From<$source> for StoreError {
            fn from(error: $source) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError
);

/// A write was refused by the caller's own rule, or failed in the store.
#[derive(Debug, Error)]
pub enum WriteError<E> {
    /// The closure refused; nothing was written.
    #[error("refused")]
    Refused(E),
    /// The store failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WriteError<StoreError> {
    /// Returns the one error that it is.
    #[must_use]
    pub fn flatten(self) -> StoreError {
        match self {
            Self::Refused(error) | Self::Store(error) => error,
        }
    }
}

/// The store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no store at that place.
    #[error("no store at {0}")]
    Missing(PathBuf),
    /// There is already a store at that place.
    #[error("a store exists at {0}")]
    Exists(PathBuf),
    /// Another process has it open.
    #[error("the store at {0} is open in another process")]
    Locked(PathBuf),
    /// A newer version wrote it. Not a byte was changed.
    #[error("the store has format {found}, this version reads up to {supported}")]
    Newer {
        /// What the file says.
        found: u32,
        /// [`crate::FORMAT`].
        supported: u32,
    },
    /// It belongs to another node key than the one given.
    #[error("the store belongs to another node key")]
    WrongKey,
    /// The file is not a store, or damaged beyond its own checks.
    #[error("the store at {path} cannot be read")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<redb::Error>,
    },
    /// A file or directory could not be read or written.
    #[error("{path} cannot be used")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Reading it failed after it was opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}
