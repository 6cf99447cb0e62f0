//! `--purge`: deletes the replica and what lies around it, file by file, by the names that ctxnode gives. A directory goes
//! when it is empty then, and never before: somebody may have put a replica among files of their own.

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::Work;

/// How many names of others are said.
const SAID: usize = 3;

/// A directory with files of ours.
struct Folder {
    path: PathBuf,
    what: &'static str,
    /// Whether a file of this name is one that ctxnode writes.
    ours: fn(&str) -> bool,
    inner: Vec<Folder>,
}

impl Folder {
    fn new(path: PathBuf, what: &'static str, ours: fn(&str) -> bool) -> Self {
        Self { path, what, ours, inner: Vec::new() }
    }
}

/// Deletes the data. With `keep`, what set-up remembers stays.
pub(super) fn delete_data(work: &mut Work<'_>, keep: Option<&Path>) {
    let paths = &work.world.config.paths;
    let config = paths.config_file.parent().unwrap_or(Path::new("/")).to_owned();
    for socket in [paths.socket.clone(), paths.mcp_socket()] {
        if std::fs::symlink_metadata(&socket).is_ok_and(|found| found.file_type().is_socket()) {
            work.delete(&socket);
        }
    }
    let backups = Folder::new(work.world.config.backup.dir.clone(), "backups", is_backup);
    let mut data = Folder::new(paths.data_dir.clone(), "the replica", is_of_the_replica);
    data.inner.push(Folder::new(work.world.files().index, "the search index", is_of_the_index));
    let mut state = Folder::new(paths.state_dir.clone(), "what it kept besides", is_state);
    state.inner.push(Folder::new(paths.log_dir(), "logs", is_log));
    if keep.is_none() {
        let folder = paths.state_dir.join("setup-backups");
        state.inner.push(Folder::new(folder, "backups of configuration", is_configuration));
    }
    let keep: BTreeSet<PathBuf> =
        keep.into_iter().flat_map(|ledger| [ledger.to_owned(), ledger.with_file_name("setup-backups")]).collect();
    // Backups may lie anywhere, also in the directory of the replica, which must be empty to go.
    let mut gone = BTreeSet::new();
    for folder in [backups, data, state, Folder::new(config, "settings", is_setting)] {
        sweep(work, &folder, &keep, &mut gone);
    }
}

/// Deletes what is ours in a directory, and the directory when nothing else is in it.
fn sweep(work: &mut Work<'_>, folder: &Folder, keep: &BTreeSet<PathBuf>, gone: &mut BTreeSet<PathBuf>) {
    for inner in &folder.inner {
        sweep(work, inner, keep, gone);
    }
    let Ok(entries) = std::fs::read_dir(&folder.path) else { return };
    let (mut deleted, mut stays, mut others) = (0, false, Vec::new());
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let inner = folder.inner.iter().any(|inner| inner.path == path);
        if gone.contains(&path) {
            continue;
        }
        if inner || keep.contains(&path) {
            // It was looked at, and what stays in it was said.
            stays = true;
        } else if entry.file_type().is_ok_and(|kind| kind.is_file()) && (folder.ours)(&name) {
            match if work.dry { Ok(()) } else { std::fs::remove_file(&path) } {
                Ok(()) => deleted += 1,
                Err(error) => {
                    stays = true;
                    work.left.push(format!("{}: {error}", path.display()));
                }
            }
        } else {
            others.push(name);
        }
    }
    if deleted > 0 {
        work.did(format!("delete {}, {deleted} files in {}", folder.what, folder.path.display()));
    }
    if !others.is_empty() {
        others.sort_unstable();
        let more = if others.len() > SAID { ", ..." } else { "" };
        let (all, some) = (others.len(), others[..others.len().min(SAID)].join(", "));
        work.left.push(format!("{}: {all} that ctxnode did not write: {some}{more}", folder.path.display()));
    } else if !stays {
        match if work.dry { Ok(()) } else { std::fs::remove_dir(&folder.path) } {
            Ok(()) => drop(gone.insert(folder.path.clone())),
            Err(error) => work.left.push(format!("{}: {error}", folder.path.display())),
        }
    }
}

fn is_of_the_replica(name: &str) -> bool {
    let exact = ["store.redb", "store.new", "store.restoring", "store.mark", "node.key", "daemon.lock"];
    let replaced = name.strip_prefix("store.redb.replaced-").is_some_and(is_number);
    let of_a_format = name.strip_prefix("store.redb.format-").map(|rest| rest.strip_suffix(".partial").unwrap_or(rest));
    exact.contains(&name) || replaced || of_a_format.is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The files of the search library: segments by their number, its lists and locks.
fn is_of_the_index(name: &str) -> bool {
    let exact = ["meta.json", ".managed.json", ".tantivy-writer.lock", ".tantivy-meta.lock"];
    let segment = name.split('.').next().is_some_and(|number| is_hex(number, 32));
    exact.contains(&name) || name.starts_with("ctxnode-search-") || segment
}

/// A backup's name is its time: `2026-01-02T03-04-05Z.redb`, with its manifest beside it.
fn is_backup(name: &str) -> bool {
    let Some((time, ending)) = name.rsplit_once('.') else { return false };
    let letters = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'T' | b'Z');
    ["redb", "json", "partial"].contains(&ending)
        && time.len() >= 20
        && time.ends_with('Z')
        && time.bytes().all(letters)
}

fn is_log(name: &str) -> bool {
    let daily = name.starts_with("daemon.") && name.ends_with(".log");
    daily || ["start.log", "daemon.out", "daemon.err"].contains(&name)
}

fn is_state(name: &str) -> bool {
    let spool = ["hooks.spool", "hooks.spool.replay", "hooks.spool.new", "hooks.dropped"];
    spool.contains(&name) || [super::RECORD, super::LEDGER].contains(&name) || ctxnode_launcher::known::is_ours(name)
}

fn is_configuration(name: &str) -> bool {
    name.strip_suffix(".bak").is_some_and(|hash| is_hex(hash, 64))
}

fn is_setting(name: &str) -> bool {
    ["config.toml", "secrets.toml"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_06_only_names_that_ctxnode_gives_are_its_own() {
        for name in ["store.redb", "store.redb.replaced-12", "node.key"] {
            assert!(is_of_the_replica(name), "{name}");
        }
        for name in ["store.redb.replaced-", "store.redb.replaced-mine", "main.rs", "store.sql"] {
            assert!(!is_of_the_replica(name), "{name}");
        }
        assert!(is_backup("2026-01-02T03-04-05Z.redb") && is_backup("2026-01-02T03-04-05-678Z.json"));
        assert!(!is_backup("2026-01-02.json") && !is_backup("photos.redb") && !is_backup("-------------------Z.zip"));
        assert!(is_of_the_index("0123456789abcdef0123456789abcdef.fieldnorm") && !is_of_the_index("index.html"));
        assert!(is_state("ventures.json") && is_state(".ventures.aB3dE6"), "a launcher may be killed while it writes");
        assert!(!is_state(".ventures.mine.json") && !is_state(".ventures."));
        assert!(is_log("daemon.2026-01-02.log") && !is_log("build.log"));
    }
}
