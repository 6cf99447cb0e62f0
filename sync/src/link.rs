//! One exchange over one connection: bytes to messages, messages to the state machine, its wishes to store and stream.
//!
//! Four tasks: a reader of frames, a writer of frames, a task that takes batches into the store one after the other, and
//! the loop that owns the state machine and never waits for the peer. What is queued is bounded: frames by the reader's
//! queue, batches by the window, the writer's queue by the window of both sides.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ctxnode_model::NodeKey;
use ctxnode_model::frontier::{Frontier, Heads, Run};
use ctxnode_sync_proto::{Bye, Entries, Event, Exchange, Lacks, Me, Message, Output, OwnHeads, code, limits};
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, timeout};

use crate::endpoint::KEEP_ALIVE;
use crate::fleet::Shared;
use crate::moment::Moment;
use crate::transfer::{Found, read_runs, take_batches};
use crate::wire::{self, WireError};

/// How long nothing may be heard on a connection on which something was said before another is tried beside it. Every
/// packet is acknowledged within a round trip; the slowest that are in use (satellites) take less than a second.
const SILENCE: Duration = Duration::from_secs(3);
/// How often the exchange looks at the time.
const TICK: Duration = Duration::from_secs(1);
/// How long the last message may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a connection of a round lasts at least, so that what is written meanwhile goes with it.
const SETTLE: Duration = Duration::from_secs(2);
/// How long nothing may move in a round that is not finished, while nothing is on its way.
const STUCK: Duration = Duration::from_secs(60);
/// How many frames are read ahead.
const AHEAD: usize = 2;
/// How many events of the link's own tasks may wait; a batch each, and one statement for each node.
const EVENTS: usize = 1_024;
/// How many messages may wait to be written. A peer that leaves so many unread reads nothing any more.
const UNREAD: usize = 512;

/// How a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The peer's address, unless a relay passes packets on.
    pub address: Option<SocketAddr>,
    /// The relay, if one does.
    pub relay: Option<String>,
    /// The round trip.
    pub rtt: Duration,
}

/// What went over a connection since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of frames that were sent.
    pub sent: u64,
    /// Bytes of frames that arrived.
    pub received: u64,
    /// Bytes of all UDP datagrams that were sent: handshake, frames, acknowledgements, probes of paths.
    pub udp_sent: u64,
    /// Bytes of all UDP datagrams that arrived.
    pub udp_received: u64,
}

/// Bytes of frames, counted by the tasks that read and write them.
#[derive(Debug, Default)]
struct Frames {
    sent: AtomicU64,
    received: AtomicU64,
}

/// A connection as others see it.
#[derive(Debug)]
pub(crate) struct Link {
    frames: Arc<Frames>,
    pub(crate) connection: Connection,
    pub(crate) dialled_by: NodeKey,
    opened: Instant,
    pub(crate) stop: watch::Sender<Option<Bye>>,
    pub(crate) figures: Mutex<Figures>,
    /// It was answered between two rounds of this node, and may take so many bytes while there is none.
    guest: Option<u64>,
    counted: AtomicU64,
}

/// What is measured on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) lacks: Option<Lacks>,
    /// Since when it has lacked something that was here then.
    pub(crate) behind_since: Option<Instant>,
    pub(crate) software: Option<String>,
    pub(crate) skew_ms: Option<i64>,
    pub(crate) heard: Heard,
}

/// When something last came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Moment,
    /// The same, where only time counts in which the machine was awake.
    steady: Instant,
    /// Datagrams that had come in and gone out then.
    received: u64,
    sent: u64,
}

