"""Kafka's console consumer as a client program; driver.py says what one does. It does not write. KAFKA_LIBS is its folder."""

import os
import re
import subprocess

import driver
import tsv

TIMEOUT_MS = 30000
SEPARATOR, HEADERS_SEPARATOR, NULL = "\t", "\\,", "neither here nor there"
FIELDS = ("timestamp", "partition", "offset", "headers", "key", "value")
# Bytes are printed as they are if they are letters and the like, else as \xHH: a backslash never stands for itself.
BYTES = "org.apache.kafka.common.serialization.BytesDeserializer"


def unpacked(text):
    if text == NULL:
        return None
    return re.sub(r"\\x([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text).encode("latin-1")


def unpacked_headers(text):
    pairs = [] if text == "NO_HEADERS" else [pair.split(":", 1) for pair in text.split(HEADERS_SEPARATOR)]
    return [(name, unpacked(value)) for name, value in pairs]


def parse(line):
    timestamp, partition, offset, headers, key, value = line.split(SEPARATOR)
    return tsv.Record(int(partition.removeprefix("Partition:")), int(offset.removeprefix("Offset:")),
                      int(timestamp.removeprefix("CreateTime:")), unpacked(key), unpacked(value), unpacked_headers(headers))


def group(bootstrap, topic, name, count):
    """The group's name ends with its protocol's."""
    properties = {**{f"print.{field}": "true" for field in FIELDS}, "key.separator": SEPARATOR,
                  "headers.separator": HEADERS_SEPARATOR, "null.literal": NULL,
                  "key.deserializer": BYTES, "value.deserializer": BYTES, "headers.deserializer": BYTES}
    command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", f"{os.environ['KAFKA_LIBS']}/*",
               "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap, "--topic", topic,
               "--group", name, "--from-beginning", "--max-messages", str(count), "--timeout-ms", str(TIMEOUT_MS),
               "--command-property", f"group.protocol={name.rsplit('-', 1)[1]}"]
    for key, value in properties.items():
        command += ["--formatter-property", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}"
    return [parse(line) for line in done.stdout.decode().splitlines() if line.startswith("CreateTime:")]


if __name__ == "__main__":
    driver.main(None, None, group=group)
