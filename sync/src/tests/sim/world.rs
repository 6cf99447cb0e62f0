//! The nodes and wires of a simulated fleet, what can happen to them, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ctxnode_model::frontier::{Heads, LogId};
use ctxnode_model::{DocumentId, Edit, Kind, NodeKey, Space, SpaceId, Timestamp};
use ctxnode_store::{
    ControlOp, Draft, Entropy as _, Location, ManualClock, NodeSecret, Options, Role, SeededEntropy, Store, StoreError,
    WriteError,
};
use ctxnode_sync_proto::{Bye, Event, Exchange, Me, Message, Output, OwnHeads, code, frame};

use super::disk::Disk;
use super::liar::lie;
use super::life::Life;
use crate::standing::Standing;
use crate::transfer;

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;
const DAY_MS: i64 = 86_400_000;
const VENTURES: [&str; 2] = ["alpha", "beta"];
/// A frame of a kind that version 1 does not know.
const UNKNOWN_FRAME: &[u8] = &[0, 0, 0, 3, 77, 0, 1];

pub(super) struct Node {
    pub(super) key: NodeKey,
    /// It speaks a newer protocol as well and says things that the others do not know.
    pub(super) newer: bool,
    pub(super) disk: Disk,
    pub(super) store: Option<Store>,
    pub(super) standing: Option<Arc<Standing>>,
    pub(super) inviter: Option<NodeKey>,
    pub(super) secret: NodeSecret,
    pub(super) clock: Arc<ManualClock>,
    /// Which copy of the disk on which boot.
    pub(super) incarnation: u32,
    /// An older state of the disk, and which copy on which boot it was.
    pub(super) backup: Option<(Disk, u32)>,
    /// Spaces beside the fleet's; all when absent.
    pub(super) ventures: Option<BTreeSet<&'static str>>,
    pub(super) lies: bool,
    /// What it has acknowledged to its agents since its disk was last set back, with the space.
    pub(super) acked: BTreeMap<DocumentId, SpaceId>,
    /// The last entry of its own log at each of those times: what must be there for ever.
    pub(super) promised: BTreeMap<(LogId, u64), [u8; 32]>,
    pub(super) known: Heads,
}

/// One side of a connection.
pub(super) struct Side {
    node: usize,
    exchange: Exchange,
    inbox: VecDeque<Vec<u8>>,
    work: VecDeque<Output>,
}

pub(super) struct Wire {
    sides: [Side; 2],
    pub(super) bytes: usize,
    pub(super) closed: Option<Bye>,
}

