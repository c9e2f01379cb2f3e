//! What the command table makes `COMMAND` answer equals what redis-server 7.0.15 answers, for every
//! command that hotredis has. Calls the reply functions directly; the server in between is tested
//! by the differential tests.

use hotredis::commands::table::{self, Lookup};
use hotredis::commands::{command_replies, errors, help};
use hotredis::proto::reply::{Protocol, Reply};
use hotredis_tests::client::Client;
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

const PROTOCOLS: [(Protocol, &str); 2] = [(Protocol::Resp2, "2"), (Protocol::Resp3, "3")];

fn decode(bytes: &[u8]) -> Value {
    let (value, used) = Value::decode(bytes).expect("well-formed").expect("complete");
    assert_eq!(used, bytes.len(), "one reply");
    value
}

fn ours(protocol: Protocol, write: impl FnOnce(&mut Reply<'_, Vec<u8>>)) -> Value {
    let mut bytes = Vec::new();
    write(&mut Reply::new(&mut bytes, protocol));
    decode(&bytes)
}

/// Runs the comparison once in each protocol, on a connection of its own.
fn in_both_protocols(check: impl Fn(Protocol, &mut Client)) {
    let redis = Setup::redis().start();
    for (protocol, version) in PROTOCOLS {
        let mut client = redis.connect();
        assert!(!client.call(&["HELLO", version]).is_error());
        check(protocol, &mut client);
    }
    redis.finish();
}

/// Redis lists subcommands in the order of a hash table with a random seed: sorts them by name.
fn sort_subcommands(value: Value) -> Value {
    match value {
        Value::Array(mut elements) => {
            if let Some(Value::Array(subcommands)) = elements.get_mut(9) {
                subcommands.sort();
            }
            Value::Array(elements)
        }
        other => other,
    }
}

/// The same for the pairs of `COMMAND DOCS` behind `subcommands`, in maps of either protocol.
fn sort_documented(value: Value) -> Value {
    fn pairs(value: Value) -> Vec<(Value, Value)> {
        match value {
            Value::Map(pairs) => pairs,
            Value::Array(flat) => {
                flat.chunks_exact(2).map(|p| (p[0].clone(), p[1].clone())).collect()
            }
            other => panic!("expected a map, got {other:?}"),
        }
    }
    let sort = |(name, doc): (Value, Value)| {
        let fields = pairs(doc).into_iter().map(|(field, value)| {
            if field == Value::bulk("subcommands") {
                let mut subcommands = pairs(value);
                subcommands.sort();
                (field, Value::Map(subcommands))
            } else {
                (field, value)
            }
        });
        (name, Value::Map(fields.collect()))
    };
    Value::Map(pairs(value).into_iter().map(sort).collect())
}

#[test]
fn info_equals_redis_for_every_command() {
    in_both_protocols(|protocol, redis| {
        for command in table::all() {
            let name = command.full_name.to_uppercase();
            let theirs = redis.call(&["COMMAND", "INFO", &name, "nosuch"]);
            let ours = ours(protocol, |reply| {
                command_replies::info(reply, &[name.as_bytes(), b"nosuch"]);
            });
            let [ours, theirs] = [ours, theirs].map(|reply| match reply {
                Value::Array(infos) => infos.into_iter().map(sort_subcommands).collect::<Vec<_>>(),
                other => panic!("{name}: {other:?}"),
            });
            assert_eq!(ours, theirs, "{name}");
        }
    });
}

#[test]
fn docs_equal_redis_for_every_command() {
    in_both_protocols(|protocol, redis| {
        for command in table::all() {
            let name = command.full_name;
            let theirs = redis.call(&["COMMAND", "DOCS", "nosuch", name]);
            let ours =
                ours(protocol, |reply| command_replies::docs(reply, &[b"nosuch", name.as_bytes()]));
            assert_eq!(sort_documented(ours), sort_documented(theirs), "{name}");
        }
    });
}

#[test]
fn list_and_its_filters_equal_redis_for_the_commands_we_have() {
    let categories = "keyspace read WRITE set sortedset list hash string bitmap hyperloglog geo \
                      stream pubsub admin \
                      fast slow blocking dangerous connection transaction scripting nosuch @read";
    let mut filters: Vec<Vec<&str>> = vec![vec![], vec!["FILTERBY", "module", "x"]];
    filters.extend(categories.split(' ').map(|category| vec!["filterby", "ACLCAT", category]));
    let patterns = ["*", "ge*", "CLIENT|*", "*|help", "nosuch", "[a-c]*", "?et", "\\get"];
    filters.extend(patterns.map(|pattern| vec!["FILTERBY", "PATTERN", pattern]));
    for wrong in ["x", "filterby", "filterby pattern", "filterby x y", "filterby pattern a b"] {
        filters.push(wrong.split(' ').collect());
    }
    in_both_protocols(|protocol, redis| {
        for filter in &filters {
            let words: Vec<&[u8]> = filter.iter().map(|word| word.as_bytes()).collect();
            let ours = ours(protocol, |reply| {
                if let Err(why) = command_replies::list(reply, &words) {
                    reply.error(why);
                }
            });
            let request: Vec<&str> =
                ["COMMAND", "LIST"].into_iter().chain(filter.iter().copied()).collect();
            let theirs = redis.call(&request);
            let names = |reply: Value| match reply {
                Value::Array(mut names) => {
                    names.retain(|name| table::by_full_name(name.text().as_bytes()).is_some());
                    names.sort();
                    Value::Array(names)
                }
                error => error,
            };
            assert_eq!(names(ours), names(theirs), "{filter:?}");
        }
    });
}

#[test]
fn keys_are_found_as_redis_finds_them() {
    let mut lines: Vec<String> = Vec::new();
    for command in table::all() {
        let name = command.full_name.replace('|', " ");
        let words =
            ["", " a", " a b", " a b c", " a 1 c 2 e", " a b c d e f", " 2 a b", " and a b c"];
        lines.extend(words.map(|words| format!("{name}{words}")));
    }
    lines.extend(
        [
            "nosuch a b",
            "client nosuch a",
            "SET a b GET",
            "set a b xx get ex 10",
            "set a get",
            "bitfield a",
            "bitfield a get u8 0 get i4 1",
            "bitfield a GET u8 0 SET u8 0 1",
            "bitfield a overflow wrap get u8 0",
            "bitfield a overflow",
            "bitfield a get u8",
            "bitfield a set u8 0",
            "bitfield a nosuch",
        ]
        .map(str::to_owned),
    );
    in_both_protocols(|protocol, redis| {
        for line in &lines {
            let words: Vec<&str> = line.split(' ').collect();
            if words.len() < 2 {
                continue; // COMMAND GETKEYS itself wants two words.
            }
            let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            for (subcommand, with_flags) in [("GETKEYS", false), ("GETKEYSANDFLAGS", true)] {
                let request: Vec<&str> =
                    ["COMMAND", subcommand].into_iter().chain(words.iter().copied()).collect();
                let theirs = redis.call(&request);
                let ours = ours(protocol, |reply| {
                    if let Err(why) = command_replies::get_keys(reply, &argv, with_flags) {
                        reply.error(why);
                    }
                });
                assert_eq!(ours, theirs, "{line}");
            }
        }
    });
}

#[test]
fn help_equals_redis_for_every_container() {
    in_both_protocols(|protocol, redis| {
        for container in
            table::top_level().iter().filter(|command| command.child(b"help").is_some())
        {
            let theirs = redis.call(&[container.full_name, "HELP"]);
            assert_eq!(ours(protocol, |reply| help::reply(reply, container.full_name)), theirs);
        }
    });
}

#[test]
fn requests_that_name_no_command_are_refused_as_redis_does() {
    let (long, longer) = ([b'x'; 120], [b'y'; 200]);
    let requests: [&[&[u8]]; 14] = [
        &[b"nosuch"],
        &[b"NoSuch", b"a", b"b c"],
        &[b"nosuch", &long, b"abcdefghijklmnop", b"z"],
        &[b"nosuch", &longer, b"a"],
        &[&longer, b"a"],
        &[b"no\0such", b"a\0b", b""],
        &[b"no\r\nsuch", b"\r\n"],
        &[b"no\xffsuch"],
        &[b""],
        &[b"client", b"nosuch", b"a"],
        &[b"COMMAND", b"No\r\nSuch"],
        &[b"object", &longer],
        &[b"client|list"],
        &[b"get", b"a", b"b"],
    ];
    in_both_protocols(|protocol, redis| {
        let arity = table::all()
            .iter()
            .filter(|command| !command.arity_allows(1) && command.parent.is_none());
        let bare: Vec<[&[u8]; 1]> = arity.map(|command| [command.full_name.as_bytes()]).collect();
        for request in requests.into_iter().chain(bare.iter().map(|name| &name[..])) {
            let name = request[0];
            let message = match table::lookup(name, request.get(1).copied()) {
                Lookup::UnknownCommand => {
                    errors::unknown_command(name, request[1..].iter().copied())
                }
                Lookup::UnknownSubcommand(container) => {
                    errors::unknown_subcommand(container, request[1])
                }
                Lookup::Found(command) => errors::wrong_arity(command).into(),
            };
            let ours = ours(protocol, |reply| reply.error(with_code(&message)));
            assert_eq!(ours, redis.call(request), "{:?}", String::from_utf8_lossy(name));
        }
    });
}

/// An error message with its code, as `Reply::error` wants it.
fn with_code(message: &[u8]) -> Vec<u8> {
    [b"-", message].concat()
}
