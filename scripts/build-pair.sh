#!/bin/sh
# Builds hotredis twice, with HOTREDIS_BUILD=a and =b, into target/builds/{a,b}/hotredis: two
# binaries that differ in nothing but what INFO says of them, for upgrades from one to the other.
#
# usage: scripts/build-pair.sh [CARGO BUILD ARGUMENTS...]      e.g. --release
#
# Only the crate that reads HOTREDIS_BUILD is compiled again for the second one. The binary in
# the profile's own directory is left as it was built without the variable.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
profile=debug
for argument in "$@"; do
    case $argument in
    --release | -r) profile=release ;;
    esac
done

for build in a b; do
    HOTREDIS_BUILD=$build cargo build --quiet --package hotredis --bin hotredis "$@"
    mkdir -p "target/builds/$build"
    # A running server may still execute the old file: replace it, never write into it.
    cp "$target/$profile/hotredis" "target/builds/$build/hotredis.new"
    mv "target/builds/$build/hotredis.new" "target/builds/$build/hotredis"
done
env -u HOTREDIS_BUILD cargo build --quiet --package hotredis --bin hotredis "$@"
