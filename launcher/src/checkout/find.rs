//! Looking for checkouts without running git: this reads one small file of every repo of a machine.

use std::path::{Path, PathBuf};

use super::Checkout;

/// How many checkouts are looked at; a development folder holds tens.
const MOST: usize = 2_000;
/// How deep they lie: `~/dev/repo` or `~/dev/org/repo`.
const DEPTH: u8 = 2;

/// Finds the checkouts in some folders, and the one that holds `directory`, wherever that is.
#[must_use]
pub fn find(folders: &[PathBuf], directory: &Path) -> Vec<Checkout> {
    let mut found = Vec::new();
    for folder in folders {
        look(folder, DEPTH, &mut found);
    }
    let above = directory.ancestors().find(|path| path.join(".git").is_dir());
    if let Some(path) = above
        && !found.iter().any(|checkout: &Checkout| checkout.path == path)
    {
        found.extend(read(path));
    }
    found
}

fn look(folder: &Path, depth: u8, found: &mut Vec<Checkout>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    for path in paths {
        if found.len() >= MOST {
            return;
        }
        match read(&path) {
            Some(checkout) => found.push(checkout),
            // Worktrees of sessions belong to their checkout.
            None if path.extension().is_some_and(|end| end == "worktrees") => {}
            None if depth > 1 => look(&path, depth - 1, found),
            None => {}
        }
    }
}

fn read(path: &Path) -> Option<Checkout> {
    let config = std::fs::read_to_string(path.join(".git/config")).ok()?;
    Some(Checkout { path: path.to_owned(), remotes: remotes(&config) })
}

/// Reads the URLs of the remotes in a git configuration, origin first.
#[must_use]
pub fn remotes(config: &str) -> Vec<String> {
    let mut remote: Option<String> = None;
    let mut found: Vec<(bool, String)> = Vec::new();
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            remote = line.strip_prefix("[remote ").map(|name| name.trim_end_matches(']').trim_matches('"').to_owned());
        } else if let Some(name) = &remote
            && let Some((key, url)) = line.split_once('=')
            && key.trim() == "url"
        {
            found.push((name != "origin", url.trim().trim_matches('"').to_owned()));
        }
    }
    found.sort_by_key(|(other, _)| *other);
    found.into_iter().map(|(_, url)| url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_read_origin_first() {
        let config = "[core]\n\turl = no\n[remote \"fork\"]\n\turl = git@h:me/r.git\n[remote \"origin\"]\n\tfetch = x\n\turl=https://h/o/r\n[branch \"main\"]\n\turl = no\n";
        assert_eq!(remotes(config), ["https://h/o/r", "git@h:me/r.git"]);
    }

    #[test]
    fn checkouts_lie_one_or_two_folders_deep_or_around_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            std::fs::create_dir_all(dir.path().join(path).join(".git")).unwrap();
            std::fs::write(dir.path().join(path).join(".git/config"), "").unwrap();
        };
        ["dev/a", "dev/org/b", "dev/x/y/too-deep", "else/c", "dev/a.worktrees/w"].iter().for_each(|path| make(path));
        let found = find(&[dir.path().join("dev"), dir.path().join("none")], &dir.path().join("else/c/src"));
        let names: Vec<_> = found.iter().map(|found| found.path.strip_prefix(dir.path()).unwrap().to_owned()).collect();
        assert_eq!(names, ["dev/a", "dev/org/b", "else/c"].map(PathBuf::from));
    }
}
