#!/usr/bin/env bash
# The open-ended differential test: hotredis and redis-server driven with the same random commands, with upgrades of
# hotredis from one build to another in the midst, until stopped or until they differ.
#
#     scripts/fuzz.sh                                 all families in turn, a new seed each time
#     scripts/fuzz.sh --seconds 600 --seed 42         for ten minutes, the same every time
#     scripts/fuzz.sh --family bitmaps --steps 2000   (see hotredis-fuzz --help)
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build-pair.sh --release
cargo build --quiet --release --package hotredis-tests --bin hotredis-fuzz
target=${CARGO_TARGET_DIR:-target}
builds=$target/builds/release
exec "$target/release/hotredis-fuzz" --stop --build "$builds/a/hotredis" --build "$builds/b/hotredis" "$@"
