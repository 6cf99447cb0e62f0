//! Events that hooks could not bring to the daemon: a bounded file of JSON lines, read in order when a daemon runs again.
//!
//! A hook appends under a lock of the file, and drops the oldest half when it is full. The daemon renames it before it
//! reads, so that a line is either before the rename and read now, or after it and read next.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ctxnode_api::{CorrelationId, Right, route};
use ctxnode_model::rules::identity;
use rustix::fs::{FlockOperation, flock};

use crate::app::{App, Cx};
use crate::caller::{Bucket, Caller, Via};
use crate::handlers::{self, Spooled};

/// The most bytes that wait. A busy day of tool events has a few megabytes; more would only be replayed as noise.
const MOST_BYTES: u64 = 10 << 20;
/// How often the lock is asked for; others hold it for one write.
const TRIES: u32 = 50;

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("hooks.spool")
}

fn replaying(state_dir: &Path) -> PathBuf {
    state_dir.join("hooks.spool.replay")
}

/// Appends an event. Drops the oldest half when there is no room, and counts what it dropped.
pub(crate) fn append(state_dir: &Path, event: &Spooled) -> std::io::Result<()> {
    super::private_dir(state_dir)?;
    let mut line = serde_json::to_vec(event).map_err(std::io::Error::other)?;
    line.push(b'\n');
    let path = file(state_dir);
    let mut held = locked(&path)?;
    if held.metadata()?.len() + line.len() as u64 > MOST_BYTES {
        make_room(&mut held, state_dir)?;
    }
    held.seek(SeekFrom::End(0))?;
    held.write_all(&line)
}

/// Opens and locks the file that has this name now.
fn locked(path: &Path) -> std::io::Result<File> {
    for _ in 0..TRIES {
        let held = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            std::thread::yield_now();
            continue;
        }
        // It may have been renamed between the two calls.
        if std::fs::metadata(path).is_ok_and(|named| named.ino() == held.metadata().map_or(0, |held| held.ino())) {
            return Ok(held);
        }
    }
    Err(std::io::ErrorKind::WouldBlock.into())
}

fn make_room(held: &mut File, state_dir: &Path) -> std::io::Result<()> {
    let mut text = Vec::new();
    held.seek(SeekFrom::Start(0))?;
    held.take(2 * MOST_BYTES).read_to_end(&mut text)?;
    let middle = text.len() / 2;
    let cut = text[middle..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| middle + at + 1);
    let dropped = text[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
    held.set_len(0)?;
    held.seek(SeekFrom::Start(0))?;
    held.write_all(&text[cut..])?;
    let counter = state_dir.join("hooks.dropped");
    let before: u64 = std::fs::read_to_string(&counter).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    File::create(counter)?.write_all((before + dropped).to_string().as_bytes())
}

/// Applies what waits, in order. A file that a daemon left in the middle is applied from its beginning: each event has the
/// same effect however often it comes.
pub(super) async fn replay(app: &Arc<App>) {
    let state_dir = &app.config.paths.state_dir;
    for turn in 0..2 {
        let taken = replaying(state_dir);
        if turn == 1 && !take(&file(state_dir), &taken) {
            return;
        }
        let Ok(text) = std::fs::read_to_string(&taken) else { continue };
        let mut applied = 0_usize;
        for line in text.lines() {
            // Half a line is what a full disk left.
            let Ok(event) = serde_json::from_str::<Spooled>(line) else { continue };
            match apply(app, event).await {
                Ok(()) => applied += 1,
                Err(failure) => tracing::warn!(?failure, "an event that waited could not be applied"),
            }
        }
        tracing::info!(applied, "events that waited were applied");
        if let Err(error) = std::fs::remove_file(&taken) {
            tracing::warn!(%error, "the events that waited cannot be removed");
            return;
        }
    }
}

/// Gives the file another name; false when there is none.
fn take(path: &Path, to: &Path) -> bool {
    path.exists() && locked(path).is_ok_and(|_held| std::fs::rename(path, to).is_ok())
}

async fn apply(app: &Arc<App>, event: Spooled) -> Result<(), crate::failure::Failure> {
    let Some(route) = route("hook") else { return Ok(()) };
    let agent = identity::user_agent(&app.host.user);
    let caller = Caller {
        actor_key_id: identity::local_actor_key_id(&app.store.node(), &agent),
        agent,
        right: Right::Admin,
        via: Via::Socket,
        bucket: Bucket::Hook,
        ..Caller::nobody()
    };
    let correlation = CorrelationId::from_random(app.store.entropy().number().to_le_bytes());
    let params = serde_json::Map::new();
    let cx = Cx { app: Arc::clone(app), caller, route, correlation, params, reserved: None };
    handlers::apply_spooled(&cx, event).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctxnode_api::hooks::HookRequest;

    fn event(number: usize, text: usize) -> Spooled {
        let request = HookRequest {
            cli: "claude".to_owned(),
            turn: Some(number.to_string()),
            text: Some("x".repeat(text)),
            ..HookRequest::default()
        };
        Spooled { request, agent: None }
    }

    #[test]
    fn c_04_a_full_spool_drops_the_oldest_and_counts_them() {
        let dir = tempfile::TempDir::new().unwrap();
        let count = 2_200;
        for number in 0..count {
            append(dir.path(), &event(number, 8_000)).unwrap();
        }
        let text = std::fs::read_to_string(file(dir.path())).unwrap();
        assert!(text.len() as u64 <= MOST_BYTES);
        let kept: Vec<usize> = text
            .lines()
            .map(|line| serde_json::from_str::<Spooled>(line).unwrap().request.turn.unwrap().parse().unwrap())
            .collect();
        let dropped: usize = std::fs::read_to_string(dir.path().join("hooks.dropped")).unwrap().parse().unwrap();
        assert_eq!(kept, (dropped..count).collect::<Vec<_>>());
        assert!(dropped > 0);
    }

    #[test]
    fn c_04_lines_of_many_hooks_do_not_mix() {
        let dir = tempfile::TempDir::new().unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let dir = dir.path();
                scope.spawn(move || {
                    for number in 0..50 {
                        // Somebody else holds the lock: a hook would be silent, this test tries again.
                        while append(dir, &event(worker * 100 + number, 500)).is_err() {}
                    }
                });
            }
        });
        let text = std::fs::read_to_string(file(dir.path())).unwrap();
        assert_eq!(text.lines().filter(|line| serde_json::from_str::<Spooled>(line).is_ok()).count(), 200);
    }
}
