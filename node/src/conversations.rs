//! Conversations: an agent CLI that is started again can go on with one, and is then the same agent as before.
//!
//! Whose a conversation is stands in the node-local store: the instance of the process that held it last. A process that
//! takes it up gets that instance, for every call that it makes from then on. Not here: sessions.

use ctxnode_model::rules::identity;
use ctxnode_store::{Draft, LocalTable, Reader};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::Caller;
use crate::http_server;
use crate::process::{AgentProcess, ProcessId};

/// How long a conversation is remembered after its last start: nobody takes up one of last month as the same work.
pub(crate) const KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Who held a conversation last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The instance under which its agent is known.
    pub(crate) instance: String,
    /// The process.
    pub(crate) process: ProcessId,
    /// When it was started there, in milliseconds; old ones are purged by it.
    pub(crate) at: i64,
}

/// A process that goes on as somebody else.
#[derive(Debug, Serialize, Deserialize)]
struct Alias {
    instance: String,
    at: i64,
}

// Agent ids, the other keys of the table, hold no control character.
fn conversation_key(cli: &str, conversation: &str) -> Vec<u8> {
    format!("\0conversation\0{cli}\0{conversation}").into_bytes()
}

fn alias_key(own: &str) -> Vec<u8> {
    format!("\0alias\0{own}").into_bytes()
}

fn read<T: serde::de::DeserializeOwned>(reader: Reader<'_>, key: &[u8]) -> Option<T> {
    let found = reader.local(LocalTable::Bindings, key).ok().flatten()?;
    serde_json::from_slice(&found).ok()
}

/// Returns the instance under which an agent process is known: its own, or the one that it goes on as.
pub(crate) fn instance_of(app: &App, agent: &AgentProcess) -> String {
    let own = http_server::own_instance(agent);
    let alias = app.store.read().ok().and_then(|snapshot| read::<Alias>(snapshot.reader(), &alias_key(&own)));
    alias.map_or(own, |alias| alias.instance)
}

/// Names a caller as its process is known now. A connection outlives what was known when it was made.
pub(crate) fn rename(app: &App, caller: &mut Caller) {
    if let Some(agent) = caller.agent_process.as_ref().filter(|_| !caller.explicit_agent) {
        caller.agent = http_server::agent_id_of(app, agent);
        caller.actor_key_id = identity::local_actor_key_id(&app.store.node(), &caller.agent);
    }
}

/// Returns who held a conversation last.
pub(crate) fn holder(reader: Reader<'_>, cli: &str, conversation: &str) -> Option<Held> {
    read(reader, &conversation_key(cli, conversation))
}

/// Notes who holds a conversation now, and that this process goes on under that instance.
pub(crate) fn hold(draft: &mut Draft<'_>, agent: &AgentProcess, conversation: &str, instance: String) {
    let (own, at) = (http_server::own_instance(agent), draft.now().0);
    if instance == own {
        draft.remove_local(LocalTable::Bindings, alias_key(&own));
    } else {
        let alias = Alias { instance: instance.clone(), at };
        draft.put_local(LocalTable::Bindings, alias_key(&own), serde_json::to_vec(&alias).unwrap_or_default());
    }
    let held = Held { instance, process: agent.process, at };
    let key = conversation_key(agent.cli, conversation);
    draft.put_local(LocalTable::Bindings, key, serde_json::to_vec(&held).unwrap_or_default());
}

/// What becomes of a process that starts, or goes on with, a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stays who it is.
    Itself,
    /// It goes on as the agent that held the conversation before.
    As(String),
}

/// Decides. `now_known_as` is the instance of the process so far, `alive` whether the former process still runs, `at_work`
/// whether the former agent has a session that is not over.
pub(crate) fn decide(
    former: Option<&Held>,
    process: ProcessId,
    now_known_as: &str,
    alive: bool,
    at_work: bool,
) -> Taken {
    match former {
        // Two terminals with one conversation are two agents: each must see the other.
        Some(held) if held.process != process && held.instance != now_known_as && !alive && at_work => {
            Taken::As(held.instance.clone())
        }
        _ => Taken::Itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_conversation_whose_process_is_gone_and_whose_session_is_not_over_is_taken_up() {
        let (old, new) = (ProcessId { pid: 10, started: 1 }, ProcessId { pid: 11, started: 2 });
        let held = Held { instance: "before00".into(), process: old, at: 0 };
        let decided = |former, process, alive, at_work| decide(former, process, "own00000", alive, at_work);
        assert_eq!(decided(Some(&held), new, false, true), Taken::As("before00".into()));
        assert_eq!(decided(Some(&held), new, true, true), Taken::Itself, "its process still runs");
        assert_eq!(decided(Some(&held), new, false, false), Taken::Itself, "its session is over");
        assert_eq!(decided(Some(&held), old, false, true), Taken::Itself, "the same process: compacted");
        assert_eq!(decided(None, new, false, true), Taken::Itself);
        let own = Held { instance: "own00000".into(), ..held };
        assert_eq!(decided(Some(&own), new, false, true), Taken::Itself, "it goes on as that already");
    }
}
