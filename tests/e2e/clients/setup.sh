#!/bin/sh
# Installs the clients under test, each at its pinned version, into the cache folder. What is
# there already stays. Prints the folder.
#
# Needs these Debian packages: kcat openjdk-17-jdk-headless maven python3-venv
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../../.." && pwd)
home=${TAFFRAIL_CACHE:-$repo/.cache}/clients
mkdir -p "$home"

# fresh NAME FILE...: true when what NAME was last installed from differs from the files now.
fresh() {
    name=$1
    shift
    cat "$@" | sha256sum >"$home/$name.wanted"
    ! cmp -s "$home/$name.wanted" "$home/$name.installed"
}

installed() {
    mv "$home/$1.wanted" "$home/$1.installed"
}

venv() {
    if fresh "$1" "$2"; then
        rm -rf "${home:?}/$1"
        python3 -m venv "$home/$1"
        "$home/$1/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2
        installed "$1"
    fi
}

venv python "$here/requirements.txt"
venv python-old "$here/requirements-old.txt"

if fresh node "$here/requirements.txt" "$here/node/package.json"; then
    rm -rf "$home/node"
    mkdir -p "$home/node"
    cp "$here/node/package.json" "$home/node/"
    (cd "$home/node" && PATH=$home/python/bin:$PATH npm install --silent --no-package-lock --no-audit --no-fund >&2)
    installed node
fi

echo "$home"
