//! Values at the limit of `proto-max-bulk-len`, which the servers under test have at its least
//! (1 MiB), so that the edge is cheap to reach.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Step};

/// The limit in bytes.
const LIMIT: i64 = 1 << 20;

/// One write around the limit, then what it left.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    let client = g.client();
    let command = write(g);
    out.push(Step::Send { client, commands: vec![command] });
    out.push(Step::Send { client, commands: vec![cmd!["STRLEN", "big"]] });
    if g.percent(30) {
        out.push(Step::Send { client, commands: vec![cmd!["DEL", "big"]] });
    }
}

fn write(g: &mut Gen) -> Command {
    let near = LIMIT + g.rng.within(-2..=2);
    let bit = LIMIT * 8 + g.rng.within(-2..=2);
    match g.choice(12) {
        0 => cmd!["SETRANGE", "big", near - 1, "x"],
        1 => cmd!["SETRANGE", "big", near, ""],
        2 => cmd!["SETRANGE", "big", near - 5, "hello"],
        3 => cmd!["SETBIT", "big", bit - 1, "1"],
        4 => cmd!["GETBIT", "big", bit - 1],
        5 => cmd!["BITFIELD", "big", "SET", "u8", bit - 8, "255"],
        6 => cmd!["BITFIELD", "big", "GET", "i64", bit - 64],
        7 => cmd!["BITFIELD", "big", "INCRBY", "u8", format!("#{near}"), "1"],
        8 => cmd!["APPEND", "big", vec![b'x'; 3]],
        9 => cmd!["BITCOUNT", "big", "-2", "-1"],
        10 => cmd!["BITPOS", "big", "0"],
        _ => cmd!["SETRANGE", "big", g.odd_number(), "x"],
    }
}
