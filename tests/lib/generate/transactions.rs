//! MULTI, EXEC, DISCARD, WATCH, with others writing between.

use super::{Gen, arity, data_command, usual_steps, vary};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

/// A command that begins, ends or belongs into a transaction.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(20) {
        0..=2 => cmd!["MULTI"],
        3..=5 => cmd!["EXEC"],
        6 => cmd!["DISCARD"],
        7..=9 => {
            let mut command = cmd!["WATCH", g.key()];
            if g.percent(30) {
                command.push(g.key());
            }
            command
        }
        10 => cmd!["UNWATCH"],
        11 => cmd!["SELECT", g.db()],
        12 => cmd!["SWAPDB", "0", "1"],
        13 => forbidden(g),
        14 => cmd!["RESET"],
        15 => arity::unknown(g),
        _ => data_command(g),
    }
}

/// Commands that a transaction refuses, or that end it.
fn forbidden(g: &mut Gen) -> Command {
    match g.choice(7) {
        0 => cmd!["WATCH", "a"],
        1 => cmd!["MULTI"],
        2 => cmd!["SHUTDOWN", "ABORT"],
        3 => cmd!["GET"],
        4 => cmd!["CLIENT", "ID"].mask(Mask::ClientId),
        5 => cmd!["CLIENT", "FOO"],
        _ => cmd!["HELLO", "2"].mask(Mask::Hello),
    }
    .vary(Vary::Not)
}

/// Single commands, and whole transactions with or without interference.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    if g.percent(60) {
        return usual_steps(g, out, command);
    }
    let (client, other, key) = (g.client(), g.client(), g.key());
    let send = |client, command| Step::Send { client, commands: vec![command] };
    out.push(send(client, cmd!["WATCH", key.clone()]));
    if g.percent(50) {
        let command = data_command(g);
        out.push(send(client, command));
    }
    if g.percent(60) {
        let touch = match g.choice(8) {
            0 => cmd!["SET", key.clone(), "other"],
            1 => cmd!["DEL", key.clone()],
            2 => cmd!["FLUSHALL"],
            3 => cmd!["SWAPDB", "0", "1"],
            4 => cmd!["EXPIRE", key.clone(), "1000"],
            5 => cmd!["RENAME", "b", key.clone()],
            6 => cmd!["GET", key.clone()],
            _ => cmd!["MOVE", key.clone(), "1"],
        };
        out.push(send(other, touch));
    }
    if g.percent(10) {
        out.push(send(client, cmd!["UNWATCH"]));
    }
    if g.percent(5) {
        out.push(Step::Reconnect { client });
    }
    let mut all = vec![cmd!["MULTI"]];
    for _ in 0..g.choice(5) {
        let command = if g.percent(10) { forbidden(g) } else { data_command(g) };
        all.push(vary(g, command));
    }
    all.push(if g.percent(90) { cmd!["EXEC"] } else { cmd!["DISCARD"] });
    if g.percent(40) && all.iter().all(|c| c.mask == Mask::Exact) {
        out.push(Step::Send { client, commands: all });
    } else {
        out.extend(all.into_iter().map(|command| send(client, command)));
    }
}
