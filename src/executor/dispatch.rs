//! From a request's words to a command that has run: what Redis calls `processCommand` and `call`.

use shm::{OutOfMemory, U32, field};

use super::blocking;
use super::cx::{Cx, Fail, Outcome};
use crate::commands::spec::flag as command_flag;
use crate::commands::table::{self, Command, Lookup};
use crate::commands::{errors, monitor, transactions};
use crate::proto::reply::Protocol;
use crate::root::{Counters, Root};
use crate::session::{self, Session, flag, tracking};
use crate::statistics;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It ran, was queued or was refused: its reply, if it has one, is written.
    Replied,
    /// `CLIENT PAUSE` holds it back: it has to be offered again.
    Postponed,
}

/// Runs the request in `cx.args`, or queues it, or refuses it.
pub fn process(cx: &mut Cx<'_>) -> Result<Done, Fail> {
    if is_cross_protocol(cx.args.at(0)) {
        return close_cross_protocol(cx);
    }
    if let Err(fail) = find(cx) {
        return refuse(cx, fail);
    }
    if let Err(fail) = admit(cx) {
        cx.state.ledger.rejected(&mut cx.tx, cx.root, cx.command);
        return refuse(cx, fail);
    }
    if is_paused(cx) {
        return Ok(Done::Postponed);
    }
    let in_multi = cx.session_record().is(flag::MULTI);
    if in_multi && !transactions::runs_at_once(cx.command) {
        if let Err(fail) = transactions::queue(cx) {
            // No memory. The commands before and behind it must not run without it.
            cx.tx.rollback_all();
            return refuse(cx, fail);
        }
        cx.reply.raw(crate::proto::reply::shared::QUEUED);
        return Ok(Done::Replied);
    }
    call(cx)?;
    if !cx.tx.get(cx.root).ready_first.get().is_null() {
        blocking::serve_ready(cx)?;
    }
    tell_trackers(cx)?;
    Ok(Done::Replied)
}

/// Whether the word is the begin of a line of HTTP: somebody has a browser send requests here.
#[inline(always)]
fn is_cross_protocol(name: &[u8]) -> bool {
    matches!(name.len(), 4 | 5)
        && (name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:"))
}

/// Closes such a connection without a reply, as Redis does.
#[cold]
fn close_cross_protocol(cx: &mut Cx<'_>) -> Result<Done, Fail> {
    tracing::warn!(
        client = cx.session_record().id.to_native(),
        "closing a client that sends HTTP: it may be used for an attack across protocols"
    );
    session::change_flags(&mut cx.tx, cx.session, 0, flag::CLOSE_ASAP)?;
    Ok(Done::Replied)
}

/// Sends what the request has left to be told behind its reply, and ends `CLIENT CACHING`.
#[inline]
fn tell_trackers(cx: &mut Cx<'_>) -> Outcome {
    if cx.tx.get(cx.root).trackers.get().to_native() == 0 && cx.state.pending.is_empty() {
        return Ok(());
    }
    tracking::end_of_request(cx)
}

/// Runs the handler of `cx.command`. An error becomes its reply, and what the handler did until
/// then is taken back; only a lack of memory for that itself is an error here.
pub fn call(cx: &mut Cx<'_>) -> Outcome {
    let point = cx.tx.savepoint();
    let written = cx.reply.sink().len();
    let state = cx.state.point();
    let dirty = cx.dirty;
    cx.state.findings.clear();
    cx.state.ledger.failed = false;
    let command = cx.command;
    let outcome = (cx.command.handler)(cx).and_then(|()| Ok(cx.reply.sink().check()?));
    if let Err(fail) = outcome {
        cx.tx.rollback_to(point);
        cx.reply.sink().truncate(written);
        cx.state.take_back(&cx.tx, cx.root, &state);
        cx.dirty = dirty;
        if !cx.state.findings.is_empty() {
            cx.find_again()?;
        }
        reply_error(cx, &fail);
    }
    // Behind the handler: `INFO` does not count itself, `CONFIG RESETSTAT` does.
    let counters = field!(cx.root, Root.counters);
    cx.count(field!(counters, Counters.commands), 1);
    cx.state.ledger.called(&mut cx.tx, cx.root, command);
    if cx.dirty != dirty {
        cx.count(field!(counters, Counters.dirty), cx.dirty - dirty);
        // Counted: `EXEC` does not count what its commands have.
        cx.dirty = dirty;
    }
    let root = cx.tx.get(cx.root);
    if root.monitors.get().to_native() > 0 {
        monitor::feed(cx)?;
    }
    if cx.tx.get(cx.root).trackers.get().to_native() > 0 {
        tracking::after_command(cx)?;
    }
    Ok(())
}

fn find(cx: &mut Cx<'_>) -> Outcome {
    let found = table::lookup(cx.args.at(0), cx.args.get(1));
    let hash = match found {
        Lookup::Found(command) => command.name_hash,
        _ => 0,
    };
    let last = field!(cx.session, Session.last_command);
    cx.tx.hint::<U32>(last, U32::from_native(hash));
    cx.command = match found {
        Lookup::Found(command) => command,
        Lookup::UnknownCommand => {
            return Err(Fail::Bytes(errors::unknown_command(cx.args.at(0), cx.args.from(1))));
        }
        Lookup::UnknownSubcommand(container) => {
            return Err(Fail::Bytes(errors::unknown_subcommand(container, cx.args.at(1))));
        }
    };
    Ok(())
}

/// Whether the command may run at all now.
fn admit(cx: &mut Cx<'_>) -> Outcome {
    let command = cx.command;
    if !command.arity_allows(cx.args.len()) {
        return Err(errors::wrong_arity(command).into());
    }
    let record = cx.session_record();
    let (flags, protocol) = (record.flags.get().to_native(), record.protocol.get());
    let has = |bits: u64| flags & bits != 0;
    if command.is(command_flag::PROTECTED) {
        crate::commands::debug::allow(cx)?;
    }
    if cx.state.password && !has(flag::AUTHENTICATED) && !command.is(command_flag::NO_AUTH) {
        return Err("NOAUTH Authentication required.".into());
    }
    if has(flag::MULTI) && command.is(command_flag::NO_MULTI) {
        return Err("ERR Command not allowed inside a transaction".into());
    }
    if cx.state.maxmemory > 0 {
        check_memory(cx, has(flag::MULTI))?;
    }
    if has(flag::SUBSCRIBER) && protocol == 2 && !allowed_to_subscribers(command) {
        return Err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            command.full_name
        )
        .into());
    }
    Ok(())
}

