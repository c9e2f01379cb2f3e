//! The `redis` crate at work: the calls that applications commonly use, for every type of value, each with
//! the reply that Redis gives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use redis::geo::{Coord, RadiusOptions, RadiusOrder, Unit};
use redis::streams::{StreamMaxlen, StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, Direction, ExpireOption, RedisResult};

/// Works for so long on the server at that port of this machine, over three connections that must not
/// be lost (the library would not make new ones by itself). Gives the number of rounds.
///
/// # Panics
///
/// If a reply is not what Redis would have said.
pub fn work(port: u16, time: Duration) -> u64 {
    let client = Client::open(("127.0.0.1", port)).expect("an address");
    let mut connection = client.get_connection().expect("a connection");
    let mut feeder = client.get_connection().expect("a connection");
    let mut subscriber = client.get_connection().expect("a connection");
    let end = Instant::now() + time;
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        round(&mut connection, rounds).unwrap_or_else(|e| panic!("round {rounds}: {e}"));
        blocking(&mut connection, &mut feeder, rounds).unwrap_or_else(|e| panic!("{e}"));
        messages(&mut subscriber, &mut feeder, rounds).unwrap_or_else(|e| panic!("{e}"));
        rounds += 1;
    }
    rounds
}

/// Keys of one round that lead nowhere else.
struct Names(u64);

impl Names {
    fn key(&self, name: &str) -> String {
        format!("redis-rs:{}:{name}", self.0)
    }
}

fn round(c: &mut Connection, number: u64) -> RedisResult<()> {
    let names = Names(number);
    strings(c, &names)?;
    hashes(c, &names)?;
    lists(c, &names)?;
    sets(c, &names)?;
    sorted_sets(c, &names)?;
    streams(c, &names)?;
    others(c, &names)?;
    transactions(c, &names)?;
    let keys: Vec<String> = c.scan_match(names.key("*"))?.collect::<RedisResult<_>>()?;
    assert!(!keys.is_empty());
    let deleted: usize = c.del(&keys)?;
    assert_eq!(deleted, keys.iter().collect::<BTreeSet<_>>().len());
    Ok(())
}

fn strings(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let key = names.key("string");
    let _: () = c.set(&key, "value")?;
    assert_eq!(c.append::<_, _, u64>(&key, "s")?, 6);
    assert_eq!(c.getrange::<_, String>(&key, 1, -2)?, "alue");
    assert!(c.expire::<_, bool>(&key, 100)?);
    assert_eq!(c.ttl::<_, i64>(&key)?, 100);
    assert!(c.persist::<_, bool>(&key)?);
    assert_eq!(c.incr::<_, _, f64>(names.key("number"), 1.5)?, 1.5);
    let wrong = c.incr::<_, _, i64>(&key, 1).expect_err("no number");
    assert_eq!(wrong.code(), Some("ERR"), "{wrong:?}");
    Ok(())
}

fn hashes(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let key = names.key("hash");
    let _: () = c.hset_multiple(&key, &[("one", "1"), ("two", "zwei")])?;
    assert_eq!(c.hincr::<_, _, _, i64>(&key, "one", 4)?, 5);
    assert_eq!(c.hget::<_, _, Option<String>>(&key, "none")?, None);
    let all: BTreeMap<String, String> = c.hgetall(&key)?;
    let wanted = [("one", "5"), ("two", "zwei")].map(|(f, v)| (f.to_owned(), v.to_owned()));
    assert_eq!(all, BTreeMap::from(wanted));
    let fields: Vec<(u32, u32)> = (0..1000).map(|number| (number, number * 2)).collect();
    let _: () = c.hset_multiple(&key, &fields)?;
    assert_eq!(c.hlen::<_, u64>(&key)?, 1002);
    let scanned: BTreeMap<String, String> = c.hscan(&key)?.collect::<RedisResult<_>>()?;
    assert_eq!(scanned.len(), 1002);
    assert_eq!(scanned["999"], "1998");
    assert_eq!(c.hdel::<_, _, u64>(&key, &["one", "none"])?, 1);
    Ok(())
}

