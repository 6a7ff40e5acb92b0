#!/usr/bin/env python3
"""Measures Taffrail beside Apache Kafka and beside the floor under both, on this machine.

    ./dev bench --quick            some five minutes; without it, more and longer rounds
    ./dev bench --format json      every figure of every round

The three run at the same time, each on its own folder of the same disk, and are loaded one after the
other, round by round, by the same programs: so what else the machine does meets all of them. Apache
Kafka is warmed up first. The broker's CPU time is the kernel's count for its process. The table has the
medians of the rounds. The floor (floor.c) is no broker: it is what sockets, checksum and page cache cost.
"""

import argparse
import json
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))

from lib import brokers, paths, wire  # noqa: E402

BUILD = REPO / "build" / "release"
LOAD = BUILD / "bench" / "bench_load"
FLOOR = BUILD / "bench" / "bench_floor"
LOAD_TIMEOUT_S = 600
RATES = (1000, 10000)
RECORD_BYTES = 100
REPLAY_BATCH = 9000  # of one request: just under a megabyte, as a busy librdkafka sends
# Until acks=all is answered, over so many partitions; Apache Kafka with flush.messages=1, which makes its answer mean the
# same. The floor has no disk to wait for.
DURABLE_RATE = 2000
DURABLE_PARTITIONS = (1, 16, 256)
TOUCH_BYTES_MAX = 8 << 30

# As kafka-server-start.sh and kafka-run-class.sh start it.
KAFKA_JAVA_OPTIONS = [
    "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
]


# A deleted topic's files go at once, as the floor's file does when the next topic begins: else each round would
# write to memory that nobody has used yet (see touch_memory), and only the floor to its own again.
RECYCLING = {"log.segment.delete.delay.ms": "0"}
DELETED_S = 2


class BenchKafka(brokers.ApacheKafka):
    """Apache Kafka with its own heap and collector instead of the tests' small ones."""

    title = "Apache Kafka"

    def java(self):
        command = super().java()
        options = [o for o in command[1:] if not o.startswith("-X")]
        return [command[0], *KAFKA_JAVA_OPTIONS, *options]


class BenchTaffrail(brokers.Taffrail):
    title = "Taffrail"


class Floor(brokers.Broker):
    name = "floor"
    title = "floor"

    def command(self, _properties):
        return [FLOOR, str(self.port), self.folder / "records"]


def start_ms(broker):
    """From before the process exists to its first answer to a Metadata request."""
    began = time.monotonic()
    broker.spawn()
    while time.monotonic() - began < broker.start_timeout_s:
        try:
            if wire.metadata_broker_count((broker.host, broker.port)) > 0:
                return (time.monotonic() - began) * 1000
        except (OSError, ConnectionError):
            if broker.process.poll() is not None:
                break
            time.sleep(0.0002)
    raise brokers.BrokerFailed(f"{broker.name} did not start\n{broker.log_tail()}")


