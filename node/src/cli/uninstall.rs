//! `ctxnode uninstall`: takes everything off this machine that bootstrap and setup put there. The replica stays, unless
//! `--purge` says otherwise.
//!
//! What belongs to somebody else is never deleted: configuration files get their bytes back, and a directory goes only
//! when it is ours by its name and by what lies in it.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::Call;
use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::setup::{Action, Known, Mode, known, run as carry_out};
use serde_json::json;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use super::{daemon, links, setup};

/// What bootstrap writes behind its line in a shell's file.
const MARKER: &str = "# added by ctxnode bootstrap";
/// What bootstrap noted of its doings, below the state directory: one a line, a word and a path.
const RECORD: &str = "bootstrap.record";
/// The files in which shells keep their PATH.
const SHELL_FILES: [&str; 5] = [".zshrc", ".bashrc", ".bash_profile", ".profile", ".zprofile"];

pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name.replace('_', "-")).action(ArgAction::SetTrue).help(help)
    };
    Command::new("uninstall")
        .about(
            "Takes ctxnode off this machine: service, daemon, what setup wrote, programs, PATH line; the replica stays",
        )
        .arg(flag("purge", "Deletes the replica, its key, its backups, logs and settings too"))
        .arg(flag("dry_run", "Says what would be done and changes nothing"))
}

/// What is done, or would be.
struct Work<'a> {
    world: &'a World,
    dry: bool,
    /// What was done, for the answer.
    done: Vec<String>,
    /// What could not be done, and what is left for that.
    left: Vec<String>,
}

impl Work<'_> {
    fn did(&mut self, what: String) {
        self.done.push(what);
    }

    /// Deletes a file or a link; absent is as good.
    fn delete(&mut self, path: &Path) {
        if !path.is_symlink() && !path.exists() {
            return;
        }
        match if self.dry { Ok(()) } else { std::fs::remove_file(path) } {
            Ok(()) => self.did(format!("delete {}", path.display())),
            Err(error) => self.left.push(format!("{}: {error}", path.display())),
        }
    }
}

pub(super) async fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let (purge, dry) = (matches.get_flag("purge"), matches.get_flag("dry_run"));
    if purge && !dry {
        let data = world.config.paths.data_dir.display();
        world.confirm(&format!("Delete the replica in {data}, its key and its backups for good?"))?;
    }
    let mut work = Work { world, dry, done: Vec::new(), left: Vec::new() };
    stop(&mut work).await?;
    remove_setup(&mut work)?;
    remove_path_lines(&mut work);
    remove_programs(&mut work);
    let state = &world.config.paths.state_dir;
    work.delete(&state.join(RECORD));
    work.delete(&state.join("setup.json"));
    if purge && !dry {
        match ctxnode_launcher::secrets::keychain::purge(&world.env).await {
            Ok(true) => work.did("take what ctxnode kept out of the keychain".to_owned()),
            Ok(false) => {}
            Err(error) => work.left.push(format!("items of the service ctxnode in the keychain: {error}")),
        }
    }
    if purge {
        delete_data(&mut work);
    }
    let Work { done, left, .. } = work;
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "dry_run": dry, "done": done, "left": left }))?,
        Form::People => {
            let lead = if dry { "would " } else { "" };
            let mut lines: Vec<String> = done.iter().map(|line| format!("{lead}{line}")).collect();
            lines.extend(left.iter().map(|line| format!("left: {line}")));
            if !purge && world.files().store.exists() {
                lines.push(format!("the replica stays in {}", world.config.paths.data_dir.display()));
            }
            world.screen.print(&lines.join("\n"))?;
        }
    }
    Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Ends what runs: the process that keeps the machine awake, the service, the daemon.
async fn stop(work: &mut Work<'_>) -> Result<(), Failure> {
    let world = work.world;
    if work.dry {
        work.did("stop the daemon and its service".to_owned());
        return Ok(());
    }
    if let Ok(mut client) = world.client_of_running() {
        // Without a daemon there is no such process; the daemon alone knows which one it is.
        let _ = client.call(&Call::new("field.off", json!({}))).await;
    }
    if daemon::remove_service(world)? {
        work.did("remove the service of the daemon".to_owned());
    }
    if let Some(pid) = daemon::halt(world).await? {
        work.did(format!("stop the daemon, pid {pid}"));
    }
    Ok(())
}

