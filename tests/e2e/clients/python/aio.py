"""aiokafka as a client program; driver.py says what one does."""

import asyncio
import contextlib
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

import driver
import tsv

TIMEOUT_S = 30
MAX_MESSAGE_BYTES = 2097152


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * TIMEOUT_S))


@contextlib.asynccontextmanager
async def administrator(bootstrap):
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create_topic(admin, topic, config=None):
    """The error code."""
    answer = await admin.create_topics([NewTopic(topic, 3, 1, topic_configs=config or {})])
    return answer.topic_errors[0][1]


async def write(bootstrap, topic, codec, idempotent, records):
    if idempotent:
        async with administrator(bootstrap) as admin:
            assert await create_topic(admin, topic, {"max.message.bytes": str(MAX_MESSAGE_BYTES)}) == 0
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=idempotent, acks="all" if idempotent else 1,
        compression_type=None if codec == "none" else codec, max_request_size=MAX_MESSAGE_BYTES)
    async with producer:
        sent = [await producer.send(topic, partition=r.partition, key=r.key, value=r.value, headers=r.headers,
                                    timestamp_ms=r.timestamp) for r in records]
        await asyncio.gather(*sent)


def produce(bootstrap, topic, codec, idempotent, records):
    run(write(bootstrap, topic, codec, idempotent, records))


async def read(bootstrap, topic):
    records = []
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50) as consumer:
        partitions = [TopicPartition(topic, p) for p in range(3)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = sum((await consumer.end_offsets(partitions)).values())
        while len(records) < left:
            for some in (await consumer.getmany(timeout_ms=500)).values():
                records += [tsv.Record(r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in some]
    return records


def consume(bootstrap, topic):
    return run(read(bootstrap, topic))


async def read_in_group(bootstrap, topic, name, count):
    records = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=name, auto_offset_reset="earliest",
                                enable_auto_commit=False, fetch_max_wait_ms=50)
    async with consumer:
        while len(records) < count:
            for some in (await consumer.getmany(timeout_ms=500)).values():
                records += [tsv.Record(r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in some]
        await consumer.commit()
    return records


def group(bootstrap, topic, name, count):
    return run(read_in_group(bootstrap, topic, name, count))


async def administer(bootstrap, topic):
    async with administrator(bootstrap) as client:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)

        async def partitions():
            return len((await client.describe_topics([topic]))[0]["partitions"])

        async def configs():
            answer = await client.describe_configs([resource])
            return {entry[0]: entry[1] for entry in answer[0].resources[0][4]}

        async def alter(**entries):
            """The error code. It has AlterConfigs only, which resets what it is not given."""
            named = {name.replace("_", "."): value for name, value in entries.items()}
            answer = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)])
            return answer[0].resources[0][0]

        await create_topic(client, topic, {"retention.ms": "7200000", "max.message.bytes": "2097152"})
        await create_topic(client, topic + "-default")
        print("created.again", await create_topic(client, topic), sep="=")
        print("created.badly", await create_topic(client, "a/b"), sep="=")
        print("listed", topic in await client.list_topics(), sep="=")
        print("partitions", await until(3, partitions), sep="=")
        seen = await configs()
        for name in ("retention.ms", "max.message.bytes", "segment.bytes"):
            print(name, seen[name], sep="=")
        await alter(retention_ms="3600000", max_message_bytes="2097152")
        print("retention.ms.altered", (await configs())["retention.ms"], sep="=")
        print("altered.badly", await alter(retention_ms="soon"), sep="=")
        await administer_records(client, bootstrap, topic)
        await client.create_partitions({topic: NewPartitions(5)})
        print("partitions.grown", await until(5, partitions), sep="=")
        await client.delete_topics([topic, topic + "-default"])

        async def gone():
            return topic not in await client.list_topics()

        print("deleted", await until(True, gone), sep="=")


async def until(wanted, function):
    deadline = time.monotonic() + 10
    while (seen := await function()) != wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return seen


async def administer_records(client, bootstrap, topic):
    where, began = TopicPartition(topic, 1), int(time.time() * 1000) - 60000
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, max_request_size=MAX_MESSAGE_BYTES)
    async with producer, AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        for i in range(5):
            await producer.send_and_wait(topic, partition=1, value=b"x" * 10, timestamp_ms=began + i * 1000)
        print("offset.earliest", (await consumer.beginning_offsets([where]))[where], sep="=")
        print("offset.latest", (await consumer.end_offsets([where]))[where], sep="=")
        print("offset.time", (await consumer.offsets_for_times({where: began + 1500}))[where].offset, sep="=")
        print("records.deleted", (await client.delete_records({where: RecordsToDelete(before_offset=2)}))[where], sep="=")
        print("offset.earliest.deleted", (await consumer.beginning_offsets([where]))[where], sep="=")
        try:
            await producer.send_and_wait(topic + "-default", partition=0, value=b"x" * 1048576)
        except KafkaError as failure:
            print("too.large", failure.errno, sep="=")


def admin(bootstrap, topic):
    run(administer(bootstrap, topic))


if __name__ == "__main__":
    driver.main(produce, consume, admin, group)
