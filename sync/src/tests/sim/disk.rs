//! A disk in memory: it can be pulled out, filled up, copied and put back.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What was there before each write since the last sync, oldest first: a crash takes them back.
    undo: Vec<Undo>,
    /// How many writes there is still room for.
    room: Option<u32>,
}

#[derive(Debug)]
enum Undo {
    Write { at: usize, before: Vec<u8> },
    Length(Vec<u8>, usize),
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn with<T>(&self, use_: impl FnOnce(&mut State) -> T) -> T {
        use_(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes another disk with the same content.
    pub(super) fn copy(&self) -> Self {
        let bytes = self.with(|state| state.bytes.clone());
        Self(Arc::new(Mutex::new(State { bytes, ..State::default() })))
    }

    /// Loses what was not synced, as a power cut does.
    pub(super) fn cut(&self) {
        self.with(|state| {
            while let Some(undo) = state.undo.pop() {
                match undo {
                    Undo::Write { at, before } => state.bytes[at..at + before.len()].copy_from_slice(&before),
                    Undo::Length(tail, from) => {
                        state.bytes.truncate(from);
                        state.bytes.extend_from_slice(&tail);
                    }
                }
            }
        });
    }

    /// Makes room again.
    pub(super) fn empty(&self) {
        self.with(|state| state.room = None);
    }

    /// Leaves room for so many writes.
    pub(super) fn fill(&self, room: u32) {
        self.with(|state| state.room = Some(room));
    }
}

impl State {
    fn take_room(&mut self) -> io::Result<()> {
        match &mut self.room {
            Some(0) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

type Done = io::Result<()>;

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|state| state.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Done {
        self.with(|state| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let found = state.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof);
            out.copy_from_slice(found.map_err(io::Error::from)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Done {
        self.with(|state| {
            state.take_room()?;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let kept = state.bytes.len().min(len);
            state.undo.push(Undo::Length(state.bytes[kept..].to_vec(), kept));
            state.bytes.resize(len, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> Done {
        self.with(|state| {
            state.take_room()?;
            state.undo.clear();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Done {
        self.with(|state| {
            state.take_room()?;
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let place = state.bytes.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof);
            let place = place.map_err(io::Error::from)?;
            let before = place.to_vec();
            place.copy_from_slice(data);
            state.undo.push(Undo::Write { at, before });
            Ok(())
        })
    }
}
