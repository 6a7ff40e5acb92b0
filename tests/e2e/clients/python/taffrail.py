"""Taffrail's own commands as a client program; driver.py says what one does. TAFFRAIL_BIN says which binary."""

import base64
import json
import os
import subprocess
import time

import driver
import tsv

TIMEOUT_S = 60


class Refused(Exception):
    pass


def taffrail(bootstrap, *arguments, stdin=None):
    done = subprocess.run([os.environ["TAFFRAIL_BIN"], *arguments, "-b", bootstrap], input=stdin,
                          capture_output=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise Refused(f"status {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


def packed(name, data):
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(data).decode()}


def unpacked(name, fields):
    if name + "_base64" in fields:
        return base64.b64decode(fields[name + "_base64"])
    return None if fields[name] is None else fields[name].encode()


def line(record):
    headers = [{"key": name, **packed("value", value)} for name, value in record.headers]
    return json.dumps({"partition": record.partition, "timestamp": record.timestamp, "headers": headers,
                       **packed("key", record.key), **packed("value", record.value)}).encode() + b"\n"


def produce(bootstrap, topic, codec, idempotent, records):
    if idempotent:
        taffrail(bootstrap, "topic", "create", topic, "-p", "3", "-c", "max.message.bytes=2097152")
    taffrail(bootstrap, "produce", topic, "--input", "json", "-z", codec, "--acks", "all" if idempotent else "1",
             "-X", f"enable.idempotence={str(idempotent).lower()}", "-X", "message.max.bytes=2097152",
             stdin=b"".join(map(line, records)))


def consume(bootstrap, topic):
    records = []
    for text in taffrail(bootstrap, "consume", topic, "--format", "json").splitlines():
        fields = json.loads(text)
        headers = [(header["key"], unpacked("value", header)) for header in fields["headers"]]
        records.append(tsv.Record(fields["partition"], fields["offset"], fields["timestamp"],
                                  unpacked("key", fields), unpacked("value", fields), headers))
    return records


# The words by which a command tells what went wrong, and Kafka's code for it.
REASONS = {"already exists": 36, "Topic name is invalid": 17, "Invalid value": 40, "Message size too large": 10}


def code_of(bootstrap, *arguments, stdin=None):
    """The error code a command failed with; 0 when it did not fail."""
    try:
        taffrail(bootstrap, *arguments, stdin=stdin)
        return 0
    except Refused as refused:
        return next((code for words, code in REASONS.items() if words in str(refused)), str(refused))


def admin(bootstrap, topic):
    def run(*arguments, **options):
        return taffrail(bootstrap, *arguments, **options).decode()

    def describe():
        return json.loads(run("topic", "describe", topic, "--format", "json"))[0]

    def partitions():
        return len(describe()["partitions"])

    def configs():
        entries = json.loads(run("config", "describe", "topic", topic, "--all", "--format", "json"))
        return {entry["key"]: entry["value"] for entry in entries}

    def first_offset(position):
        return json.loads(run("consume", topic, "-p", "1", "--from", position, "-n", "1", "--format", "json"))["offset"]

    run("topic", "create", topic, "-p", "3", "-c", "retention.ms=7200000", "-c", "max.message.bytes=2097152")
    run("topic", "create", topic + "-default")
    print("created.again", code_of(bootstrap, "topic", "create", topic), sep="=")
    print("created.badly", code_of(bootstrap, "topic", "create", "a/b"), sep="=")
    print("listed", topic in run("topic", "list", "--names").split(), sep="=")
    print("partitions", driver.until(3, partitions), sep="=")
    seen = configs()
    for name in ("retention.ms", "max.message.bytes", "segment.bytes"):
        print(name, seen[name], sep="=")
    run("config", "set", "topic", topic, "retention.ms=3600000")
    print("retention.ms.altered", configs()["retention.ms"], sep="=")
    print("altered.badly", code_of(bootstrap, "config", "set", "topic", topic, "retention.ms=soon"), sep="=")

    began = int(time.time() * 1000) - 60000
    five = [tsv.Record(1, None, began + i * 1000, None, b"x" * 10, []) for i in range(5)]
    run("produce", topic, "--input", "json", stdin=b"".join(map(line, five)))
    there = describe()["partitions"][1]
    print("offset.earliest", there["begin_offset"], sep="=")
    print("offset.latest", there["end_offset"], sep="=")
    print("offset.time", first_offset(f"@{began + 1500}"), sep="=")
    large = code_of(bootstrap, "produce", topic + "-default", "-X", "message.max.bytes=2097152", stdin=b"x" * 1048576)
    print("too.large", large, sep="=")
    run("topic", "alter", topic, "-p", "5")
    print("partitions.grown", driver.until(5, partitions), sep="=")
    run("topic", "delete", topic, topic + "-default")
    print("deleted", driver.until(True, lambda: topic not in run("topic", "list", "--names").split()), sep="=")


if __name__ == "__main__":
    driver.main(produce, consume, admin)
