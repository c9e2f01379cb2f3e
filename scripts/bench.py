#!/usr/bin/env python3
"""hotredis beside redis-server, in one run: CPU time per request, latency, memory, stalls, and connections.

    scripts/bench.py                                     everything: about an hour
    scripts/bench.py --only cpu --tests get,zadd         CPU time and throughput of these
    scripts/bench.py --command 'HSET h f v'              of any command (may be given several times)
    scripts/bench.py --only memory --types hash,set      memory of these types
    scripts/bench.py --serve '--hugepages transparent' --against-plain
                                                         an option of hotredis, beside hotredis without it
    scripts/bench.py --quick                             one round and a tenth of everything, to see that all works
    scripts/bench.py --only cpu --document               also puts tables and plots into docs/performance.md and docs/img
    scripts/bench.py --of target/bench/latest.json       measures nothing: tables and plots of what was measured then

CPU time: all servers are up the whole time; redis-benchmark drives one after the other, the order alternating from round
to round. It is user and system time of every process of a server (of hotredis: the keeper and its generations), read from
the processes' CPU clocks to the nanosecond. The floor is a server that answers every request with the same reply
(tests/src/bin/hotredis-floor.rs). Latency: as many requests per second as half of what redis-server can do, sent on time
whether or not replies come (hotredis-load). Memory: five million strings, a million small values, and one value of a million elements, on fresh
servers; what the server says its data takes, and what the system gave it for them. Given back: what a server has of the
system before and after four of five of five million strings are deleted at random, and left idle. Stalls: what single
commands cost the thread that runs them while such a value grows and is dropped. Scale: the same while ten million keys are
loaded, a million expire at the same moment, and a value of ten million elements is deleted. Connections: what 10,000 of them that are
mostly idle add to the servers' memory.

Needs Python's standard library only. The tables go to stdout, everything measured to target/bench/<time>.json and
target/bench/latest.json, the tables as Markdown and plots (SVG) to target/bench.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
import time
from pathlib import Path

from benchmark import connections, cpu, given_back, latency, memory, report, scale, stalls
from benchmark.servers import Floor, Server, progress

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["cpu", "latency", "memory", "given-back", "stalls", "scale", "connections"]
OUT = ROOT / "target/bench"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure, with commas")
    parser.add_argument("--tests", help=f"tests of CPU time, with commas: {','.join(cpu.CASES)}")
    parser.add_argument("--command", action="append", default=[], help="another command to test, in its words")
    parser.add_argument("--types", help="types whose memory and stalls are measured, with commas")
    parser.add_argument("--pipelines", default="1,16,64", help="depths of the pipeline, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, help="requests of each measurement (default: about a second's)")
    parser.add_argument("--values", type=int, default=1_000_000, help="values, or elements of one, for memory and stalls")
    parser.add_argument("--keyspace", type=int, help="random keys out of so many, all of them there (default: one key)")
    parser.add_argument("--binary", default=str(ROOT / "target/release/hotredis"), help="the hotredis to measure")
    parser.add_argument("--redis", default="redis-server", help="the server to compare with")
    parser.add_argument("--tools", default=str(ROOT / "target/release"), help="where hotredis-floor and hotredis-load are")
    parser.add_argument("--serve", default="", help="more arguments of `hotredis serve`, in its words")
    parser.add_argument("--against-plain", action="store_true", help="hotredis without --serve in redis-server's place")
    parser.add_argument("--against-itself", action="store_true", help="redis-server in both places, to see the noise")
    parser.add_argument("--quick", action="store_true", help="one round, a tenth of the requests and values")
    parser.add_argument("--document", action="store_true", help="renew docs/performance.md and its plots")
    parser.add_argument("--of", type=Path, help="measure nothing: the figures that this file has")
    arguments = parser.parse_args()
    arguments.pipelines = [int(depth) for depth in arguments.pipelines.split(",")]
    arguments.only = arguments.only.split(",")
    arguments.types = arguments.types.split(",") if arguments.types else None
    unknown = [part for part in arguments.only if part not in PARTS]
    if unknown:
        parser.error(f"no part is called {unknown[0]}: there are {', '.join(PARTS)}")
    if arguments.quick:
        arguments.rounds = 1
    return arguments


def cases_of(arguments):
    tests = arguments.tests.split(",") if arguments.tests else [] if arguments.command else list(cpu.CASES)
    unknown = [test for test in tests if test not in cpu.CASES]
    if unknown:
        sys.exit(f"bench: no test is called {unknown[0]}: there are {', '.join(cpu.CASES)}")
    return [cpu.CASES[test] for test in tests] + [cpu.Case(each, shlex.split(each)) for each in arguments.command]


def measure_cpu(arguments, start):
    servers = []
    try:
        for make in start:
            servers.append(make())
        for server in servers:
            # Whatever a server does once at first is done.
            cpu.measure(server, cpu.CASES["set"], 16, 100_000, arguments.clients)
        return cpu.run(arguments, servers, cases_of(arguments))
    finally:
        for server in servers:
            server.stop()


def measure(arguments):
    """Every part that is asked for, and where and when it was measured."""
    redis = [arguments.redis, "--port", "{port}", "--dir", "{dir}", "--save", "", "--appendonly", "no"]
    ours = [arguments.binary, "serve", "--port", "{port}", "--runtime-dir", "{dir}"]
    floor, load = (f"{arguments.tools}/hotredis-{tool}" for tool in ("floor", "load"))
    name, other = "hotredis", "redis-server"
    if arguments.against_plain:
        redis, other = ours, "plain"
    ours = [*ours, *shlex.split(arguments.serve)]
    if arguments.against_itself:
        ours, name = redis, "redis again"
    for program in (redis[0], ours[0], floor, load, "redis-benchmark"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is not there; `make bench` makes what is missing")
    start = [lambda: Server(other, redis), lambda: Server(name, ours)]
    start_floor = lambda: Floor("floor", [floor, "--port", "{port}"])
    measures = {
        "cpu": (lambda: measure_cpu(arguments, [*start, start_floor]), cpu.print_table),
        "latency": (lambda: latency.run(arguments, start, load), latency.print_table),
        "memory": (lambda: memory.run(arguments, start), memory.print_table),
        "given-back": (lambda: given_back.run(arguments, start), given_back.print_table),
        "stalls": (lambda: stalls.run(arguments, start), stalls.print_table),
        "scale": (lambda: scale.run(arguments, start), scale.print_table),
        "connections": (lambda: connections.run(arguments, start), connections.print_table),
    }
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cpus": os.cpu_count(), "model": report.model(), "kernel": platform.release()},
        "arguments": {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()},
    }
    for part in arguments.only:
        run, print_table = measures[part]
        results = run()
        progress("")
        if sys.stderr.isatty():
            print("\r", end="", file=sys.stderr)
        print_table(results, name, other)
        print(flush=True)
        record[part] = results
    return record


def main():
    arguments = parse_arguments()
    OUT.mkdir(parents=True, exist_ok=True)
    if arguments.of:
        record = json.loads(arguments.of.read_text())
    else:
        record = measure(arguments)
        path = OUT / f"{record['time'].replace(':', '')}.json"
        for target in (path, OUT / "latest.json"):
            target.write_text(json.dumps(record, indent=1) + "\n")
        print(f"all figures: {path.relative_to(ROOT)}")
    report.write(record, OUT)
    if arguments.document:
        report.document(record, ROOT / "docs/performance.md", ROOT / "docs/img")


if __name__ == "__main__":
    main()
