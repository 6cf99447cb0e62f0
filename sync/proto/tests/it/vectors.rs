//! The frames that `PROTOCOL.md` prints: another implementation can be checked against them, and so is this one.

use ctxnode_model::frontier::{Head, Heads, LogId};
use ctxnode_model::{NodeKey, SpaceId};
use ctxnode_sync_proto::frame::{decode, encode};
use ctxnode_sync_proto::{Bye, Entries, Hello, Message, code};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

fn heads() -> Heads {
    let log = |author| LogId { space: SpaceId([1; 16]), author: NodeKey([author; 32]), epoch: 3 };
    Heads([(log(2), Head { length: 5, tip: [4; 32] }), (log(9), Head { length: 1_000, tip: [8; 32] })].into())
}

fn messages() -> Vec<(&'static str, Message)> {
    let log = LogId { space: SpaceId([1; 16]), author: NodeKey([2; 32]), epoch: u64::MAX };
    let hello = Hello {
        oldest: 1,
        newest: 1,
        fleet: [7; 16],
        software: "0.1.0".to_owned(),
        digest: heads().digest(),
        clock_ms: 1_795_435_200_000,
    };
    let entries = Entries { log, from: 6, entries: vec![vec![0xaa, 0xbb], vec![0xcc]] };
    let long = Entries { log, from: 1, entries: vec![vec![0; 600]] };
    vec![
        ("hello", Message::Hello(hello)),
        ("heads", Message::Heads(heads())),
        ("no-heads", Message::Heads(Heads::default())),
        ("heads-part", Message::HeadsPart(Heads::default())),
        ("entries", Message::Entries(vec![entries])),
        ("entries-compressed", Message::Entries(vec![long])),
        ("ack", Message::Ack { batches: 1, heads: heads() }),
        ("presence", Message::Presence(b"{}".to_vec())),
        ("bye", Message::Bye(Bye { code: code::VIOLATION, text: "no".to_owned() })),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The vectors of the document, by name: `name hex`, continued on indented lines.
fn printed() -> Vec<(String, String)> {
    let (_, vectors) = DOCUMENT.split_once("## Vectors").unwrap();
    let block = vectors.split("```").nth(1).unwrap().trim_start_matches("text");
    let mut found: Vec<(String, String)> = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        match (line.strip_prefix("  "), found.last_mut()) {
            (Some(more), Some((_, hex))) => hex.push_str(more.trim()),
            _ => found.push((line.trim().to_owned(), String::new())),
        }
    }
    found
}

/// What zstd makes of a payload differs between its versions.
fn is_compressed(name: &str) -> bool {
    name.ends_with("-compressed")
}

#[test]
fn the_document_prints_what_is_sent() {
    let made: Vec<(String, String)> =
        messages().into_iter().map(|(name, message)| (name.to_owned(), hex(&encode(&message)))).collect();
    let text: String = made.iter().map(|(name, hex)| format!("{name}\n  {hex}\n")).collect();
    let plain = |all: Vec<(String, String)>| all.into_iter().filter(|(name, _)| !is_compressed(name)).collect();
    let (printed, made): (Vec<_>, Vec<_>) = (plain(printed()), plain(made));
    assert_eq!(printed, made, "the vectors should be:\n{text}");
}

#[test]
fn what_the_document_prints_is_read() {
    let printed = printed();
    assert_eq!(printed.len(), messages().len());
    for ((named, printed), (name, message)) in printed.iter().zip(messages()) {
        assert_eq!(named, name);
        assert_eq!(decode(&bytes(printed)[4..]).unwrap(), Some(message), "{name}");
    }
}
