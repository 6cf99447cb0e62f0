//! What an agent is told between its own calls, each line once: handoffs for it, work that is blocked, clashing claims,
//! shared branches, and edits of others in files that it touched.
//!
//! A hook that gave up before the answer came printed nothing, and leaves its event on disk. When that event comes from there,
//! what was told to it is taken back.

use std::collections::{BTreeSet, VecDeque};

use ctxnode_api::hooks::{HookReply, HookRequest};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Handoff, HandoffStatus, Session};
use ctxnode_model::rules::claim::{beaten_by, rivals};
use ctxnode_model::rules::handoff::{Addressee, is_for};
use ctxnode_model::rules::limits::BLOCKED_MS;
use ctxnode_model::rules::repo::same_repo;
use ctxnode_model::rules::text::{chars, ellipsis};
use ctxnode_model::{DocumentId, Kind, Rec, Timestamp};
use ctxnode_store::{LocalTable, Reader};
use serde::{Deserialize, Serialize};

use super::super::{claims, start};
use super::{event_name, own_id};
use crate::app::{App, Cx};
use crate::failure::Failure;

/// The most characters of one answer.
const MOST_CHARS: usize = 600;
/// The most characters of one line.
const LINE_CHARS: usize = 200;
/// Open handoffs that are looked at: the newest hold what is new.
const HANDOFFS: usize = 50;
/// Lines that are remembered as told, and that wait; far more than a session ever gets.
const REMEMBERED: usize = 400;
const WAITING: usize = 50;

/// Around the moment in which a hook gave up its event was answered: the hook waits for less than a second, and the daemon may
/// be slower.
const BEFORE_MS: i64 = 5_000;
const AFTER_MS: i64 = 60_000;

/// A line, and what makes it the same line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) text: String,
}

/// A line that an event was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    key: String,
    /// The event, and when that was answered, in milliseconds.
    event: String,
    at: i64,
    /// The line, when nothing but this would say it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// The event for which something is told.
#[derive(Clone, Debug)]
struct Event {
    name: String,
    at: i64,
}

impl Event {
    fn of(cx: &Cx, input: &HookRequest) -> Self {
        Self { name: event_name(input), at: cx.now().0 }
    }
}

/// What a session was told, and what waits for it from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    /// When it was last changed, in milliseconds; old ones are purged by it.
    at: i64,
    said: VecDeque<Said>,
    waiting: Vec<Line>,
}

fn key(id: DocumentId) -> Vec<u8> {
    [b"told:".as_slice(), &id.to_bytes()].concat()
}

