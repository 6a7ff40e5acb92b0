#!/bin/sh
# The differential test of the group coordinator's pure parts. The same groups are assigned by us and by
# Apache Kafka's assignors: range must agree to the partition, uniform must be balanced as well and
# move no more. Hashes of topics and groups must be equal, and of regular expressions both must accept
# the same and match the same topics. Exits 1 on a difference.
#
#   tests/coord/run.sh [DRIVER] [N] [SEED]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
driver=${1:-$repo/build/release/tests/coord/coord_driver}
count=${2:-5000}
seed=${3:-1}
[ -x "$driver" ] || { echo "$driver is missing: build it first" >&2; exit 2; }
libs=$("$repo/tests/e2e/kafka/fetch.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

javac -nowarn -cp "$libs/*" -d "$work" "$here/CoordDifferential.java"
"$driver" generate "$count" "$seed" >"$work/cases"
cat "$here/regexes.txt" >>"$work/cases"
"$driver" answer <"$work/cases" >"$work/ours"
java -Xmx512m -XX:+UseSerialGC -cp "$work:$libs/*" CoordDifferential <"$work/cases" >"$work/theirs"
"$driver" compare "$work/ours" "$work/theirs" <"$work/cases"
