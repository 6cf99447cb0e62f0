//! The configuration of ctxnode: typed values, the layers that they come from, and where files live.
//!
//! Layers, weakest first: built-in default, system file, user file, environment, command line. Each value keeps its
//! [`Origin`], so that a person can be told who set it. All faults of all layers are reported at once.
//!
//! The crate is pure: the environment comes in as a map and files come in as text. It never reads a file, never opens a
//! socket, never touches the store and never prints.
//!
//! ```
//! use ctxnode_config::{Environment, Inputs, Key, Overrides, Platform, load};
//!
//! let env = Environment::from_pairs([("HOME", "/home/ada"), ("CTXNODE_LOG", "debug")]);
//! let config = load(&Inputs { platform: Platform::Linux, env: &env, files: &[], overrides: &Overrides::default() })?;
//! assert_eq!(config.paths.data_dir.to_str(), Some("/home/ada/.local/share/ctxnode"));
//! assert_eq!(config.origin(Key::LogLevel).to_string(), "environment variable CTXNODE_LOG");
//! # Ok::<(), ctxnode_config::ConfigErrors>(())
//! ```

mod config;
pub mod env;
mod error;
mod file;
mod key;
mod layer;
mod paths;
mod value;

pub use config::{
    Backup, Config, Explained, Inputs, LogLevel, Overrides, Relay, SyncSettings, load, load_what_is_good,
};
pub use env::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use file::{ConfigFile, FileRole, config_files};
pub use key::Key;
pub use layer::Origin;
pub use paths::{Paths, Platform};

/// The template of a ventures file, as `ctxnode venture import` reads it.
pub const VENTURES_TEMPLATE: &str = include_str!("../ventures.json");

#[cfg(test)]
mod tests;
