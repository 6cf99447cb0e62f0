//! Identities: record kinds, document ids, spaces, node keys.
//!
//! A document id is a kind and 16 bytes. For kinds that many nodes create independently of each other the bytes are a
//! ULID; for kinds with a natural key (a doc's scope and name, a venture code) they are a hash of that key, so that two
//! nodes that create the same thing while apart create the same document. No part of a natural key is ever empty: an
//! absent optional part is the literal `-`. How a fleet makes them is in `ids`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What a record is. The number is part of the stored format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One sitting of one agent.
    Session = 1,
    /// What an agent leaves for the next one.
    Handoff = 2,
    /// A piece of knowledge that a human asked to keep.
    Note = 3,
    /// An operational document that a person uploaded.
    Doc = 4,
    /// An operational document that ctxnode generated from sources; a kind of its own because its right differs.
    GeneratedDoc = 5,
    /// Which docs a venture must have.
    Requirement = 6,
    /// An advisory hold on an issue, a branch or a path.
    Claim = 7,
    /// The record that describes a host.
    Machine = 8,
    /// A project.
    Venture = 9,
    /// The weekly plan; there is one.
    Plan = 10,
    /// A call for help.
    Escalation = 11,
    /// Something that happened and that others may want to hear of.
    Event = 12,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Session,
        Self::Handoff,
        Self::Note,
        Self::Doc,
        Self::GeneratedDoc,
        Self::Requirement,
        Self::Claim,
        Self::Machine,
        Self::Venture,
        Self::Plan,
        Self::Escalation,
        Self::Event,
    ];

    /// Returns the kind of a stored number, or `None` when a newer version wrote it.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Returns the name used in messages, routes and exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Handoff => "handoff",
            Self::Note => "note",
            Self::Doc => "doc",
            Self::GeneratedDoc => "generated-doc",
            Self::Requirement => "requirement",
            Self::Claim => "claim",
            Self::Machine => "machine",
            Self::Venture => "venture",
            Self::Plan => "plan",
            Self::Escalation => "escalation",
            Self::Event => "event",
        }
    }

    /// Returns the prefix of the textual id.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Session => "sess_",
            Self::Handoff => "ho_",
            Self::Note => "note_",
            Self::Doc => "doc_",
            Self::GeneratedDoc => "gdoc_",
            Self::Requirement => "req_",
            Self::Claim => "clm_",
            Self::Machine => "mach_",
            Self::Venture => "vent_",
            Self::Plan => "plan_",
            Self::Escalation => "esc_",
            Self::Event => "evt_",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The identity of a record and of the Automerge document behind it: kind and 16 bytes.
///
/// Written as the kind's prefix and 26 Crockford characters, for example `sess_01HQXV3NK8J5Z7Y2M4T6W8R0AB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// What the record is.
    pub kind: Kind,
    /// A ULID, or the hash of a natural key, with the tag of the record's space at its end.
    pub raw: [u8; 16],
}

/// The length of an encoded [`DocumentId`].
pub const DOCUMENT_ID_LEN: usize = 17;

impl DocumentId {
    /// Makes a time-ordered id from a time and 80 bits of randomness. Records get theirs from [`Ids`](crate::Ids).
    pub(crate) fn from_time(kind: Kind, now: crate::Timestamp, random: u128) -> Self {
        let ms = u64::try_from(now.0).unwrap_or(0);
        Self { kind, raw: ulid::Ulid::from_parts(ms, random).to_bytes() }
    }

