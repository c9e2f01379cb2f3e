"""What commands wait for while ten million keys are loaded, a million expire at the same moment, and a value of ten
million elements is deleted."""

import time

from .memory import LARGE, spread
from .servers import progress
from .stalls import BATCH, LIMIT, Watch, batched, executor_ns

# Times as many keys as values are asked for (of which as many expire), and elements of one value.
TIMES = 10
# Milliseconds from the first key that is loaded until all expire, and seconds of watching then.
UNTIL, WATCHED = 25_000, 12
# PINGs after a value was deleted, at the least.
PINGS = 20_000
# Of so many batches one may have taken longer: what else the machine does takes some of a server that does nothing.
RARE = 10_000


def load(server, count):
    """Two rounds of the same keys, in the same order: what the server does when it has just so many, it does each time."""
    rounds = []
    for _ in range(2):
        server.empty()
        watch = Watch(server)
        commands = (["SET", f"key:{n:012}", f"value:{n:026}"] for n in range(count * TIMES))
        rounds.append([watch.run(batch) for batch in batched(commands)])
        watch.close()
    return {"took": [min(both) for both in zip(*rounds)]}


def expire(server, count):
    """Every PING takes what was done in the background since the one before."""
    server.empty()
    at = int(time.time() * 1000) + UNTIL
    server.load(["SET", f"key:{spread(n):012}", "value", "PXAT", at] for n in range(count))
    time.sleep(max(0, at / 1000 - time.time() - 0.5))
    before = server.info("stats", "expired_keys")
    watch = Watch(server)
    end, took = time.monotonic() + WATCHED, []
    while time.monotonic() < end:
        took.append(watch.run([["PING"]]))
    expired = server.info("stats", "expired_keys") - before
    return {"took": took, "note": f"{expired:,} keys expired"} | control(watch, len(took))


def delete(label):
    def measure(server, count):
        server.empty()
        before = server.used_memory()
        server.load(LARGE[label](count * TIMES), batch=50)
        full = server.used_memory() - before
        watch = Watch(server)
        took = [watch.run([["DEL", "key"]])]
        while len(took) < PINGS or server.used_memory() - before > full / 100:
            took += [watch.run([["PING"]]) for _ in range(PINGS)]
            watch.last = executor_ns(server)
        return {"took": took, "command_us": took[0], "note": f"DEL {took[0]:,.0f} us"} | control(watch, len(took))

    return measure


def control(watch, count):
    """As many PINGs when there is nothing else to do."""
    watch.run([["PING"]])
    took = [watch.run([["PING"]]) for _ in range(count)]
    watch.close()
    return {"control": sum(each > LIMIT for each in took)}


CASES = {
    "keys loaded": load,
    "keys expire at once": expire,
    **{f"{label} deleted": delete(label) for label in LARGE if label != "stream"},
}


def figures_of(found):
    took = sorted(found.pop("took"))
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
    shares = {"p50_us": at(0.5), "p999_us": at(0.999), "p9999_us": at(0.9999), "most_us": took[-1]}
    return found | shares | {"batches": len(took), "over": sum(each > LIMIT for each in took)}


def run(arguments, start):
    count = arguments.values // (10 if arguments.quick else 1)
    results = []
    for label, measure in CASES.items():
        figures = {}
        for make in start:
            server = make()
            progress(f"stalls at scale: {label}: {server.name}")
            try:
                figures[server.name] = figures_of(measure(server, count))
            finally:
                server.stop()
        results.append({"case": label, "count": count * (1 if measure is expire else TIMES), "figures": figures})
    return results


def holds(found):
    """No stall but as rarely as a server that does nothing has them, and none by the command itself."""
    rarely = max(found.get("control", 0), found["batches"] / RARE)
    return found["over"] <= rarely and found.get("command_us", 0) <= LIMIT


def print_table(results, ours, theirs):
    print(f"executor CPU time (us) of PINGs, each with what was done before it; of {BATCH} SETs while keys are loaded")
    print(f"{'':38} {'p50':>6} {'p99.9':>8} {'p99.99':>8} {'most':>11} {f'over {LIMIT:,}':>11} {'idle':>6}   of")
    for result in results:
        for name in (theirs, ours):
            found = result["figures"][name]
            cells = f"{found['p50_us']:6,.0f} {found['p999_us']:8,.0f} {found['p9999_us']:8,.0f} {found['most_us']:11,.0f}"
            what = f"{result['count']:,} {result['case']}"
            verdict = "" if name != ours else "  holds" if holds(found) else "  FAILS"
            print(
                f"{what[:25]:25} {name:12} {cells} {found['over']:11,} {found.get('control', '-'):>6}   "
                f"{found['batches']:,}{verdict}  {found.get('note', '')}"
            )
    print(f"\nidle: as many PINGs without anything else to do that took over {LIMIT:,} us, which is the machine's")
