//! Where ventures are checked out on this machine: found by the remotes of the repos in the development directories.
//!
//! The directories are walked on a thread of their own, which a dead mount below them holds for ever. Nobody waits long for a
//! walk, none is begun while another goes on, and what was found last is the answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ctxnode_model::Timestamp;
use ctxnode_model::record::Venture;
use ctxnode_model::rules::repo::{parse_remote, same_repo};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::app::App;

/// How long a place that was found is believed.
const BELIEVED_MS: i64 = 60_000;
/// How long it is believed that there is none: whoever was told to clone comes back soon, and many agents that ask at
/// once should not walk the directories each.
const MISSING_MS: i64 = 500;
/// How many directories are looked at; a development directory holds tens of repos.
const MOST: usize = 2_000;
/// How long a walk is waited for, by all who want its result together. A cold disk needs less; a start or a list waits for it.
const WALK_LIMIT: Duration = Duration::from_secs(2);

/// The checkouts that were found, and the walk that goes on.
#[derive(Debug, Default)]
pub(crate) struct Checkouts(watch::Sender<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the walk began whose result this is.
    at: Option<Timestamp>,
    places: Places,
    /// Until when the walk that goes on is waited for.
    walk: Option<Instant>,
}

/// Where checkouts are, as far as the last walk says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Vec<Found>>);

#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    repos: Vec<String>,
}

impl Places {
    /// Returns where a venture is checked out: the first of its repos, or one of its org when it lists none.
    pub(crate) fn of(&self, venture: &Venture) -> Option<PathBuf> {
        let at = |wanted: &dyn Fn(&str) -> bool| {
            self.0.iter().find(|found| found.repos.iter().any(|repo| wanted(repo))).map(|found| found.path.clone())
        };
        if venture.repos.is_empty() {
            let org = venture.org.as_deref()?;
            let of_org = |repo: &str| repo.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(org));
            return at(&of_org);
        }
        venture.repos.iter().find_map(|listed| at(&|repo: &str| same_repo(listed, repo)))
    }
}

/// Returns where a venture is checked out.
pub(crate) async fn local_path(app: &App, venture: &Venture) -> Option<PathBuf> {
    places(app, &[venture]).await.of(venture)
}

/// Returns where checkouts are; it is looked again for ventures that have none.
pub(crate) async fn places(app: &App, wanted: &[&Venture]) -> Places {
    // One time for both, so that a walk that was just waited for is not done again.
    let now = app.now();
    let places = known(app, now, BELIEVED_MS).await;
    if wanted.iter().all(|venture| places.of(venture).is_some()) {
        return places;
    }
    known(app, now, MISSING_MS).await
}

/// Returns where checkouts are now, for ventures that nobody knows yet.
pub(crate) async fn places_now(app: &App) -> Places {
    known(app, app.now(), MISSING_MS).await
}

async fn known(app: &App, now: Timestamp, believed_ms: i64) -> Places {
    let dirs = app.config.dev_dirs.clone();
    app.checkouts.known(now, believed_ms, WALK_LIMIT, move || walk(&dirs)).await
}

impl Checkouts {
    /// Returns what is known, after another walk when that is older than is believed. A walk that takes longer than `limit` is
    /// not waited for; it goes on, and its result counts whenever it comes.
    async fn known(
        &self,
        now: Timestamp,
        believed_ms: i64,
        limit: Duration,
        walk: impl FnOnce() -> Vec<Found> + Send + 'static,
    ) -> Places {
        let (mut begins, mut until) = (false, None);
        self.0.send_if_modified(|known| {
            let is_believed = known.at.is_some_and(|at| (0..believed_ms).contains(&now.since(at)));
            if !is_believed {
                begins = known.walk.is_none();
                until = Some(*known.walk.get_or_insert_with(|| Instant::now() + limit));
            }
            // Nothing that anybody waits for.
            false
        });
        if begins {
            let walking = Walking(self.0.clone());
            // Its end is told by what it holds, whatever the end is.
            drop(tokio::task::spawn_blocking(move || walking.found(now, walk())));
        }
        if let Some(until) = until {
            let mut known = self.0.subscribe();
            // Too late or not: what is known by then is the answer.
            let _ = timeout_at(until, known.wait_for(|known| known.walk.is_none())).await;
        }
        self.0.borrow().places.clone()
    }
}

