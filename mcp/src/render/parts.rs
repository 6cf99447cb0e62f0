//! The parts of a start's text, each within a number of characters.

use ctxnode_api::claims::ClaimView;
use ctxnode_api::handoffs::{HandoffRow, HandoffView};
use ctxnode_api::notes::InjectedNote;
use ctxnode_api::operations::PlanReply;
use ctxnode_api::sessions::{DocLine, SessionRow, SodReply, StartState, StartStatus};
use ctxnode_model::record::{ClaimKind, HandoffStatus};
use ctxnode_model::rules::text::{chars, cut};

use super::Form;
use super::lines::{Rows, line, lines_within};

/// Titles and reasons inside the frame.
const FRAME_VALUE: usize = 60;
/// How many failed parts are named; there are fewer parts than this.
const FAILED_PARTS: usize = 12;
/// One line of any list.
const ROW: usize = 160;
/// One line of the last handoff.
const HANDOFF_LINE: usize = 400;
const OPEN_ROWS: usize = 10;
const ACTIVE_ROWS: usize = 10;
const LAST_SEEN_ROWS: usize = 5;
const CLAIM_ROWS: usize = 5;
const DOC_ROWS: usize = 30;
const NOTES: usize = 10;
/// A note's heading line; its title gets what id and age leave.
const NOTE_HEADING: usize = 120;
/// What a note's heading says about fields in conflict; the tool `notes` shows the values.
const CONFLICT_FIELDS: usize = 40;
/// A note is only cut when at least this many characters of it remain; less is not worth reading.
const NOTE_LEAST: usize = 500;

/// What the text ends with.
pub(super) fn closing(form: Form) -> &'static str {
    match form {
        Form::Tool => {
            "\nAsk the human: \"What would you like to focus on?\" Then wait for the answer. A task that the human has \
             already given counts as the answer."
        }
        Form::Hook => {
            "\nThe session begins with the question \"What would you like to focus on?\". A task that the human has \
             already given counts as the answer."
        }
    }
}

/// The box, and what could not be loaded.
pub(super) fn frame(reply: &SodReply) -> String {
    let session = reply.session.as_ref();
    let code = session.map_or("", |session| session.venture.as_str());
    let venture = reply.venture.as_ref().map_or_else(
        || line(code, FRAME_VALUE),
        |venture| format!("{} ({})", line(&venture.name, FRAME_VALUE), line(&venture.code, FRAME_VALUE)),
    );
    let status = match reply.status {
        Some(StartStatus::Created) => "created",
        Some(StartStatus::Resumed) => "resumed",
        None => "active",
    };
    let value = |text: Option<&str>| line(text.unwrap_or("-"), FRAME_VALUE);
    let mut rows = vec![
        format!("VENTURE: {venture}"),
        format!("REPO:    {}", value(session.map(|session| session.repo.as_str()))),
        format!("BRANCH:  {}", value(session.and_then(|session| session.branch.as_deref()))),
    ];
    let work = session.map(work).unwrap_or_default();
    if !work.is_empty() {
        rows.push(format!("WORK:    {work}"));
    }
    rows.push(format!("SESSION: {}  ({status})", value(session.map(|session| session.id.as_str()))));
    let failed = failed(reply);
    if failed.is_empty() { boxed(&rows) } else { format!("{}\n{failed}", boxed(&rows)) }
}

fn work(session: &ctxnode_api::sessions::SessionView) -> String {
    let issue = session.issue.map(|issue| format!("issue {issue}"));
    let track = session.track.map(|track| format!("track {track}"));
    issue.into_iter().chain(track).collect::<Vec<_>>().join(", ")
}

fn boxed(rows: &[String]) -> String {
    let width = rows.iter().map(|row| chars(row)).max().unwrap_or(0).max(44);
    let bar = "─".repeat(width + 2);
    let lines = rows.iter().map(|row| format!("│ {row}{} │\n", " ".repeat(width - chars(row))));
    format!("┌{bar}┐\n{}└{bar}┘", lines.collect::<String>())
}

fn failed(reply: &SodReply) -> String {
    let named = reply.failed_parts.iter().take(FAILED_PARTS);
    let named = named.map(|part| format!("{} ({})", line(&part.part, FRAME_VALUE), line(&part.reason, FRAME_VALUE)));
    let named: Vec<String> = named.collect();
    match reply.failed_parts.len().saturating_sub(FAILED_PARTS) {
        _ if named.is_empty() => String::new(),
        0 => format!("Not loaded: {}", named.join("; ")),
        rest => format!("Not loaded: {}; {rest} more", named.join("; ")),
    }
}

