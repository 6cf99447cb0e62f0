//! The daemon's life as commands: start, stop, look, replace, run as a user service, watch what happens.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::operations::EventQuery;
use ctxnode_api::{Call, ClientError, version};
use ctxnode_config::Platform;
use ctxnode_fleet::service::{Manager, OnFailure, Service, Step};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::arguments;
use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use crate::daemon::lock::Lock;

/// How long a daemon may take to finish its calls and leave.
const STOP: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Returns the commands that no operation stands behind.
pub(super) fn commands() -> Vec<Command> {
    let dry = || Arg::new("dry_run").long("dry-run").action(ArgAction::SetTrue).help("Prints the steps only");
    vec![
        Command::new("run").about("Runs the daemon in this terminal"),
        Command::new("start").about("Starts the daemon in the background"),
        Command::new("install").about("Makes the daemon a service of this user (systemd or launchd)").arg(dry()),
        Command::new("uninstall").about("Removes that service; the replica stays").arg(dry()),
    ]
}

fn say(world: &World, text: &str, value: &Value) -> Result<Exit, Failure> {
    match world.screen.form {
        Form::Json => world.screen.print_json(value)?,
        Form::People => world.screen.print(text)?,
    }
    Ok(Exit::Done)
}

pub(super) async fn start(world: &World) -> Result<Exit, Failure> {
    let before = Lock::holder(&world.files().lock);
    world.start().await?;
    let after = Lock::holder(&world.files().lock);
    let pid = after.map_or(0, |holder| holder.pid);
    let started = before.is_none();
    let text = if started { format!("daemon started, pid {pid}") } else { format!("daemon runs already, pid {pid}") };
    say(world, &text, &json!({ "started": started, "pid": pid }))
}

pub(super) async fn stop(world: &World) -> Result<Exit, Failure> {
    match halt(world).await? {
        None => say(world, "no daemon runs", &json!({ "stopped": false })),
        Some(pid) => say(world, &format!("daemon stopped, pid {pid}"), &json!({ "stopped": true, "pid": pid })),
    }
}

/// Stops the daemon when one runs, waits until it is gone, and returns which it was.
///
/// A daemon of another build may refuse, or not understand; the process is the user's own all the same, and ends just as well by
/// a signal.
pub(super) async fn halt(world: &World) -> Result<Option<u32>, Failure> {
    let Some(holder) = Lock::holder(&world.files().lock) else { return Ok(None) };
    let asked = world.client_of_running()?.call(&Call::new("node.stop", json!({}))).await;
    if let Err(error) = asked {
        // A pid is reused; a pid with its start is not.
        let alive = holder.process().is_alive();
        let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw).filter(|_| alive);
        match pid.map(|pid| kill_process(pid, Signal::TERM)) {
            Some(Ok(())) => {}
            _ => return Err(error.into()),
        }
    }
    gone(world, holder.pid).await?;
    Ok(Some(holder.pid))
}

