#!/usr/bin/env bash
# Runs the arena's unit tests under Miri, which finds undefined behaviour that no ordinary test shows. Miri cannot map
# files or send descriptors; tests that need that say so with `#[cfg_attr(miri, ignore)]`.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "miri: this machine has no nightly toolchain with Miri, so nothing was checked. To install it:" >&2
    echo "    rustup toolchain install nightly --component miri --component rust-src" >&2
    exit 1
fi
MIRIFLAGS=${MIRIFLAGS:--Zmiri-disable-isolation} exec cargo +nightly miri test --package shm --lib "$@"
