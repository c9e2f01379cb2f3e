//! `MIGRATE`.
//!
//! Everything else waits meanwhile, as in Redis: for the time-out at most with each step of it. A key is
//! removed here once the other server has said that it has it.

use std::io;
use std::time::Duration;

use crate::commands::spec::{KeyRef, key};
use crate::executor::dispatch::reply_error;
use crate::executor::events::class;
use crate::executor::peers::{Address, Nobody, Peer, Peers};
use crate::executor::{Args, Cx, Fail, Outcome, error};
use crate::util::numbers::string2ll;

/// No more of another server's error is quoted, in bytes.
const QUOTED: usize = 1022;

/// The arguments.
struct Request<'a> {
    address: Address<'a>,
    database: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// The words of `AUTH`, if there is a password.
    credentials: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

/// Where the names of the keys stand: behind `KEYS`, else the third argument.
struct Keys {
    first: usize,
    count: usize,
}

impl<'a> Request<'a> {
    fn parse(cx: &Cx<'a>) -> Result<Request<'a>, Fail> {
        let count = cx.args.len();
        let (mut copy, mut replace) = (false, false);
        let mut credentials = Vec::new();
        let mut keys = Keys { first: 3, count: 1 };
        let mut at = 6;
        while at < count {
            let more = count - 1 - at;
            if cx.args.is(at, "COPY") {
                copy = true;
            } else if cx.args.is(at, "REPLACE") {
                replace = true;
            } else if cx.args.is(at, "AUTH") && more >= 1 {
                // The name of an AUTH2 before it stays.
                match credentials.as_mut_slice() {
                    [_, password] => *password = cx.arg(at + 1),
                    _ => credentials = vec![cx.arg(at + 1)],
                }
                at += 1;
            } else if cx.args.is(at, "AUTH2") && more >= 2 {
                credentials = vec![cx.arg(at + 1), cx.arg(at + 2)];
                at += 2;
            } else if cx.args.is(at, "KEYS") {
                if !cx.arg(3).is_empty() {
                    return Err(
                        "ERR When using MIGRATE KEYS option, the key argument must be set \
                         to the empty string"
                            .into(),
                    );
                }
                keys = Keys { first: at + 1, count: more };
                break;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        let timeout = cx.int_arg(5)?;
        let database = cx.int_arg(4)?;
        let timeout = u64::try_from(timeout).ok().filter(|timeout| *timeout > 0).unwrap_or(1000);
        let host = std::str::from_utf8(cx.arg(1)).unwrap_or("");
        let port = string2ll(cx.arg(2)).and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        Ok(Request {
            address: Address { host, port },
            database,
            timeout: Duration::from_millis(timeout),
            copy,
            replace,
            credentials,
            keys: cx.args.from(keys.first).take(keys.count).collect(),
        })
    }
}

/// The keys of a command line, for `COMMAND GETKEYS`: where the words of options may look like `KEYS`.
pub(super) fn keys(argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    let is = |at: usize, word: &str| argv[at].eq_ignore_ascii_case(word.as_bytes());
    let mut positions = 3..4;
    let mut at = 6;
    while at < argv.len() {
        if is(at, "KEYS") {
            positions = if argv[3].is_empty() { at + 1..argv.len() } else { 0..0 };
            break;
        }
        at += match () {
            () if is(at, "AUTH") => 2,
            () if is(at, "AUTH2") => 3,
            () => 1,
        };
    }
    let flags = key::RW | key::ACCESS | key::DELETE;
    let found: Vec<KeyRef> = positions.map(|position| KeyRef { position, flags }).collect();
    (!found.is_empty()).then_some(found)
}

/// Positions of names and passwords, which monitors must not see.
pub(in crate::commands) fn secrets(args: &Args<'_>) -> Vec<usize> {
    let (mut secret, mut at) = (Vec::new(), 6);
    while at < args.len() {
        let count = match () {
            () if args.is(at, "KEYS") => break,
            () if args.is(at, "AUTH") => 1,
            () if args.is(at, "AUTH2") => 2,
            () => 0,
        };
        secret.extend(at + 1..=at + count);
        at += 1 + count;
    }
    secret
}

/// How talking to the other server failed.
struct Broken {
    writing: bool,
    timed_out: bool,
    /// Nothing can have happened there yet, so that it may be tried again.
    harmless: bool,
}

impl Broken {
    fn new(writing: bool, error: &io::Error) -> Broken {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        Broken { writing, timed_out, harmless: true }
    }
}

/// `MIGRATE host port <key | ""> destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2
/// username password] [KEYS key [key ...]]`: atomically transfer a key from a Redis instance to another
/// one.
pub(super) fn migrate(cx: &mut Cx<'_>) -> Outcome {
    let request = Request::parse(cx)?;
    let mut there = Vec::new();
    for name in &request.keys {
        if cx.read(name)?.exists() {
            there.push(*name);
        }
    }
    if there.is_empty() {
        cx.reply.simple("NOKEY");
        return Ok(());
    }
    // Handlers have the context as a whole, so what it talks through is taken out of it.
    let mut peers = std::mem::replace(&mut cx.state.peers, Box::new(Nobody));
    let outcome = transfer(cx, &request, &there, peers.as_mut());
    cx.state.peers = peers;
    outcome
}

/// Transfers keys, at the second attempt if a connection that was kept turns out to be gone.
fn transfer<'a>(
    cx: &mut Cx<'a>,
    request: &Request<'a>,
    names: &[&'a [u8]],
    peers: &mut dyn Peers,
) -> Outcome {
    let mut retried = false;
    loop {
        let broken = match peers.open(request.address, request.timeout) {
            Ok(peer) => match attempt(cx, request, names, peer)? {
                Ok(()) => return Ok(()),
                Err(broken) => broken,
            },
            // Redis learns of it only as it writes.
            Err(e) if was_refused(&e) => Broken::new(true, &e),
            Err(_) => return Err("IOERR error or timeout connecting to the client".into()),
        };
        peers.close(request.address);
        if broken.harmless && !broken.timed_out && !retried {
            retried = true;
            continue;
        }
        let what = if broken.writing { "writing" } else { "reading" };
        // No failure of the command: keys that have arrived are removed here.
        reply_error(cx, &format!("IOERR error or timeout {what} to target instance").into());
        return Ok(());
    }
}

/// Whether the other host has refused the connection, or is known not to be there.
fn was_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable)
}

/// Appends a command as it goes over the wire.
fn push_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The commands that restore these keys at the other server.
fn requests<'a>(cx: &mut Cx<'a>, names: &[&'a [u8]], replace: bool) -> Result<Vec<u8>, Fail> {
    let mut out = Vec::new();
    for name in names {
        let Some(found) = cx.peek(name)?.found else { continue };
        let entry = cx.entry(&found);
        let ttl = entry.expiry().map_or(0, |at| (at - cx.now_ms()).max(1));
        let payload = super::payload(cx, &entry);
        let mut digits = itoa::Buffer::new();
        let ttl = digits.format(ttl).as_bytes();
        let words: [&[u8]; 5] = [b"RESTORE", name, ttl, &payload, b"REPLACE"];
        push_command(&mut out, if replace { &words } else { &words[..4] });
    }
    Ok(out)
}

/// Sends the keys and reads what is said to them; replies, unless the connection breaks.
fn attempt<'a>(
    cx: &mut Cx<'a>,
    request: &Request<'a>,
    names: &[&'a [u8]],
    peer: &mut dyn Peer,
) -> Result<Result<(), Broken>, Fail> {
    let mut out = Vec::new();
    if !request.credentials.is_empty() {
        push_command(&mut out, &[&[&b"AUTH"[..]], &request.credentials[..]].concat());
    }
    let select = *peer.selected() != Some(request.database);
    if select {
        push_command(&mut out, &[b"SELECT", request.database.to_string().as_bytes()]);
    }
    out.extend(requests(cx, names, request.replace)?);
    if let Err(e) = peer.send(&out, request.timeout) {
        return Ok(Err(Broken::new(true, &e)));
    }
    drop(out);
    // What the other server says to AUTH and SELECT stands for all that follows.
    let mut refused: Option<Vec<u8>> = None;
    for _ in 0..usize::from(!request.credentials.is_empty()) + usize::from(select) {
        match peer.receive_line(request.timeout) {
            Ok(line) => refused = refused.or_else(|| error_in(&line)),
            Err(e) => return Ok(Err(Broken::new(false, &e))),
        }
    }
    let mut failed: Option<Vec<u8>> = None;
    for (at, name) in names.iter().enumerate() {
        let line = match peer.receive_line(request.timeout) {
            Ok(line) => line,
            Err(_) if failed.is_some() => break,
            Err(e) => return Ok(Err(Broken { harmless: at == 0, ..Broken::new(false, &e) })),
        };
        match refused.clone().or_else(|| error_in(&line)) {
            Some(error) => failed = failed.or(Some(error)),
            None if !request.copy => remove(cx, name)?,
            None => {}
        }
    }
    match failed {
        Some(mut error) => {
            // Whether the database was selected is not known.
            *peer.selected() = None;
            error.truncate(QUOTED);
            let text = [b"ERR Target instance replied with error: ", &error[..]].concat();
            reply_error(cx, &Fail::Bytes(text));
        }
        None => {
            *peer.selected() = Some(request.database);
            cx.reply.ok();
        }
    }
    Ok(Ok(()))
}

/// The text of an error reply; `None` if a line is none.
fn error_in(line: &[u8]) -> Option<Vec<u8>> {
    line.strip_prefix(b"-").map(<[u8]>::to_vec)
}

/// Removes a key that the other server has.
fn remove(cx: &mut Cx<'_>, name: &[u8]) -> Outcome {
    let hash = cx.tx.hash(name);
    if let Some(found) = crate::keyspace::find(&cx.tx, cx.database, hash, name) {
        cx.delete(&found)?;
        cx.changed(name)?;
        cx.notify(class::GENERIC, "del", name)?;
    }
    Ok(())
}
