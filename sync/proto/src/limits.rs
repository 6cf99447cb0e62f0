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
