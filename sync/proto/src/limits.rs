//! Every bound of the exchange in one place. A peer that goes past one is closed with a reason.

/// The protocol versions that this build speaks, oldest and newest.
pub const PROTOCOL: (u16, u16) = (1, 1);
/// The largest frame on the wire, header included: one entry of the largest size, and room for its envelope.
pub const MAX_FRAME: usize = (4 << 20) + (64 << 10);
/// The largest payload after decompression. A frame that claims more is refused before anything is inflated.
pub const MAX_PAYLOAD: usize = 8 << 20;
/// Payloads from this size on are compressed: below it the envelope of zstd eats what it saves.
pub const COMPRESS_FROM: usize = 512;
/// The most entries of one batch. A batch is one transaction of the receiver: larger ones hold its writer too long,
/// smaller ones cost an fsync for little.
pub const BATCH_ENTRIES: u64 = 500;
/// How many bytes of entries a batch holds, unless a single entry is larger.
pub const BATCH_BYTES: usize = 2 << 20;
/// How many batches may be on their way without an acknowledgement. Bounds what a receiver must hold.
pub const WINDOW: u32 = 4;
/// The most logs in one message. A statement of more is made in parts.
pub const MAX_LOGS: usize = 16_384;
/// The most logs of a whole statement: a copy of a disk begins new logs with each boot, so a fleet of fifty machines with
/// six spaces gets there in more than a year of daily boots. A statement takes 13 MB then.
pub const MAX_STATED: usize = 131_072;
/// The largest presence message.
pub const MAX_PRESENCE: usize = 64 << 10;
/// How long a peer may take to say hello, in milliseconds.
pub const HELLO_MS: u64 = 10_000;
/// How long a peer may leave a batch unacknowledged, in milliseconds. A slow disk takes seconds; this is a dead one.
pub const ACK_MS: u64 = 120_000;
/// How long a frame may take to be written, and the rest of one that has begun to be read, in milliseconds. A slower peer
/// holds memory for nothing.
pub const FRAME_MS: u64 = 30_000;
/// The most handshakes at a time. They come before anything is known of who knocks.
pub const HANDSHAKES: usize = 32;
/// The most of them from one address (of IPv6, from one /64), so that nobody takes all of them. A handshake takes a few
/// round trips; that many members behind one router may still begin in the same moment.
pub const HANDSHAKES_OF_ONE: usize = 8;
/// From how many handshakes on whoever knocks has to show first that its address is its own: those with an invented one
/// then hold nothing here.
pub const HANDSHAKES_UNPROVED: usize = 16;
/// The most connections of one member at a time, old ones that are ending included. One lives; a network that comes and
/// goes leaves a few behind for as long as a farewell takes.
pub const CONNECTIONS_OF_ONE: usize = 8;
