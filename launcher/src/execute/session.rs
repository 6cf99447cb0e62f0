//! Telling the daemon what only the launcher knows of a session: its track, and the handoff from which it goes on.
//!
//! Everything else (repo, branch, checkout) the first hook or tool call of the agent finds by itself. The session that is
//! made here belongs to the agent's process, so that the agent goes on with it.

use std::path::Path;
use std::time::Duration;

use ctxnode_api::{Call, Caller, Client, Endpoint};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::plan::Plan;
use crate::world::World;

/// How long the agent may take to become recognisable: an interpreter replaces itself once or twice at its start.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Starts the session of the agent's process with what was planned for it. A failure is said and stops nothing.
pub(super) async fn announce(world: &World, plan: &Plan, directory: &Path, pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match start(world, plan, directory, pid).await {
            Ok(body) if body["session"]["cli"] == plan.agent.name() => return,
            Ok(_) | Err(_) if Instant::now() < deadline => sleep(LOOK_AGAIN).await,
            _ => {
                world.screen.debug("the session's track and handoff could not be told to the daemon");
                return;
            }
        }
    }
}

async fn start(world: &World, plan: &Plan, directory: &Path, pid: u32) -> Result<Value, ctxnode_api::ClientError> {
    let directory = directory.display().to_string();
    let caller = Caller { directory: Some(directory.clone()), pid: Some(pid), ..Caller::default() };
    let mut client = Client::new(Endpoint::Socket(world.config.paths.socket.clone())).with_caller(&caller)?;
    let mut input = json!({ "venture": plan.venture, "repo": plan.repo, "docs": "none", "directory": directory });
    if let Some(track) = plan.track {
        input["track"] = track.into();
    }
    if let Some(handoff) = &plan.continues {
        input["continues"] = handoff.as_str().into();
    }
    Ok(client.call(&Call::new("sod", input)).await?.body)
}
