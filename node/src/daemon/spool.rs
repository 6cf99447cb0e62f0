//! Events that hooks could not bring to the daemon: a bounded file of JSON lines, read in order when a daemon runs again.
//!
//! A hook appends under a lock of the file, and drops the oldest half when it is full. The daemon renames it before it
//! reads, so that a line is either before the rename and read now, or after it and read next.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ctxnode_api::{CorrelationId, ErrorCode, Right, route};
use ctxnode_model::Timestamp;
use ctxnode_model::rules::identity;
use rustix::fs::{FlockOperation, flock};

use crate::app::{App, Cx};
use crate::caller::{Bucket, Caller, Via};
use crate::handlers::{self, Spooled};

/// The most bytes that wait. A busy day of tool events has a few megabytes; more would only be replayed as noise.
const MOST_BYTES: u64 = 10 << 20;
/// How long a hook waits for the lock. Others hold it for one write, or while they make room; its own limit is a second.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long the daemon waits for it, which has more to do, and who counts what was dropped.
const BRIEFLY: Duration = Duration::from_millis(20);

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("hooks.spool")
}

fn replaying(state_dir: &Path) -> PathBuf {
    state_dir.join("hooks.spool.replay")
}

/// How long a running daemon may leave an event where it is: it looks every minute.
const TAKEN_WITHIN_MS: u128 = 150_000;

/// Returns how many events wait on disk, and whether they wait for longer than a running daemon lets them.
pub(crate) fn waiting(state_dir: &Path, now: Timestamp) -> (usize, bool) {
    let mut all = (0, false);
    for path in [file(state_dir), replaying(state_dir)] {
        let text = std::fs::read(&path).unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let written = std::fs::metadata(&path).and_then(|found| found.modified()).ok();
        let at =
            written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |since| since.as_millis());
        let age = u128::try_from(now.0).unwrap_or_default().saturating_sub(at);
        all = (all.0 + lines, all.1 || (lines > 0 && age > TAKEN_WITHIN_MS));
    }
    all
}

/// Appends an event. Drops the oldest half when there is no room, and counts what it dropped, also when that is the event.
pub(crate) fn append(state_dir: &Path, event: &Spooled) -> std::io::Result<()> {
    super::private_dir(state_dir)?;
    let line = serde_json::to_vec(event).map_err(std::io::Error::other)?;
    let done = locked(&file(state_dir), PATIENCE).and_then(|held| push(held, state_dir, &line));
    if done.is_err() {
        // On a full disk this fails too.
        let _ = count(state_dir, 1);
    }
    done
}

fn push(mut held: File, state_dir: &Path, line: &[u8]) -> std::io::Result<()> {
    if held.metadata()?.len() + line.len() as u64 + 2 > MOST_BYTES {
        held = make_room(held, state_dir)?;
    }
    let end = held.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if end > 0 {
        held.read_exact_at(&mut last, end - 1)?;
    }
    // Half a line, of a hook that was killed, must not take this one with it.
    let lead: &[u8] = if last == *b"\n" { b"" } else { b"\n" };
    let done = held.write_all(&[lead, line, b"\n"].concat());
    if done.is_err() {
        // The half that a full disk took is no event.
        let _ = held.set_len(end);
    }
    done
}

/// Opens and locks the file that has this name now.
fn locked(path: &Path, patience: Duration) -> std::io::Result<File> {
    let until = Instant::now() + patience;
    loop {
        let held = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let own = held.metadata()?.ino();
        // It may have been renamed between the two calls.
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
            && std::fs::metadata(path).is_ok_and(|named| named.ino() == own)
        {
            return Ok(held);
        }
        if Instant::now() >= until {
            return Err(ErrorKind::WouldBlock.into());
        }
        drop(held);
        pause();
    }
}

/// Waits for one to two milliseconds; each process for another time, so that they do not come together again.
#[expect(clippy::disallowed_methods, reason = "a lock of a file tells nobody when it is free")]
fn pause() {
    std::thread::sleep(Duration::from_micros(1_000 + u64::from(std::process::id() % 1_000)));
}

/// Drops the oldest half; returns the file that is left, held.
fn make_room(mut held: File, state_dir: &Path) -> std::io::Result<File> {
    let mut text = Vec::new();
    held.seek(SeekFrom::Start(0))?;
    held.read_to_end(&mut text)?;
    replace(state_dir, newest_half(&text), dropped_of(&text))
}

/// The lines of the newer half.
fn newest_half(text: &[u8]) -> &[u8] {
    let middle = text.len() / 2;
    let cut = text[middle..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| middle + at + 1);
    &text[cut..]
}

