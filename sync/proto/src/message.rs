//! What two peers say to each other. CBOR maps with numbered keys: a newer version may add keys, which older ones skip.

use ctxnode_model::frontier::{Head, Heads, LogId};
use ctxnode_model::id::FleetId;
use ctxnode_model::{NodeKey, SpaceId};
use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

use crate::limits::{BATCH_ENTRIES, MAX_LOGS, MAX_TEXT};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message of either side.
    Hello(Hello),
    /// Where all logs end that the receiver may see: a full statement, made when digests differ.
    Heads(Heads),
    /// A part of a statement that is too large for one message; [`Self::Heads`] ends it.
    HeadsPart(Heads),
    /// Entries that the receiver lacks.
    Entries(Vec<Entries>),
    /// Where the named logs end now, after so many batches were made durable.
    Ack {
        /// How many batches this answers.
        batches: u32,
        /// The logs of those batches.
        heads: Heads,
    },
    /// Who is alive somewhere: signed by its author, opaque here, so that it can be forwarded.
    Presence(Vec<u8>),
    /// The last message, with why.
    Bye(Bye),
}

/// What either side says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The oldest protocol version that is spoken.
    #[n(0)]
    pub oldest: u16,
    /// The newest.
    #[n(1)]
    pub newest: u16,
    /// The fleet.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub fleet: [u8; 16],
    /// Version and commit of the software; of what is heard [`MAX_TEXT`] characters.
    #[cbor(n(3), decode_with = "read_text")]
    pub software: String,
    /// The digest of the heads of all logs in spaces that both may read.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The wall clock, in milliseconds since 1970: to report skew, never for correctness.
    #[n(5)]
    pub clock_ms: i64,
}

impl Hello {
    /// Returns the fleet's id.
    #[must_use]
    pub fn fleet_id(&self) -> FleetId {
        FleetId(self.fleet)
    }
}

/// A run of entries of one log, from position `from` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The log.
    pub log: LogId,
    /// The position of the first.
    pub from: u64,
    /// The signed bytes, in order.
    pub entries: Vec<Vec<u8>>,
}

impl Entries {
    /// Returns the position of the last.
    #[must_use]
    pub fn to(&self) -> u64 {
        self.from + self.entries.len() as u64 - 1
    }
}

/// Why an exchange ends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bye {
    /// The reason.
    #[n(0)]
    pub code: u16,
    /// For people; of what is heard [`MAX_TEXT`] characters.
    #[cbor(n(1), decode_with = "read_text")]
    pub text: String,
}

/// Reasons of [`Bye`].
pub mod code {
    /// The daemon stops.
    pub const STOPPING: u16 = 1;
    /// No protocol version in common.
    pub const VERSION: u16 = 2;
    /// Another fleet.
    pub const FLEET: u16 = 3;
    /// Something was said that the protocol does not allow.
    pub const VIOLATION: u16 = 4;
    /// The peer is no member any more.
    pub const REVOKED: u16 = 5;
    /// The peer did not answer in time.
    pub const TIMEOUT: u16 = 6;
    /// There is a second connection between the two, and it stays.
    pub const DUPLICATE: u16 = 7;
    /// The local store failed.
    pub const STORE: u16 = 8;
    /// The peer is in field mode: it comes back by itself and answers nobody until then.
    pub const AWAY: u16 = 9;
}

