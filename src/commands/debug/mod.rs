//! `DEBUG`: for tests only, off unless `enable-debug-command` allows it.

mod crash;
mod values;

use std::net::SocketAddr;
use std::time::Duration;

use shm::field;

use super::arguments;
use super::errors::{DEBUG_NOT_ALLOWED, c_string};
use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Fail, Outcome};
use crate::proto::reply::{Format, Protocol};
use crate::root::Root;
use crate::session::{UNIX, cold};
use crate::util::numbers::{string2d, string2ll};
use crate::values::string::{self, Encoded};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("debug", -2, debug)
    .flags(flag::ADMIN | flag::PROTECTED | flag::NOSCRIPT | flag::LOADING | flag::STALE)];

/// Those of Redis's subcommands that are here.
const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Change the replication IDs of the instance.",
    "    Dangerous: should be used only for testing the replication subsystem.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PANIC",
    "    Crash the server simulating a panic.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Bring all values into the encodings that they would have if they were loaded",
    "    from an RDB file.",
    "SEGFAULT",
    "    Crash the server with sigsegv.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "HELP",
    "    Prints this help.",
];

/// `DEBUG`: a container for debugging commands.
fn debug(cx: &mut Cx<'_>) -> Outcome {
    let argc = cx.args.len();
    let name = cx.arg(1).to_ascii_lowercase();
    match (name.as_slice(), argc) {
        (b"help", 2) => {
            cx.reply.array(HELP.len());
            HELP.iter().for_each(|line| cx.reply.simple(line));
        }
        (b"object", 3) => values::object(cx)?,
        (b"sleep", 3) => {
            sleep(cx.arg(2));
            cx.reply.ok();
        }
        (b"set-active-expire", 3) => {
            let off = u8::from(leading_integer(cx.arg(2)) == 0);
            let switch = field!(cx.root, Root.active_expire_off);
            cx.tx.set(switch, off)?;
            cx.reply.ok();
        }
        (b"reload", _) => values::reload(cx)?,
        (b"digest", 2) => values::digest(cx),
        (b"digest-value", 2..) => values::digest_value(cx)?,
        (b"error", 3) => cx.reply.coded_error(cx.arg(2)),
        (b"log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(cx.arg(2)));
            cx.reply.ok();
        }
        (b"protocol", 3) => protocol(cx)?,
        (b"populate", 3..=5) => populate(cx)?,
        (b"change-repl-id", 2) => cx.reply.ok(),
        (b"panic", _) => crash::panic(),
        (b"segfault", _) => crash::segfault(),
        _ => return Err(unknown(cx.arg(1))),
    }
    Ok(())
}

fn unknown(name: &[u8]) -> Fail {
    const QUOTED: usize = 128;
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(c_string(name, QUOTED));
    text.extend_from_slice(b"'. Try DEBUG HELP.");
    Fail::Bytes(text)
}

/// Whether `enable-debug-command` allows the session's client to use `DEBUG`.
pub fn allow(cx: &mut Cx<'_>) -> Outcome {
    match cx.state.config.enable_debug_command() {
        "yes" => Ok(()),
        "local" if is_local(cx) => Ok(()),
        _ => Err(DEBUG_NOT_ALLOWED.into()),
    }
}

/// Whether the client is on this machine: on the Unix socket or a loopback address.
pub fn is_local(cx: &Cx<'_>) -> bool {
    if cx.session_record().transport == UNIX {
        return true;
    }
    let peer = cold::load(&cx.tx, cx.session).peer;
    peer.parse::<SocketAddr>().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Blocks the server for what C's `strtod` makes of the text, in seconds.
fn sleep(text: &[u8]) {
    const LONGEST: usize = 64;
    let number = &text[..text.len().min(LONGEST)];
    let prefixes = (1..=number.len()).rev().map(|end| &number[..end]);
    let seconds = prefixes.filter_map(string2d).next().unwrap_or(0.0);
    std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
}

/// What C's `atoi` makes of the text, 0 for nothing; too large numbers do not matter here.
fn leading_integer(text: &[u8]) -> i64 {
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    string2ll(&text[..text.len().min(1 + digits)]).unwrap_or(0)
}

/// `DEBUG POPULATE count [prefix] [size]`.
fn populate(cx: &mut Cx<'_>) -> Outcome {
    let count = arguments::count(cx, 2)?;
    let prefix = cx.args.get(3).unwrap_or(b"key");
    let size = if cx.args.len() == 5 { arguments::count(cx, 4)? } else { 0 };
    let longest = cx.state.config.proto_max_bulk_len();
    if size > longest {
        return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
    }
    for number in 0..count {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let name = [prefix, b":", digits].concat();
        let key = cx.peek(&name)?;
        if key.exists() {
            continue;
        }
        let mut value = [b"value:", digits].concat();
        if size > 0 {
            value.resize(size as usize, 0);
        }
        let fresh = string::create(&mut cx.tx, &name, Encoded::text(&value), None)?;
        let entry = fresh.off().cast();
        cx.touch_first(entry);
        cx.add_in(cx.database, cx.database_index, &key, entry)?;
        cx.changed(&name)?;
    }
    cx.reply.ok();
    Ok(())
}

/// `DEBUG PROTOCOL type`.
fn protocol(cx: &mut Cx<'_>) -> Outcome {
    let resp3 = cx.protocol() == Protocol::Resp3;
    let name = cx.arg(2).to_ascii_lowercase();
    let reply = &mut cx.reply;
    match name.as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        #[expect(clippy::approx_constant, reason = "the number that Redis replies with")]
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !resp3 {
                return Err("ERR RESP2 is not supported by this command".into());
            }
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim(Format::Text, b"This is a verbatim\nstring"),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        _ => {
            return Err("ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
                .into());
        }
    }
    Ok(())
}
