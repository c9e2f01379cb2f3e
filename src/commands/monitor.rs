//! `MONITOR`.

use super::serialized;
use super::spec::{CommandSpec, cmd, flag};
use super::table::Command;
use crate::executor::{Args, Cx, Outcome};
use crate::proto::reply::Sink;
use crate::session::push::Push;
use crate::session::{self, cold, monitors};
use crate::util::numbers::string2ll;
use crate::util::quote;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] =
    &[cmd("monitor", 1, monitor).flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)];

/// `MONITOR`: listen for all requests received by the server in real time.
fn monitor(cx: &mut Cx<'_>) -> Outcome {
    if cx.in_exec {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    // Who is one already gets no second reply, as in Redis.
    if !cx.session_record().is(session::flag::MONITOR) {
        monitors::add(&mut cx.tx, cx.root, cx.session)?;
        cx.reply.ok();
    }
    Ok(())
}

/// Tells the monitors of the command that ran. One whose own command was its last (`QUIT`) hears nothing
/// behind the reply.
pub fn feed(cx: &mut Cx<'_>) -> Outcome {
    use session::flag::{CLOSE_AFTER_REPLY, REPLY_OFF, REPLY_SKIP};
    if cx.command.is(flag::SKIP_MONITOR | flag::ADMIN) {
        return Ok(());
    }
    let line = line(cx);
    let mut push = Push::new(|reply| reply.raw(&line));
    for session in monitors::all(&cx.tx, cx.root) {
        if session == cx.session {
            if !cx.tx.get(session).is(CLOSE_AFTER_REPLY) {
                cx.reply.sink().put(&line);
            }
        } else if !cx.tx.get(session).is(REPLY_OFF | REPLY_SKIP) {
            push.send(&mut cx.tx, cx.state, session)?;
        }
    }
    Ok(())
}

/// The line that shows a command, as it goes over the wire.
fn line(cx: &Cx<'_>) -> Vec<u8> {
    let now = crate::util::time::unix_time_us();
    let record = cx.session_record();
    let peer = if record.transport == session::UNIX {
        format!("unix:{}", String::from_utf8_lossy(cx.state.config.unixsocket()))
    } else {
        cold::load(&cx.tx, cx.session).peer
    };
    let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
    let mut line = format!("+{seconds}.{micros:06} [{} {peer}]", cx.database_index).into_bytes();
    let secret = secrets(cx.command, &cx.args);
    for (position, arg) in cx.args.from(0).enumerate() {
        line.push(b' ');
        let hidden = secret.contains(&position);
        quote::repr_into(&mut line, if hidden { b"(redacted)" } else { arg });
    }
    line.extend(b"\r\n");
    line
}

/// Positions of arguments that monitors must not see, nor the log.
pub fn secrets(command: &Command, args: &Args<'_>) -> Vec<usize> {
    match command.full_name {
        "auth" if args.len() <= 3 => (1..args.len()).collect(),
        "hello" if args.get(1).is_some_and(|version| string2ll(version).is_some()) => {
            let mut secret = Vec::new();
            let mut at = 2;
            while at < args.len() {
                if args.is(at, "auth") && at + 2 < args.len() {
                    secret.extend([at + 1, at + 2]);
                    at += 3;
                } else if args.is(at, "setname") {
                    at += 2;
                } else {
                    break;
                }
            }
            secret
        }
        "migrate" => serialized::secrets(args),
        _ => Vec::new(),
    }
}
