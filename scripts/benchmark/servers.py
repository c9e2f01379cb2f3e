"""Servers under measurement: started on private ports, asked, filled, ended."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


class Server:
    """A server on a private port, with a directory of its own."""

    def __init__(self, name, command, environment=None):
        """`{port}` and `{dir}` stand for its own, in the command and in the variables that it gets besides."""
        self.name = name
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix=f"bench-{name}-")
        self.log = open(Path(self.dir) / "log", "wb")
        place = {"port": self.port, "dir": self.dir}
        words = [word.format(**place) for word in command]
        variables = {name: value.format(**place) for name, value in (environment or {}).items()}
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=os.environ | variables
        )
        deadline = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = Path(self.log.name).read_text(errors="replace")[-2000:]
                self.stop()
                sys.exit(f"bench: {name} did not start ({shlex.join(words)}):\n{tail}")
            time.sleep(0.02)

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def pids(self):
        return [self.process.pid, *descendants(self.process.pid)]

    def cpu_ns(self):
        """CPU time so far of the server's process and of all that it started."""
        return sum(process_cpu_ns(pid) for pid in self.pids())

    def call(self, *words):
        """One command; its reply as bytes, unparsed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(encode(words))
            reply = connection.recv(1 << 20)
            if reply.startswith(b"$"):
                size = int(reply[1 : reply.index(b"\r\n")])
                wanted = reply.index(b"\r\n") + 4 + size
                while len(reply) < wanted:
                    reply += connection.recv(1 << 20)
        if reply.startswith(b"-"):
            sys.exit(f"bench: {self.name} to {words[:2]}: {reply.decode(errors='replace')}")
        return reply

    def info(self, section, field):
        """A number of INFO."""
        for line in self.call("INFO", section).decode().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split(":")[1])
        sys.exit(f"bench: {self.name} does not tell {field}")

    def used_memory(self):
        """Bytes that the server says its data takes."""
        return self.info("memory", "used_memory")

    def whole_memory(self):
        """All that the server has of the system, in bytes: used_memory_rss where everything is private, otherwise its
        private pages and the whole of what is shared."""
        private, shared = self.memory()
        return private + shared if shared else self.info("memory", "used_memory_rss")

    def resident(self):
        """Bytes of memory that the system has given the server."""
        return sum(self.memory())

    def memory(self):
        """Bytes of memory that the system has given the server: of private pages, and of shared memory every page
        once, touched by a process that lives or not."""
        private, shared = 0, {}
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon:"):
                    private += int(line.split()[1]) * 1024
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if "memfd:" in os.readlink(descriptor):
                        found = os.stat(descriptor)
                        shared[found.st_ino] = found.st_blocks * 512
                except FileNotFoundError:
                    pass
        return private, sum(shared.values())

    def empty(self):
        """Drops all keys, and waits until the server has freed what they took."""
        self.call("FLUSHALL")
        before = None
        while (now := self.used_memory()) != before:
            before = now
            time.sleep(0.1)

    def load(self, commands, batch=1000):
        """Sends commands, given as sequences of words, in pipelines; reads every reply. Every command
        replies with one line, or a bulk string."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            replies = connection.makefile("rb")
            sent = threading.Semaphore(0)
            failure = []

            def read():
                while sent.acquire() and not failure:
                    line = read_reply(replies)
                    if line == b"":
                        return
                    if line.startswith(b"-"):
                        failure.append(line.decode(errors="replace"))

            reader = threading.Thread(target=read)
            reader.start()
            parts = []
            for words in commands:
                parts.append(encode(words))
                if len(parts) == batch:
                    connection.sendall(b"".join(parts))
                    sent.release(len(parts))
                    parts.clear()
            connection.sendall(b"".join(parts) + encode(("QUIT",)))
            sent.release(len(parts) + 2)
            reader.join()
            if failure:
                sys.exit(f"bench: loading {self.name}: {failure[0]}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Floor(Server):
    """What answers every request `+OK`, and holds nothing."""

    def answers(self):
        try:
            return self.call("PING") == b"+OK\r\n"
        except OSError:
            return False

    def empty(self):
        pass

    def load(self, commands, batch=0):
        pass


def read_reply(replies):
    """Reads a reply of one line, or a bulk string; returns the line, nothing at the end."""
    line = replies.readline()
    if line.startswith(b"$") and line != b"$-1\r\n":
        replies.read(int(line[1:]) + 2)
    return line


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_cpu_ns(pid):
    # The clock id of another process's CPU time, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime_ns((~pid << 3) | 2)


def descendants(pid):
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)
