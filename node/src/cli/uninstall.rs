//! `ctxnode uninstall`: takes everything off this machine that bootstrap and setup put there. The replica stays, unless
//! `--purge` says otherwise.
//!
//! What belongs to somebody else is never deleted: configuration files get their bytes back, and only what this machine
//! wrote is taken out. What cannot be done is said, and everything else is done all the same.

mod purge;
mod shell;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::Call;
use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::setup::{Action, Done, Known, Mode, known, run as carry_out, run_files};
use ctxnode_launcher::terminal::settings::wanted as terminal_files;
use ctxnode_launcher::terminal::terminfo::Terminfo;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::shell::{noted, remove_path_lines};
use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use super::{daemon, links, setup, tmux};
use crate::daemon::lock::{Lock, LockError};

/// What bootstrap noted of its doings, below the state directory: one a line, a word and a path.
const RECORD: &str = "bootstrap.record";
/// What setup wrote where, below the state directory.
const LEDGER: &str = "setup.json";
/// How long a daemon that comes back is stopped again.
const STOP: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

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
    /// What stays on purpose, and why.
    kept: Vec<String>,
    /// What could not be done, and what is left for that.
    left: Vec<String>,
}

impl Work<'_> {
    fn did(&mut self, what: String) {
        // Several CLIs share files.
        if !self.done.contains(&what) {
            self.done.push(what);
        }
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
    let mut work = Work { world, dry, done: Vec::new(), kept: Vec::new(), left: Vec::new() };
    let stopped = stop(&mut work).await;
    let state = &world.config.paths.state_dir;
    let record = std::fs::read_to_string(state.join(RECORD)).unwrap_or_default();
    // First, so that a daemon that an agent starts at this very moment comes up while the lock is held.
    remove_programs(&mut work, &record);
    let absent = remove_setup(&mut work);
    remove_tmux(&mut work);
    remove_path_lines(&mut work, &record);
    for file in noted(&record, "completion") {
        work.delete(&file);
    }
    if purge && !dry {
        match ctxnode_launcher::secrets::keychain::purge(&world.env).await {
            Ok(true) => work.did("take what ctxnode kept out of the keychain".to_owned()),
            Ok(false) => {}
            Err(error) => work.left.push(format!("items of the service ctxnode in the keychain: {error}")),
        }
    }
    let ledger = state.join(LEDGER);
    let keep = absent || !work.left.is_empty();
    if keep {
        let why = "remembers what setup wrote, for the next uninstall";
        work.kept.extend(ledger.exists().then(|| format!("{}: {why}", ledger.display())));
    } else {
        work.delete(&state.join(RECORD));
        work.delete(&ledger);
    }
    match &stopped {
        Stopped::Yes(_) if purge => purge::delete_data(&mut work, keep.then_some(ledger.as_path())),
        Stopped::No if purge => {
            let data = world.config.paths.data_dir.display();
            work.left.push(format!("{data}: a daemon has it open"));
        }
        _ => {}
    }
    if let Stopped::Yes(Some(lock)) = stopped {
        drop(lock);
        // One that comes up now finds its program gone and leaves by itself; one of another installation does not.
        if let Ok(Some(pid)) = daemon::halt(world).await {
            work.did(format!("stop the daemon, pid {pid}"));
        }
    }
    answer(&work, purge)
}

