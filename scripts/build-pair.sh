#!/usr/bin/env bash
# Builds hotredis twice, with HOTREDIS_BUILD=a and =b: two binaries that differ in nothing but what INFO says of them,
# for upgrades from one to the other.
#
#     scripts/build-pair.sh              target/builds/debug/{a,b}/hotredis
#     scripts/build-pair.sh --release    target/builds/release/{a,b}/hotredis
#
# Only the crate that reads HOTREDIS_BUILD is compiled again for the second one, and nothing at all when no source is
# newer than the pair. The binary in the profile's own directory is left as it is built without the variable.
set -euo pipefail
cd "$(dirname "$0")/.."

# The debug pair shares what is compiled with the tests, the release pair with what `make build` makes.
case ${1:-} in
'') profile=debug packages=--workspace ;;
--release) profile=release packages=--package=hotredis ;;
*) echo "build-pair: unknown argument '$1' (only --release is known)" >&2; exit 2 ;;
esac
target=${CARGO_TARGET_DIR:-target}
out=$target/builds/$profile
# When the build of the pair began: what changed since is not in it.
stamp=$out/stamp

up_to_date() {
    [ -e "$stamp" ] && [ -x "$out/a/hotredis" ] && [ -x "$out/b/hotredis" ] || return 1
    [ -z "$(find src shm handoff Cargo.toml Cargo.lock -newer "$stamp" -type f -print -quit)" ]
}

if up_to_date; then exit 0; fi
mkdir -p "$out"
touch "$stamp.new"
for build in a b; do
    HOTREDIS_BUILD=$build cargo build --quiet "$packages" --bin hotredis "$@"
    mkdir -p "$out/$build"
    # A running server may still execute the old file: replace it, never write into it.
    cp "$target/$profile/hotredis" "$out/$build/hotredis.new"
    mv -f "$out/$build/hotredis.new" "$out/$build/hotredis"
done
env -u HOTREDIS_BUILD cargo build --quiet "$packages" --bin hotredis "$@"
mv -f "$stamp.new" "$stamp"
