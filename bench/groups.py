#!/usr/bin/env python3
"""Measures consumer groups on Taffrail beside Apache Kafka, on this machine.

    ./dev bench groups --quick            some ten minutes; without it, more rounds
    ./dev bench groups --format json      every figure of every round
    ./dev bench groups --cases changes,commits --brokers taffrail

Cases: `changes`, what a member's arrival, departure and crash take until a group of 100 is stable again; `clients`, the
same in a group of 20 with real clients (librdkafka and Java) beside members of our own, which shows that these behave
as real ones do; `resting`, what 1,000 groups of 10 members cost that do nothing but heartbeat; `commits`, durable
offset commits a second. Members are groups_member.c's; groups_load.c says what is measured. Both brokers run at the same time, with
their own defaults. Apache Kafka's commits are measured as it ships and with flush.messages=1 on __consumer_offsets, which
makes its answer mean what ours means.
"""

import argparse
import contextlib
import json
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))
sys.path.insert(0, str(REPO / "bench"))

from lib import paths  # noqa: E402
from run import BUILD, BenchKafka, BenchTaffrail, cpu_s, resident_mb  # noqa: E402

LOAD = BUILD / "bench" / "bench_groups"
KINDS = {"kafka": BenchKafka, "taffrail": BenchTaffrail}
CLIENTS = ("java", "librdkafka")
PROTOCOLS = ("classic", "consumer")
CLASSIC_MS = (45000, 3000)  # session and heartbeat, as the clients have them by default
SHORT_MS = (6000, 2000)  # for the crash, whose session is waited for
CONSUMER_SESSION_MS = 45000
# Longer than every client's interval, so that what is measured does not depend on the change before.
PAUSE_S = (6.0, 9.0)
GROUP_MEMBERS, GROUP_PARTITIONS = 100, 100
REAL_MEMBERS = 20
RESTING_GROUPS, RESTING_MEMBERS = 1000, 10
COMMITTERS = (1, 16, 256)
COMMIT_GROUPS = 16


def tool(broker, *arguments):
    subprocess.run([paths.TAFFRAIL, *arguments, "-b", broker.bootstrap], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   timeout=60, check=True)


