"""A member of a consumer group: says when it has partitions and what it reads; commits as it goes.

    consumer.py BOOTSTRAP GROUP TOPIC classic|consumer PAUSE_S CLIENT_ID [INSTANCE_ID]
    consumer.py BOOTSTRAP --delete-records TOPIC PARTITION OFFSET
    consumer.py BOOTSTRAP --commit GROUP TOPIC PARTITION OFFSET
"""

import signal
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient


def say(word):
    print(word, flush=True)


def read(bootstrap, group, topic, protocol, pause_s, client, instance=None):
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "client.id": client, "auto.offset.reset": "earliest",
                "enable.auto.commit": False, "group.protocol": protocol}
    if instance:
        settings["group.instance.id"] = instance
    if protocol == "classic":
        settings["session.timeout.ms"] = 30000
    consumer = Consumer(settings)
    consumer.subscribe([topic], on_assign=lambda *_: say("assigned"))
    is_over = []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
    while not is_over:
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        time.sleep(pause_s)
        consumer.commit(message, asynchronous=False)
        say("read")
    consumer.close()


def delete_records(bootstrap, topic, partition, offset):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition(topic, int(partition), int(offset))]).values():
        future.result()


def commit(bootstrap, group, topic, partition, offset):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, int(partition), int(offset))], asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    if sys.argv[2] == "--commit":
        commit(sys.argv[1], *sys.argv[3:])
    elif sys.argv[2] == "--delete-records":
        delete_records(sys.argv[1], *sys.argv[3:])
    else:
        read(*sys.argv[1:5], float(sys.argv[5]), *sys.argv[6:])
