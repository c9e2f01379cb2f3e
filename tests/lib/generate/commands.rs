//! COMMAND and its subcommands; the list of commands hotredis has.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Mask, Vary};

/// The commands under test, without subcommands.
pub const SUPPORTED: [&str; 221] = [
    "append",
    "auth",
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitpos",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "client",
    "client|id",
    "client|kill",
    "client|list",
    "command",
    "command|docs",
    "command|getkeys",
    "command|info",
    "command|list",
    "config",
    "config|get",
    "config|set",
    "copy",
    "dbsize",
    "debug",
    "decr",
    "decrby",
    "del",
    "discard",
    "echo",
    "exec",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "flushall",
    "flushdb",
    "geoadd",
    "geodist",
    "geohash",
    "geopos",
    "georadius",
    "georadius_ro",
    "georadiusbymember",
    "georadiusbymember_ro",
    "geosearch",
    "geosearchstore",
    "get",
    "getbit",
    "getdel",
    "getex",
    "getrange",
    "getset",
    "hdel",
    "hello",
    "hexists",
    "hget",
    "hgetall",
    "hincrby",
    "hincrbyfloat",
    "hkeys",
    "hlen",
    "hmget",
    "hmset",
    "hrandfield",
    "hscan",
    "hset",
    "hsetnx",
    "hstrlen",
    "hvals",
    "incr",
    "incrby",
    "incrbyfloat",
    "info",
    "keys",
    "lcs",
    "lindex",
    "linsert",
    "llen",
    "lmove",
    "lmpop",
    "lolwut",
    "lpop",
    "lpos",
    "lpush",
    "lpushx",
    "lrange",
    "lrem",
    "lset",
    "ltrim",
    "memory",
    "memory|usage",
    "mget",
    "monitor",
    "move",
    "mset",
    "msetnx",
    "multi",
    "object",
    "object|encoding",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pfadd",
    "pfcount",
    "pfdebug",
    "pfmerge",
    "pfselftest",
    "ping",
    "psetex",
    "psubscribe",
    "pttl",
    "publish",
    "pubsub",
    "pubsub|channels",
    "punsubscribe",
    "quit",
    "randomkey",
    "rename",
    "renamenx",
    "reset",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "scan",
    "scard",
    "sdiff",
    "sdiffstore",
    "select",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "shutdown",
    "sinter",
    "sintercard",
    "sinterstore",
    "sismember",
    "smembers",
    "smismember",
    "smove",
    "sort",
    "sort_ro",
    "spop",
    "spublish",
    "srandmember",
    "srem",
    "sscan",
    "ssubscribe",
    "strlen",
    "subscribe",
    "substr",
    "sunion",
    "sunionstore",
    "sunsubscribe",
    "swapdb",
    "time",
    "touch",
    "ttl",
    "type",
    "unlink",
    "unsubscribe",
    "unwatch",
    "wait",
    "watch",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xgroup",
    "xinfo",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xreadgroup",
    "xrevrange",
    "xsetid",
    "xtrim",
    "zadd",
    "zcard",
    "zcount",
    "zdiff",
    "zdiffstore",
    "zincrby",
    "zinter",
    "zintercard",
    "zinterstore",
    "zlexcount",
    "zmpop",
    "zmscore",
    "zpopmax",
    "zpopmin",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrangestore",
    "zrank",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
    "zunionstore",
];

/// Whether a command (or `container|subcommand`) is under test.
pub fn supported(name: &[u8]) -> bool {
    SUPPORTED.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

fn name(g: &mut Gen) -> String {
    match g.choice(12) {
        0 => "nosuch".into(),
        1 => (*g.rng.pick(&["client|nosuch", "get|x", "", "client|", "nosuch|id"])).into(),
        _ => {
            let name = *g.rng.pick(&SUPPORTED);
            g.word(&[&name.to_uppercase()])
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
