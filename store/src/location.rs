//! Where a store is, and how its file is opened.

use std::path::{Path, PathBuf};

use redb::{Builder, Database, StorageBackend};

use crate::OpenError;

/// How much of the file redb may keep in memory. Its default of 1 GiB would break the daemon's promise of 100 MB; the
/// hot part of a store of 100,000 records (upper tree levels, open sessions, recent handoffs) fits in this.
const CACHE_BYTES: usize = 24 << 20;
/// Where a store is.
#[derive(Debug)]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// Memory, for tests and simulations.
    Memory,
    /// A backend that a test provides.
    Backend(Box<dyn StorageBackend>),
}

pub(crate) fn file_path(location: &Location) -> Option<PathBuf> {
    match location {
        Location::File(path) => Some(path.clone()),
        Location::Memory | Location::Backend(_) => None,
    }
}

/// Returns the settings for every database file of this process.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

pub(crate) fn open_database(location: Location) -> Result<Database, OpenError> {
    let builder = builder();
    match location {
        Location::Memory => builder
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|error| OpenError::Store(error.into())),
        Location::Backend(backend) => {
            builder.create_with_backend(BoxedBackend(backend)).map_err(|error| OpenError::Store(error.into()))
        }
        Location::File(path) => builder.create(&path).map_err(|error| open_error(&path, error)),
    }
}

fn open_error(path: &Path, error: redb::DatabaseError) -> OpenError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::Locked(path.to_owned()),
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => OpenError::Io { path: path.to_owned(), source },
        other => OpenError::Damaged { path: path.to_owned(), source: Box::new(other.into()) },
    }
}

/// A boxed backend as a backend.
#[derive(Debug)]
struct BoxedBackend(Box<dyn StorageBackend>);

impl StorageBackend for BoxedBackend {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }
    fn close(&self) -> Result<(), std::io::Error> {
        self.0.close()
    }
}
