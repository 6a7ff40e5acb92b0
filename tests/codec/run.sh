#!/bin/sh
# The differential codec test: for each API, version and direction, and for each record of the
# internal topics and the metadata log, random messages go through Apache Kafka's own classes and
# through ours, both ways. Exits 1 if one byte or one field differs.
#
#   tests/codec/run.sh [DRIVER] [N] [SEED]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
driver=${1:-$repo/build/release/tests/codec/codec_driver}
count=${2:-40}
seed=${3:-1}
[ -x "$driver" ] || { echo "$driver is missing: build it first" >&2; exit 2; }
libs=$("$repo/tests/e2e/kafka/fetch.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

javac -nowarn -cp "$libs/*" -d "$work" "$here/Differential.java"
"$driver" list >"$work/list"
"$driver" generate "$count" "$seed" >"$work/ours"
status=0
java -Xmx512m -XX:+UseSerialGC -cp "$work:$libs/*" Differential \
    "$work/list" "$work/ours" "$work/theirs" "$count" "$seed" || status=1
"$driver" check <"$work/theirs" || status=1
exit $status
