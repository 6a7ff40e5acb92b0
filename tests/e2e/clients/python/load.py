"""Idempotent producers under load, a reader that follows them, and the check of what the log holds.

    load.py BOOTSTRAP TOPIC [power]

Two producers (one compresses) write numbered records to every partition, with acks=all, until standard
input ends; whatever becomes of the broker meanwhile. Then everything is read. Each partition must hold
offsets without a gap and each producer's numbers 0, 1, 2... once each and in order; each record that was
acknowledged must be where the acknowledgement said; what the reader saw on the way must still be there.
With `power` nobody reads on the way: a power cut may take what was read before it was acknowledged.
Prints what it counted as JSON. Exits with 1, and says why, when any of this is not so.
"""

import json
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from logcheck import Wrong, check

PARTITIONS = 3
FINISH_S = 120
RECORDS_EACH_S = 3000


def content(number):
    """The value of a producer's record: its number, and bytes that follow from it."""
    return b"%d:" % number + bytes([number % 251]) * (50 + number * 7919 % 1500)


class Load:
    """One idempotent producer; of what it wrote, what was acknowledged and where."""

    def __init__(self, bootstrap, topic, name, codec):
        self.topic = topic
        self.name = name
        self.next = [0] * PARTITIONS
        self.acknowledged = {}
        self.failure = None
        self.producer = Producer({
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": codec,
            "linger.ms": 2,
            "retry.backoff.ms": 20,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
            "message.timeout.ms": 3600000,
            "error_cb": self.on_error,
            "log_level": 0,
        })

    def on_error(self, error):
        if error.fatal():
            self.failure = f"producer {self.name}: {error}"

    def on_delivery(self, error, message):
        if error:
            self.failure = self.failure or f"producer {self.name}: a record was not delivered: {error}"
        else:
            number = int(message.value().split(b":", 1)[0])
            self.acknowledged[message.partition(), number] = message.offset()

    def write_some(self):
        for partition in range(PARTITIONS):
            for _ in range(random.randrange(10)):
                number = self.next[partition]
                self.producer.produce(self.topic, partition=partition, key=self.name, value=content(number),
                                      on_delivery=self.on_delivery)
                self.next[partition] += 1
        self.producer.poll(0)

    def run(self, stop):
        try:
            while not stop.is_set() and not self.failure:
                if len(self.producer) < 20000:
                    self.write_some()
                else:
                    self.producer.poll(0.01)
                time.sleep(PARTITIONS * 4.5 / (RECORDS_EACH_S / 2))
            if self.producer.flush(FINISH_S) and not self.failure:
                self.failure = f"producer {self.name}: records were still on their way after {FINISH_S} s"
        except (KafkaException, BufferError) as failure:
            self.failure = f"producer {self.name}: {failure}"


class Follower:
    """Reads on while the producers write; keeps (producer, number) of each offset that it saw."""

    def __init__(self, bootstrap, topic):
        self.seen = [{} for _ in range(PARTITIONS)]
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
            "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "fetch.wait.max.ms": 20, "log_level": 0,
            # An offset that is out of range is a loss, not a reason to begin anew.
            "auto.offset.reset": "error",
        })
        self.consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])

    def total(self):
        return sum(map(len, self.seen))

    def poll(self):
        for message in self.consumer.consume(2000, 0.05):
            if message.error():
                if not message.error().retriable() and message.error().code() > 0:
                    raise Wrong(f"the reader: {message.error()}")
                continue
            number = int(message.value().split(b":", 1)[0])
            if message.value() != content(number):
                raise Wrong(f"partition {message.partition()} offset {message.offset()}: not the bytes that were written")
            here = self.seen[message.partition()]
            record = (message.key().decode(), number)
            if here.setdefault(message.offset(), record) != record:
                raise Wrong(f"partition {message.partition()} offset {message.offset()} changed: "
                            f"{here[message.offset()]}, then {record}")


def read_until(follower, total, what):
    deadline = time.monotonic() + FINISH_S
    while follower.total() < total:
        follower.poll()
        if time.monotonic() > deadline:
            raise Wrong(f"{what}: {follower.total()} of {total} records read in {FINISH_S} s")


def run(bootstrap, topic, kind=None):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    # Small segments: a crash must also meet the moment when one is rolled.
    config = {"segment.bytes": "1048576", "retention.ms": "-1"}
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)])[topic].result(30)
    loads = [Load(bootstrap, topic, "plain", "none"), Load(bootstrap, topic, "packed", "zstd")]
    # It reads ahead, and would meet the end of what a power cut left.
    follower = None if kind == "power" else Follower(bootstrap, topic)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    threads = [threading.Thread(target=load.run, args=(stop,)) for load in loads]
    for thread in threads:
        thread.start()
    print("running", flush=True)
    try:
        while any(thread.is_alive() for thread in threads):
            if follower:
                follower.poll()
            else:
                time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for load in loads:
        if load.failure:
            raise Wrong(load.failure)
    total = sum(sum(load.next) for load in loads)
    follower = follower or Follower(bootstrap, topic)
    read_until(follower, total, "following")
    second = Follower(bootstrap, topic)
    read_until(second, total, "reading anew")
    for partition in range(PARTITIONS):
        check(partition, {load.name: load.next[partition] for load in loads},
              {(load.name, number): offset for load in loads
               for (p, number), offset in load.acknowledged.items() if p == partition},
              follower.seen[partition], second.seen[partition])
    return {"records": total, "acknowledged": sum(len(load.acknowledged) for load in loads)}


if __name__ == "__main__":
    try:
        print(json.dumps(run(*sys.argv[1:])))
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        sys.exit(1)
