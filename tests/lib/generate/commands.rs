//! COMMAND and its subcommands; the list of commands hotredis has.

use std::sync::LazyLock;

use super::Gen;
use crate::cmd;
use crate::coverage::Catalogue;
use crate::differential::{Command, Mask, Vary};

/// Every command that hotredis has, and `container|subcommand`, in lower case.
pub fn supported_names() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| Catalogue::documented().names());
    &NAMES
}

/// Whether hotredis has a command (or `container|subcommand`).
pub fn supported(name: &[u8]) -> bool {
    supported_names().iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

fn name(g: &mut Gen) -> String {
    match g.choice(12) {
        0 => "nosuch".into(),
        1 => (*g.rng.pick(&["client|nosuch", "get|x", "", "client|", "nosuch|id"])).into(),
        _ => {
            let name = g.rng.pick(supported_names()).to_uppercase();
            g.word(&[&name])
        }
    }
}

/// Any COMMAND command. The whole lists are left to the day when hotredis has every command.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(16) {
        0 => cmd!["COMMAND", g.word(&["COUNT"])].mask(Mask::Kind).vary(Vary::Not),
        1..=4 => several(g, "INFO"),
        5..=8 => several(g, "DOCS"),
        9..=12 => get_keys(g),
        13 => list(g),
        14 => g.form(&[&["COMMAND", "FOO"], &["COMMAND", "COUNT", "x"]]),
        _ => g.form(&[&["COMMAND", "HELP"], &["COMMAND", "HELP", "x"]]),
    }
}

fn several(g: &mut Gen, subcommand: &str) -> Command {
    let mut command = cmd!["COMMAND", g.word(&[subcommand]), name(g)];
    for _ in 0..g.choice(3) {
        command.push(name(g));
    }
    command.mask(Mask::Subcommands).vary(Vary::Not)
}

fn get_keys(g: &mut Gen) -> Command {
    let subcommand = g.word(&["GETKEYS", "GETKEYS", "GETKEYSANDFLAGS"]);
    let mut command = cmd!["COMMAND", subcommand];
    if g.percent(50) {
        // A real command, so that keys are found.
        let inner = super::data_command(g);
        command.args.extend(inner.args);
    } else {
        command.push(name(g));
        for _ in 0..g.choice(5) {
            command.push(g.key());
        }
    }
    command.vary(Vary::Shape)
}

fn list(g: &mut Gen) -> Command {
    let mut command = cmd!["COMMAND", "LIST"];
    if g.percent(80) {
        command.push(g.word(&["FILTERBY", "FILTERBY", "FILTERBY", "FOO"]));
        command.push(g.word(&["ACLCAT", "PATTERN", "MODULE", "FOO"]));
        let what = [
            "read", "string", "bitmap", "pubsub", "nosuch", "g*", "*set*", "client|*", "x*",
            "@read",
        ];
        command.push(*g.rng.pick(&what));
    }
    command.mask(Mask::CommandNames).vary(Vary::Not)
}
