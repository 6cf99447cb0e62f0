//! Messages as frames on a byte stream.
//!
//! ```text
//! length u32 (of what follows) | kind u8 | flags u8 (bit 0: zstd) | payload
//! ```
//!
//! Sizes are checked before anything is allocated or inflated, and counts before anything is made of them. A frame of an
//! unknown kind is skipped, so that a newer peer may say more than an older one understands.

use std::cell::RefCell;

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode};
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};

use crate::limits::{COMPRESS_FROM, MAX_FRAME, MAX_PAYLOAD, MAX_PRESENCE};
use crate::message::{Bye, Entries, Hello, Message, WireAck, WireEntries, WireHeads};

/// How many bytes come before the payload.
pub const HEADER_LEN: usize = 6;

const HELLO: u8 = 1;
const HEADS: u8 = 2;
const ENTRIES: u8 = 3;
const ACK: u8 = 4;
const PRESENCE: u8 = 5;
const BYE: u8 = 6;
const HEADS_PART: u8 = 7;

const ZSTD: u8 = 1;
/// Level 1: entries are small and already binary; more effort costs time and saves a few percent.
pub const LEVEL: i32 = 1;

/// Bytes that are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// It is larger than any frame may be.
    #[error("a frame of {0} bytes")]
    TooLarge(usize),
    /// It is too short for its header.
    #[error("a frame of {0} bytes, which is less than a header")]
    TooShort(usize),
    /// The payload cannot be inflated within the limit.
    #[error("a payload that does not inflate")]
    Compression,
    /// The payload is not the message that its kind says.
    #[error("a payload that is not a message of kind {0}")]
    Payload(u8),
}

/// Makes the frame of a message, length included.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let (kind, payload) = match message {
        Message::Hello(hello) => (HELLO, cbor(hello)),
        Message::Heads(heads) => (HEADS, cbor(&WireHeads::from(heads))),
        Message::HeadsPart(heads) => (HEADS_PART, cbor(&WireHeads::from(heads))),
        Message::Entries(runs) => (ENTRIES, cbor(&WireEntries::of(runs))),
        Message::Ack { batches, heads } => (ACK, cbor(&WireAck::of(*batches, heads))),
        Message::Presence(bytes) => (PRESENCE, bytes.clone()),
        Message::Bye(bye) => (BYE, cbor(bye)),
    };
    let small = (payload.len() >= COMPRESS_FROM).then(|| deflate(&payload)).flatten();
    let (flags, body) = match &small {
        Some(small) if small.len() < payload.len() => (ZSTD, small),
        _ => (0, &payload),
    };
    let length = u32::try_from(body.len() + 2).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(body.len() + HEADER_LEN);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(body);
    frame
}

fn cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    // Writing to memory cannot fail; an empty payload would be refused by the receiver.
    minicbor::to_vec(value).unwrap_or_default()
}

/// Reads the length field: how many bytes follow it.
///
/// # Errors
/// When no frame is that long or that short.
pub fn length(field: [u8; 4]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(field) as usize;
    match length {
        0 | 1 => Err(FrameError::TooShort(length)),
        _ if length + 4 > MAX_FRAME => Err(FrameError::TooLarge(length)),
        _ => Ok(length),
    }
}

/// Reads what follows the length field. `None` is a message that says nothing here: of a kind that this version does not
/// know, or presence that is too large.
///
/// # Errors
/// When it is no message.
pub fn decode(frame: &[u8]) -> Result<Option<Message>, FrameError> {
    let [kind, flags, body @ ..] = frame else { return Err(FrameError::TooShort(frame.len())) };
    if !(HELLO..=HEADS_PART).contains(kind) {
        return Ok(None);
    }
    let inflated;
    let payload = if flags & ZSTD == 0 {
        body
    } else {
        inflated = inflate(body)?;
        &inflated
    };
    let bad = FrameError::Payload(*kind);
    let message = match *kind {
        HELLO => Message::Hello(read::<Hello>(payload, bad)?),
        HEADS => Message::Heads(read::<WireHeads>(payload, bad)?.into()),
        HEADS_PART => Message::HeadsPart(read::<WireHeads>(payload, bad)?.into()),
        ENTRIES => read::<WireEntries>(payload, bad)?.message(),
        ACK => read::<WireAck>(payload, bad)?.message(),
        PRESENCE if payload.len() > MAX_PRESENCE => return Ok(None),
        PRESENCE => Message::Presence(payload.to_vec()),
        BYE => Message::Bye(read::<Bye>(payload, bad)?),
        _ => return Err(bad),
    };
    match &message {
        Message::Entries(runs) if runs.iter().any(|run| !is_run(run)) => Err(bad),
        _ => Ok(Some(message)),
    }
}

/// Positions begin at 1, and those of a run can be counted.
fn is_run(run: &Entries) -> bool {
    run.from > 0 && !run.entries.is_empty() && run.from.checked_add(run.entries.len() as u64).is_some()
}

thread_local! {
    // Making their tables takes longer than using them on a small frame.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(payload).ok())
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let claimed = zstd::zstd_safe::get_frame_content_size(body).ok().flatten();
    match claimed.map(usize::try_from) {
        Some(Ok(size)) if size <= MAX_PAYLOAD => {
            let inflated = DECOMPRESSOR.with_borrow_mut(|inflator| inflator.as_mut()?.decompress(body, size).ok());
            inflated.ok_or(FrameError::Compression)
        }
        _ => Err(FrameError::Compression),
    }
}

/// The whole payload must be the value: bytes after it are somebody's mistake or trick.
fn read<'b, T: Decode<'b, ()>>(payload: &'b [u8], bad: FrameError) -> Result<T, FrameError> {
    if !is_definite(payload) {
        return Err(bad);
    }
    let mut decoder = Decoder::new(payload);
    let value = decoder.decode().map_err(|_| bad)?;
    if decoder.position() == payload.len() { Ok(value) } else { Err(bad) }
}

/// Whether all arrays and maps say how much they hold. No version writes others, and to skip an unknown key the decoder keeps
/// sixteen bytes and more for each of those that is open, which is a byte on the wire.
fn is_definite(payload: &[u8]) -> bool {
    let mut decoder = Decoder::new(payload);
    while decoder.position() < payload.len() {
        // Step by step into what they hold: this keeps nothing.
        let step = match decoder.datatype() {
            Ok(Type::Array) => decoder.array().map(drop),
            Ok(Type::Map) => decoder.map().map(drop),
            Ok(Type::Tag) => decoder.tag().map(drop),
            Ok(Type::ArrayIndef | Type::MapIndef | Type::Break) | Err(_) => return false,
            Ok(_) => decoder.skip(),
        };
        if step.is_err() {
            return false;
        }
    }
    true
}