impl Told {
    fn of(reader: Reader<'_>, id: DocumentId) -> Result<Self, Failure> {
        let found = reader.local(LocalTable::Captures, &key(id))?;
        Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    fn has(&self, key: &str) -> bool {
        self.said.iter().any(|told| told.key == key)
    }

    fn tell(&mut self, event: &Event, key: &str, text: Option<&str>) {
        if !self.has(key) {
            let (event, at) = (event.name.clone(), event.at);
            self.said.push_back(Said { key: key.to_owned(), event, at, text: text.map(str::to_owned) });
        }
        while self.said.len() > REMEMBERED {
            self.said.pop_front();
        }
        self.waiting.retain(|line| line.key != key);
    }

    /// Takes back what was told to an event whose hook gave up at a time. An event without a name of its own is known by the
    /// time alone.
    fn take_back(&mut self, event: &str, named: bool, gave_up: i64) {
        let around = gave_up.saturating_sub(BEFORE_MS)..=gave_up.saturating_add(AFTER_MS);
        let (back, kept) = std::mem::take(&mut self.said)
            .into_iter()
            .partition(|said: &Said| said.event == event && (named || around.contains(&said.at)));
        self.said = kept;
        let back: VecDeque<Said> = back;
        let lines = back.into_iter().filter_map(|said| Some(Line { key: said.key, text: said.text? }));
        self.waiting.extend(lines.take(WAITING.saturating_sub(self.waiting.len())).collect::<Vec<_>>());
    }

    fn has_for(&self, event: &str) -> bool {
        self.said.iter().any(|said| said.event == event)
    }
}

async fn change(cx: &Cx, id: DocumentId, change: impl Fn(&mut Told) + Send + 'static) -> Result<(), Failure> {
    let done = cx.app.store.write(move |draft| {
        let mut told = Told::of(draft.reader(), id)?;
        change(&mut told);
        told.at = draft.now().0;
        draft.put_local(LocalTable::Captures, key(id), serde_json::to_vec(&told).unwrap_or_default());
        Ok::<(), Failure>(())
    });
    done.await?;
    Ok(())
}

/// Adds what is new to an answer, and remembers it as told.
pub(super) async fn add(
    cx: &Cx,
    session: &Rec<Session>,
    input: &HookRequest,
    reply: &mut HookReply,
) -> Result<(), Failure> {
    let (end, waited, fresh) = {
        let snapshot = cx.read()?;
        let reader = snapshot.reader();
        let end = reader.journal_end()?;
        let told = Told::of(reader, session.id)?;
        let looked = cx.app.hooks.with(|memory| memory.looked.get(&session.id).copied());
        // This alone comes with time, and not with a change.
        let overdue = overdue(session, cx.now()).filter(|line| !told.has(&line.key));
        if looked == Some(end) && told.waiting.is_empty() && overdue.is_none() {
            return Ok(());
        }
        let mut lines = told.waiting.clone();
        let waited: BTreeSet<String> = lines.iter().map(|line| line.key.clone()).collect();
        lines.extend(overdue);
        lines.extend(present(reader, &cx.app, session)?);
        lines.retain(|line| !told.has(&line.key));
        (end, waited, lines)
    };
    let mut left = MOST_CHARS.saturating_sub(reply.context.as_deref().map_or(0, |text| chars(text) + 1));
    let mut said: Vec<Line> = Vec::new();
    let mut all = true;
    for line in fresh {
        let text = ellipsis(&line.text.split_whitespace().collect::<Vec<_>>().join(" "), LINE_CHARS);
        if chars(&text) + 1 > left {
            all = false;
            continue;
        }
        left -= chars(&text) + 1;
        said.push(Line { text, ..line });
    }
    if all {
        cx.app.hooks.with(|memory| memory.looked.put(session.id, end));
    }
    if said.is_empty() {
        return Ok(());
    }
    let texts = reply.context.iter().cloned().chain(said.iter().map(|line| line.text.clone()));
    reply.context = Some(texts.collect::<Vec<_>>().join("\n"));
    let event = Event::of(cx, input);
    change(cx, session.id, move |told| {
        for line in &said {
            told.tell(&event, &line.key, waited.contains(&line.key).then_some(&line.text));
        }
    })
    .await
}

/// Takes back what was told to an event that comes from the disk: its hook did not print the answer.
pub(super) async fn take_back(cx: &Cx, session: &Rec<Session>, input: &HookRequest) -> Result<(), Failure> {
    let Some(gave_up) = input.at.map(|at| at.0.0) else { return Ok(()) };
    let (event, named) = (event_name(input), input.turn.is_some());
    if !Told::of(cx.read()?.reader(), session.id)?.has_for(&event) {
        return Ok(());
    }
    change(cx, session.id, move |told| told.take_back(&event, named, gave_up)).await?;
    cx.app.hooks.with(|memory| memory.looked.pop(&session.id));
    Ok(())
}

/// Remembers a line as told that an answer has already, so that it comes again when the answer is not printed.
pub(super) async fn said(cx: &Cx, session: &Rec<Session>, input: &HookRequest, line: Line) -> Result<(), Failure> {
    let event = Event::of(cx, input);
    change(cx, session.id, move |told| told.tell(&event, &line.key, Some(&line.text))).await
}

/// Counts everything that is known now as told: the start text has just said it.
pub(super) async fn forget(cx: &Cx, session: &Rec<Session>, input: &HookRequest) -> Result<(), Failure> {
    let keys: Vec<String> = {
        let snapshot = cx.read()?;
        present(snapshot.reader(), &cx.app, session)?.into_iter().map(|line| line.key).collect()
    };
    if keys.is_empty() {
        return Ok(());
    }
    let event = Event::of(cx, input);
    change(cx, session.id, move |told| keys.iter().for_each(|key| told.tell(&event, key, None))).await
}

/// Keeps a line for another session, unless it was told or waits already.
pub(super) async fn leave(cx: &Cx, session: DocumentId, line: Line) -> Result<(), Failure> {
    let told = Told::of(cx.read()?.reader(), session)?;
    if told.has(&line.key) || told.waiting.iter().any(|waiting| waiting.key == line.key) {
        return Ok(());
    }
    change(cx, session, move |told| {
        let known = told.has(&line.key) || told.waiting.iter().any(|waiting| waiting.key == line.key);
        if !known && told.waiting.len() < WAITING {
            told.waiting.push(line.clone());
        }
    })
    .await
}

/// Returns those of some lines that a session was not told, and remembers them as told.
pub(super) async fn once(
    cx: &Cx,
    session: &Rec<Session>,
    input: &HookRequest,
    lines: Vec<Line>,
) -> Result<Vec<Line>, Failure> {
    let told = Told::of(cx.read()?.reader(), session.id)?;
    let fresh: Vec<Line> = lines.into_iter().filter(|line| !told.has(&line.key)).collect();
    if !fresh.is_empty() {
        let (event, lines) = (Event::of(cx, input), fresh.clone());
        let tell = move |told: &mut Told| lines.iter().for_each(|line| told.tell(&event, &line.key, Some(&line.text)));
        change(cx, session.id, tell).await?;
    }
    Ok(fresh)
}

/// G-11: a session that has been blocked on one problem for longer than the time-box allows.
fn overdue(session: &Session, now: Timestamp) -> Option<Line> {
    let (reason, since) = (session.blocked_on.as_ref()?, session.blocked_at?);
    let text = format!(
        "Blocked for more than 30 minutes on: {}. The team's rule: escalate, or work on something else.",
        ellipsis(reason, 80)
    );
    (now.since(since) > BLOCKED_MS).then(|| Line { key: format!("blocked {}", since.0), text })
}

/// Everything that a session could be told now.
fn present(reader: Reader<'_>, app: &App, session: &Rec<Session>) -> Result<Vec<Line>, Failure> {
    let now = app.now();
    let own = own_id(session);
    let mut lines = Vec::new();
    let me = Addressee { agent: &session.agent, machine: &session.machine, cli: session.cli.as_deref() };
    let open = reader.newest::<Handoff>(Index::HandoffOpen, Kind::Handoff, &[&session.venture], HANDOFFS)?;
    for handoff in open.iter().filter(|handoff| handoff.session_id != own) {
        let age = handoff.created_at.age(now);
        if is_for(handoff.to_agent.as_deref(), me) {
            let text =
                format!("Handoff for you, {age}: {} from {}: {}", handoff.id, handoff.from_agent, handoff.summary);
            lines.push(Line { key: handoff.id.to_string(), text });
        } else if handoff.status_label == HandoffStatus::Blocked
            && same_repo(&handoff.repo, &session.repo)
            && handoff.created_at >= session.created_at
        {
            let text =
                format!("Blocked in this repo, {age}: {} from {}: {}", handoff.id, handoff.from_agent, handoff.summary);
            lines.push(Line { key: handoff.id.to_string(), text });
        }
    }
    let all = claims::standing(reader, app, &session.venture, now)?;
    for claim in all.iter().filter(|claim| claim.session_id == own) {
        let first = beaten_by(claim, &all);
        for rival in rivals(claim, &all) {
            let kind = claims::kind_name(claim.claim_kind);
            let winner = first.map_or("you were first".to_owned(), |first| format!("{} was first", first.agent));
            let text = format!(
                "Claim conflict: {} on {} holds {kind} {} too, since {}; {winner}",
                rival.agent,
                rival.machine,
                claim.key,
                rival.taken_at.age(now)
            );
            lines.push(Line { key: format!("{kind} {} {}", claim.key, rival.session_id), text });
        }
    }
    let warnings = start::warnings(app, reader, session, now)?;
    // The words hold who and where, so that they name the warning too.
    lines.extend(warnings.into_iter().map(|text| Line { key: text.clone(), text: format!("Warning: {text}") }));
    let mut known = BTreeSet::new();
    lines.retain(|line| known.insert(line.key.clone()));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-07: what was told to an event whose hook gave up is news again, and what another one was told is not.
    #[test]
    fn c_07_what_was_not_printed_is_taken_back() {
        let mut told = Told::default();
        let event = |name: &str, at| Event { name: name.to_owned(), at };
        told.tell(&event("prompt 1", 1_000), "a", None);
        told.tell(&event("prompt 1", 1_000), "b", Some("from the disk"));
        told.tell(&event("prompt 2", 2_000), "c", None);
        told.take_back("prompt 1", true, 900_000);
        assert!(!told.has("a") && !told.has("b") && told.has("c"));
        assert_eq!(told.waiting, [Line { key: "b".into(), text: "from the disk".into() }]);
        // Without a name only what was told around that time.
        told.tell(&event("tool", 10_000), "d", None);
        told.tell(&event("tool", 900_000), "e", None);
        told.take_back("tool", false, 900_900);
        assert!(told.has("d") && !told.has("e"));
    }

    #[test]
    fn g_11_the_time_box_is_over_after_thirty_minutes_and_told_once_per_problem() {
        let mut session =
            Session { blocked_on: Some("the key".into()), blocked_at: Some(Timestamp(5)), ..Session::default() };
        assert_eq!(overdue(&session, Timestamp(5 + BLOCKED_MS)), None);
        let first = overdue(&session, Timestamp(6 + BLOCKED_MS)).unwrap();
        assert!(first.text.contains("the key"), "{first:?}");
        session.blocked_at = Some(Timestamp(7));
        assert_ne!(overdue(&session, Timestamp(8 + BLOCKED_MS)).unwrap().key, first.key);
        session.blocked_on = None;
        assert_eq!(overdue(&session, Timestamp(9 + BLOCKED_MS)), None);
    }
}
