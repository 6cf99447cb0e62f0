//! Which ventures there are: as the daemon says, else as it said last. Whatever state ctxnode itself is in, an agent starts.
//!
//! What is kept is a copy for that one purpose: every answer replaces it, and nothing else reads it.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use ctxnode_api::operations::VentureView;
use ctxnode_api::{Client, List};
use ctxnode_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::world::{Autostart, World};

/// The file of the last answer, below the state directory.
const FILE: &str = "ventures.json";
/// How the names of its halves begin; a launcher that is killed while it writes leaves one.
const HALF: &str = ".ventures.";
/// How long the random part of such a name is.
const RANDOM: usize = 6;
/// How long the daemon may take to start, and to answer, while its last answer can stand in. It answers within milliseconds; one that does not is
/// stopped, or stuck in a disk, and nobody who wants an agent should wait for that.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of ventures.
#[derive(Debug)]
pub struct Known {
    /// All ventures.
    pub ventures: List<VentureView>,
    /// The daemon's build, when it answered.
    pub build: Option<String>,
    /// The daemon, when it answered.
    pub daemon: Option<Client>,
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    at: Timestamp,
    ventures: List<VentureView>,
}

impl World {
    /// Returns the ventures from the daemon, which is started when `start` says so. When it cannot be asked, says why and
    /// returns those of its last answer.
    ///
    /// # Errors
    /// When the daemon cannot be asked and never answered here before.
    pub async fn known(&self, start: Autostart) -> Result<Known, Refusal> {
        let state_dir = &self.config.paths.state_dir;
        let kept = recall(state_dir);
        let refusal = match self.ask(start, kept.is_some().then_some(PATIENCE)).await {
            Ok(known) => {
                if start == Autostart::Allowed
                    && let Err(error) = remember(state_dir, &known.ventures, now())
                {
                    self.screen.debug(&format!("the ventures could not be kept for later: {error}"));
                }
                return Ok(known);
            }
            Err(refusal) => refusal,
        };
        let Some(Kept { at, ventures }) = kept else { return Err(refusal) };
        let (why, fix, age) = (refusal.why(), refusal.fix(), at.age(now()));
        self.screen.say(&format!("note: {why} ({fix}); going on with the ventures as they were known, age: {age}"));
        Ok(Known { ventures, build: None, daemon: None })
    }

    async fn ask(&self, start: Autostart, limit: Option<Duration>) -> Result<Known, Refusal> {
        let mut daemon = match limit {
            Some(limit) => self.client_within(start, limit).await?.with_limit(limit),
            None => self.client(start).await?,
        };
        let (ventures, build) = self.ventures(&mut daemon).await?;
        Ok(Known { ventures, build, daemon: Some(daemon) })
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// Keeps an answer. Not synced: after a power failure there is none, or a file that does not parse, which is the same.
fn remember(state_dir: &Path, ventures: &List<VentureView>, at: Timestamp) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let text = serde_json::to_vec(&Kept { at, ventures: ventures.clone() })?;
    // Launchers that start together each write a file of their own; the last one stays.
    let mut file = half(state_dir)?;
    file.write_all(&text)?;
    file.persist(state_dir.join(FILE)).map(drop).map_err(|error| error.error)
}

fn half(state_dir: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(HALF).rand_bytes(RANDOM).tempfile_in(state_dir)
}

/// Whether a file of the state directory is the last answer, or the half of one.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    let is_random = |rest: &str| rest.len() == RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name == FILE || name.strip_prefix(HALF).is_some_and(is_random)
}

fn recall(state_dir: &Path) -> Option<Kept> {
    let text = std::fs::read(state_dir.join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::ventures;

    #[test]
    fn the_last_answer_is_what_is_recalled_and_a_broken_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(recall(&state).is_none());
        let mut list = List::all(ventures());
        remember(&state, &list, Timestamp(1)).unwrap();
        list.items.truncate(1);
        remember(&state, &list, Timestamp(2)).unwrap();
        let kept = recall(&state).unwrap();
        assert_eq!((kept.at, kept.ventures.items.len()), (Timestamp(2), 1));
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "no half file is left");
        let half = half(&state).unwrap();
        let name = half.path().file_name().unwrap().to_str().unwrap();
        assert!(is_ours(name) && is_ours(FILE) && !is_ours("ventures.json.mine"), "{name}");
        std::fs::write(state.join(FILE), "{").unwrap();
        assert!(recall(&state).is_none());
    }
}
