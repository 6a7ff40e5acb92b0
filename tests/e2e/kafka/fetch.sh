#!/bin/sh
# Fetches Apache Kafka's jars (the version pinned in pom.xml) with Maven, once.
# They are the reference that the end-to-end tests compare with, and the Java
# client and tools that they run. Prints the folder that holds the jars.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../../.." && pwd)
cache=${TAFFRAIL_CACHE:-$repo/.cache}
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
home=$cache/kafka-$version
stamp=$home/fetched

if [ -f "$stamp" ] && cmp -s "$stamp" "$here/pom.xml"; then
    echo "$home/libs"
    exit 0
fi

fresh=$home/libs.$$
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"
mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$fresh" -DincludeScope=runtime >&2
rm -rf "$home/libs"
mv "$fresh" "$home/libs"
cp "$here/pom.xml" "$stamp"
echo "$home/libs"
