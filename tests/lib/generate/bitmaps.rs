//! Bit operations on strings.

use super::Gen;
use crate::cmd;
use crate::differential::Command;

/// Any bitmap command.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(16) {
        0..=2 => {
            let bit = g.word(&["0", "1", "1", "1", "2", "-1", "", "x"]);
            cmd!["SETBIT", g.typed_key(), offset(g), bit]
        }
        3 => cmd!["GETBIT", g.typed_key(), offset(g)],
        4..=5 => bitcount(g),
        6..=7 => bitpos(g),
        8..=9 => bitop(g),
        10 => cmd!["SET", g.key(), g.value()],
        11..=14 => bitfield(g, "BITFIELD"),
        _ => bitfield(g, "BITFIELD_RO"),
    }
}

/// A bit offset: mostly small, sometimes beyond the limit or no number.
fn offset(g: &mut Gen) -> Vec<u8> {
    match g.choice(12) {
        0 => g.odd_number(),
        1 => (*g.rng.pick(&["4294967295", "4294967296", "8388608", "-1", "9223372036854775807"]))
            .as_bytes()
            .to_vec(),
        2 => g.choice(20_000).to_string().into_bytes(),
        _ => g.choice(120).to_string().into_bytes(),
    }
}

fn bitcount(g: &mut Gen) -> Command {
    let mut command = cmd!["BITCOUNT", g.typed_key()];
    let range = g.choice(5);
    if range > 0 {
        command.push(g.index());
    }
    if range > 1 {
        command.push(g.index());
    }
    if range > 2 {
        command.push(g.word(&["BIT", "BYTE", "BIT", "BYTE", "x"]));
    }
    command
}

fn bitpos(g: &mut Gen) -> Command {
    let bit = g.word(&["0", "1", "0", "1", "2", "x"]);
    let mut command = cmd!["BITPOS", g.typed_key(), bit];
    let range = g.choice(5);
    if range > 0 {
        command.push(g.index());
    }
    if range > 1 {
        command.push(g.index());
    }
    if range > 2 {
        command.push(g.word(&["BIT", "BYTE", "BIT", "BYTE", "x"]));
    }
    command
}

fn bitop(g: &mut Gen) -> Command {
    let operation = g.word(&["AND", "OR", "XOR", "NOT", "NOR"]);
    let mut command = cmd!["BITOP", operation, g.key(), g.typed_key()];
    for _ in 0..g.choice(4) {
        command.push(g.typed_key());
    }
    command
}

fn field_type(g: &mut Gen) -> String {
    match g.choice(10) {
        0 => (*g.rng.pick(&["u64", "i65", "u0", "i0", "x8", "", "u", "i-1", "u063", "i 8", "U8"]))
            .to_owned(),
        1 => "u63".into(),
        2 => "i64".into(),
        _ => {
            let sign = *g.rng.pick(&["u", "i"]);
            format!("{sign}{}", 1 + g.choice(63))
        }
    }
}

fn field_offset(g: &mut Gen) -> Vec<u8> {
    match g.choice(12) {
        0 => g.odd_number(),
        1 => {
            let odd = String::from_utf8_lossy(&g.odd_number()).into_owned();
            format!("#{odd}").into_bytes()
        }
        2..=4 => format!("#{}", g.choice(8)).into_bytes(),
        _ => g.choice(200).to_string().into_bytes(),
    }
}

fn bitfield(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name, g.typed_key()];
    for _ in 0..g.choice(5) {
        // The read-only form knows GET alone; anything else is an error to compare.
        let writes = name == "BITFIELD" || g.percent(10);
        match if writes { g.choice(5) } else { 0 } {
            0 | 1 => {
                command.push(g.word(&["GET"]));
                command.push(field_type(g));
                command.push(field_offset(g));
            }
            2 => {
                command.push(g.word(&["SET"]));
                command.push(field_type(g));
                command.push(field_offset(g));
                command.push(g.integer());
            }
            3 => {
                command.push(g.word(&["INCRBY"]));
                command.push(field_type(g));
                command.push(field_offset(g));
                command.push(g.integer());
            }
            _ => {
                command.push(g.word(&["OVERFLOW"]));
                command.push(g.word(&["WRAP", "SAT", "FAIL", "WRAP", "SAT", "FAIL", "x"]));
            }
        }
    }
    command
}
