#!/usr/bin/env bash
# Puts a built hotredis into a Debian package and prints where it is.
#
#     packaging/build-deb.sh [--binary FILE] [--version VERSION] [--out DIRECTORY]
#
# By default target/release/hotredis, the version of Cargo.toml, and target/debian. Needs dpkg-deb and binutils, no
# root. The same input gives the same package: times come from SOURCE_DATE_EPOCH, or else from the last commit.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

fail() { echo "build-deb: $*" >&2; exit 1; }

binary=$target/release/hotredis
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
out=$target/debian
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 wants a value"
    case $1 in
    --binary) binary=$2 ;;
    --version) version=$2 ;;
    --out) out=$2 ;;
    *) fail "unknown argument '$1'" ;;
    esac
    shift 2
done
[ -x "$binary" ] || fail "$binary is not there: run 'make build' first ('make deb' does)"
for tool in dpkg-deb objdump strip; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install dpkg and binutils"
done
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)
fi
export SOURCE_DATE_EPOCH

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
put() { install -D -m "$1" "$2" "$tree/$3"; }

put 755 "$binary" usr/bin/hotredis
# Function names stay, for what a panic prints.
strip --strip-debug "$tree/usr/bin/hotredis"
put 644 "$root/packaging/hotredis.service" lib/systemd/system/hotredis.service
put 644 "$root/packaging/hotredis.sysusers" usr/lib/sysusers.d/hotredis.conf
put 644 "$root/packaging/hotredis.conf" etc/hotredis/hotredis.conf
put 644 "$root/LICENSE" usr/share/doc/hotredis/copyright
for document in README.md docs/operations.md docs/differences.md; do
    put 644 "$root/$document" "usr/share/doc/hotredis/$(basename "$document")"
done

# What the binary is linked with: libc6 by the newest of its symbol versions, and libgcc for unwinding.
# (Read in whole: a reader that left early would fail the pipe.)
headers=$(objdump -p -T "$tree/usr/bin/hotredis")
glibc=$(grep -o 'GLIBC_[0-9.]*' <<<"$headers" | sort -Vu | tail -1)
depends="libc6 (>= ${glibc#GLIBC_})"
if grep -q 'NEEDED.*libgcc_s' <<<"$headers"; then depends+=", libgcc-s1"; fi
architecture=$(dpkg --print-architecture)

chmod -R g-w,u+rwX,go+rX "$tree"
mkdir "$tree/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/$depends/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$tree" | cut -f1)/" \
    "$root/packaging/debian/control.in" >"$tree/DEBIAN/control"
install -m 644 "$root/packaging/debian/conffiles" "$tree/DEBIAN/conffiles"
install -m 755 "$root"/packaging/debian/{postinst,prerm,postrm} "$tree/DEBIAN"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) \
    >"$tree/DEBIAN/md5sums"
chmod 644 "$tree/DEBIAN/control" "$tree/DEBIAN/md5sums"

mkdir -p "$out"
package=$out/hotredis_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zgzip --build "$tree" "$package" >/dev/null
echo "$package"
