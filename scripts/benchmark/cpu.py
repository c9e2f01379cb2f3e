"""CPU time per request and throughput, by redis-benchmark's tests and others like them."""

import shlex
import statistics
import subprocess
import sys

from .servers import progress

# Requests of one measurement by depth of the pipeline: about half a second each.
REQUESTS = {1: 40_000, 16: 400_000, 64: 800_000}
# Out of how many elements redis-benchmark chooses where its command names one: of what is written, hence mostly new ones;
# and of what is there to be read.
MANY, PRESENT = 1_000_000, 10_000

# What hotredis may take of redis-server's CPU time per request, by depth of the pipeline.
BARS = {1: 0.9, 16: 0.7, 64: 0.7}
STRICT_BARS = {1: 0.9, 16: 0.65, 64: 0.55}
# What it may take of the floor's, where system calls dominate: without a pipeline.
FLOOR_BAR = 1.25


def in_thousands(count, command, words):
    """Commands that add so many elements: `words` gives those of one, by its number."""
    for at in range(0, count, 1000):
        yield [*command, *[word for n in range(at, at + 1000) for word in words(n)]]


def element(number):
    return f"element:{number:012}"


def list_of(count):
    return in_thousands(count, ["RPUSH", "mylist"], lambda n: ["xxx"])


def set_of(count):
    return in_thousands(count, ["SADD", "myset"], lambda n: [element(n)])


def zset_of(count):
    return in_thousands(count, ["ZADD", "myzset"], lambda n: [n, element(n)])


def hash_of(count):
    return in_thousands(count, ["HSET", "myhash"], lambda n: [element(n), "xxx"])


def keys_of(count):
    return in_thousands(count, ["MSET"], lambda n: [f"key:{n:012}", "xxx"])


def small_hash():
    return [["HSET", "user", *[word for n in range(10) for word in (f"field:{n}", f"value:{n}")]]]


def stream():
    return (["XADD", "mystream", "*", "myfield", "xxx"] for _ in range(PRESENT))


def string():
    return [["SET", "mystring", "x" * 100]]


class Case:
    """A test: what redis-benchmark is told, what is there before (made of the number of requests), how many times as
    heavy it is as a GET, and whether the bars for GET and SET are its own."""

    def __init__(self, label, words, fill=None, heavy=1, strict=False):
        self.label, self.words, self.fill, self.heavy = label, words, fill, heavy
        self.bars = STRICT_BARS if strict else BARS


def random(label, command, fill=None, out_of=PRESENT, heavy=1, strict=False):
    return Case(label, ["-r", str(out_of), *command.split()], fill, heavy, strict)


def of_a_million(label, command):
    """Of a million keys, which are in no cache."""
    return random(label, command, lambda _: keys_of(MANY), MANY, strict=True)


