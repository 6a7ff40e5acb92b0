#!/usr/bin/env python3
"""Measures what a live producer feels of others' large work on the same broker.

    bench/stalls.py                        4 GB stored, 1,000 records a second
    bench/stalls.py --stored-gb 8 --brokers kafka,taffrail --rounds 3

It needs what ./dev build and ./dev bench make. How long acks=all takes to be answered is measured alone,
then while a reader takes all that is stored from the disk, then while that topic's files, of 2 GiB each, go
from the disk. What is stored is not in the page cache when the reader begins. Apache Kafka's answer does
not wait for the disk; Taffrail's does. The table has the medians of the rounds.
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
SECONDS = 12
LIVE_BYTES = 100
RECORD_BYTES = 1000
FETCH_BYTES = 1 << 20
STORED = "stored"
LIVE = "live"
SEGMENT_BYTES = 2147483647
# What is deleted goes from the disk at once, not after a minute.
CONFIG = {"log.segment.delete.delay.ms": "500", "log.initial.task.delay.ms": "500"}
GONE_TIMEOUT_S = 120
POINTS = ("p50", "p99", "p999")


class Stalls(Bench):
    def make_topic(self, broker, topic, *configs):
        subprocess.run([paths.TAFFRAIL, "topic", "create", "-b", broker.bootstrap, topic, "-p", "1", *configs],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)

    def cool(self, broker):
        """Takes the topic's files out of the page cache."""
        for path in pathlib.Path(broker.data).glob(f"{STORED}-0/*.log"):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def delete_all(self, broker):
        """Deletes the topic; how long it takes until its files are gone."""
        began = time.monotonic()
        self.delete(broker, STORED)
        while any(pathlib.Path(broker.data).glob(f"{STORED}-*")):
            if time.monotonic() - began > GONE_TIMEOUT_S:
                raise RuntimeError(f"{broker.title}: the topic's files are still there after {GONE_TIMEOUT_S} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def live(self, broker, what, work=None):
        """Latencies of the live producer while `work` runs in a thread; what that returned."""
        seen = []
        thread = threading.Thread(target=lambda: seen.append(work() if work else None))
        thread.start()
        result = self.load_topic(broker, "acks", LIVE, RATE, SECONDS, LIVE_BYTES, 1)
        thread.join()
        for point in (*POINTS, "max"):
            self.add(f"{what}_{point}_ms", broker, result[f"{point}_ms"])
        return seen[0]

    def round(self, broker, stored_gb):
        self.make_topic(broker, STORED, "-c", f"segment.bytes={SEGMENT_BYTES}")
        self.load_topic(broker, "produce", STORED, int(stored_gb * 1e9 / RECORD_BYTES), RECORD_BYTES, 1)
        os.sync()
        time.sleep(5)
        self.live(broker, "alone")
        self.cool(broker)
        result = self.live(broker, "catch_up", lambda: self.load_topic(broker, "fetch", STORED, FETCH_BYTES))
        self.add("catch_up_gb_per_s", broker, result["gb_per_second"])
        self.add("catch_up_cpu_s_per_gb", broker, result["broker_cpu_s"] / result["bytes"] * 1e9)
        os.sync()
        self.add("deleted_after_s", broker, self.live(broker, "delete", lambda: self.delete_all(broker)))

    def run_all(self, stored_gb):
        touch_memory()
        for broker in self.brokers:
            broker.config.update(CONFIG)
            try:
                broker.start()
                if broker.name == "kafka":
                    self.warm_up(broker)
                self.make_topic(broker, LIVE)
                for number in range(self.rounds):
                    self.say(f"{broker.title}: round {number + 1} of {self.rounds}, {stored_gb} GB")
                    self.round(broker, stored_gb)
            finally:
                broker.kill()

    def table_of_stalls(self):
        rows = [(f"acks=all, {RATE:,}/s, p50 / p99 / p99.9 / max, ms", None, None)]
        for what, title in ("alone", "alone"), ("catch_up", "a reader catches up"), ("delete", "a topic's files go"):
            rows.append((f"  {title}", [f"{what}_{p}_ms" for p in (*POINTS, "max")], "{:.2f} / {:.2f} / {:.2f} / {:.1f}"))
        rows.append(("the reader, from the disk", ["catch_up_gb_per_s"], "{:.2f} GB/s"))
        rows.append(("  broker CPU a GB, both loads'", ["catch_up_cpu_s_per_gb"], "{:.2f} s"))
        rows.append(("files gone after", ["deleted_after_s"], "{:.1f} s"))
        lines = [["", *(b.title for b in self.brokers)]]
        for title, figures, form in rows:
            lines.append([title, *(self.cell(form, figures, b) if figures else "" for b in self.brokers)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            print("  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored-gb", type=float, default=4)
    parser.add_argument("--brokers", default="kafka,taffrail", help="which of kafka,taffrail")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is measured (1)")
    parser.add_argument("--warm-s", type=int, default=30, help="how long Apache Kafka is warmed up (30)")
    parser.add_argument("--dir", help="where the brokers keep their data (default: build)")
    parser.add_argument("--port", type=int, default=29500, help="first of the ports to use (29500)")
    options = parser.parse_args()
    options.brokers = options.brokers.split(",")
    options.quick = True
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir or REPO / "build"))
    try:
        stalls = Stalls(options, root)
        stalls.run_all(options.stored_gb)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    stalls.table_of_stalls()


if __name__ == "__main__":
    main()
