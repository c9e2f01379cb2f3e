"""CPU time per request and throughput, by redis-benchmark's tests."""

import shlex
import statistics
import subprocess
import sys

from .servers import progress

# Requests of one measurement by depth of the pipeline: about a second each.
REQUESTS = {1: 100_000, 16: 1_000_000, 64: 2_000_000}
# Elements out of which redis-benchmark chooses where its command names one.
ELEMENTS = ["-r", "1000000"]


def fill_list(requests):
    return (["RPUSH", "mylist", *["xxx"] * 1000] for _ in range(requests // 1000 + 1))


def fill_set(requests):
    every = range(0, requests + 1, 1000)
    return (["SADD", "myset", *[f"element:{n:012}" for n in range(at, at + 1000)]] for at in every)


def fill_zset(requests):
    for at in range(0, requests + 1, 1000):
        yield ["ZADD", "myzset", *[word for n in range(at, at + 1000) for word in (n, f"element:{n:012}")]]


def fill_short_list(_requests):
    return [["RPUSH", "mylist", *["xxx"] * 1000]]


class Case:
    """A test: what redis-benchmark is told, and what is there before."""

    def __init__(self, label, words, fill=None, heavy=1):
        self.label, self.words, self.fill, self.heavy = label, words, fill, heavy


def ranges(count, heavy):
    return Case(f"lrange_{count}", ["LRANGE", "mylist", "0", str(count - 1)], fill_short_list, heavy)


CASES = {
    case.label: case
    for case in [
        *[Case(name, ["-t", name]) for name in ("get", "set", "incr", "mset", "lpush", "rpush")],
        # As later versions of redis-benchmark have it.
        Case("xadd", ["XADD", "mystream", "*", "myfield", "xxx"]),
        *[Case(name, [*ELEMENTS, "-t", name]) for name in ("sadd", "hset", "zadd")],
        # Redis-benchmark itself pops from what an earlier test may have left, mostly from nothing.
        *[Case(name, ["-t", name], fill_list) for name in ("lpop", "rpop")],
        Case("spop", ["-t", "spop"], fill_set),
        Case("zpopmin", ["-t", "zpopmin"], fill_zset),
        # What redis-benchmark calls lrange_300 has 300 items, lrange_500 450: here the names tell.
        *[ranges(count, 1 + count // 50) for count in (100, 300, 450, 600)],
    ]
}


def measure(server, case, pipeline, requests, clients, words=()):
    """Runs one redis-benchmark; returns its throughput and the server's CPU time per request."""
    server.empty()
    if case.fill:
        server.load(case.fill(requests), batch=8)
    words = ["redis-benchmark", "-p", str(server.port), "-c", str(clients), "-P", str(pipeline), *words]
    words += ["-n", str(requests), "--csv", *case.words]
    before = server.cpu_ns()
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    cpu = server.cpu_ns() - before
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or len(lines) != 2 or "rror" in done.stderr:
        sys.exit(f"bench: {shlex.join(words)} against {server.name} failed:\n{done.stdout}{done.stderr}")
    fields = [field.strip('"') for field in lines[1].rsplit(",", 7)]
    return {"cpu_us": cpu / requests / 1e3, "rps": float(fields[1]), "p50_ms": float(fields[4]), "p99_ms": float(fields[6])}


def run(arguments, servers, cases):
    words = ["-r", str(arguments.keyspace)] if arguments.keyspace else []
    results = []
    for case in cases:
        for pipeline in arguments.pipelines:
            requests = arguments.requests or REQUESTS.get(pipeline, 1_000_000) // case.heavy
            if arguments.quick:
                requests //= 10
            rounds = []
            for number in range(arguments.rounds):
                progress(f"{case.label} -P {pipeline}: round {number + 1} of {arguments.rounds}")
                order = servers if number % 2 == 0 else servers[::-1]
                rounds.append({s.name: measure(s, case, pipeline, requests, arguments.clients, words) for s in order})
            results.append({"command": case.label, "pipeline": pipeline, "requests": requests, "rounds": rounds})
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