pub(super) struct World {
    seed: u64,
    pub(super) life: Life,
    random: SeededEntropy,
    pub(super) nodes: Vec<Node>,
    pub(super) wires: BTreeMap<(usize, usize), Wire>,
    pub(super) revoked: BTreeSet<NodeKey>,
    /// By an admin whose disk failed meanwhile.
    pub(super) perhaps_revoked: BTreeSet<NodeKey>,
    pub(super) records: Vec<DocumentId>,
    pub(super) liar: Option<NodeKey>,
    /// Who was ever made an admin by one, as far as is known: nobody else is one, and nobody else deletes.
    pub(super) perhaps_admins: BTreeSet<NodeKey>,
    /// What was perhaps deleted by one.
    pub(super) perhaps_deleted: BTreeSet<DocumentId>,
    pub(super) now: u64,
    /// Whether wires lose and turn round frames.
    pub(super) is_faulty: bool,
    /// How connections ended since it was last asked.
    pub(super) byes: Vec<Bye>,
    /// How many boots there have been: no two copies of a disk run under one.
    pub(super) boots: u32,
    log: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, life: Life, random: SeededEntropy) -> Self {
        let mut world = Self {
            seed,
            life,
            random,
            nodes: Vec::new(),
            wires: BTreeMap::new(),
            revoked: BTreeSet::new(),
            perhaps_revoked: BTreeSet::new(),
            records: Vec::new(),
            liar: None,
            perhaps_admins: BTreeSet::new(),
            perhaps_deleted: BTreeSet::new(),
            now: 0,
            is_faulty: life.is_faulty,
            byes: Vec::new(),
            boots: 0,
            log: Vec::new(),
        };
        for index in 0..life.size {
            world.add(index);
        }
        world
    }

    pub(super) fn below(&self, n: usize) -> usize {
        usize::try_from(self.random.number() % n as u128).unwrap_or(0)
    }

    pub(super) fn random_number(&self) -> u128 {
        self.random.number()
    }

    pub(super) fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        self.log.push(text());
    }

    /// The last things that happened, for a message.
    pub(super) fn tail(&self) -> String {
        self.log[self.log.len().saturating_sub(60)..].join(", ")
    }

    fn add(&mut self, index: usize) {
        let secret = NodeSecret::generate(&SeededEntropy::new(self.seed ^ (0x5eed_0000 + index as u64)));
        let skew = (self.below(7) as i64 - 3) * DAY_MS;
        let clock = Arc::new(ManualClock::new(Timestamp(NOON + skew)));
        let lies = index == 2 && self.life.has_liar;
        let limited = index > 0 && self.chance(25);
        let mut node = Node {
            key: secret.public(),
            newer: index == 1 && self.life.is_mixed,
            disk: Disk::default(),
            store: None,
            standing: None,
            inviter: None,
            secret,
            clock,
            incarnation: 0,
            backup: None,
            ventures: limited.then(|| BTreeSet::from([VENTURES[0]])),
            lies,
            acked: BTreeMap::new(),
            promised: BTreeMap::new(),
            known: Heads::default(),
        };
        if lies {
            self.liar = Some(node.key);
        }
        if index == 0 {
            node.store = Some(Store::create(self.options(&node), "sim").expect("a store").store);
            self.perhaps_admins.insert(node.key);
        } else {
            let genesis = self.nodes[0].store().genesis().expect("genesis");
            node.store = Some(Store::create_member(self.options(&node), genesis).expect("a store"));
            node.inviter = Some(self.nodes[0].key);
            let role = if self.chance(30) { Role::Admin } else { Role::Writer };
            if role == Role::Admin {
                self.perhaps_admins.insert(node.key);
            }
            let fleet = self.nodes[0].store().fleet();
            let spaces = node
                .ventures
                .as_ref()
                .map(|codes| codes.iter().map(|code| Space::Venture((*code).to_owned()).id(&fleet)).collect());
            let grant = ControlOp::Grant { node: node.key, role, spaces, name: index.to_string() };
            self.write(0, move |draft| draft.control(&grant)).expect("the founder grants");
        }
        node.stand();
        self.nodes.push(node);
    }

    pub(super) fn options(&self, node: &Node) -> Options {
        Options {
            location: Location::Backend(Box::new(node.disk.clone())),
            secret: node.secret.clone(),
            clock: Arc::clone(&node.clock) as _,
            entropy: Arc::new(SeededEntropy::new(u64::try_from(self.random.number() >> 64).unwrap_or(1))),
            incarnation: Some(node.incarnation.to_be_bytes().to_vec()),
        }
    }

    fn write<T: Send + 'static>(
        &self,
        node: usize,
        command: impl FnOnce(&mut Draft<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        match self.nodes[node].store.as_ref()?.write_blocking(command) {
            Ok(done) => Some(done.value),
            // A right that was lost, or a disk that is full. Whatever else is refused would make fleets that do nothing.
            Err(WriteError::Refused(error @ (StoreError::OtherSpace { .. } | StoreError::Schema { .. }))) => {
                panic!("node {node} refuses an honest command: {error}: {}", self.tail())
            }
            Err(_) => None,
        }
    }

    /// Lets one thing happen.
    pub(super) fn step(&mut self) {
        let node = self.below(self.nodes.len());
        self.nodes[node].clock.advance(self.below(5_000) as i64);
        match self.below(100) {
            0..40 => self.edit(node),
            40..58 => {
                let other = self.below(self.nodes.len());
                self.connect(node, other);
            }
            58..66 => {
                let other = self.below(self.nodes.len());
                self.note(|| format!("cut {node} {other}"));
                self.wires.remove(&(node.min(other), node.max(other)));
            }
            66..70 => self.crash(node),
            70..73 => {
                // Room for a few more writes, then none until the next restart.
                let room = self.below(12);
                self.note(|| format!("full {node} {room}"));
                self.nodes[node].disk.fill(u32::try_from(room).unwrap_or(0));
            }
            73..75 => {
                self.note(|| format!("backup {node}"));
                self.keep_snapshot(node);
            }
            75..77 => self.restore(node),
            77..80 => self.govern(node),
            82 => self.duplicate(node, true),
            83 => self.duplicate(node, false),
            84..86 => self.rewind(node),
            86..90 if self.life.is_restless => {
                self.keep_snapshot(node);
            }
            90..96 if self.life.is_restless => self.rewind(node),
            96..99 if self.life.is_restless => self.govern(node),
            86..90 | 99 => self.wait(),
            80..82 => {
                let jump = (self.below(5) as i64 - 2) * DAY_MS;
                self.nodes[node].clock.advance(jump);
            }
            _ => {}
        }
        let moves = self.below(30);
        self.run(moves);
    }

    pub(super) fn edit(&mut self, node: usize) {
        if self.nodes[node].newer && self.chance(20) {
            return self.write_of_the_future(node);
        }
        let venture = match self.below(3) {
            0 => None,
            n => Some(VENTURES[n - 1]),
        };
        let mine = self.nodes[node].ventures.as_ref();
        let venture = venture.filter(|code| mine.is_none_or(|mine| mine.contains(code)));
        let space = Space::of(venture);
        let known = if self.records.is_empty() || self.chance(30) {
            None
        } else {
            Some(self.records[self.below(self.records.len())])
        };
        let word = self.random.number() % 1_000;
        let tombstone = self.chance(5);
        let is_handoff = self.chance(25);
        let code = venture.map(str::to_owned);
        if tombstone && self.perhaps_admins.contains(&self.nodes[node].key) {
            self.perhaps_deleted.extend(known);
        }
        let made = self.write(node, move |draft| {
            let now = draft.now();
            match known {
                Some(id) if draft.reader().view(id)?.is_some() => {
                    if tombstone && draft.role() == Some(Role::Admin) {
                        draft.tombstone(id)?;
                        return Ok((id, false));
                    }
                    if id.kind == Kind::Handoff {
                        draft.edit(id, &space, [Edit::set("summary", format!("s{word}"))])?;
                        return Ok((id, false));
                    }
                    let before = draft.reader().body(id)?.unwrap_or_default();
                    let text = format!("{before}\nline {word}");
                    let body = Edit::Body { field: "content", text, base: None };
                    draft.edit(
                        id,
                        &space,
                        [Edit::set("title", format!("t{word}")), Edit::set("updated_at", now), body],
                    )?;
                    Ok((id, false))
                }
                _ if is_handoff => {
                    let id = draft.fresh_id(Kind::Handoff, &space)?;
                    let thread = format!("thread {}", word % 3);
                    let fields = [
                        Edit::set("thread", thread),
                        Edit::set("payload", "{}"),
                        Edit::set("drafted", word.is_multiple_of(2)),
                        Edit::set("created_at", now),
                    ];
                    draft.edit(id, &space, fields.into_iter().chain(Edit::set_some("venture", code)))?;
                    Ok((id, true))
                }
                _ => {
                    let id = draft.fresh_id(Kind::Note, &space)?;
                    let text = format!("first {word}\nsecond\nthird");
                    let body = Edit::Body { field: "content", text, base: None };
                    let edits =
                        [Edit::set("title", "new"), Edit::set("created_at", now), Edit::set("updated_at", now), body];
                    draft.edit(id, &space, edits)?;
                    Ok((id, true))
                }
            }
        });
        if let Some((id, is_new)) = made {
            self.note(|| format!("edit {node} {id} new={is_new}"));
            self.nodes[node].promise();
            if is_new {
                self.records.push(id);
                let space = Space::of(venture).id(&self.nodes[node].store().fleet());
                self.nodes[node].acked.insert(id, space);
            }
        }
        self.grown(node);
    }

    /// Tells every connection of a node that its logs grew.
    pub(super) fn grown(&mut self, node: usize) {
        let Some(store) = self.nodes[node].store.clone() else { return };
        let Ok(OwnHeads { heads, layout }) = transfer::own(&store) else { return };
        if heads == self.nodes[node].known {
            return;
        }
        let known = std::mem::replace(&mut self.nodes[node].known, heads.clone());
        let new = Heads(heads.0.into_iter().filter(|(log, head)| known.0.get(log) != Some(head)).collect());
        let pairs: Vec<(usize, usize)> = self.wires.keys().copied().filter(|(a, b)| *a == node || *b == node).collect();
        for pair in pairs {
            let side = usize::from(pair.1 == node);
            let peer = self.nodes[if pair.0 == node { pair.1 } else { pair.0 }].key;
            let allowed = self.nodes[node].standing.as_ref().and_then(|standing| standing.allowed(peer));
            self.handle(pair, side, Event::Rights(allowed));
            self.handle(pair, side, Event::Grown(OwnHeads { heads: new.clone(), layout }));
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let pair = (a.min(b), a.max(b));
        if a == b || self.wires.contains_key(&pair) {
            return;
        }
        let (Some(one), Some(two)) = (self.side(pair.0, pair.1), self.side(pair.1, pair.0)) else { return };
        self.note(|| format!("connect {pair:?}"));
        self.wires.insert(pair, Wire { sides: [one, two], bytes: 0, closed: None });
        for side in 0..2 {
            let clock_ms = self.nodes[[pair.0, pair.1][side]].store().clock().now().0;
            self.handle(pair, side, Event::Start { clock_ms });
        }
    }

    fn side(&self, node: usize, peer: usize) -> Option<Side> {
        let (me, other) = (&self.nodes[node], self.nodes[peer].key);
        let standing = me.standing.as_ref()?;
        standing.admits(other).ok()?;
        let allowed = standing.allowed(other)?;
        let store = me.store.as_ref()?;
        let about =
            Me { fleet: store.fleet(), fleet_space: Space::Fleet.id(&store.fleet()), software: "sim".to_owned() };
        let own = transfer::own(store).ok()?;
        Some(Side { node, exchange: Exchange::new(about, own, allowed), inbox: VecDeque::new(), work: VecDeque::new() })
    }

    pub(super) fn handle(&mut self, pair: (usize, usize), side: usize, event: Event) {
        let Some(wire) = self.wires.get_mut(&pair) else { return };
        let mut outputs = Vec::new();
        let [one, two] = &mut wire.sides;
        let (own, other) = if side == 0 { (one, two) } else { (two, one) };
        own.exchange.handle(self.now, event, &mut outputs);
        let Node { lies, newer, ref secret, .. } = self.nodes[own.node];
        for output in outputs {
            match output {
                Output::Send(mut message) => {
                    if lies {
                        message = lie(&self.random, secret, &self.records, message);
                    }
                    if newer {
                        if let Message::Hello(hello) = &mut message {
                            hello.newest += 1;
                        }
                        other.inbox.push_back(UNKNOWN_FRAME.to_vec());
                    }
                    let bytes = frame::encode(&message);
                    wire.bytes += bytes.len();
                    other.inbox.push_back(bytes);
                }
                Output::Read(_) | Output::Ingest(_) => own.work.push_back(output),
                Output::Presence(_) => {}
                Output::Close(bye) => {
                    self.byes.push(bye.clone());
                    wire.closed = Some(bye);
                }
            }
        }
    }

    /// Lets up to `moves` frames arrive or pieces of work be done, in any order that keeps each queue's own.
    fn run(&mut self, moves: usize) {
        for _ in 0..moves {
            if !self.advance() {
                return;
            }
        }
    }

    /// Does one thing that is due; returns whether there was any.
    pub(super) fn advance(&mut self) -> bool {
        self.now += 1;
        self.wires.retain(|_, wire| wire.closed.is_none());
        let mut due = Vec::new();
        for (pair, wire) in &self.wires {
            for (number, side) in wire.sides.iter().enumerate() {
                if !side.inbox.is_empty() {
                    due.push((*pair, number, false));
                }
                if !side.work.is_empty() {
                    due.push((*pair, number, true));
                }
            }
        }
        if due.is_empty() {
            return false;
        }
        let (pair, side, is_work) = due[self.below(due.len())];
        let Some(mut wire) = self.wires.remove(&pair) else { return true };
        let frame = if is_work { None } else { self.next_frame(&mut wire.sides[side].inbox) };
        let wire = self.wires.entry(pair).or_insert(wire);
        if !is_work {
            let Some(bytes) = frame else { return true };
            let event = match frame::decode(&bytes[4..]) {
                Ok(Some(message)) => Event::Received(message),
                Ok(None) => return true,
                Err(error) => Event::Stop(Bye { code: code::VIOLATION, text: error.to_string() }),
            };
            self.handle(pair, side, event);
            return true;
        }
        let node = wire.sides[side].node;
        let work = wire.sides[side].work.pop_front();
        let Some(store) = self.nodes[node].store.clone() else { return true };
        match work {
            Some(Output::Read(runs)) => {
                let found = transfer::read_runs(&store, &runs).unwrap_or_default();
                self.handle(pair, side, Event::Read(found.runs));
            }
            Some(Output::Ingest(runs)) => match at_once(transfer::ingest(&store, runs)) {
                Ok(taken) => {
                    self.grown(node);
                    self.handle(pair, side, taken.event);
                }
                Err(_) => drop(self.wires.remove(&pair)),
            },
            _ => {}
        }
        true
    }

    /// Repairs every disk, connects everybody with everybody who may, and waits until nobody has anything to say.
    pub(super) fn heal(&mut self) {
        self.note(|| "heal".to_owned());
        self.wires.clear();
        self.is_faulty = false;
        for node in 0..self.nodes.len() {
            self.stop(node);
            self.start(node);
            self.nodes[node].lies = false;
        }
        self.byes.clear();
        // Rights change what may be said, which shows in the next connection.
        for round in 0.. {
            assert!(round < 12, "they never agree: {}", self.tail());
            let before: Vec<Heads> = self.nodes.iter().map(Node::heads).collect();
            self.wires.clear();
            for a in 0..self.nodes.len() {
                for b in a + 1..self.nodes.len() {
                    self.connect(a, b);
                }
            }
            self.fall_silent();
            self.silence_lasts();
            let bad = self.byes.iter().find(|bye| bye.code != code::REVOKED);
            assert!(bad.is_none(), "honest machines end a connection, {bad:?}: {}", self.tail());
            if before == self.nodes.iter().map(Node::heads).collect::<Vec<_>>() {
                return;
            }
        }
    }
}

impl Node {
    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().expect("it runs")
    }

    pub(super) fn stand(&mut self) {
        self.standing = self.store.clone().map(|store| Arc::new(Standing::new(store, self.inviter)));
        self.known = self.heads();
    }

    /// Remembers what it has acknowledged by now.
    fn promise(&mut self) {
        let (own, epoch) = (self.key, self.store().epoch());
        let logs = self.heads().0.into_iter().filter(|(log, _)| log.author == own && log.epoch == epoch);
        self.promised.extend(logs.map(|(log, head)| ((log, head.length), head.tip)));
    }

    pub(super) fn heads(&self) -> Heads {
        self.store().read().and_then(|snapshot| snapshot.reader().heads()).expect("heads")
    }
}

/// Runs what waits for nothing: a store on a simulated disk does its work on the thread that asks.
pub(super) fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("something waits for another thread, which there is not"),
    }
}
