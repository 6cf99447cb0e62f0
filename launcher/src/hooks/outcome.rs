//! How a tool use ended, from what a CLI reports after it: the error, and the pull request that was opened. Pure.
//!
//! What tools return is the agent's business: only the error of a tool that failed and the address of a pull request leave
//! this file, and a command leaves it as a hash.

use ctxnode_api::hooks::Moment;
use ctxnode_model::rules::limits::SIGNATURE_CHARS;
use ctxnode_model::rules::repo::pull_request_in;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Event, clean};

/// The fields in which the CLIs report what a tool returned.
const RESPONSES: [&str; 4] = ["tool_response", "toolResponse", "tool_result", "toolResult"];
/// The fields of a response that hold text, the errors first: they are what repeats.
const TEXTS: [&str; 8] = ["stderr", "error", "message", "stdout", "output", "llmContent", "content", "text"];
/// Letters of a command's name.
const NAME_LETTERS: usize = 24;

/// How a tool use ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What it reported as its failure, without secrets, as much as tells one error from another.
    pub(super) error: Option<String>,
    /// A name for what was run, the same for the same command.
    pub(super) command: Option<String>,
    /// The address of the pull request that it opened.
    pub(super) pull_request: Option<String>,
}

/// Reads how a tool use ended; empty for every other event.
pub(super) fn outcome(event: Event, tool: Option<&str>, input: Option<&Value>, stdin: &Value) -> Outcome {
    if event.moment() != Moment::AfterTool {
        return Outcome::default();
    }
    let response = response(stdin);
    let line = input.and_then(command_line);
    let opened = line.as_deref().is_some_and(opens_pull_request).then(|| all_text(&response)).and_then(|text| {
        // Warnings come before it; the address is the last thing that `gh` prints.
        pull_request_in(&text).map(str::to_owned)
    });
    // A human who interrupts is no fault of the command.
    let interrupted = stdin["is_interrupt"] == true || response["interrupted"] == true;
    let error = error(event, stdin, &response).filter(|_| !interrupted);
    Outcome {
        error: error.map(|text| clean(&text, SIGNATURE_CHARS)).filter(|text| !text.trim().is_empty()),
        command: tool.filter(|_| !interrupted).map(|tool| name(tool, line.as_deref())),
        pull_request: opened,
    }
}

/// What the tool returned; a JSON text is what it says.
fn response(stdin: &Value) -> Value {
    let found = RESPONSES.iter().find_map(|name| stdin.get(*name)).cloned().unwrap_or_default();
    match &found {
        Value::String(text) if text.trim_start().starts_with('{') => serde_json::from_str(text).unwrap_or(found),
        _ => found,
    }
}

/// Returns the command line of a shell tool.
fn command_line(input: &Value) -> Option<String> {
    match input.get("command").or_else(|| input.get("cmd")).or_else(|| input.get("CommandLine"))? {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        _ => None,
    }
}

/// Whether a command line runs `gh pr create`.
fn opens_pull_request(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let gh = words.iter().position(|word| *word == "gh" || word.ends_with("/gh"));
    gh.is_some_and(|at| words[at..].windows(2).any(|pair| pair == ["pr", "create"]))
}

/// Returns what a failed tool says of its failure.
fn error(event: Event, stdin: &Value, response: &Value) -> Option<String> {
    let told = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Object(fields) => fields.get("message").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    if let Some(text) = told(&stdin["error"]).or_else(|| told(&response["error"])) {
        return Some(text);
    }
    let text = all_text(response);
    let code = exit_code(response).or_else(|| printed_code(&text));
    let failed = event == Event::ToolFailed
        || code.is_some_and(|code| code != 0)
        || response["is_error"] == true
        || response["isError"] == true;
    let silent = || code.map_or("it failed without a word".to_owned(), |code| format!("exit code {code}"));
    failed.then(|| if text.trim().is_empty() { silent() } else { text })
}

fn exit_code(response: &Value) -> Option<i64> {
    let names = ["/exit_code", "/exitCode", "/metadata/exit_code", "/metadata/exitCode"];
    names.iter().find_map(|name| response.pointer(name)?.as_i64())
}

/// Some CLIs put the code into the text: `Exit code: 1` on a line of its own.
fn printed_code(text: &str) -> Option<i64> {
    let code = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        let rest = line.strip_prefix("exit code")?.trim_start_matches([':', ' ']).to_owned();
        rest.parse::<i64>().ok()
    };
    text.lines().find_map(code)
}

