#!/bin/sh
# The differential batch test. Batches built by us and by Apache Kafka are read by both, field by
# field; damaged batches are judged by our check and by Kafka's validator, and the error codes, record
# indexes and timestamps compared. Exits 1 on a difference.
#
#   tests/batch/run.sh [DRIVER] [N] [SEED]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
driver=${1:-$repo/build/release/tests/batch/batch_driver}
count=${2:-20000}
seed=${3:-1}
[ -x "$driver" ] || { echo "$driver is missing: build it first" >&2; exit 2; }
libs=$("$repo/tests/e2e/kafka/fetch.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

javac -nowarn -cp "$libs/*" -d "$work" "$here/BatchDifferential.java"
kafka() {
    java -Xmx512m -XX:+UseSerialGC -cp "$work:$libs/*" BatchDifferential "$@"
}

status=0
"$driver" generate $((count / 10)) "$seed" >"$work/batches"
kafka generate $((count / 10)) "$seed" >>"$work/batches"
"$driver" describe <"$work/batches" >"$work/ours"
kafka describe <"$work/batches" >"$work/theirs"
if cmp "$work/ours" "$work/theirs"; then
    echo "read $(wc -l <"$work/ours") batches: no difference"
else
    status=1
fi

"$driver" damage "$count" "$seed" >"$work/cases"
"$driver" judge <"$work/cases" >"$work/ours"
kafka judge <"$work/cases" >"$work/theirs"
"$driver" compare "$work/ours" "$work/theirs" <"$work/cases" || status=1
exit $status
