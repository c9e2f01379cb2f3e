//! Connection commands other than `CLIENT`.

use shm::{U32, field};

use super::spec::{CommandSpec, acl, cmd, flag};
use super::{arguments, client};
use crate::executor::dispatch;
use crate::executor::{Cx, Outcome, error};
use crate::proto::reply::{Protocol, shared};
use crate::session::{self, Session};
use crate::util::numbers::string2ll;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("auth", -2, auth)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("echo", 2, echo).flags(flag::LOADING | flag::STALE | flag::FAST).acl(acl::CONNECTION),
    cmd("hello", -1, hello)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("ping", -1, ping)
        .flags(flag::FAST)
        .acl(acl::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    cmd("quit", -1, quit)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("reset", 1, reset)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("select", 2, select).flags(flag::LOADING | flag::STALE | flag::FAST).acl(acl::CONNECTION),
];

/// The only user there is, until there are ACLs.
const DEFAULT_USER: &[u8] = b"default";
const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the \
                               default user. Are you sure your configuration is correct?";
const HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, \
                             otherwise the HELLO AUTH <user> <pass> option can be used to \
                             authenticate the client and select the RESP protocol version at the \
                             same time";

/// `AUTH [username] password`: authenticate to the server.
fn auth(cx: &mut Cx<'_>) -> Outcome {
    let (user, password) = match cx.args.len() {
        2 if !cx.state.password => return Err(NO_PASSWORD_SET.into()),
        2 => (DEFAULT_USER, cx.arg(1)),
        3 => (cx.arg(1), cx.arg(2)),
        _ => return Err(error::SYNTAX),
    };
    authenticate(cx, user, password)?;
    cx.reply.ok();
    Ok(())
}

/// Notes that the session's client has proven who it is.
fn authenticate(cx: &mut Cx<'_>, user: &[u8], password: &[u8]) -> Outcome {
    let right = !cx.state.password || same(password, cx.state.config.requirepass());
    if user != DEFAULT_USER || !right {
        return Err(WRONG_PASS.into());
    }
    Ok(session::change_flags(&mut cx.tx, cx.session, 0, session::flag::AUTHENTICATED)?)
}

/// Compares secrets in a time that does not tell how much of them agrees.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let differing = given.iter().zip(expected).fold(0, |bits, (a, b)| bits | (a ^ b));
    given.len() == expected.len() && differing == 0
}

