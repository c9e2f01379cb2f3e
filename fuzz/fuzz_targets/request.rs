//! The request decoder: the same whatever the split, and the same as redis-protocol for every
//! request that is written the way clients write it.

#![no_main]

use hotredis::proto::reply::{Protocol, Reply};
use hotredis::proto::request::{Argv, Decoded, Decoder, Limits};
use libfuzzer_sys::fuzz_target;
use redis_protocol::resp2;
use redis_protocol::resp2::types::RangeFrame;

type Args = Vec<Vec<u8>>;

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (split, auth_required, buf) = input;
    let limits = Limits { auth_required, ..Limits::default() };
    let at_once = decode(buf, &[buf.len()], &limits);
    let split = usize::from(split) % (buf.len() + 1);
    let in_two = decode(buf, &[split, buf.len()], &limits);
    assert_eq!(at_once, in_two, "cut at {split}");
    if buf.len() < 512 {
        let lengths: Vec<usize> = (0..=buf.len()).collect();
        assert_eq!(at_once, decode(buf, &lengths, &limits), "byte by byte");
    }

    // What either of them takes for a request in its usual form, both must.
    if let Some((consumed, args)) = reference(buf)
        && encode(&args) == buf[..consumed]
        && !auth_required
    {
        assert_eq!(at_once, Outcome::Complete(consumed, args));
    } else if let Outcome::Complete(consumed, args) = at_once
        && encode(&args) == buf[..consumed]
    {
        assert_eq!(Some((consumed, args)), reference(buf));
    }
});

#[derive(Debug, PartialEq)]
enum Outcome {
    Complete(usize, Args),
    Incomplete,
    Error(Vec<u8>),
}

fn decode(buf: &[u8], lengths: &[usize], limits: &Limits) -> Outcome {
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    for &len in lengths {
        match decoder.decode(&buf[..len], limits, &mut argv) {
            Decoded::Incomplete { need } => assert!(need > len),
            Decoded::Error(error) => return Outcome::Error(error.message()),
            Decoded::Complete { consumed } => {
                let args = argv.iter(&buf[..len]).map(<[u8]>::to_vec).collect();
                return Outcome::Complete(consumed, args);
            }
        }
    }
    Outcome::Incomplete
}

fn encode(args: &Args) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    reply.array(args.len());
    args.iter().for_each(|arg| reply.bulk(arg));
    out
}

/// redis-protocol's opinion, if it is an array of bulk strings. It reserves memory for as many
/// elements as are announced, so it is not asked about millions.
fn reference(buf: &[u8]) -> Option<(usize, Args)> {
    let count = buf.strip_prefix(b"*")?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count > 5 {
        return None;
    }
    let (RangeFrame::Array(items), consumed) = resp2::decode::decode_range(buf).ok()?? else {
        return None;
    };
    let args = items.into_iter().map(|item| match item {
        RangeFrame::BulkString((start, end)) => Some(buf[start..end].to_vec()),
        _ => None,
    });
    Some((consumed, args.collect::<Option<_>>()?))
}