/// Waits until the lock is free.
async fn gone(world: &World, pid: u32) -> Result<(), Failure> {
    let deadline = Instant::now() + STOP;
    while Lock::holder(&world.files().lock).is_some_and(|holder| holder.pid == pid) {
        if Instant::now() > deadline {
            return Err(Failure::Running(pid));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

pub(super) async fn status(world: &World) -> Result<Exit, Failure> {
    let body = world.client_of_running()?.call(&Call::new("health", json!({}))).await?.body;
    let pid = Lock::holder(&world.files().lock).map(|holder| holder.pid);
    let build = body["version"].as_str().unwrap_or_default();
    let text = match pid {
        Some(pid) => format!("daemon runs, pid {pid}, {build}"),
        None => format!("daemon runs, {build}"),
    };
    say(world, &text, &body)
}

/// Has the daemon run the installed binary, and waits until that one answers.
pub(super) async fn handover(world: &World) -> Result<Exit, Failure> {
    let mut client = world.client_of_running()?;
    let before = client.call(&Call::new("node", json!({}))).await?.body["started_at"].clone();
    client.call(&Call::new("node.handover", json!({}))).await?;
    let deadline = Instant::now() + STOP;
    loop {
        let answer = world.client_of_running()?.call(&Call::new("node", json!({}))).await;
        match answer {
            Ok(answer) if answer.body["started_at"] != before => {
                let build = answer.body["build"].as_str().unwrap_or_default().to_owned();
                if build != version::BUILD {
                    world.screen.notice(&format!("note: the installed daemon is {build}, this is {}", version::BUILD));
                }
                return say(world, &format!("daemon runs {build}"), &json!({ "build": build }));
            }
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            _ if Instant::now() > deadline => {
                let holder = Lock::holder(&world.files().lock);
                return Err(Failure::Running(holder.map_or(0, |holder| holder.pid)));
            }
            _ => sleep(LOOK).await,
        }
    }
}

/// Prints changes as they happen, one JSON object per line, until it is interrupted.
pub(super) async fn watch(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    const OPERATION: &str = "event.stream";
    let route = ctxnode_api::route(OPERATION).ok_or_else(|| ClientError::NoOperation(OPERATION.to_owned()))?;
    // All that was typed: what a stream cannot do is for the daemon to say.
    let typed = arguments::call(route, matches, &world.directory)?.input;
    let query: EventQuery = serde_json::from_value(typed).map_err(ClientError::Unreadable)?;
    // The first look starts the daemon when that is allowed.
    let client = world.client().await?;
    let mut events = client.events(&query, None).await?;
    while let Some(event) = events.next().await? {
        if event.kind == "lagged" {
            world.screen.notice("some changes were missed: this was too slow for them");
            continue;
        }
        world.screen.print(&event.data)?;
    }
    Ok(Exit::Done)
}

fn manager() -> Manager {
    match Platform::current() {
        Platform::Linux => Manager::Systemd,
        Platform::MacOs => Manager::Launchd,
    }
}

fn home(world: &World) -> Result<PathBuf, Failure> {
    let missing = Failure::Usage { message: "HOME is not set", hint: "set HOME to your home directory" };
    world.env.get("HOME").map(PathBuf::from).ok_or(missing)
}

pub(super) fn install(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let paths = &world.config.paths;
    let mut service = Service::new(&world.program, paths.log_dir());
    let own = [("CTXNODE_DATA_DIR", &paths.data_dir), ("CTXNODE_SOCKET", &paths.socket)];
    let own = own.into_iter().map(|(name, path)| (name.to_owned(), path.display().to_string()));
    let fixed = ctxnode_api::autostart::ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    service.environment = own.chain(fixed).collect();
    carry_out(world, manager().install(&home(world)?, &service), matches.get_flag("dry_run"))
}

pub(super) fn uninstall(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    carry_out(world, manager().uninstall(&home(world)?), matches.get_flag("dry_run"))
}

/// Removes the service when it is installed, and says whether it was.
pub(super) fn remove_service(world: &World) -> Result<bool, Failure> {
    let home = home(world)?;
    if !manager().path(&home).exists() {
        return Ok(false);
    }
    carry_out(world, manager().uninstall(&home), false)?;
    Ok(true)
}

fn carry_out(world: &World, steps: Vec<Step>, dry: bool) -> Result<Exit, Failure> {
    for step in steps {
        world.screen.notice(&match &step {
            Step::MakeDir { path } => format!("make {}", path.display()),
            Step::Write { path, .. } => format!("write {}", path.display()),
            Step::Remove { path } => format!("remove {}", path.display()),
            Step::Run { argv, .. } => format!("run {}", argv.join(" ")),
        });
        if !dry {
            take(step)?;
        }
    }
    Ok(Exit::Done)
}

fn take(step: Step) -> Result<(), Failure> {
    match step {
        Step::MakeDir { path } => std::fs::create_dir_all(&path).map_err(Failure::file(path)),
        Step::Write { path, contents } => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(Failure::file(parent))?;
            }
            std::fs::write(&path, contents).map_err(Failure::file(path))
        }
        Step::Remove { path } => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file(path)(error)),
            _ => Ok(()),
        },
        Step::Run { argv, on_failure } => {
            let mut words = argv.iter();
            let Some(program) = words.next() else { return Ok(()) };
            let status = std::process::Command::new(program).args(words).status();
            match status {
                Ok(status) if status.success() => Ok(()),
                _ if on_failure == OnFailure::Continue => Ok(()),
                Ok(_) => Err(Failure::Command { command: argv.join(" "), source: None }),
                Err(error) => Err(Failure::Command { command: argv.join(" "), source: Some(error) }),
            }
        }
    }
}
