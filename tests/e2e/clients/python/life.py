"""Everything that changes a log at once: produce, roll, retention, compaction, DeleteRecords; and the check after it.

    life.py BOOTSTRAP

Four topics of one partition, each written by an idempotent producer of its own with acks=all until standard input ends,
whatever becomes of the broker meanwhile. "deleted" loses its beginning to DeleteRecords, "short" to retention.bytes,
"compacted" all but the newest record of each key, "both" to all of these. A reader watches where each log begins. Then
everything is read. A record that was acknowledged is where the acknowledgement said, unless it may be gone; none is there
twice; what was deleted never comes back; of each key the newest record is there. Prints what it counted as JSON. Exits
with 1, and says why, when any of this is not so.
"""

import json
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from logcheck import Wrong

SMALL = {"segment.bytes": "1048576", "retention.ms": "-1", "file.delete.delay.ms": "100"}
COMPACT = {"min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000"}
RETAINED_BYTES = 2 << 20
TOPICS = {
    "deleted": {**SMALL},
    "short": {**SMALL, "retention.bytes": str(RETAINED_BYTES)},
    "compacted": {**SMALL, **COMPACT, "cleanup.policy": "compact"},
    "both": {**SMALL, **COMPACT, "cleanup.policy": "compact,delete"},
}
DELETES = ("deleted", "both")
KEYS = 3000
FINISH_S = 120
RECORDS_EACH_S = 2500
FAST = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 0}


def content(number):
    """The value of a record: its number, and bytes that follow from it. Every ninth is a tombstone.

    So large that a segment is full, and there is something to compact, several times between two crashes.
    """
    return None if number % 9 == 8 else b"%d:" % number + bytes([number % 251]) * (50 + number * 7919 % 9000)


def key_of(number):
    return b"%d" % (number * 7907 % KEYS)


class Load:
    """Writes one topic; knows which number was acknowledged where. A tombstone says its number in a header."""

    def __init__(self, bootstrap, topic, codec):
        self.topic = topic
        self.next = 0
        self.offsets = {}
        self.failure = None
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "compression.type": codec,
            "linger.ms": 2, "retry.backoff.ms": 20, "message.timeout.ms": 3600000, "error_cb": self.on_error, **FAST})

    def on_error(self, error):
        if error.fatal():
            self.failure = f"{self.topic}: {error}"

    def on_delivery(self, number):
        def done(error, message):
            if error:
                self.failure = self.failure or f"{self.topic}: record {number} was not delivered: {error}"
            else:
                self.offsets[number] = message.offset()
        return done

    def run(self, stop):
        try:
            while not stop.is_set() and not self.failure:
                for _ in range(random.randrange(20) if len(self.producer) < 5000 else 0):
                    number = self.next
                    self.producer.produce(self.topic, partition=0, key=key_of(number), value=content(number),
                                          headers={"n": b"%d" % number}, on_delivery=self.on_delivery(number))
                    self.next += 1
                self.producer.poll(0)
                time.sleep(10 / RECORDS_EACH_S)
            if self.producer.flush(FINISH_S) and not self.failure:
                self.failure = f"{self.topic}: records were still on their way after {FINISH_S} s"
        except (KafkaException, BufferError) as failure:
            self.failure = f"{self.topic}: {failure}"


class Deleter:
    """Deletes the beginning of a topic now and then; knows up to where this was acknowledged, and asked for."""

    def __init__(self, bootstrap, load):
        self.load = load
        self.asked = self.done = 0
        self.admin = AdminClient({"bootstrap.servers": bootstrap, **FAST})

    def run(self, stop):
        while not stop.wait(random.uniform(0.02, 0.3)):
            end = len(self.load.offsets)
            below = max(0, end - random.randrange(500, 8000))
            if below <= self.asked:
                continue
            self.asked = below
            wanted = TopicPartition(self.load.topic, 0, below)
            try:
                self.admin.delete_records([wanted], request_timeout=3, operation_timeout=3)[wanted].result(4)
                self.done = below
            except Exception:  # noqa: BLE001  the broker died: it may have been done, or not
                pass


class Watcher:
    """Asks where the logs begin: never before what was deleted, never before where they began earlier."""

    def __init__(self, bootstrap, deleters):
        self.deleters = deleters
        self.starts = dict.fromkeys(TOPICS, 0)
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", **FAST})

    def look(self, timeout_s=1.0):
        for topic in TOPICS:
            least = max(self.starts[topic], self.deleters[topic].done if topic in self.deleters else 0)
            try:
                start, _end = self.consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=timeout_s)
            except KafkaException:
                continue
            if start < least:
                raise Wrong(f"{topic} begins at {start}, and began at, or was deleted up to, {least}")
            self.starts[topic] = start