fn lists(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let (key, to) = (names.key("list"), names.key("list2"));
    assert_eq!(c.rpush::<_, _, u64>(&key, &["a", "b", "c"])?, 3);
    assert_eq!(c.lpush::<_, _, u64>(&key, "z")?, 4);
    assert_eq!(c.linsert_before::<_, _, _, i64>(&key, "b", "x")?, 5);
    assert_eq!(c.lrange::<_, Vec<String>>(&key, 0, -1)?, ["z", "a", "x", "b", "c"]);
    assert_eq!(c.lrem::<_, _, u64>(&key, 1, "x")?, 1);
    let moved: String = c.lmove(&key, &to, Direction::Right, Direction::Left)?;
    assert_eq!(moved, "c");
    assert_eq!(c.lpop::<_, Vec<String>>(&key, 2.try_into().ok())?, ["z", "a"]);
    let numbers: Vec<u32> = (0..3000).collect();
    assert_eq!(c.rpush::<_, _, u64>(&to, &numbers)?, 3001);
    assert_eq!(c.lindex::<_, u32>(&to, 1501)?, 1500);
    let _: () = c.ltrim(&to, -10, -1)?;
    assert_eq!(c.llen::<_, u64>(&to)?, 10);
    Ok(())
}

fn sets(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let (one, two) = (names.key("set"), names.key("set2"));
    assert_eq!(c.sadd::<_, _, u64>(&one, &["1", "2", "3"])?, 3);
    assert_eq!(c.sadd::<_, _, u64>(&two, &["3", "four"])?, 2);
    let both: BTreeSet<String> = c.sunion(&[&one, &two])?;
    assert_eq!(both, BTreeSet::from(["1", "2", "3", "four"].map(str::to_owned)));
    assert_eq!(c.sinter::<_, Vec<String>>(&[&one, &two])?, ["3"]);
    assert!(c.sismember::<_, _, bool>(&one, 2)?);
    assert_eq!(c.sdiffstore::<_, _, u64>(names.key("set3"), &[&one, &two])?, 2);
    let popped: Option<String> = c.spop(&one)?;
    assert!(popped.is_some());
    assert_eq!(c.scard::<_, u64>(&one)?, 2);
    Ok(())
}

fn sorted_sets(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let key = names.key("zset");
    let scores: Vec<(f64, String)> = (0..500).map(|n| (f64::from(n), format!("m{n}"))).collect();
    assert_eq!(c.zadd_multiple::<_, _, _, u64>(&key, &scores)?, 500);
    assert_eq!(c.zscore::<_, _, f64>(&key, "m77")?, 77.0);
    assert_eq!(c.zrank::<_, _, u64>(&key, "m77")?, 77);
    assert_eq!(c.zrevrank::<_, _, u64>(&key, "m77")?, 422);
    let range: Vec<(String, f64)> = c.zrangebyscore_withscores(&key, 10, "(12")?;
    assert_eq!(range, [("m10".to_owned(), 10.0), ("m11".to_owned(), 11.0)]);
    assert_eq!(c.zincr::<_, _, _, f64>(&key, "m0", 0.5)?, 0.5);
    let popped: Vec<(String, f64)> = c.zpopmax(&key, 1)?;
    assert_eq!(popped, [("m499".to_owned(), 499.0)]);
    assert_eq!(c.zremrangebyrank::<_, u64>(&key, 0, 399)?, 400);
    assert_eq!(c.zcard::<_, u64>(&key)?, 99);
    Ok(())
}

fn streams(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let key = names.key("stream");
    for id in ["1-1", "1-2", "2-1"] {
        let added: String = c.xadd(&key, id, &[("field", id)])?;
        assert_eq!(added, id);
    }
    let _: () = c.xgroup_create(&key, "group", "0")?;
    let options = StreamReadOptions::default().group("group", "alice").count(2);
    let read: StreamReadReply = c.xread_options(&[&key], &[">"], &options)?;
    let ids: Vec<&str> = read.keys[0].ids.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["1-1", "1-2"]);
    assert_eq!(read.keys[0].ids[1].get::<String>("field").as_deref(), Some("1-2"));
    assert_eq!(c.xpending::<_, _, redis::streams::StreamPendingReply>(&key, "group")?.count(), 2);
    assert_eq!(c.xack::<_, _, _, u64>(&key, "group", &["1-1", "9-9"])?, 1);
    assert_eq!(c.xtrim::<_, u64>(&key, StreamMaxlen::Equals(1))?, 2);
    assert_eq!(c.xlen::<_, u64>(&key)?, 1);
    Ok(())
}

