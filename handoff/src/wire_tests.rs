use proptest::prelude::*;

use super::{HEADER_BYTES, MAGIC, MAX_MESSAGE_BYTES, decode, encode};
use crate::error::WireError;
use crate::message::{
    Abort, Ack, Arena, Closed, Goodbye, Hello, Identity, Listeners, Message, Offer, PrecopyDone,
    Ready, Refuse, Serving, SetDigest, Sockets, Stopping, Ticket, Welcome,
};

fn identity() -> Identity {
    Identity { version: "1.2.3".into(), build: "b7".into(), fingerprint: vec![1, 2, 3, 4, 5] }
}

/// One of each kind.
fn samples() -> Vec<Message> {
    let ticket = Ticket { slot: 7, cookie: 0x1122_3344_5566_7788 };
    let set = SetDigest { count: 3, sum: 9 };
    let (sequence, generation) = (5, 2);
    vec![
        Message::Hello(Hello { protocol_min: 1, protocol_max: 2, pid: 3, identity: identity() }),
        Message::Welcome(Welcome {
            protocol: 1,
            from: 1,
            to: 2,
            pid: 4,
            identity: identity(),
            descriptors: 300,
            descriptor_limit: 20_000,
        }),
        Message::Refuse(Refuse { reason: "no".into() }),
        Message::Arena(Arena { sequence, payload: vec![9; 100] }),
        Message::Listeners(Listeners { sequence, descriptions: vec![vec![1], vec![], vec![2; 9]] }),
        Message::Sockets(Sockets { sequence, tickets: vec![ticket; 128] }),
        Message::Closed(Closed { sequence, tickets: vec![ticket] }),
        Message::Ack(Ack { sequence }),
        Message::PrecopyDone(PrecopyDone { set, listeners: 2 }),
        Message::Ready(Ready { executor_tid: 77, sockets: 3 }),
        Message::Offer(Offer {
            from: 1,
            to: 2,
            last_command_ns: 1 << 50,
            set,
            payload: vec![1, 2],
        }),
        Message::Serving(Serving { generation, freeze_ns: 250_000, connections: 3 }),
        Message::Goodbye(Goodbye { generation }),
        Message::Abort(Abort { reason: "because".into() }),
        Message::Stopping(Stopping { cause: "SHUTDOWN".into() }),
    ]
}

#[test]
fn every_message_survives() {
    for message in samples() {
        let frame = encode(&message, 3).unwrap();
        assert_eq!(decode(&frame, 3).unwrap(), message);
    }
}

/// What peers of every version have to read: these bytes never change.
#[test]
fn hello_and_the_reasons_are_golden() {
    let hello = encode(&samples()[0], 0).unwrap();
    assert_eq!(hex(&hello), GOLDEN_HELLO);
    let refuse = Message::Refuse(Refuse { reason: "another fingerprint".into() });
    assert_eq!(hex(&encode(&refuse, 0).unwrap()), GOLDEN_REFUSE);
    let abort = Message::Abort(Abort { reason: "another fingerprint".into() });
    assert_eq!(hex(&encode(&abort, 0).unwrap()), GOLDEN_ABORT);
}

const GOLDEN_HELLO: &str = "4852484f010100002500000001020304050100020003000000312e322e33ffffff6237ffffffffffffe3ffffff05000000";
const GOLDEN_REFUSE: &str =
    "4852484f010300001b000000616e6f746865722066696e6765727072696e7493000000edffffff";
const GOLDEN_ABORT: &str =
    "4852484f010f00001b000000616e6f746865722066696e6765727072696e7493000000edffffff";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_part_of_the_header_is_checked() {
    let good = encode(&samples()[7], 2).unwrap();
    let broken = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        decode(&frame, 2).unwrap_err()
    };
    assert_eq!(broken(0, b'X'), WireError::Magic);
    assert_eq!(broken(4, 9), WireError::FrameVersion { found: 9, ours: 1 });
    assert_eq!(broken(5, 200), WireError::Kind { kind: 200 });
    assert_eq!(broken(6, 3), WireError::FdCount { stated: 3, actual: 2 });
    assert!(matches!(broken(8, 255), WireError::Length { stated: 255, .. }));
    assert_eq!(decode(&good, 1).unwrap_err(), WireError::FdCount { stated: 2, actual: 1 });
    for length in 0..good.len() {
        assert!(decode(&good[..length], 2).is_err(), "cut to {length}");
    }
}

#[test]
fn what_is_too_long_is_not_sent() {
    let message = Message::Arena(Arena { sequence: 1, payload: vec![0; MAX_MESSAGE_BYTES] });
    assert!(matches!(encode(&message, 1), Err(WireError::TooLong { kind: "ARENA", .. })));
}

#[test]
fn what_is_too_long_is_not_read() {
    let mut frame = encode(&samples()[0], 0).unwrap();
    frame.resize(MAX_MESSAGE_BYTES + 1, 0);
    let body = (frame.len() - HEADER_BYTES) as u32;
    frame[8..12].copy_from_slice(&body.to_le_bytes());
    assert!(matches!(decode(&frame, 0), Err(WireError::Length { .. })));
}

proptest! {
    /// A hostile body is an error or some message, never a panic, and what is accepted is bounded.
    #[test]
    fn any_body_is_harmless(kind: u8, body in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut frame = MAGIC.to_vec();
        frame.extend_from_slice(&[1, kind, 0, 0]);
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&body);
        if let Ok(message) = decode(&frame, 0) {
            prop_assert!(encode(&message, 0).is_ok());
        }
    }

    #[test]
    fn any_damage_to_a_message_is_harmless(
        index in 0..15_usize, at: prop::sample::Index, value: u8,
    ) {
        let mut frame = encode(&samples()[index], 0).unwrap();
        let at = at.index(frame.len());
        frame[at] = value;
        if let Ok(message) = decode(&frame, 0) {
            prop_assert!(encode(&message, 0).is_ok());
        }
    }
}
