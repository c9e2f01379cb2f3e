"""The longest that one command keeps a server busy while a value grows, shrinks and goes, by type."""

import itertools
import socket
from pathlib import Path

from . import memory
from .servers import encode, progress


# Commands measured together: the system's call for each would take longer than they do.
BATCH = 20

# The least of some rounds counts: what a machine that is shared adds to one batch is not there the next time, what the
# server does for a value of that size is.
ROUNDS = 3


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
        self.longest = 0

    def run(self, batch):
        """Commands of which each replies with one line, or a bulk string."""
        self.connection.sendall(b"".join(encode(words) for words in batch))
        for _ in batch:
            line = self.replies.readline()
            if line.startswith(b"$"):
                self.replies.read(int(line[1:]) + 2)
        now = executor_ns(self.server)
        self.longest = max(self.longest, now - self.last)
        self.last = now

    def close(self):
        self.replies.close()
        self.connection.close()


def measure(server, make_commands):
    """The least of each figure of all rounds."""
    rounds = [measure_once(server, make_commands()) for _ in range(ROUNDS)]
    return {figure: min(each[figure] for each in rounds) for figure in rounds[0]}


def measure_once(server, commands):
    """Microseconds of the longest batch of commands while the value grows, of the command that drops it,
    and of what is put off until after that, up to a moment."""
    server.empty()
    watch = Watch(server)
    for batch in batched(commands):
        watch.run(batch)
    growing, watch.longest = watch.longest, 0
    watch.run([["DEL", "key"]])
    dropping, watch.longest = watch.longest, 0
    # Each PING takes what was done in the background since the one before.
    for _ in range(2000):
        watch.run([["PING"]])
    watch.close()
    return {"growing_us": growing / 1e3, "dropping_us": dropping / 1e3, "after_us": watch.longest / 1e3}


def batched(commands):
    while batch := list(itertools.islice(commands, BATCH)):
        yield batch


def run(arguments, start):
    count = arguments.values // 10 if arguments.quick else arguments.values
    results = []
    for label, commands in memory.LARGE.items():
        if arguments.types and label not in arguments.types:
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


def print_table(results, ours, theirs):
    print(f"{'':32}  {'executor CPU time at most (us)':^62}")
    print(f"{'':32}  {theirs:^30}  {ours:^30}")
    columns = f"{f'growing, by {BATCH}':>12} {'DEL':>8} {'after':>8}"
    print(f"{'elements':14} {'of one value':16}   {columns}   {columns}")
    for result in results:
        cells = []
        for name in (theirs, ours):
            figures = result["figures"][name]
            cells.append(
                f"{figures['growing_us']:12,.0f} {figures['dropping_us']:8,.0f} {figures['after_us']:8,.0f}"
            )
        print(f"{result['count']:<14,} {result['type']:16}   {cells[0]}   {cells[1]}")
    worst = max(results, key=lambda result: max(result["figures"][ours].values()))
    longest = max(worst["figures"][ours].values())
    holds = "holds" if longest <= 1000 else "FAILS"
    print(f"\n{holds}: no stall of more than 1,000 us of CPU time; the longest is {longest:,.0f} us, of {worst['type']}")
