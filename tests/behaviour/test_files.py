"""The same requests leave the same files: names, checkpoints, and the very bytes of logs and producer snapshots."""

import hashlib
import re

from scenario import PAST_MS, Scenario, codec, produce_body

# The files of Apache Kafka in a partition's folder; a broker may keep files of its own beside the folders.
PARTITION_FILES = re.compile(r"\d{20}\.(log|index|timeindex|snapshot|txnindex)$|leader-epoch-checkpoint$|partition\.metadata$")
TEXTS = {"leader-epoch-checkpoint", "partition.metadata", "recovery-point-offset-checkpoint",
         "replication-offset-checkpoint", "log-start-offset-checkpoint", "cleaner-offset-checkpoint"}


def sorted_checkpoint(text):
    """A checkpoint: version, count, then lines in no order."""
    lines = text.splitlines()
    return lines[:2] + sorted(line for line in lines[2:] if not line.startswith("__"))


def describe(path):
    if path.name in TEXTS:
        text = path.read_text()
        return sorted_checkpoint(text) if "offset-checkpoint" in path.name else text
    if path.suffix in (".log", ".snapshot"):
        content = path.read_bytes()
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return "has entries" if path.stat().st_size > 0 else "empty"


def test_files(env):
    with Scenario(env, "files", config={"node.id": "1"}) as s:
        s.create("fi-plain", "fi-idempotent", "fi-trimmed", partitions=2, segment_bytes=1048576)
        s.create("fi-small", segment_index_bytes=100)
        s.create("fi-compact", cleanup_policy="compact")
        s.create("fi-gone")

        def send(topic, i, count=10, size=100, **batch):
            records = [{"key": f"{i}-{j}", "value": {"repeat": "x", "count": size}, "timestamp": PAST_MS + i}
                       for j in range(count)]
            answer = s.ask("Produce", 9, produce_body(topic, codec().batch(records, **batch)))
            assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer

        for i in range(30):
            send("fi-plain", i, 100, 1000)
        for i in range(5):
            send("fi-small", i)
            send("fi-compact", i)
        for i in range(40):
            send("fi-idempotent", i, 50, 1000, producerId=1000 + i % 2, epoch=0, sequence=i // 2 * 50)
            send("fi-trimmed", i, 50, 1000)
        s.call("trim", "DeleteRecords", 2, {"timeoutMs": 5000, "topics": [
            {"name": "fi-trimmed", "partitions": [{"partitionIndex": 0, "offset": 1500}]}]})
        s.ask("CreatePartitions", 3, {"timeoutMs": 5000, "topics": [{"name": "fi-small", "count": 2, "assignments": None},
                                                                    {"name": "fi-compact", "count": 2, "assignments": None}]})
        s.ask("DeleteTopics", 6, {"timeoutMs": 5000, "topics": [{"name": "fi-gone"}]})
        s.settle()
        s.broker.stop()

        data = s.broker.data
        folders = sorted(p.name for p in data.iterdir() if p.is_dir())
        s.write("folders", [re.sub(r"\.[0-9a-f]{32}-delete", ".ID-delete", name) for name in folders])
        for folder in folders:
            if folder.startswith("fi-") and not folder.endswith("-delete"):
                for path in sorted((data / folder).iterdir()):
                    if PARTITION_FILES.search(path.name):
                        s.write(f"{folder}/{path.name}", describe(path))
        for name in ("recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"):
            s.write(name, describe(data / name) if (data / name).exists() else "absent")
        properties = dict(line.split("=", 1) for line in (data / "meta.properties").read_text().splitlines()
                          if not line.startswith("#"))
        s.write("meta.properties", {key: value if key in ("version", "node.id") else len(value)
                                    for key, value in sorted(properties.items())})
        s.write("clean shutdown file", (data / ".kafka_cleanshutdown").exists())
