//! The lock that keeps one daemon per data directory, with the pid and start of its holder.
//!
//! The lock is the operating system's (`flock`), so that it dies with its holder. The text in the file only tells
//! people who holds it; a pid alone could be somebody else's by now, which is why the start stands beside it. The
//! second line is the holder's socket: a client that was started with a bare environment would look elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::process::{self, ProcessId};

/// How often the lock is tried for before another daemon is said to have it. Whoever asks who holds it has it for some
/// microseconds, and many may ask; with the pauses that is about 200 ms, which nobody notices at a start.
const TRIES: u32 = 20;
/// How long it is left alone between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// A held lock. Dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// When it started, as [`process::start_time`] counts; no time of day.
    pub started: u64,
    /// Where it listens, once it does.
    pub socket: Option<PathBuf>,
}

impl Holder {
    /// Returns its process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        ProcessId { pid: self.pid, started: self.started }
    }
}

/// The lock could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("another daemon holds {path}")]
    Held {
        /// The file.
        path: PathBuf,
        /// Who, when the file says so.
        holder: Option<Holder>,
    },
    /// The file cannot be used.
    #[error("lock file {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock or says who has it. Blocks the thread for about 200 ms before it says so.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be used.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        match acquire(&file, pause) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { path: path.to_owned(), holder: read(&mut file) });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        let pid = std::process::id();
        let started = process::start_time(pid).unwrap_or(0);
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{pid} {started}").and_then(|()| file.sync_all()).map_err(io)?;
        Ok(Self { file })
    }

    /// Writes down where the holder listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn listens_at(&mut self, socket: &Path) -> std::io::Result<()> {
        self.file.seek(std::io::SeekFrom::End(0))?;
        writeln!(self.file, "{}", socket.display())
    }

    /// Returns who holds the lock, when somebody alive does.
    #[must_use]
    pub fn holder(path: &Path) -> Option<Holder> {
        let mut file = OpenOptions::new().read(true).open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => read(&mut file),
            _ => None,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nothing to do about a failure: the lock goes with the process.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Tries for the lock until it is free, with pauses, but not for long.
fn acquire(file: &File, mut pause: impl FnMut()) -> rustix::io::Result<()> {
    for _ in 1..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => pause(),
            done => return done,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

#[expect(clippy::disallowed_methods, reason = "a lock of a file tells nobody when it is free")]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let (pid, started) = lines.next()?.split_once(' ')?;
    let socket = lines.next().map(PathBuf::from);
    Some(Holder { pid: pid.parse().ok()?, started: started.parse().ok()?, socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.lock");
        let mut held = Lock::take(&path).unwrap();
        let Err(LockError::Held { holder: Some(holder), .. }) = Lock::take(&path) else { panic!("taken twice") };
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.process().is_alive());
        assert_eq!(Lock::holder(&path), Some(holder));
        held.listens_at(Path::new("/run/x.sock")).unwrap();
        assert_eq!(Lock::holder(&path).unwrap().socket, Some("/run/x.sock".into()));
        drop(held);
        assert_eq!(Lock::holder(&path), None);
        Lock::take(&path).unwrap();
    }

    /// Whoever asks who holds the lock has it for a moment, as a reader.
    #[test]
    fn a_look_at_the_lock_keeps_no_daemon_from_it_and_a_holder_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.lock");
        let (first, second) = (File::create(&path).unwrap(), File::open(&path).unwrap());
        let mut look = Some(File::open(&path).unwrap());
        flock(look.as_ref().unwrap(), FlockOperation::NonBlockingLockShared).unwrap();
        let mut pauses = 0;
        let taken = acquire(&first, || {
            pauses += 1;
            if pauses == 3 {
                drop(look.take());
            }
        });
        assert_eq!((taken, pauses), (Ok(()), 3));
        let mut pauses = 0;
        let refused = acquire(&second, || pauses += 1);
        assert_eq!((refused, pauses), (Err(rustix::io::Errno::WOULDBLOCK), TRIES - 1));
    }
}
