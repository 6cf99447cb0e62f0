//! Frames on a QUIC stream: read with a bound, written with a deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ctxnode_sync_proto::frame::{self, FrameError};
use ctxnode_sync_proto::{Message, limits};
use iroh::endpoint::{RecvStream, SendStream};
use thiserror::Error;
use tokio::time::timeout;

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

/// Reads the next message of a known kind, as long as more may be read; adds what it and unknown ones before it took on the
/// wire to `bytes`. A frame that has begun must be there in `patience`.
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
        let body = timeout(patience, async {
            read_exact(stream, &mut field[1..]).await?;
            let length = frame::length(field)?;
            // The buffer grows with what has really arrived.
            let mut body = Vec::new();
            while body.len() < length {
                if !may_go_on() {
                    return Err(WireError::Spent);
                }
                let most = (length - body.len()).min(limits::COMPRESS_FROM.max(64 << 10));
                match stream.read_chunk(most).await {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) => return Err(WireError::End),
                    Err(error) => return Err(WireError::Io(error.to_string())),
                }
            }
            Ok(body)
        });
        let body = body.await.map_err(|_| WireError::Slow)??;
        bytes.fetch_add((field.len() + body.len()) as u64, Ordering::Relaxed);
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

/// Writes a message that the peer must take in `patience`; returns its bytes on the wire.
pub(crate) async fn write(stream: &mut SendStream, patience: Duration, message: &Message) -> Result<usize, WireError> {
    let bytes = frame::encode(message);
    match timeout(patience, stream.write_all(&bytes)).await {
        Ok(Ok(())) => Ok(bytes.len()),
        Ok(Err(error)) => Err(WireError::Io(error.to_string())),
        Err(_) => Err(WireError::Slow),
    }
}
