//! Two peers over a wire that keeps order and may be cut anywhere: they end equal, and say no more than they must.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ctxnode_model::frontier::{Head, Heads, LogId, Run};
use ctxnode_model::id::FleetId;
use ctxnode_model::{NodeKey, SpaceId, Spaces};
use ctxnode_sync_proto::frame;
use ctxnode_sync_proto::limits::MAX_LOGS;
use ctxnode_sync_proto::{Bye, Entries, Event, Exchange, Me, Message, Output, OwnHeads, code};
use proptest::prelude::*;

const FLEET: SpaceId = SpaceId([1; 16]);

fn log(space: u8, author: u8) -> LogId {
    LogId { space: SpaceId([space; 16]), author: NodeKey([author; 32]), epoch: 1 }
}

/// A replica that holds entries without looking into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Replica(BTreeMap<LogId, Vec<Vec<u8>>>);

impl Replica {
    fn write(&mut self, log: LogId) {
        let entries = self.0.entry(log).or_default();
        entries.push(format!("{log:?} {}", entries.len() + 1).into_bytes());
    }

    fn heads(&self) -> Heads {
        let tip = |entries: &Vec<Vec<u8>>| entries.last().map_or([0; 32], |last| *blake3::hash(last).as_bytes());
        let head = |entries: &Vec<Vec<u8>>| Head { length: entries.len() as u64, tip: tip(entries) };
        Heads(self.0.iter().map(|(log, entries)| (*log, head(entries))).collect())
    }

    fn read(&self, runs: &[Run], most: usize) -> Vec<Entries> {
        let mut room = most;
        let mut found = Vec::new();
        for run in runs {
            let entries: Vec<Vec<u8>> =
                self.0[&run.log][run.from as usize - 1..run.to as usize].iter().take(room).cloned().collect();
            room -= entries.len();
            found.push(Entries { log: run.log, from: run.from, entries });
        }
        found
    }

    fn ingest(&mut self, runs: Vec<Entries>) -> Event {
        let mut forks = BTreeSet::new();
        let touched: Vec<LogId> = runs.iter().map(|run| run.log).collect();
        for run in runs {
            let known = self.0.entry(run.log).or_default();
            for (at, entry) in run.entries.into_iter().enumerate() {
                let position = run.from as usize + at;
                let follows = known.last().is_none_or(|last| follows(last, &entry));
                match known.get(position - 1) {
                    Some(there) if *there != entry => drop(forks.insert(run.log)),
                    None if position == known.len() + 1 && !follows => drop(forks.insert(run.log)),
                    Some(_) => {}
                    None if position == known.len() + 1 && !forks.contains(&run.log) => known.push(entry),
                    None => {}
                }
            }
        }
        let mut heads = self.heads();
        heads.0.retain(|log, _| touched.contains(log));
        Event::Ingested { own: OwnHeads { heads, layout: 0 }, diverged: forks, bad: None }
    }
}

/// What a hash chain says: an entry `#a7` of history `a` stands behind another of it, or behind what both have.
fn follows(last: &[u8], entry: &[u8]) -> bool {
    entry.first() != Some(&b'#') || last.starts_with(b"both") || last.get(..2) == entry.get(..2)
}

struct Side {
    replica: Replica,
    exchange: Exchange,
    inbox: VecDeque<Vec<u8>>,
    closed: Option<Bye>,
    /// What the other side sent, taken or not.
    offered: BTreeSet<Vec<u8>>,
    frames: usize,
    bytes: usize,
}

impl Side {
    fn new(replica: Replica, allowed: &Spaces) -> Self {
        let me = Me { fleet: FleetId([7; 16]), fleet_space: FLEET, software: "test".to_owned() };
        let exchange = Exchange::new(me, OwnHeads { heads: replica.heads(), layout: 0 }, allowed.clone());
        Self { replica, exchange, inbox: VecDeque::new(), closed: None, offered: BTreeSet::new(), frames: 0, bytes: 0 }
    }

