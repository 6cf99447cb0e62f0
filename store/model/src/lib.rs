//! The words of ctxnode as types: ids, times, records, edits, validation, index rows, the journal and the frontier.
//!
//! Everything here is pure. There is no clock, no file, no async and no storage engine: time and randomness arrive as
//! arguments, so that every rule can be driven by property tests. What a rule decides, `ctxnode-store` makes durable
//! and `ctxnode-node` offers to callers.
//!
//! Never here: redb, automerge, HTTP, printing.

pub mod edit;
pub mod error;
pub mod frontier;
pub mod id;
pub mod ids;
pub mod index;
pub mod page;
pub mod record;
pub mod rules;
pub mod schema;
pub mod spaces;
pub mod time;

pub use edit::{Edit, Scalar};
pub use error::{FieldError, Invalid};
pub use id::{DocumentId, EntryHash, IdError, Kind, NodeKey, Space, SpaceId};
pub use ids::Ids;
pub use record::{Conflict, Rec, Record, RecordMeta, Written};
pub use spaces::Spaces;
pub use time::{Order, Stamp, Timestamp};
