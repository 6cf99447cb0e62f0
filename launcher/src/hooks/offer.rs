//! What a human is told when an agent's turn failed: how the work goes on without it.

use crate::agents::Agent;

/// The most characters of a reason; a provider's whole message is in the draft handoff.
const REASON_CHARS: usize = 160;

/// Returns the words. `installed` are the agent CLIs of this machine.
#[must_use]
pub fn offer(agent: Agent, why: &str, installed: &[Agent]) -> String {
    let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS).collect();
    format!("the last turn of {} failed ({why}); to go on from here: {}", agent.title(), command(agent, installed))
}

/// Returns the command that goes on with another agent, or on another machine when there is no other here.
#[must_use]
pub fn command(agent: Agent, installed: &[Agent]) -> String {
    match Agent::ALL.into_iter().find(|other| *other != agent && installed.contains(other)) {
        Some(other) => format!("ctxnode continue --with {}", other.name()),
        None => "ctxnode continue --on MACHINE".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_agent_is_offered_and_another_machine_when_there_is_none() {
        let text = offer(Agent::Claude, "rate_limit:\n resets 3pm", &[Agent::Claude, Agent::Gemini, Agent::Codex]);
        assert_eq!(
            text,
            "the last turn of Claude Code failed (rate_limit: resets 3pm); to go on from here: ctxnode continue --with codex"
        );
        assert!(offer(Agent::Codex, "x", &[Agent::Claude]).ends_with("--with claude"));
        assert!(offer(Agent::Claude, "x", &[Agent::Claude]).ends_with("ctxnode continue --on MACHINE"));
    }
}
