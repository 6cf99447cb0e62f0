//! Records: the typed values that callers see. One file per area; the merging form of each field is in [`crate::schema`].
//!
//! A record is read from its document's view, a JSON object. Every field is optional on reading, because a newer or a
//! hostile author may have left it out; what a well-formed record must have is checked where it is written.

mod knowledge;
mod operations;
mod work;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DocumentId, Kind, NodeKey, Order, SpaceId, Timestamp};

pub use knowledge::{Doc, DocOrigin, DocRevision, Note, Requirement, ScopeType};
pub use operations::{
    ClassifierMode, ClassifierSettings, Event, Machine, MachineStatus, Plan, PlanState, Venture, VentureSecrets,
    VentureSettings,
};
pub use work::{
    Claim, ClaimKind, Closed, ConfirmedBy, EndReason, Ending, Escalation, Handoff, HandoffStatus, Observed, Resolution,
    Session, SessionStatus,
};

/// A typed record of one kind (docs: of two kinds).
pub trait Record: Serialize + DeserializeOwned + Default {
    /// The kinds whose view this type reads.
    const KINDS: &'static [Kind];
}

macro_rules! record {
    ($type:ty: $($kind:ident),+) => {
        impl Record for $type {
            const KINDS: &'static [Kind] = &[$(Kind::$kind),+];
        }
    };
}

record!(Session: Session);
record!(Handoff: Handoff);
record!(Note: Note);
record!(Doc: Doc, GeneratedDoc);
record!(Requirement: Requirement);
record!(Claim: Claim);
record!(Machine: Machine);
record!(Venture: Venture);
record!(Plan: Plan);
record!(Escalation: Escalation);
record!(Event: Event);

/// What the store knows about every record, beside its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordMeta {
    /// The space whose members hold it. Its name is the record's venture, or the fleet.
    pub space: SpaceId,
    /// The entry that created it.
    pub created: Order,
    /// The newest entry that changed it.
    pub updated: Order,
    /// The revision: the heads of its document as hex, joined by `.`; changes with every change.
    pub rev: String,
    /// Whether a tombstone hides it.
    pub deleted: bool,
    /// Registers that were written concurrently and not again since; the view shows the newest value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// A register, or an entry of a map (`field.key`), with concurrent values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The field.
    pub field: String,
    /// The value that is shown; absent in what versions before it derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Written>,
    /// The values that lost, newest first.
    pub others: Vec<Written>,
}

/// One of several concurrent values, with who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The value.
    pub value: Value,
    /// The node that wrote it.
    pub node: NodeKey,
    /// The agent, when its node said which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When it was written, by that node's clock.
    pub at: Timestamp,
}

/// A record as read from the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Rec<T> {
    /// Its identity.
    pub id: DocumentId,
    /// What the store knows about it.
    pub meta: RecordMeta,
    /// Its fields.
    pub value: T,
}

impl<T> std::ops::Deref for Rec<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
