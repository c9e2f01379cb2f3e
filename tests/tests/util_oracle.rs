//! Numbers, patterns, quoting and hash slots against redis-server.

use hotredis::util::extended::Extended;
use hotredis::util::glob::{self, Case};
use hotredis::util::{crc16, memsize, numbers, quote};
use hotredis_tests::client::Client;
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::Setup;
use hotredis_tests::value::{Value, quoted};

const NOT_A_FLOAT: &str = "ERR value is not a valid float";

fn command<const N: usize>(args: [&[u8]; N]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.to_vec()).collect()
}

/// Sends many commands at a time and hands each reply to `check` with its index.
fn pipelined(client: &mut Client, commands: &[Vec<Vec<u8>>], mut check: impl FnMut(usize, Value)) {
    for (chunk_index, chunk) in commands.chunks(200).enumerate() {
        for (index, reply) in client.pipeline(chunk).into_iter().enumerate() {
            check(chunk_index * 200 + index, reply);
        }
    }
}

/// Text that is, or resembles, a floating point number.
fn float_text(rng: &mut Rng) -> Vec<u8> {
    const ODD: &[&str] = &[
        "",
        " 1",
        "1 ",
        "+1",
        "-0",
        "0",
        "00",
        "1.",
        ".5",
        ".",
        "-",
        "1e",
        "1e+",
        "e5",
        "inf",
        "-inf",
        "Infinity",
        "infinit",
        "nan",
        "-nan",
        "nan(1)",
        "0x",
        "0x.8",
        "0x1p",
        "0X1P-3",
        "0x1.fffffffffffffffffp3",
        "1e4932",
        "1.2e4932",
        "-1e4933",
        "1e-4950",
        "1e-4951",
        "1e-4960",
        "3.6e-4951",
        "1e99999999999999999999",
        "0e99999999999999999999",
        "1e-99999999999999999999",
        "0.000000000000000005",
        "0.000000000000000015",
        "0.000000000000000025",
        "1e308",
        "1.8e308",
        "1e-308",
        "4.9e-324",
        "2.4e-324",
        "2.5e-324",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "36893488147419103233",
        "1,5",
        "1_0",
        "0b1",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "0x1p-1074",
        "0x1p-1075",
        "0x1p-16445",
        "0x1p-16446",
        "0x1.8p-16446",
        "0x1p16383",
        "0x1p16384",
    ];
    let digits = |rng: &mut Rng, most: usize| -> String {
        (0..rng.below(most + 1)).map(|_| char::from(b'0' + rng.below(10) as u8)).collect()
    };
    let sign = *rng.pick(&["", "", "-", "+"]);
    let text = match rng.below(10) {
        0 => (*rng.pick(ODD)).to_owned(),
        1 => format!("{sign}{}", digits(rng, 25)),
        2..=4 => format!("{sign}{}.{}", digits(rng, 6), digits(rng, 20)),
        5 | 6 => format!("{sign}{}.{}e{}", digits(rng, 20), digits(rng, 20), rng.within(-40..=40)),
        7 => format!("{sign}{}.{}e{}", digits(rng, 30), digits(rng, 30), rng.within(-5100..=5100)),
        8 => format!(
            "{sign}0x{:x}.{:x}p{}",
            rng.below(1 << 20),
            rng.next_u64(),
            rng.within(-90..=90)
        ),
        // Halves of the last decimal that is printed.
        _ => format!("{sign}{}.{}5", digits(rng, 2), digits(rng, 17)),
    };
    text.into_bytes()
}

/// What INCRBYFLOAT must reply, given the value's text and the increment's.
fn incremented(value: &[u8], increment: &[u8]) -> Value {
    let (Some(value), Some(increment)) = (Extended::parse(value), Extended::parse(increment))
    else {
        return Value::error(NOT_A_FLOAT);
    };
    match value.checked_add(increment) {
        Some(sum) if !sum.is_infinite() => Value::bulk(sum.to_human()),
        _ => Value::error("ERR increment would produce NaN or Infinity"),
    }
}

