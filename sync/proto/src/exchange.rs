//! The exchange between two connected peers, as a state machine without socket, clock or store.
//!
//! Each side says in its hello how all logs end that both may read, as one digest. Equal digests: there is nothing to
//! do, after one round trip. Otherwise both state their heads once, and from then on each sends what the other is not
//! known to have, in batches that are acknowledged when they are durable there. Catching up, live traffic and forwarding
//! are the same thing: own logs grew beyond what the peer has.
//!
//! The host carries out [`Output`]s and answers with [`Event`]s. Bytes come and go in order (one stream); when the stream
//! breaks, the exchange is thrown away and a new one starts from what was acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ctxnode_model::frontier::{Frontier, Head, Heads, LogId, Run};
use ctxnode_model::id::FleetId;
use ctxnode_model::{NodeKey, SpaceId, Spaces};

use crate::limits::{ACK_MS, BATCH_ENTRIES, HELLO_MS, MAX_LOGS, MAX_STATED, PROTOCOL, WINDOW};
use crate::message::{Bye, Entries, Hello, Message, code};
use crate::plan::next_batch;

mod lacks;
#[cfg(test)]
mod tests;

pub use lacks::Lacks;

/// How often a peer may refuse the same position of a log before it is left alone.
const REFUSALS: u8 = 2;
/// How often the histories of one log are compared whole in one exchange. A machine goes back once in a while.
const COMPARISONS: u8 = 8;

/// What this side says about itself.
#[derive(Clone, Debug)]
pub struct Me {
    /// The fleet.
    pub fleet: FleetId,
    /// The space of the control ops, which goes first: rights must be known before what they allow.
    pub fleet_space: SpaceId,
    /// Version and commit.
    pub software: String,
}

/// Where own logs end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnHeads {
    /// The heads.
    pub heads: Heads,
    /// How often a part of a log has become a branch here. Of two views with one layout the longer log is the newer.
    pub layout: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The stream is open; `clock_ms` is the wall clock.
    Start {
        /// Milliseconds since 1970.
        clock_ms: i64,
    },
    /// The peer said something.
    Received(Message),
    /// Own logs grew, by a local write or through another peer. What a view with an older layout than [`Exchange::layout`] has
    /// of news has to come again.
    Grown(OwnHeads),
    /// The answer to [`Output::Read`]: what of it was there, from its beginning on.
    Read(Vec<Entries>),
    /// These logs hold something that cannot be read here. Nothing more of them is sent in this exchange, and nothing else waits
    /// for it. Comes before the answer to the [`Output::Read`] that came upon it.
    Damaged(BTreeSet<LogId>),
    /// The answer to [`Output::Ingest`].
    Ingested {
        /// Where the logs of the batch end now.
        own: OwnHeads,
        /// Logs of which the two sides seem to have different histories.
        diverged: BTreeSet<LogId>,
        /// The batch held bytes that no honest peer sends.
        bad: Option<String>,
    },
    /// The spaces that both sides may read have changed; `None` when the peer is no member any more.
    Rights(Option<Spaces>),
    /// Time passed.
    Tick,
    /// Presence to be told.
    Tell(Vec<u8>),
    /// This side ends the exchange.
    Stop(Bye),
}

/// What the host has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it.
    Send(Message),
    /// Read these runs, up to [`crate::limits::BATCH_BYTES`], and answer with [`Event::Read`].
    Read(Vec<Run>),
    /// Make these durable and answer with [`Event::Ingested`]. At most [`WINDOW`] are waiting at a time. May hold nothing, which is
    /// answered as well.
    Ingest(Vec<Entries>),
    /// Presence was heard.
    Presence(Vec<u8>),
    /// The exchange is over; close the connection after what was sent.
    Close(Bye),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    New,
    /// Our hello is out.
    Greeting,
    /// Both said hello.
    Open,
    Closed,
}

