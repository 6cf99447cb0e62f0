//! What the machine may provide for a test and may lack: a corpus, a Python with the MCP package, the MCP inspector.
//!
//! Not here: installing them (`test.sh` does). A test that gets `None` returns at once; the reason is on its output.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Returns the folder of real text: `CTXNODE_CORPUS`, or `shared/corpus/rfcs` beside the repository.
#[must_use]
pub fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/rfcs");
    let folder = variable("CTXNODE_CORPUS").unwrap_or(beside);
    existing("the corpus", "CTXNODE_CORPUS names no folder and there is none beside the repository", Some(folder))
}

/// Returns a Python interpreter that can import `mcp`.
#[must_use]
pub fn python_with_mcp() -> Option<PathBuf> {
    existing("Python with mcp", "run ./test.sh with a reachable registry", variable("CTXNODE_TEST_PYTHON"))
}

/// Returns the command line program of the MCP inspector.
#[must_use]
pub fn mcp_inspector() -> Option<PathBuf> {
    existing("the MCP inspector", "run ./test.sh with a reachable registry", variable("CTXNODE_TEST_INSPECTOR"))
}

/// Returns the folder of the agent CLIs' programs: `claude`, `codex`, `gemini`.
#[must_use]
pub fn agent_clis() -> Option<PathBuf> {
    existing("the agent CLIs", "run ./test.sh with a reachable registry", variable("CTXNODE_TEST_AGENTS"))
}

/// Returns how long a soak test runs: `CTXNODE_TEST_SOAK_SECONDS`, or what a suite can afford.
#[must_use]
pub fn soak_time() -> Duration {
    let asked = variable("CTXNODE_TEST_SOAK_SECONDS").and_then(|value| value.to_str()?.parse().ok());
    Duration::from_secs(asked.unwrap_or(10))
}

#[expect(clippy::print_stderr, reason = "a skipped test must say so where its output goes")]
fn existing(what: &str, why_not: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIP: {what} is not available: {why_not}");
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "the script around the tests passes places by environment")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
