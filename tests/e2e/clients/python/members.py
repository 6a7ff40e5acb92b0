"""Members of consumer groups, all of one library, in one process; see test_groups.py. members.py LIBRARY BOOTSTRAP

What is asked on standard input, a line each:

    join MEMBER TOPIC GROUP STRATEGY
    leave MEMBER
    produce TOPIC PARTITIONS COUNT PER_SECOND    (of confluent-kafka only)

and what is said of a member on standard output, with the time in milliseconds since 1970:

    MEMBER MS assigned GENERATION PARTITION...          in addition to what it has
    MEMBER MS revoked PARTITION...
    MEMBER MS processed PARTITION FIRST LAST            the offsets of records
    MEMBER MS committed GENERATION PARTITION OFFSET     it was acknowledged; the time is before it was asked for
    MEMBER MS refused WHY                               a commit; the record will be processed once more
    MEMBER MS left
    MEMBER MS failed WHY                                it ended, and nobody asked it to
    TOPIC MS produced

A library that does not tell when a commit was acknowledged says nothing of it; one that tells no generation is not here.
"""

import contextlib
import struct
import sys
import threading
import time
import traceback

SESSION_MS = 3000
HEARTBEAT_MS = 500
# How long others wait for a member that lives and does not join.
REBALANCE_MS = 15000

lock = threading.Lock()


def now_ms():
    return int(time.time() * 1000)


class Member:
    def __init__(self, name, bootstrap, topic, group, strategy):
        self.name, self.bootstrap, self.topic, self.group, self.strategy = name, bootstrap, topic, group, strategy
        self.leaving = threading.Event()
        self.pending = {}  # partition: the offset to commit

    def say(self, *words, at=None):
        with lock:
            sys.stdout.write(" ".join(map(str, (self.name, at or now_ms(), *words))) + "\n")
            sys.stdout.flush()

    def run(self, consume):
        try:
            consume(self)
            self.say("left")
        except Exception:
            self.say("failed", traceback.format_exc().strip().replace("\n", " | "))

    def assigned(self, generation, partitions):
        self.say("assigned", generation, *partitions)

    def revoked(self, partitions):
        for partition in partitions:
            self.pending.pop(partition, None)
        self.say("revoked", *partitions)

    def processed(self, records):
        """Of (partition, offset), in order."""
        spans = {}
        for partition, offset in records:
            spans.setdefault(partition, [offset, offset])[1] = offset
        for partition, (first, last) in spans.items():
            self.say("processed", partition, first, last)
            self.pending[partition] = last + 1

    def commit(self, generation, commit, refusal):
        """What is refused, but still the member's, is tried again with what comes next."""
        if not self.pending:
            return
        before, at, offsets = generation(), now_ms(), dict(self.pending)
        try:
            commit(offsets)
        except refusal as refused:
            self.say("refused", repr(refused).replace("\n", " "))
            return
        self.pending.clear()
        for partition, offset in offsets.items():
            self.say("committed", before, partition, offset, at=at)


# --- confluent-kafka ---


def consume_with_confluent(member):
    from confluent_kafka import Consumer, KafkaException, TopicPartition
    kind = {"group.protocol": "consumer"} if member.strategy == "consumer" else {
        "partition.assignment.strategy": member.strategy, "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS}
    consumer = Consumer({
        "bootstrap.servers": member.bootstrap, "group.id": member.group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "max.poll.interval.ms": REBALANCE_MS, "fetch.wait.max.ms": 100, **kind})

    def generation():
        # The library's own form of what a transaction must name: a magic, the generation, and texts.
        said = consumer.consumer_group_metadata()
        assert said.startswith(b"CGMDv2:"), said
        return struct.unpack_from("=i", said, len(b"CGMDv2:"))[0]

    def assigned(_, partitions):
        member.assigned(generation(), [p.partition for p in partitions])

    def revoked(_, partitions):
        member.revoked([p.partition for p in partitions])

    def commit(offsets):
        consumer.commit(offsets=[TopicPartition(member.topic, p, o) for p, o in offsets.items()], asynchronous=False)

    consumer.subscribe([member.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not member.leaving.is_set():
        messages = consumer.consume(100, 0.1)
        member.processed((m.partition(), m.offset()) for m in messages if not m.error())
        member.commit(generation, commit, KafkaException)
    consumer.close()


def produce(bootstrap, topic, partitions, count, per_second):
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for i in range(int(count)):
        producer.produce(topic, str(i).encode(), key=str(i).encode(), partition=i % int(partitions))
        producer.poll(0)
        time.sleep(1 / float(per_second))
    assert producer.flush(120) == 0
    Member(topic, bootstrap, topic, None, None).say("produced")


# --- kafka-python, 2.x and 3.x ---


def consume_with_kafka_python(member):
    import kafka
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from kafka.errors import KafkaError
    strategies = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
    consumer = None
    while consumer is None:
        with contextlib.suppress(KafkaError):  # the broker may be away
            consumer = kafka.KafkaConsumer(
                bootstrap_servers=member.bootstrap, group_id=member.group, auto_offset_reset="earliest",
                enable_auto_commit=False, session_timeout_ms=SESSION_MS, heartbeat_interval_ms=HEARTBEAT_MS,
                max_poll_interval_ms=REBALANCE_MS, partition_assignment_strategy=[strategies[member.strategy]],
                fetch_max_wait_ms=100)

    def generation():
        return consumer._coordinator._generation.generation_id

    def commit(offsets):
        consumer.commit({kafka.TopicPartition(member.topic, p): kafka.OffsetAndMetadata(o, "", -1) for p, o in offsets.items()})

    class Listener(kafka.ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            member.assigned(generation(), [p.partition for p in assigned])

        def on_partitions_revoked(self, revoked):
            member.revoked([p.partition for p in revoked])

    consumer.subscribe([member.topic], listener=Listener())
    while not member.leaving.is_set():
        polled = consumer.poll(timeout_ms=100).values()
        member.processed((record.partition, record.offset) for records in polled for record in records)
        member.commit(generation, commit, KafkaError)
    consumer.close()


LIBRARIES = {"confluent-kafka": consume_with_confluent, "kafka-python": consume_with_kafka_python}


def main(library, bootstrap):
    members = {}
    for line in sys.stdin:
        word, name, *rest = line.split()
        if word == "join":
            members[name] = Member(name, bootstrap, *rest)
            threading.Thread(target=members[name].run, args=[LIBRARIES[library]], daemon=True).start()
        elif word == "leave":
            members[name].leaving.set()
        else:
            threading.Thread(target=produce, args=[bootstrap, name, *rest], daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
