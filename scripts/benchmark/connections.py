"""What an idle connection costs a server beyond the kernel's share: private memory of its processes, and shared memory."""

import resource
import socket
import subprocess
import sys
import time

from .servers import encode, progress

# What a connection may cost, in bytes.
BAR = 1024
COUNT = 10_000
# One in so many works while the others are idle, and has sent a large value before.
BUSY = 100
LARGE = 1 << 20
BATCH = 500
# Servers give buffers back when they were not needed for a while (redis-server: two seconds); what has not changed for so
# many seconds is taken for settled, and no more is waited than that.
SETTLED, PATIENCE = 4, 25
BUSY_SECONDS = 2
# Descriptors that this process has besides, and a server besides its clients.
SPARE = 500

USUAL = [
    [["PING"]],
    [["SET", "key", "x" * 32]],
    [["GET", "key"]],
    [words for n in range(8) for words in (["SET", f"key:{n}", "y" * 32], ["GET", f"key:{n}"])],
]
VERY_LARGE = [[["SET", "large", "z" * LARGE]], [["GET", "large"]], [["DEL", "large"]]]
STAGES = ["open", "used", "1 % busy", "after large values", "after an upgrade"]


class Client:
    def __init__(self, server):
        self.connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)

    def send(self, batch):
        self.connection.sendall(b"".join(map(encode, batch)))

    def receive(self, batch):
        """Reads the replies to a batch, each a line or a bulk string."""
        with self.connection.makefile("rb") as replies:
            for words in batch:
                line = replies.readline()
                if not line or line.startswith(b"-"):
                    sys.exit(f"bench: {words[0]} was answered with {line!r}")
                if line.startswith(b"$") and line != b"$-1\r\n":
                    replies.read(int(line[1:]) + 2)


def ask_all(clients, batches):
    """Each client sends each batch, and reads the replies."""
    for batch in batches:
        for at in range(0, len(clients), BATCH):
            some = clients[at : at + BATCH]
            for client in some:
                client.send(batch)
            for client in some:
                client.receive(batch)


def upgrade(server, binary):
    """Has hotredis replaced by itself; its predecessor is gone when this returns."""
    before = len(server.pids())
    words = [binary, "upgrade", "--binary", binary, "--runtime-dir", server.dir, "--pid", str(server.process.pid)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: the upgrade failed:\n{done.stdout}{done.stderr}")
    deadline = time.monotonic() + 60
    while len(server.pids()) > before:
        if time.monotonic() > deadline:
            sys.exit("bench: the generation before does not go")
        time.sleep(0.1)


def settle(server):
    """Waits until the server's memory does not change any more. What its allocator keeps although it is free goes back."""
    deadline = time.monotonic() + PATIENCE
    last, since = None, 0
    while time.monotonic() < deadline:
        server.call("MEMORY", "PURGE")
        now = server.memory()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > SETTLED:
            return
        time.sleep(0.5)


def allow_descriptors(count):
    """As many connections as there is room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(count, hard - SPARE)


def measure(server, count, binary):
    """By stage, the bytes that so many connections have added: private, shared, and of data."""
    server.call("CONFIG", "SET", "maxclients", str(count + SPARE // 2))
    # What comes with the first clients, with an upgrade, or stands ready for others after the first large values, is not
    # the connections'.
    first = [Client(server) for _ in range(BUSY)]
    ask_all(first, VERY_LARGE)
    if binary:
        upgrade(server, binary)
    ask_all(first, USUAL)
    settle(server)
    before = *server.memory(), server.used_memory()
    found = {}

    def note(stage):
        now = *server.memory(), server.used_memory()
        fields = zip(("private", "shared", "data"), now, before)
        found[stage] = {field: after - earlier for field, after, earlier in fields}

    clients = [Client(server) for _ in range(count)]
    ask_all(clients, [[["PING"]]])
    note("open")
    ask_all(clients, USUAL)
    settle(server)
    note("used")
    busy = clients[:: max(count // BUSY, 1)]
    until = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < until:
        ask_all(busy, USUAL)
    note("1 % busy")
    ask_all(busy, VERY_LARGE)
    settle(server)
    note("after large values")
    if binary:
        upgrade(server, binary)
        ask_all(clients, USUAL)
        settle(server)
        note("after an upgrade")
    for client in [*first, *clients]:
        client.connection.close()
    return found


def run(arguments, start):
    """On fresh servers, of which the second is ours: only that can be upgraded."""
    count = allow_descriptors(COUNT // 10 if arguments.quick else COUNT)
    figures = {}
    for make in start:
        server = make()
        progress(f"memory of {count} connections: {server.name}")
        upgrades = arguments.binary if server.name == "hotredis" else None
        try:
            figures[server.name] = measure(server, count, upgrades)
        finally:
            server.stop()
    return {"count": count, "figures": figures}


def each(found, count):
    """Bytes that a connection costs, of which private ones. Shared memory that stood ready before is used by connections
    too, so of it and the data in it counts what has grown more."""
    shared = max(found["shared"], found["data"]) if found["shared"] else 0
    return (found["private"] + shared) / count, found["private"] / count


def print_table(results, ours, theirs):
    count, figures = results["count"], results["figures"]
    print(f"{f'{count:,} connections':24} {'bytes of memory each, of which private':^50}")
    print(f"{'':24} {theirs:>25} {ours:>25}")
    for stage in STAGES:
        cells = ""
        for name in (theirs, ours):
            found = figures[name].get(stage)
            cells += "{:16,.0f} {:8,.0f} ".format(*each(found, count)) if found else f"{'-':>16} {'':8} "
        print(f"{stage:24} {cells}")
    most, stage = max((each(found, count)[0], stage) for stage, found in figures[ours].items())
    print(f"\n{'holds' if most <= BAR else 'FAILS'}: at most {BAR:,} bytes; the most is {most:,.0f}, {stage}")
