#!/usr/bin/env python3
"""CPU time per request and throughput of hotredis beside redis-server, in one run.

Both servers are up the whole time; redis-benchmark drives one, then the other, the order alternating from round to
round. CPU time is user and system time of every process of a server (of hotredis: the keeper and its generations),
read from the processes' CPU clocks to the nanosecond. Needs Python's standard library only.

    scripts/bench.py                                     get,set,incr,mset at -P 1, 16, 64; five rounds
    scripts/bench.py --tests get,set --pipelines 16      only these
    scripts/bench.py --command 'HSET h f v'              any command (may be given several times)
    scripts/bench.py --quick                             one short round, to see that everything works

The table goes to stdout, everything measured to target/bench/<time>.json and target/bench/latest.json.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Requests of one measurement by depth of the pipeline: about a second each.
REQUESTS = {1: 100_000, 16: 1_000_000, 64: 2_000_000}


class Server:
    """A server on a private port, with a directory of its own."""

    def __init__(self, name, command):
        self.name = name
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix=f"bench-{name}-")
        self.log = open(Path(self.dir) / "log", "wb")
        words = [word.format(port=self.port, dir=self.dir) for word in command]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
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

    def cpu_ns(self):
        """CPU time so far of the server's process and of all that it started."""
        return sum(process_cpu_ns(pid) for pid in [self.process.pid, *descendants(self.process.pid)])

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


def measure(server, case, pipeline, requests, clients):
    """Runs one redis-benchmark; returns its throughput and the server's CPU time per request."""
    words = ["redis-benchmark", "-p", str(server.port), "-c", str(clients), "-P", str(pipeline)]
    words += ["-n", str(requests), "--csv", *case]
    before = server.cpu_ns()
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    cpu = server.cpu_ns() - before
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or len(lines) != 2 or "rror" in done.stderr:
        sys.exit(f"bench: {shlex.join(words)} against {server.name} failed:\n{done.stdout}{done.stderr}")
    fields = [field.strip('"') for field in lines[1].rsplit(",", 7)]
    return {"cpu_us": cpu / requests / 1e3, "rps": float(fields[1]), "p50_ms": float(fields[4]), "p99_ms": float(fields[6])}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)


def run(arguments, servers, cases):
    results = []
    for label, case in cases:
        for pipeline in arguments.pipelines:
            requests = arguments.requests or REQUESTS.get(pipeline, 1_000_000)
            if arguments.quick:
                requests //= 10
            rounds = []
            for number in range(arguments.rounds):
                progress(f"{label} -P {pipeline}: round {number + 1} of {arguments.rounds}")
                order = servers if number % 2 == 0 else servers[::-1]
                rounds.append({s.name: measure(s, case, pipeline, requests, arguments.clients) for s in order})
            results.append({"command": label, "pipeline": pipeline, "requests": requests, "rounds": rounds})
    progress("")
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    return results


def median(result, server, field):
    return statistics.median(each[server][field] for each in result["rounds"])


def ratio(result, field, ours, theirs):
    """The median of the ratios round by round: what both servers suffered alike cancels out."""
    return statistics.median(each[ours][field] / each[theirs][field] for each in result["rounds"])


def print_table(results, ours, theirs):
    print(f"{'':22}  {'server CPU time per request (us)':^34}  {'requests per second':^34}")
    print(f"{'command':16} {'-P':>4}   {theirs:>12} {ours:>12} {'ratio':>7}   {theirs:>12} {ours:>12} {'ratio':>7}")
    for result in results:
        result["cpu_ratio"] = ratio(result, "cpu_us", ours, theirs)
        result["rps_ratio"] = ratio(result, "rps", ours, theirs)
        cells = [median(result, name, "cpu_us") for name in (theirs, ours)]
        rates = [median(result, name, "rps") for name in (theirs, ours)]
        print(
            f"{result['command'][:16]:16} {result['pipeline']:4}   "
            f"{cells[0]:12.3f} {cells[1]:12.3f} {result['cpu_ratio']:7.2f}   "
            f"{rates[0]:12,.0f} {rates[1]:12,.0f} {result['rps_ratio']:7.2f}"
        )
    worst = max(results, key=lambda result: result["cpu_ratio"])
    holds = "holds" if worst["cpu_ratio"] <= 1 else "FAILS"
    print(
        f"\n{holds}: at most {theirs}'s CPU time per request; the worst ratio is "
        f"{worst['cpu_ratio']:.2f}, of {worst['command']} at -P {worst['pipeline']}"
    )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", default="get,set,incr,mset", help="redis-benchmark's own tests, with commas")
    parser.add_argument("--command", action="append", default=[], help="another command, in its words")
    parser.add_argument("--pipelines", default="1,16,64", help="depths of the pipeline, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, help="requests of each measurement (default: about a second's)")
    parser.add_argument("--keyspace", type=int, help="random keys out of so many (redis-benchmark -r; default: one key)")
    parser.add_argument("--binary", default=str(ROOT / "target/release/hotredis"), help="the hotredis to measure")
    parser.add_argument("--redis", default="redis-server", help="the server to compare with")
    parser.add_argument("--against-itself", action="store_true", help="redis-server in both places, to see the noise")
    parser.add_argument("--quick", action="store_true", help="one round, a tenth of the requests")
    arguments = parser.parse_args()
    arguments.pipelines = [int(depth) for depth in arguments.pipelines.split(",")]
    if arguments.quick:
        arguments.rounds = 1
    return arguments


def main():
    arguments = parse_arguments()
    redis = [arguments.redis, "--port", "{port}", "--dir", "{dir}", "--save", "", "--appendonly", "no"]
    ours = [arguments.binary, "serve", "--port", "{port}", "--runtime-dir", "{dir}"]
    name = "hotredis"
    if arguments.against_itself:
        ours, name = redis, "redis again"
    for program in (redis[0], ours[0], "redis-benchmark"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is not there; `make setup build` makes what is missing")
    random_keys = ["-r", str(arguments.keyspace)] if arguments.keyspace else []
    tests = [test for test in arguments.tests.split(",") if test]
    cases = [(test, [*random_keys, "-t", test]) for test in tests]
    cases += [(command, [*random_keys, *shlex.split(command)]) for command in arguments.command]
    servers = []
    try:
        servers.append(Server("redis-server", redis))
        servers.append(Server(name, ours))
        for server in servers:
            # GET finds something, and whatever a server does once at first is done.
            measure(server, [*random_keys, "-t", "set"], 16, 100_000, arguments.clients)
        results = run(arguments, servers, cases)
    finally:
        for server in servers:
            server.stop()
    print_table(results, name, "redis-server")
    out = ROOT / "target/bench"
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release()},
        "arguments": vars(arguments),
        "results": results,
    }
    path = out / f"{record['time'].replace(':', '')}.json"
    for target in (path, out / "latest.json"):
        target.write_text(json.dumps(record, indent=1) + "\n")
    print(f"all figures: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
