//! Geo commands: positions as scores of sorted sets.

use super::Gen;
use crate::cmd;
use crate::differential::Command;

/// Any geo command, and some on the sorted sets that they work on.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(40) {
        0..=11 => add(g),
        12..=13 => distance(g),
        14 => members(g, "GEOHASH"),
        15..=16 => members(g, "GEOPOS"),
        17..=21 => radius(g, false),
        22..=25 => radius(g, true),
        26..=34 => search(g, false),
        35..=36 => search(g, true),
        37 => {
            // Scores that are nobody's position.
            let scores =
                ["-1", "1e18", "inf", "-inf", "4503599627370496", "0", "0.5", "3479099956230698"];
            cmd!["ZADD", key(g), *g.rng.pick(&scores), member(g)]
        }
        38 => cmd!["DEL", key(g)],
        _ => {
            let most = *g.rng.pick(&["0", "3", "128", "128"]);
            cmd!["CONFIG", "SET", "zset-max-listpack-entries", most]
                .vary(crate::differential::Vary::Not)
        }
    }
}

/// Few keys, so that they hold many members.
fn key(g: &mut Gen) -> Vec<u8> {
    if g.percent(6) {
        return g.typed_key();
    }
    g.bytes_from(&[b"geo:1", b"geo:2", b"geo:3"])
}

fn member(g: &mut Gen) -> Vec<u8> {
    if g.percent(3) {
        return g.value();
    }
    format!("m{}", g.choice(60)).into_bytes()
}

/// A longitude and a latitude: in a few clusters, at the edges, anywhere or nowhere. Many are the same,
/// so that distances are, too.
fn position(g: &mut Gen) -> [String; 2] {
    const PLACES: [(f64, f64); 6] = [
        (13.361389, 38.115556),
        (15.087269, 37.502669),
        (-179.999, 0.0),
        (179.999, 84.9),
        (0.0, -85.0),
        (2.349014, 48.864716),
    ];
    let of =
        |g: &mut Gen, from: f64, size: f64| from + size * (g.choice(2_001) as f64 / 1_000.0 - 1.0);
    match g.choice(12) {
        0 => {
            let odd = String::from_utf8_lossy(&g.odd_float()).into_owned();
            [odd, "10".to_owned()]
        }
        1 => [
            (*g.rng.pick(&["-180", "180", "180.0001", "-181", "0", "nan", "1e3"])).to_owned(),
            (*g.rng.pick(&["85.05112878", "-85.05112878", "85.06", "-90", "0", "inf"])).to_owned(),
        ],
        2..=3 => [of(g, 0.0, 180.0).to_string(), of(g, 0.0, 85.0).to_string()],
        4..=6 => {
            let (x, y) = *g.rng.pick(&PLACES);
            [x.to_string(), y.to_string()]
        }
        _ => {
            let (x, y) = *g.rng.pick(&PLACES);
            let size = *g.rng.pick(&[0.001, 0.1, 2.0]);
            [
                of(g, x, size).clamp(-180.0, 180.0).to_string(),
                of(g, y, size).clamp(-85.0, 85.0).to_string(),
            ]
        }
    }
}

fn push_position(g: &mut Gen, command: &mut Command) {
    for degrees in position(g) {
        command.push(degrees);
    }
}

fn add(g: &mut Gen) -> Command {
    let mut command = cmd![g.word(&["GEOADD"]), key(g)];
    for option in ["NX", "XX", "CH"] {
        if g.percent(12) {
            command.push(g.word(&[option]));
        }
    }
    let most = if g.percent(20) { 40 } else { 3 };
    for _ in 0..1 + g.choice(most) {
        push_position(g, &mut command);
        command.push(member(g));
    }
    command
}

fn unit(g: &mut Gen) -> String {
    if g.percent(4) {
        return g.word(&["x", "", "kmm", "MM"]);
    }
    g.word(&["M", "KM", "FT", "MI", "KM"])
}

fn size(g: &mut Gen) -> String {
    if g.percent(4) {
        return String::from_utf8_lossy(&g.odd_float()).into_owned();
    }
    let sizes =
        ["0", "0.5", "1", "10", "100", "250.75", "1000", "5000", "10000", "30000", "1e7", "-1"];
    (*g.rng.pick(&sizes)).to_owned()
}

fn distance(g: &mut Gen) -> Command {
    let mut command = cmd!["GEODIST", key(g), member(g), member(g)];
    if g.percent(50) {
        command.push(unit(g));
    }
    command
}

fn members(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name, key(g)];
    for _ in 0..g.choice(5) {
        command.push(member(g));
    }
    command
}

fn options(g: &mut Gen, command: &mut Command, stores: bool) {
    for option in ["WITHDIST", "WITHHASH", "WITHCOORD"] {
        if g.percent(if stores { 4 } else { 35 }) {
            command.push(g.word(&[option]));
        }
    }
    if g.percent(50) {
        command.push(g.word(&["COUNT"]));
        command.push(if g.percent(92) {
            (1 + g.choice(12)).to_string()
        } else {
            (*g.rng.pick(&["0", "-1", "9223372036854775807", "x"])).to_owned()
        });
        if g.percent(30) {
            command.push(g.word(&["ANY"]));
        }
    } else if g.percent(4) {
        command.push("ANY");
    }
    if g.percent(50) {
        command.push(g.word(&["ASC", "DESC"]));
    }
}

fn radius(g: &mut Gen, of_member: bool) -> Command {
    let read_only = g.percent(30);
    let mut command = match (of_member, read_only) {
        (false, false) => cmd!["GEORADIUS", key(g)],
        (false, true) => cmd!["GEORADIUS_RO", key(g)],
        (true, false) => cmd!["GEORADIUSBYMEMBER", key(g)],
        (true, true) => cmd!["GEORADIUSBYMEMBER_RO", key(g)],
    };
    if of_member {
        command.push(member(g));
    } else {
        push_position(g, &mut command);
    }
    command.push(size(g));
    command.push(unit(g));
    let stores = g.percent(if read_only { 4 } else { 35 });
    options(g, &mut command, stores);
    if stores {
        command.push(g.word(&["STORE", "STOREDIST"]));
        command.push(key(g));
    }
    command
}

fn search(g: &mut Gen, stores: bool) -> Command {
    let mut command = match stores {
        true => cmd!["GEOSEARCHSTORE", key(g), key(g)],
        false => cmd!["GEOSEARCH", key(g)],
    };
    if g.percent(50) {
        command.push(g.word(&["FROMMEMBER"]));
        command.push(member(g));
    }
    if command.args.len() < 4 || g.percent(4) {
        command.push(g.word(&["FROMLONLAT"]));
        push_position(g, &mut command);
    }
    let boxed = g.percent(50);
    if boxed {
        command.push(g.word(&["BYBOX"]));
        command.push(size(g));
        command.push(size(g));
        command.push(unit(g));
    }
    if !boxed || g.percent(4) {
        command.push(g.word(&["BYRADIUS"]));
        command.push(size(g));
        command.push(unit(g));
    }
    options(g, &mut command, stores);
    if g.percent(if stores { 30 } else { 2 }) {
        command.push(g.word(&["STOREDIST"]));
    }
    command
}
