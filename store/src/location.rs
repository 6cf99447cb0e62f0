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
    /// A backend that a simulation provides. Every command runs on the thread of its caller, alone and to its end: a whole
    /// fleet is one thread, and all that happens follows from a seed.
    Backend(Box<dyn StorageBackend>),
}

/// What is known of a location once its database is open.
#[derive(Clone)]
pub(crate) struct Place {
    /// The file, when there is one.
    pub(crate) path: Option<PathBuf>,
    /// Whether a simulation provides the disk.
    pub(crate) is_simulated: bool,
}

impl Place {
    pub(crate) fn of(location: &Location) -> Self {
        let path = if let Location::File(path) = location { Some(path.clone()) } else { None };
        Self { path, is_simulated: matches!(location, Location::Backend(_)) }
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
