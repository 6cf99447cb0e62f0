//! The table of settings: name in files, name in the environment, flag on the command line, and what is allowed.
//!
//! Not here: values. A new setting is one row here and one field in [`Config`](crate::Config).

use crate::env;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The directory that holds the replica.
    DataDir,
    /// The Unix socket of the daemon.
    Socket,
    /// The optional TCP listener.
    HttpListen,
    /// Folders that hold checkouts.
    DevDirs,
    /// The least severe level that is logged.
    LogLevel,
    /// Whether clients start the daemon.
    Autostart,
    /// The folder of the daily snapshots.
    BackupDir,
    /// How many daily snapshots are kept.
    BackupKeep,
    /// Whether there is a search index.
    SearchEnabled,
    /// The UDP port for peers.
    SyncPort,
    /// The addresses for peers.
    SyncBind,
    /// The relays.
    SyncRelay,
    /// Whether peers are looked for on the local network.
    SyncMdns,
    /// Where peers are.
    SyncPeers,
}

/// How an environment variable carries a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// The variable holds the value.
    Holds(&'static str),
    /// The variable is a yes or no, and yes means that the setting is false.
    Negates(&'static str),
}

impl Variable {
    /// Returns the name of the variable.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Holds(name) | Self::Negates(name) => name,
        }
    }
}

impl Key {
    /// Every setting, in the order in which it is shown.
    pub const ALL: [Self; 14] = [
        Self::DataDir,
        Self::Socket,
        Self::HttpListen,
        Self::DevDirs,
        Self::LogLevel,
        Self::Autostart,
        Self::BackupDir,
        Self::BackupKeep,
        Self::SearchEnabled,
        Self::SyncPort,
        Self::SyncBind,
        Self::SyncRelay,
        Self::SyncMdns,
        Self::SyncPeers,
    ];

    /// Returns the dotted name in a configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DataDir => "data_dir",
            Self::Socket => "socket",
            Self::HttpListen => "http.listen",
            Self::DevDirs => "dev_dirs",
            Self::LogLevel => "log.level",
            Self::Autostart => "autostart",
            Self::BackupDir => "backup.dir",
            Self::BackupKeep => "backup.keep",
            Self::SearchEnabled => "search.enabled",
            Self::SyncPort => "sync.port",
            Self::SyncBind => "sync.bind",
            Self::SyncRelay => "sync.relay",
            Self::SyncMdns => "sync.mdns",
            Self::SyncPeers => "sync.peers",
        }
    }

    /// Returns the environment variable that sets it.
    pub(crate) fn variable(self) -> Variable {
        match self {
            Self::DataDir => Variable::Holds(env::DATA_DIR),
            Self::Socket => Variable::Holds(env::SOCKET),
            Self::HttpListen => Variable::Holds(env::HTTP),
            Self::DevDirs => Variable::Holds(env::DEV_DIRS),
            Self::LogLevel => Variable::Holds(env::LOG),
            Self::Autostart => Variable::Negates(env::NO_AUTOSTART),
            Self::BackupDir => Variable::Holds(env::BACKUP_DIR),
            Self::BackupKeep => Variable::Holds(env::BACKUP_KEEP),
            Self::SearchEnabled => Variable::Negates(env::NO_SEARCH),
            Self::SyncPort => Variable::Holds(env::SYNC_PORT),
            Self::SyncBind => Variable::Holds(env::SYNC_BIND),
            Self::SyncRelay => Variable::Holds(env::SYNC_RELAY),
            Self::SyncMdns => Variable::Holds(env::SYNC_MDNS),
            Self::SyncPeers => Variable::Holds(env::SYNC_PEERS),
        }
    }

    /// Returns what a value must be, for errors and for the reference.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::DataDir | Self::Socket | Self::BackupDir => "an absolute path or one that starts with ~/",
            Self::HttpListen => "`off`, `on` (127.0.0.1:4747) or an address such as 127.0.0.1:4800",
            Self::DevDirs => "a list of paths, absolute or starting with ~/ (separated by `:` in the environment)",
            Self::LogLevel => "one of error, warn, info, debug, trace",
            Self::Autostart | Self::SearchEnabled | Self::SyncMdns => "true or false",
            Self::SyncPort => "a whole number from 0 (any port) to 65535",
            Self::SyncBind => "a list of IP addresses (separated by `,` in the environment); empty for all",
            Self::SyncRelay => "`off`, `public` or the URL of a relay, https://...",
            Self::SyncPeers => "a list of KEY@ADDRESS:PORT, KEY being the 64 hex digits that `ctxnode peers` shows",
            Self::BackupKeep => "a whole number from 1 to 365",
        }
    }

    /// Returns the key of a dotted name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Returns the known name that looks most like `name`, when one is close enough to be meant.
    pub(crate) fn nearest(name: &str) -> Option<&'static str> {
        nearest_of(name, Self::ALL.into_iter().map(Self::name))
    }
}

/// Below this likeness (Jaro-Winkler, 0 to 1) a suggestion misleads more than it helps: `foo` must not become `socket`.
const LEAST_LIKENESS: f64 = 0.8;

/// Returns the candidate that looks most like `name`.
fn nearest_of(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let likeness = |candidate: &'static str| {
        // A key that was written without its table (`listen`) is meant as surely as a misspelt one.
        let last = candidate.rsplit('.').next().unwrap_or(candidate);
        strsim::jaro_winkler(name, candidate).max(if name == last { 1.0 } else { 0.0 })
    };
    candidates
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(score, _)| *score >= LEAST_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
