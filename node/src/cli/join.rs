//! Joining a fleet with an invitation; or being let in again with the replica that is here, when the machine that invites has
//! forgotten this one (it was restored from an older backup) or has taken it out.

use std::io::Read as _;
use std::net::SocketAddr;

use clap::{Arg, ArgMatches, Command};
use ctxnode_api::fleet::{PeerReason, PeerState, PeerView};
use ctxnode_api::node::NodeReply;
use ctxnode_api::{Call, ClientError, Right};
use ctxnode_store::Role;
use ctxnode_sync::{Code, Present};
use serde_json::{Value, json};
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
const LOOK_AGAIN: Duration = Duration::from_millis(500);
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
    let name = matches.get_one::<String>("name").cloned();
    if world.files().store.exists() {
        return again(world, &code, name).await;
    }
    let name = name.unwrap_or_else(host_name);
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

/// Is let in again: the replica stays, with everything that was written here meanwhile. Only when the machine that invites says
/// that it does not know this one: a member that joined anew would have the rights of the invitation alone.
async fn again(world: &World, code: &Code, name: Option<String>) -> Result<Exit, Failure> {
    let inviter = code.inviter.to_string();
    let client = world.client().await?;
    let reply = node_of(world.ask(client, &Call::new("node", json!({}))).await?.body)?;
    // Nobody who is no member here can let this replica in anywhere.
    let peer = peer_of(&reply, &inviter).ok_or_else(|| Failure::Init(InitError::Exists(world.files().store)))?;
    if peer.state == PeerState::Revoked {
        return Err(Failure::Usage {
            message: "the machine that invited was taken out of the fleet of this replica",
            hint: "ask a member for a code; this one was not used",
        });
    }
    let present = present(&reply).ok_or(Failure::Usage {
        message: "this replica says itself that this machine is no member, and can be told nothing else",
        hint: "stop the daemon, move the data directory away and use the code again",
    })?;
    let relay = code.relay.as_ref().map(ToString::to_string);
    look_for(world, &inviter, &code.addresses, relay).await?;
    let decided = |peer: &PeerView| is_member_of(peer) || is_unknown_to(peer);
    let reply = world.screen.waiting("looking", peer_when(world, &inviter, LOOK, decided)).await?;
    let peer = peer_of(&reply, &inviter).filter(|peer| decided(peer)).ok_or(Failure::Usage {
        message: "the machine that invited did not say whether it knows this one",
        hint: "`ctxnode doctor` says what stands between them; the code was not used",
    })?;
    if is_member_of(peer) {
        return Err(Failure::Usage {
            message: "this machine is a member already, and the machine that invited knows it",
            hint: "use it: `ctxnode status`; the code was not used",
        });
    }
    // As others have called it until now, unless it is to have another name.
    let known = Some(reply.name.clone()).filter(|known| !known.is_empty());
    let name = name.or(known).unwrap_or_else(host_name);
    let found = world.screen.waiting("joining", join_again(&world.config, code, &name, present)).await?;
    if found.fleet.to_string() != reply.fleet {
        return Err(Failure::Usage {
            message: "the machine that invited is in another fleet than this replica: nothing was changed here",
            hint: "`ctxnode revoke` takes this machine out there again",
        });
    }
    // It is in; what the daemons still have to say to each other they say without this command too.
    let _ = look_for(world, &inviter, &found.addresses, found.relay).await;
    let later = world.screen.waiting("joining", peer_when(world, &inviter, FIRST_EXCHANGE, is_member_of)).await;
    let admitted = later.is_ok_and(|later| peer_of(&later, &inviter).is_some_and(is_member_of));
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

/// What this machine may do, as its replica says.
fn present(reply: &NodeReply) -> Option<Present> {
    let role = match reply.role {
        Right::Admin => Role::Admin,
        Right::Writer => Role::Writer,
        Right::Reader => Role::Reader,
        Right::None => return None,
    };
    let spaces = reply.spaces.as_ref().map(|ids| ids.iter().filter_map(|id| id.parse().ok()).collect());
    Some(Present { fleet: reply.fleet.parse().ok()?, role, spaces })
}

fn is_member_of(peer: &PeerView) -> bool {
    matches!(peer.state, PeerState::Connected | PeerState::ViaOthers)
}

fn is_unknown_to(peer: &PeerView) -> bool {
    matches!(peer.reason, Some(PeerReason::UnknownKey | PeerReason::Revoked))
}

/// Lets the daemon look for a machine where it is said to be.
async fn look_for(world: &World, node: &str, at: &[SocketAddr], relay: Option<String>) -> Result<(), Failure> {
    let addresses: Vec<String> = at.iter().map(ToString::to_string).collect();
    let is_said = !addresses.is_empty() || relay.is_some();
    let input = if is_said { json!({ "node": node, "addresses": addresses, "relay": relay }) } else { json!({}) };
    world.ask(world.client_of_running()?, &Call::new("peer.wake", input)).await.map(drop)
}

fn node_of(body: Value) -> Result<NodeReply, Failure> {
    Ok(serde_json::from_value(body).map_err(ClientError::Unreadable)?)
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
        let reply = node_of(client.call(&Call::new("node", json!({}))).await?.body)?;
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