/// How long a peer may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To say hello.
    pub hello_ms: u64,
    /// To acknowledge a batch.
    pub ack_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hello_ms: HELLO_MS, ack_ms: ACK_MS }
    }
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    me: Me,
    allowed: Spaces,
    own: Heads,
    layout: u64,
    state: State,
    /// What we had when we said hello; the digests of both hellos are compared, so that both sides conclude alike.
    greeted: Heads,
    peer: Option<Hello>,
    /// What the peer is known to have: it said so, or it sent it.
    said: Frontier,
    /// Whether the peer has said what it has.
    stated: bool,
    /// What has come of a statement that is made in parts.
    stating: Heads,
    /// The same with what is on its way.
    sent: Frontier,
    on_the_way: VecDeque<Vec<Run>>,
    reading: bool,
    waiting_ingests: u32,
    refused: BTreeMap<LogId, (u64, u8)>,
    /// Logs that cannot be read here any further.
    damaged: BTreeSet<LogId>,
    /// Logs of which the peer lacks entries although it states as many: up to where they were sent once more.
    again: BTreeMap<LogId, u64>,
    /// Logs whose histories were compared whole in this exchange: what the own one ended in, and how often.
    compared: BTreeMap<LogId, ([u8; 32], u8)>,
    /// When the peer last moved on.
    progress: u64,
    patience: Patience,
}

impl Exchange {
    /// Makes an exchange that has not begun. `own` are the heads of all logs, `allowed` the spaces that both may read.
    #[must_use]
    pub fn new(me: Me, own: OwnHeads, allowed: Spaces) -> Self {
        Self {
            me,
            allowed,
            own: own.heads,
            layout: own.layout,
            state: State::New,
            greeted: Heads::default(),
            peer: None,
            said: Frontier::default(),
            stated: false,
            stating: Heads::default(),
            sent: Frontier::default(),
            on_the_way: VecDeque::new(),
            reading: false,
            waiting_ingests: 0,
            refused: BTreeMap::new(),
            damaged: BTreeSet::new(),
            again: BTreeMap::new(),
            compared: BTreeMap::new(),
            progress: 0,
            patience: Patience::default(),
        }
    }

    /// Sets how long the peer may take, where that is not the usual time.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Returns what the peer said about itself, once it did.
    #[must_use]
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// Returns the layout of the own logs as they are known here. Views with an older one are not taken over.
    #[must_use]
    pub fn layout(&self) -> u64 {
        self.layout
    }

    /// Takes an event at a time in milliseconds of any steady clock, and says what to do.
    pub fn handle(&mut self, now: u64, event: Event, out: &mut Vec<Output>) {
        if self.state == State::Closed {
            return;
        }
        match event {
            Event::Start { clock_ms } => self.start(now, clock_ms, out),
            Event::Received(message) => self.received(now, message, out),
            Event::Grown(own) => self.grown(own, out),
            Event::Read(runs) => self.read(now, runs, out),
            Event::Damaged(logs) => self.damaged.extend(logs),
            Event::Ingested { own, diverged, bad } => self.ingested(own, &diverged, bad, out),
            Event::Rights(None) => self.close(code::REVOKED, "not a member any more", out),
            Event::Rights(Some(allowed)) => self.rights(allowed, out),
            Event::Tick => self.tick(now, out),
            Event::Tell(presence) if self.state == State::Open => out.push(Output::Send(Message::Presence(presence))),
            Event::Tell(_) => {}
            Event::Stop(bye) => self.close(bye.code, &bye.text, out),
        }
        self.pump(out);
    }

    fn start(&mut self, now: u64, clock_ms: i64, out: &mut Vec<Output>) {
        if self.state != State::New {
            return;
        }
        self.state = State::Greeting;
        self.progress = now;
        self.greeted = self.allowed_heads();
        out.push(Output::Send(Message::Hello(Hello {
            oldest: PROTOCOL.0,
            newest: PROTOCOL.1,
            fleet: self.me.fleet.0,
            software: self.me.software.clone(),
            digest: self.greeted.digest(),
            clock_ms,
        })));
    }

    fn received(&mut self, now: u64, message: Message, out: &mut Vec<Output>) {
        match (self.state, message) {
            (_, Message::Bye(bye)) => {
                self.state = State::Closed;
                out.push(Output::Close(bye));
            }
            (State::Greeting, Message::Hello(hello)) => self.hello(now, hello, out),
            (State::Open, Message::Heads(heads)) => self.heads(heads, out),
            (State::Open, Message::HeadsPart(heads)) => self.heads_part(heads, out),
            (State::Open, Message::Entries(runs)) => self.entries(runs, out),
            (State::Open, Message::Ack { batches, heads }) => self.ack(now, batches, &heads, out),
            (State::Open, Message::Presence(bytes)) => out.push(Output::Presence(bytes)),
            (_, Message::Hello(_)) => self.close(code::VIOLATION, "a second hello", out),
            _ => self.close(code::VIOLATION, "something was said before hello", out),
        }
    }

