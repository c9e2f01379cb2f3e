//! CLIENT and its subcommands.

use super::{Gen, connection, data_command, pubsub, usual_steps};
use crate::cmd;
use crate::differential::{Arg, Command, Mask, Step, Vary};

/// Any CLIENT command, in forms that leave the other connections alone unless they say so.
pub fn command(g: &mut Gen) -> Command {
    let client = g.word(&["CLIENT"]);
    match g.choice(30) {
        0..=2 => {
            let from = ["me", "a b", "", "line\n", "\u{e4}", "x-y_z!", "~", "name", "other"];
            let name = *g.rng.pick(&from);
            cmd![client, g.word(&["SETNAME"]), name]
        }
        3..=4 => cmd![client, g.word(&["GETNAME"])],
        5 => cmd![client, g.word(&["ID"])].mask(Mask::ClientId),
        6..=7 => cmd![client, g.word(&["INFO"])].mask(Mask::ClientList).vary(Vary::Not),
        8..=11 => list(g),
        12..=14 => kill(g),
        15 => cmd![client, "NO-EVICT", g.word(&["ON", "OFF", "x"])],
        16..=20 => tracking(g),
        21 => cmd![client, "TRACKINGINFO"].mask(Mask::Ids),
        22 => cmd![client, "GETREDIR"].mask(Mask::Ids),
        23 => cmd![client, "CACHING", g.word(&["YES", "NO", "x"])],
        24 => cmd![client, "UNPAUSE"],
        25 => pause(g),
        26 => unblock(g),
        27 => cmd![client, g.word(&["HELP"])],
        28 => cmd![client, "FOO", "bar"],
        _ => cmd![client],
    }
}

fn list(g: &mut Gen) -> Command {
    let mut command = cmd!["CLIENT", g.word(&["LIST"])];
    match g.choice(8) {
        0..=2 => {}
        3 => {
            command.push("TYPE");
            command.push(g.word(&["normal", "pubsub", "master", "replica", "slave", "foo"]));
        }
        4 => {
            command.push("ID");
            command.args.push(Arg::Id(g.client()));
            if g.percent(50) {
                command.args.push(Arg::Id(g.client()));
            }
        }
        5 => {
            command.push("ID");
            command.push(*g.rng.pick(&["0", "-1", "abc", "", "99999999999999999999"]));
        }
        6 => {
            command.push("ID");
        }
        _ => {
            command.push("FOO");
        }
    }
    command.mask(Mask::ClientList).vary(Vary::Not)
}

fn kill(g: &mut Gen) -> Command {
    let target = g.client();
    let mut command = cmd!["CLIENT", g.word(&["KILL"])];
    match g.choice(15) {
        0 => command.args.push(Arg::Addr(target)),
        14 => {
            command.push("TYPE").push(g.word(&["normal", "pubsub"])).push("ID");
            command.args.push(Arg::Id(target));
        }
        1 => {
            command.push("1.2.3.4:5");
        }
        2..=3 => {
            command.push(g.word(&["ID"]));
            command.args.push(Arg::Id(target));
        }
        4 => {
            command.push("ADDR").push("1.2.3.4:5");
        }
        5 => {
            command.push("ID");
            command.args.push(Arg::Id(target));
            command.push("ADDR");
            command.args.push(Arg::Addr(g.client()));
            command.push("SKIPME").push(g.word(&["yes", "no", "x"]));
        }
        6 => {
            command.push("TYPE").push(g.word(&["pubsub", "master", "slave", "replica", "foo"]));
        }
        7 => {
            command.push("USER").push("nobody");
        }
        8 => {
            command.push("ID").push(*g.rng.pick(&["0", "-1", "abc", "", "123456789"]));
        }
        9 => {
            command.push("LADDR").push("1.2.3.4:5");
        }
        10 => {
            command.push("LADDR");
            command.args.push(Arg::ServerAddr);
            command.push("ID");
            command.args.push(Arg::Id(target));
        }
        11 => {
            command.push("FOO").push("bar");
        }
        12 => {
            command.push("ID");
        }
        _ => {
            command.push("ID");
            command.args.push(Arg::Id(target));
            command.push("MAXAGE").push("1");
        }
    }
    command.vary(Vary::Not)
}

