"""What compaction leaves, record for record and batch for batch, is what Apache Kafka leaves of the same log.

Apache Kafka writes a log with transactions, aborted ones among them, tombstones and producers of every kind, and does not
compact it. Of two copies each broker compacts one; kafka-dump-log must tell the same of both. Then both get the same newer
records and compact again, twice: tombstones, and markers of which nothing is left, get their time and go.
"""

import re
import shutil
import subprocess
import time

from lib import brokers, paths, runner

from test_clients import python

TOPIC = "rules"
CONFIG = {"segment.bytes": "1048576", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001",
          "delete.retention.ms": "1", "file.delete.delay.ms": "100"}
NOT_YET = {"log.cleaner.backoff.ms": "3600000"}
FAST = {"log.cleaner.backoff.ms": "100", "log.flush.offset.checkpoint.interval.ms": "300",
        "log.retention.check.interval.ms": "3600000"}
TOLD = re.compile(r"(baseOffset|lastOffset|count|baseSequence|lastSequence|producerId|producerEpoch|isTransactional|isControl"
                  r"|offset|keySize|valueSize|sequence|endTxnMarker|deleteHorizonMs): (\S+)")


def write(broker, what):
    subprocess.run([*python("keyed.py"), what, broker.bootstrap, TOPIC], check=True, timeout=120, stdout=subprocess.DEVNULL)


def allow(broker, is_allowed):
    """Compaction waits while records are written: how many passes there are must not depend on the time that takes."""
    subprocess.run([paths.TAFFRAIL, "topic", "alter", TOPIC, "-b", broker.bootstrap,
                    "--config", f"min.compaction.lag.ms={0 if is_allowed else 3600000}"], check=True, capture_output=True)


def folder(broker):
    return broker.data / f"{TOPIC}-0"


def segments(broker):
    return sorted(folder(broker).glob("*.log"))


def wait_compacted(broker):
    """Until the checkpoint says that all but the active segment was compacted."""
    deadline = time.monotonic() + 60
    checkpoint = broker.data / "cleaner-offset-checkpoint"
    while True:
        done = re.search(rf"^{TOPIC} 0 (\d+)$", checkpoint.read_text(), re.M) if checkpoint.exists() else None
        if done and int(done.group(1)) == int(segments(broker)[-1].stem):
            return
        assert time.monotonic() < deadline, f"{broker.name} does not compact: {done and done.group(0)}\n{broker.log_tail()}"
        time.sleep(0.2)


def wait_flushed(broker):
    """Until all but the active segment is on the disk: we compact what is, and would need two passes for the rest."""
    deadline = time.monotonic() + 60
    while True:
        checkpoint = broker.data / "recovery-point-offset-checkpoint"
        done = re.search(rf"^{TOPIC} 0 (\d+)$", checkpoint.read_text(), re.M) if checkpoint.exists() else None
        if done and int(done.group(1)) >= int(segments(broker)[-1].stem):
            return
        assert time.monotonic() < deadline, f"{broker.name} does not flush: {done and done.group(0)}\n{broker.log_tail()}"
        time.sleep(0.2)


def dump(broker):
    """What is told of each batch and record below the active segment. A horizon is there or not; its time differs."""
    done = subprocess.run(
        ["java", *brokers.JAVA_OPTIONS, "-cp", f"{paths.kafka_libs()}/*", "org.apache.kafka.tools.DumpLogSegments",
         "--print-data-log", "--files", ",".join(map(str, segments(broker)[:-1]))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=True)
    rows = []
    for line in done.stdout.splitlines():
        if "ffset: " not in line or "isvalid: false" in line:
            assert "isvalid: false" not in line, line
            continue
        row = dict(TOLD.findall(line.split(" payload: ")[0]))
        if "deleteHorizonMs" in row:
            row["deleteHorizonMs"] = "empty" not in row["deleteHorizonMs"]
        rows.append(tuple(sorted(row.items())))
    return rows


def compare(kafka, taffrail, when):
    theirs, ours = dump(kafka), dump(taffrail)
    assert len(theirs) > 20, theirs
    extra, missing = [r for r in ours if r not in theirs], [r for r in theirs if r not in ours]
    assert ours == theirs, f"{when}: only here {extra[:5]}; only there {missing[:5]}"
    return len(theirs), sum(dict(row).get("isControl") == "true" for row in theirs)


@runner.timeout(300)
def test_same_as_kafka(env):
    if env.broker_kind != "taffrail":
        return
    kafka = env.broker(kind="kafka", name="kafka", config=NOT_YET)
    subprocess.run([paths.TAFFRAIL, "topic", "create", TOPIC, "-b", kafka.bootstrap,
                    *(w for k, v in CONFIG.items() for w in ("--config", f"{k}={v}"))], check=True, capture_output=True)
    write(kafka, "transactions")
    kafka.stop()
    taffrail = brokers.Taffrail(env.tmp / "taffrail", env.port(2), FAST)
    env.own.append(taffrail)
    shutil.copytree(kafka.data, taffrail.data)
    kafka.config.update(FAST)
    kafka.start()
    wait_compacted(kafka)
    taffrail.start()
    wait_compacted(taffrail)
    told = [compare(kafka, taffrail, "after the first pass")]
    for number in (2, 3):
        for broker in (kafka, taffrail):
            allow(broker, False)
            write(broker, "plain")
            wait_flushed(broker)
            allow(broker, True)
            wait_compacted(broker)
        told.append(compare(kafka, taffrail, f"after pass {number}"))
    assert told[-1][1] < told[0][1], f"no marker went: {told}"
    print(f"      lines and markers: {told}")
