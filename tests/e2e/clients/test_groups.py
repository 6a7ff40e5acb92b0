"""Consumer groups of real clients under change: members come, leave, oversleep their session, and are killed while a
producer runs.

Every record must be processed at least once, no committed offset may go back, no partition may be two members' at once,
and in the end the group has committed all (groupcheck.py). TAFFRAIL_GROUP_ROUNDS says how many rounds each kind has (1).
"""

import json
import os
import signal
import subprocess
import time

from lib import paths, runner

import groupcheck
from test_clients import node, python

COUNT = 1500
PER_SECOND = 300
PARTITIONS = 6
LIMIT_S = 60
ROUNDS = int(os.environ.get("TAFFRAIL_GROUP_ROUNDS", 1))
NOT_FOUND = 4
# A consumer group's session is the broker's to say; by default it is 45 s.
SHORT_SESSIONS = {f"group.consumer.{name}": value for name, value in {
    "min.session.timeout.ms": "3000", "session.timeout.ms": "3000",
    "min.heartbeat.interval.ms": "500", "heartbeat.interval.ms": "500"}.items()}


def command(kind):
    if kind == "kafkajs":
        return [*node("group.mjs"), "member"]
    return [*python("group.py"), "member"]


class Group:
    def __init__(self, env, kind, broker, number):
        self.kind = kind
        self.broker = broker
        self.topic = self.group = f"groups-{kind}-{number}"
        self.folder = env.tmp
        self.members = []
        self.check = groupcheck.Checker({p: COUNT // PARTITIONS for p in range(PARTITIONS)})

    def start(self):
        path = self.folder / f"{self.group}-{len(self.members)}.out"
        arguments = [self.broker.bootstrap, self.topic, self.group]
        if self.kind != "kafkajs":
            arguments.append(self.kind)
        with open(path, "wb") as out, open(f"{path}.err", "wb") as err:
            # In a session of its own: some programs are started by a wrapper, which must not be all that a signal hits.
            process = subprocess.Popen([*command(self.kind), *arguments], stdout=out, stderr=err, start_new_session=True)
        self.members.append((process, path))

    def create(self):
        done = subprocess.run([*python("group.py"), "create", self.broker.bootstrap, self.topic],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def kill_one(self):
        """kill -9: the group notices when the session ends."""
        os.killpg(self.members[0][0].pid, signal.SIGKILL)

    def stop_one(self):
        os.killpg(self.members[1][0].pid, signal.SIGTERM)

    def oversleep(self):
        """The group goes on without a member, which then finds out."""
        os.killpg(self.members[2][0].pid, signal.SIGSTOP)
        time.sleep(3.5)
        self.look()
        os.killpg(self.members[2][0].pid, signal.SIGCONT)

    def look(self):
        """Tells the checker what there is to see now."""
        for _, path in self.members:
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    self.check.record(*(int(word) for word in line.split()))

        done = subprocess.run([paths.TAFFRAIL, "group", "describe", self.group, "--format", "json", "-b", self.broker.bootstrap],
                              capture_output=True, text=True, timeout=60)
        if done.returncode == NOT_FOUND:
            return
        assert done.returncode == 0, done.stderr
        [described] = json.loads(done.stdout)
        self.check.commits({p["partition"]: p["committed_offset"] for p in described["partitions"]
                            if p["committed_offset"] is not None})
        self.check.owners({m["consumer_id"]: [p for t in m["assignment"] for p in t["partitions"]]
                           for m in described["members"]})

    def end(self):
        for process, _ in self.members:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def round_of(group):
    group.create()
    producer = subprocess.Popen([*python("group.py"), "produce", group.broker.bootstrap, group.topic, str(COUNT),
                                 str(PER_SECOND)], stderr=subprocess.PIPE)
    try:
        for change in (group.start, group.start, group.start, group.kill_one, group.start, group.oversleep, group.stop_one):
            change()
            time.sleep(1)
            group.look()
        assert producer.wait(60) == 0, producer.stderr.read()
        deadline = time.monotonic() + LIMIT_S
        while group.check.left() != (0, 0) and time.monotonic() < deadline:
            time.sleep(0.2)
            group.look()
        group.check.finish()
    finally:
        producer.kill()
        group.end()


def under_change(env, kind, broker=None):
    for number in range(ROUNDS):
        round_of(Group(env, kind, broker or env.shared(), number))


def test_check_sees(_env):
    """Each way that a group can go wrong, planted by hand."""
    counts = {0: 3, 1: 2}

    def good():
        check = groupcheck.Checker(counts)
        for partition, count in counts.items():
            for offset in range(count):
                check.record(partition, offset)
        check.record(1, 0)
        check.commits({0: 1})
        check.commits({0: 3, 1: 2})
        check.owners({"a": [0], "b": [1], "c": []})
        return check

    good().finish()
    faults = {
        "a record that nobody wrote": lambda c: c.record(0, 3),
        "a partition that is not there": lambda c: c.record(2, 0),
        "an offset that goes back": lambda c: c.commits({0: 2, 1: 2}),
        "an offset that is lost": lambda c: c.commits({0: 3}),
        "an offset past the end": lambda c: c.commits({0: 4, 1: 2}),
        "two owners": lambda c: c.owners({"a": [0, 1], "b": [1]}),
        "one owner twice": lambda c: c.owners({"a": [0, 0]}),
        "a record that is not processed": lambda c: (c.processed.discard((0, 1)), c.finish()),
        "a record that is not committed": lambda c: (c.committed.update({1: 1}), c.finish()),
    }
    for fault, plant in faults.items():
        try:
            plant(good())
        except AssertionError:
            continue
        raise AssertionError(f"not seen: {fault}")


@runner.timeout(120 * ROUNDS)
def test_librdkafka_range(env):
    under_change(env, "range")


@runner.timeout(120 * ROUNDS)
def test_librdkafka_roundrobin(env):
    under_change(env, "roundrobin")


@runner.timeout(120 * ROUNDS)
def test_librdkafka_cooperative(env):
    under_change(env, "cooperative-sticky")


@runner.timeout(120 * ROUNDS)
def test_kafka_python(env):
    under_change(env, "kafka-python")


@runner.timeout(120 * ROUNDS)
def test_kafkajs(env):
    under_change(env, "kafkajs")


@runner.timeout(120 * ROUNDS)
def test_librdkafka_consumer_protocol(env):
    under_change(env, "consumer", env.broker(config=SHORT_SESSIONS))