class Members:
    """A program with members of groups, which does what it is told, a line each."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.settled = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def do(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        self.process.kill()
        self.process.wait()


class Groups:
    def __init__(self, options, root):
        self.options = options
        self.rounds = options.rounds or (3 if options.quick else 10)
        self.brokers = []
        for i, name in enumerate(options.brokers):
            broker = KINDS[name](root / name, options.port + 2 * i)
            broker.config.pop("group.initial.rebalance.delay.ms")  # each has its own default
            self.brokers.append(broker)
        self.figures = {}  # (figure, broker's name): one value for each round
        self.lock = threading.Lock()
        self.topic_number = 0

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def add(self, figure, broker, value):
        with self.lock:
            self.figures.setdefault((figure, broker.name), []).append(value)

    def topic(self, broker, partitions):
        self.topic_number += 1
        name = f"bench-{self.topic_number}"
        tool(broker, "topic", "create", name, "-p", str(partitions))
        return name

    def members(self, broker, protocol, client, groups, members, partitions, times_ms=CLASSIC_MS):
        """Their number is of a group, and does not count those that arrive."""
        topic = self.topic(broker, partitions)
        return Members([LOAD, protocol, client, broker.port, topic, groups, members, partitions, *times_ms])

    def together(self, work):
        """Runs (function, arguments...) at the same time; the first failure is raised."""
        failures = []

        def run(function, *arguments):
            try:
                function(*arguments)
            except Exception as failure:
                failures.append(failure)
        threads = [threading.Thread(target=run, args=one) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    # --- arrivals, departures, crashes ---

    def change(self, broker, name, members, what):
        for point, value in members.do(what).items():
            self.add(f"{name}_{what}_{point}", broker, value)

    def come_and_go(self, broker, name, members):
        for what in ("arrive", "leave"):
            time.sleep(random.uniform(*PAUSE_S))
            self.change(broker, name, members, what)

    def rounds_of(self, made):
        """`made`: (broker, name, members). The brokers take turns, the groups of one do not."""
        for number in range(self.rounds):
            self.say(f"round {number + 1} of {self.rounds}")
            for broker in self.brokers:
                self.together([(self.come_and_go, *one) for one in made if one[0] is broker])

    def crash(self, broker, name, members):
        time.sleep(random.uniform(*PAUSE_S))
        self.change(broker, name, members, "crash")

    def changes(self):
        with contextlib.ExitStack() as stack:
            made, short = [], []
            for broker in self.brokers:
                self.say(f"{broker.title}: groups of {GROUP_MEMBERS - 1} members")
                for protocol in PROTOCOLS:
                    for client in CLIENTS:
                        members = self.members(broker, protocol, client, 1, GROUP_MEMBERS - 1, GROUP_PARTITIONS)
                        stack.callback(members.end)
                        made.append((broker, f"{protocol}_{client}", members))
                for client in CLIENTS:
                    members = self.members(broker, "classic", client, 1, GROUP_MEMBERS, GROUP_PARTITIONS, SHORT_MS)
                    stack.callback(members.end)
                    short.append((broker, f"classic_{client}", members))
            self.rounds_of(made)
            self.say("crashes")
            for _ in range(self.rounds):
                self.together([(self.crash, *one) for one in short])
            for _ in range(1 if self.options.quick else 3):
                self.together([(self.crash, *one) for one in made if one[1].startswith("consumer")])

    # --- real clients ---

    def real(self, broker, protocol, client):
        topic = self.topic(broker, REAL_MEMBERS)
        arguments = [broker.bootstrap, topic, protocol, REAL_MEMBERS - 1]
        if client == "librdkafka":
            return Members([paths.clients_home() / "python" / "bin" / "python", REPO / "bench" / "groups_confluent.py", *arguments])
        return Members(["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=OFF", "-cp", paths.java_classes(REPO / "bench" / "java"),
                        "GroupMembers", *arguments])

    def clients(self):
        with contextlib.ExitStack() as stack:
            made = []
            for broker in self.brokers:
                self.say(f"{broker.title}: real clients")
                for protocol in PROTOCOLS:
                    for client in CLIENTS:
                        ours = self.members(broker, protocol, client, 1, REAL_MEMBERS - 1, REAL_MEMBERS)
                        stack.callback(ours.end)
                        real = self.real(broker, protocol, client)
                        stack.callback(real.end)
                        made += [(broker, f"ours_{protocol}_{client}", ours), (broker, f"real_{protocol}_{client}", real)]
            self.rounds_of(made)

    # --- heartbeats ---

    def rest(self, broker, protocol, client, seconds):
        broker.restart()  # nothing is left of the groups before
        before_mb = resident_mb(broker.pid)
        members = self.members(broker, protocol, client, RESTING_GROUPS, RESTING_MEMBERS, RESTING_MEMBERS)
        try:
            time.sleep(5)
            before_s = cpu_s(broker.pid)
            rested = members.do("rest", seconds)
            used_s = cpu_s(broker.pid) - before_s
        finally:
            resident = resident_mb(broker.pid)
            members.end()
        name = f"resting_{protocol}_{client}"
        self.add(f"{name}_cpu_s_per_s", broker, used_s / rested["seconds"])
        self.add(f"{name}_client_cpu_s_per_s", broker, rested["client_cpu_s"] / rested["seconds"])
        self.add(f"{name}_heartbeats_per_s", broker, rested["heartbeats"] / rested["seconds"])
        self.add(f"{name}_late_per_s", broker, rested["late"] / rested["seconds"])
        self.add(f"{name}_resident_mb", broker, resident)
        self.add(f"{name}_resident_before_mb", broker, before_mb)

    def resting(self):
        for protocol, client in (("classic", "java"), ("consumer", "java"), ("consumer", "librdkafka")):
            for broker in self.brokers:
                self.say(f"{broker.title}: {RESTING_GROUPS:,} groups at rest, {protocol}, {client}")
                self.rest(broker, protocol, client, 10 if self.options.quick else 30)

    # --- commits ---

    def commit(self, broker, name, members, seconds):
        for count in COMMITTERS:
            before_s = cpu_s(broker.pid)
            done = members.do("commit", seconds, count)
            used_s = cpu_s(broker.pid) - before_s
            for point in ("per_second", "p50_ms", "p99_ms"):
                self.add(f"{name}_{count}_{point}", broker, done[point])
            self.add(f"{name}_{count}_cpu_us", broker, used_s / done["commits"] * 1e6)

    def commits(self):
        with contextlib.ExitStack() as stack:
            made = []
            for broker in self.brokers:
                in_each = max(COMMITTERS) // COMMIT_GROUPS
                members = self.members(broker, "classic", "java", COMMIT_GROUPS, in_each, in_each)
                stack.callback(members.end)
                made.append((broker, members))
                self.say(f"warming up {broker.title}")
                members.do("commit", 10 if broker.name == "kafka" else 1, max(COMMITTERS))
            for number in range(self.rounds):
                self.say(f"commits, round {number + 1} of {self.rounds}")
                for broker, members in made:
                    self.commit(broker, "commit", members, 3)
                    if broker.name == "kafka":
                        tool(broker, "topic", "alter", "__consumer_offsets", "-c", "flush.messages=1")
                        self.commit(broker, "flushed_commit", members, 3)
                        tool(broker, "topic", "alter", "__consumer_offsets", "--unset", "flush.messages")

    def run(self):
        try:
            for broker in self.brokers:
                broker.start()
            for case in self.options.cases:
                getattr(self, case)()
        finally:
            for broker in self.brokers:
                broker.kill()

    # --- what it says ---

    def cell(self, broker, form, figures, choose):
        values = [self.figures.get((figure, broker.name)) for figure in figures]
        return form.format(*(choose(v) for v in values)) if all(values) else "-"

    def change_rows(self, name, title, whats, points):
        for what in whats:
            for point, meaning in points:
                yield f"{title}, {what}: {meaning}", "{:,.0f} ms", [f"{name}_{what}_{point}"], True

    def rows(self):
        """(title, form, figures, whether there is more to a figure than its median)"""
        stable, assigned = ("stable_ms", "stable"), ("assigned_ms", "assigned")
        for protocol in PROTOCOLS:
            for client in CLIENTS:
                points = [stable] if protocol == "classic" else [assigned, stable]
                yield from self.change_rows(f"{protocol}_{client}", f"{protocol}, {client}, {GROUP_MEMBERS}",
                                            ("arrive", "leave", "crash"), points)
        for protocol in PROTOCOLS:
            for client in CLIENTS:
                for kind in ("ours", "real"):
                    point = [stable] if kind == "ours" and protocol == "classic" else [assigned]
                    yield from self.change_rows(f"{kind}_{protocol}_{client}", f"{kind}: {protocol}, {client}, {REAL_MEMBERS}",
                                                ("arrive", "leave"), point)
        for protocol, client in (("classic", "java"), ("consumer", "java"), ("consumer", "librdkafka")):
            name, title = f"resting_{protocol}_{client}", f"at rest, {protocol}, {client}"
            yield f"{title}: CPU a second", "{:.3f} s", [f"{name}_cpu_s_per_s"], False
            yield f"{title}: heartbeats a second", "{:,.0f}", [f"{name}_heartbeats_per_s"], False
            yield (f"{title}: resident, before", "{:,.0f} MB, {:,.0f} MB", [f"{name}_resident_mb", f"{name}_resident_before_mb"],
                   False)
        for name, title in (("commit", "commits"), ("flushed_commit", "commits, flush.messages=1")):
            for count in COMMITTERS:
                points = [f"{name}_{count}_{p}" for p in ("per_second", "p50_ms", "p99_ms", "cpu_us")]
                yield f"{title}, {count} at once: p50, p99, CPU each", "{:,.0f}/s {:.2f} {:.2f} ms {:.0f} us", points, False

    def table(self):
        lines = [["median (most)", *(broker.title for broker in self.brokers)]]
        for title, form, figures, has_most in self.rows():
            cells = [self.cell(broker, form, figures, statistics.median) for broker in self.brokers]
            if has_most:
                cells = [f"{cell} ({self.cell(b, form, figures, max)})" for cell, b in zip(cells, self.brokers) if cell != "-"]
            if any(cell != "-" for cell in cells):
                lines.append([title, *cells])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            print("  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]).rstrip())

    def as_json(self):
        out = {}
        for (figure, name), values in self.figures.items():
            out.setdefault(name, {})[figure] = values
        json.dump({"rounds": self.rounds, "brokers": out}, sys.stdout, indent=2)
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of ten")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (10; quick: 3)")
    parser.add_argument("--cases", default="changes,clients,resting,commits", help="which of these")
    parser.add_argument("--brokers", default="kafka,taffrail", help="which of kafka,taffrail")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--dir", help="where the brokers keep their data (default: build)")
    parser.add_argument("--port", type=int, default=29700, help="first of the ports to use (29700)")
    options = parser.parse_args()
    options.brokers, options.cases = options.brokers.split(","), options.cases.split(",")
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-groups-", dir=options.dir or REPO / "build"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    groups = Groups(options, root)
    try:
        groups.run()
    finally:
        shutil.rmtree(root, ignore_errors=True)
        groups.as_json() if options.format == "json" else groups.table()  # also what there is of a run that was ended


if __name__ == "__main__":
    main()