    fn hello(&mut self, now: u64, hello: Hello, out: &mut Vec<Output>) {
        if hello.fleet_id() != self.me.fleet {
            return self.close(code::FLEET, "another fleet", out);
        }
        if hello.newest < PROTOCOL.0 || hello.oldest > PROTOCOL.1 {
            let text =
                format!("protocol {} to {} here, {} to {} there", PROTOCOL.0, PROTOCOL.1, hello.oldest, hello.newest);
            return self.close(code::VERSION, &text, out);
        }
        self.state = State::Open;
        self.progress = now;
        if hello.digest == self.greeted.digest() {
            self.said = self.greeted.frontier();
            self.sent = self.said.clone();
            self.stated = true;
        } else {
            self.state_heads(&BTreeSet::new(), out);
        }
        self.peer = Some(hello);
    }

    /// Says where all logs end, in as many messages as it takes. Of logs to be sent whole it says nothing.
    fn state_heads(&self, without: &BTreeSet<LogId>, out: &mut Vec<Output>) {
        let mut heads = self.allowed_heads();
        heads.0.retain(|log, _| !without.contains(log));
        while heads.0.len() > MAX_LOGS {
            let first = heads.0.keys().nth(MAX_LOGS).copied();
            let rest = first.map(|log| heads.0.split_off(&log)).unwrap_or_default();
            out.push(Output::Send(Message::HeadsPart(std::mem::replace(&mut heads, Heads(rest)))));
        }
        out.push(Output::Send(Message::Heads(heads)));
    }

    fn heads_part(&mut self, heads: Heads, out: &mut Vec<Output>) {
        self.stating.0.extend(heads.0);
        if self.is_too_much(&self.stating) {
            self.close(code::VIOLATION, "a statement of too many logs", out);
        }
    }

    /// Whether a statement fills memory. What is here as well fills none, however many logs a fleet comes to have.
    fn is_too_much(&self, stated: &Heads) -> bool {
        stated.0.len() > MAX_STATED && stated.0.keys().filter(|log| !self.own.0.contains_key(log)).count() > MAX_STATED
    }

    fn heads(&mut self, last: Heads, out: &mut Vec<Output>) {
        let mut heads = std::mem::take(&mut self.stating);
        heads.0.extend(last.0);
        if self.is_too_much(&heads) {
            return self.close(code::VIOLATION, "a statement of too many logs", out);
        }
        self.stated = true;
        // It is a full statement: what it does not name is not there. A peer that names ever new logs fills nothing.
        let before = std::mem::take(&mut self.said);
        self.refused.clear();
        self.learn(&heads, out);
        for (log, length) in before.0 {
            // It had more of the log, and now asks for what comes behind this again, whatever it acknowledges meanwhile.
            let is_here = self.own.0.contains_key(&log) && self.allowed.contains(&log.space);
            if is_here && self.said.length(&log) < length {
                self.again.insert(log, self.said.length(&log));
            }
        }
        self.resend_from_said();
    }

    /// Takes over where the peer says that logs end.
    fn learn(&mut self, heads: &Heads, out: &mut Vec<Output>) {
        let mut diverged = BTreeSet::new();
        for (log, head) in heads.0.iter().filter(|(log, _)| self.allowed.contains(&log.space)) {
            self.said.0.insert(*log, head.length);
            let differs = |own: &Head| own.length == head.length && own.tip != head.tip;
            if self.own.0.get(log).is_some_and(differs) {
                diverged.insert(*log);
            }
        }
        self.compare(&diverged, out);
    }

    /// The two sides have different histories of these logs. Each sends the other all that it has of them, once, and both
    /// then have the same tree of entries.
    fn compare(&mut self, diverged: &BTreeSet<LogId>, out: &mut Vec<Output>) {
        let mut new = BTreeSet::new();
        for log in diverged.iter().filter(|log| self.allowed.contains(&log.space)) {
            let Some(own) = self.own.0.get(log) else { continue };
            let (tip, times) = self.compared.get(log).copied().unwrap_or_default();
            // Once for each state that the log is in here, and not without end with a peer that finds ever new reasons.
            if (times == 0 || tip != own.tip) && times < COMPARISONS {
                self.compared.insert(*log, (own.tip, times + 1));
                new.insert(*log);
            }
        }
        if new.is_empty() {
            return;
        }
        for log in &new {
            self.again.insert(*log, 0);
            self.refused.remove(log);
        }
        self.resend_from_said();
        self.state_heads(&new, out);
    }

