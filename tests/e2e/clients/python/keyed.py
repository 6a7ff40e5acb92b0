"""Keyed records for compaction, with transactions among them or without.

    keyed.py transactions BOOTSTRAP TOPIC   interleaved transactions, some aborted, tombstones, plain records
    keyed.py plain BOOTSTRAP TOPIC          newer records of many of those keys, each a batch of its own

Either ends with enough records of one other key to fill a segment of 1 MiB.
"""

import sys
import time

import confluent_kafka as ck

KEYS = 40
BODY = b"x" * 3000
TIME_MS = int(time.time() * 1000)  # old ones would let the producers expire


class Writer:
    def __init__(self, bootstrap, topic):
        self.bootstrap, self.topic, self.count = bootstrap, topic, 0
        self.plain = ck.Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "enable.idempotence": True})

    def transactional(self, name):
        made = ck.Producer({"bootstrap.servers": self.bootstrap, "transactional.id": name, "linger.ms": 0})
        made.init_transactions(30)
        return made

    def put(self, sender, key, is_tombstone=False, flush=True):
        self.count += 1
        value = None if is_tombstone else b"%d:" % self.count + BODY
        sender.produce(self.topic, value, key=b"k%d" % key, partition=0, timestamp=TIME_MS + self.count)
        if flush:
            assert sender.flush(30) == 0

    def fill(self):
        for _ in range(400):
            self.put(self.plain, KEYS)

    def transactions(self):
        """Long ones around short ones; producers that end with a commit, an abort, or with nothing at all."""
        long, short = self.transactional("long"), self.transactional("short")
        for round_number in range(20):
            if round_number % 5 == 0:
                long.begin_transaction()
            for i in range(3):
                self.put(long, (round_number * 3 + i) % KEYS, is_tombstone=i == 2)
            short.begin_transaction()
            for i in range(5):
                self.put(short, (round_number * 7 + i) % KEYS, is_tombstone=i == 4, flush=False)
            short.flush(30)
            (short.abort_transaction if round_number % 3 == 1 else short.commit_transaction)(30)
            for i in range(2):
                self.put(self.plain, (round_number * 11 + i) % KEYS, is_tombstone=i == 1)
            if round_number % 5 == 4:
                (long.abort_transaction if round_number % 10 == 4 else long.commit_transaction)(30)
        for name in ("once", "never"):
            other = self.transactional(name)
            other.begin_transaction()
            self.put(other, 5)
            (other.commit_transaction if name == "once" else other.abort_transaction)(30)
        self.fill()

    def more(self):
        for key in range(0, KEYS, 2):
            self.put(self.plain, key, is_tombstone=key % 6 == 0)
        self.fill()


def main(what, bootstrap, topic):
    writer = Writer(bootstrap, topic)
    (writer.transactions if what == "transactions" else writer.more)()
    print(writer.count)


if __name__ == "__main__":
    main(*sys.argv[1:])
