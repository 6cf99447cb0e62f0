//! What a human has confirmed in each agent CLI, as that CLI keeps it. Read, never written.
//!
//! Pure: texts come in. The forms of these files are the CLIs' own affair; what is not understood counts as not confirmed,
//! since a hook that is thought to run and does not is worse than a question too many.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{Places, Scope, codex, json};
use crate::agents::Agent;

/// How the trust in what was set up stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The agent CLI.
    pub cli: &'static str,
    /// Whether everything runs that was set up.
    pub confirmed: bool,
    /// What the CLI's own files say.
    pub what: String,
}

impl Trust {
    fn of(confirmed: bool, what: impl Into<String>) -> Self {
        Self { cli: "", confirmed, what: what.into() }
    }
}

/// Returns how the trust stands; `read` returns the text of a file.
#[must_use]
pub fn trust(agent: Agent, scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Trust {
    let found = match agent {
        Agent::Claude => claude(places, read),
        Agent::Codex => of_codex(scope, places, read),
        Agent::Gemini => gemini(places, read),
        Agent::Antigravity => agy(places, read),
    };
    Trust { cli: agent.name(), ..found }
}

/// The folder that is asked about; without a checkout there is none.
fn folder(places: &Places) -> Option<String> {
    places.project.as_ref().map(|project| project.display().to_string())
}

fn parsed(text: Option<String>) -> Value {
    text.and_then(|text| json::look(&text, &[])).unwrap_or_default()
}

/// Claude Code asks once per folder, and runs no hook there before.
fn claude(places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Trust {
    let Some(folder) = folder(places) else { return Trust::of(true, "its hooks run in every folder that you trust") };
    let state = parsed(read(&places.claude_state()));
    // A folder above counts for those below.
    let accepted = Path::new(&folder).ancestors().any(|path| {
        let project = &state["projects"][path.display().to_string()];
        project["hasTrustDialogAccepted"] == true
    });
    if accepted {
        Trust::of(true, format!("{folder} is trusted"))
    } else {
        Trust::of(false, format!("{folder} was not trusted yet: start claude there and say yes"))
    }
}

/// Codex keeps a hash of each hook that was reviewed, under the file, the event and the place of the hook.
fn of_codex(scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Trust {
    let (file, hooks) = codex::hooks_file(scope, places);
    let written = parsed(read(&file));
    let config = read(&places.codex_home().join("config.toml")).unwrap_or_default();
    let config = config.parse::<toml_edit::DocumentMut>().ok();
    let state = config.as_ref().and_then(|config| config.get("hooks")?.get("state")).cloned();
    let reviewed = hooks.iter().filter(|(event, command)| {
        let groups = written["hooks"][*event].as_array().cloned().unwrap_or_default();
        let at = groups.iter().position(|group| {
            group["hooks"].as_array().is_some_and(|all| all.iter().any(|hook| hook["command"] == *command))
        });
        let Some(at) = at else { return false };
        let key = format!("{}:{}:{at}:0", file.display(), snake(event));
        let entry = state.as_ref().and_then(|state| state.get(&key));
        let off = entry.and_then(|entry| entry.get("enabled")?.as_bool()) == Some(false);
        entry.is_some_and(|entry| entry.get("trusted_hash").is_some()) && !off
    });
    let (reviewed, all) = (reviewed.count(), hooks.len());
    if reviewed == all {
        return Trust::of(true, format!("all {all} hooks were reviewed"));
    }
    let what = format!(
        "{reviewed} of {all} hooks were reviewed, and the others do not run: open codex, run /hooks and trust the entries of ctxnode"
    );
    Trust::of(false, what)
}

fn snake(event: &str) -> String {
    let mut out = String::new();
    for c in event.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Gemini CLI keeps a word per folder; when the question is switched off, every folder counts.
fn gemini(places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Trust {
    let home = places.home.join(".gemini");
    let settings = read(&home.join("settings.json")).unwrap_or_default();
    if json::look(&settings, &["security", "folderTrust", "enabled"]) == Some(false.into()) {
        return Trust::of(true, "folder trust is switched off: every folder counts");
    }
    let Some(folder) = folder(places) else { return Trust::of(true, "its hooks run in every folder that you trust") };
    let words = parsed(read(&home.join("trustedFolders.json")));
    let word = |path: &Path| words[path.display().to_string()].as_str().map(str::to_owned);
    let path = Path::new(&folder);
    let own = word(path);
    let refused = own.as_deref() == Some("DO_NOT_TRUST");
    let parent = path.parent().and_then(word).is_some_and(|word| word == "TRUST_PARENT");
    let above = path.ancestors().any(|path| word(path).is_some_and(|word| word == "TRUST_FOLDER"));
    if !refused && (above || parent || own.as_deref() == Some("TRUST_PARENT")) {
        Trust::of(true, format!("{folder} is trusted"))
    } else {
        Trust::of(false, format!("{folder} is not trusted, and its servers and hooks stay off: gemini trust"))
    }
}

/// Antigravity keeps a list of folders.
fn agy(places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Trust {
    let Some(folder) = folder(places) else { return Trust::of(true, "its hooks run in every folder that you trust") };
    let settings = parsed(read(&places.home.join(".gemini/antigravity-cli/settings.json")));
    let listed = settings["trustedWorkspaces"].as_array().cloned().unwrap_or_default();
    let is_listed = |path: &Path| listed.iter().any(|one| one.as_str().map(Path::new) == Some(path));
    if Path::new(&folder).ancestors().any(is_listed) {
        Trust::of(true, format!("{folder} is trusted"))
    } else {
        Trust::of(false, format!("{folder} was not trusted yet: start agy there and trust it"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::setup::{Content, Edit, edit, wanted};

    fn places(project: Option<&str>) -> Places {
        Places { project: project.map(PathBuf::from), ..Places::of("/home/ada") }
    }

    fn told(agent: Agent, project: Option<&str>, files: &[(&str, &str)]) -> Trust {
        let files: BTreeMap<PathBuf, String> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        trust(agent, Scope::User, &places(project), &|path| files.get(path).cloned())
    }

    #[test]
    fn c_12_claude_gemini_and_agy_are_trusted_by_folder_or_one_above_it() {
        let claude = r#"{ "projects": { "/home/ada/dev": { "hasTrustDialogAccepted": true } } }"#;
        let file = "/home/ada/.claude.json";
        assert!(told(Agent::Claude, Some("/home/ada/dev/console"), &[(file, claude)]).confirmed);
        assert!(!told(Agent::Claude, Some("/home/ada/other"), &[(file, claude)]).confirmed);
        assert!(!told(Agent::Claude, Some("/x"), &[(file, "not json")]).confirmed);
        assert!(told(Agent::Claude, None, &[]).confirmed);

        let file = "/home/ada/.gemini/trustedFolders.json";
        for (words, confirmed) in [
            (r#"{ "/r/a": "TRUST_FOLDER" }"#, true),
            (r#"{ "/r": "TRUST_FOLDER" }"#, true),
            (r#"{ "/r": "TRUST_FOLDER", "/r/a": "DO_NOT_TRUST" }"#, false),
            (r#"{ "/r/a": "TRUST_PARENT" }"#, true),
            ("{}", false),
        ] {
            assert_eq!(told(Agent::Gemini, Some("/r/a"), &[(file, words)]).confirmed, confirmed, "{words}");
        }
        let off = ("/home/ada/.gemini/settings.json", r#"{ "security": { "folderTrust": { "enabled": false } } }"#);
        assert!(told(Agent::Gemini, Some("/r/a"), &[off]).confirmed);

        let file = "/home/ada/.gemini/antigravity-cli/settings.json";
        assert!(told(Agent::Antigravity, Some("/r/a"), &[(file, r#"{ "trustedWorkspaces": ["/r/a"] }"#)]).confirmed);
        assert!(!told(Agent::Antigravity, Some("/r/a"), &[(file, r#"{ "trustedWorkspaces": ["/r/ab"] }"#)]).confirmed);
    }

    #[test]
    fn c_12_each_hook_of_codex_is_looked_up_where_it_stands() {
        let all = wanted(Agent::Codex, Scope::User, &places(None));
        let hooks = all.iter().find(|file| file.path.ends_with("hooks.json")).unwrap();
        assert!(matches!(hooks.content, Content::Json { .. }));
        // Somebody else's hook stands first for one event.
        let foreign = r#"{ "hooks": { "Stop": [ { "hooks": [ { "type": "command", "command": "mine" } ] } ] } }"#;
        let Edit::Write(text) = edit(hooks, Some(foreign)).unwrap() else { panic!("nothing to write") };
        let file = "/home/ada/.codex/hooks.json";
        let state = |stop: usize, more: &str| {
            let events = [
                "session_start",
                "user_prompt_submit",
                "pre_tool_use",
                "post_tool_use",
                "pre_compact",
                "post_compact",
                "session_end",
            ];
            let mut out: String = events
                .iter()
                .map(|event| format!("[hooks.state.\"{file}:{event}:0:0\"]\ntrusted_hash = \"sha256:a\"\n"))
                .collect();
            out += &format!("[hooks.state.\"{file}:stop:{stop}:0\"]\ntrusted_hash = \"sha256:a\"\n{more}");
            out
        };
        let of = |config: &str| told(Agent::Codex, None, &[(file, &text), ("/home/ada/.codex/config.toml", config)]);
        assert!(of(&state(1, "")).confirmed);
        let other = of(&state(0, ""));
        assert!(!other.confirmed && other.what.starts_with("7 of 8 hooks"), "that is somebody else's: {other:?}");
        assert!(!of(&state(1, "enabled = false\n")).confirmed);
        assert!(of("").what.starts_with("0 of 8"));
        assert_eq!(snake("UserPromptSubmit"), "user_prompt_submit");
    }
}