#[test]
fn long_double_sums() {
    let seed = seed_or(80);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let mut client = server.connect();

    let pairs: Vec<_> = (0..20_000).map(|_| (float_text(&mut rng), float_text(&mut rng))).collect();
    let commands: Vec<_> = pairs
        .iter()
        .flat_map(|(value, increment)| {
            [command([b"SET", b"k", value]), command([b"INCRBYFLOAT", b"k", increment])]
        })
        .collect();
    let mut numbers = 0;
    pipelined(&mut client, &commands, |index, reply| {
        if index % 2 == 1 {
            let (value, increment) = &pairs[index / 2];
            let expected = incremented(value, increment);
            assert_eq!(expected, reply, "{} + {}", quoted(value), quoted(increment));
            numbers += usize::from(!reply.is_error());
        }
    });
    assert!(numbers > pairs.len() / 2, "only {numbers} pairs were numbers");

    // One value that gathers many roundings, of magnitudes that differ.
    let mut sum = b"0".to_vec();
    client.call(&["DEL", "k"]);
    let increments: Vec<_> = (0..5000)
        .map(|_| {
            format!("{}.{:09}", rng.within(-1000..=1000), rng.below(1_000_000_000)).into_bytes()
        })
        .collect();
    let commands: Vec<_> =
        increments.iter().map(|text| command([b"INCRBYFLOAT", b"k", text])).collect();
    pipelined(&mut client, &commands, |index, reply| {
        let expected = incremented(&sum, &increments[index]);
        assert_eq!(
            expected,
            reply,
            "step {index}: {} + {}",
            quoted(&sum),
            quoted(&increments[index])
        );
        sum = reply.as_bytes().expect("a number").to_vec();
    });
    server.finish();
}

#[test]
fn long_double_texts_of_any_length() {
    let server = Setup::redis().start();
    let mut client = server.connect();
    for len in [1000, 4932, 4933, 5119, 5120] {
        for text in [
            "9".repeat(len),
            format!("{}1", "0".repeat(len - 1)),
            format!("0.{}", "7".repeat(len - 2)),
            format!("{}e-4900", "8".repeat(len - 6)),
        ] {
            client.call(&["DEL", "k"]);
            let reply = client.call(&["INCRBYFLOAT", "k", &text]);
            assert_eq!(incremented(b"0", text.as_bytes()), reply, "{len} bytes: {text:.20}...");
        }
    }
    server.finish();
}

#[test]
fn doubles() {
    let seed = seed_or(64);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let mut client = server.connect();
    let texts: Vec<_> = (0..20_000)
        .map(|_| match rng.below(4) {
            0 => format!("{:e}", f64::from_bits(rng.next_u64())).into_bytes(),
            // Exactly between two texts of 17 digits.
            1 => {
                let tie = 1.0 + rng.below(1 << 20) as f64 / f64::from(1 << rng.below(21));
                format!("{tie}").into_bytes()
            }
            _ => float_text(&mut rng),
        })
        .collect();
    let commands: Vec<_> = texts
        .iter()
        .flat_map(|text| [command([b"ZADD", b"z", text, b"m"]), command([b"ZSCORE", b"z", b"m"])])
        .collect();
    let mut last = None;
    pipelined(&mut client, &commands, |index, reply| {
        let text = &texts[index / 2];
        if index % 2 == 0 {
            match numbers::string2d(text) {
                Some(value) => {
                    assert!(!reply.is_error(), "{}: {reply:?}", quoted(text));
                    // A small sorted set keeps integers as such, so negative zero loses its sign.
                    last = Some(value + 0.0);
                }
                None => assert_eq!(Value::error(NOT_A_FLOAT), reply, "{}", quoted(text)),
            }
        } else if let Some(value) = last {
            let mut expected = Vec::new();
            numbers::write_g17(&mut expected, value);
            assert_eq!(Value::Bulk(expected), reply, "score {}", quoted(text));
        }
    });
    server.finish();
}

