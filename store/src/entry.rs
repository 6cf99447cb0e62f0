//! Entries: the atomic, signed unit of replication, and their one binary form.
//!
//! ```text
//! version u8 = 1 | fleet 16 | space 16 | author 32 | epoch u64 | seq u64 | prev 32 | stamp u64 | time i64 | ops u16
//! then per op: kind u8 | length u32 | payload
//! then: signature 64
//! ```
//!
//! Integers are big-endian. The signature covers everything before it, under a domain of its own. `prev` is the BLAKE3
//! hash of the previous entry's bytes, signature included. Bytes are never re-encoded to be verified: what was received
//! is what is hashed, stored and forwarded.

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::{DOCUMENT_ID_LEN, FleetId};
use ctxnode_model::{DocumentId, NodeKey, Order, SpaceId, Stamp, Timestamp};
use thiserror::Error;

use crate::authority::ControlOp;
use crate::keys::{NodeSecret, verify_hash};
use crate::once::{self, Check};

/// The version of the form above.
pub const ENTRY_VERSION: u8 = 1;
/// The largest entry: a doc of 1 MiB with every byte escaped in its change, and room for its record. A peer that sends
/// a larger one is refused before a byte of it is kept.
pub const MAX_ENTRY_LEN: usize = 4 << 20;
/// The most ops in one entry. A command touches a handful of documents; an import batches up to this.
pub const MAX_OPS: usize = 256;

const DOMAIN: &[u8] = b"ctxnode/entry/v1\0";
const HEADER_LEN: usize = 1 + 16 + 16 + 32 + 8 + 8 + 32 + 8 + 8 + 2;
const SIGNATURE_LEN: usize = 64;

/// Where an entry stands and what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The fleet; all zero in the genesis entry, which defines it.
    pub fleet: FleetId,
    /// The log.
    pub log: LogId,
    /// The position in the log, from 1.
    pub seq: u64,
    /// The hash of the previous entry of the log; all zero at position 1.
    pub prev: [u8; 32],
    /// The hybrid logical clock.
    pub stamp: Stamp,
    /// The author's wall clock: for people, never for correctness.
    pub time: Timestamp,
}

impl Header {
    /// Returns the entry's place in the causal order.
    #[must_use]
    pub fn order(&self) -> Order {
        Order { stamp: self.stamp, author: self.log.author, epoch: self.log.epoch, seq: self.seq }
    }
}

/// One op of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// One Automerge change to one document.
    Change {
        /// The document.
        document: DocumentId,
        /// The change chunk.
        change: Vec<u8>,
    },
    /// A control action; see [`crate::ControlOp`].
    Control(Vec<u8>),
    /// Hides a document.
    Tombstone(DocumentId),
    /// Brings a hidden document back.
    Revive(DocumentId),
    /// An op that this version cannot interpret: kept and forwarded.
    Unknown {
        /// The op's kind byte.
        kind: u8,
        /// Its payload.
        payload: Vec<u8>,
    },
}

const OP_CHANGE: u8 = 1;
const OP_CONTROL: u8 = 2;
const OP_TOMBSTONE: u8 = 3;
const OP_REVIVE: u8 = 4;

impl Op {
    fn kind(&self) -> u8 {
        match self {
            Self::Change { .. } => OP_CHANGE,
            Self::Control(_) => OP_CONTROL,
            Self::Tombstone(_) => OP_TOMBSTONE,
            Self::Revive(_) => OP_REVIVE,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Change { document, change } => [&document.to_bytes()[..], change].concat(),
            Self::Control(payload) | Self::Unknown { payload, .. } => payload.clone(),
            Self::Tombstone(document) | Self::Revive(document) => document.to_bytes().to_vec(),
        }
    }

    /// The document that it is about.
    pub(crate) fn document(&self) -> Option<DocumentId> {
        match self {
            Self::Change { document, .. } | Self::Tombstone(document) | Self::Revive(document) => Some(*document),
            Self::Control(_) | Self::Unknown { .. } => None,
        }
    }

    /// The payload of a control action.
    pub(crate) fn control(&self) -> Option<&[u8]> {
        if let Self::Control(payload) = self { Some(payload) } else { None }
    }

