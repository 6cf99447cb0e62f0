//! The lock that keeps one daemon per data directory, with the pid and start time of its holder.
//!
//! The lock is the operating system's (`flock`), so that it dies with its holder. The text in the file only tells
//! people who holds it; a pid alone could be somebody else's by now, which is why the start time stands beside it. The
//! second line is the holder's socket: a client that was started with a bare environment would look elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::process;

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
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Where it listens, once it does.
    pub socket: Option<PathBuf>,
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
    /// Takes the lock or says who has it.
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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
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
        assert_eq!(Lock::holder(&path), Some(holder));
        held.listens_at(Path::new("/run/x.sock")).unwrap();
        assert_eq!(Lock::holder(&path).unwrap().socket, Some("/run/x.sock".into()));
        drop(held);
        assert_eq!(Lock::holder(&path), None);
        Lock::take(&path).unwrap();
    }
}