/// All text of a value, the errors first.
fn all_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(all_text).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => {
            let texts = TEXTS.iter().filter_map(|name| fields.get(*name)).map(all_text);
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Names what was run. A hash, since a command line can hold anything; in letters, since digits are taken for values that
/// change from one error to the next.
fn name(tool: &str, line: Option<&str>) -> String {
    let letter = |nibble: u8| char::from(b'g' + nibble);
    let words = line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default();
    let hash = Sha256::digest(format!("{tool}\n{words}"));
    hash.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).take(NAME_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use ctxnode_model::rules::escalation::normalise;
    use serde_json::json;

    use super::*;

    fn of(event: Event, stdin: &Value) -> Outcome {
        let tool = stdin["tool_name"].as_str();
        outcome(event, tool, stdin.get("tool_input"), stdin)
    }

    fn ran(command: &str, response: &Value) -> Outcome {
        let input = json!({ "command": command });
        of(Event::AfterTool, &json!({ "tool_name": "Bash", "tool_input": input, "tool_response": response }))
    }

    /// Section 7.3: what each CLI sends of a failed tool is an error, and what it sends of a good one is none.
    #[test]
    fn g_10_errors_are_read_in_the_form_of_every_cli() {
        let failed = json!({ "tool_name": "Bash", "tool_input": { "command": "make" }, "error": "make: *** no rule" });
        assert_eq!(of(Event::ToolFailed, &failed).error.as_deref(), Some("make: *** no rule"));
        let error = |response: Value| ran("make", &response).error;
        assert_eq!(error(json!({ "stdout": "fine", "stderr": "a warning", "interrupted": false })), None);
        assert_eq!(error(json!({ "output": "broken", "metadata": { "exit_code": 2 } })).as_deref(), Some("broken"));
        assert_eq!(error(json!("{\"output\":\"\",\"metadata\":{\"exit_code\":7}}")).as_deref(), Some("exit code 7"));
        assert_eq!(error(json!("{\"output\":\"ok\",\"metadata\":{\"exit_code\":0}}")), None);
        let gemini = json!({ "llmContent": "Command: make\nError: no rule\nExit Code: 1", "returnDisplay": "x" });
        assert!(error(gemini).unwrap().contains("no rule"));
        assert_eq!(
            error(json!({ "llmContent": "x", "error": { "message": "no such file" } })).as_deref(),
            Some("no such file")
        );
        assert_eq!(
            error(json!({ "isError": true, "content": [{ "type": "text", "text": "bad" }] })).as_deref(),
            Some("bad")
        );
        assert_eq!(error(json!("the exit code was mentioned")), None);
        let stopped = json!({ "tool_name": "Bash", "error": "stopped", "is_interrupt": true });
        assert_eq!(of(Event::ToolFailed, &stopped), Outcome::default());
        assert_eq!(of(Event::BeforeTool, &failed), Outcome::default());
    }

    #[test]
    fn h_26_an_error_is_redacted_before_it_is_cut() {
        let secret = format!("ghp_{}", "a1B2".repeat(9));
        let error = format!("{}{secret}", "x".repeat(SIGNATURE_CHARS - 10));
        let stdin = json!({ "tool_name": "Bash", "error": error });
        let sent = of(Event::ToolFailed, &stdin).error.unwrap();
        assert!(!sent.contains("ghp_") && sent.chars().count() <= SIGNATURE_CHARS, "{sent}");
    }

    #[test]
    fn a_command_is_named_and_not_told() {
        let name = |command: &str| ran(command, &json!("")).command.unwrap();
        assert_eq!(name("cargo  build"), name("cargo build"));
        assert_ne!(name("cargo build"), name("cargo test"));
        assert!(!name("TOKEN=secret make").contains("secret"));
        assert_eq!(normalise(&name("cargo build")), name("cargo build"), "nothing in it looks like a value");
    }

    /// Section 7.3: the address that `gh pr create` prints, and no other.
    #[test]
    fn a_pull_request_is_what_gh_prints_when_it_opens_one() {
        let printed = "Warning: 1 uncommitted change\nhttps://github.com/alpha-org/console/pull/42\n";
        let opened = |command: &str| ran(command, &json!({ "stdout": printed })).pull_request;
        let address = Some("https://github.com/alpha-org/console/pull/42".to_owned());
        assert_eq!(opened("git push && gh pr create --fill"), address);
        assert_eq!(opened("/usr/bin/gh -R alpha-org/console pr create -t x"), address);
        assert_eq!(opened("gh pr view 42"), None);
        assert_eq!(ran("gh pr create", &json!({ "stderr": "no commits" })).pull_request, None);
    }
}
