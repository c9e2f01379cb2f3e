#!/usr/bin/env python3
"""Extracts command metadata from redis-server 7.0.15, the reference for everything COMMAND says.

    scripts/command-metadata.py docs            rewrites docs.jsonl and help.jsonl in src/commands for COMMANDS below
    scripts/command-metadata.py rows NAME...    prints table rows and handler stubs to paste into a family file

Starts a private redis-server (REDIS_SERVER overrides which) on an unused port and stops it again.
Needs nothing but Python 3. A command joins the documentation by its name being added to COMMANDS.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

VERSION = "7.0.15"
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "src/commands"

# The commands that hotredis has, containers with all their subcommands.
COMMANDS = """
append auth bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin
client command config copy dbsize debug decr decrby del discard dump echo exec exists expire expireat expiretime
flushall flushdb geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch
geosearchstore get getbit getdel getex getrange getset hdel hello hexists hget hgetall hincrby hincrbyfloat hkeys hlen
hmget hmset hrandfield hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat info keys lcs lindex linsert llen lmove
lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim memory mget migrate monitor move mset msetnx multi object
persist pexpire pexpireat pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex psubscribe pttl publish
pubsub punsubscribe quit randomkey rename renamenx reset restore restore-asking rpop rpoplpush rpush rpushx sadd scan
scard sdiff sdiffstore select set setbit setex setnx setrange shutdown sinter sintercard sinterstore sismember smembers
smismember smove sort sort_ro spop spublish srandmember srem sscan ssubscribe strlen subscribe substr sunion sunionstore
sunsubscribe swapdb time touch ttl type unlink unsubscribe unwatch wait watch xack xadd xautoclaim xclaim xdel xgroup
xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter
zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore
zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan
zscore zunion zunionstore
""".split()


class Connection:
    """Just enough RESP3 to talk to the reference; maps become dicts, sets and arrays lists."""

    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
        self.version = self.command("HELLO", "3")["version"]

    def command(self, *words):
        self.file.write(b"*%d\r\n" % len(words))
        for word in words:
            self.file.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline().decode().rstrip("\r\n")
        kind, rest = line[0], line[1:]
        if kind == "+":
            return rest
        if kind == ":":
            return int(rest)
        if kind == "_":
            return None
        if kind == "$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        if kind in "*~>":
            return [self.read() for _ in range(int(rest))]
        if kind == "%":
            return {self.read(): self.read() for _ in range(int(rest))}
        raise RuntimeError(f"unexpected reply: {line}")


class Reference:
    """A private redis-server for the duration of a with block."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = os.environ.get("REDIS_SERVER", "redis-server")
        self.process = subprocess.Popen(
            [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder.name],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(100):
            try:
                connection = Connection(port)
                break
            except OSError:
                time.sleep(0.05)
        else:
            self.stop()
            raise RuntimeError(f"{server} does not answer on port {port}")
        if connection.version != VERSION:
            self.stop()
            raise RuntimeError(f"the reference is Redis {VERSION}, {server} is {connection.version}")
        return connection

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def write_docs(connection):
    """One command a line, sorted by name, subcommands inside their containers."""
    docs = connection.command("COMMAND", "DOCS", *COMMANDS)
    lines = []
    for name in sorted(docs):
        doc = docs[name]
        if "subcommands" in doc:
            doc["subcommands"] = dict(sorted(doc["subcommands"].items()))
        lines.append({"name": name, **doc})
    write_lines(FOLDER / "docs.jsonl", lines)


def write_help(connection):
    """The HELP texts of the containers among COMMANDS."""
    docs = connection.command("COMMAND", "DOCS", *COMMANDS)
    containers = sorted(name for name, doc in docs.items() if f"{name}|help" in doc.get("subcommands", {}))
    write_lines(
        FOLDER / "help.jsonl",
        [{"name": name, "lines": connection.command(name, "HELP")} for name in containers],
    )


def write_lines(path, values):
    lines = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in values]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(lines)} commands")


