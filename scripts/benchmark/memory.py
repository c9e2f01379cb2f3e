"""Memory of many small values and of one large value, by type."""

from .servers import progress

# What a small value of each type holds: five elements of the size that a session, a profile or a queue has.
FIELDS = ["name", "mail", "city", "since", "visits"]


def digits(number, count=5):
    """Five numbers that differ, made of one."""
    return [(number * 7919 + each * 104_729) % 1_000_000 for each in range(count)]


def small(command):
    """One command for each key: `command` makes it of a key's name and its number."""
    return lambda count: (command(f"key:{number:010}", number) for number in range(count))


SMALL = {
    "string": small(lambda key, n: ["SET", key, f"value:{n:010}"]),
    "string, int": small(lambda key, n: ["SET", key, n * 7919]),
    "list": small(lambda key, n: ["RPUSH", key, *[f"item:{each}" for each in digits(n)]]),
    "set, ints": small(lambda key, n: ["SADD", key, *digits(n)]),
    "set": small(lambda key, n: ["SADD", key, *[f"member:{each}" for each in digits(n)]]),
    "zset": small(lambda key, n: ["ZADD", key, *[w for each in digits(n) for w in (each, f"member:{each}")]]),
    "hash": small(lambda key, n: ["HSET", key, *[w for pair in zip(FIELDS, digits(n)) for w in pair]]),
    "stream": small(lambda key, n: ["XADD", key, "*", "sensor", n % 1000, "value", n]),
    "hyperloglog": small(lambda key, n: ["PFADD", key, *digits(n)]),
    "geo": small(lambda key, n: ["GEOADD", key, 13.3 + n % 97 / 100, 38.1, "one", 15.1, 37.5 + n % 89 / 100, "two"]),
}


def large(command, elements):
    """Commands that add elements to one key, `batch` at a time: `elements` gives the words of one."""

    def commands(count, batch=500):
        for at in range(0, count, batch):
            yield [command, "key", *[w for n in range(at, min(at + batch, count)) for w in elements(n)]]

    return commands


def spread(number):
    """Numbers in an order like a random one, each once (up to a prime)."""
    return number * 7_368_787 % 15_485_863


LARGE = {
    "list": large("RPUSH", lambda n: [f"item:{n:010}"]),
    "set, ints": large("SADD", lambda n: [spread(n)]),
    "set": large("SADD", lambda n: [f"member:{n:010}"]),
    "zset": large("ZADD", lambda n: [spread(n), f"member:{n:010}"]),
    "hash": large("HSET", lambda n: [f"field:{n:010}", f"value:{n:010}"]),
    "stream": lambda count, batch=1: (["XADD", "key", "*", "sensor", n % 1000, "value", n] for n in range(count)),
}


# Keys of 16 bytes, values of 32: what the bars for strings are about.
STRINGS = {
    "string": lambda count: (["SET", f"key:{n:012}", f"value:{n:026}"] for n in range(count)),
    "string, expiry": lambda count: (
        ["SET", f"key:{n:012}", f"value:{n:026}", "EX", 100_000 + n % 1000] for n in range(count)
    ),
}

# What is measured, of how many times as many as are asked for, and the bars: shares of redis-server's memory.
GROUPS = [
    ("strings of 16 + 32 bytes", STRINGS, 5, {"string": 0.6, "string, expiry": 0.55}),
    ("small values", SMALL, 1, {"list": 0.8, "set": 0.8, "zset": 0.8, "hash": 0.8}),
    ("elements of one value", LARGE, 1, {}),
]


def measure(server, commands, count):
    """Bytes that the server says its data takes, that the system gave it for them, and that it has of the system in
    all: of hotredis the whole arena and the private memory of its processes."""
    server.empty()
    before = server.used_memory(), server.resident()
    server.load(commands(count))
    used, resident = server.used_memory() - before[0], server.resident() - before[1]
    return {"used": used, "resident": resident, "whole": server.whole_memory()}


def run(arguments, start):
    """Every case on fresh servers, which `start` gives: what earlier data left behind changes nothing."""
    results = []
    for what, cases, times, bars in GROUPS:
        count = arguments.values * times // (10 if arguments.quick else 1)
        for label, commands in cases.items():
            if arguments.types and label not in arguments.types:
                continue
            progress(f"memory of {count} {what}: {label}")
            figures = {}
            for make in start:
                server = make()
                try:
                    figures[server.name] = measure(server, commands, count)
                finally:
                    server.stop()
            results.append({"what": what, "type": label, "count": count, "bar": bars.get(label), "figures": figures})
    return results


def each(result, name, field):
    """Bytes for each value."""
    return result["figures"][name][field] / result["count"]


def ratio(result, ours, theirs, field):
    return each(result, ours, field) / max(each(result, theirs, field), 1e-9)


def holds(result, ours, theirs):
    """Whether it is within its bar, of all memory; without one, whether the data takes no more."""
    if result["bar"]:
        return ratio(result, ours, theirs, "whole") <= result["bar"]
    return ratio(result, ours, theirs, "used") <= 1


def print_table(results, ours, theirs):
    print(f"{'':50}  {'bytes of data each':^34}  {'bytes of all memory each':^34}")
    columns = f"{theirs:>12} {ours:>12} {'ratio':>7}"
    print(f"{'what':34} {'type':14}   {columns}   {columns}     bar")
    for result in results:
        cells = "   ".join(
            f"{each(result, theirs, field):12.1f} {each(result, ours, field):12.1f} "
            f"{ratio(result, ours, theirs, field):7.2f}"
            for field in ("used", "whole")
        )
        what = f"{result['count']:,} {result['what']}"
        verdict = "" if holds(result, ours, theirs) else "FAILS"
        print(f"{what[:34]:34} {result['type'][:14]:14}   {cells} {result['bar'] or '':7}  {verdict}")
    held = sum(holds(result, ours, theirs) for result in results)
    print(f"\n{held} of {len(results)} are within their bars, or within {theirs}'s memory where there is none")
