//! The settings as typed values, made from all layers.
//!
//! Not here: the table of names (`key`), parsing of one value (`value`), files (`file`).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::env::Environment;
use crate::error::{ConfigError, ConfigErrors};
use crate::file::{self, ConfigFile};
use crate::key::Key;
use crate::layer::{self, Layer, Origin};
use crate::paths::{self, Paths, Platform};
use crate::value::{self, Raw};

/// The configuration of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where things are, with `data_dir` and `socket` as the layers set them.
    pub paths: Paths,
    /// The TCP listener, if there is one. The Unix socket is always served.
    pub http_listen: Option<SocketAddr>,
    /// Folders that hold checkouts, in the order in which they are searched.
    pub dev_dirs: Vec<PathBuf>,
    /// The least severe level that is logged.
    pub log_level: LogLevel,
    /// Whether a client that finds no daemon starts one.
    pub autostart: bool,
    /// Daily snapshots.
    pub backup: Backup,
    /// Whether the daemon keeps a search index.
    pub search_enabled: bool,
    /// How the daemon meets its peers.
    pub sync: SyncSettings,
    /// Variables with our prefix that nothing reads: misspelt, or of another version. `ctxnode doctor` names them.
    pub unknown_variables: Vec<String>,
    origins: BTreeMap<Key, Origin>,
}

/// Where daily snapshots go and how many stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The folder.
    pub dir: PathBuf,
    /// How many are kept.
    pub keep: u32,
}

/// How the daemon meets its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSettings {
    /// The UDP port; 0 for any.
    pub port: u16,
    /// Addresses to listen on; all when empty.
    pub bind: Vec<IpAddr>,
    /// Which relays pass packets on.
    pub relay: Relay,
    /// Whether peers are looked for on the local network.
    pub mdns: bool,
    /// Where peers are: their keys in hex, and addresses.
    pub peers: Vec<(String, SocketAddr)>,
}

/// Which relays are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relay {
    /// None.
    Off,
    /// Those that the makers of iroh run.
    Public,
    /// The one at this URL.
    Url(String),
}

/// How severe an event must be to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also what happens in ordinary life.
    Info,
    /// Also what helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Returns the level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn from_raw(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text)),
            _ => None,
        }
    }
}

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Layer);

impl Overrides {
    /// Adds the value of a flag; `flag` is as it is typed, dashes included.
    #[must_use]
    pub fn with(mut self, key: Key, flag: &'static str, value: impl Into<String>) -> Self {
        self.0.set(key, Raw::Text(value.into()), Origin::CommandLine { flag });
        self
    }
}

/// Everything that a configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Whose default paths.
    pub platform: Platform,
    /// The environment of the process.
    pub env: &'a Environment,
    /// The files that exist, weakest first; see [`config_files`](crate::config_files).
    pub files: &'a [ConfigFile],
    /// The command line.
    pub overrides: &'a Overrides,
}

/// One line of `ctxnode config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The setting.
    pub key: Key,
    /// The value in use.
    pub value: String,
    /// Who set it.
    pub origin: Origin,
}

/// Makes the configuration from all layers.
///
/// # Errors
/// Every fault of every layer.
pub fn load(inputs: &Inputs<'_>) -> Result<Config, ConfigErrors> {
    match load_what_is_good(inputs)? {
        (config, errors) if errors.is_empty() => Ok(config),
        (_, errors) => Err(ConfigErrors(errors)),
    }
}

/// Makes the configuration from what is good in all layers, with defaults in the place of the rest; also returns every fault.
/// For a program that must go on whatever the files say.
///
/// # Errors
/// When the paths have no place, so that there is no configuration at all.
pub fn load_what_is_good(inputs: &Inputs<'_>) -> Result<(Config, Vec<ConfigError>), ConfigErrors> {
    let mut errors = Vec::new();
    let mut layers = Layer::default();
    for file in inputs.files {
        layers.lay(file::from_file(file, &mut errors));
    }
    layers.lay(layer::from_environment(inputs.env));
    layers.lay(inputs.overrides.0.clone());

    let paths = match Paths::discover(inputs.platform, inputs.env) {
        Ok(paths) => paths,
        Err(error) => {
            errors.push(error);
            return Err(ConfigErrors(errors));
        }
    };
    let mut reader = Reader { layers: &layers, errors, origins: BTreeMap::new() };
    let mut config = reader.config(paths, inputs.platform);
    config.unknown_variables = layer::unknown_variables(inputs.env);
    config.origins = reader.origins;
    Ok((config, reader.errors))
}

/// One port on every machine, so that firewalls and tailnets can allow it.
const DEFAULT_SYNC_PORT: u16 = 4748;
/// Two weeks of daily snapshots: longer than a holiday, shorter than a disk.
const DEFAULT_BACKUPS: u32 = 14;

/// Reads typed values out of the layers, noting origins and faults.
struct Reader<'a> {
    layers: &'a Layer,
    errors: Vec<ConfigError>,
    origins: BTreeMap<Key, Origin>,
}