/// A walk that goes on. However it ends, there may be another one then.
struct Walking(watch::Sender<Known>);

impl Walking {
    fn found(&self, at: Timestamp, found: Vec<Found>) {
        self.0.send_modify(|known| {
            known.at = Some(at);
            known.places = Places(Arc::new(found));
        });
    }
}

impl Drop for Walking {
    fn drop(&mut self) {
        self.0.send_modify(|known| known.walk = None);
    }
}

fn walk(dirs: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for dir in dirs {
        look(dir, 2, &mut found);
    }
    found
}

fn look(dir: &Path, depth: u8, found: &mut Vec<Found>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    for path in paths {
        if found.len() >= MOST {
            return;
        }
        match std::fs::read_to_string(path.join(".git/config")) {
            Ok(config) => found.push(Found { repos: remotes(&config), path }),
            Err(_) if depth > 1 => look(&path, depth - 1, found),
            Err(_) => {}
        }
    }
}

/// Reads the remotes of a git configuration without running git: this looks at every repo of a machine.
fn remotes(config: &str) -> Vec<String> {
    let mut in_remote = false;
    let mut out = Vec::new();
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            in_remote = line.starts_with("[remote ");
        } else if in_remote
            && let Some(url) = line.strip_prefix("url").map(str::trim_start).and_then(|rest| rest.strip_prefix('='))
        {
            out.extend(parse_remote(url.trim()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    fn checkout(path: &str) -> Vec<Found> {
        vec![Found { path: path.into(), repos: vec!["org/repo".to_owned()] }]
    }

    /// Asks as somebody who believes nothing older than a minute; returns where the venture is.
    async fn ask(
        checkouts: &Checkouts,
        seconds: i64,
        limit: Duration,
        walk: impl FnOnce() -> Vec<Found> + Send + 'static,
    ) -> Option<PathBuf> {
        let venture = Venture { repos: ["org/repo".to_owned()].into(), ..Venture::default() };
        checkouts.known(Timestamp(seconds * 1_000), BELIEVED_MS, limit, walk).await.of(&venture)
    }

    /// As of a dead mount: what was known is the answer, nobody walks there again, and nobody waits a second time.
    #[tokio::test]
    async fn a_walk_that_hangs_holds_up_nobody_and_is_the_only_one() {
        let checkouts = Checkouts::default();
        let (soon, never) = (Duration::from_millis(20), Duration::from_secs(3_600));
        assert_eq!(ask(&checkouts, 1, never, || checkout("/dev/one")).await, Some("/dev/one".into()));
        assert_eq!(ask(&checkouts, 60, never, || checkout("/dev/x")).await, Some("/dev/one".into()), "it is believed");
        let (release, held) = sync_channel::<()>(1);
        let hanging = move || {
            // Ends with the test, however that ends.
            let _ = held.recv();
            checkout("/dev/two")
        };
        assert_eq!(ask(&checkouts, 100, soon, hanging).await, Some("/dev/one".into()));
        assert_eq!(ask(&checkouts, 200, never, || checkout("/dev/x")).await, Some("/dev/one".into()));
        drop(release);
        let mut known = checkouts.0.subscribe();
        drop(known.wait_for(|known| known.walk.is_none()).await.unwrap());
        assert_eq!(ask(&checkouts, 101, never, || checkout("/dev/x")).await, Some("/dev/two".into()));
        assert_eq!(ask(&checkouts, 200, never, || checkout("/dev/three")).await, Some("/dev/three".into()));
    }

    #[tokio::test]
    async fn a_walk_that_fails_is_followed_by_another() {
        let checkouts = Checkouts::default();
        let limit = Duration::from_secs(60);
        assert_eq!(ask(&checkouts, 1, limit, || panic!("in a test")).await, None);
        assert_eq!(ask(&checkouts, 1, limit, || checkout("/dev/one")).await, Some("/dev/one".into()));
    }

    #[test]
    fn remotes_are_read_from_the_configuration() {
        let config = "[core]\n\turl = no\n[remote \"origin\"]\n\turl = git@github.com:Org/repo.git\n\tfetch = x\n[branch \"main\"]\n\turl=no\n";
        assert_eq!(super::remotes(config), ["org/repo"]);
    }
}