fn answer(work: &Work<'_>, purge: bool) -> Result<Exit, Failure> {
    let Work { world, dry, done, kept, left } = work;
    match world.screen.form {
        Form::Json => {
            world.screen.print_json(&json!({ "dry_run": dry, "done": done, "kept": kept, "left": left }))?;
        }
        Form::People => {
            let lead = if *dry { "would " } else { "" };
            let mut lines: Vec<String> = done.iter().map(|line| format!("{lead}{line}")).collect();
            lines.extend(kept.iter().map(|line| format!("kept: {line}")));
            lines.extend(left.iter().map(|line| format!("left: {line}")));
            if !purge && world.files().store.exists() {
                lines.push(format!("the replica stays in {}", world.config.paths.data_dir.display()));
            }
            world.screen.print(&lines.join("\n"))?;
        }
    }
    Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Whether the daemon is gone, and kept from coming back.
enum Stopped {
    /// With the daemon's own lock, where there is a replica.
    Yes(Option<Lock>),
    No,
}

/// Ends what runs: the process that keeps the machine awake, the service, the daemon.
///
/// An agent that is open would start the daemon again within milliseconds. So its lock is taken and held until everything is
/// gone: a daemon that is started meanwhile finds it held and leaves, which it does anyway when another one runs. A mark in
/// a file would do the same and could be left behind; the lock goes with this process. When it is let go, the programs
/// that such an agent would start are deleted.
async fn stop(work: &mut Work<'_>) -> Stopped {
    let world = work.world;
    if work.dry {
        work.did("stop the daemon and its service".to_owned());
        return Stopped::Yes(None);
    }
    if let Ok(mut client) = world.client_of_running() {
        // Without a daemon there is no such process; the daemon alone knows which one it is.
        let _ = client.call(&Call::new("field.off", json!({}))).await;
    }
    match daemon::remove_service(world) {
        Ok(true) => work.did("remove the service of the daemon".to_owned()),
        Ok(false) => {}
        Err(error) => work.left.push(format!("the service of the daemon: {error}")),
    }
    let files = world.files();
    let until = Instant::now() + STOP;
    loop {
        match daemon::halt(world).await {
            Ok(Some(pid)) => work.did(format!("stop the daemon, pid {pid}")),
            Ok(None) => {}
            Err(error) if Instant::now() >= until => {
                work.left.push(format!("the daemon: {error}"));
                return Stopped::No;
            }
            // One that is about to listen, or about to end.
            Err(_) => {}
        }
        if !files.store.exists() && !files.lock.exists() {
            return Stopped::Yes(None);
        }
        match Lock::take(&files.lock) {
            Ok(lock) => return Stopped::Yes(Some(lock)),
            Err(LockError::Held { .. }) if Instant::now() < until => sleep(LOOK).await,
            Err(error) => {
                work.left.push(error.to_string());
                return Stopped::No;
            }
        }
    }
}

/// Takes out of every configuration file what setup put there, in every checkout that it was run in. Returns whether a
/// checkout is not there now, so that it has to be remembered.
fn remove_setup(work: &mut Work<'_>) -> bool {
    let world = work.world;
    let state = &world.config.paths.state_dir;
    let mut all = known(state);
    // What lies there without a row of the ledger is at least said.
    all.extend(Agent::ALL.map(|agent| Known { agent, project: None }));
    let mut absent = false;
    for found in all {
        let places = setup::places_of(world, found.project.clone());
        if let Some(project) = found.project.as_ref().filter(|project| !project.is_dir()) {
            work.kept.push(format!("{}: not there now", project.display()));
            absent = true;
            continue;
        }
        let mode = if work.dry { Mode::UndoPlan } else { Mode::Undo };
        match carry_out(&[found.agent], Some(found.scope()), &places, state, mode) {
            Ok(report) => told(work, report.files),
            Err(error) => work.left.push(setup::failed(error).to_string()),
        }
    }
    absent
}

/// The settings of tmux, and the descriptions of terminals.
fn remove_tmux(work: &mut Work<'_>) {
    let paths = &work.world.config.paths;
    let mode = if work.dry { Mode::UndoPlan } else { Mode::Undo };
    match run_files(tmux::NAME, tmux::NAME, terminal_files(&paths.home), &paths.state_dir, mode) {
        Ok(files) => told(work, files),
        Err(error) => work.left.push(setup::failed(error).to_string()),
    }
    let terminfo = Terminfo::of(&paths.home, &work.world.env);
    let names = if work.dry { terminfo.ours() } else { terminfo.forget() };
    for name in names {
        work.did(format!("delete the description of the terminal {name}"));
    }
    if !work.dry {
        // It was made for them; with settings of the user in it, it stays.
        let _ = std::fs::remove_dir(paths.home.join(".config/ctxnode"));
    }
}

fn told(work: &mut Work<'_>, files: Vec<Done>) {
    for file in files {
        let reason = file.reason.unwrap_or_default();
        match file.action {
            Action::Changed | Action::Deleted => work.did(format!("take ctxnode out of {}", file.path.display())),
            Action::Kept => work.kept.push(format!("{}: {reason}", file.path.display())),
            Action::Broken => work.left.push(format!("{}: {reason}", file.path.display())),
            Action::Unchanged | Action::Created => {}
        }
    }
}

/// Deletes the programs where bootstrap puts them: those that it noted, links, and those beside this very program.
fn remove_programs(work: &mut Work<'_>, record: &str) {
    let world = work.world;
    let folder = links::folder(world);
    let noted = noted(record, "program");
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
