//! A disk in memory: it can be pulled out, filled up, copied and put back.
//!
//! It is made of pages that are replaced and never changed, so that a copy of a disk, and what a power cut takes back, are
//! the pages themselves.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

/// The engine's own page size: it writes whole ones, so that nearly no write has to keep a part of the page before it.
const PAGE: usize = 4_096;

type Page = Arc<[u8]>;

#[derive(Debug, Default)]
struct State {
    pages: Vec<Page>,
    length: usize,
    /// What was there before each write since the last sync, oldest first: a crash takes them back.
    undo: Vec<Undo>,
    /// How many writes there is still room for.
    room: Option<u32>,
    /// Whether the machine stands still.
    halted: bool,
}

#[derive(Debug)]
enum Undo {
    Write { number: usize, before: Page },
    Length { length: usize, pages: Vec<Page> },
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
        let (pages, length) = self.with(|state| (state.pages.clone(), state.length));
        Self(Arc::new(Mutex::new(State { pages, length, ..State::default() })))
    }

    /// From now on nothing is written, whatever its store still tries: its process was killed.
    pub(super) fn halt(&self) {
        self.with(|state| state.halted = true);
    }

    /// Halts and loses what was not synced, as a power cut does.
    pub(super) fn cut(&self) {
        self.with(|state| {
            state.halted = true;
            while let Some(undo) = state.undo.pop() {
                match undo {
                    Undo::Write { number, before } => state.pages[number] = before,
                    Undo::Length { length, pages } => (state.length, state.pages) = (length, pages),
                }
            }
        });
    }

    /// Makes room again, and takes writes again.
    pub(super) fn reset(&self) {
        self.with(|state| (state.room, state.halted) = (None, false));
    }

    /// Leaves room for so many writes.
    pub(super) fn fill(&self, room: u32) {
        self.with(|state| state.room = Some(room));
    }
}

impl State {
    fn take_room(&mut self) -> io::Result<()> {
        if self.halted {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        match &mut self.room {
            Some(0) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns where a range begins.
    fn place(&self, offset: u64, length: usize) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let fits = from.checked_add(length).is_some_and(|to| to <= self.length);
        if fits { Ok(from) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    }

    fn replace(&mut self, number: usize, page: Page) {
        let before = std::mem::replace(&mut self.pages[number], page);
        self.undo.push(Undo::Write { number, before });
    }
}

type Done = io::Result<()>;

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|state| state.length as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Done {
        self.with(|state| {
            let mut from = state.place(offset, out.len())?;
            let mut out = out;
            while !out.is_empty() {
                let page = &state.pages[from / PAGE][from % PAGE..];
                let (now, rest) = out.split_at_mut(page.len().min(out.len()));
                now.copy_from_slice(&page[..now.len()]);
                from += now.len();
                out = rest;
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Done {
        self.with(|state| {
            state.take_room()?;
            state.undo.push(Undo::Length { length: state.length, pages: state.pages.clone() });
            let shorter = state.length.min(usize::try_from(len).unwrap_or(usize::MAX));
            state.length = usize::try_from(len).unwrap_or(usize::MAX);
            state.pages.truncate(state.length.div_ceil(PAGE));
            // What a file loses at its end reads as zeros when it grows again.
            if let Some(last) = state.pages.get_mut(shorter / PAGE) {
                let mut bytes = last.to_vec();
                bytes[shorter % PAGE..].fill(0);
                *last = bytes.into();
            }
            let zeros: Page = [0; PAGE].into();
            state.pages.resize(state.length.div_ceil(PAGE), zeros);
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
            let mut from = state.place(offset, data.len())?;
            let mut data = data;
            while !data.is_empty() {
                let (number, at) = (from / PAGE, from % PAGE);
                let (now, rest) = data.split_at((PAGE - at).min(data.len()));
                let page = if now.len() == PAGE {
                    now.into()
                } else {
                    let mut bytes = state.pages[number].to_vec();
                    bytes[at..at + now.len()].copy_from_slice(now);
                    bytes.into()
                };
                state.replace(number, page);
                from += now.len();
                data = rest;
            }
            Ok(())
        })
    }
}

mod tests {
    use ctxnode_store::{Entropy as _, SeededEntropy};

    use super::*;

    fn bytes(disk: &Disk) -> Vec<u8> {
        let mut out = vec![1; usize::try_from(disk.len().unwrap()).unwrap()];
        disk.read(0, &mut out).unwrap();
        out
    }

    /// Against a plain array of bytes: writes of any size at any place, growth, shrinking, syncs, copies and power cuts.
    #[test]
    fn a_disk_is_an_array_of_bytes_that_forgets_what_was_not_synced() {
        let random = SeededEntropy::new(5);
        let below = |n: usize| usize::try_from(random.number() % n as u128).unwrap();
        let (disk, mut plain, mut synced) = (Disk::default(), Vec::new(), Vec::new());
        for round in 0..2_000 {
            match below(10) {
                0 => {
                    let length = below(6 * PAGE);
                    disk.set_len(length as u64).unwrap();
                    plain.resize(length, 0);
                }
                1 => {
                    disk.sync_data().unwrap();
                    synced.clone_from(&plain);
                }
                2 => {
                    disk.cut();
                    assert!(disk.set_len(1).is_err() && disk.sync_data().is_err());
                    disk.reset();
                    plain.clone_from(&synced);
                }
                3 => assert_eq!(bytes(&disk.copy()), plain),
                _ => {
                    let (from, length) = (below(plain.len() + 1), below(3 * PAGE));
                    let data = vec![u8::try_from(round % 251).unwrap(); length];
                    let fits = from + length <= plain.len();
                    assert_eq!(disk.write(from as u64, &data).is_ok(), fits);
                    if fits {
                        plain[from..from + length].copy_from_slice(&data);
                    }
                }
            }
            assert_eq!(bytes(&disk), plain);
        }
    }

    #[test]
    fn a_full_disk_takes_so_many_writes_and_no_more() {
        let disk = Disk::default();
        disk.set_len(10).unwrap();
        disk.fill(1);
        disk.write(0, &[1]).unwrap();
        assert_eq!(disk.write(0, &[2]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(bytes(&disk)[0], 1);
        disk.reset();
        disk.write(0, &[3]).unwrap();
        assert_eq!(bytes(&disk)[0], 3);
    }
}
