"""Transactions by librdkafka, and what readers of both isolation levels get. Prints JSON lines.

    transactions.py write BOOTSTRAP TOPIC   interleaved producers that commit and abort
    transactions.py read BOOTSTRAP TOPIC    {isolation level: [[partition, offset, value]...]}
    transactions.py offsets BOOTSTRAP TOPIC GROUP   the group's offsets: committed, aborted, and left open
"""

import json
import os
import sys
import time

import confluent_kafka as ck

PARTITIONS = 2
ROUNDS = 30


def producer(bootstrap, name):
    made = ck.Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 0})
    made.init_transactions(30)
    return made


def put(sender, topic, name, number, count):
    for i in range(count):
        sender.produce(topic, f"{name} {number}.{i} ".encode() * 40, key=f"{name}{i}".encode(), partition=i % PARTITIONS)
    sender.flush(30)


def write(bootstrap, topic):
    """Short transactions of one producer inside of long ones of another; plain records between them."""
    long, short = producer(bootstrap, "long"), producer(bootstrap, "short")
    plain = ck.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(ROUNDS):
        if number % 10 == 0:
            long.begin_transaction()
        put(long, topic, "long", number, 4)
        short.begin_transaction()
        put(short, topic, "short", number, 6)
        (short.abort_transaction if number % 3 == 0 else short.commit_transaction)(30)
        put(plain, topic, "plain", number, 2)
        if number % 10 == 9:
            (long.abort_transaction if number % 20 == 9 else long.commit_transaction)(30)


def read(bootstrap, topic):
    seen = {}
    for level in ("read_committed", "read_uncommitted"):
        consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                "isolation.level": level, "enable.partition.eof": True})
        consumer.assign([ck.TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        rows, ended = [], set()
        while len(ended) < PARTITIONS:
            message = consumer.poll(30)
            assert message is not None, "no answer within 30 s"
            if message.error() and message.error().code() == ck.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
                continue
            assert not message.error(), message.error()
            rows.append([message.partition(), message.offset(), message.value().decode()])
        consumer.close()
        seen[level] = sorted(rows)
    print(json.dumps(seen))


def send_offsets(sender, consumer, topic, offsets):
    """In a transaction that is begun here and not ended."""
    sender.begin_transaction()
    positions = [ck.TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    sender.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)


def offsets(bootstrap, topic, group):
    """
    Partition 0: committed; 1: aborted; 2: a plain commit, and an aborted one; 3: one that is committed while another is
    open; 4: only an open one; 5: open, and then a plain commit; 6: a plain commit inside of a transaction that is committed.
    """
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})

    def commit(partition, offset):
        # A broker that has just started is not yet the coordinator that it says it is.
        deadline = time.monotonic() + 30
        while True:
            try:
                consumer.commit(offsets=[ck.TopicPartition(topic, partition, offset)], asynchronous=False)
                return
            except ck.KafkaException as failure:
                if not failure.args[0].retriable() and failure.args[0].name() != "NOT_COORDINATOR":
                    raise
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    first, second = producer(bootstrap, "offsets-first"), producer(bootstrap, "offsets-second")
    commit(2, 20)
    send_offsets(first, consumer, topic, {0: 1, 6: 60})
    commit(6, 61)
    first.commit_transaction(30)
    send_offsets(first, consumer, topic, {0: 2, 1: 10, 2: 21})
    first.abort_transaction(30)
    send_offsets(second, consumer, topic, {3: 30, 4: 40, 5: 50})
    send_offsets(first, consumer, topic, {3: 31})
    first.commit_transaction(30)
    commit(5, 51)
    sys.stdout.flush()
    os._exit(0)  # the transaction of the second stays open


if __name__ == "__main__":
    {"write": write, "read": read, "offsets": offsets}[sys.argv[1]](*sys.argv[2:])
