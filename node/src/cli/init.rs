//! Making a replica, and bringing one back from a backup. Neither needs a daemon; both need that none runs.

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_store::{OsEntropy, Store};
use serde_json::json;

use super::failure::{Exit, Failure};
use super::screen::{Form, Screen};
use super::world::World;
use crate::daemon::lock::Lock;
use crate::daemon::{host_name, init, private_dir};

pub(super) fn command() -> Command {
    Command::new("init")
        .about("Makes a replica on this machine, the first of a new fleet")
        .arg(Arg::new("name").long("name").value_name("NAME").help("The fleet's name; the machine's when left out"))
        .arg(
            Arg::new("show_recovery_key")
                .long("show-recovery-key")
                .action(ArgAction::SetTrue)
                .help("With --json: puts the recovery key into the answer"),
        )
}

pub(super) fn restore_command() -> Command {
    Command::new("restore")
        .about("Puts a backup in the place of the replica; what was there is kept beside it")
        .arg(Arg::new("backup").required(true).value_name("BACKUP").help("The file that `ctxnode backup` made"))
}

pub(super) fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let name = matches.get_one::<String>("name").cloned().unwrap_or_else(host_name);
    let replica = init(&world.config, &name)?;
    let data_dir = world.config.paths.data_dir.display().to_string();
    // The key comes before the replica: one that is in its place while nobody has seen its key could never be recovered.
    let report = &replica.report;
    match world.screen.form {
        Form::Json => {
            let mut value = json!({
                "fleet": report.fleet.to_string(), "node": report.node.to_string(), "data_dir": data_dir,
            });
            if matches.get_flag("show_recovery_key") {
                value["recovery_key"] = report.recovery_key.as_str().into();
            }
            world.screen.print_json_surely(&value)?;
            if let Err(error) = replica.finish() {
                // There is one object on stdout already.
                Screen { form: Form::People, ..world.screen }.failure(&error.into());
                return Ok(Exit::Failed);
            }
        }
        Form::People => {
            let key = report.recovery_key.as_str();
            world.screen.print_surely(&format!(
                "recovery key: {key}\n\n\
                 Write it down and keep it away from this machine. It is shown once and kept nowhere; whoever loses \
                 every machine of the fleet needs it. It counts once `replica made at ...` follows."
            ))?;
            replica.finish()?;
            world.screen.print(&format!("\nreplica made at {data_dir}"))?;
            world.screen.notice("next: cd into a checkout and type  ctxnode sod");
        }
    }
    Ok(Exit::Done)
}

pub(super) fn restore(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let files = world.files();
    if let Some(holder) = Lock::holder(&files.lock) {
        return Err(Failure::Running(holder.pid));
    }
    let Some(backup) = matches.get_one::<String>("backup") else {
        return Err(Failure::Usage { message: "the backup is missing", hint: "name the file" });
    };
    let data_dir = &world.config.paths.data_dir;
    private_dir(data_dir).map_err(Failure::file(data_dir))?;
    if files.store.exists() {
        world.confirm("Put the backup in the place of the present replica? The present one is kept beside it.")?;
    }
    let _lock = Lock::take(&files.lock).map_err(crate::daemon::InitError::from)?;
    let report = Store::restore(&world.directory.join(backup), &files.store, &OsEntropy).map_err(Failure::Restore)?;
    // The index belongs to the store that was there; it is made again from the restored one.
    match std::fs::remove_dir_all(&files.index) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Failure::file(files.index)(error)),
        _ => {}
    }
    let value = json!({
        "path": files.store.display().to_string(), "records": report.records, "entries": report.entries,
        "rows": report.rows, "bytes": report.bytes,
    });
    match world.screen.form {
        Form::Json => world.screen.print_json(&value)?,
        Form::People => {
            world.screen.print(&format!("restored {} records, {} entries", report.records, report.entries))?;
            world.screen.notice("the search index is made again when the daemon runs");
            world.screen.notice(
                "machines that joined after this backup was made: `ctxnode invite` here and `ctxnode join CODE` there, if no \
                 other machine knows them; they keep their replicas",
            );
        }
    }
    Ok(Exit::Done)
}