/// Text that is, or resembles, an integer.
fn integer_text(rng: &mut Rng) -> Vec<u8> {
    const ODD: &[&str] = &[
        "",
        "-",
        "+",
        "+1",
        "-0",
        "00",
        "01",
        "-01",
        " 1",
        "1 ",
        "\t1",
        "1a",
        "0x1",
        "1.0",
        "1e3",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "+07",
        "\x0b+7",
        "18446744073709551615000",
        "-18446744073709551615",
        "-18446744073709551616",
        "--1",
        "1\x001",
        "\0",
        "1\0",
        "007",
    ];
    match rng.below(4) {
        0 => (rng.next_u64() as i64).to_string().into_bytes(),
        1 => rng.next_u64().to_string().into_bytes(),
        2 => rng.within(-20..=20).to_string().into_bytes(),
        _ => rng.pick(ODD).as_bytes().to_vec(),
    }
}

#[test]
fn integers() {
    let seed = seed_or(63);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let mut client = server.connect();
    let texts: Vec<_> = (0..5000).map(|_| integer_text(&mut rng)).collect();
    let commands: Vec<_> = texts
        .iter()
        .flat_map(|text| {
            [
                command([b"DEL", b"k"]),
                command([b"INCRBY", b"k", text]),
                command([b"SCAN", text, b"COUNT", b"1"]),
                // The part after the first dash of a stream's id is any u64.
                command([b"XRANGE", b"none", &[b"0-", text.as_slice()].concat(), b"+"]),
            ]
        })
        .collect();
    pipelined(&mut client, &commands, |index, reply| {
        let text = &texts[index / 4];
        let (understood, error) = match index % 4 {
            0 => return,
            1 => match numbers::string2ll(text) {
                Some(value) => return assert_eq!(Value::Integer(value), reply),
                None => (false, "ERR value is not an integer or out of range"),
            },
            2 => (numbers::scan_cursor(text).is_some(), "ERR invalid cursor"),
            _ => {
                // Redis cuts an id at a NUL, as C does.
                let seen = text.split(|&byte| byte == 0).next().unwrap_or_default();
                let error = "ERR Invalid stream ID specified as stream command argument";
                (numbers::string2ull(seen).is_some(), error)
            }
        };
        match understood {
            true => assert!(!reply.is_error(), "{}: {reply:?}", quoted(text)),
            false => assert_eq!(Value::error(error), reply, "{}", quoted(text)),
        }
    });
    server.finish();
}

#[test]
fn amounts_of_memory() {
    let seed = seed_or(1024);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let mut client = server.connect();
    let units =
        ["", "b", "B", "k", "kb", "K", "Kb", "m", "MB", "g", "gb", "t", " ", " mb", "bb", "%"];
    for _ in 0..1000 {
        let number = match rng.below(5) {
            0 => String::new(),
            1 => rng.next_u64().to_string(),
            2 => "9".repeat(rng.below(140)),
            _ => rng.within(-5..=100_000).to_string(),
        };
        let text = format!("{number}{}", rng.pick(&units));
        if text.is_empty() {
            continue;
        }
        let reply = client.call(&["CONFIG", "SET", "maxmemory", &text]);
        let Some(expected) = memsize::memtoull(text.as_bytes()) else {
            assert!(reply.is_error(), "{text:?}: {reply:?}");
            continue;
        };
        assert_eq!(Value::ok(), reply, "{text:?}");
        let reply = client.call(&["CONFIG", "GET", "maxmemory"]);
        assert_eq!(Value::bulk(expected.to_string()), reply.elements()[1], "{text:?}");
    }
    server.finish();
}

/// A pattern out of parts that mean something, most of them broken somewhere.
fn pattern(rng: &mut Rng) -> Vec<u8> {
    const PARTS: &[&[u8]] = &[
        b"*",
        b"*",
        b"?",
        b"[",
        b"]",
        b"[^",
        b"-",
        b"\\",
        b"a",
        b"b",
        b"A",
        b"[a-b]",
        b"[^a]",
        b"[b-a]",
        b"[A-b]",
        b"[\\]-]",
        b"\x80",
        b"\xff",
        b"[\x80-a]",
        b"\0",
        b"^",
        b"[]",
        b"[a",
    ];
    (0..1 + rng.below(8)).flat_map(|_| rng.pick(PARTS).to_vec()).collect()
}

