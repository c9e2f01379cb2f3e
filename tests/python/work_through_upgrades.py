"""redis-py at work, for a server whose binary is replaced meanwhile: whatever it can see has to look as if nothing had
happened.

Several threads use the library the way applications do, each over one connection of its own that must never be
replaced: strings, pipelines in MULTI, WATCH with retries, publish/subscribe, SCAN. The whole is done in RESP2 and in
RESP3 at a time. Prints "ready" when all are connected, a summary as JSON at the end, and exits 1 with the reasons if
anything was wrong.

    .venv/bin/python tests/python/work_through_upgrades.py --port 6379 --seconds 5
"""

import argparse
import json
import logging
import os
import random
import sys
import threading
import time
import traceback

import redis

SEED = 20_240_229
STABLE_KEYS = 500


class Failure(Exception):
    """The server did something that it must not do."""


def expect(actual, wanted, what):
    if actual != wanted:
        raise Failure(f"{what}: {actual!r} instead of {wanted!r}")


class Work:
    """What one protocol version's threads share."""

    def __init__(self, arguments, protocol):
        self.arguments = arguments
        self.protocol = protocol
        # The counts begin at nothing, whatever an earlier run has left on the server.
        self.prefix = f"{os.getpid()}:resp{protocol}:"
        self.start = threading.Event()
        self.stop = threading.Event()
        self.counts = {}
        self.failures = []
        self.threads = []
        self.connected = threading.Semaphore(0)

    def connect(self):
        """A client on one connection. A lost one is an error: nothing is tried again."""
        client = redis.Redis(
            port=self.arguments.port,
            protocol=self.protocol,
            decode_responses=True,
            single_connection_client=True,
            socket_timeout=20,
        )
        client.ping()
        return client

    def spawn(self, name, function, *more):
        def guarded():
            connected = False
            try:
                client = self.connect()
                identity = (client.client_id(), client.connection._sock)
                body = function(client, *more)
                next(body)
                connected = True
                self.connected.release()
                self.start.wait()
                rounds = sum(1 for _ in body)
                expect((client.client_id(), client.connection._sock), identity, "the connection at the end")
                if rounds == 0:
                    raise Failure("did nothing")
                self.counts[name] = rounds
            except Exception:
                self.failures.append(f"RESP{self.protocol} {name}: {traceback.format_exc()}")
                self.stop.set()
                if not connected:
                    self.connected.release()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    # Each of these is a generator: the first step sets up, each later one is a round of work.

    def strings(self, client):
        """Values of all sizes come back as they were set, numbers count on."""
        rng = random.Random(SEED)
        yield
        number = 0
        while not self.stop.is_set():
            value = rng.choice("xyz") * rng.choice([0, 1, 100, 5_000, 200_000])
            key = f"{self.prefix}string:{rng.randrange(50)}"
            expect(client.set(key, value), True, "SET")
            expect(client.append(key, "tail"), len(value) + 4, "APPEND")
            expect(client.get(key), value + "tail", "GET")
            number += 1
            expect(client.incr(f"{self.prefix}number"), number, "INCR")
            expect(client.delete(key), 1, "DEL")
            yield

    def transactions(self, client):
        """Pipelines in MULTI: two counters move together or not at all."""
        one, two = f"{self.prefix}one", f"{self.prefix}two"
        yield
        number = 0
        while not self.stop.is_set():
            with client.pipeline(transaction=True) as pipe:
                for _ in range(10):
                    pipe.incr(one).incr(two)
                replies = pipe.execute()
            wanted = [number + 1 + step // 2 for step in range(20)]
            expect(replies, wanted, "EXEC")
            number += 10
            yield

    def watchers(self, client):
        """Several of these add to one number by WATCH, GET, MULTI, SET, EXEC, again until nobody came between."""
        key = f"{self.prefix}watched"
        yield
        while not self.stop.is_set():
            with client.pipeline() as pipe:
                while True:
                    try:
                        pipe.watch(key)
                        number = int(pipe.get(key) or 0)
                        pipe.multi()
                        pipe.set(key, number + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        continue
            yield

    def publisher(self, client):
        """Numbers in order, which the subscriber must get without a gap."""
        yield
        self.published = 0
        while not self.stop.is_set():
            # Received on a channel and on a pattern.
            expect(client.publish(f"{self.prefix}news", self.published), 2, "receivers of PUBLISH")
            self.published += 1
            time.sleep(0.001)
            yield

    def subscriber(self, client):
        """Every message, once by channel and once by pattern, in order."""
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(f"{self.prefix}news")
        pubsub.psubscribe(f"{self.prefix}n*")
        # The confirmations, which are ignored, have to be read before anything is published.
        for _ in range(2):
            pubsub.get_message(timeout=20)
        socket = pubsub.connection._sock
        yield
        wanted = {"message": 0, "pmessage": 0}
        silent_since = None
        while silent_since is None or time.monotonic() - silent_since < 1:
            message = pubsub.get_message(timeout=0.1)
            if message is not None:
                kind = message["type"]
                expect(int(message["data"]), wanted[kind], f"{kind} received")
                wanted[kind] += 1
                silent_since = None
                yield
            elif self.stop.is_set() and silent_since is None:
                silent_since = time.monotonic()
        expect(wanted, dict.fromkeys(wanted, self.published), "messages received at the end")
        expect(pubsub.connection._sock, socket, "the subscriber's connection")
        pubsub.close()

    def scanner(self, client):
        """A full SCAN finds every key that is there all the time, whatever comes and goes beside it."""
        stable = {f"{self.prefix}stable:{number}" for number in range(STABLE_KEYS)}
        client.mset(dict.fromkeys(stable, "here"))
        yield
        while not self.stop.is_set():
            found = set(client.scan_iter(match=f"{self.prefix}stable:*", count=20))
            expect(sorted(stable - found), [], "keys that SCAN did not find")
            expect(sorted(found - stable), [], "keys that SCAN made up")
            yield

    def finish(self):
        """What all threads together have to have left behind."""
        client = self.connect()
        rounds = sum(count for name, count in self.counts.items() if name.startswith("watchers"))
        expect(int(client.get(f"{self.prefix}watched")), rounds, "the sum of all WATCH loops")
        transactions = self.counts["transactions"] * 10
        expect(client.mget(f"{self.prefix}one", f"{self.prefix}two"), [str(transactions)] * 2, "the two counters")


def main():
    parser = argparse.ArgumentParser(description="redis-py at work while the server's binary is replaced.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    # redis-py 5.2 writes every RESP3 push message to stderr.
    logging.getLogger("push_response").setLevel(logging.WARNING)
    works = [Work(arguments, protocol) for protocol in (2, 3)]
    for work in works:
        work.spawn("strings", work.strings)
        work.spawn("transactions", work.transactions)
        for number in range(3):
            work.spawn(f"watchers {number}", work.watchers)
        work.spawn("subscriber", work.subscriber)
        work.spawn("scanner", work.scanner)
        # Subscribed, and only then published.
        for _ in work.threads:
            work.connected.acquire()
        work.spawn("publisher", work.publisher)
        work.connected.acquire()
    print("ready", flush=True)
    for work in works:
        work.start.set()
    deadline = time.monotonic() + arguments.seconds
    while time.monotonic() < deadline and not any(work.stop.is_set() for work in works):
        time.sleep(0.05)
    for work in works:
        work.stop.set()
    for work in works:
        for thread in work.threads:
            thread.join(timeout=30)
            if thread.is_alive():
                work.failures.append(f"RESP{work.protocol} {thread.name}: still waiting for a reply")
        if not work.failures:
            try:
                work.finish()
            except Failure as failure:
                work.failures.append(f"RESP{work.protocol}: {failure}")
    print(json.dumps({f"resp{work.protocol}": work.counts for work in works}))
    failures = [failure for work in works for failure in work.failures]
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
