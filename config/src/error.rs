//! What can be wrong with a configuration, each fault with the layer that holds it.
//!
//! Not here: advice. The screen adds hints from these fields.

use std::fmt;
use std::path::PathBuf;

use crate::layer::Origin;

/// One fault of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is not TOML.
    #[error("{}: not valid TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A file names a setting that does not exist.
    #[error("{}:{line}: unknown key `{key}`{}", path.display(), near_match(*near))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
        /// The key with its tables, dotted.
        key: String,
        /// The known key that looks most like it, if any does.
        near: Option<&'static str>,
    },
    /// A value has the wrong type, form or range.
    #[error("{origin}: `{key}` is {found}, expected {expected}")]
    BadValue {
        /// The layer that set it.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value as it was written.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A socket path is longer than the kernel's address structure.
    #[error("{origin}: socket path {} has {bytes} bytes, the limit is {limit}", path.display())]
    SocketTooLong {
        /// The layer that set it.
        origin: Origin,
        /// The longest socket path that would be bound.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The most that the platform takes.
        limit: usize,
    },
    /// The home directory is unknown, so no default path can be made.
    #[error("HOME is unset or not an absolute path")]
    NoHome,
}

fn near_match(near: Option<&'static str>) -> String {
    near.map(|name| format!(", nearest known key is `{name}`")).unwrap_or_default()
}

/// All faults of a configuration; never empty when returned.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
            if let Some(source) = std::error::Error::source(error) {
                write!(f, ": {}", source.to_string().trim_end())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