    fn grown(&mut self, own: OwnHeads, out: &mut Vec<Output>) {
        if self.take_over(own) {
            self.state_heads(&BTreeSet::new(), out);
        }
    }

    /// Takes over where own logs end; returns whether a part of one has become a branch. Views that were taken earlier
    /// may come later.
    fn take_over(&mut self, own: OwnHeads) -> bool {
        if own.layout < self.layout {
            // Lengths of one layout say nothing of lengths of another. The host gives a newer view of the rest.
            return false;
        }
        let mut went_back = false;
        let is_laid_anew = own.layout > self.layout;
        for (log, head) in own.heads.0 {
            let known = self.own.0.get(&log).copied();
            let is_older =
                |known: Head| head.length < known.length || (head.length == known.length && head.tip != known.tip);
            if !is_laid_anew && known.is_some_and(is_older) {
                continue;
            }
            // A part of it may have become a branch, and other entries may have made it longer than before at once.
            if is_laid_anew && known.is_some_and(|known| known != head) {
                went_back = true;
                self.again.insert(log, 0);
                self.refused.remove(&log);
            }
            self.own.0.insert(log, head);
        }
        self.layout = own.layout;
        if went_back {
            self.resend_from_said();
        }
        went_back && self.state == State::Open
    }

    fn resend_from_said(&mut self) {
        self.sent = self.said.clone();
        self.sent.0.extend(self.again.iter().map(|(log, length)| (*log, *length)));
        for run in self.on_the_way.iter().flatten() {
            self.sent.advance(run.log, run.to);
        }
    }

    fn entries(&mut self, runs: Vec<Entries>, out: &mut Vec<Output>) {
        if self.waiting_ingests >= WINDOW {
            return self.close(code::VIOLATION, "more batches than the window allows", out);
        }
        let count: u64 = runs.iter().map(|run| run.entries.len() as u64).sum();
        if count == 0 || count > BATCH_ENTRIES {
            return self.close(code::VIOLATION, "a batch of the wrong size", out);
        }
        if runs.iter().any(|run| !self.allowed.contains(&run.log.space)) {
            // What is allowed may just have changed here and not yet there: refusing to take it is enough.
            // Also when nothing is left: acknowledgements come in the order of the batches.
            let allowed = runs.into_iter().filter(|run| self.allowed.contains(&run.log.space)).collect();
            return self.take(allowed, out);
        }
        self.take(runs, out);
    }

    fn take(&mut self, runs: Vec<Entries>, out: &mut Vec<Output>) {
        for run in &runs {
            self.said.advance(run.log, run.to());
            self.sent.advance(run.log, run.to());
        }
        self.waiting_ingests += 1;
        out.push(Output::Ingest(runs));
    }

    fn ingested(&mut self, own: OwnHeads, diverged: &BTreeSet<LogId>, bad: Option<String>, out: &mut Vec<Output>) {
        self.waiting_ingests = self.waiting_ingests.saturating_sub(1);
        if let Some(reason) = bad {
            return self.close(code::VIOLATION, &reason, out);
        }
        let heads = own.heads.clone();
        // It names the logs of the batch alone. When others were laid anew, the whole view that follows says so of all.
        let went_back = own.layout <= self.layout && self.take_over(own);
        out.push(Output::Send(Message::Ack { batches: 1, heads }));
        if went_back {
            self.state_heads(&BTreeSet::new(), out);
        }
        self.compare(diverged, out);
    }

