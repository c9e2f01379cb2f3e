#!/usr/bin/env bash
# Prepares a Debian 12 machine (root or sudo, Rust toolchain present) to build, test and measure hotredis.
# May run any number of times: what is there is left alone, and then it takes less than a second.
set -euo pipefail

# The oracle: the server that hotredis is compared with, reply for reply and cycle for cycle.
REDIS_VERSION=7.0.15
# The client library of the tests. Pinned, so that a new release cannot turn a test red.
REDIS_PY_VERSION=5.2.1
# Two ends of 9,000 idle and 50 busy connections, in two processes, each with room to spare.
WANTED_DESCRIPTORS=12000

cd "$(dirname "$0")/.."
VENV=.venv

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "cannot run '$*': neither root nor sudo; install the packages by hand and run this again"
    fi
}

# Installs the packages given, without letting any of them start a service (redis would take port 6379).
install_packages() {
    command -v apt-get >/dev/null || fail "no apt-get here; install these yourself: $*"
    say "installing $*"
    local policy=/usr/sbin/policy-rc.d ours=no
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        ours=yes
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    local status=0
    {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
    } >&2 || status=$?
    if [ "$ours" = yes ]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
    [ "$status" = 0 ] || fail "apt-get failed; see above"
    # Nor at the next boot: only what this script has just installed is switched off.
    if [[ " $* " == *" redis-server "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl disable redis-server >/dev/null 2>&1 || true
    fi
}

packages=()
command -v redis-server >/dev/null || packages+=(redis-server)
{ command -v redis-cli && command -v redis-benchmark; } >/dev/null || packages+=(redis-tools)
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
{ command -v objdump && command -v strip; } >/dev/null || packages+=(binutils)
command -v unshare >/dev/null || packages+=(util-linux)
command -v make >/dev/null || packages+=(make)
command -v python3 >/dev/null || packages+=(python3)
if [ ! -x "$VENV/bin/python" ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
fi
{ command -v node && command -v npm; } >/dev/null || packages+=(nodejs npm)
# Named by who needs more than the tests do: `setup.sh valgrind`.
for program in "$@"; do command -v "$program" >/dev/null || packages+=("$program"); done
if [ ${#packages[@]} -gt 0 ]; then install_packages "${packages[@]}"; fi

found=$(redis-server --version | sed -n 's/.* v=\([^ ]*\) .*/\1/p')
[ "$found" = "$REDIS_VERSION" ] ||
    fail "redis-server is $found, the tests compare with $REDIS_VERSION (Debian 12's); put that one first in PATH"

command -v cargo >/dev/null || fail "no cargo in PATH; install the Rust toolchain (https://rustup.rs) and run this again"
if command -v rustup >/dev/null; then
    # Asked by file, not through rustup: that alone would cost half a second.
    tools=$(dirname "$(rustup which cargo)")
    [ -x "$tools/cargo-clippy" ] || rustup component add clippy
    [ -x "$tools/rustfmt" ] || rustup component add rustfmt
fi

stamp="$VENV/redis-py-$REDIS_PY_VERSION"
if [ ! -e "$stamp" ]; then
    say "making $VENV with redis-py $REDIS_PY_VERSION"
    [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check "redis==$REDIS_PY_VERSION" >&2
    touch "$stamp"
fi

# The Node.js client of the tests, with what it needs, in the versions that the lock file names.
node_stamp=tests/node/node_modules/.package-lock.json
if [ ! -e "$node_stamp" ] || [ tests/node/package-lock.json -nt "$node_stamp" ]; then
    say "installing the packages of tests/node"
    (cd tests/node && npm ci --no-audit --no-fund --loglevel=error >&2)
    touch "$node_stamp"
fi

hard=$(ulimit -Hn)
if [ "$hard" != unlimited ] && [ "$hard" -lt "$WANTED_DESCRIPTORS" ]; then
    say "note: at most $hard descriptors per process (ulimit -Hn): runs with 9,000 connections need $WANTED_DESCRIPTORS"
fi
command -v cargo-nextest >/dev/null ||
    say "note: no cargo-nextest; tests run under 'cargo test' ('cargo install --locked cargo-nextest' makes them faster)"
