//! Why a change is refused. Fields instead of sentences: the caller quarantines by variant. Not the rules themselves.

use std::fmt;

use super::columns::Column;

/// A counted or measured part of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The data behind the chunk header.
    Data,
    /// The changes that this one depends on.
    Deps,
    /// An actor id, in bytes.
    Actor,
    /// The number of the change within its actor.
    Seq,
    /// The counter of the first op.
    StartOp,
    /// The counter behind the last op.
    EndOp,
    /// The time in seconds.
    Time,
    /// The message, in bytes.
    Message,
    /// The actors that the ops refer to.
    OtherActors,
    /// The columns.
    Columns,
    /// The ops.
    Ops,
    /// The predecessors of all ops together.
    Preds,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Deps => "deps",
            Self::Actor => "actor",
            Self::Seq => "seq",
            Self::StartOp => "start op",
            Self::EndOp => "end op",
            Self::Time => "time",
            Self::Message => "message",
            Self::OtherActors => "other actors",
            Self::Columns => "columns",
            Self::Ops => "ops",
            Self::Preds => "predecessors",
        })
    }
}

/// What one op does that no op of Automerge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpFault {
    /// The action code is unknown, or makes a table, which Automerge 0.12 panics on.
    Action(u64),
    /// The object is half given, or its counter is zero.
    Object,
    /// The key is neither a map key nor a list element, or does not suit the object.
    Key,
    /// An insertion or its absence does not suit the action or the key.
    Insert,
    /// The value does not suit its type, length or action.
    Value,
    /// The predecessors are unsorted, repeated, missing or out of place.
    Preds,
    /// A mark's name or expansion stands at an op that is not a mark, or a mark outside a list.
    Mark,
    /// An id refers to an op that is not before this one.
    Future,
    /// An actor index points outside of the actors.
    ActorIndex(u64),
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// The bytes end too early.
    #[error("change ends within byte {at}")]
    Truncated {
        /// Where more was needed.
        at: usize,
    },
    /// The chunk does not begin with Automerge's magic bytes.
    #[error("not an automerge chunk")]
    Magic,
    /// The chunk is a document, a deflated change or a bundle.
    #[error("chunk type {found} is not a plain change")]
    ChunkType {
        /// The type byte.
        found: u8,
    },
    /// The checksum is not the beginning of the hash.
    #[error("checksum mismatch")]
    Checksum,
    /// A number is not in the shortest LEB128 form or does not fit.
    #[error("bad number at byte {at}")]
    Number {
        /// Where the number begins.
        at: usize,
    },
    /// A text is not UTF-8.
    #[error("bad text at byte {at}")]
    Text {
        /// Where the text begins.
        at: usize,
    },
    /// A part is larger or smaller than allowed.
    #[error("{part} is {found}, allowed are {min} to {max}")]
    Limit {
        /// Which part.
        part: Part,
        /// Its size or value.
        found: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A list that must be sorted and without repetition is not.
    #[error("{part} are not sorted and unique")]
    Order {
        /// Which list.
        part: Part,
    },
    /// An actor is listed that no op refers to; Automerge lists only those that are.
    #[error("actor {index} is listed and not used")]
    UnusedActor {
        /// Its index, the author being 0.
        index: usize,
    },
    /// The author is an actor of a genesis change, which nobody may continue.
    #[error("actor is reserved for genesis changes")]
    ReservedActor,
    /// A column is unknown, deflated, empty or out of order.
    #[error("column {spec} is unknown, deflated, empty or out of order")]
    ColumnSpec {
        /// The raw column specification.
        spec: u64,
    },
    /// A column's runs are not the ones that Automerge writes for its values.
    #[error("column {column} is not in canonical form")]
    Runs {
        /// Which column.
        column: Column,
    },
    /// A column ends before the last op, or goes on behind it.
    #[error("column {column} does not cover the ops exactly")]
    Coverage {
        /// Which column.
        column: Column,
    },
    /// An op is malformed.
    #[error("op {index}: {fault:?}")]
    Op {
        /// The op's place in the change.
        index: u32,
        /// What is wrong.
        fault: OpFault,
    },
    /// Bytes follow the columns; an author footer is one example.
    #[error("{count} extra bytes")]
    Extra {
        /// How many.
        count: usize,
    },
    /// The author is not the signer's actor.
    #[error("actor is not the signer's")]
    WrongActor,
    /// The change is not the next one of its actor.
    #[error("seq is {found}, next is {next}")]
    WrongSeq {
        /// The change's.
        found: u64,
        /// The one that would be next.
        next: u64,
    },
    /// A change that this one depends on is not here yet.
    #[error("a dependency is not known")]
    UnknownDep {
        /// Its hash.
        hash: [u8; 32],
    },
    /// The first op's counter is not the next one after all that the change depends on.
    #[error("start op is {found}, next is {next}")]
    StartOp {
        /// The change's.
        found: u64,
        /// The one that would be next.
        next: u64,
    },
    /// The change depends on nothing, although records of its kind begin with a genesis change.
    #[error("it does not build on the beginning of the record")]
    NoDeps,
    /// The change does not depend on the one before it of its actor.
    #[error("the actor's change before it is no dependency")]
    NotAfterOwn,
    /// The ops refer to an op of another actor that the change does not build on.
    #[error("it refers to what it does not build on")]
    NotInPast {
        /// Its index, the author being 0.
        index: usize,
    },
}
