//! Which agent is meant: a flag beats the variable, the variable beats the default.

use crate::agents::Agent;
use crate::refusal::Refusal;

/// The variable that names the agent when no flag does.
pub const VARIABLE: &str = ctxnode_config::env::AGENT;

/// Chooses the agent.
///
/// # Errors
/// When two different ones are asked for, or a name is not known.
pub fn choose(flags: &[Agent], named: Option<&str>, variable: Option<&str>) -> Result<Agent, Refusal> {
    let known = |origin, name: &str| {
        let lower = name.to_lowercase();
        Agent::of_name(&lower).ok_or_else(|| Refusal::UnknownAgent { origin, name: name.to_owned() })
    };
    let named = named.map(|name| known("--agent", name)).transpose()?;
    let asked: Vec<Agent> = flags.iter().copied().chain(named).collect();
    if let Some(first) = asked.first() {
        if let Some(second) = asked.iter().find(|agent| *agent != first) {
            return Err(Refusal::TwoAgents { first: first.name(), second: second.name() });
        }
        return Ok(*first);
    }
    match variable {
        Some(name) => known(VARIABLE, name),
        None => Ok(Agent::ALL[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l_01_a_flag_beats_the_variable_and_the_variable_the_default() {
        let choose = |flags: &[Agent], named, variable| choose(flags, named, variable).unwrap();
        assert_eq!(choose(&[Agent::Codex], None, Some("gemini")), Agent::Codex);
        assert_eq!(choose(&[], Some("AGY"), Some("gemini")), Agent::Antigravity);
        assert_eq!(choose(&[Agent::Codex], Some("codex"), None), Agent::Codex);
        assert_eq!(choose(&[], None, Some("gemini")), Agent::Gemini);
        assert_eq!(choose(&[], None, None), Agent::Claude);
    }

    #[test]
    fn l_01_two_agents_and_unknown_names_are_refused() {
        let two = choose(&[Agent::Claude, Agent::Gemini], None, None).unwrap_err();
        assert_eq!(two.why(), "--claude and --gemini were both given");
        for (named, variable, origin) in [(Some("cursor"), None, "--agent"), (None, Some("cursor"), VARIABLE)] {
            let unknown = choose(&[], named, variable).unwrap_err();
            assert!(unknown.why().starts_with(origin), "{}", unknown.why());
            assert_eq!(unknown.fix(), "known are: claude, codex, agy, gemini");
        }
    }
}
