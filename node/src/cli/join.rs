//! Joining a fleet with an invitation; or being let in again with the replica that is here, when the machine that invites has
//! forgotten this one (it was restored from an older backup) or has taken it out.

use std::io::Read as _;

use clap::{Arg, ArgMatches, Command};
use ctxnode_api::fleet::{PeerReason, PeerState, PeerView};
use ctxnode_api::node::NodeReply;
use ctxnode_api::{Call, ClientError, Right};
use ctxnode_sync::Code;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use crate::daemon::{InitError, host_name, join, join_again};

/// How long the first exchange may take until it has brought this node's grant. It goes on by itself after that.
const FIRST_EXCHANGE: Duration = Duration::from_secs(15);
/// The most that is read of stdin; a code has some hundred characters.
const MOST_CODE: u64 = 4_096;
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Seldom enough for the number of calls that one caller may make in a minute.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long the daemon may take to find out how the machine that invites stands to this one. What is not known then is asked
/// by the invitation itself.
const LOOK: Duration = Duration::from_secs(5);

pub(super) fn command() -> Command {
    Command::new("join")
        .about("Makes this machine a member of a fleet, with the code that `ctxnode invite` printed on another one; a replica that is here is let in again")
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
    if world.files().store.exists() {
        return again(world, &code, &name).await;
    }
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

/// Is let in again: the replica stays, with everything that was written here meanwhile.
async fn again(world: &World, code: &Code, name: &str) -> Result<Exit, Failure> {
    let exists = || Failure::Init(InitError::Exists(world.files().store));
    let inviter = code.inviter.to_string();
    world.ask(world.client().await?, &Call::new("peer.wake", json!({}))).await?;
    let decided = |peer: &PeerView| {
        matches!(peer.state, PeerState::Connected | PeerState::Revoked)
            || matches!(peer.reason, Some(PeerReason::UnknownKey | PeerReason::Revoked))
    };
    let reply = world.screen.waiting("looking", peer_when(world, &inviter, LOOK, decided)).await?;
    // Nobody who is no member here can let this replica in anywhere.
    let peer = peer_of(&reply, &inviter).ok_or_else(exists)?;
    if peer.state == PeerState::Connected {
        return Err(Failure::Usage {
            message: "this machine is a member already, and connected to the machine that invited",
            hint: "use it: `ctxnode status`; the code was not used",
        });
    }
    if peer.state == PeerState::Revoked {
        return Err(Failure::Usage {
            message: "the machine that invited was taken out of the fleet of this replica",
            hint: "ask a member for a code; this one was not used",
        });
    }
    let found = world.screen.waiting("joining", join_again(&world.config, code, name)).await?;
    if found.fleet.to_string() != reply.fleet {
        return Err(Failure::Usage {
            message: "the machine that invited is in another fleet than this replica: nothing was changed here",
            hint: "`ctxnode revoke` takes this machine out there again",
        });
    }
    let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() || found.relay.is_some() {
        let there = json!({ "node": inviter, "addresses": addresses, "relay": found.relay });
        world.ask(world.client().await?, &Call::new("peer.wake", there)).await?;
    }
    let is_connected = |peer: &PeerView| peer.state == PeerState::Connected;
    let reply = world.screen.waiting("joining", peer_when(world, &inviter, FIRST_EXCHANGE, is_connected)).await?;
    let admitted = peer_of(&reply, &inviter).is_some_and(is_connected);
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({
            "fleet": reply.fleet, "node": reply.node, "inviter": inviter, "data_dir": reply.data_dir, "daemon": true,
            "admitted": admitted, "again": true,
        }))?,
        Form::People => {
            world.screen.print("joined again: the replica that is here was kept")?;
            if !admitted {
                world.screen.notice("the fleet has not answered yet; the daemon goes on trying");
            }
            world.screen.notice("next: ctxnode peers");
        }
    }
    Ok(Exit::Done)
}

fn peer_of<'a>(reply: &'a NodeReply, node: &str) -> Option<&'a PeerView> {
    reply.peers.iter().find(|peer| peer.node == node)
}

/// Asks the daemon until a peer stands as wanted, is none, or the time is over.
async fn peer_when(
    world: &World,
    node: &str,
    patience: Duration,
    is_good: impl Fn(&PeerView) -> bool,
) -> Result<NodeReply, Failure> {
    let deadline = Instant::now() + patience;
    let mut client = world.client_of_running()?;
    loop {
        let value = client.call(&Call::new("node", json!({}))).await?.body;
        let reply: NodeReply = serde_json::from_value(value).map_err(ClientError::Unreadable)?;
        if peer_of(&reply, node).is_none_or(&is_good) || Instant::now() >= deadline {
            return Ok(reply);
        }
        sleep(LOOK_AGAIN).await;
    }
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
