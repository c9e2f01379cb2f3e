//! `CLIENT`: what a connection can ask and change about itself and others.

mod list;
mod tracking;

use shm::{I64, field};

use super::spec::{CommandSpec, acl, cmd, container, flag};
use crate::executor::blocking;
use crate::executor::{Action, Cx, Fail, Outcome, error};
use crate::root::Root;
use crate::session::{self, cold};
use crate::util::numbers::string2ll;

pub use list::sessions;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("client", -2).subcommands(&[
    cmd("client|caching", 3, tracking::caching)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|getname", 2, getname)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|getredir", 2, tracking::getredir)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|help", 2, help).flags(flag::LOADING | flag::STALE).acl(acl::CONNECTION),
    cmd("client|id", 2, id)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|info", 2, list::info)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION)
        .tips(&["nondeterministic_output"]),
    cmd("client|kill", -3, list::kill)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|list", -2, list::list)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION)
        .tips(&["nondeterministic_output"]),
    cmd("client|no-evict", 3, no_evict)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|pause", -3, pause)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|reply", 3, reply)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|setname", 3, setname)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|tracking", -3, tracking::tracking)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|trackinginfo", 2, tracking::trackinginfo)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|unblock", -3, unblock)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|unpause", 2, unpause)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
])];

/// `CLIENT GETNAME`: get the current connection name.
fn getname(cx: &mut Cx<'_>) -> Outcome {
    let name = cold::load(&cx.tx, cx.session).name;
    if name.is_empty() {
        cx.reply.null()
    } else {
        cx.reply.bulk(&name)
    }
    Ok(())
}

/// `CLIENT HELP`: show helpful text about the different subcommands.
fn help(cx: &mut Cx<'_>) -> Outcome {
    super::help::reply(&mut cx.reply, "client");
    Ok(())
}

/// `CLIENT ID`: returns the client ID for the current connection.
fn id(cx: &mut Cx<'_>) -> Outcome {
    let id = cx.session_record().id.to_native();
    cx.reply.integer(id as i64);
    Ok(())
}

/// `CLIENT NO-EVICT <ON | OFF>`: set client eviction mode for the current connection.
fn no_evict(cx: &mut Cx<'_>) -> Outcome {
    let bit = session::flag::NO_EVICT;
    let (clear, set) = match () {
        () if cx.args.is(2, "on") => (0, bit),
        () if cx.args.is(2, "off") => (bit, 0),
        () => return Err(error::SYNTAX),
    };
    session::change_flags(&mut cx.tx, cx.session, clear, set)?;
    cx.reply.ok();
    Ok(())
}

/// `CLIENT PAUSE timeout [WRITE | ALL]`: stop processing commands from clients for some time.
///
/// A pause under way is never made shorter or weaker, as in Redis.
fn pause(cx: &mut Cx<'_>) -> Outcome {
    let all = match cx.args.len() {
        3 => true,
        4 if cx.args.is(3, "write") => false,
        4 if cx.args.is(3, "all") => true,
        4 => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
        _ => return Err(wrong_subcommand(cx)),
    };
    let no_integer = || Fail::from("ERR timeout is not an integer or out of range");
    let timeout = string2ll(cx.arg(2)).ok_or_else(no_integer)?;
    if timeout < 0 {
        return Err("ERR timeout is negative".into());
    }
    let end =
        if timeout == 0 { 0 } else { cx.now_ms().checked_add(timeout).ok_or_else(no_integer)? };
    let record = cx.tx.get(cx.root);
    let end = end.max(record.paused_until_ms.get().to_native());
    let all = u8::from(all).max(if record.paused_until_ms.get().to_native() == 0 {
        0
    } else {
        record.pause_all.get()
    });
    cx.tx.set(field!(cx.root, Root.paused_until_ms), I64::from_native(end))?;
    cx.tx.set(field!(cx.root, Root.pause_all), all)?;
    cx.after_commit(Action::Unpaused);
    cx.reply.ok();
    Ok(())
}

/// `CLIENT REPLY <ON | OFF | SKIP>`: instruct the server whether to reply to commands.
fn reply(cx: &mut Cx<'_>) -> Outcome {
    use session::flag::{REPLY_OFF, REPLY_SKIP, REPLY_SKIP_NEXT};
    if cx.args.is(2, "on") {
        session::change_flags(&mut cx.tx, cx.session, REPLY_SKIP | REPLY_OFF, 0)?;
        cx.reply.sink().mute(false);
        cx.reply.ok();
    } else if cx.args.is(2, "off") {
        session::change_flags(&mut cx.tx, cx.session, 0, REPLY_OFF)?;
        cx.reply.sink().mute(true);
    } else if cx.args.is(2, "skip") {
        if !cx.session_record().is(REPLY_OFF) {
            session::change_flags(&mut cx.tx, cx.session, 0, REPLY_SKIP_NEXT)?;
        }
    } else {
        return Err(error::SYNTAX);
    }
    Ok(())
}

/// `CLIENT SETNAME connection-name`: set the current connection name.
fn setname(cx: &mut Cx<'_>) -> Outcome {
    let name = cx.arg(2);
    check_name(name)?;
    set_name(cx, name)?;
    cx.reply.ok();
    Ok(())
}

/// Whether a client may have this name, which must not break the lines of `CLIENT LIST`.
pub fn check_name(name: &[u8]) -> Outcome {
    if name.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Ok(());
    }
    Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
}

/// Names the session's client; an empty name is none.
pub fn set_name(cx: &mut Cx<'_>, name: &[u8]) -> Outcome {
    let mut cold = cold::load(&cx.tx, cx.session);
    if cold.name != name {
        cold.name = name.to_vec();
        cold::store(&mut cx.tx, cx.session, &cold)?;
    }
    Ok(())
}

/// `CLIENT UNBLOCK client-id [TIMEOUT | ERROR]`: unblock a client blocked in a blocking command
/// from a different connection.
fn unblock(cx: &mut Cx<'_>) -> Outcome {
    let error = match cx.args.len() {
        3 => false,
        4 if cx.args.is(3, "timeout") => false,
        4 if cx.args.is(3, "error") => true,
        4 => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err(wrong_subcommand(cx)),
    };
    let id = cx.int_arg(2)?;
    let session = cx.state.clients.find(&cx.tx, cx.root, id as u64);
    let unblocked = match session {
        Some(session) => blocking::unblock(cx, session, error)?,
        None => false,
    };
    cx.reply.integer(i64::from(unblocked));
    Ok(())
}

/// `CLIENT UNPAUSE`: resume processing of clients that were paused.
fn unpause(cx: &mut Cx<'_>) -> Outcome {
    cx.tx.set(field!(cx.root, Root.paused_until_ms), I64::from_native(0))?;
    cx.after_commit(Action::Unpaused);
    cx.reply.ok();
    Ok(())
}

/// The arguments of a subcommand of `CLIENT` are too many.
fn wrong_subcommand(cx: &Cx<'_>) -> Fail {
    Fail::Bytes(super::errors::wrong_subcommand("client", cx.arg(1)))
}

/// An error that quotes a client's word, up to its first NUL as C would print it.
pub fn quoting(before: &str, word: &[u8], after: &str) -> Fail {
    let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
    Fail::Bytes([before.as_bytes(), word, after.as_bytes()].concat())
}