def ranges(count):
    return Case(f"lrange_{count}", ["LRANGE", "mylist", "0", str(count - 1)], lambda _: list_of(1000), 1 + count // 50)


CASES = {
    case.label: case
    for case in [
        # Without random ones there is one key, of just that name.
        *[Case(name, ["-t", name], lambda _: [["SET", "key:__rand_int__", "xxx"]], strict=True) for name in ("get", "set")],
        of_a_million("get_million", "GET key:__rand_int__"),
        of_a_million("set_million", "SET key:__rand_int__ xxx"),
        Case("ping", ["-t", "ping_mbulk"]),
        *[Case(name, ["-t", name]) for name in ("incr", "lpush", "rpush")],
        # Redis-benchmark itself pops from what an earlier test may have left, mostly from nothing.
        *[Case(name, ["-t", name], list_of) for name in ("lpop", "rpop")],
        *[Case(name, ["-r", str(MANY), "-t", name]) for name in ("sadd", "hset", "zadd")],
        Case("spop", ["-t", "spop"], set_of),
        Case("zpopmin", ["-t", "zpopmin"], zset_of),
        # As later versions of redis-benchmark have it.
        Case("xadd", ["XADD", "mystream", "*", "myfield", "xxx"]),
        Case("mset", ["-t", "mset"], heavy=4),
        *[ranges(count) for count in (100, 300, 500, 600)],
        # From here on, what redis-benchmark has no test of.
        random("hget", "HGET myhash element:__rand_int__", lambda _: hash_of(PRESENT)),
        Case("hgetall", ["HGETALL", "user"], lambda _: small_hash(), heavy=2),
        random("zrank", "ZRANK myzset element:__rand_int__", lambda _: zset_of(PRESENT)),
        random("zscore", "ZSCORE myzset element:__rand_int__", lambda _: zset_of(PRESENT)),
        Case("zrange", ["ZRANGE", "myzset", "5000", "5009"], lambda _: zset_of(PRESENT), heavy=2),
        Case("zrangebyscore", ["ZRANGEBYSCORE", "myzset", "5000", "5009"], lambda _: zset_of(PRESENT), heavy=2),
        Case("xrange", ["XRANGE", "mystream", "-", "+", "COUNT", "10"], lambda _: stream(), heavy=4),
        Case("getrange", ["GETRANGE", "mystring", "10", "25"], lambda _: string()),
        Case("setrange", ["SETRANGE", "mystring", "10", "xxx"], lambda _: string()),
        random("exists", "EXISTS key:__rand_int__", lambda _: keys_of(PRESENT)),
        random("expire", "EXPIRE key:__rand_int__ 1000", lambda _: keys_of(PRESENT)),
        random("del", "DEL key:__rand_int__", lambda _: keys_of(MANY), MANY),
    ]
}


def measure(server, case, pipeline, requests, clients, keyspace=None):
    """Runs one redis-benchmark; returns its throughput and the server's CPU time per request. With a keyspace all of so
    many keys are there before."""
    server.empty()
    if case.fill:
        server.load(case.fill(requests), batch=8)
    words = ["redis-benchmark", "-p", str(server.port), "-c", str(clients), "-P", str(pipeline)]
    if keyspace:
        server.load(keys_of(keyspace), batch=8)
        words += ["-r", str(keyspace)]
    words += ["-n", str(requests), "--csv", *case.words]
    before = server.cpu_ns()
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    cpu = server.cpu_ns() - before
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or len(lines) != 2 or "Error" in done.stderr:
        sys.exit(f"bench: {shlex.join(words)} against {server.name} failed:\n{done.stdout}{done.stderr}")
    fields = [field.strip('"') for field in lines[1].rsplit(",", 7)]
    return {"cpu_us": cpu / requests / 1e3, "rps": float(fields[1]), "p50_ms": float(fields[4]), "p99_ms": float(fields[6])}


def run(arguments, servers, cases):
    """All servers in turn; the first is the one to compare with, the second ours, the third the floor."""
    results = []
    for case in cases:
        for pipeline in arguments.pipelines:
            requests = arguments.requests or REQUESTS.get(pipeline, REQUESTS[16]) // case.heavy
            if arguments.quick:
                requests //= 10
            rounds = []
            for number in range(arguments.rounds):
                progress(f"{case.label} -P {pipeline}: round {number + 1} of {arguments.rounds}")
                order = servers if number % 2 == 0 else servers[::-1]
                how = case, pipeline, requests, arguments.clients, arguments.keyspace
                rounds.append({server.name: measure(server, *how) for server in order})
            result = {"command": case.label, "pipeline": pipeline, "requests": requests, "rounds": rounds}
            results.append(result | summary(rounds, case, pipeline, [server.name for server in servers]))
    return results


def summary(rounds, case, pipeline, names):
    """Medians of the servers, of the ratios round by round (what all suffered alike cancels out), and the verdict."""

    def ratio(field, one, other):
        return statistics.median(each[one][field] / each[other][field] for each in rounds)

    theirs, ours, *floor = names
    found = {
        "cpu_us": {name: statistics.median(each[name]["cpu_us"] for each in rounds) for name in names},
        "rps": {name: statistics.median(each[name]["rps"] for each in rounds) for name in names},
        "cpu_ratio": ratio("cpu_us", ours, theirs),
        "rps_ratio": ratio("rps", ours, theirs),
        "bar": case.bars.get(pipeline),
    }
    if floor:
        found["floor_ratio"] = ratio("cpu_us", ours, floor[0])
        # A reply of hundreds of items is not to be had at the price of a fixed one.
        found["floor_bar"] = FLOOR_BAR if pipeline == 1 and case.heavy == 1 else None
    return found


def failures(result):
    """What keeps a result from being within its bars: words for each."""
    pairs = [("cpu_ratio", "bar", "redis-server"), ("floor_ratio", "floor_bar", "the floor")]
    return [
        f"{result[ratio]:.2f} of {whose} (bar {result[bar]})"
        for ratio, bar, whose in pairs
        if result.get(bar) and result[ratio] > result[bar]
    ]


def print_table(results, ours, theirs):
    floors = [name for name in results[0]["cpu_us"] if name not in (ours, theirs)]
    names = [theirs, ours, *floors]
    print(f"{'':22} {'server CPU time per request (us)':^{13 * len(names)}}  {'ratio to':^16} {'requests per second':>33}")
    heads = "".join(f"{name:>13}" for name in names)
    print(f"{'command':16} {'-P':>4} {heads}  {'redis':>7} {'floor':>7} {theirs:>14} {ours:>12} {'ratio':>7}")
    for result in results:
        cells = "".join(f"{result['cpu_us'][name]:13.3f}" for name in names)
        floor = f"{result['floor_ratio']:7.2f}" if floors else f"{'-':>7}"
        print(
            f"{result['command'][:16]:16} {result['pipeline']:4} {cells}  {result['cpu_ratio']:7.2f} {floor} "
            f"{result['rps'][theirs]:14,.0f} {result['rps'][ours]:12,.0f} {result['rps_ratio']:7.2f}"
            f"{'  FAILS' if failures(result) else ''}"
        )
    failed = [(result, failures(result)) for result in results if failures(result)]
    print(f"\n{'FAILS' if failed else 'holds'}: {len(results) - len(failed)} of {len(results)} are within their bars")
    for result, words in sorted(failed, key=lambda each: -each[0]["cpu_ratio"]):
        print(f"  {result['command']} -P {result['pipeline']}: {', '.join(words)}")