    /// Handles an event and all that follows from it here; returns the frames for the other side.
    fn handle(&mut self, event: Event, most: usize) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut out = Vec::new();
            self.exchange.handle(0, event, &mut out);
            for output in out {
                match output {
                    Output::Send(message) => sent.push(frame::encode(&message)),
                    Output::Read(runs) => events.push_back(Event::Read(self.replica.read(&runs, most))),
                    Output::Ingest(runs) => {
                        self.offered.extend(runs.iter().flat_map(|run| run.entries.clone()));
                        events.push_back(self.replica.ingest(runs));
                    }
                    Output::Presence(_) => {}
                    Output::Close(bye) => self.closed = Some(bye),
                }
            }
        }
        self.frames += sent.len();
        self.bytes += sent.iter().map(Vec::len).sum::<usize>();
        sent
    }
}

/// Lets both talk until nobody has anything to say, or `stop` frames have arrived.
fn talk(a: &mut Side, b: &mut Side, most: usize, stop: usize) {
    let start = || Event::Start { clock_ms: 0 };
    b.inbox.extend(a.handle(start(), most));
    a.inbox.extend(b.handle(start(), most));
    for _ in 0..stop {
        let (from, to) = if b.inbox.is_empty() { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
        let Some(bytes) = to.inbox.pop_front() else { break };
        let message = frame::decode(&bytes[4..]).expect("a frame").expect("a known kind");
        from.inbox.extend(to.handle(Event::Received(message), most));
    }
}

fn spaces() -> Spaces {
    Spaces::All
}

fn replicas() -> impl Strategy<Value = (Replica, Replica)> {
    proptest::collection::btree_map((1_u8..4, 0_u8..4), (0_usize..1_300, 0_usize..1_300), 0..6).prop_map(|logs| {
        let (mut a, mut b) = (Replica::default(), Replica::default());
        for ((space, author), (there, here)) in logs {
            (0..there).for_each(|_| a.write(log(space, author)));
            (0..here).for_each(|_| b.write(log(space, author)));
        }
        (a, b)
    })
}

fn without_empty(mut replica: Replica) -> Replica {
    replica.0.retain(|_, entries| !entries.is_empty());
    replica
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_catch_up_that_is_cut_anywhere_ends_equal((a, b) in replicas(), cuts in proptest::collection::vec(0_usize..12, 0..4), most in 1_usize..600) {
        let (mut a, mut b) = (a, b);
        for stop in cuts.into_iter().chain([usize::MAX]) {
            let (mut one, mut two) = (Side::new(a, &spaces()), Side::new(b, &spaces()));
            talk(&mut one, &mut two, most, stop);
            prop_assert!(one.closed.is_none() && two.closed.is_none());
            (a, b) = (one.replica, two.replica);
        }
        prop_assert_eq!(without_empty(a), without_empty(b));
    }

    #[test]
    fn nothing_of_a_space_without_a_right_is_named((a, b) in replicas(), allowed in proptest::collection::btree_set(1_u8..4, 0..3)) {
        let allowed = Spaces::Only(allowed.into_iter().map(|space| SpaceId([space; 16])).collect());
        let before = b.clone();
        let (mut one, mut two) = (Side::new(a, &allowed), Side::new(b, &spaces()));
        talk(&mut one, &mut two, 500, usize::MAX);
        for (log, entries) in &two.replica.0 {
            if !allowed.contains(&log.space) {
                prop_assert_eq!(Some(entries), before.0.get(log));
            }
        }
    }
}

#[test]
fn equal_replicas_say_hello_and_nothing_else() {
    let mut replica = Replica::default();
    (0..5_000).for_each(|n: u16| replica.write(log(1 + (n % 3) as u8, (n % 40) as u8)));
    let (mut one, mut two) = (Side::new(replica.clone(), &spaces()), Side::new(replica, &spaces()));
    talk(&mut one, &mut two, 500, usize::MAX);
    assert_eq!((one.frames, two.frames), (1, 1));
    assert!(one.bytes <= 1_024 && two.bytes <= 1_024, "{} and {}", one.bytes, two.bytes);
    assert_eq!(one.exchange.lacks(), Some(ctxnode_sync_proto::Lacks::default()));
}

/// A fleet that has lived long has more logs than a message holds: each boot of a machine may begin new ones.
#[test]
fn more_logs_than_one_message_holds_are_stated_in_parts() {
    let epochs = u64::try_from(MAX_LOGS).unwrap() * 2 + 5;
    let mut a = Replica::default();
    (0..epochs).for_each(|epoch| a.write(LogId { epoch, ..log(2, 1) }));
    let mut b = a.clone();
    a.write(log(2, 3));
    b.write(LogId { epoch: 7, ..log(2, 1) });
    let (mut one, mut two) = (Side::new(a, &spaces()), Side::new(b, &spaces()));
    talk(&mut one, &mut two, 500, usize::MAX);
    assert_eq!((&one.closed, &two.closed), (&None, &None));
    assert_eq!(one.replica, two.replica);
    // Hello, three parts, a batch, an acknowledgement.
    assert_eq!((one.frames, two.frames), (6, 6));
}

#[test]
fn what_is_written_later_is_sent_at_once_and_acknowledged() {
    let (mut one, mut two) = (Side::new(Replica::default(), &spaces()), Side::new(Replica::default(), &spaces()));
    talk(&mut one, &mut two, 500, usize::MAX);
    one.replica.write(log(2, 1));
    let heads = one.replica.heads();
    two.inbox.extend(one.handle(Event::Grown(OwnHeads { heads, layout: 0 }), 500));
    assert_eq!(one.exchange.lacks().unwrap().peer, 1);
    talk(&mut one, &mut two, 500, usize::MAX);
    assert_eq!(one.replica, two.replica);
    assert_eq!(one.exchange.lacks().unwrap().peer, 0);
}

/// Whoever is the longer: each gets all entries of the other's history, in batches, once.
#[test]
fn two_histories_of_a_log_are_each_sent_whole() {
    let history = |name: &str, length: usize| -> Vec<Vec<u8>> {
        let after = (5..length).map(|position| format!("#{name}{position}").into_bytes());
        (0..5).map(|position| format!("both{position}").into_bytes()).chain(after).collect()
    };
    for (here, there) in [(1_700, 1_700), (1_700, 900), (900, 1_700), (6, 1_700)] {
        let (mut a, mut b) = (Replica::default(), Replica::default());
        a.0.insert(log(1, 1), history("a", here));
        b.0.insert(log(1, 1), history("b", there));
        a.write(log(2, 2));
        let (mut one, mut two) = (Side::new(a, &spaces()), Side::new(b, &spaces()));
        talk(&mut one, &mut two, 100, 2_000);
        assert!(one.inbox.is_empty() && two.inbox.is_empty(), "{here} {there}: they fell silent");
        let missing = |side: &Side, name: &str, length| {
            history(name, length).into_iter().filter(|entry| !side.offered.contains(entry)).count()
        };
        let (at_one, at_two) = (missing(&one, "b", there), missing(&two, "a", here));
        assert!(at_one <= 5 && at_two <= 5, "{here} {there}: {at_one} {at_two}");
        assert_eq!(two.replica.0[&log(2, 2)].len(), 1);
        assert!(one.frames < 120 && two.frames < 120, "{here} {there}: {} {}", one.frames, two.frames);
    }
}

/// The peer refuses what it is sent again and again: it is left alone, and other logs go on.
#[test]
fn a_refused_log_is_given_up() {
    let (mut a, mut b) = (Replica::default(), Replica::default());
    a.0.insert(log(1, 1), vec![b"x".to_vec(), b"y".to_vec(), b"more".to_vec()]);
    b.0.insert(log(1, 1), vec![b"z".to_vec()]);
    a.write(log(2, 2));
    let (mut one, mut two) = (Side::new(a, &spaces()), Side::new(b, &spaces()));
    talk(&mut one, &mut two, 500, 200);
    assert!(one.inbox.is_empty() && two.inbox.is_empty(), "they fell silent");
    assert_eq!(two.replica.0[&log(2, 2)].len(), 1);
}

fn closes(messages: Vec<Message>) -> u16 {
    let mut side = Side::new(Replica::default(), &spaces());
    side.handle(Event::Start { clock_ms: 0 }, 500);
    for message in messages {
        side.handle(Event::Received(message), 500);
    }
    side.closed.map_or(0, |bye| bye.code)
}

#[test]
fn what_the_protocol_does_not_allow_ends_it_with_a_reason() {
    let hello = |oldest, newest, fleet| {
        let (software, digest) = (String::new(), [0; 32]);
        Message::Hello(ctxnode_sync_proto::Hello { oldest, newest, fleet: [fleet; 16], software, digest, clock_ms: 0 })
    };
    let one = || Entries { log: log(1, 1), from: 1, entries: vec![b"x".to_vec()] };
    let many = Entries { log: log(1, 1), from: 1, entries: vec![b"x".to_vec(); 501] };
    assert_eq!(closes(vec![hello(2, 3, 7)]), code::VERSION);
    assert_eq!(closes(vec![hello(1, 1, 8)]), code::FLEET);
    assert_eq!(closes(vec![hello(1, 9, 7)]), 0, "a newer peer that still speaks ours");
    assert_eq!(closes(vec![hello(1, 1, 7), hello(1, 1, 7)]), code::VIOLATION);
    assert_eq!(closes(vec![Message::Entries(vec![one()])]), code::VIOLATION);
    assert_eq!(closes(vec![hello(1, 1, 7), Message::Entries(vec![many])]), code::VIOLATION);
    assert_eq!(closes(vec![hello(1, 1, 7), Message::Ack { batches: 1, heads: Heads::default() }]), code::VIOLATION);
}

#[test]
fn more_batches_than_the_window_end_it() {
    let mut side = Side::new(Replica::default(), &spaces());
    let mut out = Vec::new();
    let hello = ctxnode_sync_proto::Hello {
        oldest: 1,
        newest: 1,
        fleet: [7; 16],
        software: String::new(),
        digest: [0; 32],
        clock_ms: 0,
    };
    let received = |message| Event::Received(message);
    for event in [Event::Start { clock_ms: 0 }, received(Message::Hello(hello))] {
        side.exchange.handle(0, event, &mut out);
    }
    for number in 1..=5 {
        let batch = vec![Entries { log: log(1, 1), from: number, entries: vec![b"x".to_vec()] }];
        side.exchange.handle(0, received(Message::Entries(batch)), &mut out);
    }
    assert!(matches!(out.last(), Some(Output::Close(bye)) if bye.code == code::VIOLATION), "{out:?}");
}

#[test]
fn silence_ends_it() {
    let mut side = Side::new(Replica::default(), &spaces());
    let mut out = Vec::new();
    side.exchange.handle(0, Event::Start { clock_ms: 0 }, &mut out);
    side.exchange.handle(10_000, Event::Tick, &mut out);
    assert_eq!(out.len(), 1);
    side.exchange.handle(10_001, Event::Tick, &mut out);
    assert!(matches!(out.last(), Some(Output::Close(bye)) if bye.code == code::TIMEOUT), "{out:?}");
}

/// Views of the own logs come from several tasks, and one that was taken earlier may come later. A log that was laid out anew
/// may be shorter than before, so length alone does not say which is newer.
#[test]
fn a_view_of_the_own_logs_that_comes_late_is_not_taken_over() {
    let own = |length: u64, layout: u64| {
        let head = Head { length, tip: [u8::try_from(length).unwrap(); 32] };
        OwnHeads { heads: Heads([(log(1, 1), head)].into()), layout }
    };
    let me = |name: &str| Me { fleet: FleetId([7; 16]), fleet_space: FLEET, software: name.to_owned() };
    let mut one = Exchange::new(me("one"), own(3, 0), Spaces::All);
    let mut two = Exchange::new(me("two"), OwnHeads::default(), Spaces::All);
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    one.handle(0, Event::Start { clock_ms: 0 }, &mut said);
    two.handle(0, Event::Start { clock_ms: 0 }, &mut heard);
    for output in heard {
        if let Output::Send(hello) = output {
            one.handle(0, Event::Received(hello), &mut said);
        }
    }
    one.handle(0, Event::Received(Message::Heads(Heads::default())), &mut said);
    let lacks = |one: &Exchange| one.lacks().unwrap().peer;
    assert_eq!(lacks(&one), 3);
    one.handle(0, Event::Grown(own(2, 1)), &mut said);
    assert_eq!(lacks(&one), 2, "laid out anew, and shorter");
    one.handle(0, Event::Grown(own(3, 0)), &mut said);
    assert_eq!(lacks(&one), 2, "this one is older");
    one.handle(0, Event::Grown(own(4, 1)), &mut said);
    assert_eq!(lacks(&one), 4);
}
