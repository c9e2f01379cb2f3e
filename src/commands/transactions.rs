//! Transactions.

use shm::Off;

use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use super::table::{self, Command, Lookup};
use crate::executor::dispatch;
use crate::executor::{Cx, Fail, Outcome};
use crate::session::queue::{self, Queued};
use crate::session::{self, flag as state, watch as watches};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("discard", 1, discard)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION),
    cmd("exec", 1, exec)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_SLOWLOG)
        .acl(acl::TRANSACTION),
    cmd("multi", 1, multi)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION),
    cmd("unwatch", 1, unwatch)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION),
    cmd("watch", -2, watch)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RO)]),
];

/// `DISCARD`: discard all commands issued after MULTI.
fn discard(cx: &mut Cx<'_>) -> Outcome {
    if !cx.session_record().is(state::MULTI) {
        return Err("ERR DISCARD without MULTI".into());
    }
    leave(cx)?;
    cx.reply.ok();
    Ok(())
}

/// Ends the transaction, and forgets the queue and what was watched.
pub fn leave(cx: &mut Cx<'_>) -> Outcome {
    queue::clear(&mut cx.tx, cx.session)?;
    watches::clear(&mut cx.tx, cx.root, cx.session)?;
    let bits = state::MULTI | state::DIRTY_CAS | state::DIRTY_EXEC;
    Ok(session::change_flags(&mut cx.tx, cx.session, bits, 0)?)
}

/// Ends the transaction because `EXEC` itself was refused; gives the error to reply with.
pub fn abort(cx: &mut Cx<'_>, fail: &Fail) -> Result<Fail, Fail> {
    leave(cx)?;
    let reason: &[u8] = match fail {
        Fail::Err(text) => text.as_bytes(),
        Fail::Bytes(text) => text,
        Fail::Oom => b"OOM command not allowed: the arena is full",
    };
    let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
    Ok(Fail::Bytes([b"EXECABORT Transaction discarded because of: ", reason].concat()))
}

/// `EXEC`: execute all commands issued after MULTI.
///
/// All of them are one transaction of the arena; one that fails takes back only what it did itself.
fn exec(cx: &mut Cx<'_>) -> Outcome {
    let record = cx.session_record();
    if !record.is(state::MULTI) {
        return Err("ERR EXEC without MULTI".into());
    }
    if record.is(state::DIRTY_EXEC) {
        leave(cx)?;
        let fail = "EXECABORT Transaction discarded because of previous errors.".into();
        dispatch::reply_error(cx, &fail);
        return Ok(());
    }
    let failed = record.is(state::DIRTY_CAS)
        || watches::has_expired(&cx.tx, cx.root, cx.session, cx.now_ms());
    if failed {
        leave(cx)?;
        cx.reply.null_array();
        return Ok(());
    }
    let (point, at) = (cx.tx.savepoint(), cx.state.point());
    let written = cx.reply.sink().len();
    if let Err(fail) = run_queue(cx) {
        // There was no memory for the frame around the commands: none of them has happened, and the
        // transaction is over.
        cx.tx.rollback_to(point);
        cx.reply.sink().truncate(written);
        cx.state.take_back(&cx.tx, cx.root, &at);
        let index = cx.session_record().database.get().to_native();
        cx.database = crate::root::database(&cx.tx, cx.root, index);
        cx.database_index = index;
        dispatch::reply_error(cx, &fail);
    }
    leave(cx)
}

/// Runs the queued commands and writes the array of their replies.
fn run_queue(cx: &mut Cx<'_>) -> Outcome {
    watches::clear(&mut cx.tx, cx.root, cx.session)?;
    let commands = queue::commands(&cx.tx, cx.session);
    cx.reply.array(commands.len());
    let (args, command) = (cx.args, cx.command);
    cx.in_exec = true;
    let outcome = commands.into_iter().try_for_each(|queued| run(cx, queued));
    cx.in_exec = false;
    (cx.args, cx.command) = (args, command);
    outcome?;
    Ok(cx.reply.sink().check()?)
}

fn run(cx: &mut Cx<'_>, queued: Off<Queued>) -> Outcome {
    // SAFETY: `run_queue` gives the arguments back before the transaction ends.
    cx.args = unsafe { queue::pinned(&cx.tx, queued) };
    match lookup(cx, queued) {
        Some(command) => {
            cx.command = command;
            dispatch::call(cx)?;
            if cx.session_record().is(state::CLOSE_AFTER_REPLY) {
                // A client that is being hung up on (it killed itself) hears no more, as in Redis.
                cx.reply.sink().mute(true);
            }
            Ok(())
        }
        None => {
            // Queued by another build, which knew it.
            let args = cx.args;
            let fail = super::errors::unknown_command(args.at(0), args.from(1));
            dispatch::reply_error(cx, &Fail::Bytes(fail));
            Ok(())
        }
    }
}

fn lookup(cx: &Cx<'_>, queued: Off<Queued>) -> Option<&'static Command> {
    let (name, subcommand) = queue::name(&cx.tx, queued);
    match table::lookup(name, subcommand) {
        Lookup::Found(command) => Some(command),
        _ => None,
    }
}

/// `MULTI`: mark the start of a transaction block.
fn multi(cx: &mut Cx<'_>) -> Outcome {
    if cx.session_record().is(state::MULTI) {
        return Err("ERR MULTI calls can not be nested".into());
    }
    session::change_flags(&mut cx.tx, cx.session, 0, state::MULTI)?;
    cx.reply.ok();
    Ok(())
}

/// `UNWATCH`: forget about all watched keys.
fn unwatch(cx: &mut Cx<'_>) -> Outcome {
    watches::clear(&mut cx.tx, cx.root, cx.session)?;
    session::change_flags(&mut cx.tx, cx.session, state::DIRTY_CAS, 0)?;
    cx.reply.ok();
    Ok(())
}

/// `WATCH key [key ...]`: watch the given keys to determine execution of the MULTI/EXEC block.
fn watch(cx: &mut Cx<'_>) -> Outcome {
    if cx.session_record().is(state::MULTI) {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    // Once a watched key has changed, no other matters.
    if !cx.session_record().is(state::DIRTY_CAS) {
        let now = cx.now_ms();
        for key in cx.args.from(1) {
            watches::add(&mut cx.tx, cx.root, cx.session, cx.database_index, key, now)?;
        }
    }
    cx.reply.ok();
    Ok(())
}

/// Whether a command runs at once in `MULTI` instead of being queued.
pub fn runs_at_once(command: &Command) -> bool {
    matches!(command.full_name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

/// Queues the command in `cx.args`, unless `EXEC` is bound to fail anyway.
pub fn queue(cx: &mut Cx<'_>) -> Outcome {
    if cx.session_record().is(state::DIRTY_CAS | state::DIRTY_EXEC) {
        return Ok(());
    }
    Ok(queue::push(&mut cx.tx, cx.session, &cx.args)?)
}

/// Whether a queued command needs memory (`denyoom`).
pub fn queue_needs_memory(cx: &Cx<'_>) -> bool {
    queue_has(cx, flag::DENYOOM)
}

/// Whether a queued command writes.
pub fn queue_writes(cx: &Cx<'_>) -> bool {
    queue_has(cx, flag::WRITE | flag::MAY_REPLICATE)
}

fn queue_has(cx: &Cx<'_>, flags: u32) -> bool {
    let is = |queued| lookup(cx, queued).is_some_and(|command| command.is(flags));
    queue::commands(&cx.tx, cx.session).into_iter().any(is)
}
