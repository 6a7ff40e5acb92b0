"""A connection that speaks a few old, plain versions of Kafka's requests, to misbehave with.

No client library would send what the tests of bad input send, or keep a connection and not read from it.
"""

import gzip
import socket
import struct
import time

from . import wire

PRODUCE, FETCH, METADATA, API_VERSIONS, CREATE_TOPICS = 0, 1, 3, 18, 19
UNKNOWN_TOPIC, NOT_LEADER = 3, 6
GZIP = 1


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC32C_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(number):
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def sized(data):
    return struct.pack(">i", len(data)) + data


def record(delta, value, timestamp_delta=0):
    """A record without key and headers."""
    body = b"\0" + varint(timestamp_delta) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def batch(records, count, codec=0, timestamp=-1):
    """A record batch of version 2 around records that are packed already."""
    packed = gzip.compress(records, 6) if codec == GZIP else records
    checked = struct.pack(">hiqqqhii", codec, count - 1, timestamp, timestamp, -1, -1, -1, count) + packed
    head = struct.pack(">ibI", -1, 2, crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def values_batch(values, codec=0):
    return batch(b"".join(record(i, value) for i, value in enumerate(values)), len(values), codec)


class Failed(Exception):
    """An error code that the broker answered with."""

    def __init__(self, code):
        super().__init__(f"error code {code}")
        self.code = code


class Connection:
    def __init__(self, broker, timeout_s=10, receive_buffer=None, source=None):
        self.socket = socket.socket()
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect((broker.host, broker.port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, api_key, version, body):
        self.socket.sendall(sized(struct.pack(">hhi", api_key, version, 7) + string("e2e") + body))

    def receive(self):
        """An answer after its correlation id."""
        (size,) = struct.unpack(">i", wire.receive(self.socket, 4))
        return wire.receive(self.socket, size)[4:]

    def call(self, api_key, version, body):
        self.send(api_key, version, body)
        return self.receive()

    def broker_count(self):
        return struct.unpack_from(">i", self.call(METADATA, 1, struct.pack(">i", 0)))[0]

    def create_topic(self, topic, partitions=1, config=None):
        entries = b"".join(string(key) + string(value) for key, value in (config or {}).items())
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">ihi", partitions, 1, 0)
        body += struct.pack(">i", len(config or {})) + entries + struct.pack(">ib", 10000, 0)
        answer = self.call(CREATE_TOPICS, 2, body)
        (code,) = struct.unpack_from(">h", answer, 8 + 2 + len(topic))
        if code:
            raise Failed(code)
        for partition in range(partitions):
            self.await_leader(topic, partition)

    def await_leader(self, topic, partition):
        """Apache Kafka answers CreateTopics a moment before its partitions are there."""
        deadline = time.monotonic() + 10
        while True:
            try:
                self.fetch(topic, 0, partition)
                return
            except Failed as failed:
                if failed.code not in (UNKNOWN_TOPIC, NOT_LEADER) or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def produce(self, topic, records, partition=0, acks=-1):
        """The offset of the batch."""
        body = struct.pack(">hhii", -1, acks, 10000, 1) + string(topic) + struct.pack(">ii", 1, partition) + sized(records)
        answer = self.call(PRODUCE, 3, body)
        code, offset = struct.unpack_from(">hq", answer, 4 + 2 + len(topic) + 4 + 4)
        if code:
            raise Failed(code)
        return offset

    @staticmethod
    def fetch_body(topic, offset, partition=0, max_bytes=1 << 20, max_wait_ms=0, min_bytes=0):
        body = struct.pack(">iiiibi", -1, max_wait_ms, min_bytes, max_bytes, 0, 1) + string(topic)
        return body + struct.pack(">iiqi", 1, partition, offset, max_bytes)

    def fetch(self, topic, offset, partition=0, max_bytes=1 << 20):
        """(high watermark, bytes of record batches)"""
        answer = self.call(FETCH, 4, self.fetch_body(topic, offset, partition, max_bytes))
        at = 4 + 4 + 2 + len(topic) + 4 + 4
        code, high_watermark = struct.unpack_from(">hq", answer, at)
        if code:
            raise Failed(code)
        (aborted,) = struct.unpack_from(">i", answer, at + 18)
        at += 22 + 16 * max(aborted, 0)
        (size,) = struct.unpack_from(">i", answer, at)
        return high_watermark, answer[at + 4:at + 4 + max(size, 0)]

    def read_all(self, topic, partition=0):
        """(base offset, batch) of the whole partition."""
        batches, offset = [], 0
        while True:
            high_watermark, data = self.fetch(topic, offset, partition)
            at = 0
            while at + 12 <= len(data):
                base, length = struct.unpack_from(">qi", data, at)
                if at + 12 + length > len(data):
                    break
                (last_delta,) = struct.unpack_from(">i", data, at + 23)
                batches.append((base, data[at:at + 12 + length]))
                offset = base + last_delta + 1
                at += 12 + length
            if offset >= high_watermark:
                return batches
            assert at, f"no batch at offset {offset} below the high watermark {high_watermark}"
