//! What one asks the server about itself.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Mask, Vary};

/// Any command about the server, in forms that neither stop it nor change it for good.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(24) {
        0..=3 => info(g),
        4..=7 => config_get(g),
        8..=10 => config_set(g),
        11 => {
            let forms: [&[&str]; 6] = [
                &["CONFIG", "REWRITE"],
                &["CONFIG", "RESETSTAT"],
                &["CONFIG", "FOO"],
                &["CONFIG"],
                &["CONFIG", "HELP"],
                &["CONFIG", "RESETSTAT", "x"],
            ];
            g.form(&forms)
        }
        12 => cmd!["TIME"].mask(Mask::Kind),
        13 => lolwut(g),
        14..=16 => memory(g),
        17..=20 => debug(g),
        21 => shutdown(g),
        22 => g.form(&[&["MONITOR", "x"], &["DBSIZE"], &["DBSIZE", "x"]]),
        _ => g.form(&[&["TIME", "x"], &["LOLWUT", "x"], &["INFO", "foo"]]).mask(Mask::Kind),
    }
}

fn info(g: &mut Gen) -> Command {
    let sections = [
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "cpu",
        "keyspace",
        "cluster",
        "errorstats",
        "modules",
        "default",
        "all",
        "everything",
        "SERVER",
        "foo",
        "",
        "commandstats",
    ];
    let mut command = cmd!["INFO"];
    for _ in 0..g.choice(4) {
        command.push(*g.rng.pick(&sections));
    }
    command.mask(Mask::Info).vary(Vary::Not)
}

fn config_get(g: &mut Gen) -> Command {
    let names = [
        "maxmemory",
        "maxclients",
        "timeout",
        "tcp-keepalive",
        "proto-max-bulk-len",
        "databases",
        "requirepass",
        "client-output-buffer-limit",
        "maxmemory-policy",
        "TIMEOUT",
        "nosuch",
        "proto-max*",
        "tcp-keep*",
        "time*ut",
        "",
        "hz",
        "appendonly",
        "save",
    ];
    let mut command = cmd!["CONFIG", g.word(&["GET"]), *g.rng.pick(&names)];
    for _ in 0..g.choice(3) {
        command.push(*g.rng.pick(&names));
    }
    command.mask(Mask::UnorderedPairs).vary(Vary::Not)
}

/// Settings the servers are given back after the episode, and ones they refuse.
fn config_set(g: &mut Gen) -> Command {
    let forms: [&[&str]; 28] = [
        &["CONFIG", "SET", "timeout", "100"],
        &["CONFIG", "SET", "timeout", "0"],
        &["CONFIG", "SET", "timeout", "-1"],
        &["CONFIG", "SET", "timeout", "abc"],
        &["CONFIG", "SET", "timeout", "99999999999"],
        &["CONFIG", "SET", "timeout", ""],
        &["CONFIG", "SET", "TIMEOUT", "50"],
        &["CONFIG", "SET", "tcp-keepalive", "60"],
        &["CONFIG", "SET", "tcp-keepalive", "-1"],
        &["CONFIG", "SET", "maxclients", "500"],
        &["CONFIG", "SET", "maxclients", "0"],
        &["CONFIG", "SET", "maxclients", "abc"],
        &["CONFIG", "SET", "proto-max-bulk-len", "1mb"],
        &["CONFIG", "SET", "proto-max-bulk-len", "1024"],
        &["CONFIG", "SET", "proto-max-bulk-len", "x"],
        &["CONFIG", "SET", "maxmemory", "1gb"],
        &["CONFIG", "SET", "maxmemory", "1zb"],
        &["CONFIG", "SET", "maxmemory", "0"],
        &["CONFIG", "SET", "databases", "3"],
        &["CONFIG", "SET", "port"],
        &["CONFIG", "SET"],
        &["CONFIG", "SET", "nosuch", "1"],
        &["CONFIG", "SET", "timeout", "10", "timeout", "20"],
        &["CONFIG", "SET", "timeout", "10", "nosuch", "20"],
        &["CONFIG", "SET", "timeout", "10", "tcp-keepalive", "77"],
        &["CONFIG", "SET", "timeout", "10", "tcp-keepalive", "x"],
        &["CONFIG", "SET", "timeout", "10", "tcp-keepalive"],
        &["CONFIG", "SET", "enable-debug-command", "no"],
    ];
    g.form(&forms)
}

fn lolwut(g: &mut Gen) -> Command {
    let forms: [&[&str]; 5] = [
        &["LOLWUT"],
        &["LOLWUT", "VERSION", "5", "1", "1", "1"],
        &["LOLWUT", "VERSION", "x"],
        &["LOLWUT", "VERSION", "99"],
        &["LOLWUT", "VERSION"],
    ];
    g.form(&forms).mask(Mask::Kind)
}

/// How much memory something takes differs; whether it is a number or an error does not.
fn memory(g: &mut Gen) -> Command {
    match g.choice(8) {
        0..=2 => cmd!["MEMORY", g.word(&["USAGE"]), g.key()].mask(Mask::Kind),
        3 => {
            let samples = *g.rng.pick(&["0", "5", "-1", "abc", ""]);
            cmd!["MEMORY", "USAGE", g.key(), g.word(&["SAMPLES"]), samples].mask(Mask::Kind)
        }
        // Varied, it may lose its last word and be a question for the number after all.
        4 => cmd!["MEMORY", "USAGE", g.key(), "FOO"].mask(Mask::Kind),
        5 => g.form(&[&["MEMORY", "HELP"], &["MEMORY", "FOO"], &["MEMORY", "PURGE"]]),
        6 => g
            .form(&[&["MEMORY", "DOCTOR"], &["MEMORY", "MALLOC-STATS"], &["MEMORY", "STATS"]])
            .mask(Mask::Kind),
        _ => cmd!["MEMORY"],
    }
}

fn debug(g: &mut Gen) -> Command {
    match g.choice(10) {
        0..=2 => cmd!["DEBUG", g.word(&["OBJECT"]), g.key()].mask(Mask::DebugObject),
        3 => g.form(&[&["DEBUG", "SLEEP", "0"]]),
        4 => g.form(&[&["DEBUG", "SLEEP", "0.001"]]),
        5 => g.form(&[&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]]),
        6 => g.form(&[&["DEBUG", "JMAP"]]),
        7 => g.form(&[&["DEBUG", "RELOAD"]]),
        8 => g.form(&[&["DEBUG", "FOO"]]),
        _ => g.form(&[
            &["DEBUG"],
            &["DEBUG", "SLEEP"],
            &["DEBUG", "OBJECT"],
            &["DEBUG", "RELOAD", "FOO"],
            &["DEBUG", "SET-ACTIVE-EXPIRE"],
        ]),
    }
    .vary(Vary::Not)
}

/// SHUTDOWN as the server refuses it.
fn shutdown(g: &mut Gen) -> Command {
    let forms: [&[&str]; 7] = [
        &["SHUTDOWN", "FOO"],
        &["SHUTDOWN", "NOW", "FORCE", "ABORT"],
        &["SHUTDOWN", "ABORT"],
        &["SHUTDOWN", "SAVE", "NOSAVE"],
        &["SHUTDOWN", "ABORT", "NOW"],
        &["SHUTDOWN", "NOW", "NOSAVE", "ABORT"],
        &["SHUTDOWN", ""],
    ];
    g.form(&forms)
}