def touch_memory():
    """Writes to free memory once and gives it back.

    A virtual machine gets its memory at the first write to it, at 2 to 3 s of CPU for a GB: more than
    all else that a produced record costs. Whoever filled the page cache first would pay for all.
    """
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = min(TOUCH_BYTES_MAX, available // 4 * 3) // mmap.PAGESIZE * mmap.PAGESIZE
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def cpu_s(pid):
    """User and system time of all threads of a process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError(f"no VmRSS of process {pid}")


class Bench:
    def __init__(self, options, root):
        self.options = options
        self.quick = options.quick
        self.rounds = options.rounds or (2 if self.quick else 5)
        self.records = 10_000_000
        self.requests = 100_000 if self.quick else 500_000
        self.latency_s = 5 if self.quick else 20
        self.topic_number = 0
        kinds = [BenchKafka, BenchTaffrail, Floor]
        self.brokers = [kind(root / kind.name, options.port + 2 * i, RECYCLING)
                        for i, kind in enumerate(kinds) if kind.name in options.brokers]
        self.figures = {}  # (figure, broker's name): one value for each round

    def add(self, figure, broker, value):
        self.figures.setdefault((figure, broker.name), []).append(value)

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def load_topic(self, broker, kind, topic, *arguments):
        """Runs a load; what it printed, with the broker's CPU seconds."""
        before = cpu_s(broker.pid)
        done = subprocess.run([LOAD, kind, str(broker.port), topic, *map(str, arguments)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              timeout=LOAD_TIMEOUT_S, check=True)
        result = json.loads(done.stdout)
        result["broker_cpu_s"] = cpu_s(broker.pid) - before
        return result

    def load(self, broker, kind, *arguments):
        """Against a topic of its own."""
        self.topic_number += 1
        topic = f"bench-{self.topic_number}"
        result = self.load_topic(broker, kind, topic, *arguments)
        self.delete(broker, topic)
        if broker.name != "floor":
            time.sleep(DELETED_S)
        return result

    def load_durable(self, broker, partitions):
        """As `load`, on a topic that is made for it."""
        topic = f"bench-{self.topic_number + 1}"
        config = ["-c", "flush.messages=1"] if broker.name == "kafka" else []
        subprocess.run([paths.TAFFRAIL, "topic", "create", "-b", broker.bootstrap, topic, "-p", str(partitions), *config],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)
        return self.load(broker, "acks", DURABLE_RATE, self.latency_s, RECORD_BYTES, partitions)

    def delete(self, broker, topic):
        """So that the rounds do not fill the disk; the floor empties its file by itself."""
        if broker.name != "floor":
            subprocess.run([paths.TAFFRAIL, "topic", "delete", "-b", broker.bootstrap, topic],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)

    def start(self):
        for broker in self.brokers:
            broker.start()  # it formats its folder and makes what it makes once
            starts = 1 if broker.name == "kafka" else 5
            for _ in range(starts):
                if broker.name == "floor":
                    broker.kill()
                else:
                    broker.stop()
                self.add("start_ms", broker, start_ms(broker))
            self.say(f"{broker.title} is up")
        time.sleep(5)
        for broker in self.brokers:
            self.add("idle_resident_mb", broker, resident_mb(broker.pid))

    def warm_up(self, broker):
        """A minute of every kind of load for what compiles itself while it runs."""
        warm_s = self.options.warm_s if broker.name == "kafka" else 2
        self.say(f"warming up {broker.title}, {warm_s} s")
        until = time.monotonic() + warm_s
        while time.monotonic() < until:
            self.load(broker, "produce", 1_000_000, RECORD_BYTES, 1)
            self.load(broker, "requests", 20_000, RECORD_BYTES)
            self.load(broker, "latency", 1000, 2, RECORD_BYTES)

    def round(self, broker):
        result = self.load(broker, "produce", self.records, RECORD_BYTES, 1)
        self.add("produce_million_per_s", broker, result["per_second"] / 1e6)
        self.add("produce_cpu_s_per_million", broker, result["broker_cpu_s"] / (self.records / 1e6))
        result = self.load(broker, "replay", self.records, RECORD_BYTES, REPLAY_BATCH)
        self.add("replay_million_per_s", broker, result["per_second"] / 1e6)
        self.add("replay_cpu_s_per_million", broker, result["broker_cpu_s"] / (self.records / 1e6))
        result = self.load(broker, "requests", self.requests, RECORD_BYTES)
        self.add("requests_per_s", broker, result["per_second"])
        self.add("request_cpu_us", broker, result["broker_cpu_s"] / self.requests * 1e6)
        for rate in RATES:
            result = self.load(broker, "latency", rate, self.latency_s, RECORD_BYTES)
            for point in ("p50", "p99", "p999"):
                self.add(f"latency_{rate}_{point}_ms", broker, result[f"{point}_ms"])
        if broker.name == "floor":
            return
        result = self.load(broker, "produce", self.records, RECORD_BYTES, "all")
        self.add("produce_all_million_per_s", broker, result["per_second"] / 1e6)
        for partitions in DURABLE_PARTITIONS:
            result = self.load_durable(broker, partitions)
            for point in ("p50", "p99"):
                self.add(f"durable_{partitions}_{point}_ms", broker, result[f"{point}_ms"])

    def run(self):
        self.say("touching free memory")
        touch_memory()
        try:
            self.start()
            for broker in self.brokers:
                self.warm_up(broker)
            for number in range(self.rounds):
                for broker in self.brokers:
                    self.say(f"round {number + 1} of {self.rounds}, {broker.title}")
                    self.round(broker)
        finally:
            for broker in self.brokers:
                broker.kill()

    # --- what it says ---

    def median(self, figure, broker):
        return statistics.median(self.figures[(figure, broker.name)])

    def cell(self, form, figures, broker):
        if (figures[0], broker.name) not in self.figures:
            return "-"
        return form.format(*(self.median(f, broker) for f in figures))

    def table(self):
        rows = [
            ("start to first answer", ["start_ms"], "{:.1f} ms"),
            ("resident memory, idle", ["idle_resident_mb"], "{:.1f} MB"),
            (f"produce {self.records // 1_000_000} M x {RECORD_BYTES} B, acks=1",
             ["produce_million_per_s"], "{:.2f} M/s"),
            ("  broker CPU a million", ["produce_cpu_s_per_million"], "{:.3f} s"),
            (f"the same records, ready-made batches of {REPLAY_BATCH:,}", ["replay_million_per_s"], "{:.2f} M/s"),
            ("  broker CPU a million", ["replay_cpu_s_per_million"], "{:.3f} s"),
            ("one-record requests, 64 in flight", ["requests_per_s"], "{:,.0f} /s"),
            ("  broker CPU each", ["request_cpu_us"], "{:.1f} us"),
        ]
        for rate in RATES:
            points = [f"latency_{rate}_{p}_ms" for p in ("p50", "p99", "p999")]
            rows.append((f"end to end at {rate:,}/s, p50/p99/p99.9", points, "{:.2f} / {:.2f} / {:.2f} ms"))
        rows.append((f"produce {self.records // 1_000_000} M x {RECORD_BYTES} B, acks=all (Kafka: not on the disk)",
                     ["produce_all_million_per_s"], "{:.2f} M/s"))
        for partitions in DURABLE_PARTITIONS:
            points = [f"durable_{partitions}_{p}_ms" for p in ("p50", "p99")]
            rows.append((f"on the disk, {DURABLE_RATE:,}/s over {partitions} partitions, p50/p99", points,
                         "{:.2f} / {:.2f} ms"))
        lines = [["", *(b.title for b in self.brokers)]]
        for title, figures, form in rows:
            lines.append([title, *(self.cell(form, figures, b) for b in self.brokers)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            cells = [line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]
            print("  ".join(cells).rstrip())

    def as_json(self):
        out = {}
        for (figure, name), values in self.figures.items():
            out.setdefault(name, {})[figure] = values
        json.dump({"records": self.records, "rounds": self.rounds, "brokers": out}, sys.stdout, indent=2)
        print()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5; quick: 2)")
    parser.add_argument("--warm-s", type=int, default=60, help="how long Apache Kafka is warmed up (60)")
    parser.add_argument("--brokers", default="kafka,taffrail,floor", help="which of kafka,taffrail,floor")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--dir", help="where the brokers keep their data (default: build)")
    parser.add_argument("--port", type=int, default=29500, help="first of the ports to use (29500)")
    options = parser.parse_args()
    options.brokers = options.brokers.split(",")
    return options


def main():
    options = arguments()
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir or REPO / "build"))
    try:
        bench = Bench(options, root)
        bench.run()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    bench.as_json() if options.format == "json" else bench.table()


if __name__ == "__main__":
    main()
