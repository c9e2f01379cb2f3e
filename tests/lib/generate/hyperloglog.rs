//! HyperLogLogs, sparse and dense, sound and damaged. Their bytes are compared as those of any string.

use super::Gen;
use crate::cmd;
use crate::differential::Command;

/// Any command on HyperLogLogs, and some on the strings that they are.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(40) {
        0..=11 => add(g),
        12..=15 => cmd!["PFCOUNT", key(g)],
        16..=18 => several(g, "PFCOUNT"),
        19..=22 => several(g, "PFMERGE"),
        23..=26 => debug(g),
        27..=28 => cmd!["SET", key(g), made_up(g)],
        29 => cmd!["SETRANGE", key(g), g.choice(60).to_string(), some_bytes(g, 4)],
        30 => cmd!["APPEND", key(g), some_bytes(g, 3)],
        31 => cmd!["SETBIT", key(g), g.choice(99_000).to_string(), "1"],
        32 => cmd!["OBJECT", "ENCODING", key(g)],
        33 => cmd!["STRLEN", key(g)],
        34 => cmd!["DEL", key(g)],
        35 => cmd!["GETRANGE", key(g), "0", "40"],
        36 => cmd!["COPY", key(g), key(g), "REPLACE"],
        37 => cmd!["EXPIRE", key(g), "1000"],
        _ => {
            let most = *g.rng.pick(&["0", "18", "30", "100", "300", "3000", "20000", "-1"]);
            cmd!["CONFIG", "SET", "hll-sparse-max-bytes", most]
        }
    }
}

/// Few keys, so that what stands in them grows.
fn key(g: &mut Gen) -> Vec<u8> {
    if g.percent(6) {
        return g.typed_key();
    }
    g.bytes_from(&[b"hll:1", b"hll:2", b"hll:3", b"hll:4"])
}

fn add(g: &mut Gen) -> Command {
    let mut command = cmd![g.word(&["PFADD"]), key(g)];
    let many = g.percent(15);
    for _ in 0..if many { 40 + g.choice(400) } else { g.choice(6) } {
        if g.percent(10) {
            command.push(g.value());
        } else {
            command.push(format!("e{}", g.choice(100_000)));
        }
    }
    command
}

fn several(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![g.word(&[name]), key(g)];
    for _ in 0..g.choice(4) {
        command.push(key(g));
    }
    command
}

fn debug(g: &mut Gen) -> Command {
    let what = g.word(&["GETREG", "DECODE", "DECODE", "DECODE", "ENCODING", "TODENSE", "NONE"]);
    cmd!["PFDEBUG", what, key(g)]
}

fn some_bytes(g: &mut Gen, most: usize) -> Vec<u8> {
    (0..=g.choice(most)).map(|_| g.choice(256) as u8).collect()
}

/// A string that looks like a HyperLogLog, more or less: runs of registers that may be too many or
/// too few, or registers of 6 bits.
fn made_up(g: &mut Gen) -> Vec<u8> {
    let mut bytes = b"HYLL".to_vec();
    let dense = g.percent(25);
    bytes.push(if g.percent(4) { 2 } else { u8::from(!dense) });
    bytes.extend([0; 3]);
    bytes.extend(if g.percent(50) { [0; 8] } else { [1, 2, 3, 4, 5, 6, 7, 0x88] });
    if dense {
        // Zeros and a few bytes: as many as there have to be, mostly.
        let most = if g.percent(30) { 255 } else { 0x41 };
        let length = if g.percent(90) { 12_288 } else { 12_280 + g.choice(20) };
        bytes.extend((0..length).map(|at| if at % 5 == 0 { most } else { 0 }));
        return bytes;
    }
    let mut left: i64 = 16_384;
    while left > 0 && bytes.len() < 200 {
        let most = if g.percent(10) { 12_000 } else { 90 };
        let run = 1 + g.choice(most) as i64;
        let run = if g.percent(97) { run.min(left) } else { run };
        left -= match g.choice(3) {
            0 => {
                let run = run.min(4);
                bytes.push(0x80 | (g.choice(32) as u8) << 2 | (run - 1) as u8);
                run
            }
            1 => {
                let run = run.min(64);
                bytes.push((run - 1) as u8);
                run
            }
            _ => {
                bytes.extend([0x40 | ((run - 1) >> 8) as u8, (run - 1) as u8]);
                run
            }
        };
    }
    if left > 0 && g.percent(90) {
        bytes.extend([0x40 | ((left - 1) >> 8) as u8, (left - 1) as u8]);
    }
    bytes
}
