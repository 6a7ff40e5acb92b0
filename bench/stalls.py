#!/usr/bin/env python3
"""Measures what a live producer and its reader feel of others' large work on the same broker.

    bench/stalls.py                        4 GB stored, 1,000 records a second
    bench/stalls.py --stored-gb 8 --brokers kafka,taffrail

It needs what ./dev build and ./dev bench make. End-to-end latency is measured alone, then while a reader
takes all that is stored from the disk, then while that topic is deleted. What is stored is not in the
page cache when the reader begins.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))
sys.path.insert(0, str(REPO / "bench"))

from lib import brokers, paths  # noqa: E402
from run import Bench, BenchKafka, BenchTaffrail, touch_memory  # noqa: E402

KINDS = {"kafka": BenchKafka, "taffrail": BenchTaffrail}
RATE = 1000
SECONDS = 10
RECORD_BYTES = 1000
FETCH_BYTES = 1 << 20
STORED = "stored"


class Stalls(Bench):
    def cool(self, broker):
        """Takes the topic's files out of the page cache."""
        for path in pathlib.Path(broker.data).glob(f"{STORED}-0/*.log"):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def beside(self, broker, work):
        """The latencies while `work` runs in a thread."""
        seen = []
        thread = threading.Thread(target=lambda: seen.append(work()))
        thread.start()
        latency = self.load(broker, "latency", RATE, SECONDS, 100)
        thread.join()
        return latency, seen[0] if seen else None

    def row(self, broker, what, latency, more=""):
        print(f"{broker.title:<14}{what:<34}{latency['p50_ms']:8.2f} {latency['p99_ms']:8.2f} "
              f"{latency['p999_ms']:8.2f} {latency['max_ms']:8.1f} ms  {more}", flush=True)

    def measure(self, broker, stored_gb):
        records = int(stored_gb * 1e9 / RECORD_BYTES)
        self.say(f"{broker.title}: storing {stored_gb} GB")
        self.load_topic(broker, "produce", STORED, records, RECORD_BYTES, 1)
        os.sync()
        time.sleep(5)
        self.row(broker, "alone", self.load(broker, "latency", RATE, SECONDS, 100))
        self.cool(broker)
        latency, result = self.beside(broker, lambda: self.load_topic(broker, "fetch", STORED, FETCH_BYTES))
        cpu = result["broker_cpu_s"] / result["bytes"] * 1e9
        self.row(broker, "while a reader catches up", latency,
                 f"{result['gb_per_second']:.2f} GB/s, broker CPU {cpu:.2f} s a GB, both loads'")
        latency, _ = self.beside(broker, lambda: self.delete(broker, STORED))
        self.row(broker, "while its topic is deleted", latency)

    def run_all(self, stored_gb):
        touch_memory()
        print(f"{'':<48}{'p50':>8} {'p99':>8} {'p99.9':>8} {'max':>8}")
        try:
            for broker in self.brokers:
                broker.start()
                if broker.name == "kafka":
                    self.warm_up(broker)
                self.measure(broker, stored_gb)
                broker.kill()
        finally:
            for broker in self.brokers:
                broker.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored-gb", type=float, default=4)
    parser.add_argument("--brokers", default="kafka,taffrail", help="which of kafka,taffrail")
    parser.add_argument("--warm-s", type=int, default=30, help="how long Apache Kafka is warmed up (30)")
    parser.add_argument("--dir", help="where the brokers keep their data (default: build)")
    parser.add_argument("--port", type=int, default=29500, help="first of the ports to use (29500)")
    options = parser.parse_args()
    options.brokers = options.brokers.split(",")
    options.quick, options.rounds = True, 1
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir or REPO / "build"))
    try:
        Stalls(options, root).run_all(options.stored_gb)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
