//! Full-text search over notes, docs and handoffs, on tantivy.
//!
//! The index is derived: it is filled from the journal, stores how far it got in its own commits, and is made again from
//! nothing when its directory is missing, damaged or of another version. Never here: redb, automerge, the network.

mod batch;
mod index;
mod query;
mod rank;
mod schema;
mod snippet;
mod tokens;

#[cfg(test)]
mod tests;

use thiserror::Error;

pub use batch::Batch;
pub use index::{Hit, Index, Opened, Results};
pub use query::{Clause, MAX_QUERY_CHARS, QueryError, parse};

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchKind {
    /// A note.
    Note,
    /// A doc.
    Doc,
    /// A handoff.
    Handoff,
}

impl SearchKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Doc => "doc",
            Self::Handoff => "handoff",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Note, Self::Doc, Self::Handoff].into_iter().find(|kind| kind.name() == name)
    }
}

/// A document as it is indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchDoc {
    /// What it is.
    pub kind: SearchKind,
    /// Its id: `note_...`, `ho_...`, or `scope/name`.
    pub id: String,
    /// The title; matches in it rank above matches in the body.
    pub title: String,
    /// The text.
    pub body: String,
    /// The venture code; `None` when global.
    pub venture: Option<String>,
    /// The repo.
    pub repo: Option<String>,
    /// Tags, matched whole.
    pub tags: Vec<String>,
    /// The status of a handoff.
    pub status: Option<String>,
    /// Whether a later handoff superseded it: found, marked, ranked lower.
    pub superseded: bool,
    /// Whether it is found only when asked for.
    pub archived: bool,
    /// When it last changed, in milliseconds.
    pub time_ms: i64,
}

/// One change of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds or replaces a document.
    Put(Box<SearchDoc>),
    /// Removes one.
    Remove {
        /// What it is.
        kind: SearchKind,
        /// Its id.
        id: String,
    },
}

/// What to search for. All filters combine with AND.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// 1 to 500 characters; see [`parse`].
    pub text: String,
    /// Which kinds; all when empty.
    pub kinds: Vec<SearchKind>,
    /// Only of this venture.
    pub venture: Option<String>,
    /// With `venture`: also global ones.
    pub include_global: bool,
    /// Only of these ventures and global ones; what a limited caller may see.
    pub visible: Option<Vec<String>>,
    /// Only of this repo.
    pub repo: Option<String>,
    /// With any of these tags.
    pub tags: Vec<String>,
    /// With this status.
    pub status: Option<String>,
    /// Changed at or after, in milliseconds.
    pub since: Option<i64>,
    /// Changed before, in milliseconds.
    pub until: Option<i64>,
    /// Also archived ones.
    pub include_archived: bool,
    /// The most hits.
    pub limit: usize,
    /// How many hits to skip.
    pub offset: usize,
}

/// The index failed.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The query cannot be searched for.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The index engine failed.
    #[error("the search index failed")]
    Engine(#[from] tantivy::TantivyError),
    /// The index directory cannot be used.
    #[error("the search index directory cannot be used")]
    Io(#[from] std::io::Error),
}
