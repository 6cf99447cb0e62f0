//! What the pair tests cannot see from outside.

use super::*;

const FLEET: SpaceId = SpaceId([1; 16]);
const ALPHA: SpaceId = SpaceId([2; 16]);

fn log(space: SpaceId, author: u8) -> LogId {
    LogId { space, author: NodeKey([author; 32]), epoch: 1 }
}

fn heads(logs: &[(LogId, u64)]) -> OwnHeads {
    let head =
        |(log, length): &(LogId, u64)| (*log, Head { length: *length, tip: [u8::try_from(*length).unwrap_or(0); 32] });
    OwnHeads { heads: Heads(logs.iter().map(head).collect()), layout: 0 }
}

/// An exchange in which both have said hello and what they have.
fn open(own: &[(LogId, u64)], stated: &[(LogId, u64)], allowed: Spaces) -> (Exchange, Vec<Output>) {
    let me = Me { fleet: FleetId([7; 16]), fleet_space: FLEET, software: String::new() };
    let mut exchange = Exchange::new(me, heads(own), allowed);
    let mut out = Vec::new();
    exchange.handle(0, Event::Start { clock_ms: 0 }, &mut out);
    let hello = Hello { oldest: 1, newest: 1, fleet: [7; 16], software: String::new(), digest: [9; 32], clock_ms: 0 };
    exchange.handle(0, Event::Received(Message::Hello(hello)), &mut out);
    out.clear();
    exchange.handle(0, Event::Received(Message::Heads(heads(stated).heads)), &mut out);
    (exchange, out)
}

fn wanted(out: &[Output]) -> Vec<Run> {
    out.iter()
        .filter_map(|output| if let Output::Read(runs) = output { Some(runs.clone()) } else { None })
        .flatten()
        .collect()
}

/// It was asked for again at once, without end, and nothing else was sent.
#[test]
fn a_log_that_cannot_be_read_is_left_alone_and_the_others_go_on() {
    let (bad, good) = (log(FLEET, 1), log(FLEET, 2));
    let (mut exchange, out) = open(&[(bad, 5), (good, 3)], &[], Spaces::All);
    assert_eq!(wanted(&out).iter().map(|run| run.log).collect::<Vec<_>>(), [bad, good]);
    let mut out = Vec::new();
    exchange.handle(1, Event::Damaged(BTreeSet::from([bad])), &mut out);
    exchange.handle(1, Event::Read(Vec::new()), &mut out);
    assert_eq!(wanted(&out), [Run { log: good, from: 1, to: 3 }]);
    let entries = Entries { log: good, from: 1, entries: vec![vec![1]; 3] };
    let mut out = Vec::new();
    exchange.handle(1, Event::Read(vec![entries]), &mut out);
    exchange.handle(1, Event::Grown(heads(&[(bad, 6)])), &mut out);
    assert!(wanted(&out).is_empty(), "{out:?}");
    assert_eq!(exchange.lacks().map(|lacks| lacks.peer), Some(9), "and it is said that the peer lacks it");
}

/// An acknowledgement of what was refused at once overtook that of a batch before it, which the peer took for refused.
#[test]
fn acknowledgements_come_in_the_order_of_the_batches() {
    let (ours, theirs) = (log(FLEET, 1), log(ALPHA, 1));
    let (mut exchange, _) = open(&[], &[(ours, 1), (theirs, 1)], Spaces::Only([FLEET].into()));
    let batch = |log| Event::Received(Message::Entries(vec![Entries { log, from: 1, entries: vec![vec![1]] }]));
    let mut out = Vec::new();
    exchange.handle(1, batch(ours), &mut out);
    exchange.handle(1, batch(theirs), &mut out);
    let ingests: Vec<usize> = out
        .iter()
        .map(|output| if let Output::Ingest(runs) = output { runs.len() } else { panic!("{output:?}") })
        .collect();
    assert_eq!(ingests, [1, 0]);
}

/// A fleet may come to have more logs than a stranger may name.
#[test]
fn a_statement_is_bounded_by_what_is_not_here() {
    let logs = |authors: u64| -> Vec<(LogId, u64)> {
        (0..authors).map(|epoch| (LogId { epoch, ..log(FLEET, 1) }, 1)).collect()
    };
    let is_over = |own: u64, stated: u64| {
        let (mut exchange, _) = open(&logs(own), &[], Spaces::All);
        let mut out = Vec::new();
        exchange.handle(1, Event::Received(Message::Heads(heads(&logs(stated)).heads)), &mut out);
        exchange.state == State::Closed
    };
    let most = MAX_STATED as u64;
    assert_eq!([is_over(0, most + 1), is_over(2, most + 2), is_over(0, most)], [true, false, false]);
}

/// A round of field mode ended between two histories of one length: none lacked anything.
#[test]
fn nothing_is_settled_while_histories_are_compared() {
    let one = log(FLEET, 1);
    let (mut exchange, _) = open(&[(one, 2)], &[], Spaces::All);
    let other = Heads([(one, Head { length: 2, tip: [8; 32] })].into());
    let mut out = Vec::new();
    exchange.handle(1, Event::Received(Message::Heads(other)), &mut out);
    assert_eq!(exchange.lacks(), Some(Lacks::default()));
    assert!(!exchange.is_settled());
    let (exchange, _) = open(&[(one, 2)], &[(one, 2)], Spaces::All);
    assert!(exchange.is_settled());
}

/// Steady writing is no arrear: what was held at a moment arrives.
#[test]
fn what_was_held_earlier_arrives_while_more_is_written() {
    let one = log(FLEET, 1);
    let (mut exchange, _) = open(&[(one, 3)], &[(one, 2)], Spaces::All);
    let held = exchange.held();
    assert!(!exchange.has_arrived(&held));
    exchange.handle(1, Event::Grown(heads(&[(one, 9)])), &mut Vec::new());
    exchange.handle(1, Event::Received(Message::Heads(heads(&[(one, 3)]).heads)), &mut Vec::new());
    assert!(exchange.has_arrived(&held) && !exchange.has_arrived(&exchange.held()));
}
