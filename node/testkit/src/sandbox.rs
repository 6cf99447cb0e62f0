//! A home of its own for a test: directories, environment, PATH.
//!
//! Not here: the daemon's life (`daemon`), checkouts with commits (`repo`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::lan::Place;

/// Where sandboxes are made. A socket path has about 100 bytes, and the temporary directory of a macOS user alone takes
/// half of them.
const BASE: &str = "/tmp";

/// Folders of ordinary programs (git, sh), behind the sandbox's own.
const SYSTEM_PATH: [&str; 4] = ["/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin"];

/// A directory that stands in for a whole user. Removed when dropped, after a daemon that clients started in it was
/// asked to stop.
#[derive(Debug)]
pub struct Sandbox {
    root: TempDir,
    place: Option<Place>,
}

impl Sandbox {
    /// Makes an empty sandbox.
    ///
    /// # Panics
    /// When the file system refuses.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "making directories is not a default value")]
    pub fn new() -> Self {
        let root = TempDir::with_prefix_in("ctx-", BASE).expect("a temporary directory can be made");
        let sandbox = Self { root, place: None };
        for dir in [sandbox.home(), sandbox.run_dir(), sandbox.bin_dir(), sandbox.tmp_dir(), sandbox.dev_dir()] {
            fs::create_dir_all(&dir).expect("a directory in the sandbox can be made");
        }
        fs::set_permissions(sandbox.run_dir(), fs::Permissions::from_mode(0o700)).expect("own directory");
        sandbox
    }

    /// Makes an empty sandbox whose programs run at a place on a network of its own, with ctxnode's own settings for it.
    ///
    /// # Panics
    /// When the file system refuses.
    #[must_use]
    pub fn at(place: &Place) -> Self {
        let mut sandbox = Self::new();
        sandbox.place = Some(place.clone());
        sandbox
    }

    /// Returns the root: everything of the sandbox lies below it.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns `$HOME`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Returns the folder of checkouts, `~/dev`.
    #[must_use]
    pub fn dev_dir(&self) -> PathBuf {
        self.home().join("dev")
    }

    /// Returns the data directory that ctxnode uses here.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home().join(".local/share/ctxnode")
    }

    /// Returns the state directory that ctxnode uses here.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.home().join(".local/state/ctxnode")
    }

    /// Returns the socket of the daemon's API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("ctxnode.sock")
    }

    fn run_dir(&self) -> PathBuf {
        self.root().join("run")
    }

    fn tmp_dir(&self) -> PathBuf {
        self.root().join("tmp")
    }

    fn bin_dir(&self) -> PathBuf {
        self.root().join("bin")
    }

    /// Returns the whole environment of a process in the sandbox.
    ///
    /// Clients do not start a daemon here, so that no test meets one that it did not ask for; a test of just that
    /// removes `CTXNODE_NO_AUTOSTART` from its command.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let home = self.home();
        let mut variables: Vec<(&'static str, OsString)> = vec![
            ("HOME", home.clone().into()),
            ("USER", "ada".into()),
            ("LOGNAME", "ada".into()),
            ("SHELL", "/bin/sh".into()),
            ("XDG_CONFIG_HOME", home.join(".config").into()),
            ("XDG_DATA_HOME", home.join(".local/share").into()),
            ("XDG_STATE_HOME", home.join(".local/state").into()),
            ("XDG_CACHE_HOME", home.join(".cache").into()),
            ("XDG_RUNTIME_DIR", self.run_dir().into()),
            ("TMPDIR", self.tmp_dir().into()),
            ("PATH", self.path()),
            ("LANG", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("TERM", "dumb".into()),
            ("NO_COLOR", "1".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("CTXNODE_NO_AUTOSTART", "1".into()),
        ];
        if self.place.is_none() {
            // Fleets of tests stay on loopback, and many run at once.
            variables.push(("CTXNODE_SYNC_BIND", "127.0.0.1".into()));
            variables.push(("CTXNODE_SYNC_PORT", "0".into()));
            variables.push(("CTXNODE_SYNC_MDNS", "false".into()));
        }
        variables
    }

    fn path(&self) -> OsString {
        let own = [self.bin_dir(), bin("ctxnode").parent().map(Path::to_owned).unwrap_or_default()];
        let folders = own.into_iter().chain(SYSTEM_PATH.map(PathBuf::from));
        std::env::join_paths(folders).expect("no folder of the sandbox contains a colon")
    }

    /// Returns a command that runs in the sandbox: its environment and nothing of the caller's, `~` as its directory,
    /// no standard input. A name without `/` that was built in this workspace is that binary.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let fake = self.bin_dir().join(program);
        let built = bin(program);
        let program = if fake.exists() {
            fake
        } else if built.exists() {
            built
        } else {
            PathBuf::from(program)
        };
        let mut command = match &self.place {
            Some(place) => place.command(&program),
            None => Command::new(program),
        };
        command.env_clear().envs(self.environment()).current_dir(self.home()).stdin(Stdio::null());
        command
    }

    /// Writes a program that stands in for a real one: it comes first in `PATH`.
    ///
    /// # Panics
    /// When the file system refuses.
    pub fn fake_program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.bin_dir().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a fake program can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("own file");
        path
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A daemon that a client started is nobody's child any more; without this it would outlive the test.
        if UnixStream::connect(self.socket()).is_ok() {
            let _ =
                self.command("ctxnode").args(["daemon", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// Returns the path of a binary of this workspace, whether it was built or not.
///
/// Cargo tells a test about binaries of its own package only, so a test of another package looks beside itself: test
/// executables lie in `deps` below the folder of the binaries.
///
/// # Panics
/// When the test executable does not lie in a target folder.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "cargo and nextest pass the paths of binaries by environment")]
pub fn bin(name: &str) -> PathBuf {
    let told = [format!("NEXTEST_BIN_EXE_{name}"), format!("CARGO_BIN_EXE_{name}")];
    if let Some(path) = told.iter().find_map(std::env::var_os) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the test executable has a path");
    let folder = test.parent().expect("an executable lies in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps lies in a profile's folder") } else { folder };
    folder.join(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_command_sees_only_the_sandbox() {
        let sandbox = Sandbox::new();
        let output = sandbox.command("env").output().expect("env starts");
        let printed = String::from_utf8(output.stdout).expect("the sandbox's environment is text");
        let seen: BTreeSet<&str> =
            printed.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let given: BTreeSet<&str> = sandbox.environment().into_iter().map(|(name, _)| name).collect();
        assert_eq!(seen, given);
        assert!(printed.contains(&format!("HOME={}\n", sandbox.home().display())), "{printed}");
    }

    #[test]
    fn a_fake_program_comes_before_the_real_one() {
        let sandbox = Sandbox::new();
        sandbox.fake_program("git", "echo fake");
        let by_path = sandbox.command("sh").args(["-c", "git"]).output().expect("sh starts");
        assert_eq!(by_path.stdout, b"fake\n");
    }

    #[test]
    fn socket_paths_are_short_and_the_directory_goes_away() {
        let sandbox = Sandbox::new();
        let root = sandbox.root().to_owned();
        assert!(sandbox.socket().as_os_str().len() < 60);
        assert!(root.exists());
        drop(sandbox);
        assert!(!root.exists());
    }
}
