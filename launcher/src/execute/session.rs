//! Telling the daemon what only the launcher knows of a session: its track, and the handoff from which it goes on.
//!
//! It is said of this process before the agent runs, which will be its child. Whatever starts the session (a hook, a tool,
//! and in which order) finds it there; said of the agent after its start, it would race with the agent's own hooks, and the
//! two would make two sessions.

use std::time::Duration;

use ctxnode_api::{Call, Client, ClientError};
use serde_json::json;

use crate::plan::Plan;
use crate::world::World;

/// How long the daemon may take; the agent waits for this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says what the agent's session will be about. A failure is said and stops nothing.
pub(super) async fn expect(world: &World, plan: &Plan, daemon: Option<Client>) {
    let Some(words) = words(plan) else { return };
    let failed = match daemon {
        // Why, was said when the ventures were asked for.
        None => "the daemon cannot be asked".to_owned(),
        Some(daemon) => match tell(plan, daemon.with_limit(PATIENCE)).await {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
    };
    world.screen.say(&format!("note: the session does not know its part ({failed}); inside of it, type: {words}"));
}

async fn tell(plan: &Plan, mut daemon: Client) -> Result<(), ClientError> {
    let mut input = json!({ "pid": std::process::id(), "venture": plan.venture, "repo": plan.repo });
    if let Some(track) = plan.track {
        input["track"] = track.into();
    }
    if let Some(handoff) = &plan.continues {
        input["continues"] = handoff.as_str().into();
    }
    daemon.call(&Call::new("session.expect", input)).await.map(drop)
}

/// What would say the same from inside the session; `None` when there is nothing to say.
fn words(plan: &Plan) -> Option<String> {
    let handoff = plan.continues.as_ref().map(|handoff| format!("ctxnode sod --continues {handoff}"));
    // A start with a track would be one of another session.
    let track = plan.track.map(|track| format!("ctxnode update --track {track}"));
    let all: Vec<String> = handoff.into_iter().chain(track).collect();
    (!all.is_empty()).then(|| all.join(" && "))
}