/// Takes out of every configuration file what setup put there, in every checkout that it was run in.
fn remove_setup(work: &mut Work<'_>) -> Result<(), Failure> {
    let world = work.world;
    let state = &world.config.paths.state_dir;
    let mut all = known(state);
    // Entries of ours are known by what they are, also where the ledger was lost.
    all.extend(Agent::ALL.map(|agent| Known { agent, project: None }));
    for found in all {
        let places = setup::places_of(world, found.project.clone());
        if found.project.as_ref().is_some_and(|project| !project.is_dir()) {
            continue;
        }
        let mode = if work.dry { Mode::Check } else { Mode::Remove };
        let report = carry_out(&[found.agent], Some(found.scope()), &places, state, mode).map_err(setup::failed)?;
        for file in report.files {
            match file.action {
                // A check says what setup would do: what is as it should be is what would go.
                Action::Unchanged if work.dry => work.did(format!("take ctxnode out of {}", file.path.display())),
                Action::Changed | Action::Deleted if !work.dry => {
                    work.did(format!("take ctxnode out of {}", file.path.display()));
                }
                Action::Broken => {
                    let reason = file.reason.unwrap_or_default();
                    work.left.push(format!("{}: {reason}", file.path.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Returns what bootstrap noted with a word.
fn noted(record: &str, word: &str) -> Vec<PathBuf> {
    let paths = record.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    paths.map(PathBuf::from).collect()
}

fn remove_path_lines(work: &mut Work<'_>) {
    let paths = &work.world.config.paths;
    let record = std::fs::read_to_string(paths.state_dir.join(RECORD)).unwrap_or_default();
    let ended = noted(&record, "line-end");
    let made = noted(&record, "shell-file");
    let mut files: Vec<PathBuf> = SHELL_FILES.iter().map(|name| paths.home.join(name)).collect();
    files.extend(noted(&record, "path-line"));
    files.sort_unstable();
    files.dedup();
    for file in files {
        let Ok(text) = std::fs::read(&file) else { continue };
        let Some(rest) = without_line(&text, ended.contains(&file)) else { continue };
        if rest.is_empty() && made.contains(&file) {
            work.delete(&file);
            continue;
        }
        // A dotfile may be a link into a repository of its owner: writing goes through it, and keeps its mode.
        match if work.dry { Ok(()) } else { std::fs::write(&file, rest) } {
            Ok(()) => work.did(format!("take the PATH line out of {}", file.display())),
            Err(error) => work.left.push(format!("{}: {error}", file.display())),
        }
    }
}

/// Returns the text without bootstrap's line, and without the line end that it had to put before it; `None` when there is
/// no such line.
fn without_line(text: &[u8], ended: bool) -> Option<Vec<u8>> {
    let marker = MARKER.as_bytes();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let at = lines.iter().position(|line| line.trim_ascii_end().ends_with(marker))?;
    let mut rest = lines[..at].concat();
    if ended && lines.len() == at + 1 {
        rest.pop_if(|last| *last == b'\n');
    }
    rest.extend(lines[at + 1..].concat());
    Some(rest)
}

/// Deletes the programs where bootstrap puts them: those that it noted, links, and those beside this very program.
fn remove_programs(work: &mut Work<'_>) {
    let world = work.world;
    let folder = links::folder(world);
    let record = std::fs::read_to_string(world.config.paths.state_dir.join(RECORD)).unwrap_or_default();
    let noted = noted(&record, "program");
    let here = world.program.canonicalize().unwrap_or_else(|_| world.program.clone());
    let beside = here.parent().is_some_and(|own| folder.canonicalize().is_ok_and(|folder| folder == own));
    for name in links::PROGRAMS {
        let path = folder.join(name);
        // A link of that name into another place than an installation of ours is somebody's own.
        let ours = |target: PathBuf| target.file_name().is_some_and(|found| found == name);
        let linked = std::fs::read_link(&path).is_ok_and(ours);
        if linked || beside || noted.contains(&path) {
            work.delete(&path);
        } else if path.exists() {
            work.left.push(format!("{}: not installed by bootstrap; delete it by hand", path.display()));
        }
    }
}

/// Deletes the replica and what lies around it.
fn delete_data(work: &mut Work<'_>) {
    let world = work.world;
    let paths = &world.config.paths;
    let files = world.files();
    let is_ours = |path: &Path| path.file_name().is_some_and(|name| name == "ctxnode");
    let config = paths.config_file.parent().unwrap_or(Path::new("/")).to_owned();
    let own = [(paths.data_dir.clone(), "the replica"), (paths.state_dir.clone(), "logs"), (config, "settings")];
    for (folder, what) in own {
        if !folder.is_dir() {
            continue;
        }
        if !is_ours(&folder) {
            // A directory that somebody chose may hold more than ours.
            work.left.push(format!(
                "{}: {what}, in a directory with a name of its own; delete it by hand",
                folder.display()
            ));
            continue;
        }
        match if work.dry { Ok(()) } else { std::fs::remove_dir_all(&folder) } {
            Ok(()) => work.did(format!("delete {what} in {}", folder.display())),
            Err(error) => work.left.push(format!("{}: {error}", folder.display())),
        }
    }
    if !is_ours(&paths.data_dir) {
        for file in [files.store, files.key, files.lock, files.mark] {
            work.delete(&file);
        }
    }
    let sockets = [paths.socket.clone(), paths.mcp_socket()];
    sockets.iter().for_each(|socket| work.delete(socket));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_06_the_line_goes_and_every_other_byte_stays() {
        let line = format!("export PATH=\"$HOME/.local/bin:$PATH\"  {MARKER}\n");
        let of = |text: &[u8], ended| without_line(text, ended);
        let with = |before: &[u8], after: &[u8]| [before, line.as_bytes(), after].concat();
        assert_eq!(of(b"alias x=y\n", false), None);
        assert_eq!(of(&with(b"a\xff\n", b""), false).unwrap(), b"a\xff\n");
        assert_eq!(of(&with(b"a\xff\n", b""), true).unwrap(), b"a\xff", "it had no end before");
        assert_eq!(of(&with(b"a\n", b"later\n"), true).unwrap(), b"a\nlater\n", "somebody went on below it");
        assert_eq!(of(&with(b"", b""), false).unwrap(), b"");
    }

    #[test]
    fn a_record_is_read_by_its_words() {
        let record = "program /h/.local/bin/ctxnode\npath-line /h/a b\nline-end /h/a b\n";
        assert_eq!(noted(record, "path-line"), [Path::new("/h/a b")]);
        assert!(noted(record, "shell-file").is_empty());
    }
}
