//! The two prompts: begin a day, end a day. They only name tools; what is shown comes from the tools.

use rmcp::model::{Prompt, PromptMessage, Role};

const SOD: &str = "\
Start of day. Do this in order:
1. Call tool `preflight`. Say only what did not pass, with its fix.
2. Call tool `sod`. Show its box, unchanged, and name what could not be loaded.
3. If it made no session, say what it asks for and stop.
4. Sum up the last handoff in three lines with its age.
5. Ask: \"What would you like to focus on?\" and wait for the answer. A task that the human has already given counts as \
the answer.";

const EOD: &str = "\
End of day. Do this in order:
1. Gather what happened in this session: `git log` since it began, uncommitted and unpushed work, pull requests and \
issues touched.
2. Draft four lists: accomplished, in_progress, blocked, next_steps. Write next_steps for a reader without memory: \
numbered, with exact paths and commands.
3. Show the draft and ask one question: store it, yes or no?
4. On yes call tool `handoff` with the lists, the status (in_progress, blocked or done) and confirmed_by human. On no \
change the draft as told and ask again.
5. Say the handoff id and how the session stands.";

/// How Gemini CLI names itself. It makes a prompt a command of the prompt's name, and of a prompt and a command file that have
/// one name it renames both: with our prompts, the `/sod` of its set-up would be `/user.sod`, and `/sod` nothing.
const GEMINI: &str = "gemini-cli";

/// Returns the prompts for a client; none where they would take the place of our commands.
pub(crate) fn listed(client: Option<&str>) -> Vec<Prompt> {
    if client.is_some_and(|client| client.starts_with(GEMINI)) {
        return Vec::new();
    }
    vec![
        Prompt::new("sod", Some("Begins work: checks, starts the session, shows where things stand, asks."), None),
        Prompt::new("eod", Some("Ends work: drafts the handoff, asks, stores it, ends the session."), None),
    ]
}

/// Returns the messages of a prompt.
pub(crate) fn messages(name: &str) -> Option<Vec<PromptMessage>> {
    let text = match name {
        "sod" => SOD,
        "eod" => EOD,
        _ => return None,
    };
    Some(vec![PromptMessage::new_text(Role::User, text)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M-01, C-01: both prompts for everybody, but for the one whose commands they would hide.
    #[test]
    fn m_01_prompts_hide_no_command() {
        for client in [None, Some("claude-code"), Some("codex-mcp-client")] {
            let names: Vec<String> = listed(client).into_iter().map(|prompt| prompt.name).collect();
            assert_eq!(names, ["sod", "eod"], "{client:?}");
        }
        assert!(listed(Some("gemini-cli-mcp-client")).is_empty());
        assert!(messages("sod").is_some() && messages("eod").is_some(), "whoever asks by name gets it");
    }
}
