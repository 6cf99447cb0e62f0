//! Frames: what is written is read again, what is not a frame is refused, and nothing is inflated without bound.

use ctxnode_model::frontier::{Head, Heads, LogId};
use ctxnode_model::{NodeKey, SpaceId};
use ctxnode_sync_proto::frame::{FrameError, HEADER_LEN, decode, encode, length};
use ctxnode_sync_proto::limits::{BATCH_ENTRIES, MAX_FRAME, MAX_LOGS, MAX_PAYLOAD, MAX_PRESENCE, MAX_TEXT};
use ctxnode_sync_proto::{Bye, Entries, Hello, Message};
use proptest::prelude::*;

fn log() -> impl Strategy<Value = LogId> {
    (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<u64>()).prop_map(|(space, author, epoch)| LogId {
        space: SpaceId(space),
        author: NodeKey(author),
        epoch,
    })
}

fn heads() -> impl Strategy<Value = Heads> {
    let head = (any::<u64>(), any::<[u8; 32]>()).prop_map(|(length, tip)| Head { length, tip });
    proptest::collection::btree_map(log(), head, 0..20).prop_map(Heads)
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..900);
    let run = (log(), 1..u64::MAX / 2, proptest::collection::vec(bytes(), 1..5))
        .prop_map(|(log, from, entries)| Entries { log, from, entries });
    let hello = (any::<u16>(), any::<u16>(), any::<[u8; 16]>(), ".{0,40}", any::<[u8; 32]>(), any::<i64>()).prop_map(
        |(oldest, newest, fleet, software, digest, clock_ms)| {
            Message::Hello(Hello { oldest, newest, fleet, software, digest, clock_ms })
        },
    );
    prop_oneof![
        hello,
        heads().prop_map(Message::Heads),
        heads().prop_map(Message::HeadsPart),
        proptest::collection::vec(run, 0..4).prop_map(Message::Entries),
        (any::<u32>(), heads()).prop_map(|(batches, heads)| Message::Ack { batches, heads }),
        bytes().prop_map(Message::Presence),
        (any::<u16>(), ".{0,40}").prop_map(|(code, text)| Message::Bye(Bye { code, text })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        let frame = encode(&message);
        let told = length(frame[..4].try_into().unwrap()).unwrap();
        prop_assert_eq!(told + 4, frame.len());
        prop_assert_eq!(decode(&frame[4..]).unwrap(), Some(message));
    }

    #[test]
    fn damaged_frames_are_refused_or_read_and_never_panic(
        message in message(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = encode(&message)[4..].to_vec();
        let place = at.index(frame.len());
        frame[place] = byte;
        let _ = decode(&frame);
        frame.truncate(cut.index(frame.len()));
        let _ = decode(&frame);
    }

    #[test]
    fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&noise);
    }
}

#[test]
fn a_frame_of_an_unknown_kind_is_skipped() {
    assert_eq!(decode(&[200, 0, 1, 2, 3]), Ok(None));
}

#[test]
fn lengths_are_checked_before_anything_is_allocated() {
    assert_eq!(length(u32::MAX.to_be_bytes()), Err(FrameError::TooLarge(u32::MAX as usize)));
    assert_eq!(length([0, 0, 0, 1]), Err(FrameError::TooShort(1)));
    let longest = u32::try_from(MAX_FRAME - 4).unwrap();
    assert!(length(longest.to_be_bytes()).is_ok() && length((longest + 1).to_be_bytes()).is_err());
}

/// A few kilobytes that inflate to a gigabyte, with an honest size, with none, and with one that is too small.
#[test]
fn a_zip_bomb_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; MAX_PAYLOAD + 1], 1).unwrap();
    let frame = |body: &[u8]| [&[3, 1], body].concat();
    assert_eq!(decode(&frame(&bomb)), Err(FrameError::Compression));
    let unsized_bomb = zstd::stream::encode_all(std::io::Cursor::new(vec![0; MAX_PAYLOAD + 1]), 1).unwrap();
    assert_eq!(decode(&frame(&unsized_bomb)), Err(FrameError::Compression));
}

#[test]
fn an_empty_run_and_a_position_of_zero_are_refused() {
    let log = LogId { space: SpaceId([1; 16]), author: NodeKey([2; 32]), epoch: 3 };
    for run in [Entries { log, from: 1, entries: vec![] }, Entries { log, from: 0, entries: vec![vec![1]] }] {
        let frame = encode(&Message::Entries(vec![run]));
        assert!(decode(&frame[4..]).is_err());
    }
    assert_eq!(HEADER_LEN, 6);
}

/// A frame without its length field, of a payload that no message encodes to.
fn raw(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], payload].concat()
}

/// How an array begins that says how much it holds.
fn array(count: usize) -> Vec<u8> {
    [&[0x9a_u8][..], &u32::try_from(count).unwrap().to_be_bytes()].concat()
}