fn others(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let (hll, geo, list) = (names.key("hll"), names.key("geo"), names.key("sorted"));
    assert!(c.pfadd::<_, _, bool>(&hll, &["a", "b", "c"])?);
    assert_eq!(c.pfcount::<_, u64>(&hll)?, 3);
    let (palermo, catania) = ((13.361389, 38.115556), (15.087269, 37.502669));
    let places = [(Coord::lon_lat(palermo.0, palermo.1), "Palermo")];
    assert_eq!(c.geo_add::<_, _, u64>(&geo, &places)?, 1);
    let options = RadiusOptions::default().order(RadiusOrder::Asc);
    let (lon, lat) = catania;
    let near: Vec<String> = c.geo_radius(&geo, lon, lat, 200.0, Unit::Kilometers, options)?;
    assert_eq!(near, ["Palermo"]);
    assert_eq!(c.rpush::<_, _, u64>(&list, &[3, 1, 2])?, 3);
    let sorted: Vec<u64> = redis::cmd("SORT").arg(&list).query(c)?;
    assert_eq!(sorted, [1, 2, 3]);
    let payload: Vec<u8> = redis::cmd("DUMP").arg(&list).query(c)?;
    let copy = names.key("restored");
    let _: () = redis::cmd("RESTORE").arg(&copy).arg(0).arg(payload).query(c)?;
    assert_eq!(c.lrange::<_, Vec<u64>>(&copy, 0, -1)?, [3, 1, 2]);
    assert!(c.expire_at::<_, bool>(&copy, 4_000_000_000)?);
    let unchanged: bool = redis::cmd("EXPIRE").arg(&copy).arg(10).arg(ExpireOption::NX).query(c)?;
    assert!(!unchanged);
    Ok(())
}

fn transactions(c: &mut Connection, names: &Names) -> RedisResult<()> {
    let key = names.key("transaction");
    let (total, items): (u64, Vec<String>) = redis::pipe()
        .atomic()
        .incr(&key, 5)
        .ignore()
        .incr(&key, 2)
        .cmd("SORT")
        .arg(names.key("sorted"))
        .query(c)?;
    assert_eq!((total, items.len()), (7, 3));
    let sum: (u64,) = redis::transaction(c, &[&key], |c, pipe| {
        let old: u64 = c.get(&key)?;
        pipe.set(&key, old * 2).ignore().incr(&key, 1).query(c)
    })?;
    assert_eq!(sum, (15,));
    assert_eq!(c.get::<_, Option<u64>>(names.key("none"))?, None);
    Ok(())
}

/// One connection waits for what another one gives.
fn blocking(c: &mut Connection, feeder: &mut Connection, number: u64) -> RedisResult<()> {
    let key = Names(number).key("queue");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| c.blpop::<_, (String, u64)>(&key, 10.0));
        let _: u64 = feeder.rpush(&key, number)?;
        let taken = waiting.join().expect("the waiting client does not panic")?;
        assert_eq!(taken, (key.clone(), number));
        let nothing: Option<(String, u64)> = feeder.brpop(&key, 0.01)?;
        assert_eq!(nothing, None);
        Ok(())
    })
}

/// One connection subscribes and hears what another one publishes.
fn messages(c: &mut Connection, feeder: &mut Connection, number: u64) -> RedisResult<()> {
    let channel = Names(number).key("channel");
    let mut subscriber = c.as_pubsub();
    subscriber.set_read_timeout(Some(Duration::from_secs(20)))?;
    subscriber.subscribe(&channel)?;
    assert_eq!(feeder.publish::<_, _, u64>(&channel, number)?, 1);
    let message = subscriber.get_message()?;
    assert_eq!(message.get_payload::<u64>()?, number);
    subscriber.unsubscribe(&channel)
}
