#!/usr/bin/env python3
"""Instructions that hotredis executes in user space, counted by callgrind: figures that no noise touches.

    scripts/instructions.py crash-cost --with A --without B    what crash safety costs, between two builds
    scripts/instructions.py guard                              GET, SET and an upgrade, held to scripts/benchmark/guard.json
    scripts/instructions.py guard --update                     writes what is counted there

10 connections send 16 requests each at once, again and again; what is counted is everything that the process does for
them (decoding, the command, the reply, the transaction), and nothing of the kernel's work.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmark import counted
from benchmark.servers import progress

ROOT = Path(__file__).resolve().parent.parent
GUARD = ROOT / "scripts/benchmark/guard.json"
# What crash safety may cost, in percent of the instructions that a request takes without it.
BAR = 5.0
# What a figure may exceed the one that is kept by, in percent: keys fall into other buckets each time.
ALLOWED = {"get": 2.0, "set": 2.0, "upgrade": 5.0}
# Connections that an upgrade takes along.
UPGRADED = 100


def write(path, figures):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")


def crash_cost(arguments):
    names = arguments.only.split(",") if arguments.only else list(counted.CASES)
    print("user-space instructions per request, 10 connections with -P 16")
    print(f"{'command':<8}{'without':>9}{'with':>9}{'more':>8}{'overhead':>10}")
    rows = {}
    for name in names:
        progress(f"counting {name}")
        without, whole = (counted.count(build, counted.CASES[name]) for build in (arguments.without, arguments.whole))
        rows[name] = {"without": without, "with": whole, "percent": (whole / without - 1) * 100}
        progress("")
        print_row(name, without, whole)
    without, whole = (sum(row[build] for row in rows.values()) / len(rows) for build in ("without", "with"))
    print_row("mean", without, whole)
    write(arguments.json, rows)
    above = [name for name, row in rows.items() if row["percent"] > BAR]
    if above:
        sys.exit(f"FAILS  crash safety costs each command at most {BAR:.0f} %; above it: {', '.join(above)}")
    print(f"holds  crash safety costs each command at most {BAR:.0f} %")


def print_row(name, without, whole):
    more, percent = whole - without, (whole / without - 1) * 100
    print(f"{name:<8}{without:9.1f}{whole:9.1f}{more:8.1f}{percent:9.1f}%", flush=True)


def guard(arguments):
    figures = {}
    for name in ALLOWED:
        progress(f"counting {name}")
        if name == "upgrade":
            figures[name] = counted.count_upgrade(arguments.binary, UPGRADED)
        else:
            figures[name] = counted.count(arguments.binary, counted.CASES[name])
    progress("")
    if arguments.update:
        write(GUARD, {name: round(figure) for name, figure in figures.items()})
    kept = json.loads(GUARD.read_text())
    failed = False
    print(f"{'':<9}{'kept':>12}{'counted':>12}{'':>4}change")
    for name, figure in figures.items():
        change = (figure / kept[name] - 1) * 100
        failed |= change > ALLOWED[name]
        verdict = f"more than {ALLOWED[name]:.0f} % above" if change > ALLOWED[name] else ""
        print(f"{name:<9}{kept[name]:12,.0f}{figure:12,.0f}{change:+9.1f} %  {verdict}")
    if failed:
        sys.exit("FAILS  find out what made it more; if it is worth it, keep the new figure with --update and say why")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    cost = commands.add_parser("crash-cost", help="what crash safety costs")
    cost.add_argument("--with", dest="whole", required=True, help="the build as it is")
    cost.add_argument("--without", required=True, help="the build with the feature without-crash-safety")
    cost.add_argument("--only", help=f"commands, with commas: {','.join(counted.CASES)}")
    cost.add_argument("--json", type=Path, default=ROOT / "target/bench/crash-cost.json")
    cost.set_defaults(run=crash_cost)
    held = commands.add_parser("guard", help="GET, SET and an upgrade, held to what they were")
    held.add_argument("--binary", default=str(ROOT / "target/release/hotredis"))
    held.add_argument("--update", action="store_true", help="keep what is counted")
    held.set_defaults(run=guard)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
