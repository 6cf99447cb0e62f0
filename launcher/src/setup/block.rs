//! The instructions that agents read: a few lines where hooks do the rest, all of it where a CLI has none.

/// For a CLI whose hooks inject the start.
pub(super) const WITH_HOOKS: &str = "## ctxnode

This repository uses ctxnode for continuity between sessions. Its context (last handoff, claims, notes, other sessions)
is added at the start of a session. The MCP server `ctxnode` has the tools: `sod` shows the context again, `search` and
`notes` find what the team knows, `claim` says what you work on, `handoff` leaves the state to the next session. Notes
are written only when a human asks for it.";

/// For everybody, also where no hook runs.
pub(super) const FULL: &str = "## ctxnode

This repository uses ctxnode for continuity between sessions. The MCP server `ctxnode` has the tools.

- At the start of a session: call `sod` unless its context is already there, show what it says, and wait for the human.
- Before work on an issue, a branch or a set of paths: `claim` it; a warning names who else works there.
- To find what the team knows: `search`, `notes`, `doc`. A note is written only when a human asks for it.
- When blocked: `update` with `blocked_on`, or with `escalate` when a human must act.
- At the end of a session, and before context runs out: `handoff` with what was accomplished, what is in progress, what
  is blocked and the next steps. The human confirms once.";

/// What makes Claude Code read `AGENTS.md`.
pub(super) const IMPORT: &str = "@AGENTS.md";
