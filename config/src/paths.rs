//! Where ctxnode keeps its files: the XDG base directories, and their macOS equivalents.
//!
//! Not here: making directories, permissions, or what lies inside the data directory.

use std::path::{Path, PathBuf};

use crate::env::Environment;
use crate::error::ConfigError;

/// The operating system whose habits decide the default paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Linux and other systems that follow XDG.
    Linux,
    /// macOS.
    MacOs,
}

impl Platform {
    /// Returns the platform that this binary was built for.
    #[must_use]
    pub fn current() -> Self {
        if cfg!(target_os = "macos") { Self::MacOs } else { Self::Linux }
    }

    /// Returns the longest path of a Unix socket in bytes: `sun_path` has 108 bytes on Linux and 104 on macOS, and one
    /// of them ends the string. A longer path fails in `bind` with nothing but "invalid argument".
    #[must_use]
    pub fn longest_socket_path(self) -> usize {
        match self {
            Self::Linux => 107,
            Self::MacOs => 103,
        }
    }
}

/// The places of one user's ctxnode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The user's home directory.
    pub home: PathBuf,
    /// The user's configuration file.
    pub config_file: PathBuf,
    /// The replica; nothing but the daemon opens what lies here.
    pub data_dir: PathBuf,
    /// Logs, spool and other things that may be lost.
    pub state_dir: PathBuf,
    /// The socket of the daemon's API; in the data directory when that is not the default one, so that each replica has its own.
    pub socket: PathBuf,
}

impl Paths {
    /// Returns the default places.
    ///
    /// On macOS an XDG variable still counts when it is set, since somebody set it on purpose.
    ///
    /// # Errors
    /// [`ConfigError::NoHome`] when `HOME` is not an absolute path.
    pub fn discover(platform: Platform, environment: &Environment) -> Result<Self, ConfigError> {
        let home = environment.absolute("HOME").ok_or(ConfigError::NoHome)?;
        let base = |variable: &str, linux: &str| {
            environment.absolute(variable).unwrap_or_else(|| match platform {
                Platform::Linux => home.join(linux),
                Platform::MacOs => home.join("Library/Application Support"),
            })
        };
        let config_file = base("XDG_CONFIG_HOME", ".config").join("ctxnode/config.toml");
        let data_dir = base("XDG_DATA_HOME", ".local/share").join("ctxnode");
        let state_dir = base("XDG_STATE_HOME", ".local/state").join("ctxnode");
        let runtime = environment.absolute("XDG_RUNTIME_DIR").unwrap_or_else(|| state_dir.clone());
        Ok(Self { config_file, data_dir, state_dir, socket: runtime.join("ctxnode.sock"), home })
    }

    /// Returns the socket on which the daemon speaks MCP: beside the API's, so that one setting moves both.
    #[must_use]
    pub fn mcp_socket(&self) -> PathBuf {
        let stem = self.socket.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.socket.with_file_name(format!("{stem}-mcp.sock"))
    }

    /// Returns the folder of the daemon's log files.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.state_dir.join("log")
    }

    /// Returns the socket whose path is longest, which is the one that a limit hits first.
    pub(crate) fn longest_socket(&self) -> PathBuf {
        let mcp = self.mcp_socket();
        if length(&mcp) > length(&self.socket) { mcp } else { self.socket.clone() }
    }
}

/// Returns the length of a path in bytes.
pub(crate) fn length(path: &Path) -> usize {
    path.as_os_str().len()
}
