//! What an agent CLI sends to a hook or a status line: one JSON object on stdin, taken when it is complete.
//!
//! Nobody promises that the pipe is closed behind it, or that it comes at all. An event without its details is worth more than
//! none, so that the wait is short.

use std::io::Read;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// How long the object may take. A CLI writes it as it starts the hook.
pub(super) const LIMIT: Duration = Duration::from_millis(200);
/// The most that is read. The result of a tool can be large, and nothing of it is needed.
const MOST: u64 = 8 << 20;
/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// What came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Input {
    /// All bytes that came in time.
    pub(super) bytes: Vec<u8>,
    /// The object; null when none was complete in time.
    pub(super) value: Value,
}

/// Reads stdin.
pub(super) fn input() -> Input {
    read(std::io::stdin, LIMIT)
}

/// Reads until an object is complete, the input ends, or the time is over. The thread that waits for more stays behind; this
/// process ends soon.
fn read<R: Read>(open: impl FnOnce() -> R + Send + 'static, limit: Duration) -> Input {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (send, receive) = sync_channel(1);
    let kept = Arc::clone(&bytes);
    let spawned = std::thread::Builder::new().spawn(move || {
        let kept = Kept { inner: open().take(MOST), bytes: &kept };
        let mut reader = std::io::BufReader::with_capacity(CHUNK, kept);
        let found = serde_json::Deserializer::from_reader(&mut reader).into_iter::<Value>().next();
        let value = match found {
            Some(Ok(value)) => value,
            // No object comes any more. Somebody's own command may still read what does; what came before a fault is all.
            _ => {
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                Value::Null
            }
        };
        // The one who waits may have given up.
        let _ = send.send(value);
    });
    let value = spawned.ok().and_then(|_| receive.recv_timeout(limit).ok()).unwrap_or_default();
    let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Input { bytes, value }
}

/// Keeps all that is read.
struct Kept<'a, R> {
    inner: R,
    bytes: &'a Mutex<Vec<u8>>,
}

impl<R: Read> Read for Kept<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&into[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// C-04: an object counts once it is complete, also when the pipe stays open behind it.
    #[test]
    fn c_04_an_object_needs_no_end_of_the_input() {
        let (mut cli, ours) = UnixStream::pair().unwrap();
        cli.write_all(b" {\"cwd\": \"/a}\"}").unwrap();
        let began = Instant::now();
        let found = read(move || ours, LONG);
        assert!(began.elapsed() < LONG);
        assert_eq!(found, Input { bytes: b" {\"cwd\": \"/a}\"}".to_vec(), value: json!({ "cwd": "/a}" }) });
        drop(cli);
    }

    #[test]
    fn c_04_half_an_object_and_silence_are_given_up() {
        let (mut cli, ours) = UnixStream::pair().unwrap();
        cli.write_all(b"{\"cwd\": ").unwrap();
        let found = read(move || ours, Duration::from_millis(50));
        assert_eq!(found.value, Value::Null);
        drop(cli);
    }

    #[test]
    fn what_is_no_json_is_kept_as_bytes() {
        let found = read(|| &b"\xff not json, and more"[..], LONG);
        assert_eq!(found, Input { bytes: b"\xff not json, and more".to_vec(), value: Value::Null });
        assert_eq!(read(|| &b""[..], LONG), Input::default());
    }
}
