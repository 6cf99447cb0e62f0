//! The daemon: one process per user and data directory that owns the store and serves everybody else.

pub mod lock;

pub(crate) mod host;
mod indexer;
mod mark;
pub(crate) mod presence;
mod schedule;
mod serve;
pub(crate) mod spool;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ctxnode_config::Config;
use ctxnode_model::NodeKey;
use ctxnode_model::id::FleetId;
use ctxnode_store::entry::VerifiedEntry;
use ctxnode_store::{KeyError, NodeSecret, OpenError, Options, OsEntropy, Store, StoreError, WriteError};
use ctxnode_sync::{Code, JoinError, Present};
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
    /// What the store has to know, so that an older copy of it is noticed.
    pub mark: PathBuf,
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
            mark: data_dir.join("store.mark"),
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
    /// The fleet did not take this machine in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The first records cannot be written.
    #[error(transparent)]
    Seed(#[from] WriteError<StoreError>),
}

/// A data directory in which a replica is being made. The store appears under its name only when it is whole, so that an
/// attempt that was killed can simply be repeated.
#[derive(Debug)]
struct Making {
    files: Files,
    partial: PathBuf,
    _lock: Lock,
}

impl Making {
    fn begin(config: &Config) -> Result<Self, InitError> {
        let data_dir = &config.paths.data_dir;
        let files = Files::of(data_dir);
        private_dir(data_dir).map_err(|source| InitError::Directory { path: data_dir.clone(), source })?;
        // First, since it says more than that a daemon runs on it.
        if files.store.exists() {
            return Err(InitError::Exists(files.store));
        }
        let lock = Lock::take(&files.lock)?;
        let partial = files.store.with_extension("new");
        match std::fs::remove_file(&partial) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(InitError::Directory { path: partial, source })
            }
            _ => Ok(Self { files, partial, _lock: lock }),
        }
    }

    fn finish(self, store: &Store) -> Result<(), InitError> {
        store.close();
        let path = self.files.store;
        std::fs::rename(&self.partial, &path).map_err(|source| InitError::Directory { path, source })
    }
}

/// A replica that is whole, and does not count yet: whoever makes it shows the recovery key first, since nobody could show it
/// later. Dropped, it leaves nothing that a second try trips over.
#[derive(Debug)]
pub struct NewReplica {
    /// What was made.
    pub report: InitReport,
    making: Making,
    store: Store,
}

impl NewReplica {
    /// Puts the replica in its place.
    ///
    /// # Errors
    /// When the place cannot be used; then there is no replica.
    pub fn finish(self) -> Result<(), InitError> {
        self.making.finish(&self.store)
    }
}

/// Makes a replica with this node as the first of a new fleet, and seeds the doc requirements. It counts when it is finished.
///
/// # Errors
/// When there is one already, or the place cannot be used; then nothing is left behind that a second try trips over.
pub fn init(config: &Config, name: &str) -> Result<NewReplica, InitError> {
    let making = Making::begin(config)?;
    let secret = NodeSecret::load_or_create(&making.files.key, &OsEntropy)?;
    let created = Store::create(Options::file(&making.partial, secret), name)?;
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
    Ok(NewReplica { report, making, store: created.store })
}

/// What [`join`] made.
#[derive(Debug)]
pub struct JoinReport {
    /// The fleet.
    pub fleet: FleetId,
    /// This node.
    pub node: NodeKey,
    /// The node that invited.
    pub inviter: NodeKey,
}

/// Makes a replica of an existing fleet with an invitation. It holds the genesis; the daemon gets everything else.
///
/// # Errors
/// When there is a replica already, the place cannot be used, or the inviter cannot be reached or refuses.
pub async fn join(config: &Config, code: &Code, name: &str) -> Result<JoinReport, InitError> {
    let making = Making::begin(config)?;
    let secret = NodeSecret::load_or_create(&making.files.key, &OsEntropy)?;
    let joined = ctxnode_sync::join(&secret, code, name, &crate::peers::net_config(&config.sync)).await?;
    let store = Store::create_member(Options::file(&making.partial, secret), joined.genesis.clone())?;
    ctxnode_sync::remember_inviter(&store, &joined).map_err(WriteError::Store)?;
    let report = JoinReport { fleet: store.fleet(), node: store.node(), inviter: joined.inviter };
    making.finish(&store)?;
    Ok(report)
}

/// What [`join_again`] heard of the machine that invited.
#[derive(Debug)]
pub struct Inviter {
    /// The fleet in which it is.
    pub fleet: FleetId,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The relay over which it can be reached.
    pub relay: Option<String>,
}

/// Asks with an invitation to be let in again, with the replica that is here. That machine then knows this one's key; everything
/// else is for the daemons, of which this one's may run meanwhile.
///
/// # Errors
/// When the key cannot be read, or the inviter cannot be reached or refuses.
pub async fn join_again(config: &Config, code: &Code, name: &str, present: Present) -> Result<Inviter, InitError> {
    let secret = NodeSecret::load(&Files::of(&config.paths.data_dir).key)?;
    let net = crate::peers::net_config(&config.sync);
    let joined = ctxnode_sync::join_again(&secret, code, name, present, &net).await?;
    let genesis = VerifiedEntry::verify(joined.genesis).map_err(|_| OpenError::WrongKey)?;
    let mut fleet = FleetId([0; 16]);
    fleet.0.copy_from_slice(&genesis.hash()[..16]);
    Ok(Inviter { fleet, addresses: joined.addresses, relay: joined.relay })
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
