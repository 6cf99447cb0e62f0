//! Joining a fleet with an invitation. Needs that no replica is here yet.

use std::io::Read as _;

use clap::{Arg, ArgMatches, Command};
use ctxnode_api::{Call, Right};
use ctxnode_sync::Code;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use crate::daemon::{host_name, join};

/// How long the first exchange may take until it has brought this node's grant. It goes on by itself after that.
const FIRST_EXCHANGE: Duration = Duration::from_secs(15);
/// The most that is read of stdin; a code has some hundred characters.
const MOST_CODE: u64 = 4_096;
const ASK_AGAIN: Duration = Duration::from_millis(50);

pub(super) fn command() -> Command {
    Command::new("join")
        .about("Makes this machine a member of a fleet, with the code that `ctxnode invite` printed on another one")
        .arg(
            Arg::new("code")
                .required(true)
                .value_name("CODE")
                .help("The code, ctxj-...; - reads it from stdin, where no list of processes shows it"),
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("What the others call it; the machine's name when left out"),
        )
}

pub(super) async fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let code = typed(matches.get_one::<String>("code").map_or("", String::as_str))?;
    let code: Code = code.parse().map_err(Failure::Code)?;
    let name = matches.get_one::<String>("name").cloned().unwrap_or_else(host_name);
    let report = join(&world.config, &code, &name).await?;
    let data_dir = world.config.paths.data_dir.display().to_string();
    // It fetches what the fleet knows as soon as it runs.
    let running = world.config.autostart && world.start().await.is_ok();
    let admitted = running && world.screen.waiting("joining", admitted(world)).await;
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({
            "fleet": report.fleet.to_string(), "node": report.node.to_string(), "inviter": report.inviter.to_string(),
            "data_dir": data_dir, "daemon": running, "admitted": admitted,
        }))?,
        Form::People => {
            world.screen.print(&format!("joined: replica made at {data_dir}"))?;
            if running && !admitted {
                world.screen.notice("the fleet has not answered yet; this machine can write once it has");
            }
            let next = if running { "ctxnode peers" } else { "ctxnode daemon start" };
            world.screen.notice(&format!("next: {next}"));
        }
    }
    Ok(Exit::Done)
}

/// Returns the code: the argument itself, or what stands on stdin.
fn typed(argument: &str) -> Result<Zeroizing<String>, Failure> {
    if argument != "-" {
        return Ok(Zeroizing::new(argument.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().lock().take(MOST_CODE).read_to_string(&mut text).map_err(Failure::file("stdin"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Waits until the node knows its own grant: whoever types the next command may write then.
async fn admitted(world: &World) -> bool {
    let Ok(mut client) = world.client_of_running() else { return false };
    let deadline = Instant::now() + FIRST_EXCHANGE;
    loop {
        let reply = client.call(&Call::new("node", json!({}))).await;
        let role = reply.ok().and_then(|answer| serde_json::from_value(answer.body["role"].clone()).ok());
        if role.is_some_and(|role: Right| role != Right::None) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(ASK_AGAIN).await;
    }
}