#[test]
fn of_texts_for_people_the_beginning_is_read() {
    let (long, read) = ("\u{e4}".repeat(3 << 20), "\u{e4}".repeat(MAX_TEXT));
    let bye = |text: &str| Message::Bye(Bye { code: 4, text: text.to_owned() });
    assert_eq!(decode(&encode(&bye(&long))[4..]), Ok(Some(bye(&read))));
    assert_eq!(decode(&encode(&bye(&read))[4..]), Ok(Some(bye(&read))), "it fits");
    let hello = |software: &str| {
        let software = software.to_owned();
        Message::Hello(Hello { oldest: 1, newest: 1, fleet: [7; 16], software, digest: [8; 32], clock_ms: 9 })
    };
    assert_eq!(decode(&encode(&hello(&long))[4..]), Ok(Some(hello(&read))));
}

/// An empty entry is a byte on the wire, less when there are millions, and a vector in memory.
#[test]
fn a_batch_of_more_entries_than_it_may_have_is_refused() {
    let most = usize::try_from(BATCH_ENTRIES).unwrap();
    let log = |author: u8| LogId { space: SpaceId([1; 16]), author: NodeKey([author; 32]), epoch: 3 };
    let batch = |lengths: &[usize]| {
        let numbered = (0_u8..).zip(lengths);
        let runs =
            numbered.map(|(author, length)| Entries { log: log(author), from: 1, entries: vec![vec![]; *length] });
        encode(&Message::Entries(runs.collect()))
    };
    for lengths in [&[most][..], &[most - 1, 1][..], &[1; 20][..]] {
        assert!(decode(&batch(lengths)[4..]).is_ok_and(|message| message.is_some()), "{lengths:?}");
    }
    for lengths in [&[most + 1][..], &[most, 1][..], &[most / 2, most / 2, 1][..]] {
        assert_eq!(decode(&batch(lengths)[4..]), Err(FrameError::Payload(3)), "{lengths:?}");
    }
    let run = [&[0xa5_u8, 0, 0x50][..], &[1; 16], &[1, 0x58, 32], &[2; 32], &[2, 3, 3, 1, 4]].concat();
    let payload = |count: usize| [vec![0xa1, 0, 0x81], run.clone(), array(count), vec![0x40; count]].concat();
    assert!(decode(&raw(3, &payload(most))).is_ok_and(|message| message.is_some()));
    assert_eq!(decode(&raw(3, &payload(7 << 20))), Err(FrameError::Payload(3)));
}

/// Also of one log again and again, of which one head would be left.
#[test]
fn a_statement_of_more_logs_than_a_message_holds_is_refused() {
    let head = [&[0x85_u8, 0x50][..], &[1; 16], &[0x58, 32], &[2; 32], &[3, 5, 0x58, 32], &[4; 32]].concat();
    for (kind, before) in [(2_u8, vec![0xa1_u8, 0]), (7, vec![0xa1, 0]), (4, vec![0xa2, 0, 1, 1])] {
        let frame = |count: usize| raw(kind, &[before.clone(), array(count), head.repeat(count)].concat());
        assert!(decode(&frame(MAX_LOGS)).is_ok_and(|message| message.is_some()), "{kind}");
        assert_eq!(decode(&frame(MAX_LOGS + 1)), Err(FrameError::Payload(kind)));
    }
}

/// To skip those that do not say how much they hold takes memory for each that is open.
#[test]
fn arrays_and_maps_without_a_length_are_refused_and_others_skipped_under_unknown_keys() {
    let bye = |unknown: &[u8]| raw(6, &[&[0xa3, 0, 4, 1, 0x61, b'x', 0x18, 99][..], unknown].concat());
    let read = Message::Bye(Bye { code: 4, text: "x".to_owned() });
    let deep = [vec![0x81_u8; 1_000], vec![0x80]].concat();
    let tagged = vec![0xc1_u8, 0xa1, 0x20, 0x82, 0xf6, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0];
    for skipped in [vec![5], vec![0x5f, 0x41, 1, 0xff], deep, tagged] {
        assert_eq!(decode(&bye(&skipped)), Ok(Some(read.clone())), "{skipped:?}");
    }
    let bomb = [vec![0x82_u8], vec![0x9f; 1_000], vec![0xff; 1_000], vec![0]].concat();
    let claimed = [&[0xba_u8][..], &u32::MAX.to_be_bytes()].concat();
    for refused in [vec![0x9f, 0xff], vec![0xbf, 0xff], vec![0x81, 0x9f, 0xff], vec![0xff], bomb, claimed] {
        assert_eq!(decode(&bye(&refused)), Err(FrameError::Payload(6)), "{refused:?}");
    }
}

#[test]
fn presence_that_is_too_large_is_skipped() {
    let presence = |bytes: usize| Message::Presence(vec![7; bytes]);
    assert_eq!(decode(&encode(&presence(MAX_PRESENCE))[4..]), Ok(Some(presence(MAX_PRESENCE))));
    assert_eq!(decode(&encode(&presence(MAX_PRESENCE + 1))[4..]), Ok(None));
}