/// `ECHO message`: echo the given string.
fn echo(cx: &mut Cx<'_>) -> Outcome {
    cx.reply.bulk(cx.arg(1));
    Ok(())
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`: handshake with Redis.
fn hello(cx: &mut Cx<'_>) -> Outcome {
    let version = match cx.args.get(1).map(string2ll) {
        None => None,
        Some(Some(2)) => Some(Protocol::Resp2),
        Some(Some(3)) => Some(Protocol::Resp3),
        Some(Some(_)) => return Err("NOPROTO unsupported protocol version".into()),
        Some(None) => {
            return Err("ERR Protocol version is not an integer or out of range".into());
        }
    };
    if let Err(fail) = hello_options(cx) {
        // As in Redis, the options before the wrong one have done their work.
        dispatch::reply_error(cx, &fail);
        return Ok(());
    }
    if !cx.session_record().is(session::flag::AUTHENTICATED) {
        dispatch::reply_error(cx, &HELLO_NO_AUTH.into());
        return Ok(());
    }
    if let Some(protocol) = version {
        speak(cx, protocol)?;
    }
    reply_to_hello(cx);
    Ok(())
}

fn hello_options(cx: &mut Cx<'_>) -> Outcome {
    let mut at = 2;
    while let Some(option) = cx.args.get(at) {
        match (cx.args.get(at + 1), cx.args.get(at + 2)) {
            (Some(user), Some(password)) if cx.args.is(at, "auth") => {
                authenticate(cx, user, password)?;
                at += 3;
            }
            (Some(name), _) if cx.args.is(at, "setname") => {
                client::check_name(name)?;
                client::set_name(cx, name)?;
                at += 2;
            }
            _ => return Err(client::quoting("ERR Syntax error in HELLO option '", option, "'")),
        }
    }
    Ok(())
}

fn reply_to_hello(cx: &mut Cx<'_>) {
    let id = cx.session_record().id.to_native();
    let version = if cx.protocol() == Protocol::Resp3 { 3 } else { 2 };
    let reply = &mut cx.reply;
    reply.map(7);
    let mut pair = |name: &str, value: Result<&str, i64>| {
        reply.bulk(name.as_bytes());
        match value {
            Ok(text) => reply.bulk(text.as_bytes()),
            Err(number) => reply.integer(number),
        }
    };
    pair("server", Ok("redis"));
    pair("version", Ok(super::info::REDIS_VERSION));
    pair("proto", Err(version));
    pair("id", Err(id as i64));
    pair("mode", Ok("standalone"));
    pair("role", Ok("master"));
    reply.bulk(b"modules");
    reply.array(0);
}

/// Has the session speak this version of the protocol, beginning with the reply under way.
fn speak(cx: &mut Cx<'_>, protocol: Protocol) -> Outcome {
    let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
    cx.tx.set(field!(cx.session, Session.protocol), number)?;
    cx.reply.set_protocol(protocol);
    Ok(())
}

/// `PING [message]`: ping the server.
fn ping(cx: &mut Cx<'_>) -> Outcome {
    if cx.args.len() > 2 {
        return Err(super::errors::wrong_arity(cx.command).into());
    }
    let message = cx.args.get(1);
    let subscriber = cx.session_record().is(session::flag::SUBSCRIBER);
    if subscriber && cx.protocol() == Protocol::Resp2 {
        cx.reply.array(2);
        cx.reply.bulk(b"pong");
        cx.reply.bulk(message.unwrap_or_default());
    } else if let Some(message) = message {
        cx.reply.bulk(message);
    } else {
        cx.reply.raw(shared::PONG);
    }
    Ok(())
}

/// `QUIT`: close the connection.
fn quit(cx: &mut Cx<'_>) -> Outcome {
    let bit = session::flag::CLOSE_AFTER_REPLY;
    session::change_flags(&mut cx.tx, cx.session, 0, bit)?;
    cx.reply.ok();
    Ok(())
}

/// `RESET`: reset the connection.
fn reset(cx: &mut Cx<'_>) -> Outcome {
    use session::flag::{AUTHENTICATED, REPLY_OFF, REPLY_SKIP, REPLY_SKIP_NEXT};
    session::leave_everything(&mut cx.tx, cx.state, cx.root, cx.session)?;
    select_database(cx, 0)?;
    speak(cx, Protocol::Resp2)?;
    client::set_name(cx, b"")?;
    let authenticated = if cx.state.password { 0 } else { AUTHENTICATED };
    let clear = AUTHENTICATED | REPLY_OFF | REPLY_SKIP | REPLY_SKIP_NEXT;
    session::change_flags(&mut cx.tx, cx.session, clear, authenticated)?;
    cx.reply.sink().mute(false);
    cx.reply.simple("RESET");
    Ok(())
}

/// `SELECT index`: change the selected database for the current connection.
fn select(cx: &mut Cx<'_>) -> Outcome {
    let (index, _) = arguments::database(cx, 1)?;
    select_database(cx, index)?;
    cx.reply.ok();
    Ok(())
}

/// Has the session work on another database, which exists.
fn select_database(cx: &mut Cx<'_>, index: u32) -> Outcome {
    cx.tx.set(field!(cx.session, Session.database), U32::from_native(index))?;
    cx.database = crate::root::database(&cx.tx, cx.root, index);
    cx.database_index = index;
    Ok(())
}
