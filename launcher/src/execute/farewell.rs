//! The last words after an agent ended: that its work can go on, when it left without a handoff.
//!
//! Nothing here can fail a launch: the agent's exit code is ours.

use std::path::Path;
use std::time::Duration;

use ctxnode_api::Call;
use ctxnode_api::sessions::{DraftReply, SessionList, SessionView};
use serde_json::json;

use crate::hooks::offer;
use crate::plan::Plan;
use crate::world::{Autostart, World};

/// How long the daemon may take; whoever closed an agent wants the prompt of the shell.
const PATIENCE: Duration = Duration::from_secs(3);

/// Writes the draft of a session that its agent left open, and says how it goes on.
pub(super) async fn say(world: &World, plan: &Plan, directory: &Path) {
    let Some((session, draft)) = look(world, plan, directory).await else { return };
    let installed: Vec<_> = world.programs().into_keys().collect();
    if let Some(text) = words(plan, &session, &draft, &installed) {
        world.screen.say(&text);
    }
}

async fn look(world: &World, plan: &Plan, directory: &Path) -> Option<(SessionView, DraftReply)> {
    let mut client = world.client(Autostart::Never).await.ok()?.with_limit(PATIENCE);
    let input = json!({ "venture": plan.venture, "repo": plan.repo, "cli": plan.agent.name() });
    let body = client.call(&Call::new("session.list", input)).await.ok()?.body;
    let list: SessionList = serde_json::from_value(body).ok()?;
    let session = left(list.items, directory)?;
    let call = Call::new("session.draft", json!({})).param("id", session.id.as_str());
    let draft = serde_json::from_value(client.call(&call).await.ok()?.body).ok()?;
    Some((session, draft))
}

/// The session that an agent left in a directory: not over, its process gone, the last one that showed life.
fn left(sessions: Vec<SessionView>, directory: &Path) -> Option<SessionView> {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let here = |session: &SessionView| {
        let at = session.checkout.as_deref().map(Path::new);
        at.is_some_and(|at| at.canonicalize().unwrap_or_else(|_| at.to_owned()) == directory)
    };
    let open = sessions.into_iter().filter(|session| session.pid.is_none() && here(session));
    open.max_by_key(|session| session.last_heartbeat_at.map(|at| at.0))
}

fn words(plan: &Plan, session: &SessionView, draft: &DraftReply, installed: &[crate::agents::Agent]) -> Option<String> {
    if let Some(why) = &session.failed {
        return Some(format!("ctxnode: {} (draft {})", offer(plan.agent, why, installed), draft.handoff_id));
    }
    // An agent that was opened and closed again leaves nothing to go on with.
    draft.activity.then(|| {
        let (title, id) = (plan.agent.title(), &draft.handoff_id);
        format!("ctxnode: {title} left without a handoff; draft {id} holds what was seen. To go on: ctxnode continue")
    })
}