/// What the agent should be careful about.
pub(super) fn warnings(reply: &SodReply, cap: usize) -> String {
    if reply.warnings.is_empty() {
        return String::new();
    }
    let rows = reply.warnings.iter().map(|text| format!("- {}", line(text, ROW))).collect();
    let total = reply.warnings.len() as u64;
    Rows { heading: "Warnings", besides: "", rows, total, more: "tool `context`" }.within(cap)
}

/// The newest handoff.
pub(super) fn last_handoff(reply: &SodReply, cap: usize) -> String {
    let Some(handoff) = &reply.last_handoff else { return String::new() };
    let row = &handoff.row;
    let commits = reply
        .commits_since
        .map(|count| format!(", {count} {} since", if count == 1 { "commit" } else { "commits" }))
        .unwrap_or_default();
    let branch = row.branch.as_deref().map(|branch| format!(", branch {}", line(branch, 60))).unwrap_or_default();
    let marks = [(row.for_you, ", for you"), (row.drafted, ", drafted by a machine")];
    let marks: String = marks.iter().filter(|(holds, _)| *holds).map(|(_, text)| *text).collect();
    let mut lines = vec![
        format!("### Last Handoff {} ({})", row.id, since(&row.age, "old")),
        format!("From: {}, {}{marks}{branch}{commits}", line(&row.from_agent, 63), status(row.status)),
    ];
    lines.push(format!("Summary: {}", line(&row.summary, (cap / 3).min(1_000))));
    lines.extend(list("Next steps", &handoff.next_steps));
    lines.extend(list("Blocked", &handoff.blocked));
    lines.extend(list("In progress", &handoff.in_progress));
    lines.extend(seen(handoff));
    lines_within(&lines, cap, &format!("`ctxnode handoff show {}`", row.id))
}

fn status(status: HandoffStatus) -> &'static str {
    match status {
        HandoffStatus::InProgress => "in progress",
        HandoffStatus::Blocked => "blocked",
        HandoffStatus::Done => "done",
    }
}

fn list(heading: &str, items: &[String]) -> Vec<String> {
    let numbered = items.iter().enumerate().map(|(at, item)| format!("{}. {}", at + 1, line(item, HANDOFF_LINE)));
    let heading = (!items.is_empty()).then(|| format!("{heading}:"));
    heading.into_iter().chain(numbered).collect()
}

fn seen(handoff: &HandoffView) -> Option<String> {
    let seen = handoff.observed.as_ref()?;
    let requests = seen.open_prs.map(|count| format!(", {count} open pull requests")).unwrap_or_default();
    let (files, commits) = (seen.dirty_files, seen.unpushed_commits);
    Some(format!("Checkout at that time: {files} changed files, {commits} unpushed commits{requests}"))
}

/// The other open handoffs.
pub(super) fn open_handoffs(reply: &SodReply, cap: usize) -> String {
    let section = &reply.open_handoffs;
    if section.total == 0 {
        return String::new();
    }
    let rows = section.items.iter().take(OPEN_ROWS).map(handoff_row).collect();
    let more = "tool `search` with kinds [handoff], `ctxnode handoff list`";
    Rows { heading: "Open Handoffs", besides: "", rows, total: section.total, more }.within(cap)
}

fn handoff_row(row: &HandoffRow) -> String {
    let issue = row.issue.map(|issue| format!(" #{issue}")).unwrap_or_default();
    let from = line(&row.from_agent, 40);
    let head = format!("- {} {}{issue}, {from}, {}: ", row.id, status(row.status), since(&row.age, "old"));
    let left = ROW.saturating_sub(chars(&head)).max(20);
    format!("{head}{}", line(&row.summary, left))
}

/// The weekly plan.
pub(super) fn plan(reply: &SodReply, cap: usize) -> String {
    let Some(plan) = &reply.plan else { return String::new() };
    let text = plan_line(plan);
    let heading = "### Weekly Plan ";
    format!("{heading}{}", line(&text, cap.saturating_sub(chars(heading)).max(60)))
}