#[test]
fn patterns_over_keys() {
    let seed = seed_or(42);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let mut client = server.connect();
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    for _ in 0..300 {
        let alphabet = b"aabbAB[]^-\\*?\0\x80\xff";
        keys.push((0..rng.below(6)).map(|_| *rng.pick(alphabet)).collect());
    }
    keys.sort();
    keys.dedup();
    for key in &keys {
        client.call(&[b"SET".as_slice(), key, b"v"]);
    }
    let patterns: Vec<_> = (0..4000).map(|_| pattern(&mut rng)).collect();
    let commands: Vec<_> = patterns.iter().map(|pattern| command([b"KEYS", pattern])).collect();
    let mut matched = 0;
    pipelined(&mut client, &commands, |index, reply| {
        let pattern = &patterns[index];
        let mut got: Vec<_> =
            reply.elements().iter().map(|key| key.as_bytes().expect("a key").to_vec()).collect();
        got.sort();
        // KEYS has a way of its own for a lone star.
        let fits = |key: &&Vec<u8>| pattern == b"*" || glob::matches(pattern, key, Case::Sensitive);
        let expected: Vec<_> = keys.iter().filter(fits).cloned().collect();
        assert_eq!(expected, got, "pattern {}", quoted(pattern));
        matched += got.len();
    });
    assert!(matched > 0);
    server.finish();
}

#[test]
fn patterns_without_case() {
    let seed = seed_or(43);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let mut client = server.connect();
    let names = |reply: &Value| {
        let pairs = reply.elements().chunks(2);
        let mut names: Vec<String> = pairs.map(|pair| pair[0].text().to_owned()).collect();
        names.sort();
        names
    };
    let all = names(&client.call(&["CONFIG", "GET", "*"]));
    const PARTS: &[&str] = &[
        "*", "*", "?", "m", "A", "max", "[A-F]", "[f-a]", "[^M]", "[Z-a]", "[\\M]", "-", "E", "[L",
    ];
    for _ in 0..2000 {
        let parts = 1 + rng.below(6);
        let pattern: String = (0..parts).map(|_| *rng.pick(PARTS)).collect();
        if !pattern.contains(['*', '?', '[']) {
            continue;
        }
        let expected: Vec<_> = all
            .iter()
            .filter(|name| glob::matches(pattern.as_bytes(), name.as_bytes(), Case::Ignored))
            .cloned()
            .collect();
        assert_eq!(expected, names(&client.call(&["CONFIG", "GET", &pattern])), "{pattern}");
    }
    server.finish();
}

#[test]
fn too_many_stars() {
    let server = Setup::redis().start();
    let mut client = server.connect();
    let key = vec![b'a'; 3000];
    client.call(&[b"SET".as_slice(), &key, b"v"]);
    for stars in [glob::MAX_STARS - 1, glob::MAX_STARS, glob::MAX_STARS + 1] {
        let pattern = b"*a".repeat(stars);
        let found = client.call(&[b"KEYS".as_slice(), &pattern]).elements().len() == 1;
        assert_eq!(found, glob::matches(&pattern, &key, Case::Sensitive), "{stars} stars");
    }
    server.finish();
}

#[test]
fn quoting_as_monitor_does() {
    let seed = seed_or(7);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    let (mut client, mut monitor) = (server.connect(), server.connect());
    assert_eq!(monitor.call(&["MONITOR"]), Value::ok());
    let every_byte: Vec<u8> = (0..=255).collect();
    for _ in 0..300 {
        let len = rng.below(20);
        let bytes = if len == 0 { every_byte.clone() } else { rng.bytes(len) };
        client.call(&[b"ECHO".as_slice(), &bytes]);
        let line = monitor.receive();
        let expected = format!("\"ECHO\" {}", quote::repr(&bytes));
        assert!(line.text().ends_with(&expected), "{line:?}, expected {expected}");
    }
    server.finish();
}

#[test]
fn hash_slots() {
    let seed = seed_or(16384);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().directive("cluster-enabled", "yes").start();
    let mut client = server.connect();
    for _ in 0..2000 {
        let len = rng.below(12);
        let key: Vec<u8> = (0..len).map(|_| *rng.pick(b"{{}}ab\0\xff")).collect();
        let slot = client.call(&[b"CLUSTER".as_slice(), b"KEYSLOT", &key]).integer();
        assert_eq!(slot, i64::from(crc16::key_hash_slot(&key)), "{}", quoted(&key));
    }
    server.finish();
}
