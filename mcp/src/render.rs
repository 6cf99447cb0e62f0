//! The text that a session starts with, from the reply of the start: one form for the tool, a shorter one for hooks.
//!
//! Pure: no clock, no calls. Every injected text shows its age, what does not fit is counted together with the tool or
//! command that shows it, and the frame, the parts that failed and the closing line are never cut.

mod lines;
mod parts;
#[cfg(test)]
mod tests;

use ctxnode_api::sessions::{SodReply, StartState};
use ctxnode_model::rules::text::chars;

/// The most characters of the tool's text.
pub const TOOL_CHARS: usize = 20_000;
/// The most characters of all hooks of one start together: the smallest cap of the agent CLIs is 10,000.
pub const HOOK_CHARS: usize = 9_000;
/// The most tokens of all hooks of one start together, estimated as bytes / 3.
pub const HOOK_TOKENS: usize = 2_300;
/// The most characters that are injected again after a compaction.
pub const AGAIN_CHARS: usize = 2_000;
/// Sections that yield, first to last, when the whole is too long although each part kept its cap.
const YIELDING: [Part; 8] =
    [Part::Notes, Part::Docs, Part::Open, Part::Sessions, Part::Claims, Part::Warnings, Part::Last, Part::Plan];

/// A part of the text that may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Warnings,
    Last,
    Open,
    Plan,
    Sessions,
    Claims,
    Notes,
    Docs,
}

/// In the order of the text.
const ORDER: [Part; 8] =
    [Part::Warnings, Part::Last, Part::Open, Part::Plan, Part::Sessions, Part::Claims, Part::Notes, Part::Docs];

/// For whom the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The agent asked for it: it may be told what to do.
    Tool,
    /// It is injected: it states facts.
    Hook,
}

/// The most characters of each part.
#[derive(Clone, Copy, Debug)]
struct Caps {
    /// Frame, failed parts, closing line, warnings and claims together.
    frame: usize,
    last: usize,
    open: usize,
    plan: usize,
    sessions: usize,
    notes: usize,
    docs: usize,
}

// The issue lists have 900 and 600 characters of their own in the whole; until they are part of the reply the doc index
// of the tool uses that room.
const TOOL_CAPS: Caps =
    Caps { frame: 1_800, last: 2_400, open: 1_000, plan: 200, sessions: 900, notes: 12_000, docs: 800 };
const HOOK_CAPS: Caps =
    Caps { frame: 1_250, last: 1_500, open: 500, plan: 150, sessions: 600, notes: 2_000, docs: 200 };

/// How long the whole may be.
#[derive(Clone, Copy, Debug)]
struct Limit {
    chars: usize,
    tokens: Option<usize>,
}

impl Limit {
    fn allows(self, text: &str) -> bool {
        chars(text) <= self.chars && self.tokens.is_none_or(|most| tokens(text) <= most)
    }
}

/// Estimates tokens as bytes / 3, rounded up, which no tokenizer of the supported CLIs exceeds for long.
#[must_use]
pub fn tokens(text: &str) -> usize {
    text.len().div_ceil(3)
}

/// Returns the text of the `sod` tool.
#[must_use]
pub fn tool(reply: &SodReply) -> String {
    tool_within(reply, TOOL_CHARS)
}

/// Returns the text of the `sod` tool in at most `max` characters; only the frame, failed parts and closing line may
/// exceed it.
#[must_use]
pub fn tool_within(reply: &SodReply, max: usize) -> String {
    render(reply, Form::Tool, TOOL_CAPS, Limit { chars: max.min(TOOL_CHARS), tokens: None })
}

/// Returns the text that the session-start hook injects.
#[must_use]
pub fn hook(reply: &SodReply) -> String {
    render(reply, Form::Hook, HOOK_CAPS, Limit { chars: HOOK_CHARS, tokens: Some(HOOK_TOKENS) })
}

/// Returns the text that is injected again after a conversation was compacted: where the agent stands and what others
/// hold. The rest was there at the start, and its summary is in the conversation.
#[must_use]
pub fn hook_again(reply: &SodReply) -> String {
    let short = SodReply {
        state: reply.state,
        status: reply.status,
        message: reply.message.clone(),
        session: reply.session.clone(),
        venture: reply.venture.clone(),
        warnings: reply.warnings.clone(),
        claims: reply.claims.clone(),
        ..SodReply::default()
    };
    let limit = Limit { chars: AGAIN_CHARS, tokens: Some(HOOK_TOKENS) };
    render(&short, Form::Hook, HOOK_CAPS, limit)
}

fn render(reply: &SodReply, form: Form, caps: Caps, limit: Limit) -> String {
    if reply.state != StartState::Valid {
        return parts::not_started(reply);
    }
    let mut draft = Draft::of(reply, form, caps, limit);
    for part in YIELDING {
        while !limit.allows(&draft.text()) && draft.shorten(part) {}
    }
    draft.text()
}

/// The parts as they are now.
struct Draft<'a> {
    reply: &'a SodReply,
    form: Form,
    frame: String,
    closing: &'static str,
    parts: Vec<(Part, String)>,
}

impl<'a> Draft<'a> {
    fn of(reply: &'a SodReply, form: Form, caps: Caps, limit: Limit) -> Self {
        let frame = parts::frame(reply);
        let closing = parts::closing(form);
        let mut draft = Self { reply, form, frame, closing, parts: Vec::new() };
        let shared = caps.frame.saturating_sub(chars(&draft.frame) + chars(closing));
        for part in ORDER {
            let cap = match part {
                Part::Warnings => shared / 2,
                Part::Claims => shared - draft.length(Part::Warnings).min(shared),
                Part::Last => caps.last,
                Part::Open => caps.open,
                Part::Plan => caps.plan,
                Part::Sessions => caps.sessions,
                Part::Notes => caps.notes,
                // Room that the other parts left unused goes to the doc index, never to the notes.
                Part::Docs if form == Form::Tool => caps.docs.max(limit.chars.saturating_sub(chars(&draft.text()) + 1)),
                Part::Docs => caps.docs,
            };
            let text = draft.render(part, cap);
            draft.parts.push((part, text));
        }
        draft
    }

    fn render(&self, part: Part, cap: usize) -> String {
        match part {
            Part::Warnings => parts::warnings(self.reply, cap),
            Part::Last => parts::last_handoff(self.reply, cap),
            Part::Open => parts::open_handoffs(self.reply, cap),
            Part::Plan => parts::plan(self.reply, cap),
            Part::Sessions => parts::sessions(self.reply, cap),
            Part::Claims => parts::claims(self.reply, cap),
            Part::Notes => parts::notes(self.reply, cap),
            Part::Docs => parts::docs(self.reply, cap, self.form),
        }
    }

    fn length(&self, part: Part) -> usize {
        self.parts.iter().find(|(other, _)| *other == part).map_or(0, |(_, text)| chars(text))
    }

    /// Renders a part in three quarters of its length; false when it does not get shorter any more.
    fn shorten(&mut self, part: Part) -> bool {
        let length = self.length(part);
        let shorter = self.render(part, length * 3 / 4);
        let smaller = chars(&shorter) < length;
        if smaller && let Some((_, text)) = self.parts.iter_mut().find(|(other, _)| *other == part) {
            *text = shorter;
        }
        smaller
    }

    fn text(&self) -> String {
        let parts = self.parts.iter().map(|(_, text)| text.as_str());
        let all = std::iter::once(self.frame.as_str()).chain(parts).chain([self.closing]);
        all.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }
}