    /// Says what it would do.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Change { document, .. } => format!("{} {document}", document.kind),
            Self::Tombstone(document) => format!("deletes {document}"),
            Self::Revive(document) => format!("brings back {document}"),
            Self::Control(payload) => format!("membership: {}", ControlOp::decode(payload).in_words()),
            Self::Unknown { .. } => "something that a newer version wrote".to_owned(),
        }
    }

    /// A document of a kind that a newer version added makes the op unknown, not the entry bad.
    fn read(kind: u8, payload: &[u8]) -> Self {
        let document = |bytes: Option<&[u8]>| bytes.and_then(DocumentId::from_bytes);
        let known = match kind {
            OP_CHANGE => document(payload.get(..DOCUMENT_ID_LEN))
                .map(|document| Self::Change { document, change: payload[DOCUMENT_ID_LEN..].to_vec() }),
            OP_CONTROL => Some(Self::Control(payload.to_vec())),
            OP_TOMBSTONE => document(Some(payload)).map(Self::Tombstone),
            OP_REVIVE => document(Some(payload)).map(Self::Revive),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Unknown { kind, payload: payload.to_vec() })
    }
}

/// An entry whose form is right and whose signature was checked against the author that it names.
///
/// There are two ways to have one: to sign it, or to verify received bytes. Whether the author had the right is another
/// question, which only the set of control ops answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEntry {
    header: Header,
    ops: Vec<Op>,
    bytes: Vec<u8>,
    hash: [u8; 32],
}

impl VerifiedEntry {
    /// Encodes and signs.
    ///
    /// # Errors
    /// When the ops are too many or too large.
    pub fn sign(header: Header, ops: Vec<Op>, secret: &NodeSecret) -> Result<Self, EntryError> {
        debug_assert_eq!(header.log.author, secret.public());
        let mut bytes = encode(&header, &ops)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        let signature = secret.sign_hash(DOMAIN, &hasher.finalize());
        bytes.extend_from_slice(&signature);
        let hash = *hasher.update(&signature).finalize().as_bytes();
        Ok(Self { header, ops, bytes, hash })
    }

    /// Decodes and checks the signature.
    ///
    /// # Errors
    /// When the form is wrong or the signature does not hold.
    pub fn verify(bytes: Vec<u8>) -> Result<Self, EntryError> {
        let (header, ops) = decode(&bytes)?;
        let (signed, signature) = bytes.split_at(bytes.len() - SIGNATURE_LEN);
        let signature: &[u8; 64] = signature.try_into().map_err(|_| EntryError::Truncated)?;
        let mut hasher = blake3::Hasher::new();
        let message = hasher.update(signed).finalize();
        let hash = *hasher.update(signature).finalize().as_bytes();
        let holds = || verify_hash(header.log.author, DOMAIN, &message, signature);
        if !once::checked(Check::Signature, || hash, holds) {
            return Err(EntryError::Signature);
        }
        Ok(Self { header, ops, bytes, hash })
    }

    /// Reads an entry that this store verified before it kept it. The stored value carries its own hash, so the
    /// signature need not be checked again.
    pub(crate) fn from_store(bytes: Vec<u8>) -> Result<Self, EntryError> {
        let (header, ops) = decode(&bytes)?;
        let hash = *blake3::hash(&bytes).as_bytes();
        Ok(Self { header, ops, bytes, hash })
    }

    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the ops.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Returns the signed bytes, as they were made or received.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the BLAKE3 hash of the signed bytes, which the next entry names.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

fn encode(header: &Header, ops: &[Op]) -> Result<Vec<u8>, EntryError> {
    if ops.len() > MAX_OPS {
        return Err(EntryError::TooManyOps { ops: ops.len() });
    }
    let mut out = Vec::with_capacity(HEADER_LEN + SIGNATURE_LEN + 256);
    out.push(ENTRY_VERSION);
    out.extend_from_slice(&header.fleet.0);
    out.extend_from_slice(&header.log.space.0);
    out.extend_from_slice(&header.log.author.0);
    out.extend_from_slice(&header.log.epoch.to_be_bytes());
    out.extend_from_slice(&header.seq.to_be_bytes());
    out.extend_from_slice(&header.prev);
    out.extend_from_slice(&header.stamp.0.to_be_bytes());
    out.extend_from_slice(&header.time.0.to_be_bytes());
    out.extend_from_slice(&u16::try_from(ops.len()).unwrap_or(u16::MAX).to_be_bytes());
    for op in ops {
        let payload = op.payload();
        out.push(op.kind());
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&payload);
    }
    let size = out.len() + SIGNATURE_LEN;
    if size > MAX_ENTRY_LEN { Err(EntryError::TooLarge { size }) } else { Ok(out) }
}