def usage(argument):
    """An argument as the manual pages show it."""
    kind, token = argument["type"], argument.get("token")
    if kind == "pure-token":
        text = token
    elif kind == "oneof":
        text = " | ".join(usage(a) for a in argument["arguments"])
    elif kind == "block":
        text = " ".join(usage(a) for a in argument["arguments"])
    else:
        text = argument["name"]
    flags = argument.get("flags", [])
    if token and kind != "pure-token":
        if kind == "oneof":
            text = f"<{text}>"
        text = f"{token} {text}"
    elif kind == "oneof" and "optional" not in flags:
        text = f"<{text}>"
    if "multiple" in flags:
        text = f"{text} [{text} ...]"
    return f"[{text}]" if "optional" in flags else text


def key_spec(spec):
    begin, find = spec["begin_search"], spec["find_keys"]
    if begin["type"] == "index":
        where = f"at({begin['spec']['index']})"
    elif begin["type"] == "keyword":
        where = f"after(\"{begin['spec']['keyword']}\", {begin['spec']['startfrom']})"
    else:
        where = "anywhere()"
    if find["type"] == "range":
        last, step, limit = (find["spec"][k] for k in ("lastkey", "keystep", "limit"))
        if (last, step, limit) != (0, 1, 0):
            where += f".to({last}, {step}, {limit})"
    elif find["type"] == "keynum":
        number, first, step = (find["spec"][k] for k in ("keynumidx", "firstkey", "keystep"))
        where += f".counted({number}, {first}, {step})"
    flags = " | ".join(f"key::{flag.upper()}" for flag in spec["flags"])
    note = f".notes(\"{spec['notes']}\")" if "notes" in spec else ""
    return f"{where}.flags({flags}){note}"


def implied_categories(flags):
    table = {"write": "@write", "pubsub": "@pubsub", "fast": "@fast", "blocking": "@blocking", "readonly": "@read"}
    implied = {table[flag] for flag in flags if flag in table}
    if "admin" in flags:
        implied |= {"@admin", "@dangerous"}
    return implied | {"@slow"}


def handler_name(name):
    own = name.split("|")[-1].replace("-", "_")
    return {"type": "key_type", "move": "move_key"}.get(own, own)


def row(info, indent):
    """A row of the table in the words of src/commands/spec.rs."""
    name, arity, flags, _, _, _, categories, tips, specs, subcommands = info
    explicit = [c for c in categories if c not in implied_categories(flags)]
    flags = [flag for flag in flags if flag != "movablekeys"]
    text = f"container(\"{name}\", {arity})" if subcommands else f"cmd(\"{name}\", {arity}, {handler_name(name)})"
    if flags:
        text += f".flags({' | '.join(f'flag::{flag.upper()}' for flag in flags)})"
    if explicit:
        text += f".acl({' | '.join(f'acl::{c[1:].upper()}' for c in explicit)})"
    if specs:
        text += f".keys(&[{', '.join(key_spec(s) for s in specs)}])"
    if tips:
        quoted = ", ".join(f'"{tip}"' for tip in tips)
        text += f".tips(&[{quoted}])"
    if subcommands:
        rows = "".join(row(s, indent + 1) + ",\n" for s in sorted(subcommands))
        text += f".subcommands(&[\n{rows}])"
    return text


def stub(name, doc):
    words = [name.replace("|", " ").upper()] + [usage(a) for a in doc.get("arguments", [])]
    summary = doc["summary"].rstrip(".")
    comment = textwrap.wrap(f"`{' '.join(words)}`: {summary[0].lower()}{summary[1:]}.", 96)
    return (
        "".join(f"/// {line}\n" for line in comment)
        + f"fn {handler_name(name)}(_cx: &mut Cx<'_>) -> Outcome {{\n    not_implemented()\n}}\n"
    )


def print_rows(connection, names):
    docs = connection.command("COMMAND", "DOCS", *names)
    rows, stubs = [], []
    for info in connection.command("COMMAND", "INFO", *names):
        rows.append(row(info, 1))
        doc = docs[info[0]]
        for name, own in sorted(doc.get("subcommands", {info[0]: doc}).items()):
            stubs.append(stub(name, own))
    print("pub static COMMANDS: &[CommandSpec] = &[\n" + "".join(r + ",\n" for r in rows) + "];\n")
    print("\n".join(stubs))


def main():
    if len(sys.argv) >= 2 and sys.argv[1] == "docs" and len(sys.argv) == 2:
        with Reference() as connection:
            write_docs(connection)
            write_help(connection)
    elif len(sys.argv) >= 3 and sys.argv[1] == "rows":
        with Reference() as connection:
            print_rows(connection, sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
