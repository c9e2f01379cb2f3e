//! The table of directives against redis-server 7.0.15: the same names and defaults, and for values
//! of all sorts the same errors and the same value afterwards.

use hotredis::config::{Authority, ConfigValues, directives};
use hotredis_tests::client::Client;
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

/// Setting these, and the TLS directives, to a valid value does something outside of the values
/// (opens ports, needs files, counts descriptors), which can fail for reasons of its own, or the
/// default depends on how the reference was started.
const WITH_EFFECTS: [&str; 9] = [
    "bind",
    "port",
    "tls-port",
    "activedefrag",
    "appendonly",
    "maxclients",
    "oom-score-adj",
    "watchdog-period",
    "jemalloc-bg-thread",
];

/// Set by the harness when it starts the reference.
const CHOSEN_BY_HARNESS: [&str; 14] = [
    "bind",
    "port",
    "dir",
    "save",
    "logfile",
    "loglevel",
    "daemonize",
    "unixsocket",
    "pidfile",
    "enable-debug-command",
    "protected-mode",
    "appendonly",
    "maxclients",
    "databases",
];

/// Directives with another default than Redis's, and ours: see docs/differences.md.
const OTHER_DEFAULTS: [(&str, &str); 2] =
    [("activedefrag", "yes"), ("active-defrag-ignore-bytes", "4194304")];

fn pairs(reply: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.text().to_owned();
    reply.elements().chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn shown(redis: &mut Client, name: &str) -> String {
    let reply = redis.call(&["CONFIG", "GET", name]);
    pairs(&reply).pop().unwrap_or_else(|| panic!("{name}: {reply:?}")).1
}

#[test]
fn names_and_defaults_equal_redis() {
    let redis = Setup::redis().start();
    let mut client = redis.connect();
    let mut theirs = pairs(&client.call(&["CONFIG", "GET", "*"]));
    theirs.sort();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let ours: Vec<(String, String)> = ConfigValues::default()
        .matching(&[b"*"])
        .into_iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    let names = |list: &[(String, String)]| -> Vec<String> {
        list.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let other = OTHER_DEFAULTS.iter().find(|(name, _)| *name == ours.0);
        if let Some((_, default)) = other {
            assert_eq!(ours.1, *default, "{}", ours.0);
            assert_ne!(ours, theirs, "no difference any more");
        } else if !CHOSEN_BY_HARNESS.contains(&ours.0.as_str()) {
            assert_eq!(ours, theirs);
        }
    }
    redis.finish();
}

#[test]
fn values_are_taken_and_refused_as_redis_does() {
    let redis = Setup::redis().start();
    let mut client = redis.connect();
    let texts = [
        "",
        "yes",
        "NO",
        "zz zz",
        "0",
        "1",
        "-1",
        "5",
        "05",
        "+5",
        " 5",
        "5 ",
        "99",
        "100",
        "101",
        "1000",
        "65535",
        "65536",
        "2147483647",
        "2147483648",
        "-2147483648",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1k",
        "2Kb",
        "1mb",
        "1gb",
        "1.5gb",
        "k",
        "10%",
        "100%",
        "101%",
        "%",
        "-5%",
        "1e3",
        "everysec",
        "volatile-LRU",
        "allkeys-lfu",
        "local",
        "save now",
        "save nosave",
        "default",
        "KEA",
        "Kgx",
        "AKn",
        "q",
        "normal 1mb 2k 3",
        "pubsub 1 1 1 replica 2 2 2",
        "normal 1 2",
        "foo 1 2 3",
        "normal x 1 1",
        "slave 1 1 -1",
        "900 1",
        "900 1 300 10",
        "0 1",
        "1 -1",
        "10 20 30",
        "-2001 0 0",
        "50 99.9",
        "99.999999",
        "a.b-c",
        "a_b",
        "{title} {port}",
        "{bad}",
        "dump/x",
        "swapdb",
        "ip",
        "warning",
    ];
    let mut ours = ConfigValues::default();
    for (id, directive) in directives::entries() {
        let name = directive.name;
        if WITH_EFFECTS.contains(&name) || name.starts_with("tls-") {
            continue;
        }
        for text in texts {
            let theirs = client.call(&["CONFIG", "SET", name, text]);
            let pair = [(name.as_bytes(), text.as_bytes())];
            let ours_reply = match ours.prepare(&pair, Authority::Client) {
                Ok(update) => {
                    ours = update.values;
                    Value::ok()
                }
                Err(why) => Value::error(format!("ERR {why}")),
            };
            assert_eq!(ours_reply, theirs, "CONFIG SET {name} {text:?}");
            if ours_reply == Value::ok() {
                let ours = String::from_utf8(ours.show(id)).expect("text");
                assert_eq!(ours, shown(&mut client, name), "CONFIG GET {name} after {text:?}");
            }
        }
        client.call(&["CONFIG", "SET", name, directive.default]);
    }
    redis.finish();
}

#[test]
fn several_pairs_fail_as_in_redis() {
    let redis = Setup::redis().start();
    let mut client = redis.connect();
    let requests: [&[&str]; 9] = [
        &["daemonize", "yes", "nosuch", "1"],
        &["nosuch", "1", "daemonize", "yes"],
        &["timeout", "1", "TIMEOUT", "2"],
        &["timeout", "1", "hz", "2", "timeout", "1"],
        &["timeout", "1", "hz", "x", "nosuch", "1"],
        &["timeout", "77", "hz", "x", "maxmemory", "y"],
        &["dir", "/", "timeout", "1"],
        &["a\r\nb", "1"],
        &["Hz", "x"],
    ];
    let ours = ConfigValues::default();
    for request in requests {
        let words: Vec<&str> =
            ["CONFIG", "SET"].into_iter().chain(request.iter().copied()).collect();
        let pairs: Vec<(&[u8], &[u8])> =
            request.chunks_exact(2).map(|pair| (pair[0].as_bytes(), pair[1].as_bytes())).collect();
        let why = ours.prepare(&pairs, Authority::Client).expect_err("refused").to_string();
        let why = why.replace(['\r', '\n'], " ");
        assert_eq!(Value::error(format!("ERR {why}")), client.call(&words), "{request:?}");
    }
    redis.finish();
}
