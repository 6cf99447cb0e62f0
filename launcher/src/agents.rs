//! The agent CLIs that ctxnode knows: names, programs, and how each is installed.
//!
//! Not here: their configuration files, which differ in everything.

use serde::{Serialize, Serializer};

/// An agent CLI. As JSON, its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agent {
    /// Claude Code.
    Claude,
    /// OpenAI Codex CLI.
    Codex,
    /// Google's Antigravity CLI.
    Antigravity,
    /// Gemini CLI.
    Gemini,
}

impl Agent {
    /// All of them; the first is the one that is meant when nobody says which.
    pub const ALL: [Self; 4] = [Self::Claude, Self::Codex, Self::Antigravity, Self::Gemini];

    /// Returns the name that flags, settings and the hook command use; also the program's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Antigravity => "agy",
            Self::Gemini => "gemini",
        }
    }

    /// Returns the name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
            Self::Antigravity => "Antigravity",
            Self::Gemini => "Gemini CLI",
        }
    }

    /// Returns the command that installs it.
    #[must_use]
    pub fn install_hint(self) -> &'static str {
        match self {
            Self::Claude => "npm install -g @anthropic-ai/claude-code",
            Self::Codex => "npm install -g @openai/codex",
            Self::Antigravity => "curl -fsSL https://antigravity.google/cli/install.sh | bash",
            Self::Gemini => "npm install -g @google/gemini-cli",
        }
    }

    /// Finds an agent by its name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|agent| agent.name() == name)
    }
}

impl Serialize for Agent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for agent in Agent::ALL {
            assert_eq!(Agent::of_name(agent.name()), Some(agent));
        }
        assert_eq!(Agent::of_name("Claude"), None);
    }
}
