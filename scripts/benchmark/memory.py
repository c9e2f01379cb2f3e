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


def measure(server, commands, count):
    """What the server takes for the data, and what the system gave it for them, in bytes."""
    server.empty()
    before = server.used_memory(), server.resident()
    server.load(commands(count))
    used, resident = server.used_memory() - before[0], server.resident() - before[1]
    return {"used": used, "resident": resident}


def run(arguments, start):
    """Every case on fresh servers, which `start` gives: what earlier data left behind changes nothing."""
    results = []
    count = arguments.values // 10 if arguments.quick else arguments.values
    for what, cases in (("small values", SMALL), ("elements of one value", LARGE)):
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
            results.append({"what": what, "type": label, "count": count, "figures": figures})
    return results


def print_table(results, ours, theirs):
    print(f"{'':47}  {'bytes of data each':^34}  {'bytes of memory each':^34}")
    print(f"{'what':34} {'type':12}   {theirs:>12} {ours:>12} {'ratio':>7}   {theirs:>12} {ours:>12} {'ratio':>7}")
    for result in results:
        cells = []
        for field in ("used", "resident"):
            one, other = (result["figures"][name][field] / result["count"] for name in (theirs, ours))
            result[f"{field}_ratio"] = other / max(one, 1e-9)
            cells.append(f"{one:12.1f} {other:12.1f} {result[f'{field}_ratio']:7.2f}")
        what = f"{result['count']:,} {result['what']}"
        print(f"{what[:34]:34} {result['type'][:12]:12}   {cells[0]}   {cells[1]}")
    worst = max(results, key=lambda result: result["used_ratio"])
    holds = "holds" if worst["used_ratio"] <= 1 else "FAILS"
    print(
        f"\n{holds}: at most {theirs}'s memory; the worst ratio is {worst['used_ratio']:.2f}, of "
        f"{worst['type']} ({worst['what']})"
    )
