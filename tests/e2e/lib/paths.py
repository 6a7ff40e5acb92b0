"""Where things are: the repository, the cache of downloads, the build folder."""

import functools
import os
import pathlib
import subprocess

REPO = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(os.environ.get("TAFFRAIL_CACHE", REPO / ".cache"))
BUILD = REPO / "build" / "e2e"
TAFFRAIL = pathlib.Path(os.environ.get("TAFFRAIL_BIN", REPO / "build" / "release" / "taffrail"))
# The broker, where that is to be another build than the commands: librdkafka's threads do not start under TSan.
BROKER = pathlib.Path(os.environ.get("TAFFRAIL_BROKER_BIN", TAFFRAIL))


@functools.cache
def kafka_libs():
    """The folder with Apache Kafka's jars; fetches them when they are missing."""
    script = REPO / "tests" / "e2e" / "kafka" / "fetch.sh"
    done = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(done.stdout.strip())


@functools.cache
def clients_home():
    """The folder that holds the installed clients; installs them when they are missing."""
    script = REPO / "tests" / "e2e" / "clients" / "setup.sh"
    done = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(done.stdout.strip())


def java_classes(source_folder):
    """Compiles the .java files of a folder against Kafka's jars, when they changed; the class path."""
    source_folder = pathlib.Path(source_folder)
    sources = sorted(source_folder.glob("*.java"))
    out = BUILD / "java" / source_folder.relative_to(REPO)
    stamp = out / "compiled"
    libs = kafka_libs()
    newest = max(s.stat().st_mtime for s in sources)
    if not stamp.exists() or stamp.stat().st_mtime < newest:
        out.mkdir(parents=True, exist_ok=True)
        subprocess.run(["javac", "-nowarn", "-proc:none", "-d", out, "-cp", f"{libs}/*", *sources], check=True)
        stamp.touch()
    return f"{out}:{libs}/*"
