//! Where ventures are checked out on this machine: found by the remotes of the repos in the development directories.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ctxnode_model::Timestamp;
use ctxnode_model::record::Venture;
use ctxnode_model::rules::repo::{parse_remote, same_repo};

use crate::app::App;

/// How long a place that was found is believed.
const BELIEVED_MS: i64 = 60_000;
/// How long it is believed that there is none: whoever was told to clone comes back soon, and many agents that ask at
/// once should not walk the directories each.
const MISSING_MS: i64 = 500;
/// How many directories are looked at; a development directory holds tens of repos.
const MOST: usize = 2_000;

/// The checkouts that were found.
#[derive(Debug, Default)]
pub(crate) struct Checkouts(Mutex<Option<(Timestamp, Vec<Found>)>>);

#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    repos: Vec<String>,
}

/// Returns where a venture is checked out: the first of its repos, or one of its org when it lists none.
pub(crate) fn local_path(app: &App, venture: &Venture) -> Option<PathBuf> {
    place(&all(app, BELIEVED_MS), venture).or_else(|| place(&all(app, MISSING_MS), venture))
}

fn place(found: &[Found], venture: &Venture) -> Option<PathBuf> {
    let at = |wanted: &dyn Fn(&str) -> bool| {
        found.iter().find(|found| found.repos.iter().any(|repo| wanted(repo))).map(|found| found.path.clone())
    };
    if venture.repos.is_empty() {
        let org = venture.org.as_deref()?;
        let of_org = |repo: &str| repo.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(org));
        return at(&of_org);
    }
    venture.repos.iter().find_map(|listed| at(&|repo: &str| same_repo(listed, repo)))
}

fn all(app: &App, believed_ms: i64) -> Vec<Found> {
    let now = app.now();
    let mut cached = app.checkouts.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((at, found)) = cached.as_ref()
        && (0..believed_ms).contains(&now.since(*at))
    {
        return found.clone();
    }
    let mut found = Vec::new();
    for dir in &app.config.dev_dirs {
        look(dir, 2, &mut found);
    }
    *cached = Some((now, found.clone()));
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
    #[test]
    fn remotes_are_read_from_the_configuration() {
        let config = "[core]\n\turl = no\n[remote \"origin\"]\n\turl = git@github.com:Org/repo.git\n\tfetch = x\n[branch \"main\"]\n\turl=no\n";
        assert_eq!(super::remotes(config), ["org/repo"]);
    }
}
