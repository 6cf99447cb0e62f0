//! The wire of every engine here: a stream in this process, each of whose directions counts its bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::{Duration, interval};

/// How much may be under way in one direction: about what the buffers of a local socket hold.
const UNDER_WAY: usize = 256 << 10;
/// How long nothing more may have gone over a wire that is called quiet.
const QUIET: Duration = Duration::from_millis(200);

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    stream: DuplexStream,
    written: Arc<AtomicU64>,
}

/// What went over a wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    from_a: Arc<AtomicU64>,
    from_b: Arc<AtomicU64>,
}

impl Counters {
    /// Returns the bytes that A wrote and those that B wrote.
    pub(crate) fn now(&self) -> (u64, u64) {
        (self.from_a.load(Ordering::Relaxed), self.from_b.load(Ordering::Relaxed))
    }

    /// Waits until nothing more goes over the wire, and returns the bytes that A wrote and those that B wrote.
    pub(crate) async fn when_quiet(&self) -> (u64, u64) {
        let mut tick = interval(QUIET);
        tick.tick().await;
        let mut before = self.now();
        loop {
            tick.tick().await;
            let now = self.now();
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

/// Makes a wire between A and B.
pub(crate) fn pair() -> (End, End, Counters) {
    let (a, b) = duplex(UNDER_WAY);
    let counters = Counters::default();
    let end = |stream, written: &Arc<AtomicU64>| End { stream, written: Arc::clone(written) };
    (end(a, &counters.from_a), end(b, &counters.from_b), counters)
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &result {
            self.written.fetch_add(*written as u64, Ordering::Relaxed);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn each_direction_is_counted_by_what_was_written_into_it() {
        let (mut a, mut b, counters) = pair();
        a.write_all(&[1; 700]).await.expect("room");
        b.write_all(&[2; 30]).await.expect("room");
        let mut received = [0; 700];
        b.read_exact(&mut received).await.expect("what A wrote");
        assert_eq!((received, counters.when_quiet().await), ([1; 700], (700, 30)));
    }
}
