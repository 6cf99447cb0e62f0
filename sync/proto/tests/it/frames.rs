//! Frames: what is written is read again, what is not a frame is refused, and nothing is inflated without bound.

use ctxnode_model::frontier::{Head, Heads, LogId};
use ctxnode_model::{NodeKey, SpaceId};
use ctxnode_sync_proto::frame::{FrameError, HEADER_LEN, decode, encode, length};
use ctxnode_sync_proto::limits::{MAX_FRAME, MAX_PAYLOAD};
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
