"""Compaction as an operator sees it: it happens, its settings change while it runs, and what cannot be compacted says so."""

import http.client
import json
import subprocess
import time

from lib import paths, prometheus, runner

FAST = {
    "log.cleaner.backoff.ms": "50",
    "log.flush.offset.checkpoint.interval.ms": "200",
    "log.initial.task.delay.ms": "100",
    "log.retention.check.interval.ms": "200",
}
KEYS = 50
TOPIC = {"segment.bytes": "1048576", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01",
         "delete.retention.ms": "0", "file.delete.delay.ms": "100"}


class Node:
    def __init__(self, env, **config):
        self.metrics_port = env.port()
        self.broker = env.broker(kind="taffrail", config={
            "metrics.listeners": f"http://127.0.0.1:{self.metrics_port}", **FAST, **config})

    def cli(self, *words, stdin=b""):
        done = subprocess.run([paths.TAFFRAIL, *words, "-b", self.broker.bootstrap], input=stdin, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def metric(self, name, **labels):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        page = prometheus.Page(connection.getresponse().read().decode())
        connection.close()
        return page.get(name, **labels)

    def create(self, topic, **config):
        self.cli("topic", "create", topic, *(w for k, v in {**TOPIC, **config}.items() for w in ("--config", f"{k}={v}")))

    def alter(self, topic, *configs):
        self.cli("topic", "alter", topic, *(w for config in configs for w in ("--config", config)))

    def write(self, topic, rounds, size=1000):
        """Each key once in each round; the value says the round."""
        lines = [b"%d:%d %s\n" % (key, n, b"x" * size) for n in rounds for key in range(KEYS)]
        self.cli("produce", topic, "--key-separator", ":", stdin=b"".join(lines))

    def newest(self, topic):
        lines = self.cli("consume", topic, "--print", "key,value").decode().splitlines()
        records = [line.split("\t") for line in lines]
        return {key: value.split(" ")[0] for key, value in records}, len(records)

    def describe(self, topic):
        return json.loads(self.cli("topic", "describe", topic, "--format", "json"))[0]["partitions"][0]


def wait_for(what, condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_compaction_and_settings(env):
    if env.broker_kind != "taffrail":
        return
    node = Node(env)
    node.create("c")
    node.write("c", range(100))
    wait_for("nothing was compacted", lambda: node.metric("taffrail_compactions_total") > 0)
    wait_for("too much is left", lambda: node.newest("c")[1] < 40 * KEYS)
    assert node.newest("c")[0] == {str(key): "99" for key in range(KEYS)}
    assert node.metric("taffrail_compaction_read_bytes_total") > node.metric("taffrail_compaction_written_bytes_total") > 0
    # Another policy while it runs, and back again: what is not compacted stays, and then goes.
    node.alter("c", "cleanup.policy=delete")
    node.write("c", range(100, 200))
    passes = node.metric("taffrail_compactions_total")
    time.sleep(1.5)
    assert node.metric("taffrail_compactions_total") == passes
    assert node.newest("c")[1] >= 100 * KEYS
    node.alter("c", "cleanup.policy=compact,delete")
    wait_for("not compacted again", lambda: node.newest("c")[1] < 60 * KEYS)
    assert node.newest("c")[0] == {str(key): "199" for key in range(KEYS)}
    # By retention it goes altogether.
    node.alter("c", "retention.ms=1", "segment.ms=1")
    wait_for("retention does nothing", lambda: node.newest("c")[1] == 0)


def test_what_was_compacted_once_is_no_damage(env):
    """Gaps stay when the policy is 'delete' afterwards: a recovery of all segments must not take them for lost records."""
    if env.broker_kind != "taffrail":
        return
    node = Node(env)
    node.create("c")
    node.write("c", range(100))
    wait_for("too much is left", lambda: node.newest("c")[1] < 40 * KEYS)
    node.alter("c", "cleanup.policy=delete")
    node.write("c", range(100, 110))
    time.sleep(1)  # checkpoints are written
    before = node.newest("c")
    node.broker.kill()
    folder = node.broker.data
    assert " 0 " in (folder / "cleaner-offset-checkpoint").read_text()
    for file in [*folder.glob("taffrail-manifest-*"), folder / "recovery-point-offset-checkpoint"]:
        file.unlink()
    node.broker.start()
    assert node.newest("c") == before


def test_what_cannot_be_compacted_says_so(env):
    if env.broker_kind != "taffrail":
        return
    node = Node(env)
    node.create("c", **{"min.compaction.lag.ms": "3600000"})
    node.write("c", range(60))
    segment = sorted((node.broker.data / "c-0").glob("*.log"))[0]
    flip(segment, 500)
    assert "compaction_problem" not in node.describe("c")
    node.alter("c", "min.compaction.lag.ms=0")
    wait_for("no problem is told", lambda: "compaction_problem" in node.describe("c"))
    assert segment.name in node.describe("c")["compaction_problem"]
    assert "partition 0 cannot be compacted:" in node.cli("topic", "describe", "c").decode()
    wait_for("no metric", lambda: node.metric("taffrail_partition_uncompactable", topic="c", partition="0") == 1)
    assert node.metric("kafka_log_logcleanermanager_uncleanable_partitions_count") == 1
    assert node.metric("taffrail_compactions_failed_total") >= 1
    # It is left alone for a minute, and tried at once when its settings change.
    flip(segment, 500)
    node.alter("c", "delete.retention.ms=1")
    wait_for("not tried again", lambda: "compaction_problem" not in node.describe("c"))
    wait_for("not compacted", lambda: node.newest("c")[1] < 40 * KEYS)
    assert node.newest("c")[0] == {str(key): "59" for key in range(KEYS)}
    wait_for("the metric stays", lambda: node.metric("kafka_log_logcleanermanager_uncleanable_partitions_count") == 0)


@runner.timeout(60)
def test_compaction_is_throttled(env):
    if env.broker_kind != "taffrail":
        return
    node = Node(env, **{"log.cleaner.io.max.bytes.per.second": "2000000"})
    node.create("c", **{"min.compaction.lag.ms": "3600000"})
    node.write("c", range(160))
    node.alter("c", "min.compaction.lag.ms=0")
    begun = time.monotonic()
    wait_for("not compacted", lambda: node.metric("taffrail_compactions_total") > 0, 40)
    moved = node.metric("taffrail_compaction_read_bytes_total") + node.metric("taffrail_compaction_written_bytes_total")
    assert moved > 12e6, moved
    assert time.monotonic() - begun > moved / 2e6 - 2, "faster than it may be"


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))
