//! What a handoff would commit and push: looked at before anything is staged, because what was pushed cannot be taken back.
//!
//! Not here: the steps of a handoff, which the parent has.

use std::path::{Path, PathBuf};

use ctxnode_launcher::program::{Done, Program};
use ctxnode_model::rules::secrets::scan;
use zeroize::Zeroizing;

use super::LIMIT;

/// The most bytes of one new file that are scanned; no file that people write is larger.
const MOST: u64 = 8 << 20;
/// The most files that a refusal names.
const NAMED: usize = 10;
/// What git keeps in its own folder while something is begun there, and what that is.
const BEGUN: [(&str, &str); 5] = [
    ("MERGE_HEAD", "a merge"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
];

/// The question for the lines that changed since the last commit.
const DIFF: [&str; 6] = ["diff", "--no-color", "--no-ext-diff", "--no-textconv", "--unified=0", "HEAD"];

/// What may be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// Whether there is anything.
    pub(super) changes: bool,
    /// Untracked files that are ours alone, below the root: they stay where they are.
    pub(super) left_out: Vec<String>,
}

impl Outgoing {
    /// Returns the words by which git stages it.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = ["add", "--all", "--", ":/"].map(str::to_owned).into();
        words.extend(self.left_out.iter().map(|path| format!(":(top,exclude,literal){path}")));
        words
    }
}

/// Looks at a checkout; the failure says what stands in the way, and that nothing was done.
pub(super) async fn look(root: &Path) -> Result<Outgoing, String> {
    if let Some(what) = begun(root).await? {
        return Err(format!("{what} is in progress; end it first (git status shows how); nothing was staged"));
    }
    let status = git(root, &["status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"]).await?;
    let rows = rows(&String::from_utf8_lossy(&status));
    let unmerged: Vec<String> = rows.iter().filter(|row| row.is_unmerged()).map(|row| row.path.clone()).collect();
    if !unmerged.is_empty() {
        return Err(format!("unmerged: {}; resolve them first; nothing was staged", listed(&unmerged)));
    }
    let (own, rest): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.is_new() && is_ours(&row.path));
    let clean = is_clean(root).await;
    let mut bad = Vec::new();
    for row in &rest {
        if row.is_added() && is_secret_name(&row.path) {
            bad.push(format!("{} (by its name)", row.path));
        } else if (row.is_added() || !clean)
            && let Some(kind) = suspicion(root, row).await?
        {
            bad.push(format!("{} ({kind})", row.path));
        }
    }
    if !bad.is_empty() {
        return Err(format!(
            "this looks like secrets: {}; take it out, let git ignore it, or commit it yourself; nothing was staged",
            listed(&bad)
        ));
    }
    Ok(Outgoing { changes: !rest.is_empty(), left_out: own.into_iter().map(|row| row.path).collect() })
}

fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// A line of git's status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    state: [char; 2],
    path: String,
}

impl Row {
    fn is_unmerged(&self) -> bool {
        self.state.contains(&'U') || matches!(self.state, ['A', 'A'] | ['D', 'D'])
    }

    fn is_new(&self) -> bool {
        self.state == ['?', '?']
    }

    /// Whether the last commit lacks it.
    fn is_added(&self) -> bool {
        self.is_new() || self.state[0] == 'A' || self.state[1] == 'A'
    }
}

/// Reads git's status, whose rows end with a zero byte.
fn rows(status: &str) -> Vec<Row> {
    let row = |text: &str| {
        let mut letters = text.chars();
        let state = [letters.next()?, letters.next()?];
        Some(Row { state, path: text.get(3..)?.to_owned() })
    };
    status.split('\0').filter_map(row).collect()
}

/// Whether a file is one that ctxnode or its launcher left beside others.
fn is_ours(path: &str) -> bool {
    path.ends_with(".ctxnode.bak") || name_of(path) == ".infisical.json"
}

