"""What the clients carry: real files cut into records, and the check that they arrived.

Three files of very different kinds (text, machine code, an archive) make one stream
that is cut into records of many sizes, from one byte to exactly 1 MiB. A header says
where in the stream a record's value belongs. In between go tombstones and empty
values. Every partition of a topic gets its share.
"""

import hashlib
import pathlib
import random
import sys
import time

from lib import paths

sys.path.append(str(pathlib.Path(__file__).parent / "python"))
import tsv  # noqa: E402

PARTITIONS = 3
MIB = 1 << 20


def files():
    libraries = sorted(pathlib.Path("/lib").glob("*-linux-gnu/libc.so.6"))
    archives = sorted(paths.kafka_libs().glob("kafka_2.13-*.jar"))
    return [paths.REPO / "LICENSE", libraries[0], archives[0]]


def stream():
    return b"".join(path.read_bytes() for path in files())


def cuts(data, rng):
    """(position, length) of each piece: the text by small pieces, the rest by all sizes and 1 MiB."""
    text_end = files()[0].stat().st_size
    at, whole = 0, 2
    while at < len(data):
        if at < text_end:
            length = min(rng.choice((1, 20, 40, 80)), text_end - at)
        elif whole and at > text_end + 100000 * (3 - whole) ** 3:
            length, whole = MIB, whole - 1
        else:
            length = int(10 ** rng.uniform(0, 4.6))
        length = min(length, len(data) - at)
        yield at, length
        at += length


class Plan:
    """The records to write, by partition in the order of their offsets, and how to compare what is read."""

    def __init__(self, uniform_headers=False, timestamps=True, null_headers=True, null_keys=True):
        """The flags say what a client can express; uniform_headers also sends tombstones in one row."""
        rng = random.Random(4)
        self.data = stream()
        self.timestamps = timestamps
        self.uniform_headers = uniform_headers
        self.null_keys = null_keys
        base_ms = int(time.time() * 1000) - 1800000
        pieces = list(cuts(self.data, rng))
        self.records = []
        for i, (at, length) in enumerate(pieces):
            partition = rng.randrange(PARTITIONS)
            headers = [("at", str(at).encode()), ("raw", bytes([0, 255, i % 256]))]
            if null_headers and i % 5 == 0:
                headers += [("none", None)]
            if i % 7 == 0:
                headers += [("empty", b"")]
            key = None if null_keys and i % 11 == 0 else f"key {i}".encode()
            self.add(partition, i, base_ms, key, self.data[at:at + length], headers)
            if i % 20 == 3:
                self.add(partition, i, base_ms, f"empty {i}".encode(), b"", [])
            if i % 20 == 13:
                self.add(partition, i, base_ms, f"gone {i}".encode(), None, [("why", b"tombstone")])
        if uniform_headers:
            self.records.sort(key=lambda r: (r.partition, r.value is None))
        assert sum(len(r.value or b"") == MIB for r in self.records) == 2

    def add(self, partition, i, base_ms, key, value, headers):
        # Neighbours are out of order by up to 45 ms: a batch's largest timestamp is often not its last.
        timestamp = base_ms + i * 10 + (i * 7919) % 50 if self.timestamps else None
        if self.uniform_headers:
            headers = [("partition", str(partition).encode()), ("kind", b"tombstone" if value is None else b"piece")]
        self.records.append(tsv.Record(partition, None, timestamp, key, value, headers))

    def write(self, path):
        tsv.write(path, self.records)

    def check(self, got, wrote_at_ms, view=lambda record: record):
        """Fails unless `got` is the plan, record by record. `view` is how the reading client shows a record."""
        for partition in range(PARTITIONS):
            wanted = [r for r in self.records if r.partition == partition]
            have = [r for r in got if r.partition == partition]
            offsets = [r.offset for r in have]
            assert offsets == list(range(len(wanted))), \
                f"partition {partition}: {len(wanted)} records written, offsets read are {summary(offsets)}"
            for want, record in zip(wanted, have):
                self.check_record(view(want), record, wrote_at_ms)
        assert len(got) == len(self.records), f"{len(got)} records read, {len(self.records)} written"
        self.check_files(got)

    def check_record(self, want, have, wrote_at_ms):
        where = f"partition {have.partition} offset {have.offset}"
        assert have.key == want.key, f"{where}: key {have.key!r}, wanted {want.key!r}"
        assert have.headers == want.headers, f"{where}: headers {have.headers!r}, wanted {want.headers!r}"
        assert (have.value is None) == (want.value is None), \
            f"{where}: a value of {describe(have.value)}, wanted {describe(want.value)}"
        assert have.value == want.value, f"{where}: value of {describe(have.value)} differs from {describe(want.value)}"
        if want.timestamp is not None:
            assert have.timestamp == want.timestamp, f"{where}: timestamp {have.timestamp}, wanted {want.timestamp}"
        else:
            first, last = wrote_at_ms
            assert first - 1000 <= have.timestamp <= last + 1000, f"{where}: timestamp {have.timestamp} of another time"

    def check_files(self, got):
        """Puts the stream together again from what was read, and compares the files' SHA-256."""
        back = bytearray(len(self.data))
        if self.uniform_headers:
            # No header says where a piece goes: the keys do, they number the pieces.
            pieces = sorted((int(r.key.split()[1]), r.value) for r in got if r.key.startswith(b"key "))
            back = b"".join(value for _, value in pieces)
        else:
            for record in got:
                at = dict(record.headers).get("at")
                if at is not None:
                    back[int(at):int(at) + len(record.value)] = record.value
        start = 0
        for path in files():
            size = path.stat().st_size
            wanted = hashlib.sha256(path.read_bytes()).hexdigest()
            have = hashlib.sha256(back[start:start + size]).hexdigest()
            assert have == wanted, f"{path} has SHA-256 {wanted}, what came back has {have}"
            start += size


def describe(value):
    return "null" if value is None else f"{len(value)} bytes"


def summary(numbers):
    if len(numbers) < 20:
        return numbers
    return f"{len(numbers)} of them, {numbers[:5]}...{numbers[-5:]}"
