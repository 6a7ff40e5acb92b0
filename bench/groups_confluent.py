"""Real consumers of one group for bench/groups.py: librdkafka's, many in this process, each polled in turn.

    groups_confluent.py BOOTSTRAP TOPIC PROTOCOL MEMBERS

Speaks as groups_load.c does: an object when the group has settled, then "arrive" or "leave" a line, each answered by
{"assigned_ms": ...}: from the call that subscribes or closes until each partition has one owner and, with the classic
protocol, everybody was assigned anew, by what the applications are told. Connecting is in it.
"""

import json
import selectors
import sys
import threading
import time

from confluent_kafka import Consumer

LIMIT_S = 120


class Member:
    def __init__(self, bootstrap, group, topic, protocol):
        config = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest"}
        self.partitions = set()
        self.assigned_at = None
        self.consumer = Consumer(config)
        self.consumer.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_revoke)

    def on_assign(self, consumer, partitions):
        self.partitions |= {p.partition for p in partitions}
        self.assigned_at = time.monotonic()

    def on_revoke(self, consumer, partitions):
        self.partitions -= {p.partition for p in partitions}


class Group:
    def __init__(self, bootstrap, topic, protocol, count):
        self.make = lambda: Member(bootstrap, f"{topic}-real-{protocol}", topic, protocol)
        self.protocol = protocol
        self.members = [self.make() for _ in range(count)]
        self.count = None  # partitions

    def poll(self):
        for member in self.members:
            member.consumer.poll(0)
        time.sleep(0.001)

    def is_assigned(self, since):
        owned = [p for member in self.members for p in member.partitions]
        everybody = all(m.assigned_at is not None and (self.protocol == "consumer" or m.assigned_at >= since) for m in self.members)
        return everybody and len(owned) == self.count and set(owned) == set(range(self.count))

    def wait(self, since, also=lambda: True):
        while not (also() and self.is_assigned(since)):
            self.poll()
            if time.monotonic() - since > LIMIT_S:
                sys.exit("the group does not settle")
        return {"assigned_ms": (time.monotonic() - since) * 1000}

    def arrive(self):
        since = time.monotonic()
        self.members.append(self.make())
        return self.wait(since, lambda: len(self.members[-1].partitions) > 0)

    def leave(self):
        leaver = self.members.pop()
        since = time.monotonic()
        closing = threading.Thread(target=leaver.consumer.close)
        closing.start()
        answer = self.wait(since)
        closing.join()
        return answer


def main(bootstrap, topic, protocol, count):
    began = time.monotonic()
    group = Group(bootstrap, topic, protocol, int(count))
    group.count = len(group.members[0].consumer.list_topics(topic).topics[topic].partitions)
    print(json.dumps(group.wait(began)), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        group.poll()
        if selector.select(0):
            line = sys.stdin.readline()
            if not line:
                return
            print(json.dumps({"arrive": group.arrive, "leave": group.leave}[line.strip()]()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
