#!/bin/sh
# Installs the clients under test, each at its pinned version, into the cache folder. What is
# there already stays. Prints the folder.
#
# Needs these Debian packages: kcat openjdk-17-jdk-headless maven python3-venv golang-go
# (any Go from 1.19 on: it only has to fetch the version that the modules ask for).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../../.." && pwd)
home=${TAFFRAIL_CACHE:-$repo/.cache}/clients
mkdir -p "$home"
exec 9>"$home/lock"
flock 9

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

# Older Java clients: what most installed programs have. The libraries they call are those of Apache Kafka's folder.
for version in $(cat "$here/java/older-versions"); do
    if [ ! -f "$home/java/kafka-clients-$version.jar" ]; then
        mvn --quiet --batch-mode -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
            -Dartifact="org.apache.kafka:kafka-clients:$version" -DoutputDirectory="$home/java" >&2
    fi
done

# The Go toolchain is a module like any other: an old Go can fetch it, and cannot keep its files executable.
go_version=$(sed -n 's/^toolchain go//p' "$here/go/go.mod")
export GOPATH="$home/go" GOCACHE="$home/go-build" GOFLAGS=-modcacherw GOTOOLCHAIN=local
go_root=$home/go/pkg/mod/golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)
if [ ! -x "$go_root/bin/go" ]; then
    (cd "$home" && go mod download "golang.org/toolchain@$(basename "$go_root" | sed 's/^toolchain@//')" >&2)
    chmod +x "$go_root"/bin/* "$go_root"/pkg/tool/*/*
fi
if fresh go "$here"/go/*; then
    (cd "$here/go" && "$go_root/bin/go" build -o "$home/go-clients" . >&2)
    installed go
fi

echo "$home"
