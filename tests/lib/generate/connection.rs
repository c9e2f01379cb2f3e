//! The connection itself: protocol version, password, database, its end.

use super::{Gen, data_command, usual_steps, vary};
use crate::cmd;
use crate::differential::side::PASSWORD;
use crate::differential::{Command, Mask, Step, Vary};

/// Any command on the connection.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(24) {
        0..=1 => cmd!["PING"],
        2 => cmd!["PING", g.value()],
        3..=4 => cmd!["ECHO", g.value()],
        5..=9 => hello(g),
        10..=12 => auth(g),
        13..=15 => cmd!["SELECT", g.db()],
        16..=17 => cmd!["RESET"],
        18 => cmd!["QUIT"].vary(Vary::Shape),
        19 => cmd!["CLIENT", "GETNAME"],
        20 => cmd!["CLIENT", "INFO"].mask(Mask::ClientList).vary(Vary::Not),
        _ => data_command(g),
    }
}

fn hello(g: &mut Gen) -> Command {
    let mut command = cmd!["HELLO"];
    if g.percent(85) {
        command.push(g.word(&["2", "3", "3", "2", "3", "2", "1", "4", "abc", "", "03", "-1"]));
    }
    for _ in 0..g.choice(3) {
        match g.choice(5) {
            0..=1 => {
                command.push(g.word(&["AUTH"]));
                command.push(g.word(&["default", "default", "nobody"]).to_lowercase());
                if g.percent(90) {
                    command.push(*g.rng.pick(&[PASSWORD, "wrong", ""]));
                }
            }
            2..=3 => {
                command.push(g.word(&["SETNAME"]));
                command.push(*g.rng.pick(&["me", "a b", "", "line\n", "\u{e4}"]));
            }
            _ => {
                command.push("FOO");
            }
        }
    }
    command.mask(Mask::Hello).vary(Vary::Shape)
}

fn auth(g: &mut Gen) -> Command {
    let password = *g.rng.pick(&[PASSWORD, PASSWORD, "wrong", ""]);
    match g.choice(4) {
        0 => cmd!["AUTH", *g.rng.pick(&["default", "nobody"]), password],
        1 => cmd!["AUTH", "default", PASSWORD],
        _ => cmd!["AUTH", password],
    }
}

/// Steps; the password comes and goes.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    let client = g.client();
    match g.choice(40) {
        0 => {
            let commands = vec![cmd!["CONFIG", "SET", "requirepass", PASSWORD]];
            out.push(Step::Send { client, commands });
            out.push(Step::Reconnect { client: g.client() });
        }
        1 => {
            let commands = vec![cmd!["CONFIG", "SET", "requirepass", ""]];
            out.push(Step::Send { client, commands });
        }
        2 => out.push(Step::Reconnect { client }),
        3 => {
            // What follows QUIT in the same packet is not executed.
            let mut commands = vec![cmd!["SET", "a", "1"], cmd!["QUIT"]];
            commands.push(vary(g, cmd!["SET", "a", "2"]));
            out.push(Step::Send { client, commands });
        }
        _ => usual_steps(g, out, command),
    }
}