impl Reader<'_> {
    fn config(&mut self, mut paths: Paths, platform: Platform) -> Config {
        let home = paths.home.clone();
        let path = |raw: &Raw| value::path(raw, &home);
        let usual = paths.data_dir.clone();
        paths.data_dir = self.read(Key::DataDir, usual.clone(), path);
        if paths.data_dir != usual {
            // Beside another replica, since at the usual place the daemon of the usual one listens; unless the kernel has no room
            // for such a path.
            let socket = paths.data_dir.join(paths.socket.file_name().unwrap_or_default());
            let there = Paths { socket, ..paths.clone() };
            if paths::length(&there.longest_socket()) <= platform.longest_socket_path() {
                paths = there;
            }
        }
        paths.socket = self.read(Key::Socket, paths.socket.clone(), path);
        self.check_socket(&paths, platform);
        let backups = paths.data_dir.join("backups");
        Config {
            http_listen: self.read(Key::HttpListen, None, value::listen),
            dev_dirs: self.read(Key::DevDirs, vec![home.join("dev")], |raw| value::paths(raw, &home)),
            log_level: self.read(Key::LogLevel, LogLevel::Info, LogLevel::from_raw),
            autostart: self.read(Key::Autostart, true, value::switch),
            backup: Backup {
                dir: self.read(Key::BackupDir, backups, path),
                keep: self.read(Key::BackupKeep, DEFAULT_BACKUPS, |raw| value::number(raw, 1..=365)),
            },
            search_enabled: self.read(Key::SearchEnabled, true, value::switch),
            sync: SyncSettings {
                port: self.read(Key::SyncPort, DEFAULT_SYNC_PORT, value::port),
                bind: self.read(Key::SyncBind, Vec::new(), |raw| value::each(raw, |text| text.parse().ok())),
                relay: self.read(Key::SyncRelay, Relay::Off, relay),
                mdns: self.read(Key::SyncMdns, true, value::switch),
                peers: self.read(Key::SyncPeers, Vec::new(), |raw| value::each(raw, peer)),
            },
            unknown_variables: Vec::new(),
            origins: BTreeMap::new(),
            paths,
        }
    }

    /// Returns the strongest value of a setting; a bad one is noted and the default stands in, so that the remaining
    /// settings are still checked. Who calls `load` never sees that stand-in, because it then fails.
    fn read<T>(&mut self, key: Key, default: T, parse: impl FnOnce(&Raw) -> Option<T>) -> T {
        let Some((raw, origin)) = self.layers.get(key) else {
            self.origins.insert(key, Origin::Default);
            return default;
        };
        self.origins.insert(key, origin.clone());
        parse(raw).unwrap_or_else(|| {
            self.errors.push(ConfigError::BadValue {
                origin: origin.clone(),
                key: key.name(),
                found: raw.to_string(),
                expected: key.expected(),
            });
            default
        })
    }

    fn check_socket(&mut self, paths: &Paths, platform: Platform) {
        let path = paths.longest_socket();
        let (bytes, limit) = (paths::length(&path), platform.longest_socket_path());
        if bytes > limit {
            let origin = self.origins.get(&Key::Socket).cloned().unwrap_or(Origin::Default);
            self.errors.push(ConfigError::SocketTooLong { origin, path, bytes, limit });
        }
    }
}

impl Config {
    /// Returns who set a value.
    #[must_use]
    pub fn origin(&self, key: Key) -> &Origin {
        self.origins.get(&key).unwrap_or(&Origin::Default)
    }

    /// Returns every setting with its value and who set it, in the order of [`Key::ALL`].
    #[must_use]
    pub fn explain(&self) -> Vec<Explained> {
        let row = |key| Explained { key, value: self.text_of(key), origin: self.origin(key).clone() };
        Key::ALL.into_iter().map(row).collect()
    }

    fn text_of(&self, key: Key) -> String {
        match key {
            Key::DataDir => self.paths.data_dir.display().to_string(),
            Key::Socket => self.paths.socket.display().to_string(),
            Key::HttpListen => self.http_listen.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            Key::DevDirs => {
                let texts: Vec<String> = self.dev_dirs.iter().map(|dir| dir.display().to_string()).collect();
                texts.join(":")
            }
            Key::LogLevel => self.log_level.as_str().to_owned(),
            Key::Autostart => self.autostart.to_string(),
            Key::BackupDir => self.backup.dir.display().to_string(),
            Key::BackupKeep => self.backup.keep.to_string(),
            Key::SearchEnabled => self.search_enabled.to_string(),
            Key::SyncPort => self.sync.port.to_string(),
            Key::SyncBind => join(self.sync.bind.iter()),
            Key::SyncRelay => match &self.sync.relay {
                Relay::Off => "off".to_owned(),
                Relay::Public => "public".to_owned(),
                Relay::Url(url) => url.clone(),
            },
            Key::SyncMdns => self.sync.mdns.to_string(),
            Key::SyncPeers => join(self.sync.peers.iter().map(|(key, address)| format!("{key}@{address}"))),
        }
    }
}

/// Whether a text is the URL of a host: what is taken here is never silently no relay later.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_of_a_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    let begins = |c: char| c.is_ascii_alphanumeric() || c == '[';
    host.starts_with(begins) && host.chars().all(is_of_a_host) && text.chars().all(|c| c.is_ascii_graphic())
}

fn relay(raw: &Raw) -> Option<Relay> {
    match raw {
        Raw::Text(text) if text == "public" => Some(Relay::Public),
        Raw::Text(text) if is_url(text) => Some(Relay::Url(text.clone())),
        other => (value::switch(other) == Some(false)).then_some(Relay::Off),
    }
}

fn peer(text: &str) -> Option<(String, SocketAddr)> {
    let (key, address) = text.split_once('@')?;
    let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((is_key.then(|| key.to_ascii_lowercase())?, address.parse().ok()?))
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
