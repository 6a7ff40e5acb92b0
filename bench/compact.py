#!/usr/bin/env python3
"""Measures how fast one partition is compacted, and in how much memory, beside Apache Kafka.

    bench/compact.py                                     10 million keys, half of them written twice
    bench/compact.py --keys 1000000 --brokers taffrail

It needs what ./dev build and ./dev bench make. The records are written while nothing may be compacted;
then that is allowed, and the clock runs until all but the active segment is compacted, in as many passes
as the memory for keys asks for (log.cleaner.dedupe.buffer.size, 128 MB by default in both). Both look for
work without a pause. How it goes with hundreds of millions of keys: build/release/bench/bench_compact.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))
sys.path.insert(0, str(REPO / "bench"))

from lib import paths  # noqa: E402
from run import Bench, BenchKafka, BenchTaffrail, cpu_s, touch_memory  # noqa: E402

RECORD_BYTES = 100
TOPIC = "compacted"
SEGMENT_BYTES = 64 << 20
CONFIG = {"log.cleaner.backoff.ms": "100", "log.flush.offset.checkpoint.interval.ms": "1000",
          "log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "500"}
MB = 1e6


def peak_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000


class Compact(Bench):
    def sealed(self, broker):
        """(bytes, base offset of the active segment)"""
        files = sorted((broker.data / f"{TOPIC}-0").glob("*.log"))
        return sum(f.stat().st_size for f in files[:-1]), int(files[-1].stem)

    def cleaned_offset(self, broker):
        path = broker.data / "cleaner-offset-checkpoint"
        lines = path.read_text().splitlines() if path.exists() else []
        return max((int(line.split()[2]) for line in lines[2:] if line.split()[:2] == [TOPIC, "0"]), default=-1)

    def settings(self, broker, *configs):
        changes = [word for config in configs for word in ("-c", config)]
        subprocess.run([paths.TAFFRAIL, "topic", "alter", "-b", broker.bootstrap, TOPIC, *changes],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)

    def round(self, broker, keys):
        configs = [f"segment.bytes={SEGMENT_BYTES}", "cleanup.policy=compact", "min.compaction.lag.ms=86400000"]
        subprocess.run([paths.TAFFRAIL, "topic", "create", "-b", broker.bootstrap, TOPIC, "-p", "1",
                        *(word for config in configs for word in ("-c", config))],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)
        self.load_topic(broker, "keyed", TOPIC, keys * 3 // 2, RECORD_BYTES, keys)
        before, end = self.sealed(broker)
        used, began = cpu_s(broker.pid), time.monotonic()
        self.settings(broker, "min.compaction.lag.ms=0", "min.cleanable.dirty.ratio=0")
        while self.cleaned_offset(broker) < end:
            if time.monotonic() - began > self.options.timeout_s:
                raise RuntimeError(f"{broker.title}: compacted to {self.cleaned_offset(broker)} of {end}"
                                   f" after {self.options.timeout_s} s\n{broker.log_tail()}")
            time.sleep(0.05)
        seconds = time.monotonic() - began
        after, _end = self.sealed(broker)
        self.add("before_mb", broker, before / MB)
        self.add("after_mb", broker, after / MB)
        self.add("seconds", broker, seconds)
        self.add("mb_per_s", broker, before / MB / seconds)
        self.add("cpu_s", broker, cpu_s(broker.pid) - used)
        self.add("peak_mb", broker, peak_mb(broker.pid))

    def run_all(self, keys):
        touch_memory()
        for broker in self.brokers:
            broker.config.update(CONFIG)
            try:
                broker.start()
                self.say(f"{broker.title}: {keys * 3 // 2:,} records")
                self.round(broker, keys)
            finally:
                broker.kill()
                shutil.rmtree(broker.folder, ignore_errors=True)

    def table_of_compaction(self, keys):
        rows = [("log before, after", ["before_mb", "after_mb"], "{:,.0f} / {:,.0f} MB"),
                ("all of it compacted after", ["seconds"], "{:.1f} s"),
                ("of what was there", ["mb_per_s"], "{:.0f} MB/s"),
                ("broker CPU", ["cpu_s"], "{:.1f} s"),
                ("resident memory, peak", ["peak_mb"], "{:.0f} MB")]
        lines = [[f"{keys:,} keys, {keys * 3 // 2:,} records", *(b.title for b in self.brokers)]]
        for title, figures, form in rows:
            lines.append([title, *(self.cell(form, figures, b) for b in self.brokers)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            print("  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--brokers", default="kafka,taffrail", help="which of kafka,taffrail")
    parser.add_argument("--timeout-s", type=int, default=1800, help="how long a broker may compact (1800)")
    parser.add_argument("--dir", help="where the brokers keep their data (default: build)")
    parser.add_argument("--port", type=int, default=29500, help="first of the ports to use (29500)")
    options = parser.parse_args()
    options.brokers = options.brokers.split(",")
    options.quick, options.rounds = True, 1
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-compact-", dir=options.dir or REPO / "build"))
    try:
        compact = Compact(options, root)
        compact.run_all(options.keys)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    compact.table_of_compaction(options.keys)


if __name__ == "__main__":
    main()
