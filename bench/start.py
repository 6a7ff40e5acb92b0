#!/usr/bin/env python3
"""Measures how long a broker that was killed takes until it answers, by what it has stored.

    bench/start.py                            10,000 partitions; without and with a record each; 8 GB
    bench/start.py --stored-gb 50             likewise; the disk needs the space
    bench/start.py --brokers taffrail         without Apache Kafka beside

It needs what ./dev build and ./dev bench make. Each case is made once, and the broker is killed with
kill -9; then it is started and killed again, some times. The clock runs from before the process exists to
its answers to Metadata, Produce (acks=all) and Fetch. The page cache is warm, as it is after kill -9. What the
process used of the CPU by then is what remains of that time on a machine that does nothing else.
"""

import argparse
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))
sys.path.insert(0, str(REPO / "bench"))

from lib import brokers, paths, raw, wire  # noqa: E402
from run import BenchKafka, cpu_s, resident_mb  # noqa: E402

LOAD = REPO / "build" / "release" / "bench" / "bench_load"
STORED_PARTITIONS = 8
RECORD_BYTES = 1000
PARTITIONS_A_REQUEST = 1000


class BenchTaffrail(brokers.Taffrail):
    title = "Taffrail"
    start_timeout_s = 60


class SlowKafka(BenchKafka):
    start_timeout_s = 900  # with 10,000 partitions after kill -9, on a busy machine


KINDS = {"kafka": SlowKafka, "taffrail": BenchTaffrail}


def produce_to_each(broker, topic, partitions):
    """One record into each partition, many partitions in one request."""
    connection = raw.Connection(broker, timeout_s=60)
    records = raw.sized(raw.values_batch([b"hello"]))
    for first in range(0, partitions, PARTITIONS_A_REQUEST):
        some = range(first, min(first + PARTITIONS_A_REQUEST, partitions))
        body = struct.pack(">hhii", -1, -1, 60000, 1) + raw.string(topic) + struct.pack(">i", len(some))
        body += b"".join(struct.pack(">i", partition) + records for partition in some)
        connection.call(raw.PRODUCE, 3, body)


def first_answers_ms(broker, topic):
    """From before the process exists to its first answers."""
    began = time.monotonic()
    broker.spawn()
    while True:
        try:
            wire.metadata_broker_count((broker.host, broker.port))
            connection = raw.Connection(broker)
            connection.fetch(topic, connection.produce(topic, raw.values_batch([b"again"])))
            return (time.monotonic() - began) * 1000
        except (OSError, ConnectionError, raw.Failed):
            if broker.process.poll() is not None or time.monotonic() - began > broker.start_timeout_s:
                raise brokers.BrokerFailed(f"{broker.name} did not start\n{broker.log_tail()}") from None
            time.sleep(0.001)


class Bench:
    def __init__(self, options, root):
        self.options = options
        self.root = root
        self.rows = []

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def create(self, broker, topic, partitions):
        """In two steps: Apache Kafka makes no more than 10,000 records of metadata out of one request."""
        for verb, count in ("create", (partitions + 1) // 2), ("alter", partitions):
            subprocess.run([paths.TAFFRAIL, "topic", verb, "-b", broker.bootstrap, topic,
                            "--partitions", str(count), "--timeout", "600s"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=600, check=True)

    def starts(self, broker, case, topic):
        """Killed and started again; what it took."""
        rounds = 1 if broker.name == "kafka" else self.options.rounds
        starts = []
        for _ in range(rounds):
            broker.kill()
            starts.append(self.start_once(broker, topic))
        self.add(case, broker, starts)

    def start_once(self, broker, topic):
        """(ms, CPU ms, MB)"""
        took = first_answers_ms(broker, topic)
        return took, cpu_s(broker.pid) * 1000, resident_mb(broker.pid)

    def add(self, case, broker, starts):
        self.rows.append((case, broker.title, starts))
        self.say(f"{broker.title}: {case}: " + " ".join(f"{took:.0f} ({cpu:.0f})" for took, cpu, _ in starts) + " ms (CPU)")

    def many_partitions(self, broker):
        count = self.options.partitions
        self.create(broker, "many", count)
        self.starts(broker, f"{count:,} empty partitions", "many")
        produce_to_each(broker, "many", count)
        # Every one of them was changed a moment ago; the next starts find but the first so.
        broker.kill()
        self.add(f"{count:,} partitions, a record just written to each", broker, [self.start_once(broker, "many")])

    def much_stored(self, broker):
        gigabytes = self.options.stored_gb
        self.create(broker, "much", STORED_PARTITIONS)
        records = gigabytes * 1_000_000_000 // RECORD_BYTES
        self.say(f"{broker.title}: storing {gigabytes} GB")
        subprocess.run([LOAD, "produce", str(broker.port), "much", str(records), str(RECORD_BYTES), "1"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        self.starts(broker, f"{gigabytes} GB stored, killed after the last write", "much")

    def run(self):
        for name in self.options.brokers.split(","):
            for number, case in enumerate((self.many_partitions, self.much_stored)):
                if case.__name__ not in self.options.cases.split(","):
                    continue
                broker = KINDS[name](self.root / f"{name}-{number}", self.options.port)
                try:
                    case(broker.start())
                finally:
                    broker.kill()
                    shutil.rmtree(broker.folder, ignore_errors=True)

    def table(self):
        lines = [("", "", "first answers, ms (median; all)", "CPU, ms", "resident, MB")]
        for case, title, starts in self.rows:
            took, cpu, resident = (statistics.median(column) for column in zip(*starts))
            every = " ".join(f"{start[0]:.0f}" for start in starts)
            lines.append((case, title, f"{took:.0f}; {every}", f"{cpu:.0f}", f"{resident:.1f}"))
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=10000)
    parser.add_argument("--stored-gb", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--brokers", default="kafka,taffrail", help="which of kafka,taffrail")
    parser.add_argument("--cases", default="many_partitions,much_stored", help="which of these")
    parser.add_argument("--dir", help="where the brokers keep their data (default: build)")
    parser.add_argument("--port", type=int, default=29600, help="first of the ports to use (29600)")
    options = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-start-", dir=options.dir or REPO / "build"))
    try:
        bench = Bench(options, root)
        bench.run()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    bench.table()


if __name__ == "__main__":
    main()
