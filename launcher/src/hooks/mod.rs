//! The events of agent CLIs: what each sends on stdin, and exactly what each accepts on stdout.
//!
//! Pure. Reading, asking the daemon and the spool are the command's, which ends with 0 whatever happens.

mod answer;
mod offer;
mod outcome;
mod patch;
mod read;
#[cfg(test)]
mod tests;

use ctxnode_api::hooks::Moment;
use ctxnode_model::rules::secrets::redact;
use ctxnode_model::rules::text::{chars, cut};

pub use answer::answer;
pub use offer::{command, offer};
pub use read::request;

/// The tools of Claude Code and Codex that write files.
pub const TOOLS_THAT_EDIT: &str = "Edit|Write|MultiEdit|NotebookEdit|apply_patch";

/// The most characters of a message that are kept.
pub const TEXT_CHARS: usize = 2_000;
/// The most paths of one edit that are looked up.
pub const MOST_PATHS: usize = 50;

/// An event by the word that stands in hook definitions. These words never change: a changed definition makes a CLI ask
/// for trust again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `session-start`
    SessionStart,
    /// `prompt`
    Prompt,
    /// `before-tool`
    BeforeTool,
    /// `after-tool`
    AfterTool,
    /// `tool-failed`, where a CLI tells of that by an event of its own
    ToolFailed,
    /// `stop`
    Stop,
    /// `turn-end`
    TurnEnd,
    /// `failed`
    Failed,
    /// `before-compact`
    BeforeCompact,
    /// `after-compact`
    AfterCompact,
    /// `session-end`
    SessionEnd,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SessionStart,
        Self::Prompt,
        Self::BeforeTool,
        Self::AfterTool,
        Self::ToolFailed,
        Self::Stop,
        Self::TurnEnd,
        Self::Failed,
        Self::BeforeCompact,
        Self::AfterCompact,
        Self::SessionEnd,
    ];

    /// Returns its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SessionStart => "session-start",
            Self::Prompt => "prompt",
            Self::BeforeTool => "before-tool",
            Self::AfterTool => "after-tool",
            Self::ToolFailed => "tool-failed",
            Self::Stop => "stop",
            Self::TurnEnd => "turn-end",
            Self::Failed => "failed",
            Self::BeforeCompact => "before-compact",
            Self::AfterCompact => "after-compact",
            Self::SessionEnd => "session-end",
        }
    }

    /// Finds an event by its word.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Returns what happened.
    #[must_use]
    pub fn moment(self) -> Moment {
        match self {
            Self::SessionStart => Moment::SessionStart,
            Self::Prompt => Moment::Prompt,
            Self::BeforeTool => Moment::BeforeTool,
            Self::AfterTool | Self::ToolFailed => Moment::AfterTool,
            Self::Stop | Self::TurnEnd => Moment::TurnEnd,
            Self::Failed => Moment::TurnFailed,
            Self::BeforeCompact => Moment::BeforeCompact,
            Self::AfterCompact => Moment::AfterCompact,
            Self::SessionEnd => Moment::SessionEnd,
        }
    }
}

/// How much of a text is searched for secrets at first; a message is shorter.
const SEARCHED: usize = 64 << 10;
/// The longest secret that is known by its form: a private key of 16,384 bits has some 13,000 characters.
const LONGEST_SECRET: usize = 16 << 10;

/// Returns the beginning of a text without what looks like a secret. Redaction comes before the cut, since half a secret
/// does not look like one; and it does not read megabytes for two thousand characters.
fn clean(text: &str, most: usize) -> String {
    let mut searched = SEARCHED;
    loop {
        let part = cut(text, searched);
        let clean = redact(part);
        // A secret that this first cut has halved lies behind what is kept.
        if part.len() == text.len() || chars(&clean) >= most + LONGEST_SECRET {
            return cut(&clean, most).to_owned();
        }
        searched = searched.saturating_mul(2);
    }
}
