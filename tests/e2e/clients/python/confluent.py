"""confluent-kafka (librdkafka) as a client program; driver.py says what one does."""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   NewTopic, OffsetSpec, ResourceType)

import driver
import tsv

TIMEOUT_S = 30
MAX_MESSAGE_BYTES = 2097152


def create_topic(admin, topic, partitions=3, config=None):
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(TIMEOUT_S)


def produce(bootstrap, topic, codec, idempotent, records):
    if idempotent:
        create_topic(AdminClient({"bootstrap.servers": bootstrap}), topic,
                     config={"max.message.bytes": str(MAX_MESSAGE_BYTES)})
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "compression.type": codec,
        "enable.idempotence": idempotent,
        "acks": "all" if idempotent else "1",
        "message.max.bytes": MAX_MESSAGE_BYTES,
    })
    failures = []

    def delivered(error, _message):
        if error:
            failures.append(error)

    for record in records:
        producer.produce(topic, partition=record.partition, key=record.key, value=record.value,
                         headers=record.headers, timestamp=record.timestamp, on_delivery=delivered)
        producer.poll(0)
    left = producer.flush(TIMEOUT_S)
    if left or failures:
        raise RuntimeError(f"{left} not delivered, {len(failures)} failed, the first: {failures[:1]}")


def consume(bootstrap, topic):
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "unused: partitions are assigned by hand",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 50,
    })
    partitions = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), TIMEOUT_S)[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    records, deadline = [], time.monotonic() + TIMEOUT_S
    while len(records) < sum(ends.values()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(records)} of {sum(ends.values())} records read")
        for message in consumer.consume(500, 0.1):
            if message.error():
                raise KafkaException(message.error())
            records.append(tsv.Record(message.partition(), message.offset(), message.timestamp()[1],
                                      message.key(), message.value(), message.headers() or []))
    consumer.close()
    return records


def group_by(protocol):
    """The function of driver.main for one of the two group protocols."""
    def group(bootstrap, topic, name, count):
        consumer = Consumer({
            "bootstrap.servers": bootstrap,
            "group.id": name,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        })
        consumer.subscribe([topic])
        records, deadline = [], time.monotonic() + TIMEOUT_S
        while len(records) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} of {count} records read")
            for message in consumer.consume(500, 0.1):
                if message.error():
                    raise KafkaException(message.error())
                records.append(tsv.Record(message.partition(), message.offset(), message.timestamp()[1],
                                          message.key(), message.value(), message.headers() or []))
        consumer.commit(asynchronous=False)
        consumer.close()
        return records

    return group


def code_of(future):
    """The error code a call failed with; 0 when it did not fail."""
    try:
        future.result(TIMEOUT_S)
        return 0
    except KafkaException as failure:
        return failure.args[0].code()


def send(bootstrap, topic, partition, values, timestamp=0, step_ms=0):
    """Error codes of the records' deliveries."""
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": MAX_MESSAGE_BYTES, "acks": "all"})
    codes = []
    for i, value in enumerate(values):
        producer.produce(topic, partition=partition, value=value, timestamp=timestamp + i * step_ms,
                         on_delivery=lambda error, _: codes.append(error.code() if error else 0))
    producer.flush(TIMEOUT_S)
    return codes


def admin(bootstrap, topic):
    client = AdminClient({"bootstrap.servers": bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def configs():
        entries = client.describe_configs([resource])[resource].result(TIMEOUT_S)
        return {name: entry.value for name, entry in entries.items()}

    def alter(name, value):
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        return code_of(client.incremental_alter_configs([changed])[changed])

    def partitions():
        return len(client.list_topics(topic, TIMEOUT_S).topics[topic].partitions)

    def offset(spec):
        where = TopicPartition(topic, 1)
        return client.list_offsets({where: spec})[where].result(TIMEOUT_S).offset

    create_topic(client, topic, config={"retention.ms": "7200000", "max.message.bytes": "2097152"})
    create_topic(client, topic + "-default")
    print("created.again", code_of(client.create_topics([NewTopic(topic, 3, 1)])[topic]), sep="=")
    print("created.badly", code_of(client.create_topics([NewTopic("a/b", 3, 1)])["a/b"]), sep="=")
    print("listed", topic in client.list_topics(timeout=TIMEOUT_S).topics, sep="=")
    print("partitions", driver.until(3, partitions), sep="=")
    seen = configs()
    for name in ("retention.ms", "max.message.bytes", "segment.bytes"):
        print(name, seen[name], sep="=")
    alter("retention.ms", "3600000")
    print("retention.ms.altered", configs()["retention.ms"], sep="=")
    print("altered.badly", alter("retention.ms", "soon"), sep="=")

    began = int(time.time() * 1000) - 60000
    send(bootstrap, topic, 1, [b"x" * 10] * 5, began, 1000)
    print("offset.earliest", offset(OffsetSpec.earliest()), sep="=")
    print("offset.latest", offset(OffsetSpec.latest()), sep="=")
    print("offset.max", offset(OffsetSpec.max_timestamp()), sep="=")
    print("offset.time", offset(OffsetSpec.for_timestamp(began + 1500)), sep="=")
    where = TopicPartition(topic, 1, 2)
    print("records.deleted", client.delete_records([where])[where].result(TIMEOUT_S).low_watermark, sep="=")
    print("offset.earliest.deleted", offset(OffsetSpec.earliest()), sep="=")
    print("too.large", send(bootstrap, topic + "-default", 0, [b"x" * 1048576])[0], sep="=")

    client.create_partitions([NewPartitions(topic, 5)])[topic].result(TIMEOUT_S)
    print("partitions.grown", driver.until(5, partitions), sep="=")
    for name, future in client.delete_topics([topic, topic + "-default"]).items():
        future.result(TIMEOUT_S)
    print("deleted", driver.until(True, lambda: topic not in client.list_topics(timeout=TIMEOUT_S).topics), sep="=")


def create(bootstrap, topics):
    """Creates topics for others, and waits until every partition answers."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    for topic in topics:
        create_topic(client, topic, config={"max.message.bytes": str(MAX_MESSAGE_BYTES)})
    wanted = {TopicPartition(topic, p): OffsetSpec.latest() for topic in topics for p in range(3)}
    deadline = time.monotonic() + TIMEOUT_S
    while any(code_of(future) for future in client.list_offsets(wanted).values()):
        if time.monotonic() > deadline:
            raise TimeoutError("the partitions do not answer")
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "create":
        create(sys.argv[2], sys.argv[3:])
    else:
        group_protocol = "consumer" if sys.argv[1] == "group" and "consumer" in sys.argv[4] else "classic"
        driver.main(produce, consume, admin, group_by(group_protocol))