def read_all(bootstrap, topic, start, end):
    """[(offset, key, number)] from the start to the end; a record's content is checked."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "enable.partition.eof": True, **FAST})
    consumer.assign([TopicPartition(topic, 0, start)])
    found, deadline = [], time.monotonic() + FINISH_S
    while time.monotonic() < deadline:
        for message in consumer.consume(2000, 0.2):
            if message.error():
                if message.error().name() == "_PARTITION_EOF" and consumer.position([TopicPartition(topic, 0)])[0].offset >= end:
                    return found
                if message.error().name() != "_PARTITION_EOF" and not message.error().retriable():
                    raise Wrong(f"{topic}: {message.error()}")
                continue
            number = int(dict(message.headers())["n"])
            if message.key() != key_of(number) or message.value() != content(number):
                raise Wrong(f"{topic} offset {message.offset()}: not what was written as record {number}")
            found.append((message.offset(), message.key(), number))
    raise Wrong(f"{topic}: not read to its end, {end}, in {FINISH_S} s")


def check_places(load, found):
    """Once each, in order, where the acknowledgement said."""
    before = (-1, -1)
    for offset, _key, number in found:
        if number <= before[1] or offset <= before[0]:
            raise Wrong(f"{load.topic}: record {number} at {offset} follows record {before[1]} at {before[0]}")
        if load.offsets.get(number, offset) != offset:
            raise Wrong(f"{load.topic}: record {number} was acknowledged at {load.offsets[number]}, and is at {offset}")
        before = (offset, number)


def check_dense(load, found, start):
    there = {number for _offset, _key, number in found}
    for number, offset in load.offsets.items():
        if offset >= start and number not in there:
            raise Wrong(f"{load.topic}: record {number}, acknowledged at {offset}, is lost; the log begins at {start}")
    if found and [offset for offset, _key, _number in found] != list(range(start, start + len(found))):
        raise Wrong(f"{load.topic}: the offsets have a gap")


def check_keys(load, found, start):
    newest = {}
    for number in range(load.next):
        newest[key_of(number)] = number
    kept = {key: number for _offset, key, number in found}
    for key, number in newest.items():
        offset = load.offsets.get(number)
        if offset is None or kept.get(key) == number:
            continue
        may_be_gone = offset < start or (content(number) is None and key not in kept)
        if not may_be_gone:
            raise Wrong(f"{load.topic}: key {key.decode()} has record {kept.get(key)}, and {number}, at {offset}, is newer")


def check_retained(found):
    held = sum(len(content(number) or b"") for _offset, _key, number in found)
    if held < RETAINED_BYTES // 2:
        raise Wrong(f"short: only {held} bytes are left, and it retains {RETAINED_BYTES}")


def check(bootstrap, loads, deleters, watcher):
    counted = {}
    watcher.look(FINISH_S)
    for topic, load in loads.items():
        if load.failure:
            raise Wrong(load.failure)
        if len(load.offsets) != load.next:
            raise Wrong(f"{topic}: {load.next} written, {len(load.offsets)} acknowledged")
        start, end = watcher.consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=FINISH_S)
        found = read_all(bootstrap, topic, start, end)
        check_places(load, found)
        if topic in ("deleted", "short"):
            check_dense(load, found, start)
        else:
            check_keys(load, found, start)
        if topic == "short":
            check_retained(found)
        if topic == "deleted" and start > deleters[topic].asked:
            raise Wrong(f"deleted begins at {start}, and {deleters[topic].asked} was asked for")
        counted[topic] = {"written": load.next, "kept": len(found), "start": start}
    return counted


def run(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap, **FAST})
    for made in admin.create_topics([NewTopic(t, 1, 1, config=c) for t, c in TOPICS.items()]).values():
        made.result(30)
    codecs = dict(zip(TOPICS, ["lz4", "none", "none", "zstd"]))
    loads = {topic: Load(bootstrap, topic, codecs[topic]) for topic in TOPICS}
    deleters = {topic: Deleter(bootstrap, loads[topic]) for topic in DELETES}
    watcher = Watcher(bootstrap, deleters)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in [*loads.values(), *deleters.values()]]
    for thread in threads:
        thread.start()
    print("running", flush=True)
    try:
        while any(thread.is_alive() for thread in threads):
            watcher.look()
            time.sleep(0.02)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return check(bootstrap, loads, deleters, watcher)


if __name__ == "__main__":
    try:
        print(json.dumps(run(*sys.argv[1:])))
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        sys.exit(1)
