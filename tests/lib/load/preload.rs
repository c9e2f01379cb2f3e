//! Filling a server with millions of keys, quickly.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::client::{Client, Endpoint};
use crate::server::info_field;

/// Requests written before their replies are read. Their replies (5 bytes each) fit into any
/// socket's buffers, so neither side can wait for the other.
const BATCH: u64 = 1_000;

/// Bytes that one key takes at most, whatever is doubled just then.
const LARGEST_KEY: u64 = 512;

const OK: &[u8] = b"+OK\r\n";

/// Sets `count` keys (`load:key:000000000042`, 32-byte values) by pipelined `SET`s.
pub fn preload(addr: SocketAddr, count: u64) -> anyhow::Result<()> {
    set(addr, 0..count)
}

/// Sets such keys until the server says that it uses `bytes` (`used_memory`); gives their number.
pub fn preload_bytes(addr: SocketAddr, bytes: u64) -> anyhow::Result<u64> {
    let mut client = Client::try_connect(&Endpoint::Tcp(addr))?;
    let mut count = 0;
    loop {
        let info = client.try_call(&["INFO", "memory"]).context("INFO memory")?;
        let used = info_field(info.text(), "used_memory").and_then(|used| used.parse().ok());
        let used: u64 = used.context("INFO memory does not say used_memory")?;
        let Some(missing) = bytes.checked_sub(used).filter(|missing| *missing > 0) else {
            return Ok(count);
        };
        // No key takes more than this, and thousands of rounds are as good as one.
        let more = (missing / LARGEST_KEY).max(BATCH);
        set(addr, count..count + more)?;
        count += more;
    }
}

fn set(addr: SocketAddr, keys: Range<u64>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(addr).with_context(|| format!("connecting to {addr}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut requests = BufWriter::with_capacity(128 << 10, stream);
    let mut expected = Vec::new();
    let mut got = Vec::new();
    let mut unread = 0;
    for first in keys.clone().step_by(BATCH as usize) {
        let until = (first + BATCH).min(keys.end);
        for key in first..until {
            write!(
                requests,
                "*3\r\n$3\r\nSET\r\n$21\r\nload:key:{key:012}\r\n$32\r\nvalue-{key:026}\r\n"
            )?;
        }
        requests.flush()?;
        // One batch stays under way while the next is written, so that the server never waits.
        check(&mut replies, unread, &mut expected, &mut got)?;
        unread = until - first;
    }
    check(&mut replies, unread, &mut expected, &mut got)
}

fn check(
    replies: &mut impl Read,
    count: u64,
    expected: &mut Vec<u8>,
    got: &mut Vec<u8>,
) -> anyhow::Result<()> {
    expected.clear();
    (0..count).for_each(|_| expected.extend_from_slice(OK));
    got.resize(expected.len(), 0);
    replies.read_exact(got).context("awaiting the replies to SET")?;
    if got != expected {
        let at = got.chunks(OK.len()).position(|reply| reply != OK).unwrap_or(0) * OK.len();
        bail!("SET failed: {}", got[at..(at + 80).min(got.len())].escape_ascii());
    }
    Ok(())
}
