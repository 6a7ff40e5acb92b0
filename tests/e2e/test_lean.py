"""An idle broker is small, because it loads what most brokers never use only where it is used."""

import os
import pathlib
import subprocess
import time

from lib import paths

IDLE_BYTES_MAX = 10_000_000
LATE = ("libmicrohttpd.so.12", "librdkafka.so.1")


def test_idle_broker_is_small(env):
    if env.broker_kind != "taffrail":
        return
    broker = env.broker()
    time.sleep(2)
    process = pathlib.Path(f"/proc/{broker.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    resident = int(status["VmRSS"].split()[0]) * 1024
    assert resident <= IDLE_BYTES_MAX, f"{resident / 1e6:.1f} MB resident"
    mapped = (process / "maps").read_text()
    assert "libc.so" in mapped and not [name for name in LATE if name in mapped], mapped


def test_missing_library_is_named(env):
    """What needs it says so and how to get it; all else works without."""
    if env.broker_kind != "taffrail":
        return
    broken = env.tmp / "broken-libraries"
    broken.mkdir()
    for name in LATE:
        (broken / name).write_bytes(b"")

    def run(*words):
        return subprocess.run([paths.TAFFRAIL, *map(str, words)], capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, env={**os.environ, "LD_LIBRARY_PATH": str(broken)})

    broker = env.broker()
    refused = run("topic", "list", "-b", broker.bootstrap)
    assert refused.returncode == 1, refused
    assert "librdkafka.so.1" in refused.stderr and "package librdkafka1" in refused.stderr, refused.stderr
    described = run("cluster", "info", "-b", broker.bootstrap)
    assert described.returncode == 0, described
    refused = run("serve", "--override", f"log.dirs={env.tmp / 'never'}",
                  "--override", f"listeners=PLAINTEXT://127.0.0.1:{env.port()}",
                  "--override", f"metrics.listeners=http://127.0.0.1:{env.port()}")
    assert refused.returncode == 1, refused
    assert "libmicrohttpd.so.12" in refused.stderr and "package libmicrohttpd12" in refused.stderr, refused.stderr
