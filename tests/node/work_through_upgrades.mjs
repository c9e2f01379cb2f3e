// ioredis at work, for a server whose binary is replaced meanwhile: whatever it can see has to look as if nothing had
// happened.
//
// Publish/subscribe, streams with a consumer group, blocking commands on lists and sorted sets, and the usual calls of
// every type, each over connections that must never be replaced. Prints "ready" when all are connected, a summary as JSON
// at the end, and exits 1 with the reason if anything was wrong.
//
//     node tests/node/work_through_upgrades.mjs 6379 5

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const [port, seconds] = process.argv.slice(2).map(Number);
const prefix = `${process.pid}:node:`;
const key = (name) => prefix + name;
const clients = [];
const counts = {};
let stopping = false;

/** A client on one connection. A lost one is an error: nothing is tried again. */
async function connect(name) {
  const client = new Redis({
    port,
    connectionName: name,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  client.on("error", (error) => fail(name, error));
  client.on("close", () => client.ending || fail(name, new Error("the connection was closed")));
  await client.connect();
  clients.push(client);
  return client;
}

function fail(name, error) {
  console.error(`${name}: ${error.stack ?? error}`);
  process.exit(1);
}

/** Calls `round` with its number until it is time to stop. */
async function rounds(name, round) {
  let number = 0;
  while (!stopping) {
    await round(number);
    number += 1;
  }
  counts[name] = number;
  return number;
}

/** Numbers in order over a channel: each is received once, by channel and by pattern. */
async function publishAndSubscribe() {
  const publisher = await connect("publisher");
  const subscriber = await connect("subscriber");
  let byChannel = 0;
  let byPattern = 0;
  subscriber.on("message", (_, message) => assert.equal(Number(message), byChannel++, "messages in order"));
  subscriber.on("pmessage", (_p, _c, message) => assert.equal(Number(message), byPattern++, "in order by pattern"));
  await subscriber.subscribe(key("news"));
  await subscriber.psubscribe(key("n*"));
  return async () => {
    const sent = await rounds("published", async (number) => {
      assert.equal(await publisher.publish(key("news"), number), 2, "receivers of PUBLISH");
      await sleep(1);
    });
    // The subscription's own reply comes behind every message.
    await subscriber.unsubscribe(key("news"));
    await subscriber.punsubscribe(key("n*"));
    assert.deepEqual([byChannel, byPattern], [sent, sent], "messages received at the end");
  };
}

/** Entries of a stream through a consumer group: each goes to one consumer, in order, and is acknowledged. */
async function streams() {
  const producer = await connect("stream producer");
  const stream = key("stream");
  await producer.xgroup("CREATE", stream, "group", "$", "MKSTREAM");
  const consumers = await Promise.all([0, 1, 2].map((number) => connect(`consumer ${number}`)));
  const taken = [];
  const consume = async (client, index) => {
    for (;;) {
      const options = ["GROUP", "group", `c${index}`, "COUNT", 1, "BLOCK", 0, "STREAMS", stream, ">"];
      const [[, entries]] = await client.xreadgroup(...options);
      for (const [id, fields] of entries) {
        if (fields[1] === "end") return;
        taken.push(Number(fields[1]));
        assert.equal(await client.xack(stream, "group", id), 1, "XACK");
      }
    }
  };
  return async () => {
    const consuming = consumers.map(consume);
    const sent = await rounds("stream entries", async (number) => {
      await producer.xadd(stream, "*", "number", number);
      if (number % 7 === 0) await sleep(2);
    });
    // A consumer that has taken an end reads no more, so there is one end for each.
    await Promise.all(consumers.map(() => producer.xadd(stream, "*", "number", "end")));
    await Promise.all(consuming);
    taken.sort((one, other) => one - other);
    assert.deepEqual(taken, Array.from({ length: sent }, (_, i) => i), "entries taken, each once");
    assert.equal(await producer.xlen(stream), sent + consumers.length, "XLEN");
    const [pending] = await producer.xpending(stream, "group");
    assert.ok(pending <= consumers.length, "only the last entries are pending");
  };
}

/** What is pushed comes out of BRPOP, BLMOVE and BRPOP again, in order and once. */
async function queues() {
  const producer = await connect("queue producer");
  const mover = await connect("queue mover");
  const consumer = await connect("queue consumer");
  const [from, to] = [key("queue"), key("moved")];
  return async () => {
    const moving = (async () => {
      for (;;) if ((await mover.blmove(from, to, "RIGHT", "LEFT", 0)) === "end") return;
    })();
    const consuming = (async () => {
      for (let wanted = 0; ; wanted++) {
        const [name, value] = await consumer.brpop(key("never"), to, 0);
        assert.equal(name, to);
        if (value === "end") return wanted;
        assert.equal(Number(value), wanted, "taken in order");
      }
    })();
    const sent = await rounds("queued", async (number) => {
      await producer.lpush(from, number);
      if (number % 5 === 0) await sleep(1);
    });
    await producer.lpush(from, "end");
    await moving;
    assert.equal(await consuming, sent, "items taken");
  };
}

/** Blocked for the lowest score, and blocked until a deadline. */
async function deadlines() {
  const producer = await connect("zset producer");
  const consumer = await connect("zset consumer");
  return async () => {
    await rounds("scores and deadlines", async (number) => {
      const waiting = consumer.bzpopmin(key("zset"), 10);
      await producer.zadd(key("zset"), number, `m${number}`);
      assert.deepEqual(await waiting, [key("zset"), `m${number}`, String(number)], "BZPOPMIN");
      const begin = performance.now();
      assert.equal(await consumer.blpop(key("nothing"), 0.05), null, "BLPOP that nobody serves");
      const took = performance.now() - begin;
      assert.ok(took >= 49 && took < 1000, `a deadline of 50 ms took ${took} ms`);
    });
  };
}

/** The usual calls of every type. */
async function everyType() {
  const client = await connect("every type");
  const at = (name, number) => key(`${name}:${number % 10}`);
  return async () => {
    await rounds("every type", async (number) => {
      const keys = ["hash", "list", "set", "zset", "hll", "geo"].map((name) => at(name, number));
      const [hash, list, set, zset, hll, geo] = keys;
      await client.del(...keys);
      assert.equal(await client.hset(hash, { one: 1, two: "2".repeat(100) }), 2);
      assert.deepEqual(await client.hgetall(hash), { one: "1", two: "2".repeat(100) });
      assert.equal(await client.hincrby(hash, "one", 41), 42);
      assert.equal(await client.rpush(list, "a", "b", "c"), 3);
      assert.deepEqual(await client.lrange(list, 0, -1), ["a", "b", "c"]);
      assert.equal(await client.lpop(list), "a");
      assert.equal(await client.sadd(set, "x", "y", 1), 3);
      assert.deepEqual((await client.smembers(set)).sort(), ["1", "x", "y"]);
      assert.equal(await client.zadd(zset, 1, "low", 2.5, "high"), 2);
      assert.deepEqual(await client.zrange(zset, 0, -1, "WITHSCORES"), ["low", "1", "high", "2.5"]);
      assert.equal(await client.zrevrank(zset, "high"), 0);
      assert.equal(await client.pfadd(hll, "a", "b", "c"), 1);
      assert.equal(await client.pfcount(hll), 3);
      assert.equal(await client.geoadd(geo, 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"), 2);
      assert.equal(await client.geodist(geo, "Palermo", "Catania", "km"), "166.2742");
      const replies = await client.multi().lpush(list, "d").sort(list, "ALPHA").exec();
      assert.deepEqual(replies, [[null, 3], [null, ["b", "c", "d"]]]);
    });
  };
}

const works = await Promise.all([publishAndSubscribe(), streams(), queues(), deadlines(), everyType()]);
const running = works.map((work) => work());
console.log("ready");
await Promise.race([sleep(seconds * 1000), Promise.all(running)]);
stopping = true;
await Promise.all(running).catch((error) => fail("work", error));
for (const [name, count] of Object.entries(counts)) assert.ok(count > 0, `${name}: nothing was done`);
console.log(JSON.stringify(counts));
for (const client of clients) {
  client.ending = true;
  client.disconnect();
}
