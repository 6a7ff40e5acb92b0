"""Consumer groups of real clients under change: members come, leave, and are killed while a producer runs.

Every record must be processed at least once, no committed offset may go back, and in the end the group has committed all.
"""

import os
import signal
import subprocess
import time

from test_clients import node, python

COUNT = 1500
PER_SECOND = 300
PARTITIONS = 6
LIMIT_S = 60


def command(kind):
    if kind == "kafkajs":
        return [*node("group.mjs"), "member"]
    return [*python("group.py"), "member"]


class Group:
    def __init__(self, env, kind):
        self.kind = kind
        self.broker = env.shared()
        self.topic = self.group = f"groups-{kind}"
        self.folder = env.tmp
        self.members = []
        self.lowest = {}

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

    def processed(self):
        seen = set()
        for _, path in self.members:
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    seen.add(tuple(int(word) for word in line.split()))
        return seen

    def committed(self):
        done = subprocess.run([*python("group.py"), "committed", self.broker.bootstrap, self.topic, self.group],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        offsets = dict(tuple(int(word) for word in line.split()) for line in done.stdout.splitlines())
        for partition, offset in offsets.items():
            assert offset >= self.lowest.get(partition, 0), \
                f"the committed offset of {partition} went back from {self.lowest[partition]} to {offset}"
        self.lowest = offsets
        return offsets

    def end(self):
        for process, _ in self.members:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def under_change(env, kind):
    group = Group(env, kind)
    group.create()
    wanted = {(p, o) for p in range(PARTITIONS) for o in range(COUNT // PARTITIONS)}
    producer = subprocess.Popen([*python("group.py"), "produce", group.broker.bootstrap, group.topic, str(COUNT),
                                 str(PER_SECOND)], stderr=subprocess.PIPE)
    try:
        for change in (group.start, group.start, group.start, group.kill_one, group.start, group.stop_one):
            change()
            time.sleep(1)
            group.committed()
        assert producer.wait(60) == 0, producer.stderr.read()
        deadline = time.monotonic() + LIMIT_S
        while group.processed() < wanted or sum(group.committed().values()) < COUNT:
            assert time.monotonic() < deadline, \
                f"{len(wanted - group.processed())} records were not processed; committed: {group.lowest}"
            time.sleep(0.2)
        assert group.processed() == wanted, "a record that nobody made"
    finally:
        producer.kill()
        group.end()


def test_librdkafka_range(env):
    under_change(env, "range")


def test_librdkafka_roundrobin(env):
    under_change(env, "roundrobin")


def test_librdkafka_cooperative(env):
    under_change(env, "cooperative-sticky")


def test_kafka_python(env):
    under_change(env, "kafka-python")


def test_kafkajs(env):
    under_change(env, "kafkajs")