impl Link {
    pub(crate) fn new(connection: Connection, dialled_by: NodeKey, guest: Option<u64>, now: Moment) -> Self {
        let heard = Heard { at: now, steady: Instant::now(), received: 0, sent: 0 };
        Self {
            frames: Arc::default(),
            connection,
            dialled_by,
            opened: Instant::now(),
            stop: watch::Sender::new(None),
            figures: Mutex::new(Figures { lacks: None, behind_since: None, software: None, skew_ms: None, heard }),
            guest,
            counted: AtomicU64::new(0),
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let udp = self.connection.stats();
        Traffic {
            sent: self.frames.sent.load(Ordering::Relaxed),
            received: self.frames.received.load(Ordering::Relaxed),
            udp_sent: udp.udp_tx.bytes,
            udp_received: udp.udp_rx.bytes,
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is too old to have been made at the same moment as one that the peer makes now: the peer has lost it.
    pub(crate) fn is_settled(&self) -> bool {
        self.opened.elapsed() >= SILENCE
    }

    /// Whether nothing has come in although something went out.
    pub(crate) fn is_unanswered(&self) -> bool {
        let Figures { heard, behind_since, .. } = self.figures();
        // On an idle connection something is heard when it is kept alive, and not before.
        let patience = if behind_since.is_some() { SILENCE } else { SILENCE + KEEP_ALIVE };
        heard.steady.elapsed() >= patience && self.connection.stats().udp_tx.datagrams > heard.sent
    }

    pub(crate) fn path(&self) -> Option<Path> {
        let paths = self.connection.paths();
        let chosen = paths.iter().find(iroh::endpoint::Path::is_selected)?;
        let (address, relay) = match chosen.remote_addr() {
            iroh::TransportAddr::Ip(address) => (Some(*address), None),
            iroh::TransportAddr::Relay(url) => (None, Some(url.to_string())),
            other => (None, Some(other.to_string())),
        };
        Some(Path { address, relay, rtt: chosen.rtt() })
    }

    /// Counts what was sent and received since the last call.
    pub(crate) fn spend(&self, shared: &Shared) {
        shared.count();
        if self.guest.is_some() {
            let Traffic { udp_sent, udp_received, .. } = self.traffic();
            let all = udp_sent + udp_received;
            let before = self.counted.fetch_max(all, Ordering::SeqCst);
            shared.pacing.count_guest(all.saturating_sub(before));
        }
    }

    /// Whether more may be sent and received, now that bytes are counted.
    fn may_go_on(&self, shared: &Shared) -> bool {
        let pacing = &shared.pacing;
        let is_welcome = |share| pacing.has_bytes_for_others() && self.counted.load(Ordering::SeqCst) < share;
        pacing.has_bytes() && (pacing.may_connect() || self.guest.is_none_or(is_welcome))
    }

    /// Asks the exchange to end.
    pub(crate) fn end(&self, code: u16, text: &str) {
        self.stop.send_replace(Some(Bye { code, text: text.to_owned() }));
    }
}

/// The parts of one running exchange.
struct Running<'a> {
    shared: &'a Arc<Shared>,
    peer: NodeKey,
    link: &'a Arc<Link>,
    exchange: Exchange,
    seen: Arc<OwnHeads>,
    events: mpsc::Sender<Event>,
    batches: mpsc::Sender<Vec<Entries>>,
    out: mpsc::Sender<Message>,
    tasks: JoinSet<()>,
    started: Instant,
    /// What each side lacked and how much had come when either last changed.
    moved: ((Option<Lacks>, u64), Instant),
    /// What was held at a moment when the peer lacked some of it. It is looked at until all of that has arrived, so that steady
    /// writing does not look like a peer that takes nothing.
    awaited: Option<(Instant, Frontier)>,
}

/// Runs an exchange until it or the connection ends; returns why.
pub(crate) async fn run(shared: &Arc<Shared>, peer: NodeKey, link: &Arc<Link>) -> Bye {
    let ended = |text: String| Bye { code: code::VIOLATION, text };
    let dialled = link.dialled_by == shared.store.node();
    let opened = timeout(shared.config.patience.hello, async {
        if dialled { link.connection.open_bi().await } else { link.connection.accept_bi().await }
    });
    let mut stop = link.stop.subscribe();
    let opened = tokio::select! {
        opened = opened => opened,
        // Who opens connections and nothing on them does not keep the ones before.
        stopped = stop.wait_for(Option::is_some) => {
            let bye = stopped.ok().and_then(|bye| bye.clone()).unwrap_or_else(stopping);
            return close(link, bye);
        }
    };
    let bye = match opened {
        Ok(Ok((send, receive))) => exchange(shared, peer, link, send, receive).await,
        Ok(Err(error)) => ended(closed_because(&link.connection).unwrap_or_else(|| error.to_string())),
        Err(_) => Bye { code: code::TIMEOUT, text: "no stream was opened".to_owned() },
    };
    close(link, bye)
}

/// Closes a connection; an error code that the peer has sent already stays the one that counts.
fn close(link: &Link, bye: Bye) -> Bye {
    link.connection.close(VarInt::from_u32(u32::from(bye.code)), bye.text.as_bytes());
    bye
}

/// What the peer, or its admission, said when it closed the connection.
pub(crate) fn closed_because(connection: &Connection) -> Option<String> {
    match connection.close_reason()? {
        iroh::endpoint::ConnectionError::ApplicationClosed(close) => {
            Some(format!("refused: {}", String::from_utf8_lossy(&close.reason)))
        }
        other => Some(other.to_string()),
    }
}

/// The code with which the peer closed the connection.
pub(crate) fn close_code(connection: &Connection) -> Option<u64> {
    match connection.close_reason()? {
        iroh::endpoint::ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

async fn exchange(shared: &Arc<Shared>, peer: NodeKey, link: &Arc<Link>, send: SendStream, receive: RecvStream) -> Bye {
    let (events, mut inner) = mpsc::channel(EVENTS);
    let (batches, to_ingest) = mpsc::channel(limits::WINDOW as usize + 1);
    let (out, to_write) = mpsc::channel(UNREAD);
    let (frames, mut arrived) = mpsc::channel(AHEAD);
    let mut heads = shared.heads.subscribe();
    let seen = Arc::clone(&heads.borrow_and_update());
    let me = Me { fleet: shared.store.fleet(), fleet_space: shared.fleet_space(), software: shared.software.clone() };
    let Some(allowed) = shared.allowed(peer) else {
        return Bye { code: code::REVOKED, text: "not a member any more".to_owned() };
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(read_frames(receive, frames, Arc::clone(shared), Arc::clone(link)));
    let (done_writing, written) = tokio::sync::oneshot::channel();
    let patience = shared.config.patience;
    let to_writer = Writing { frame: patience.frame, counted: Arc::clone(&link.frames), events: events.clone() };
    tasks.spawn(write_frames(send, to_write, done_writing, to_writer));
    tasks.spawn(take_batches(Arc::clone(shared), to_ingest, events.clone()));
    let exchange = Exchange::new(me, (*seen).clone(), allowed).with_patience(patience.of_exchange());
    let mut running = Running {
        shared,
        peer,
        link,
        exchange,
        seen,
        events,
        batches,
        out,
        tasks,
        started: Instant::now(),
        moved: ((None, 0), Instant::now()),
        awaited: None,
    };
    let mut stop = link.stop.subscribe();
    let mut told = shared.told.subscribe();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let clock_ms = shared.store.clock().now().0;
    let mut over = running.handle(Event::Start { clock_ms });
    while over.is_none() {
        over = tokio::select! {
            frame = arrived.recv() => match frame {
                Some(Ok(message)) => {
                    let hello = if let Message::Hello(hello) = &message { Some(hello.clone()) } else { None };
                    let over = running.handle(Event::Received(message));
                    // A machine of another fleet, or without a version in common, was not met.
                    hello.iter().filter(|_| over.is_none()).for_each(|hello| running.greeted(hello));
                    over
                }
                Some(Err(WireError::Frame(error))) => {
                    let text = format!("a frame that is none: {error}");
                    running.handle(Event::Stop(Bye { code: code::VIOLATION, text }))
                }
                Some(Err(error)) => Some(running.lost(&error)),
                None => Some(running.lost(&WireError::End)),
            },
            Some(event) = inner.recv() => running.handle(event),
            Ok(()) = heads.changed() => {
                let now = Arc::clone(&heads.borrow_and_update());
                running.grown(now)
            }
            said = told.recv() => match said {
                Ok((from, bytes)) if from != peer => running.handle(Event::Tell(bytes.to_vec())),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => running.handle(Event::Stop(stopping())),
            },
            // Also when it was asked to before anybody listened here.
            stopped = stop.wait_for(Option::is_some) => {
                let bye = stopped.ok().and_then(|bye| bye.clone()).unwrap_or_else(stopping);
                running.handle(Event::Stop(bye))
            }
            _ = tick.tick() => {
                running.measure();
                running.handle(Event::Tick)
            }
        };
        over = running.paced().or(over);
    }
    running.measure();
    let Running { out, tasks, .. } = running;
    drop(out);
    // What was said last should arrive; a peer that reads nothing any more does not get longer.
    let _ = timeout(FAREWELL, written).await;
    drop(tasks);
    over.unwrap_or_else(stopping)
}

fn stopping() -> Bye {
    Bye { code: code::STOPPING, text: "the daemon stops".to_owned() }
}

impl Running<'_> {
    /// Gives an event to the exchange and does what it wants; returns why it is over, if it is.
    fn handle(&mut self, event: Event) -> Option<Bye> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut outputs = Vec::new();
        self.exchange.handle(now, event, &mut outputs);
        let mut over = None;
        for output in outputs {
            match output {
                // While a large batch goes over a slow line, who is alive would fill the queue. It is said again.
                Output::Send(Message::Presence(_)) if self.out.capacity() < UNREAD / 2 => {}
                // A writer that is gone has said so.
                Output::Send(message) => {
                    if let Err(mpsc::error::TrySendError::Full(_)) = self.out.try_send(message) {
                        over = Some(Bye { code: code::TIMEOUT, text: "the peer reads nothing any more".to_owned() });
                    }
                }
                // There is room for a whole window.
                Output::Ingest(runs) => drop(self.batches.try_send(runs)),
                Output::Read(runs) => self.read(runs),
                Output::Presence(bytes) => self.shared.heard(self.peer, bytes),
                Output::Close(bye) => over = Some(bye),
            }
        }
        over
    }

    fn read(&mut self, runs: Vec<Run>) {
        // Those that have ended are kept until they are asked for.
        while self.tasks.try_join_next().is_some() {}
        let (shared, events) = (Arc::clone(self.shared), self.events.clone());
        self.tasks.spawn_blocking(move || {
            // When a message is not taken, the exchange is over.
            match read_runs(&shared.store, &runs) {
                Ok(Found { runs, damaged }) => {
                    if !damaged.is_empty() {
                        shared.is_damaged();
                        let _ = events.blocking_send(Event::Damaged(damaged));
                    }
                    let _ = events.blocking_send(Event::Read(runs));
                }
                Err(error) => {
                    tracing::error!(%error, "entries for a peer could not be read");
                    let text = "the local store failed".to_owned();
                    let _ = events.blocking_send(Event::Stop(Bye { code: code::STORE, text }));
                }
            }
        });
    }

    fn grown(&mut self, now: Arc<OwnHeads>) -> Option<Bye> {
        let allowed = self.shared.allowed(self.peer);
        let over = self.handle(Event::Rights(allowed));
        if over.is_some() {
            return over;
        }
        if now.layout < self.exchange.layout() {
            // What it has of news comes again with the next view.
            return None;
        }
        let new = now.heads.0.iter().filter(|(log, head)| self.seen.heads.0.get(log) != Some(head));
        let heads = Heads(new.map(|(log, head)| (*log, *head)).collect());
        let layout = now.layout;
        self.seen = now;
        if heads.0.is_empty() { None } else { self.handle(Event::Grown(OwnHeads { heads, layout })) }
    }

    /// Notes what the peer said about itself, and tells it who is alive.
    fn greeted(&mut self, hello: &ctxnode_sync_proto::Hello) {
        let skew_ms = hello.clock_ms.saturating_sub(self.shared.store.clock().now().0);
        {
            let mut figures = self.link.figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.software = Some(hello.software.clone());
            figures.skew_ms = Some(skew_ms);
        }
        self.shared.met(self.peer, hello);
        for bytes in self.shared.statements(self.peer) {
            // Told once the hello itself has been handled.
            drop(self.events.try_send(Event::Tell(bytes)));
        }
    }

    /// Ends an exchange that the pace does not allow to go on.
    fn paced(&mut self) -> Option<Bye> {
        let pacing = &self.shared.pacing;
        if pacing.is_live() {
            return None;
        }
        if pacing.is_metered() {
            self.link.spend(self.shared);
        }
        let text = if !pacing.has_bytes() {
            "in field mode, and its bytes for today are used up"
        } else if !self.link.may_go_on(self.shared) {
            "in field mode, and what a visit may use of its bytes for today is used up"
        } else if self.started.elapsed() > SETTLE && self.exchange.is_settled() {
            "in field mode"
        } else if self.moved.1.elapsed() > STUCK && self.exchange.is_idle() {
            // One side refuses what the other has (two histories are no reason for that): they will not have the same.
            "in field mode, and nothing moves"
        } else {
            return None;
        };
        self.handle(Event::Stop(Bye { code: code::AWAY, text: text.to_owned() }))
    }

    fn measure(&mut self) {
        self.link.spend(self.shared);
        if let Some(confirmed) = self.exchange.confirmed(self.shared.store.node()) {
            self.shared.confirmed(self.peer, confirmed);
        }
        let lacks = self.exchange.lacks();
        let now = (lacks, self.link.frames.received.load(Ordering::Relaxed));
        if now != self.moved.0 {
            self.moved = (now, Instant::now());
        }
        let has_arrived = |(_, held): &(Instant, Frontier)| self.exchange.has_arrived(held);
        if self.awaited.as_ref().is_none_or(has_arrived) {
            let is_behind = lacks.is_some_and(|lacks| lacks.peer > 0);
            self.awaited = is_behind.then(|| (Instant::now(), self.exchange.held()));
        }
        let mut figures = self.link.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.lacks = lacks;
        figures.behind_since = self.awaited.as_ref().map(|(since, _)| *since);
        let stats = self.link.connection.stats();
        if stats.udp_rx.datagrams != figures.heard.received {
            let (received, sent) = (stats.udp_rx.datagrams, stats.udp_tx.datagrams);
            figures.heard = Heard { at: self.shared.moment(), steady: Instant::now(), received, sent };
        }
        drop(figures);
        if self.link.is_unanswered() {
            self.shared.redial(self.peer);
        }
    }

    fn lost(&self, error: &WireError) -> Bye {
        let text = closed_because(&self.link.connection).unwrap_or_else(|| error.to_string());
        Bye { code: code::TIMEOUT, text }
    }
}

async fn read_frames(
    mut stream: RecvStream,
    frames: mpsc::Sender<Result<Message, WireError>>,
    shared: Arc<Shared>,
    link: Arc<Link>,
) {
    let may_go_on = || {
        if shared.pacing.is_metered() {
            link.spend(&shared);
        }
        link.may_go_on(&shared)
    };
    let patience = shared.config.patience.frame;
    loop {
        let read = wire::read(&mut stream, patience, &link.frames.received, may_go_on).await;
        let failed = read.is_err();
        if frames.send(read).await.is_err() || failed {
            return;
        }
    }
}

/// What the writer of frames needs beside its stream.
struct Writing {
    frame: Duration,
    counted: Arc<Frames>,
    events: mpsc::Sender<Event>,
}

async fn write_frames(
    mut stream: SendStream,
    mut messages: mpsc::Receiver<Message>,
    done: tokio::sync::oneshot::Sender<()>,
    about: Writing,
) {
    while let Some(message) = messages.recv().await {
        match wire::write(&mut stream, about.frame, &message).await {
            Ok(bytes) => drop(about.counted.sent.fetch_add(bytes as u64, Ordering::Relaxed)),
            Err(error) => {
                tracing::debug!(%error, "a peer took nothing more");
                let _ = stream.reset(VarInt::from_u32(0));
                // A peer that goes on talking would not be noticed by reading.
                let text = "the peer reads nothing any more".to_owned();
                let _ = about.events.send(Event::Stop(Bye { code: code::TIMEOUT, text })).await;
                return;
            }
        }
    }
    // A stream that is gone needs no end.
    let _ = stream.finish();
    let _ = stream.stopped().await;
    // The loop may have stopped waiting.
    let _ = done.send(());
}
