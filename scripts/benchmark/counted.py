"""Instructions that a server executes in user space, counted by callgrind: neither the clock nor what else the machine
does makes a difference to them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .servers import Server, encode, read_reply

KEYS = 10_000
ELEMENTS = 1_000_000


def scattered(number, count):
    # A multiplier without a factor in common with either count: no number comes twice before all have.
    return number * 7_919 % count


def key(number):
    return f"key:{scattered(number, KEYS):012}"


def element(number):
    return f"element:{scattered(number, ELEMENTS):012}"


class Case:
    """A command: the words of the request with a number, and what is asked before, so many times."""

    def __init__(self, request, before=None, times=0):
        self.request = request
        self.before = before
        self.times = times


def set_key(number):
    return ["SET", key(number), "xxx"]


# The commands of redis-benchmark that read or write one thing: its words, keys from 10,000, elements from a million,
# hence mostly new.
CASES = {
    "get": Case(lambda n: ["GET", key(n)], set_key, KEYS),
    "set": Case(set_key, set_key, KEYS),
    "incr": Case(lambda n: ["INCR", key(n)], lambda n: ["SET", key(n), "1000"], KEYS),
    "lpush": Case(lambda n: ["LPUSH", "mylist", "xxx"]),
    "rpush": Case(lambda n: ["RPUSH", "mylist", "xxx"]),
    "lpop": Case(lambda n: ["LPOP", "mylist"], lambda n: ["RPUSH", "mylist", "xxx"], 100_000),
    "hset": Case(lambda n: ["HSET", "myhash", element(n), "xxx"]),
    "zadd": Case(lambda n: ["ZADD", "myzset", str(scattered(n, 65_537)), element(n)]),
    "sadd": Case(lambda n: ["SADD", "myset", element(n)]),
}


# Deadlines of an upgrade that a process keeps although callgrind makes it fifty times as slow; and a probation whose end
# need not be waited for long.
PATIENCE = ["--upgrade-timeout", "120", "--hang-timeout", "60", "--probation", "0.2"]


class CountedServer(Server):
    """hotredis as one process under callgrind."""

    def __init__(self, binary, at_start=False, preload=None):
        if not shutil.which("valgrind"):
            sys.exit("bench: valgrind is not there; `scripts/setup.sh valgrind` installs it")
        valgrind = [
            "valgrind", "--quiet", "--tool=callgrind", f"--instr-atstart={'yes' if at_start else 'no'}",
            "--callgrind-out-file={dir}/out.%p", str(binary),
        ]  # fmt: skip
        variables = {"LAUNCHED": "\n".join(valgrind)} | ({"LD_PRELOAD": preload} if preload else {})
        super().__init__("callgrind", [
            *valgrind, "serve", "--no-keeper", *PATIENCE, "--bind", "127.0.0.1", "--port", "{port}", "--runtime-dir", "{dir}",
        ], variables)  # fmt: skip
        # What is done by the clock, as seldom as possible.
        self.call("CONFIG", "SET", "hz", "1")

    def control(self, *words):
        done = subprocess.run(["callgrind_control", *words, str(self.process.pid)], capture_output=True, text=True)
        if done.returncode != 0 or "OK" not in done.stdout:
            sys.exit(f"bench: callgrind_control {words}: {done.stdout}{done.stderr}")

    def counted(self):
        """Instructions of all dumps so far."""
        texts = (path.read_text(errors="replace") for path in Path(self.dir).glob("out.*"))
        return sum(int(count) for text in texts for count in re.findall(r"^totals: (\d+)", text, re.MULTILINE))


def count(binary, case, clients=10, pipeline=16, rounds=400, rounds_before=50):
    """Instructions per request: all clients have sent their requests when the server wakes up."""
    server = CountedServer(binary)
    try:
        if case.before:
            server.load(map(case.before, range(case.times)))
        connections = [socket.create_connection(("127.0.0.1", server.port), timeout=120) for _ in range(clients)]
        replies = [connection.makefile("rb") for connection in connections]
        number = 0
        for turn in range(rounds_before + rounds):
            if turn == rounds_before:
                server.control("-i", "on")
            for connection in connections:
                requests = range(number, number + pipeline)
                connection.sendall(b"".join(encode(case.request(n)) for n in requests))
                number += pipeline
            for reply in replies:
                for _ in range(pipeline):
                    expect_reply(reply)
        server.control("-i", "off")
        server.control("-d")
        return server.counted() / (rounds * clients * pipeline)
    finally:
        server.stop()


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        # The first thread may end before another one, which is at its dump.
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except FileNotFoundError:
        return False


def expect_reply(replies):
    line = read_reply(replies)
    if not line or line.startswith(b"-"):
        sys.exit(f"bench: a request was answered with {line!r}")


def count_upgrade(binary, connections):
    """Instructions of an upgrade that takes so many connections along: of all processes, from their start to their end,
    beyond those of a server that does the same without one."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = compiled("launcher", folder)
        preload = compiled("pidfd", folder, "--crate-type", "cdylib")
        return life(binary, connections, preload, launcher) - life(binary, connections, preload)


def compiled(name, folder, *flags):
    path = f"{folder}/{name}"
    source = Path(__file__).with_name(f"{name}.rs")
    subprocess.run(["rustc", "--edition", "2024", "-O", *flags, "-o", path, source], check=True)
    return path


def life(binary, connections, preload, upgrade_to=None):
    server = CountedServer(binary, at_start=True, preload=preload)
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=120) for _ in range(connections)]
    replies = [client.makefile("rb") for client in clients]

    def ask_all(number):
        for at, (client, reply) in enumerate(zip(clients, replies)):
            client.sendall(encode(["SET", f"key:{at}", str(number)]))
            expect_reply(reply)

    try:
        ask_all(1)
        if upgrade_to:
            words = [binary, "upgrade", "--binary", upgrade_to, "--runtime-dir", server.dir, "--pid", str(server.process.pid)]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"bench: the upgrade failed:\n{done.stdout}{done.stderr}")
            # Gone when its successor has stood its probation.
            server.process.wait(timeout=120)
        ask_all(2)
        serving = int(next(Path(server.dir).glob("[0-9]*.sock")).stem)
        os.kill(serving, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while is_running(serving):
            if server.process.poll() is None and time.monotonic() > deadline:
                sys.exit("bench: the server does not end")
            time.sleep(0.05)
        dumps = [path.read_text(errors="replace") for path in Path(server.dir).glob("out.*")]
        if len(dumps) != (3 if upgrade_to else 1) or not all("\ntotals: " in dump for dump in dumps):
            # With an upgrade: the one that was asked what it is, and the two that handed over.
            sys.exit("bench: a process has ended without its count")
        return server.counted()
    finally:
        server.stop()
