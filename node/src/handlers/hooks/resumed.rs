//! A conversation that goes on in another process: the agent is the one that it was, and so is its session.

use ctxnode_api::hooks::HookRequest;
use ctxnode_model::record::{Session, SessionStatus};
use ctxnode_model::rules::identity;
use ctxnode_store::Reader;

use super::super::sessions;
use super::with_caller;
use crate::app::Cx;
use crate::conversations::{self, Taken};
use crate::failure::Failure;

/// Notes which process holds the conversation, and returns the call as that of the agent that held it before, when this
/// process goes on as that one.
pub(super) async fn take_up(cx: &Cx, input: &HookRequest) -> Result<Option<Cx>, Failure> {
    let found = cx.caller.agent_process.clone().filter(|_| !cx.caller.explicit_agent).zip(input.conversation.clone());
    let Some((agent, conversation)) = found else { return Ok(None) };
    let now_known_as = conversations::instance_of(&cx.app, &agent);
    let (former, at_work) = {
        let snapshot = cx.read()?;
        let former = conversations::holder(snapshot.reader(), agent.cli, &conversation);
        let at_work = match &former {
            Some(held) => {
                let id = identity::agent_id(agent.cli, &cx.app.host.part, &held.instance);
                has_session(snapshot.reader(), &id)?
            }
            None => false,
        };
        (former, at_work)
    };
    let alive = former.as_ref().is_some_and(|held| held.process.is_alive());
    let taken = conversations::decide(former.as_ref(), agent.process, &now_known_as, alive, at_work);
    let instance = match &taken {
        Taken::As(instance) => instance.clone(),
        Taken::Itself => now_known_as,
    };
    let is_known = former.is_some_and(|held| held.process == agent.process && held.instance == instance);
    if !is_known {
        let holder = agent.clone();
        let noted = cx.app.store.write(move |draft| {
            conversations::hold(draft, &holder, &conversation, instance);
            Ok::<(), Failure>(())
        });
        noted.await?;
    }
    if taken == Taken::Itself {
        return Ok(None);
    }
    // What the process did before it took the conversation up is over for it.
    cx.app.presence.leave(agent.process);
    let mut caller = cx.caller.clone();
    conversations::rename(&cx.app, &mut caller);
    Ok(Some(with_caller(cx, caller)))
}

/// Whether an agent has a session that is not over.
fn has_session(reader: Reader<'_>, agent: &str) -> Result<bool, Failure> {
    for bound in sessions::bound(reader, agent)? {
        if reader.get::<Session>(bound.session)?.is_some_and(|session| session.status() == SessionStatus::Active) {
            return Ok(true);
        }
    }
    Ok(false)
}
