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
/// The largest presence message. A larger one is ignored: whoever is alive where is no reason to end an exchange.
pub const MAX_PRESENCE: usize = 64 << 10;
/// The most characters of a text for people. What is longer is cut: it is shown, kept and logged, and nobody reads it.
pub const MAX_TEXT: usize = 256;
/// How long a peer may take to say hello, in milliseconds.
pub const HELLO_MS: u64 = 10_000;
/// How long a peer may leave a batch unacknowledged, in milliseconds, the time on the line included: the largest frame takes
/// nine minutes at 64 kbit/s, and where it never arrives within this time it is sent again without end. A slow disk takes
/// seconds; a dead one is noticed only now, and holds a window of batches until then.
pub const ACK_MS: u64 = 600_000;
/// How long nothing may come of a frame that has begun, in milliseconds. How long the whole of it may take is up to
/// [`FRAME_RATE`].
pub const FRAME_MS: u64 = 30_000;
/// How many bytes of a frame must move in a second, on the whole and after the first [`FRAME_MS`]. No line in use is that
/// slow; a slower peer holds memory for nothing. One that keeps to this holds a frame for seventy minutes.
pub const FRAME_RATE: u64 = 1 << 10;
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
