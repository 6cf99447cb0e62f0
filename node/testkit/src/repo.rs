//! Checkouts for tests: real git repositories with fixed authors and dates, so that hashes are equal in each run.
//!
//! Not here: a network. A remote is a name in the configuration, or another directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

/// When every commit was made: the first second of 2026.
const DATE: &str = "2026-01-01T00:00:00Z";

/// A git repository in the sandbox's folder of checkouts.
#[derive(Debug)]
pub struct Repo<'a> {
    sandbox: &'a Sandbox,
    path: PathBuf,
}

impl<'a> Repo<'a> {
    /// Makes `~/dev/<name>` with one commit on `main`.
    ///
    /// # Panics
    /// When git is missing or refuses.
    #[must_use]
    pub fn create(sandbox: &'a Sandbox, name: &str) -> Self {
        let path = sandbox.dev_dir().join(name);
        fs::create_dir_all(&path).expect("a directory in the sandbox can be made");
        let repo = Self { sandbox, path };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo.commit("README.md", "first\n");
        repo
    }

    /// Makes `~/dev/<name>` whose `origin` is `url`.
    ///
    /// # Panics
    /// As [`Repo::create`].
    #[must_use]
    pub fn with_origin(sandbox: &'a Sandbox, name: &str, url: &str) -> Self {
        let repo = Self::create(sandbox, name);
        repo.git(&["remote", "add", "origin", url]);
        repo
    }

    /// Returns the path of the checkout.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file and commits it; returns the hash of the commit.
    ///
    /// # Panics
    /// When git or the file system refuses.
    pub fn commit(&self, file: &str, text: &str) -> String {
        let path = self.path.join(file);
        let folder = path.parent().expect("a file in a checkout has a folder");
        fs::create_dir_all(folder).expect("a directory in the sandbox can be made");
        fs::write(&path, text).expect("a file in the sandbox can be written");
        self.git(&["add", "--", file]);
        self.git(&["commit", "--quiet", "--message", &format!("change {file}")]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the checkout and returns what it printed, trimmed.
    ///
    /// # Panics
    /// When git is missing or fails; the message carries its errors.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self
            .sandbox
            .command("git")
            .args(["-c", "commit.gpgsign=false", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .env("GIT_AUTHOR_DATE", DATE)
            .env("GIT_COMMITTER_DATE", DATE)
            .current_dir(&self.path)
            .output()
            .expect("git is on the PATH");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_repos_made_alike_have_equal_hashes() {
        let head = || {
            let sandbox = Sandbox::new();
            let repo = Repo::with_origin(&sandbox, "console", "git@example.com:alpha-org/console.git");
            assert_eq!(repo.git(&["remote", "get-url", "origin"]), "git@example.com:alpha-org/console.git");
            (repo.git(&["rev-parse", "HEAD"]), repo.commit("src/a.txt", "second\n"))
        };
        assert_eq!(head(), head());
    }
}
