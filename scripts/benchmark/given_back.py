"""Memory that a server gives back after most of its keys were deleted at random."""

import time

from .servers import progress

# Of five keys one is kept.
KEPT = 5
# A number without a common factor with any count of keys: it puts them into an order like a random one.
STRIDE = 2_654_435_761
# Seconds in which no more than a hundredth was given back, after which no more is expected; and the longest wait.
QUIET, LONGEST = 5, 180
# Keys in one command that deletes.
AT_ONCE = 50


def key(number):
    """16 bytes."""
    return f"key:{number:012}"


def is_kept(number):
    return number * STRIDE % (1 << 32) * KEPT >> 32 == 0


def deletions(count):
    gone = [n for at in range(count) if not is_kept(n := at * STRIDE % count)]
    for at in range(0, len(gone), AT_ONCE):
        yield ["DEL", *map(key, gone[at : at + AT_ONCE])]


def measure(server, count):
    """Bytes of memory that the system has given the server, at each stage, and seconds from the last reply on."""
    server.load(["SET", key(n), f"{n:032}"] for n in range(count))
    figures = {"before": server.resident()}
    server.load(deletions(count))
    start = time.monotonic()
    figures["deleted"] = least = server.resident()
    half_after, last, settled = None, start, start
    while (now := time.monotonic()) - last < QUIET and now - start < LONGEST:
        # Of the system, not of the server: that is left idle.
        memory = server.resident()
        if half_after is None and memory * 2 <= figures["before"]:
            half_after = now - start
        if memory < least * 0.99:
            least, last, settled = memory, now, now
        time.sleep(0.05)
    return figures | {"idle": server.resident(), "half_after": half_after, "settled_after": settled - start}


def run(arguments, start):
    count = arguments.values * 5 // (10 if arguments.quick else 1)
    progress(f"memory given back of {count} strings")
    figures = {}
    for make in start:
        server = make()
        try:
            figures[server.name] = measure(server, count)
        finally:
            server.stop()
    return [{"count": count, "figures": figures}]


def holds(figures):
    """At least half of the memory is given back."""
    return figures["idle"] * 2 <= figures["before"]


def print_table(results, ours, theirs):
    for result in results:
        print(f"{result['count']:,} strings, of which {KEPT - 1} of {KEPT} are deleted at random; MiB of memory")
        print(f"{'':14} {'before':>9} {'deleted':>9} {'idle':>9} {'of before':>10}   {'half given back':>16} {'all':>9}")
        for name in (theirs, ours):
            figures = result["figures"][name]
            cells = " ".join(f"{figures[stage] / (1 << 20):9.1f}" for stage in ("before", "deleted", "idle"))
            half = f"after {figures['half_after']:.1f} s" if figures["half_after"] is not None else "never"
            share = figures["idle"] / figures["before"]
            print(f"{name:14} {cells} {share:10.2f}   {half:>16} {figures['settled_after']:7.1f} s")
        verdict = "holds" if holds(result["figures"][ours]) else "FAILS"
        print(f"\n{verdict}: at least half of the memory is given back")
