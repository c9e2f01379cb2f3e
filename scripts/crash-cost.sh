#!/usr/bin/env bash
# What it costs that a crash loses nothing: builds hotredis as it is, and without the undo log and whatever else is there
# for crashes only (the feature without-crash-safety); counts the instructions that both need for the same requests.
#
#     scripts/crash-cost.sh                   a table, and target/bench/crash-cost.json
#     scripts/crash-cost.sh --only get,set    some commands; other arguments: --help
#
# Instructions are counted one by one (by callgrind), so what else the machine does makes no difference. Exits 0 only if the bar of 5 % holds for each command.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
out=$target/builds/release/crash-cost
mkdir -p "$out"

# build NAME [ARGUMENT...]: the binary goes to $out/NAME.
build() {
    local name=$1
    shift
    cargo build --quiet --release --package hotredis --bin hotredis "$@"
    cp "$target/release/hotredis" "$out/$name.new"
    mv -f "$out/$name.new" "$out/$name"
}

build without --features without-crash-safety
# Last, so that nobody finds the other one where the release build is expected.
build with
exec scripts/instructions.py crash-cost --with "$out/with" --without "$out/without" "$@"