/// A log's head as it is sent.
#[derive(Encode, Decode)]
#[cbor(array)]
pub(crate) struct WireHead {
    #[cbor(n(0), with = "minicbor::bytes")]
    space: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    author: [u8; 32],
    #[n(2)]
    epoch: u64,
    #[n(3)]
    length: u64,
    #[cbor(n(4), with = "minicbor::bytes")]
    tip: [u8; 32],
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct WireHeads {
    #[cbor(n(0), decode_with = "read_heads")]
    heads: Vec<WireHead>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct WireAck {
    #[n(0)]
    batches: u32,
    #[cbor(n(1), decode_with = "read_heads")]
    heads: Vec<WireHead>,
}

/// Bytes that are written as a CBOR byte string.
#[derive(Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct WireBytes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>);

#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct WireRun {
    #[cbor(n(0), with = "minicbor::bytes")]
    space: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    author: [u8; 32],
    #[n(2)]
    epoch: u64,
    #[n(3)]
    from: u64,
    #[cbor(n(4), decode_with = "read_entries")]
    entries: Vec<WireBytes>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct WireEntries {
    #[cbor(n(0), decode_with = "read_runs")]
    runs: Vec<WireRun>,
}

/// Reads a text for people, and of a long one the beginning.
fn read_text<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
    Ok(decoder.str()?.chars().take(MAX_TEXT).collect())
}

/// Reads an array, of which nothing is read when it says that it holds more than it may: what is one byte there is a vector
/// here.
fn read_array<'b, C, T: Decode<'b, C>>(most: u64, decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<T>, Error> {
    let count = decoder.array()?.filter(|count| *count <= most).ok_or_else(too_many)?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(T::decode(decoder, context)?);
    }
    Ok(all)
}

fn too_many() -> Error {
    Error::message("more than a message may hold")
}

fn read_heads<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<WireHead>, Error> {
    read_array(MAX_LOGS as u64, decoder, context)
}

fn read_entries<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<WireBytes>, Error> {
    read_array(BATCH_ENTRIES, decoder, context)
}

/// Reads the runs of a batch, with as many entries in all as a batch may have: no run is empty, so there are no more of them.
fn read_runs<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<WireRun>, Error> {
    let count = decoder.array()?.filter(|count| *count <= BATCH_ENTRIES).ok_or_else(too_many)?;
    let mut left = BATCH_ENTRIES;
    let mut runs = Vec::new();
    for _ in 0..count {
        let run = WireRun::decode(decoder, context)?;
        left = left.checked_sub(run.entries.len() as u64).ok_or_else(too_many)?;
        runs.push(run);
    }
    Ok(runs)
}

fn to_wire(heads: &Heads) -> Vec<WireHead> {
    let head = |(log, head): (&LogId, &Head)| WireHead {
        space: log.space.0,
        author: log.author.0,
        epoch: log.epoch,
        length: head.length,
        tip: head.tip,
    };
    heads.0.iter().map(head).collect()
}

fn from_wire(heads: Vec<WireHead>) -> Heads {
    let head = |wire: WireHead| {
        let log = LogId { space: SpaceId(wire.space), author: NodeKey(wire.author), epoch: wire.epoch };
        (log, Head { length: wire.length, tip: wire.tip })
    };
    Heads(heads.into_iter().map(head).collect())
}

impl From<&Heads> for WireHeads {
    fn from(heads: &Heads) -> Self {
        Self { heads: to_wire(heads) }
    }
}

impl From<WireHeads> for Heads {
    fn from(wire: WireHeads) -> Self {
        from_wire(wire.heads)
    }
}

impl WireAck {
    pub(crate) fn of(batches: u32, heads: &Heads) -> Self {
        Self { batches, heads: to_wire(heads) }
    }

    pub(crate) fn message(self) -> Message {
        Message::Ack { batches: self.batches, heads: from_wire(self.heads) }
    }
}

impl WireEntries {
    pub(crate) fn of(runs: &[Entries]) -> Self {
        let run = |run: &Entries| WireRun {
            space: run.log.space.0,
            author: run.log.author.0,
            epoch: run.log.epoch,
            from: run.from,
            entries: run.entries.iter().cloned().map(WireBytes).collect(),
        };
        Self { runs: runs.iter().map(run).collect() }
    }

    pub(crate) fn message(self) -> Message {
        let run = |wire: WireRun| Entries {
            log: LogId { space: SpaceId(wire.space), author: NodeKey(wire.author), epoch: wire.epoch },
            from: wire.from,
            entries: wire.entries.into_iter().map(|bytes| bytes.0).collect(),
        };
        Message::Entries(self.runs.into_iter().map(run).collect())
    }
}
