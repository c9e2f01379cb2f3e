use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, send};
use proptest::prelude::*;

use super::*;

fn channel() -> (KeeperEnd, GenerationEnd) {
    let (keeper, inherited): (KeeperEnd, _) = pair().unwrap();
    (keeper, GenerationEnd::from_inherited(inherited).unwrap())
}

fn status(request: u64) -> KeeperToGeneration {
    Status { request }.into()
}

fn upgrade() -> KeeperToGeneration {
    Upgrade { upgrade: 7, generation: 3, successor_pid: 42, deadline_ms: 1000 }.into()
}

#[test]
fn messages_arrive_whole_and_in_order() {
    let (keeper, mut generation) = channel();
    let sent = [
        status(1),
        Start { generation: 1, keeper_pid: 9, settings: "{}".into() }.into(),
        Abort { upgrade: 4, reason: "x".repeat(5000) }.into(),
    ];
    for message in &sent {
        keeper.send(message).unwrap();
    }
    for message in sent {
        assert_eq!(generation.recv().unwrap().unwrap().message, message);
    }
    assert!(generation.recv().unwrap().is_none());
}

#[test]
fn a_descriptor_travels_with_its_message_and_is_closed_on_exec() {
    let (keeper, mut generation) = channel();
    let (near, far) = Link::pair().unwrap();
    keeper.send_with(&upgrade(), far.as_fd()).unwrap();
    drop(far);
    let delivery = generation.recv().unwrap().unwrap();
    assert_eq!(delivery.message, upgrade());
    let far = delivery.descriptor.unwrap();
    let flags = fcntl(&far, FcntlArg::F_GETFD).unwrap();
    assert_eq!(FdFlag::from_bits_truncate(flags), FdFlag::FD_CLOEXEC);
    send(far.as_raw_fd(), b"hello", MsgFlags::empty()).unwrap();
    let mut buffer = [0u8; 8];
    assert_eq!(nix::unistd::read(&near, &mut buffer).unwrap(), 5);
}

#[test]
fn a_descriptor_in_the_wrong_place_is_refused_before_it_is_sent() {
    let (keeper, _generation) = channel();
    let (near, _far) = Link::pair().unwrap();
    let error = keeper.send_with(&status(1), near.as_fd()).unwrap_err();
    assert!(matches!(error, ChannelError::Descriptors { got: 1, expected: 0 }), "{error}");
    let error = keeper.send(&upgrade()).unwrap_err();
    assert!(matches!(error, ChannelError::Descriptors { got: 0, expected: 1 }), "{error}");
}

#[test]
fn the_death_of_the_other_end_is_seen_after_what_it_had_said() {
    let (mut keeper, generation) = channel();
    generation.send(&Goodbye { upgrade: 1 }.into()).unwrap();
    drop(generation);
    assert!(keeper.recv().unwrap().is_some());
    assert!(matches!(keeper.recv().unwrap_err(), ChannelError::Closed));
    assert!(matches!(keeper.send(&status(1)).unwrap_err(), ChannelError::Closed));
}

#[test]
fn last_words_are_heard_even_if_the_speaker_had_not_listened() {
    let (mut keeper, generation) = channel();
    keeper.send(&status(1)).unwrap();
    generation.send(&Goodbye { upgrade: 1 }.into()).unwrap();
    drop(generation);
    assert!(keeper.recv().unwrap().is_some());
    assert!(matches!(keeper.recv().unwrap_err(), ChannelError::Closed));
}

#[test]
fn an_end_that_does_not_read_fills_up_instead_of_blocking() {
    let (keeper, mut generation) = channel();
    let mut sent = 0;
    let error = loop {
        match keeper.send(&status(sent)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ChannelError::Full), "{error}");
    assert!(error.is_recoverable() && sent > 0);
    generation.recv().unwrap().unwrap();
    while keeper.send(&status(sent)).is_err() {
        generation.recv().unwrap().unwrap();
    }
}

#[test]
fn too_long_a_message_is_refused_by_the_sender() {
    let (keeper, _generation) = channel();
    let long = Abort { upgrade: 1, reason: "x".repeat(MAX_MESSAGE) };
    assert!(matches!(keeper.send(&long.into()).unwrap_err(), ChannelError::TooLong(_)));
}

#[test]
fn an_unknown_kind_is_skipped_and_the_next_message_read() {
    let (keeper, mut generation) = channel();
    let packet =
        [b"HRKC".as_slice(), &KEEPER_PROTOCOL.to_le_bytes(), &999u16.to_le_bytes()].concat();
    send(keeper.as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
    keeper.send(&status(5)).unwrap();
    let error = generation.recv().unwrap_err();
    assert!(matches!(error, ChannelError::UnknownKind(999)) && error.is_recoverable());
    assert_eq!(generation.recv().unwrap().unwrap().message, status(5));
}

#[test]
fn another_version_is_named_in_the_error() {
    let (keeper, mut generation) = channel();
    let packet = [b"HRKC".as_slice(), &9u16.to_le_bytes(), &7u16.to_le_bytes()].concat();
    send(keeper.as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
    assert!(matches!(generation.recv().unwrap_err(), ChannelError::Version(9)));
}

proptest! {
    /// Whatever the other end sends, receiving it is an error or a message, never a panic.
    #[test]
    fn rubbish_never_panics(kind in 0u16..120, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = KeeperToGeneration::decode(kind, &body);
        let _ = GenerationToKeeper::decode(kind, &body);
        let _ = decode::<GenerationToKeeper>(&body);
    }

    /// One flipped bit in a real archive is an error or another valid message, never a panic.
    #[test]
    fn a_flipped_bit_never_panics(position in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let message: GenerationToKeeper = Ready {
            pid: 1, generation: 1, version: "0.1.0".into(), build: "a build with a long name".into(),
            fingerprint: "00".into(), handoff_versions: (1, 2), addresses: vec!["127.0.0.1:6379".into(), "/run/some/where".into()],
        }.into();
        let mut body = message.encode().unwrap();
        let index = position.index(body.len());
        body[index] ^= 1 << bit;
        let _ = GenerationToKeeper::decode(message.kind(), &body);
    }
}