/// Whether a file holds secrets by its name: variables, private keys.
fn is_secret_name(path: &str) -> bool {
    let name = name_of(path).to_lowercase();
    let template = [".example", ".sample", ".template", ".dist"].iter().any(|end| name.ends_with(end));
    let variables = (name == ".env" || name.starts_with(".env.")) && !template;
    let keys = [".pem", ".p12", ".pfx"].iter().any(|end| name.ends_with(end));
    // `id_ed25519`, and not `id_map.rs` or `id_ed25519.pub`.
    variables || keys || (name.starts_with("id_") && !name.contains('.'))
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns what the text that a row adds looks like. Of a file that git knows only added lines count: what stood there before
/// is somebody's decision.
async fn suspicion(root: &Path, row: &Row) -> Result<Option<&'static str>, String> {
    let text = if row.is_added() {
        let path = root.join(&row.path);
        tokio::task::spawn_blocking(move || read(&path)).await.unwrap_or_default()
    } else {
        let pathspec = format!(":(top,literal){}", row.path);
        // Of a diff that is too long to be read, what came is scanned.
        added(&run(root, &[&DIFF[..], &["--", &pathspec]].concat()).await?.output)
    };
    Ok(scan(&String::from_utf8_lossy(&text)).map(|found| found.kind.name()))
}

/// Whether nothing in the changes of files that git knows looks like a secret, as far as one question can tell.
async fn is_clean(root: &Path) -> bool {
    git(root, &DIFF).await.is_ok_and(|diff| scan(&String::from_utf8_lossy(&added(&diff))).is_none())
}

/// Reads a new file; what is no ordinary one has no text.
fn read(path: &Path) -> Zeroizing<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(Vec::new());
    if path.symlink_metadata().is_ok_and(|found| found.is_file())
        && let Ok(file) = std::fs::File::open(path)
    {
        // What came before a fault is scanned.
        let _ = file.take(MOST).read_to_end(&mut text);
    }
    text
}

/// The lines that a diff adds.
fn added(diff: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(diff.len()));
    let mut inside = false;
    for line in diff.split_inclusive(|byte| *byte == b'\n') {
        // Before the first hunk `+++` names the file.
        inside = inside || line.starts_with(b"@@");
        if let Some(line) = line.strip_prefix(b"+").filter(|_| inside) {
            text.extend_from_slice(line);
        }
    }
    text
}

/// What git has begun and not ended.
async fn begun(root: &Path) -> Result<Option<&'static str>, String> {
    let mut words = vec!["rev-parse"];
    words.extend(BEGUN.iter().flat_map(|(name, _)| ["--git-path", *name]));
    let printed = git(root, &words).await?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let paths = printed.lines().map(PathBuf::from).zip(BEGUN);
    let mut found = paths.filter(|(path, _)| root.join(path).exists());
    Ok(found.next().map(|(_, (_, what))| what))
}

async fn git(root: &Path, words: &[&str]) -> Result<Zeroizing<Vec<u8>>, String> {
    let done = run(root, words).await?;
    if done.status.success() {
        return Ok(done.output);
    }
    let errors = String::from_utf8_lossy(&done.errors).into_owned();
    Err(format!("git {}: {}", words[0], errors.trim().lines().last().unwrap_or("it failed without a word")))
}

async fn run(root: &Path, words: &[&str]) -> Result<Done, String> {
    let program = Program::new("git", words.iter().copied()).within(root).with("GIT_OPTIONAL_LOCKS", "0");
    program.run(LIMIT).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_08_names_of_secrets_are_known_and_templates_are_not() {
        for name in [".env", "a/.env.local", "key.PEM", "deploy/id_ed25519", "x.p12"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [".env.example", ".envrc.rs", "id_map.rs", "id_rsa.pub", "pem", "a.env.rs"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn c_08_git_status_is_read_with_every_name() {
        let found = rows(" M a b\0?? é\n.txt\0UU c\0AA d\0");
        assert_eq!(found[0], Row { state: [' ', 'M'], path: "a b".into() });
        assert_eq!(found[1], Row { state: ['?', '?'], path: "é\n.txt".into() });
        assert!(!found[0].is_unmerged() && found[2].is_unmerged() && found[3].is_unmerged());
    }

    #[test]
    fn c_08_only_added_lines_of_a_diff_count() {
        let diff = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n@@ -9,0 +10 @@\n+++ more\n";
        assert_eq!(added(diff).as_slice(), b"new\n++ more\n");
    }
}
