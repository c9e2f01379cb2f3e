"""The calls of redis-py that applications commonly use, for every type of value, each with the reply that Redis gives.

Prints "ready", works through all of it again and again, in RESP2 and RESP3 in turn, until the time is over (once at
least), prints the number of rounds, and exits 1 at the first reply that is another one.

    .venv/bin/python tests/python/every_type.py --port 6379 --seconds 5
"""

import argparse
import logging
import os
import threading
import time

import redis


def same(actual, wanted):
    assert actual == wanted, f"{actual!r} instead of {wanted!r}"


class Round:
    """One pass over one connection, on keys of its own."""

    def __init__(self, client, other, number):
        self.client, self.other = client, other
        self.resp3 = client.connection_pool.connection_kwargs.get("protocol") == 3
        self.prefix = f"{os.getpid()}:py:{number}:"

    def key(self, name):
        return self.prefix + name

    def strings(self):
        r, k = self.client, self.key("string")
        same(r.set(k, "value", ex=100, nx=True), True)
        same(r.set(k, "other", nx=True), None)
        same(r.ttl(k), 100)
        same(r.getex(k, persist=True), "value")
        same(r.getrange(k, 1, 3), "alu")
        same(r.setbit(k, 7, 1), 0)
        same(r.bitcount(k), 22)
        same(r.getdel(k), "walue")
        same(r.incrbyfloat(k, 2.5), 2.5)

    def hashes(self):
        r, k = self.client, self.key("hash")
        same(r.hset(k, mapping={"one": 1, "two": "zwei", "three": 3.5}), 3)
        same(r.hget(k, "two"), "zwei")
        same(r.hmget(k, "one", "none"), ["1", None])
        same(r.hgetall(k), {"one": "1", "two": "zwei", "three": "3.5"})
        same(r.hincrby(k, "one", 2), 3)
        same(r.hincrbyfloat(k, "three", 0.25), 3.75)
        same(r.hexists(k, "one"), True)
        same(r.hsetnx(k, "one", 9), 0)
        same(sorted(r.hkeys(k)), ["one", "three", "two"])
        same(sorted(r.hvals(k)), ["3", "3.75", "zwei"])
        same(r.hstrlen(k, "two"), 4)
        same(sorted(r.hrandfield(k, 3)), ["one", "three", "two"])
        same(r.hdel(k, "one", "none"), 1)
        large = {f"field:{number}": str(number) for number in range(1000)}
        same(r.hset(k, mapping=large), 1000)
        same(r.hlen(k), 1002)
        same(dict(r.hscan_iter(k, match="field:*", count=100)), large)

    def lists(self):
        r, k, to = self.client, self.key("list"), self.key("list2")
        same(r.rpush(k, "a", "b", "c"), 3)
        same(r.lpush(k, "z"), 4)
        same(r.lrange(k, 0, -1), ["z", "a", "b", "c"])
        same(r.linsert(k, "BEFORE", "b", "x"), 5)
        same(r.lset(k, 0, "y"), True)
        same(r.lindex(k, -1), "c")
        same(r.lpos(k, "x"), 2)
        same(r.lrem(k, 1, "x"), 1)
        same(r.ltrim(k, 1, -1), True)
        same(r.lpop(k, 2), ["a", "b"])
        same(r.lmove(k, to, "LEFT", "RIGHT"), "c")
        same(r.exists(k), 0)
        same(r.rpoplpush(to, k), "c")
        same(r.lmpop(2, to, k, direction="LEFT"), [k, ["c"]])
        same(r.rpush(k, *range(5000)), 5000)
        same(r.lrange(k, 2500, 2502), ["2500", "2501", "2502"])

    def sets(self):
        r, one, two = self.client, self.key("set"), self.key("set2")
        same(r.sadd(one, 1, 2, 3), 3)
        same(r.sadd(two, 3, "four"), 2)
        same(r.smembers(one), {"1", "2", "3"})
        same(r.sismember(one, 2), 1)
        same(r.smismember(one, [1, 9]), [1, 0])
        same(r.sinter(one, two), {"3"})
        same(r.sunion(one, two), {"1", "2", "3", "four"})
        same(r.sdiff(one, two), {"1", "2"})
        same(r.sinterstore(self.key("set3"), one, two), 1)
        same(r.sintercard(2, [one, two]), 1)
        same(r.smove(one, two, 1), True)
        same(r.srem(one, 2), 1)
        same(r.spop(one), "3")
        same(r.scard(one), 0)
        same(set(r.sscan_iter(two)), {"1", "3", "four"})
        same(sorted(r.srandmember(two, 3)), ["1", "3", "four"])

    def sorted_sets(self):
        r, k, to = self.client, self.key("zset"), self.key("zset2")
        same(r.zadd(k, {"one": 1, "two": 2, "three": 3}), 3)
        same(r.zadd(k, {"one": 5}, gt=True, ch=True), 1)
        same(r.zscore(k, "one"), 5.0)
        same(r.zmscore(k, ["one", "none"]), [5.0, None])
        same(r.zincrby(k, -4, "one"), 1.0)
        same(r.zrange(k, 0, -1), ["one", "two", "three"])
        pairs = [("two", 2.0), ("three", 3.0)]
        listed = [list(pair) for pair in pairs] if self.resp3 else pairs
        same(r.zrange(k, 2, 3, byscore=True, withscores=True), listed)
        same(r.zrevrange(k, 0, 0), ["three"])
        same(r.zrank(k, "two"), 1)
        same(r.zrevrank(k, "two"), 1)
        same(r.zcount(k, "(1", "+inf"), 2)
        same(r.zrangestore(to, k, 0, 1), 2)
        same(r.zunion([k, to], aggregate="MAX"), ["one", "two", "three"])
        same(r.zinterstore(self.key("zset3"), {k: 2, to: 3}), 2)
        same(r.zscore(self.key("zset3"), "two"), 10.0)
        same(r.zdiff([k, to]), ["three"])
        same(r.zremrangebyscore(k, 2, 2), 1)
        same(r.zcard(k), 2)
        same(r.zpopmin(to, 1), [["one", 1.0]] if self.resp3 else [("one", 1.0)])
        same(r.zlexcount(k, "-", "+"), 2)
        same({name for name, _ in r.zscan_iter(k)}, {"one", "three"})
        same(r.zrem(k, "one", "three"), 2)

    def streams(self):
        r, k = self.client, self.key("stream")
        same(r.xadd(k, {"a": 1, "b": 2}, id="1-1"), "1-1")
        same(r.xadd(k, {"a": 3}, id="2-1"), "2-1")
        same(r.xlen(k), 2)
        same(r.xrange(k), [("1-1", {"a": "1", "b": "2"}), ("2-1", {"a": "3"})])
        same(r.xrevrange(k, count=1), [("2-1", {"a": "3"})])
        same(r.xgroup_create(k, "group", id="0"), True)
        read = dict(r.xreadgroup("group", "alice", {k: ">"}, count=1))
        # In RESP3 the library nests what it read once more.
        entries = read[k][0] if self.resp3 else read[k]
        same(entries, [("1-1", {"a": "1", "b": "2"})])
        same(r.xpending(k, "group")["pending"], 1)
        same(r.xpending_range(k, "group", "-", "+", 10)[0]["consumer"], "alice")
        same(r.xclaim(k, "group", "bob", 0, ["1-1"], justid=True), ["1-1"])
        same(r.xautoclaim(k, "group", "carol", 0, justid=True), ["1-1"])
        same(r.xack(k, "group", "1-1"), 1)
        same(r.xinfo_stream(k)["length"], 2)
        same([group["name"] for group in r.xinfo_groups(k)], ["group"])
        same(sorted(c["name"] for c in r.xinfo_consumers(k, "group")), ["alice", "bob", "carol"])
        same(r.xdel(k, "1-1"), 1)
        same(r.xtrim(k, maxlen=0, approximate=False), 1)
        same(r.xgroup_destroy(k, "group"), 1)

    def others(self):
        r = self.client
        hll, geo, k = self.key("hll"), self.key("geo"), self.key("sort")
        same(r.pfadd(hll, *range(100)), 1)
        same(r.pfcount(hll), 100)
        same(r.pfmerge(self.key("hll2"), hll), True)
        same(r.geoadd(geo, (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
        same(r.geodist(geo, "Palermo", "Catania", unit="km"), 166.2742)
        same(r.geohash(geo, "Palermo"), ["sqc8b49rny0"])
        same(r.geosearch(geo, longitude=15, latitude=37, radius=200, unit="km", sort="ASC"), ["Catania", "Palermo"])
        same(r.rpush(k, 3, 1, 2), 3)
        same(r.sort(k, desc=True), ["3", "2", "1"])
        same(r.sort(k, store=self.key("sorted")), 3)
        binary = redis.Redis(connection_pool=self.other)
        payload = binary.dump(k)
        same(binary.restore(self.key("restored"), 0, payload), b"OK")
        same(r.lrange(self.key("restored"), 0, -1), ["3", "1", "2"])
        same(r.object("ENCODING", k), "quicklist")
        same(r.copy(k, self.key("copy")), True)
        same(r.wait(0, 10), 0)

    def blocking(self):
        r, k = self.client, self.key("queue")
        feeder = redis.Redis(connection_pool=self.other)
        timer = threading.Timer(0.02, lambda: feeder.rpush(k, "fed"))
        timer.start()
        same(tuple(r.blpop([self.key("none"), k], timeout=10)), (k, "fed"))
        timer.join()
        same(r.brpop(k, timeout=0.01), None)
        same(r.bzpopmin(k, timeout=0.01), None)
        same(r.blmove(k, self.key("to"), 0.01), None)
        same(r.xread({k: "$"}, block=10), {} if self.resp3 else [])

    def run(self):
        for part in (self.strings, self.hashes, self.lists, self.sets, self.sorted_sets, self.streams, self.others,
                     self.blocking):
            part()
        keys = list(self.client.scan_iter(match=self.prefix + "*", count=1000))
        same(self.client.delete(*keys), len(keys))


def main():
    parser = argparse.ArgumentParser(description="redis-py's common calls for every type of value.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    arguments = parser.parse_args()
    logging.getLogger("push_response").setLevel(logging.WARNING)
    options = {"port": arguments.port, "socket_timeout": 20}
    clients = [
        redis.Redis(protocol=protocol, decode_responses=True, single_connection_client=True, **options)
        for protocol in (2, 3)
    ]
    sockets = [client.connection._sock for client in clients]
    other = redis.ConnectionPool(**options)
    print("ready", flush=True)
    deadline = time.monotonic() + arguments.seconds
    rounds = 0
    while rounds < len(clients) or time.monotonic() < deadline:
        Round(clients[rounds % len(clients)], other, rounds).run()
        rounds += 1
    same([client.connection._sock for client in clients], sockets)
    print(f"{rounds} rounds")


if __name__ == "__main__":
    main()
