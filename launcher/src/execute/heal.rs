//! Self-heal: `ctxnode` on the PATH, the daemon of the installed build, the launcher of the installed build.
//!
//! Nothing here stops a launch, except that a replaced launcher runs the new one in its place, once.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ctxnode_api::version;

use crate::program::{Program, find};
use crate::refusal::{Refusal, Step};
use crate::world::World;

/// How long a hand-over may take: the old daemon finishes its calls first.
const HAND_OVER: Duration = Duration::from_secs(30);
/// How long a program may take to say its version.
const VERSION: Duration = Duration::from_secs(5);

/// Links `ctxnode` into `~/.local/bin` when the PATH has none: the agent's hooks call it by name.
pub(super) fn link(world: &World) {
    let env = &world.around.env;
    if find("ctxnode", env).is_some() {
        return;
    }
    let Ok(program) = world.ctxnode() else { return };
    let folder = world.config.paths.home.join(".local/bin");
    let link = folder.join("ctxnode");
    let made = std::fs::create_dir_all(&folder).and_then(|()| {
        // A link that leads nowhere is in the way; a file is somebody's.
        if link.is_symlink() && !link.exists() {
            std::fs::remove_file(&link)?;
        }
        if link.exists() { Ok(()) } else { std::os::unix::fs::symlink(&program, &link) }
    });
    let on_path = env.get("PATH").is_some_and(|path| std::env::split_paths(path).any(|part| part == folder));
    match made {
        Ok(()) if on_path => world.screen.say(&format!("note: ctxnode was linked to {}", link.display())),
        Ok(()) => world.screen.say(&format!(
            "note: ctxnode is at {} and not on your PATH; type: export PATH=\"{}:$PATH\"",
            link.display(),
            folder.display()
        )),
        Err(error) => world.screen.say(&format!(
            "note: ctxnode is not on your PATH and could not be linked ({error}); type: ln -s {} {}",
            program.display(),
            link.display()
        )),
    }
}

/// Has an older daemon hand over to the installed build.
pub(super) async fn hand_over(world: &World, running: Option<&str>) {
    let Some(running) = running.filter(|running| *running != version::BUILD) else { return };
    let Ok(program) = world.ctxnode() else { return };
    let installed = match Program::new(&program, ["--version"]).run(VERSION).await {
        Ok(done) => String::from_utf8_lossy(&done.output).trim().trim_start_matches("ctxnode ").to_owned(),
        Err(_) => return,
    };
    if !should_hand_over(running, &installed) {
        return;
    }
    let done = Program::new(&program, ["daemon", "handover"]).run(HAND_OVER).await;
    match done {
        Ok(done) if done.status.success() => world.screen.say(&format!("daemon: {running} handed over to {installed}")),
        _ => world.screen.say(&format!(
            "note: the daemon still runs {running}, installed is {installed}; type: ctxnode daemon handover"
        )),
    }
}

/// A daemon that is newer than what is installed here was started by somebody who knows why.
fn should_hand_over(running: &str, installed: &str) -> bool {
    installed != running && !version::compare(installed, running).is_lt()
}

/// The file of a running program, as it was at the start.
#[derive(Debug)]
pub(super) struct Image {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Image {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    /// Whether another file lies there now.
    pub(super) fn was_replaced(&self) -> bool {
        let now = identity(&self.path);
        self.identity.is_some() && now.is_some() && now != self.identity
    }

    /// Runs the new file in place of this process; returns only when that fails.
    pub(super) fn run_again(&self) -> Refusal {
        let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
        let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
        words.insert(at, "--replaced".into());
        let source = std::process::Command::new(&self.path).args(words).exec();
        Refusal::Run { step: Step::Spawn, program: self.path.clone(), source }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l_07_only_an_older_or_equal_version_of_another_build_hands_over() {
        assert!(should_hand_over("0.1.0+a", "0.2.0+b"));
        assert!(should_hand_over("0.1.0+a", "0.1.0+b"));
        assert!(!should_hand_over("0.1.0+a", "0.1.0+a"));
        assert!(!should_hand_over("0.2.0+b", "0.1.0+a"));
    }

    #[test]
    fn a_file_that_was_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("launcher");
        std::fs::write(&path, "old").unwrap();
        let image = Image::of(&path);
        assert!(!image.was_replaced());
        std::fs::write(dir.path().join("new"), "new").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(image.was_replaced());
    }
}
