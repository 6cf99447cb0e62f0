//! The names of environment variables, once, and the environment as a value.
//!
//! Not here: reading the process environment. `main` does that once and hands over the pairs.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The directory that holds the replica.
pub const DATA_DIR: &str = "CTXNODE_DATA_DIR";
/// The Unix socket of the daemon.
pub const SOCKET: &str = "CTXNODE_SOCKET";
/// The configuration file that is read in place of the user's own.
pub const CONFIG: &str = "CTXNODE_CONFIG";
/// The address of the optional TCP listener, `on` or `off`.
pub const HTTP: &str = "CTXNODE_HTTP";
/// Colon-separated folders that hold checkouts.
pub const DEV_DIRS: &str = "CTXNODE_DEV_DIRS";
/// The least severe level that is logged.
pub const LOG: &str = "CTXNODE_LOG";
/// When true, clients never start a daemon.
pub const NO_AUTOSTART: &str = "CTXNODE_NO_AUTOSTART";
/// When true, the daemon keeps no search index.
pub const NO_SEARCH: &str = "CTXNODE_NO_SEARCH";
/// The folder of the daily snapshots.
pub const BACKUP_DIR: &str = "CTXNODE_BACKUP_DIR";
/// How many daily snapshots are kept.
pub const BACKUP_KEEP: &str = "CTXNODE_BACKUP_KEEP";
/// The UDP port on which peers reach this node.
pub const SYNC_PORT: &str = "CTXNODE_SYNC_PORT";
/// Comma-separated addresses on which peers reach this node.
pub const SYNC_BIND: &str = "CTXNODE_SYNC_BIND";
/// Which relays pass packets on: `off`, `public` or a URL.
pub const SYNC_RELAY: &str = "CTXNODE_SYNC_RELAY";
/// Whether nodes look for each other on the local network.
pub const SYNC_MDNS: &str = "CTXNODE_SYNC_MDNS";
/// Comma-separated `KEY@ADDRESS:PORT` of peers.
pub const SYNC_PEERS: &str = "CTXNODE_SYNC_PEERS";
/// A folder of real text that tests and benchmarks run on.
pub const CORPUS: &str = "CTXNODE_CORPUS";
/// The token for a daemon that is asked over TCP; read by the command line only.
pub const TOKEN: &str = "CTXNODE_TOKEN";

/// The agent CLI that the launcher starts when no flag says which; read by the launcher only.
pub const AGENT: &str = "CTXNODE_AGENT";

/// What every variable of ctxnode begins with.
pub const PREFIX: &str = "CTXNODE_";
/// Names with another prefix that belong to tests: set by `test.sh`, read by tests, never by the daemon.
pub const TEST_PREFIX: &str = "CTXNODE_TEST_";

/// Variables that are read outside the layers of settings.
pub(crate) const NOT_SETTINGS: &[&str] = &[CONFIG, CORPUS, TOKEN, AGENT];

/// The environment of a process, as data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Builds an environment from pairs; a later pair replaces an earlier one of the same name.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Returns a variable's value; an empty value counts as unset, as the XDG specification asks.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a variable as an absolute path; a relative one counts as unset, as the XDG specification asks.
    pub(crate) fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// Returns the names that begin with [`PREFIX`], in order.
    pub(crate) fn own_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| name.starts_with(PREFIX))
    }
}
