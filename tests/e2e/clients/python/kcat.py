"""kcat as a client program; driver.py says what one does. The topics must exist.

One kcat run gives all its records the same headers and cannot mix tombstones with
empty values, and kcat has no way to set a timestamp: a plan for it heeds that.
"""

import itertools
import re
import subprocess

import driver
import tsv

RECORD_END = b"<~end of record~>"
KEY_END = b"<~end of key~>"
HEADERS_END = b"<~end of headers~>"
TIMEOUT_S = 30


def kcat(arguments, stdin=b""):
    done = subprocess.run(["kcat", *arguments], input=stdin, capture_output=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"kcat ended with status {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


def produce(bootstrap, topic, codec, idempotent, records):
    for partition in sorted({r.partition for r in records}):
        mine = [r for r in records if r.partition == partition]
        for (headers, tombstones), run in itertools.groupby(mine, lambda r: (tuple(r.headers), r.value is None)):
            options = [f"-H{name}={value.decode('latin-1')}" for name, value in headers] + (["-Z"] if tombstones else [])
            lines = [r.key + KEY_END + (r.value or b"") + RECORD_END for r in run]
            kcat(["-P", "-b", bootstrap, "-t", topic, "-p", str(partition), "-z", codec,
                  "-D", RECORD_END.decode(), "-K", KEY_END.decode(),
                  "-X", f"enable.idempotence={str(idempotent).lower()}", "-X", f"acks={'all' if idempotent else 1}",
                  "-X", "message.max.bytes=2097152", *options], b"".join(lines))


def parse(output):
    """Records of the format that consume() asks for."""
    records, at = [], 0
    while at < len(output):
        end = output.index(b"\n", at)
        partition, offset, timestamp, key_length, value_length = map(int, output[at:end].split())
        at = end + 1
        key = None if key_length < 0 else output[at:at + key_length]
        at += max(key_length, 0)
        value = None if value_length < 0 else output[at:at + value_length]
        at += max(value_length, 0)
        end = output.index(HEADERS_END, at)
        # A value may hold a comma, a name here is of letters and dashes only.
        parts = re.split(rb"(?:^|,)([a-z-]+)=", output[at:end])[1:]
        headers = [(parts[i].decode(), None if parts[i + 1] == b"NULL" else parts[i + 1])
                   for i in range(0, len(parts), 2)]
        at = end + len(HEADERS_END)
        records.append(tsv.Record(partition, offset, timestamp, key, value, headers))
    return records


def consume(bootstrap, topic):
    output = kcat(["-C", "-q", "-e", "-b", bootstrap, "-t", topic, "-o", "beginning", "-X", "fetch.wait.max.ms=50",
                   "-f", "%p %o %T %K %S\n%k%s%h" + HEADERS_END.decode()])
    return parse(output)


def group(bootstrap, topic, name, count):
    """It commits what it printed when it ends."""
    output = kcat(["-q", "-c", str(count), "-b", bootstrap, "-X", "auto.offset.reset=earliest", "-X", "fetch.wait.max.ms=50",
                   "-f", "%p %o %T %K %S\n%k%s%h" + HEADERS_END.decode(), "-G", name, topic])
    return parse(output)


def admin(bootstrap, topic):
    """What kcat can ask: metadata, and the offset at a timestamp."""
    listing = kcat(["-L", "-b", bootstrap]).decode()
    print("listed", f'topic "{topic}"' in listing, sep="=")
    print("partitions", kcat(["-L", "-b", bootstrap, "-t", topic]).decode().count("    partition "), sep="=")
    kcat(["-P", "-b", bootstrap, "-t", topic, "-p", "1"], b"one\ntwo\nthree\n")
    query = {"offset.earliest": "-2", "offset.latest": "-1"}
    for name, timestamp in query.items():
        answer = kcat(["-Q", "-b", bootstrap, "-t", f"{topic}:1:{timestamp}"]).decode()
        print(name, re.search(r"offset (\d+)", answer).group(1), sep="=")


if __name__ == "__main__":
    driver.main(produce, consume, admin, group)
