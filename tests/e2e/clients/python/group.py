"""A member of a consumer group and its producer; see test_groups.py.

    group.py create    BOOTSTRAP TOPIC
    group.py produce   BOOTSTRAP TOPIC COUNT PER_SECOND
    group.py member    BOOTSTRAP TOPIC GROUP range|roundrobin|cooperative-sticky|consumer|kafka-python

A member prints "PARTITION OFFSET" for each record once it was processed, commits what it printed, and leaves on SIGTERM.
"""

import signal
import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 6
SESSION_MS = 3000


class Stop:
    wanted = False


def stop(_signal, _frame):
    Stop.wanted = True


def say(partition, offset):
    sys.stdout.write(f"{partition} {offset}\n")
    sys.stdout.flush()


def create(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        done.result(30)


def produce(bootstrap, topic, count, per_second):
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for i in range(int(count)):
        producer.produce(topic, str(i).encode(), key=str(i).encode(), partition=i % PARTITIONS)
        producer.poll(0)
        time.sleep(1 / int(per_second))
    assert producer.flush(30) == 0


def member_of_confluent(bootstrap, topic, group, strategy):
    kind = {"group.protocol": "consumer"} if strategy == "consumer" else {
        "partition.assignment.strategy": strategy, "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500}
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **kind})
    consumer.subscribe([topic])
    while not Stop.wanted:
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            say(message.partition(), message.offset())
            consumer.commit(message, asynchronous=True)
    consumer.close()


def member_of_kafka_python(bootstrap, topic, group):
    from kafka import KafkaConsumer
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", auto_commit_interval_ms=200,
        session_timeout_ms=SESSION_MS, heartbeat_interval_ms=500)
    while not Stop.wanted:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                say(record.partition, record.offset)
    consumer.close()


def member(bootstrap, topic, group, strategy):
    signal.signal(signal.SIGTERM, stop)
    if strategy == "kafka-python":
        member_of_kafka_python(bootstrap, topic, group)
    else:
        member_of_confluent(bootstrap, topic, group, strategy)


if __name__ == "__main__":
    {"create": create, "produce": produce, "member": member}[sys.argv[1]](*sys.argv[2:])