fn tracking(g: &mut Gen) -> Command {
    let mut command = cmd!["CLIENT", "TRACKING", g.word(&["ON", "ON", "ON", "OFF", "x"])];
    for _ in 0..g.choice(3) {
        match g.choice(7) {
            0 => {
                command.push("REDIRECT");
                match g.choice(3) {
                    0 => {
                        command.push(*g.rng.pick(&["0", "abc", "123456789", "-1"]));
                    }
                    _ => command.args.push(Arg::Id(g.client())),
                }
            }
            1 => {
                command.push(g.word(&["BCAST"]));
            }
            2 => {
                command.push("PREFIX").push(*g.rng.pick(&["a", "key:", "key", "", "b"]));
            }
            3 => {
                command.push("OPTIN");
            }
            4 => {
                command.push("OPTOUT");
            }
            5 => {
                command.push("NOLOOP");
            }
            _ => {
                command.push("FOO");
            }
        }
    }
    command.vary(Vary::Not)
}

/// A pause that is over before anybody notices, or was no pause.
fn pause(g: &mut Gen) -> Command {
    let forms: [&[&str]; 9] = [
        &["CLIENT", "PAUSE"],
        &["CLIENT", "PAUSE", "0"],
        &["CLIENT", "PAUSE", "0", "ALL"],
        &["CLIENT", "PAUSE", "0", "WRITE"],
        &["CLIENT", "PAUSE", "abc"],
        &["CLIENT", "PAUSE", "-1"],
        &["CLIENT", "PAUSE", "0", "FOO"],
        &["CLIENT", "PAUSE", "99999999999999999999"],
        &["CLIENT", "PAUSE", "0", "ALL", "x"],
    ];
    g.form(&forms)
}

fn unblock(g: &mut Gen) -> Command {
    let mut command = cmd!["CLIENT", "UNBLOCK"];
    match g.choice(4) {
        0 => {
            command.push(*g.rng.pick(&["0", "abc", "-1", "123456789"]));
        }
        1 => {}
        _ => command.args.push(Arg::Id(g.client())),
    }
    if g.percent(50) {
        command.push(g.word(&["TIMEOUT", "ERROR", "x"]));
    }
    command
}

/// Steps; REPLY goes with what it silences.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    let client = g.client();
    match g.choice(24) {
        0..=1 => {
            // Inside a transaction it would leave EXEC's array without its end.
            out.push(Step::Send { client, commands: vec![cmd!["DISCARD"]] });
            let mode = g.word(&["ON", "OFF", "SKIP", "x"]);
            let commands = vec![cmd!["CLIENT", "REPLY", mode]];
            out.push(Step::Send { client, commands });
            for _ in 0..g.choice(4) {
                let command = data_command(g);
                out.push(Step::Send { client, commands: vec![command] });
            }
            let commands = vec![cmd!["CLIENT", "REPLY", "ON"]];
            out.push(Step::Send { client, commands });
        }
        2 => {
            let commands = vec![
                cmd!["DISCARD"],
                cmd!["CLIENT", "REPLY", "SKIP"],
                cmd!["SET", g.key(), g.value()],
                cmd!["GET", g.key()],
                cmd!["CLIENT", "REPLY", "OFF"],
                cmd!["GET", g.key()],
                cmd!["CLIENT", "REPLY", "SKIP"],
                cmd!["CLIENT", "REPLY", "ON"],
                cmd!["PING"],
            ];
            out.push(Step::Send { client, commands });
        }
        3 => {
            let pause = cmd!["CLIENT", "PAUSE", "10000", "WRITE"];
            out.push(Step::Send { client, commands: vec![pause, cmd!["CLIENT", "UNPAUSE"]] });
        }
        4 => out.push(Step::Reconnect { client }),
        5..=8 => {
            let command = data_command(g);
            out.push(Step::Send { client, commands: vec![command] });
        }
        9 => usual_steps(g, out, pubsub::command),
        10 => usual_steps(g, out, connection::command),
        _ => usual_steps(g, out, command),
    }
}
