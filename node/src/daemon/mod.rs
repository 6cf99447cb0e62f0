//! The daemon: one process per user and data directory that owns the store and serves everybody else.

pub mod lock;

mod host;
mod indexer;
pub(crate) mod presence;
mod schedule;
mod serve;

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ctxnode_config::Config;
use ctxnode_model::NodeKey;
use ctxnode_model::id::FleetId;
use ctxnode_store::{KeyError, NodeSecret, OpenError, Options, OsEntropy, Store, StoreError, WriteError};
use thiserror::Error;
use zeroize::Zeroizing;

use lock::{Lock, LockError};

/// The files in a data directory.
#[derive(Clone, Debug)]
pub struct Files {
    /// The store.
    pub store: PathBuf,
    /// The node's secret key.
    pub key: PathBuf,
    /// The daemon's lock.
    pub lock: PathBuf,
    /// The search index's directory.
    pub index: PathBuf,
}

impl Files {
    /// Returns the files of a data directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self {
            store: data_dir.join("store.redb"),
            key: data_dir.join("node.key"),
            lock: data_dir.join("daemon.lock"),
            index: data_dir.join("index"),
        }
    }
}

/// What [`init`] made.
#[derive(Debug)]
pub struct InitReport {
    /// The new fleet.
    pub fleet: FleetId,
    /// This node.
    pub node: NodeKey,
    /// To be shown once; it is kept nowhere.
    pub recovery_key: Zeroizing<String>,
}

/// A replica could not be made.
#[derive(Debug, Error)]
pub enum InitError {
    /// There is one already.
    #[error("a replica exists at {0}")]
    Exists(PathBuf),
    /// A directory cannot be made or used.
    #[error("{path} cannot be used")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A daemon is running there.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The store cannot be made.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The first records cannot be written.
    #[error(transparent)]
    Seed(#[from] WriteError<StoreError>),
}

/// Makes a replica with this node as the first of a new fleet, and seeds the doc requirements.
///
/// # Errors
/// When there is one already, or the place cannot be used; then nothing is left behind that a second try trips over.
pub fn init(config: &Config, name: &str) -> Result<InitReport, InitError> {
    let data_dir = &config.paths.data_dir;
    let files = Files::of(data_dir);
    private_dir(data_dir).map_err(|source| InitError::Directory { path: data_dir.clone(), source })?;
    let _lock = Lock::take(&files.lock)?;
    if files.store.exists() {
        return Err(InitError::Exists(files.store));
    }
    let secret = NodeSecret::load_or_create(&files.key, &OsEntropy)?;
    // The store appears under its name only when it is whole, so that a killed init can simply be repeated.
    let partial = files.store.with_extension("new");
    match std::fs::remove_file(&partial) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(InitError::Directory { path: partial, source });
        }
        _ => {}
    }
    let created = Store::create(Options::file(&partial, secret), name)?;
    created.store.write_blocking(|draft| {
        for requirement in ctxnode_model::rules::requirement::seeds() {
            crate::handlers::seed_requirement(draft, &requirement)?;
        }
        Ok::<(), StoreError>(())
    })?;
    let report = InitReport {
        fleet: created.store.fleet(),
        node: created.store.node(),
        recovery_key: created.recovery.reveal(),
    };
    created.store.close();
    std::fs::rename(&partial, &files.store)
        .map_err(|source| InitError::Directory { path: files.store.clone(), source })?;
    Ok(report)
}

/// Runs the daemon until it is asked to stop. Returns the exit code of the process.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    serve::run(config)
}

/// Returns the name of this machine.
pub(crate) fn host_name() -> String {
    host::look().hostname
}

/// Makes a directory that only its owner can use, and repairs the mode of one that is wider.
pub(crate) fn private_dir(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
