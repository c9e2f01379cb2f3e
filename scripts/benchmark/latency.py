"""Latencies at half of the rate that redis-server can keep up with, by hotredis-load."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

from .servers import progress

# INCRs of 50 connections; requests that a connection sends at once.
CLIENTS = 50
PIPELINES = [1, 16]
# Share of the saturated rate.
SHARE = 0.5
SECONDS = 5
FIELDS = ["p50_us", "p99_us", "p999_us"]


def load(program, server, pipeline, seconds, rate=None):
    """Runs hotredis-load; returns its report."""
    path = Path(server.dir) / "load.json"
    words = [program, "--port", str(server.port), "--idle", "0", "--waiting", "0", "--busy", str(CLIENTS)]
    words += ["--pipeline", str(pipeline), "--split-ratio", "0", "--duration", str(seconds), "--json", str(path)]
    words += ["--rate", str(rate)] if rate else []
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode != 0:
        sys.exit(f"bench: the load on {server.name} failed:\n{done.stdout}{done.stderr}")
    return json.loads(path.read_text())


def run(arguments, start, program):
    seconds = 1 if arguments.quick else SECONDS
    servers, results = [], []
    try:
        for make in start:
            servers.append(make())
        for pipeline in PIPELINES:
            progress(f"latency -P {pipeline}: what redis-server can do")
            saturated = load(program, servers[0], pipeline, seconds)["replies_per_s"]
            rounds = []
            for number in range(arguments.rounds):
                progress(f"latency -P {pipeline}: round {number + 1} of {arguments.rounds}")
                order = servers if number % 2 == 0 else servers[::-1]
                reports = {s.name: load(program, s, pipeline, seconds, saturated * SHARE) for s in order}
                rounds.append({name: report["latency"] for name, report in reports.items()})
            medians = {
                server.name: {field: statistics.median(each[server.name][field] for each in rounds) for field in FIELDS}
                for server in servers
            }
            results.append({"pipeline": pipeline, "rate": saturated * SHARE, "rounds": rounds, "latency": medians})
    finally:
        for server in servers:
            server.stop()
    return results


def holds(result, ours, theirs):
    return all(result["latency"][ours][field] <= result["latency"][theirs][field] for field in ("p99_us", "p999_us"))


def print_table(results, ours, theirs):
    print(f"{'latency at half of the rate that saturates':42} {theirs:^26} {ours:^26}")
    columns = "".join(f"{name:>9}" for name in ("p50", "p99", "p99.9"))
    print(f"{'-P':>4} {'requests per second':>37} {columns} {columns}   (us)")
    for result in results:
        cells = (f"{result['latency'][name][field]:9,.0f}" for name in (theirs, ours) for field in FIELDS)
        verdict = "holds" if holds(result, ours, theirs) else "FAILS"
        print(f"{result['pipeline']:4} {result['rate']:37,.0f} {''.join(cells)}   {verdict}")