/// Reads the form of an entry. Nothing is allocated before the lengths are known to fit.
///
/// # Errors
/// When the bytes are not exactly one entry of this version.
pub fn decode(bytes: &[u8]) -> Result<(Header, Vec<Op>), EntryError> {
    if bytes.len() > MAX_ENTRY_LEN {
        return Err(EntryError::TooLarge { size: bytes.len() });
    }
    let body = bytes.len().checked_sub(SIGNATURE_LEN).ok_or(EntryError::Truncated)?;
    let mut rest = Input(&bytes[..body]);
    let version = rest.array::<1>()?[0];
    if version != ENTRY_VERSION {
        return Err(EntryError::Version { found: version });
    }
    let fleet = FleetId(rest.array()?);
    let space = SpaceId(rest.array()?);
    let author = NodeKey(rest.array()?);
    let epoch = u64::from_be_bytes(rest.array()?);
    let seq = u64::from_be_bytes(rest.array()?);
    let prev = rest.array()?;
    let stamp = Stamp(u64::from_be_bytes(rest.array()?));
    let time = Timestamp(i64::from_be_bytes(rest.array()?));
    let count = usize::from(u16::from_be_bytes(rest.array()?));
    if count > MAX_OPS {
        return Err(EntryError::TooManyOps { ops: count });
    }
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = rest.array::<1>()?[0];
        let length = u32::from_be_bytes(rest.array()?) as usize;
        ops.push(Op::read(kind, rest.take(length)?));
    }
    if !rest.0.is_empty() {
        return Err(EntryError::Trailing { bytes: rest.0.len() });
    }
    if seq == 0 || stamp > Stamp::MAX_ACCEPTED {
        return Err(EntryError::Header);
    }
    Ok((Header { fleet, log: LogId { space, author, epoch }, seq, prev, stamp, time }, ops))
}

/// The space that an encoded entry names, without reading the rest of it.
#[must_use]
pub fn space_of(bytes: &[u8]) -> Option<SpaceId> {
    Some(SpaceId(*bytes.get(17..)?.first_chunk()?))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], EntryError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(EntryError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        self.take(N)?.try_into().map_err(|_| EntryError::Truncated)
    }
}

/// Bytes that are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// They end in the middle.
    #[error("the entry ends early")]
    Truncated,
    /// They go on after the last op.
    #[error("{bytes} bytes follow the last op")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Another version of the form.
    #[error("entry version {found} is not known")]
    Version {
        /// What they say.
        found: u8,
    },
    /// Larger than [`MAX_ENTRY_LEN`].
    #[error("the entry is {size} bytes")]
    TooLarge {
        /// Bytes.
        size: usize,
    },
    /// More ops than [`MAX_OPS`].
    #[error("the entry has {ops} ops")]
    TooManyOps {
        /// How many.
        ops: usize,
    },
    /// A position of 0, or a stamp beyond [`Stamp::MAX_ACCEPTED`].
    #[error("the entry's header is out of range")]
    Header,
    /// The author did not sign these bytes.
    #[error("the signature does not hold")]
    Signature,
}

#[cfg(test)]
mod tests {
    use ctxnode_model::Kind;
    use proptest::prelude::*;

    use super::*;
    use crate::SeededEntropy;

    fn op() -> impl Strategy<Value = Op> {
        let id =
            (0..Kind::ALL.len(), any::<[u8; 16]>()).prop_map(|(kind, raw)| DocumentId { kind: Kind::ALL[kind], raw });
        let bytes = proptest::collection::vec(any::<u8>(), 0..50);
        prop_oneof![
            (id.clone(), bytes.clone()).prop_map(|(document, change)| Op::Change { document, change }),
            bytes.clone().prop_map(Op::Control),
            id.clone().prop_map(Op::Tombstone),
            id.prop_map(Op::Revive),
            (5_u8.., bytes).prop_map(|(kind, payload)| Op::Unknown { kind, payload }),
        ]
    }

    fn signed(ops: Vec<Op>) -> VerifiedEntry {
        let secret = NodeSecret::generate(&SeededEntropy::new(7));
        let log = LogId { space: SpaceId([1; 16]), author: secret.public(), epoch: 9 };
        let header =
            Header { fleet: FleetId([2; 16]), log, seq: 3, prev: [4; 32], stamp: Stamp(5), time: Timestamp(6) };
        VerifiedEntry::sign(header, ops, &secret).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_and_reads_back(ops in proptest::collection::vec(op(), 0..6)) {
            let entry = signed(ops);
            prop_assert_eq!(VerifiedEntry::verify(entry.bytes().to_vec()), Ok(entry));
        }

        #[test]
        fn no_changed_byte_goes_unnoticed(ops in proptest::collection::vec(op(), 0..3), at: prop::sample::Index, flip in 1_u8..) {
            let mut bytes = signed(ops).bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(VerifiedEntry::verify(bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
            let mut versioned = bytes;
            if let Some(first) = versioned.first_mut() { *first = ENTRY_VERSION; }
            let _ = decode(&versioned);
        }
    }
}