/// How many lines the older half has.
fn dropped_of(text: &[u8]) -> u64 {
    let cut = text.len() - newest_half(text).len();
    text[..cut].iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Puts a new file in the place of the one that is held, and holds it before it has the name. Who is killed here leaves
/// the old one whole.
fn replace(state_dir: &Path, text: &[u8], dropped: u64) -> std::io::Result<File> {
    let path = state_dir.join("hooks.spool.new");
    let mut new = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    let done = flock(&new, FlockOperation::NonBlockingLockExclusive)
        .map_err(std::io::Error::from)
        .and_then(|()| new.write_all(text))
        .and_then(|()| std::fs::rename(&path, file(state_dir)));
    if let Err(error) = done {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    if dropped > 0 {
        // The lines are gone; the number is only told.
        let _ = count(state_dir, dropped);
    }
    Ok(new)
}

/// Adds to the number of events that were dropped.
fn count(state_dir: &Path, dropped: u64) -> std::io::Result<()> {
    let mut held = locked(&state_dir.join("hooks.dropped"), BRIEFLY)?;
    let mut text = Vec::new();
    held.read_to_end(&mut text)?;
    let before: u64 = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let sum = (before + dropped).to_string();
    held.seek(SeekFrom::Start(0))?;
    held.write_all(sum.as_bytes())?;
    held.set_len(sum.len() as u64)
}

/// Puts lines back before those that came since.
fn put_back(state_dir: &Path, lines: &[&[u8]]) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut held = locked(&file(state_dir), BRIEFLY)?;
    let mut text: Vec<u8> = lines.iter().flat_map(|line| [*line, b"\n"]).flatten().copied().collect();
    held.read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        replace(state_dir, newest_half(&text), dropped_of(&text)).map(drop)
    } else {
        replace(state_dir, &text, 0).map(drop)
    }
}

/// Reads lines, and counts those that are no event: half a line is what a hook that was killed left.
fn parse(text: &[u8]) -> (Vec<(&[u8], Spooled)>, u64) {
    let (mut events, mut bad) = (Vec::new(), 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(event) => events.push((line, event)),
            Err(_) => bad += 1,
        }
    }
    (events, bad)
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
        let text = match std::fs::read(&taken) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                // The next file would take the place of this one.
                tracing::warn!(%error, "the events that waited cannot be read");
                return;
            }
        };
        let (events, bad) = parse(&text);
        let (mut applied, mut kept, mut unusable) = (0_usize, Vec::new(), false);
        for (line, event) in events {
            if unusable {
                kept.push(line);
                continue;
            }
            let Err(failure) = apply(app, event).await else {
                applied += 1;
                continue;
            };
            tracing::warn!(?failure, "an event that waited could not be applied");
            let code = failure.into_body().code;
            // What is refused is refused tomorrow too.
            if code.status() >= 500 {
                kept.push(line);
            }
            unusable = matches!(code, ErrorCode::StorageFailed | ErrorCode::Starting);
        }
        if let Err(error) = put_back(state_dir, &kept) {
            tracing::warn!(%error, "the events that failed cannot be put back; all of them come again");
            return;
        }
        if let Err(error) = std::fs::remove_file(&taken) {
            tracing::warn!(%error, "the events that waited cannot be removed");
            return;
        }
        if bad > 0 {
            // They are gone; the number is only told.
            let _ = count(state_dir, bad);
        }
        tracing::info!(applied, kept = kept.len(), bad, "events that waited were applied");
        if !kept.is_empty() {
            return;
        }
    }
}

/// Gives the file another name; false when there is none, or a hook writes it now: then the next look takes it.
fn take(path: &Path, to: &Path) -> bool {
    path.exists() && locked(path, BRIEFLY).is_ok_and(|_held| std::fs::rename(path, to).is_ok())
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

    fn turns(text: &[u8]) -> (Vec<String>, u64) {
        let (events, bad) = parse(text);
        (events.into_iter().map(|(_, event)| event.request.turn.unwrap()).collect(), bad)
    }

    #[test]
    fn c_04_half_a_line_costs_only_itself() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = file(dir.path());
        append(dir.path(), &event(0, 10)).unwrap();
        // A character that was cut in its middle, and no end of the line.
        let cut = [std::fs::read(&path).unwrap(), b"{\"request\":{\"text\":\"\xc3".to_vec()].concat();
        std::fs::write(&path, cut).unwrap();
        append(dir.path(), &event(1, 10)).unwrap();
        append(dir.path(), &event(2, 10)).unwrap();
        assert_eq!(turns(&std::fs::read(&path).unwrap()), (vec!["0".into(), "1".into(), "2".into()], 1));
    }

    #[test]
    fn c_04_what_is_put_back_stands_before_what_came_since() {
        let dir = tempfile::TempDir::new().unwrap();
        for number in [2, 3] {
            append(dir.path(), &event(number, 10)).unwrap();
        }
        let lines = [0, 1].map(|number| serde_json::to_vec(&event(number, 10)).unwrap());
        put_back(dir.path(), &[&lines[0], &lines[1]]).unwrap();
        append(dir.path(), &event(4, 10)).unwrap();
        let expected = ["0", "1", "2", "3", "4"].map(str::to_owned).to_vec();
        assert_eq!(turns(&std::fs::read(file(dir.path())).unwrap()), (expected, 0));
        assert!(!dir.path().join("hooks.dropped").exists());
    }

    #[test]
    fn c_04_a_hook_waits_for_the_lock_and_counts_what_it_cannot_keep() {
        let dir = tempfile::TempDir::new().unwrap();
        let dropped = || std::fs::read_to_string(dir.path().join("hooks.dropped")).unwrap();
        let held = locked(&file(dir.path()), PATIENCE).unwrap();
        for number in 1..=2 {
            let began = Instant::now();
            assert_eq!(append(dir.path(), &event(number, 10)).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(began.elapsed() >= PATIENCE);
            assert_eq!(dropped(), number.to_string());
        }
        drop(held);
        append(dir.path(), &event(3, 10)).unwrap();
        assert_eq!(dropped(), "2");
    }
}
