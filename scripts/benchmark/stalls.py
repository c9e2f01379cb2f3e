"""The longest that one command keeps a server busy while a value grows, shrinks and goes, by type."""

import itertools
import socket
from pathlib import Path

from . import memory
from .servers import encode, progress


# Commands measured together: the system's call for each would take longer than they do.
BATCH = 20

# What a machine that is shared adds to a batch (batches of PINGs are measured too, and show it: milliseconds) hits
# another batch the next time; what the server does when a value has just that size, it does each time.
ROUNDS = 3

# A command without any cost of its own, for comparison.
CONTROL = "(PING)"

# A stall, in microseconds.
LIMIT = 1000


def executor_ns(server):
    """CPU time of the thread that runs commands. It waits when it has replied, so this is exact."""
    pid = server.pids()[-1]
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


class Watch:
    """A connection that measures what its commands cost the server's executor."""

    def __init__(self, server):
        self.server = server
        self.connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.replies = self.connection.makefile("rb")
        self.last = executor_ns(server)

    def run(self, batch):
        """Runs commands of which each replies with one line, or a bulk string. Returns microseconds."""
        self.connection.sendall(b"".join(encode(words) for words in batch))
        for _ in batch:
            line = self.replies.readline()
            if line.startswith(b"$"):
                self.replies.read(int(line[1:]) + 2)
        now = executor_ns(self.server)
        took, self.last = now - self.last, now
        return took / 1e3

    def close(self):
        self.replies.close()
        self.connection.close()


def measure(server, make_commands):
    """Microseconds of the batch that took longest while the value grew, of the command that drops it, and of what is
    put off until after that: of each the least of all rounds."""
    rounds = [measure_once(server, make_commands()) for _ in range(ROUNDS)]
    growing, dropping, after = zip(*rounds)
    return {
        "growing_us": max(map(min, zip(*growing))),
        "dropping_us": min(dropping),
        "after_us": min(after),
        # Of a single round, the middle one.
        "over": sorted(sum(took > LIMIT for took in each) for each in growing)[ROUNDS // 2],
    }


def measure_once(server, commands):
    server.empty()
    watch = Watch(server)
    growing = [watch.run(batch) for batch in batched(commands)]
    dropping = watch.run([["DEL", "key"]])
    # Each PING takes what was done in the background since the one before.
    after = max(watch.run([["PING"]]) for _ in range(2000))
    watch.close()
    return growing, dropping, after


def batched(commands):
    while batch := list(itertools.islice(commands, BATCH)):
        yield batch


def run(arguments, start):
    count = arguments.values // 10 if arguments.quick else arguments.values
    cases = {CONTROL: lambda count, _: (["PING"] for _ in range(count))} | memory.LARGE
    results = []
    for label, commands in cases.items():
        if arguments.types and label not in [*arguments.types, CONTROL]:
            continue
        progress(f"stalls of a value of {count} elements: {label}")
        figures = {}
        for make in start:
            server = make()
            try:
                figures[server.name] = measure(server, lambda: commands(count, 1))
            finally:
                server.stop()
        results.append({"type": label, "count": count, "figures": figures})
    return results


def longest_of(figures):
    return max(figures[name] for name in ("growing_us", "dropping_us", "after_us"))


def print_table(results, ours, theirs):
    print(f"{'':32}  {'executor CPU time at most (us)':^76}")
    print(f"{'':32}  {theirs:^37}  {ours:^37}")
    columns = f"{f'growing, by {BATCH}':>12} {'over':>6} {'DEL':>8} {'after':>8}"
    print(f"{'elements':14} {'of one value':16}   {columns}   {columns}")
    for result in results:
        cells = []
        for name in (theirs, ours):
            figures = result["figures"][name]
            cells.append(
                f"{figures['growing_us']:12,.0f} {figures['over']:6} "
                f"{figures['dropping_us']:8,.0f} {figures['after_us']:8,.0f}"
            )
        print(f"{result['count']:<14,} {result['type']:16}   {cells[0]}   {cells[1]}")
    print(
        f"growing: the longest of all batches, of each the least of {ROUNDS} rounds; over: batches of one round that took "
        f"more than {LIMIT:,} us,\nof {results[0]['count'] // BATCH:,}: what {CONTROL} has of them is the machine's"
    )
    of_values = [result for result in results if result["type"] != CONTROL]
    longest, worst = max((longest_of(result["figures"][ours]), result["type"]) for result in of_values)
    holds = "holds" if longest <= LIMIT else "FAILS"
    print(f"\n{holds}: no stall of more than {LIMIT:,} us of CPU time; the longest is {longest:,.0f} us, of {worst}")
