//! A plan as lines for people.

use std::fmt::Write as _;

use super::{Plan, Work};
use crate::secrets::{Login, Provider, Source};

impl Plan {
    /// Returns the plan as text, one step a line.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = format!("plan for {} ({})\n", self.venture, self.name);
        let mut row = |name: &str, value: String| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  {name:<9} {value}");
        };
        row("agent", format!("{}, {}", self.agent.title(), self.program.display()));
        row("repo", format!("{} in {}", self.repo, self.checkout.display()));
        let forward = "fetch for at most 5 s, then forward when clean, on the default branch and not ahead";
        row("update", if self.fetch { forward } else { "none: there is no remote" }.to_owned());
        row("worktree", self.worktree());
        if let Some(track) = self.track {
            row("track", track.to_string());
        }
        if let Some(handoff) = &self.continues {
            row("from", handoff.clone());
        }
        row("secrets", self.secrets.as_ref().map_or_else(|| "none".to_owned(), source));
        row("setup", "registration compared and repaired".to_owned());
        let words = std::iter::once(self.program.as_os_str()).chain(self.arguments.iter().map(|word| word.as_os_str()));
        // A handoff as a whole would hide the rest of the line.
        let short = |word: &str| match word.split_once('\n') {
            Some((first, _)) => format!("{first} ..."),
            None => word.to_owned(),
        };
        row("start", words.map(|word| quoted(&short(&word.to_string_lossy()))).collect::<Vec<_>>().join(" "));
        for notice in &self.notices {
            let _ = writeln!(text, "  note: {notice}");
        }
        text.push_str("nothing was done");
        text
    }

    fn worktree(&self) -> String {
        match &self.work {
            Work::Checkout => "none: the checkout itself".to_owned(),
            Work::Worktree { branch } => {
                let folder = crate::worktree::folder(&self.checkout, "x");
                let folder = folder.parent().unwrap_or(&folder).display().to_string();
                match branch {
                    Some(branch) => format!("the one on {branch}, else a new one below {folder}"),
                    None => format!("a new one below {folder}, on a new branch"),
                }
            }
        }
    }
}

fn source(source: &Source) -> String {
    let from = match &source.provider {
        Provider::Infisical { login: Login::Interactive } => "infisical".to_owned(),
        Provider::Infisical { login: Login::UniversalAuth } => "infisical with Universal Auth".to_owned(),
        // Its arguments are the user's own and may name accounts; the program says enough.
        Provider::Command { argv } => format!("the command {}", argv.first().map_or("", String::as_str)),
        Provider::Env { names } => return format!("the environment: {}", names.join(", ")),
    };
    format!("{from}, path {}, {}", source.path, source.env.name())
}

/// Quotes a word as a shell would need it, so that the line can be typed.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let safe: String = word.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", safe.replace('\'', "'\\''"))
}