    /// Makes the id of a record with a natural key. An absent part is `-`. Lengths are hashed too, so parts never run into
    /// each other.
    pub(crate) fn natural(kind: Kind, parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"ctxnode/natural/v1\0");
        hasher.update(&[kind as u8]);
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let mut raw = [0; 16];
        raw.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self { kind, raw }
    }

    /// Returns kind byte and raw bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; DOCUMENT_ID_LEN] {
        let mut bytes = [0; DOCUMENT_ID_LEN];
        bytes[0] = self.kind as u8;
        bytes[1..].copy_from_slice(&self.raw);
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` for a wrong length or a kind that this version does not know.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, raw) = bytes.split_first()?;
        Some(Self { kind: Kind::from_u8(*kind)?, raw: raw.try_into().ok()? })
    }

    /// Parses a textual id and checks that it is of `kind`.
    ///
    /// # Errors
    /// When the prefix is another one, or the rest is not 26 Crockford characters.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, IdError> {
        // Whatever the text looks like, the caller is told which form is wanted.
        let found = text.parse().ok().filter(|id: &Self| id.kind == kind);
        found.ok_or(IdError { expected: kind.prefix() })
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), ulid::Ulid::from_bytes(self.raw))
    }
}

impl FromStr for DocumentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        for kind in Kind::ALL {
            if let Some(rest) = text.strip_prefix(kind.prefix()) {
                let canonical = rest.len() == 26
                    && rest.as_bytes()[0] <= b'7'
                    && rest.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b));
                let parsed = canonical.then(|| ulid::Ulid::from_string(rest).ok()).flatten();
                return match parsed {
                    Some(ulid) => Ok(Self { kind, raw: ulid.to_bytes() }),
                    None => Err(IdError { expected: kind.prefix() }),
                };
            }
        }
        Err(IdError { expected: "" })
    }
}

/// A textual id of the wrong form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an id of the form `{expected}` and 26 characters of 0-9 A-Z without I, L, O, U")]
pub struct IdError {
    /// The prefix that was expected; empty when any known prefix would have done.
    pub expected: &'static str,
}

impl Serialize for DocumentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DocumentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The unit of replication and of rights: the fleet, or one venture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Control ops, ventures, machines, the plan, and everything global.
    Fleet,
    /// The records of one venture, named by its code.
    Venture(String),
}

impl Space {
    /// Returns the space of a venture code, or the fleet space for `None`.
    #[must_use]
    pub fn of(venture: Option<&str>) -> Self {
        venture.map_or(Self::Fleet, |code| Self::Venture(code.to_owned()))
    }

    /// Returns the id that stands in signed entries. It hides the name from those who cannot guess it.
    #[must_use]
    pub fn id(&self, fleet: &FleetId) -> SpaceId {
        let mut hasher = blake3::Hasher::new_derive_key("ctxnode 2026-11 space id v1");
        hasher.update(&fleet.0);
        match self {
            Self::Fleet => hasher.update(&[0]),
            Self::Venture(code) => hasher.update(&[1]).update(code.as_bytes()),
        };
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        SpaceId(id)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.write_str("fleet"),
            Self::Venture(code) => f.write_str(code),
        }
    }
}

/// The fixed-size name of a space inside entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub [u8; 16]);

/// The identity of a fleet: the first 16 bytes of the BLAKE3 hash of its signed genesis entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetId(pub [u8; 16]);

/// The public Ed25519 key of a node; also the author of entries and the iroh endpoint id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub [u8; 32]);

/// The BLAKE3 hash of an entry's signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryHash(pub [u8; 32]);

macro_rules! hex_id {
    ($name:ident, $len:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                decode_hex(text, &mut bytes).ok_or(IdError { expected: "hex" })?;
                Ok(Self(bytes))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(SpaceId, 16);
hex_id!(FleetId, 16);
hex_id!(NodeKey, 32);
hex_id!(EntryHash, 32);

fn decode_hex(text: &str, out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn textual_ids_round_trip(kind in 0..Kind::ALL.len(), raw: [u8; 16]) {
            let id = DocumentId { kind: Kind::ALL[kind], raw };
            prop_assert_eq!(id.to_string().parse::<DocumentId>(), Ok(id));
            prop_assert_eq!(DocumentId::from_bytes(&id.to_bytes()), Some(id));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = text.parse::<DocumentId>();
        }
    }

    #[test]
    fn natural_keys_do_not_run_into_each_other() {
        assert_ne!(DocumentId::natural(Kind::Doc, &["ab", "c"]), DocumentId::natural(Kind::Doc, &["a", "bc"]));
    }

    #[test]
    fn lower_case_and_ambiguous_letters_are_refused() {
        assert!("sess_01hqxv3nk8j5z7y2m4t6w8r0ab".parse::<DocumentId>().is_err());
        assert!("sess_81HQXV3NK8J5Z7Y2M4T6W8R0AB".parse::<DocumentId>().is_err());
        assert!(DocumentId::parse(Kind::Note, "sess_01HQXV3NK8J5Z7Y2M4T6W8R0AB").is_err());
    }
}
