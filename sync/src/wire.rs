//! Frames on a QUIC stream: read with a bound, and both ways with a deadline that moves as long as bytes do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ctxnode_sync_proto::frame::{self, FrameError};
use ctxnode_sync_proto::{Message, limits};
use iroh::endpoint::{RecvStream, SendStream};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

/// How much is read at once: little enough to notice soon that no more may be read.
const CHUNK: usize = 64 << 10;
/// How many times its patience a peer gets to take more of what is written. It says that it has taken some only after each
/// eighth of its window (1.25 MiB of 10), which is 160 s at 64 kbit/s.
const TO_TAKE: u32 = 6;

/// A stream that cannot be used any more.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    /// The peer ended it.
    #[error("the connection ended")]
    End,
    /// The peer said something that is no frame.
    #[error("the peer sent {0}")]
    Frame(#[from] FrameError),
    /// The peer took too long.
    #[error("the peer took too long over one frame")]
    Slow,
    /// No more bytes may be read today.
    #[error("the bytes of field mode are used up")]
    Spent,
    /// The connection failed.
    #[error("{0}")]
    Io(String),
}

/// How far a frame is that has begun. A slow line is waited for as long as it moves; who sends a byte now and then is not.
#[derive(Clone, Copy, Debug)]
struct Progress {
    begun: Instant,
    /// How long nothing may move.
    patience: Duration,
    /// How many bytes have moved.
    done: u64,
}

impl Progress {
    fn begin(now: Instant, patience: Duration) -> Self {
        Self { begun: now, patience, done: 0 }
    }

    /// By when more must move: in the patience from now on, and before the whole is slower than [`limits::FRAME_RATE`], which
    /// counts after the first patience.
    fn deadline(&self, now: Instant) -> Instant {
        let earned = Duration::from_millis(self.done.saturating_mul(1_000) / limits::FRAME_RATE);
        (now + self.patience).min(self.begun + self.patience + earned)
    }

    /// Waits for the next bytes to move.
    async fn next<T>(&self, step: impl Future<Output = T>) -> Result<T, WireError> {
        timeout_at(self.deadline(Instant::now()), step).await.map_err(|_| WireError::Slow)
    }
}

/// Reads the next message of a known kind, as long as more may be read; adds what it and unknown ones before it took on the
/// wire to `bytes`. Of a frame that has begun more must come in `patience`, again and again.
pub(crate) async fn read(
    stream: &mut RecvStream,
    patience: Duration,
    bytes: &AtomicU64,
    may_go_on: impl Fn() -> bool,
) -> Result<Message, WireError> {
    loop {
        let mut field = [0; 4];
        // Between frames a peer may be silent as long as the connection lives.
        read_exact(stream, &mut field[..1]).await?;
        let mut progress = Progress::begin(Instant::now(), patience);
        progress.next(read_exact(stream, &mut field[1..])).await??;
        let length = frame::length(field)?;
        // The buffer grows with what has really arrived.
        let mut body = Vec::new();
        while body.len() < length {
            if !may_go_on() {
                return Err(WireError::Spent);
            }
            let most = (length - body.len()).min(CHUNK);
            let chunk = progress.next(stream.read_chunk(most)).await?;
            match chunk {
                Ok(Some(chunk)) => {
                    progress.done += chunk.len() as u64;
                    bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => return Err(WireError::End),
                Err(error) => return Err(WireError::Io(error.to_string())),
            }
        }
        bytes.fetch_add(field.len() as u64, Ordering::Relaxed);
        if let Some(message) = frame::decode(&body)? {
            return Ok(message);
        }
    }
}

async fn read_exact(stream: &mut RecvStream, buffer: &mut [u8]) -> Result<(), WireError> {
    match stream.read_exact(buffer).await {
        Ok(()) => Ok(()),
        Err(iroh::endpoint::ReadExactError::FinishedEarly(_)) => Err(WireError::End),
        Err(iroh::endpoint::ReadExactError::ReadError(error)) => Err(WireError::Io(error.to_string())),
    }
}

/// Writes a message; returns its bytes on the wire. The peer must take more of it in [`TO_TAKE`] times `patience`, again and
/// again.
pub(crate) async fn write(stream: &mut SendStream, patience: Duration, message: &Message) -> Result<usize, WireError> {
    let bytes = frame::encode(message);
    let mut progress = Progress::begin(Instant::now(), patience.saturating_mul(TO_TAKE));
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let taken = progress.next(stream.write(rest)).await?;
        let taken = taken.map_err(|error| WireError::Io(error.to_string()))?;
        progress.done += taken as u64;
        rest = &rest[taken..];
    }
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(limits::FRAME_MS);

    /// Moves so many bytes again and again after so many seconds; returns how long the largest frame took, or after what time
    /// it was given up.
    fn take(every: u64, bytes: u64) -> Result<Duration, Duration> {
        let begun = Instant::now();
        let (mut now, mut progress) = (begun, Progress::begin(begun, PATIENCE));
        while progress.done < limits::MAX_FRAME as u64 {
            let deadline = progress.deadline(now);
            now += Duration::from_secs(every);
            if now > deadline {
                return Err(deadline - begun);
            }
            progress.done += bytes;
        }
        Ok(now - begun)
    }

    #[test]
    fn the_largest_frame_is_waited_for_as_long_as_it_moves() {
        let modem = take(1, 8_000).expect("64 kbit/s");
        assert!(modem > PATIENCE * 17 && modem < Duration::from_millis(limits::ACK_MS), "{modem:?}");
        assert!(take(29, 100_000).is_ok(), "in bursts");
        assert!(take(10, 11 << 10).is_ok(), "a little faster than it must be");
    }

    #[test]
    fn a_frame_that_stands_still_or_drips_is_given_up() {
        assert_eq!(take(31, 1 << 20), Err(PATIENCE), "nothing for longer than the patience");
        let drops = take(29, 1).expect_err("a byte now and then");
        assert!(drops < PATIENCE + Duration::from_secs(1), "{drops:?}");
        let drips = take(10, 9 << 10).expect_err("a little slower than it must be");
        assert!(drips > PATIENCE * 2 && drips < PATIENCE * 20, "{drips:?}");
    }
}
