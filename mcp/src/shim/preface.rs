//! The line that a shim sends before the first message, so that the daemon knows whose connection it is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The form of the line that this version writes and reads.
const FORM: &str = "mcp/1";
/// The longest line: a path of the longest kind, escaped, and some room.
const MAX: u64 = 32 << 10;

/// Whose connection it is. A statement and not a proof: the daemon asks the system for the process as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preface {
    ctxnode: String,
    /// The shim's process.
    pub pid: u32,
    /// Where the agent works.
    pub directory: PathBuf,
    /// The shim's build.
    pub build: String,
}

/// A connection that does not begin as one of a shim.
#[derive(Debug, Error)]
pub enum PrefaceError {
    /// The stream failed.
    #[error("the connection ended before its first line")]
    Io(#[from] std::io::Error),
    /// It is not a preface.
    #[error("the first line is not that of a shim")]
    Form(#[from] serde_json::Error),
    /// It is one of another version.
    #[error("the shim speaks `{0}`, this daemon speaks `{FORM}`")]
    Version(String),
}

impl Preface {
    pub(super) fn new(pid: u32, directory: &Path, build: &str) -> Self {
        Self { ctxnode: FORM.to_owned(), pid, directory: directory.to_owned(), build: build.to_owned() }
    }

    pub(super) fn line(&self) -> String {
        // A directory that is not UTF-8 cannot be said in JSON; the rest still can.
        serde_json::to_string(self).unwrap_or_else(|_| {
            serde_json::json!({ "ctxnode": FORM, "pid": self.pid, "directory": "/", "build": self.build }).to_string()
        })
    }

    /// Reads the first line of a connection.
    ///
    /// # Errors
    /// When it is no preface, or one of another version.
    pub async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Self, PrefaceError> {
        let mut line = String::new();
        stream.take(MAX).read_line(&mut line).await?;
        let preface: Self = serde_json::from_str(&line)?;
        if preface.ctxnode == FORM { Ok(preface) } else { Err(PrefaceError::Version(preface.ctxnode)) }
    }
}