fn plan_line(plan: &PlanReply) -> String {
    let age =
        plan.age.as_deref().filter(|age| !plan.display.contains(age)).map(|age| format!("({}) ", since(age, "old")));
    format!("{}{}", age.unwrap_or_default(), if plan.display.is_empty() { &plan.state } else { &plan.display })
}

/// Other sessions: those that are alive, then those on machines that cannot be reached.
pub(super) fn sessions(reply: &SodReply, cap: usize) -> String {
    let of = |heading, items: &[SessionRow], limit, total| Rows {
        heading,
        besides: "",
        rows: items.iter().take(limit).map(session_row).collect(),
        total,
        more: "`ctxnode session list`",
    };
    let active = of("Other Active Sessions", &reply.active.items, ACTIVE_ROWS, reply.active.total);
    let seen = of("Last seen", &reply.last_seen.items, LAST_SEEN_ROWS, reply.last_seen.total);
    match (reply.active.total, reply.last_seen.total) {
        (0, 0) => String::new(),
        (_, 0) => active.within(cap),
        (0, _) => seen.within(cap),
        _ => {
            let first = active.within(cap * 2 / 3);
            let second = seen.within(cap.saturating_sub(chars(&first) + 1));
            format!("{first}\n{second}")
        }
    }
}

fn session_row(row: &SessionRow) -> String {
    let branch = row.branch.clone();
    let issue = row.issue.map(|issue| format!("Issue #{issue}"));
    let track = row.track.map(|track| format!("track {track}"));
    let work: Vec<String> = branch.into_iter().chain(issue).chain(track).collect();
    let work = if work.is_empty() { String::new() } else { format!(" ({})", work.join(", ")) };
    let active = since(&row.age, "ago");
    line(&format!("- {} on {}{work}, active {active}, {}", row.agent, row.repo, row.id), ROW)
}

/// Says an age in a sentence: `3 h old`, `5 min ago`, and `just now` as it is.
fn since(age: &str, word: &str) -> String {
    if age.starts_with("just now") { age.to_owned() } else { format!("{age} {word}") }
}

/// What others hold.
pub(super) fn claims(reply: &SodReply, cap: usize) -> String {
    if reply.claims.total == 0 {
        return String::new();
    }
    let rows = reply.claims.items.iter().take(CLAIM_ROWS).map(claim_row).collect();
    let more = "tool `claim` with action list";
    Rows { heading: "Claims", besides: "", rows, total: reply.claims.total, more }.within(cap)
}

fn claim_row(claim: &ClaimView) -> String {
    let kind = match claim.kind {
        ClaimKind::Issue => "issue",
        ClaimKind::Branch => "branch",
        ClaimKind::Path => "path",
    };
    let held = format!("- {kind} {} by {}, {}", line(&claim.key, 60), line(&claim.agent, 63), since(&claim.age, "old"));
    line(&held, ROW)
}

/// Notes tagged for the start: whole in their order, then one that is cut, then a count.
pub(super) fn notes(reply: &SodReply, cap: usize) -> String {
    let section = &reply.notes;
    if section.total == 0 {
        return String::new();
    }
    let heading = |shown: usize| format!("### Enterprise Context ({shown} of {} notes)", section.total);
    let tail = |rest: u64| format!("\n{rest} more: tool `notes`");
    let mut room = cap.saturating_sub(chars(&heading(NOTES)) + chars(&tail(section.total)));
    let (mut texts, mut ended) = (Vec::new(), false);
    for note in section.items.iter().take(NOTES) {
        let Some((text, whole)) = note_within(note, room).filter(|_| !ended) else { break };
        room = room.saturating_sub(chars(&text));
        texts.push(text);
        ended = !whole;
    }
    let rest = section.total.saturating_sub(texts.len() as u64);
    let tail = if rest == 0 { String::new() } else { tail(rest) };
    format!("{}{}{tail}", heading(texts.len()), texts.concat())
}

