//! The commands of agents: one source for each, and the file that each CLI reads it from.
//!
//! Not here: writing them (`setup`), and what they do. Their work is done by tools of the MCP server and by commands.

mod plugin;
mod texts;

use serde_json::Value;

use crate::agents::Agent;

pub use plugin::{FORMS, plugin};
pub use texts::{SKILLS, Skill};

/// Commands of earlier versions; setup removes their files when nobody changed them.
const GONE: [&str; 2] = ["sos", "eos"];
/// Commands whose name a CLI has for one of its own, which wins, and the name that ours has there.
const TAKEN: [(Agent, &str, &str); 1] = [(Agent::Gemini, "plan", "weekly-plan")];

/// Returns every file of one CLI, below its folder of skills or commands, without the seal.
#[must_use]
pub fn files(agent: Agent) -> Vec<(String, String)> {
    SKILLS.iter().map(|skill| (file_name(agent, name_in(agent, skill.name)), content(agent, skill))).collect()
}

/// Returns the files of earlier versions, below the same folder.
#[must_use]
pub fn gone(agent: Agent) -> Vec<String> {
    let taken = TAKEN.iter().filter(|(of, ..)| *of == agent).map(|(_, name, _)| *name);
    GONE.into_iter().chain(taken).map(|name| file_name(agent, name)).collect()
}

/// Returns the name by which a CLI calls a command.
#[must_use]
pub fn name_in(agent: Agent, name: &'static str) -> &'static str {
    TAKEN.iter().find(|(of, taken, _)| *of == agent && *taken == name).map_or(name, |(_, _, own)| own)
}

/// Returns where a CLI looks for a command, below its folder.
fn file_name(agent: Agent, name: &str) -> String {
    match agent {
        Agent::Gemini => format!("{name}.toml"),
        Agent::Claude | Agent::Codex | Agent::Antigravity => format!("{name}/SKILL.md"),
    }
}

fn content(agent: Agent, skill: &Skill) -> String {
    match agent {
        Agent::Gemini => gemini(skill),
        Agent::Claude | Agent::Codex | Agent::Antigravity => markdown(skill),
    }
}

/// A skill by the open format: only keys that every CLI knows.
fn markdown(skill: &Skill) -> String {
    // A JSON text is a YAML text, with all that needs quoting quoted.
    let description = Value::from(skill.description);
    format!("---\nname: {}\ndescription: {description}\n---\n\n{}", skill.name, body(skill, None))
}

fn gemini(skill: &Skill) -> String {
    // A literal text cannot hold three quotes, and no text of ours does.
    let description = Value::from(skill.description);
    format!("description = {description}\nprompt = '''\n{}'''\n", body(skill, Some("{{args}}")))
}

fn body(skill: &Skill, arguments: Option<&str>) -> String {
    let given = match (skill.arguments, arguments) {
        (None, _) => String::new(),
        (Some(what), None) => format!("Arguments: {what}, as the human wrote them after the name of this command.\n\n"),
        (Some(what), Some(placeholder)) => format!("Arguments ({what}): {placeholder}\n\n"),
    };
    format!("{given}{}\n", skill.body.trim())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// C-01: every command exists for every CLI, in the form that its rules ask for.
    #[test]
    fn c_01_every_command_has_a_file_for_every_cli() {
        let names: Vec<&str> = SKILLS.iter().map(|skill| skill.name).collect();
        let wanted = [
            "sod",
            "eod",
            "handoff",
            "question",
            "merge",
            "status",
            "update",
            "heartbeat",
            "escalate",
            "claim",
            "plan",
            "note",
            "search",
        ];
        assert_eq!(names, wanted);
        for agent in Agent::ALL {
            let files = files(agent);
            assert_eq!(files.len(), SKILLS.len());
            for ((name, text), skill) in files.iter().zip(SKILLS) {
                assert!(name.starts_with(name_in(agent, skill.name)), "{name}");
                if agent == Agent::Gemini {
                    let parsed: toml_edit::DocumentMut = text.parse().unwrap();
                    assert_eq!(parsed["description"].as_str(), Some(skill.description));
                    let prompt = parsed["prompt"].as_str().unwrap();
                    assert!(prompt.contains(skill.body.trim()), "{prompt}");
                    assert_eq!(prompt.contains("{{args}}"), skill.arguments.is_some(), "{name}");
                } else {
                    let (front, body) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
                    let keys: BTreeSet<&str> = front.lines().map(|line| line.split(':').next().unwrap()).collect();
                    assert_eq!(keys, BTreeSet::from(["description", "name"]));
                    assert!(body.lines().count() < 500 && body.contains(skill.body.trim()));
                }
            }
        }
    }

    /// C-13, as far as a text goes: in every form the start ends with the question, and with waiting for its answer.
    #[test]
    fn c_13_the_start_asks_and_waits_in_every_form() {
        let forms = FORMS.map(plugin).into_iter().flatten();
        let all = Agent::ALL.map(files).into_iter().flatten().chain(forms);
        let is_start = |name: &str| name.ends_with("sod/SKILL.md") || name.ends_with("sod.toml");
        let starts: Vec<String> = all.filter(|(name, _)| is_start(name)).map(|(_, text)| text).collect();
        assert_eq!(starts.len(), Agent::ALL.len() + FORMS.len());
        for text in starts {
            let end = text.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{27}');
            let last = end.lines().last().unwrap();
            assert!(last.contains("Then stop and wait. Call no further tool before the human answered."), "{last}");
        }
    }

    #[test]
    fn c_01_names_and_descriptions_keep_the_limits_of_the_format() {
        for skill in SKILLS {
            let name = skill.name;
            assert!(name.len() <= 64 && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            assert!((20..=1_024).contains(&skill.description.chars().count()), "{name}");
            assert!(!skill.body.contains("'''") && !skill.body.contains("{{"), "{name}");
            assert!(!GONE.contains(&name));
        }
    }
}
