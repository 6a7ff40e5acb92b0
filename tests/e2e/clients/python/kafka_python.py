"""kafka-python, its 2.x and its 3.x, as a client program; driver.py says what one does."""

import re
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import KafkaError

import driver
import tsv

TIMEOUT_S = 30
MAX_MESSAGE_BYTES = 2097152
OLD = kafka.__version__.startswith("2.")


def create_topic(admin, topic, config=None):
    answer = admin.create_topics([NewTopic(topic, 3, 1, topic_configs=config or {})])
    if OLD:
        # 2.x returns before every broker knows of the topic, as the protocol has it, and does not wait.
        while not admin.describe_topics([topic])[0]["partitions"]:
            time.sleep(0.05)
    return answer


def make_producer(bootstrap, codec="none", idempotent=True):
    return KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=None if codec == "none" else codec,
        enable_idempotence=idempotent,
        acks="all" if idempotent else 1,
        # 2.x takes no other number with idempotence.
        max_in_flight_requests_per_connection=1 if OLD else 5,
        max_request_size=MAX_MESSAGE_BYTES,
        linger_ms=5,
    )


def produce(bootstrap, topic, codec, idempotent, records):
    if idempotent:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        create_topic(admin, topic, {"max.message.bytes": str(MAX_MESSAGE_BYTES)})
        admin.close()
    producer = make_producer(bootstrap, codec, idempotent)
    sent = [producer.send(topic, partition=r.partition, key=r.key, value=r.value, headers=r.headers,
                          timestamp_ms=r.timestamp) for r in records]
    producer.flush(TIMEOUT_S)
    for one in sent:
        one.get(TIMEOUT_S)
    producer.close()


def consume(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50)
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = sum(consumer.end_offsets(partitions).values())
    records, deadline = [], time.monotonic() + TIMEOUT_S
    while len(records) < left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(records)} of {left} records read")
        for some in consumer.poll(timeout_ms=500).values():
            records += [tsv.Record(r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in some]
    consumer.close()
    return records


def group(bootstrap, topic, name, count):
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=name, auto_offset_reset="earliest",
                             enable_auto_commit=False, fetch_max_wait_ms=50)
    records, deadline = [], time.monotonic() + TIMEOUT_S
    while len(records) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(records)} of {count} records read")
        for some in consumer.poll(timeout_ms=500).values():
            records += [tsv.Record(r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in some]
    consumer.commit()
    consumer.close()
    return records


def code_of(function, *arguments, **options):
    """The error code a call failed with; 0 when it did not fail."""
    try:
        function(*arguments, **options)
        return 0
    except KafkaError as failure:
        return failure.errno


def describe(admin, topic):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    if OLD:
        entries = admin.describe_configs([resource])[0].resources[0][4]
        return {entry[0]: entry[1] for entry in entries}
    answer = admin.describe_configs([resource], config_filter="all")
    return {name: entry["value"] for name, entry in answer["topic"][topic].items()}


def alter(admin, topic, configs):
    """The error code. 2.x has AlterConfigs only, which resets what it is not given."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
    if OLD:
        return admin.alter_configs([resource]).resources[0][0]
    failed = re.match(r"\[Error (\d+)\]", str(admin.alter_configs([resource])["topic"][topic]))
    return int(failed.group(1)) if failed else 0


def admin(bootstrap, topic):
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    create_topic(client, topic, {"retention.ms": "7200000", "max.message.bytes": "2097152"})
    create_topic(client, topic + "-default")
    print("created.again", code_of(client.create_topics, [NewTopic(topic, 3, 1)]), sep="=")
    print("created.badly", code_of(client.create_topics, [NewTopic("a/b", 3, 1)]), sep="=")
    print("listed", topic in client.list_topics(), sep="=")
    print("partitions", driver.until(3, lambda: len(client.describe_topics([topic])[0]["partitions"])), sep="=")
    seen = describe(client, topic)
    for name in ("retention.ms", "max.message.bytes", "segment.bytes"):
        print(name, seen[name], sep="=")
    alter(client, topic, {"retention.ms": "3600000", "max.message.bytes": "2097152"})
    seen = describe(client, topic)
    print("retention.ms.altered", seen["retention.ms"], sep="=")
    print("altered.badly", alter(client, topic, {"retention.ms": "soon"}), sep="=")

    producer, consumer = make_producer(bootstrap), KafkaConsumer(bootstrap_servers=bootstrap)
    where, began = TopicPartition(topic, 1), int(time.time() * 1000) - 60000
    for i in range(5):
        producer.send(topic, partition=1, value=b"x" * 10, timestamp_ms=began + i * 1000).get(TIMEOUT_S)
    print("offset.earliest", consumer.beginning_offsets([where])[where], sep="=")
    print("offset.latest", consumer.end_offsets([where])[where], sep="=")
    print("offset.time", consumer.offsets_for_times({where: began + 1500})[where].offset, sep="=")
    if not OLD:
        print("offset.max", client.list_partition_offsets({where: -3})[where].offset, sep="=")
    print("records.deleted", client.delete_records({where: 2})[where]["low_watermark"], sep="=")
    print("offset.earliest.deleted", consumer.beginning_offsets([where])[where], sep="=")
    too_large = producer.send(topic + "-default", partition=0, value=b"x" * 1048576)
    print("too.large", code_of(too_large.get, TIMEOUT_S), sep="=")

    client.create_partitions({topic: NewPartitions(5)})
    print("partitions.grown", driver.until(5, lambda: len(client.describe_topics([topic])[0]["partitions"])), sep="=")
    client.delete_topics([topic, topic + "-default"])
    print("deleted", driver.until(True, lambda: topic not in client.list_topics()), sep="=")


if __name__ == "__main__":
    driver.main(produce, consume, admin, group)