    fn ack(&mut self, now: u64, batches: u32, heads: &Heads, out: &mut Vec<Output>) {
        if batches as usize > self.on_the_way.len() {
            return self.close(code::VIOLATION, "an acknowledgement of nothing", out);
        }
        self.progress = now;
        let runs: Vec<Run> = self.on_the_way.drain(..batches as usize).flatten().collect();
        let arrived: BTreeSet<LogId> = runs.iter().map(|run| run.log).collect();
        let before = self.sent.clone();
        let once_more: BTreeSet<LogId> = arrived.iter().filter(|log| self.again.contains_key(log)).copied().collect();
        for run in &runs {
            self.sent_again(run);
        }
        let mut heads = heads.clone();
        heads.0.retain(|log, _| arrived.contains(log));
        let said = self.said.clone();
        self.learn(&heads, out);
        self.resend_from_said();
        // What was sent, is not on its way any more and did not arrive was refused there.
        for log in arrived.difference(&once_more) {
            let (here, there) = (before.length(log), self.sent.length(log));
            if there < here {
                let (position, times) = self.refused.entry(*log).or_insert((there, 0));
                *times = if *position == there { times.saturating_add(1) } else { 1 };
                *position = there;
            }
        }
        // What was refused for want of something else may be taken now that this has come.
        let grew = heads.0.iter().filter(|(log, head)| head.length > said.length(log));
        let moved: BTreeSet<NodeKey> = grew.map(|(log, _)| log.author).collect();
        self.refused.retain(|log, _| heads.0.contains_key(log) || !moved.contains(&log.author));
    }

    /// Notes how far a log was sent once more; behind its end the usual rule is back.
    fn sent_again(&mut self, run: &Run) {
        // What was on its way before is no part of it.
        if let Some(to) = self.again.get_mut(&run.log).filter(|to| run.from <= **to + 1) {
            *to = (*to).max(run.to);
            if *to >= self.own.0.get(&run.log).map_or(0, |head| head.length) {
                self.again.remove(&run.log);
            }
        }
    }

    fn read(&mut self, now: u64, runs: Vec<Entries>, out: &mut Vec<Output>) {
        self.reading = false;
        let runs: Vec<Entries> = runs.into_iter().filter(|run| !run.entries.is_empty()).collect();
        if runs.is_empty() || self.state != State::Open {
            return;
        }
        if self.on_the_way.is_empty() {
            self.progress = now;
        }
        let sent: Vec<Run> = runs.iter().map(|run| Run { log: run.log, from: run.from, to: run.to() }).collect();
        for run in &sent {
            self.sent.advance(run.log, run.to);
        }
        self.on_the_way.push_back(sent);
        out.push(Output::Send(Message::Entries(runs)));
    }

    fn rights(&mut self, allowed: Spaces, out: &mut Vec<Output>) {
        if allowed != self.allowed {
            self.allowed = allowed;
            self.again.retain(|log, _| self.allowed.contains(&log.space));
            // What was refused may have been so for want of a right.
            self.refused.clear();
            self.compared.retain(|log, _| self.allowed.contains(&log.space));
            if self.state == State::Open {
                self.state_heads(&BTreeSet::new(), out);
            }
        }
    }

    fn tick(&mut self, now: u64, out: &mut Vec<Output>) {
        let waited = now.saturating_sub(self.progress);
        if self.state == State::Greeting && waited > self.patience.hello_ms {
            self.close(code::TIMEOUT, "no hello", out);
        } else if !self.on_the_way.is_empty() && waited > self.patience.ack_ms {
            self.close(code::TIMEOUT, "a batch was not acknowledged", out);
        }
    }

    fn close(&mut self, code: u16, text: &str, out: &mut Vec<Output>) {
        self.state = State::Closed;
        let bye = Bye { code, text: text.to_owned() };
        out.push(Output::Send(Message::Bye(bye.clone())));
        out.push(Output::Close(bye));
    }

    /// Asks for the next batch when there is something to send and room to send it.
    fn pump(&mut self, out: &mut Vec<Output>) {
        if self.state != State::Open || !self.stated || self.reading || self.on_the_way.len() >= WINDOW as usize {
            return;
        }
        let runs = next_batch(&self.sendable(), &self.sent, self.me.fleet_space, BATCH_ENTRIES);
        if !runs.is_empty() {
            self.reading = true;
            out.push(Output::Read(runs));
        }
    }

    fn sendable(&self) -> Frontier {
        let given_up = |log: &LogId| self.refused.get(log).is_some_and(|(_, times)| *times >= REFUSALS);
        let mut heads = self.allowed_heads();
        heads.0.retain(|log, _| !given_up(log) && !self.damaged.contains(log));
        heads.frontier()
    }

    /// The genesis log is in no space that is ever allowed: every member has it from the start.
    fn allowed_heads(&self) -> Heads {
        let allowed = self.own.0.iter().filter(|(log, _)| self.allowed.contains(&log.space));
        Heads(allowed.map(|(log, head)| (*log, *head)).collect())
    }
}