/// Returns a note that fits, and whether it is whole.
fn note_within(note: &InjectedNote, room: usize) -> Option<(String, bool)> {
    let old = if note.old { ", old" } else { "" };
    let conflict = match note.conflicts.as_slice() {
        [] => String::new(),
        fields => line(&format!(", CONFLICT in {}", fields.join(", ")), CONFLICT_FIELDS),
    };
    let facts = format!(" ({}, {}{old}{conflict})", note.id, note.age);
    let title = line(&note.title, NOTE_HEADING.saturating_sub(chars(&facts) + 5));
    let heading = format!("\n#### {title}{facts}\n");
    let notice = format!("\n[cut; read note {} with tool `notes`]", note.id);
    let body = note.content.trim_end();
    if !note.is_cut() && chars(&heading) + chars(body) <= room {
        return Some((format!("{heading}{body}"), true));
    }
    let left = room.checked_sub(chars(&heading) + chars(&notice)).filter(|left| *left >= NOTE_LEAST)?;
    Some((format!("{heading}{}{notice}", cut(body, left)), false))
}

/// The docs that exist.
pub(super) fn docs(reply: &SodReply, cap: usize, form: Form) -> String {
    let docs = &reply.docs;
    let counts = [(docs.missing.len(), "missing"), (docs.stale.len(), "stale")];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    if docs.total == 0 && counts.is_empty() {
        return String::new();
    }
    if form == Form::Hook {
        let counts = if counts.is_empty() { counts } else { format!(", {counts}") };
        return format!("### Docs: {}{counts}. Tool `doc` reads one.", docs.total);
    }
    let besides = if counts.is_empty() { counts } else { format!("; {counts}") };
    let mut rows: Vec<String> = docs.missing.iter().map(|name| format!("- missing: {}", line(name, 80))).collect();
    rows.truncate(5);
    let missing = rows.len();
    rows.extend(docs.items.iter().take(DOC_ROWS).map(|doc| doc_row(doc, docs.stale.contains(&doc.name))));
    let more = "`ctxnode doc list`, tool `search` with kinds [doc]";
    DocRows { rows, missing, total: docs.total, besides: &besides, more }.within(cap)
}

/// Doc rows after those of missing docs, which do not count as shown.
struct DocRows<'a> {
    rows: Vec<String>,
    missing: usize,
    total: u64,
    besides: &'a str,
    more: &'a str,
}

impl DocRows<'_> {
    fn within(&self, cap: usize) -> String {
        let lead: String = self.rows[..self.missing].iter().map(|row| format!("\n{row}")).collect();
        let docs = self.rows[self.missing..].to_vec();
        let list = Rows { heading: "Docs", besides: self.besides, rows: docs, total: self.total, more: self.more };
        let with_lead = cap.checked_sub(chars(&lead)).filter(|room| *room >= chars(&lead));
        match with_lead {
            Some(room) => format!("{}{lead}", list.within(room)),
            None => list.within(cap),
        }
    }
}

fn doc_row(doc: &DocLine, stale: bool) -> String {
    let facts =
        format!(", {} KB, {}{}", doc.size.div_ceil(1024), since(&doc.age, "old"), if stale { ", stale" } else { "" });
    let name = line(&format!("- {}/{} {}", doc.scope, doc.name, doc.title), ROW.saturating_sub(chars(&facts)));
    format!("{name}{facts}")
}

/// The text of a start that made no session.
pub(super) fn not_started(reply: &SodReply) -> String {
    const VENTURES: usize = 50;
    let message = reply.message.as_deref().map(|message| line(message, 1_000));
    let mut lines = vec![match reply.state {
        StartState::Valid => "A session is active.".to_owned(),
        StartState::NeedsNavigation => "No session: the checkout of this venture is elsewhere.".to_owned(),
        StartState::NeedsClone => "No session: this venture has no checkout on this machine.".to_owned(),
        StartState::SelectVenture => "No session: the venture cannot be told from the directory.".to_owned(),
    }];
    lines.extend(message);
    lines.extend(reply.path.as_deref().map(|path| format!("Work in: {}", line(path, 1_000))));
    lines.extend(reply.command.as_deref().map(|command| format!("Clone with: {}", line(command, 1_000))));
    if !reply.candidates.is_empty() {
        let rows = reply
            .candidates
            .iter()
            .take(VENTURES)
            .map(|venture| format!("- {}: {}", line(&venture.code, FRAME_VALUE), line(&venture.name, FRAME_VALUE)));
        let total = reply.candidates.len() as u64;
        let rows = rows.collect();
        lines.push(Rows { heading: "Ventures", besides: "", rows, total, more: "tool `ventures`" }.within(4_000));
        lines.push("Call tool `sod` again with `venture`.".to_owned());
    }
    let failed = failed(reply);
    lines.extend((!failed.is_empty()).then_some(failed));
    lines.join("\n")
}
