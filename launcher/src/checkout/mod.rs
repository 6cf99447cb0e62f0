//! Checkouts of this machine: found in the development folders, brought up to date when nothing can be lost.
//!
//! Never here: a stash, a merge, a reset, a switch of branch. What a person left in a checkout stays as it is.

pub mod clone;
mod find;
mod git;
mod state;

use std::path::PathBuf;

pub use find::{find, remotes};
pub use git::{Git, LIMIT, commits_nowhere_else};
pub use state::{State, Update, decide};

/// A checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its top folder.
    pub path: PathBuf,
    /// The URLs of its remotes, origin first.
    pub remotes: Vec<String>,
}
