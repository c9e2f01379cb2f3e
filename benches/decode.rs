//! Nanoseconds per decoded request: hotredis's decoder beside redis-protocol's.
//!
//! `cargo bench --bench decode`. This is the measurement that lets a decoder of our own stand on
//! the hot path; `src/proto/request_tests.rs` and `fuzz/` hold the two equal.

use std::hint::black_box;
use std::time::Instant;

use hotredis::proto::reply::{Protocol, Reply};
use hotredis::proto::request::{Argv, Decoded, Decoder, Limits};
use redis_protocol::resp2;

/// Rounds per case, alternating between the two; the median counts.
const ROUNDS: usize = 15;
/// Requests decoded per round.
const REQUESTS: usize = 400_000;

fn encode(args: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    reply.array(args.len());
    args.iter().for_each(|arg| reply.bulk(arg.as_bytes()));
    out
}

/// Nanoseconds per request of decoding all requests in `buf`, again and again.
fn time(buf: &[u8], mut decode_one: impl FnMut(&[u8]) -> usize) -> f64 {
    let mut left = REQUESTS;
    let start = Instant::now();
    while left > 0 {
        let mut pos = 0;
        while pos < buf.len() {
            pos += decode_one(black_box(&buf[pos..]));
            left = left.saturating_sub(1);
        }
    }
    start.elapsed().as_nanos() as f64 / REQUESTS as f64
}

fn ours(buf: &[u8]) -> f64 {
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    let limits = Limits::default();
    time(buf, |rest| match decoder.decode(rest, &limits, &mut argv) {
        Decoded::Complete { consumed } => {
            black_box(argv.get(rest, 0));
            consumed
        }
        other => panic!("the benchmark's requests are whole: {other:?}"),
    })
}

fn theirs(buf: &[u8]) -> f64 {
    time(buf, |rest| match resp2::decode::decode_range(rest) {
        Ok(Some((frame, consumed))) => {
            black_box(frame);
            consumed
        }
        other => panic!("the benchmark's requests are whole: {other:?}"),
    })
}

/// Nanoseconds per request that comes in two pieces, cut in the middle.
fn ours_cut(buf: &[u8]) -> f64 {
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    let limits = Limits::default();
    time(buf, |rest| {
        for end in [rest.len() / 2, rest.len()] {
            if let Decoded::Complete { consumed } = decoder.decode(&rest[..end], &limits, &mut argv)
            {
                return consumed;
            }
        }
        panic!("the benchmark's requests are whole")
    })
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let set = encode(&["SET", "key:000000012345", "VXK"]);
    let get = encode(&["GET", "key:000000012345"]);
    let kilobyte = "x".repeat(1024);
    let mset: Vec<&str> =
        std::iter::once("MSET").chain(["key:000000012345", "VXK"].repeat(10)).collect();
    let cases = [
        ("SET, 3 arguments", set.clone()),
        ("SET, 3 arguments, 64 in one buffer", set.repeat(64)),
        ("GET, 2 arguments", get),
        ("PING", encode(&["PING"])),
        ("SET of 1 KiB", encode(&["SET", "key:000000012345", &kilobyte])),
        ("MSET, 21 arguments", encode(&mset)),
    ];
    println!("{:<38}{:>12}{:>18}", "ns per request (medians)", "hotredis", "redis-protocol");
    for (name, buf) in &cases {
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_times.push(ours(buf));
            their_times.push(theirs(buf));
        }
        println!("{name:<38}{:>12.1}{:>18.1}", median(our_times), median(their_times));
    }
    let cut = (0..ROUNDS).map(|_| ours_cut(&set)).collect();
    println!("{:<38}{:>12.1}{:>18}", "SET, 3 arguments, in two pieces", median(cut), "-");
}
