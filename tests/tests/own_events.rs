//! What a client hears of its own commands, if it has subscribed to keyspace events (RESP3): the pushes
//! stand before or behind the reply, just as in Redis.
//!
//! Left out are commands for which Redis puts the push into the midst of an array that it has begun to
//! write (`docs/differences.md`).

use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

/// Each leaves something for those behind it; random members are taken where there is but one.
const LINES: &[&str] = &[
    "HSET h f 1 g 2",
    "HSET h f 2",
    "HMSET h f 3",
    "HSETNX h x 1",
    "HSETNX h x 2",
    "HINCRBY h f 2",
    "HINCRBYFLOAT h f 1.5",
    "HDEL h f",
    "HDEL h g x",
    "SADD s 1 2 3",
    "SADD s 1",
    "SADD s a b",
    "SREM s 1",
    "SMOVE s t a",
    "SMOVE s t zz",
    "SPOP t",
    "SADD s 5 6 7 8",
    "SADD s 1 2 3",
    "SADD t 2 3",
    "SINTERSTORE d s t",
    "SUNIONSTORE d s t",
    "SDIFFSTORE d t s",
    "SINTERSTORE d nope t",
    "RPUSH l a b c d",
    "LPUSH l a",
    "LPUSHX l x",
    "RPUSHX l x",
    "LPUSHX nol x",
    "LINSERT l BEFORE a q",
    "LSET l 0 z",
    "LPOP l",
    "RPOP l",
    "LPOP l 2",
    "LTRIM l 0 1",
    "LREM l 0 b",
    "RPUSH l a b c d",
    "LMOVE l m LEFT RIGHT",
    "RPOPLPUSH l m",
    "LMPOP 1 l LEFT COUNT 2",
    "LMPOP 1 m LEFT COUNT 2",
    "BLPOP l 1",
    "RPUSH l a b c d",
    "BRPOP l 1",
    "BLMOVE l m LEFT LEFT 1",
    "BLMPOP 1 1 l LEFT COUNT 20",
    "BRPOPLPUSH m l 1",
    "LTRIM l 5 6",
    "RPUSH l a",
    "LREM l 0 a",
    "RPUSH l a",
    "LPOP l",
    "ZADD z 1 a 2 b 3 c 4 d",
    "ZADD z INCR 1 a",
    "ZADD z XX CH 5 a",
    "ZADD z NX 5 a",
    "ZINCRBY z 1 a",
    "ZREM z a",
    "ZREM z zz",
    "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g",
    "ZREMRANGEBYRANK z 0 0",
    "ZREMRANGEBYRANK z 0 -1",
    "ZADD z 1 a 2 b 3 c 4 d",
    "ZREMRANGEBYSCORE z 1 2",
    "ZREMRANGEBYLEX z - +",
    "ZADD z 1 a 2 b 3 c 4 d",
    "ZADD y 1 a 2 b",
    "ZUNIONSTORE d 2 z y",
    "ZINTERSTORE d 2 z y",
    "ZDIFFSTORE d 2 z y",
    "ZRANGESTORE d z 0 -1",
    "ZRANGESTORE d z 5 6",
    "ZUNIONSTORE d 1 nope",
    "GEOADD geo 13.3 38.1 p 15.0 37.5 c",
    "GEOADD geo CH 13.4 38.1 p",
    "GEORADIUS geo 15 37 200 km STORE d",
    "GEORADIUS geo 15 37 200 km STOREDIST d",
    "GEOSEARCHSTORE d geo FROMLONLAT 15 37 BYRADIUS 200 km",
    "GEOSEARCHSTORE d geo FROMLONLAT 0 0 BYRADIUS 1 m",
    "GEORADIUS geo 0 0 1 m STORE d",
    "PFADD p a b c",
    "PFADD p a",
    "PFADD p",
    "PFMERGE q p",
    "PFCOUNT p q",
    "XADD st 1-1 f v",
    "XADD st 2-1 f v",
    "XADD st MAXLEN 1 3-1 f v",
    "XTRIM st MAXLEN 0",
    "XADD st 4-1 f v",
    "XDEL st 4-1",
    "XADD st 5-1 f v",
    "XGROUP CREATE st g 0",
    "XGROUP CREATECONSUMER st g c",
    "XREADGROUP GROUP g c STREAMS st >",
    "XREADGROUP GROUP g c2 STREAMS st >",
    "XACK st g 5-1",
    "XGROUP SETID st g 0",
    "XGROUP DELCONSUMER st g c",
    "XGROUP DESTROY st g",
    "XSETID st 9-9",
    "SORT l STORE d",
    "RPUSH l 3 1 2",
    "SORT l STORE d",
    "SORT nope STORE d",
    "SET a 1",
    "GETSET a 2",
    "GETDEL a",
    "SET a 1 EX 100",
    "GETEX a PERSIST",
    "GETEX a EX 100",
    "SETNX a 1",
    "SETNX b 1",
    "SETEX c 100 x",
    "PSETEX c 100000 x",
    "MSET a 1 b 2",
    "MSETNX a 1 e 1",
    "MSETNX e1 1 e2 1",
    "APPEND a x",
    "SETRANGE a 1 y",
    "SETRANGE a 1 z",
    "INCR n",
    "DECR n",
    "INCRBY n 3",
    "DECRBY n 3",
    "INCRBYFLOAT n 1.5",
    "SETBIT bit 7 1",
    "BITOP NOT bit2 bit",
    "BITOP AND bit2 nope",
    "BITFIELD bit SET u8 0 1",
    "BITFIELD bit GET u8 0",
    "EXPIRE a 100",
    "EXPIRE a -1",
    "PERSIST c",
    "PEXPIRE c 100000",
    "EXPIREAT c 33177117420",
    "PEXPIREAT c 33177117420000",
    "RENAME c c2",
    "RENAMENX c2 c3",
    "COPY c3 c4",
    "MOVE c4 1",
    "DEL c3 nope",
    "UNLINK n",
    "TOUCH b",
    "SWAPDB 1 2",
    "SET a 1 XX",
    "SET a 1 GET",
    "SET a 2 GET EX 100",
    "OBJECT FREQ a",
    "LPUSH L 1",
    "LPOP L 0",
    "SPOP nope",
    "SPOP nope 3",
    "RPOPLPUSH nope x",
    "GET nope",
    "MGET nope a",
    "HGET nope x",
    "LINDEX nope 1",
    "ZSCORE nope a",
    "SISMEMBER nope a",
    "XREAD STREAMS nope 0",
    "PUBLISH ch x",
    "EXPIRE nope 3",
    "TYPE nope",
    "OBJECT ENCODING nope",
    "STRLEN nope",
];

/// Everything that comes up to the reply to an ECHO behind the command.
fn heard(client: &mut Client, line: &str) -> Vec<Value> {
    let words: Vec<&str> = line.split(' ').collect();
    client.send(&words);
    client.send(&["ECHO", "the end"]);
    let mut all = Vec::new();
    loop {
        let value = client.receive();
        if value == Value::bulk("the end") {
            return all;
        }
        all.push(value);
    }
}

#[test]
fn own_events_come_where_they_come_in_redis() {
    let servers = [Setup::redis(), Setup::candidate()]
        .map(|setup| setup.directive("notify-keyspace-events", "KEAmn").start());
    let mut clients = [&servers[0], &servers[1]].map(Server::connect);
    for client in &mut clients {
        client.call(&["HELLO", "3"]);
        client.call(&["PSUBSCRIBE", "__keyevent@*"]);
    }
    for line in LINES {
        let [theirs, ours] = &mut clients;
        assert_eq!(heard(ours, line), heard(theirs, line), "{line}");
    }
    servers.into_iter().for_each(Server::finish);
}