fn allowed_to_subscribers(command: &Command) -> bool {
    matches!(
        command.full_name,
        "ping"
            | "subscribe"
            | "ssubscribe"
            | "psubscribe"
            | "unsubscribe"
            | "sunsubscribe"
            | "punsubscribe"
            | "quit"
            | "reset"
    )
}

/// `maxmemory` without eviction: what needs memory is refused while too much is used.
fn check_memory(cx: &mut Cx<'_>, in_multi: bool) -> Outcome {
    if cx.tx.used_bytes() <= cx.state.maxmemory {
        return Ok(());
    }
    let name = cx.command.full_name;
    let ends = matches!(name, "exec" | "discard" | "reset" | "quit" | "multi");
    let exec_writes = name == "exec" && transactions::queue_needs_memory(cx);
    if cx.command.is(command_flag::DENYOOM) || (in_multi && !ends) || exec_writes {
        return Err("OOM command not allowed when used memory > 'maxmemory'.".into());
    }
    Ok(())
}

/// Whether `CLIENT PAUSE` holds the command back.
fn is_paused(cx: &Cx<'_>) -> bool {
    let root = cx.tx.get(cx.root);
    let until = root.paused_until_ms.get().to_native();
    if until == 0 || until <= cx.state.now_ms {
        return false;
    }
    // Queueing within `MULTI` is held back like running, as in Redis.
    root.pause_all.get() != 0
        || cx.command.is(command_flag::WRITE | command_flag::MAY_REPLICATE)
        || (cx.command.full_name == "exec" && transactions::queue_writes(cx))
}

/// Replies with an error to a command that did not run; an open `MULTI` will fail, or fails now if
/// the command is `EXEC`.
fn refuse(cx: &mut Cx<'_>, mut fail: Fail) -> Result<Done, Fail> {
    if cx.session_record().is(flag::MULTI) {
        session::change_flags(&mut cx.tx, cx.session, 0, flag::DIRTY_EXEC)?;
    }
    if cx.command.full_name == "exec" {
        fail = transactions::abort(cx, &fail)?;
    }
    reply_error(cx, &fail);
    tell_trackers(cx)?;
    Ok(Done::Replied)
}

/// Replies with an error to a request that was taken back as a whole. An `EXEC` has ended its
/// transaction all the same: its client counts on that.
///
/// # Errors
/// If there is no memory to note that either: the client has to be closed.
pub fn fail_whole(cx: &mut Cx<'_>, fail: &Fail) -> Result<(), OutOfMemory> {
    if cx.command.full_name == "exec" {
        transactions::leave(cx).map_err(|_| OutOfMemory)?;
    }
    reply_error(cx, fail);
    Ok(())
}

/// Replies with an error to a request whose handler has panicked. As if it had been refused, but for
/// an `EXEC`, whose transaction is over.
pub fn fail_panicked(cx: &mut Cx<'_>, message: &'static str) -> Result<Done, Fail> {
    // One that is not known could not have panicked; what it gets is the same.
    let _ = find(cx);
    if cx.command.full_name == "exec" {
        transactions::leave(cx)?;
    } else if cx.session_record().is(flag::MULTI) {
        session::change_flags(&mut cx.tx, cx.session, 0, flag::DIRTY_EXEC)?;
    }
    reply_error(cx, &message.into());
    Ok(Done::Replied)
}

/// Writes an error reply.
pub fn reply_error(cx: &mut Cx<'_>, fail: &Fail) {
    let text: &[u8] = match fail {
        Fail::Err(text) => text.as_bytes(),
        Fail::Bytes(text) => text,
        Fail::Oom => b"OOM command not allowed: the arena is full",
    };
    statistics::count_error(&mut cx.tx, cx.root, text);
    cx.state.ledger.failed = true;
    cx.reply.coded_error(text);
}

/// The version number of a protocol, as the session's record holds it.
pub fn protocol_of(version: u8) -> Protocol {
    if version == 3 { Protocol::Resp3 } else { Protocol::Resp2 }
}
