"""What a consumer's settings mean, row by row, with kafka-python and Java.

The consumers are steered: they poll, commit and close when they are told, so that each step's outcome is known. What a
group has is asked of the broker by `taffrail group describe`.
"""

import contextlib
import functools
import json
import signal
import subprocess
import time

from lib import paths, runner

from test_clients import java, python

CLIENTS = {
    "kafka-python": lambda: python("steered.py"),
    "java": lambda: ["java", "-Dlog4j2.level=OFF", *java()[1:-1], "SteeredConsumer"],
}
# What the two call the same failure.
FAILURES = {
    "CommitFailedError": "CommitFailedException",
    "InvalidSessionTimeoutError": "InvalidSessionTimeoutException",
    "NoOffsetForPartitionError": "NoOffsetForPartitionException",
}
PATIENCE_S = 30
NOT_FOUND = 4
# kafka-python 3.0.12 forgets the answer of a SyncGroup when a poll ends before it comes, and then has no partitions for
# good: a poll takes long where a rebalance may be.
POLL = "poll 1000"


def with_both(function):
    """Decorator: the test with each of the clients."""
    @functools.wraps(function)
    def test(env):
        for client in CLIENTS:
            function(Scene(env, client))
    del test.__wrapped__
    return runner.timeout(150)(test)


class Consumer:
    def __init__(self, command, settings):
        self.process = subprocess.Popen([*command, *settings], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def tell(self, command):
        """Its answer, which may be an error."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().split()
        assert said, f"the consumer ended at {command}"
        return f"error {FAILURES.get(said[1], said[1])}" if said[0] == "error" else " ".join(said)

    def do(self, command):
        said = self.tell(command)
        assert not said.startswith("error"), f"{command}: {said}"
        return [int(offset) for offset in said.split()[1:]]

    def read(self, count):
        """Polls until it has that many; the offsets."""
        offsets, deadline = [], time.monotonic() + PATIENCE_S
        while len(offsets) < count:
            assert time.monotonic() < deadline, f"{count} records wanted, read: {offsets}"
            offsets += self.do(POLL)
        return offsets

    def fail(self, wanted):
        """Polls until that is what comes of it."""
        deadline = time.monotonic() + PATIENCE_S
        while (said := self.tell(POLL)) != f"error {wanted}":
            assert said == "records" and time.monotonic() < deadline, f"{wanted} wanted: {said}"


class Scene:
    """One client, one broker, and topics of one partition each."""

    def __init__(self, env, client, broker=None):
        self.client = client
        # The least session of Apache Kafka is 6 s when nothing is said.
        self.broker = broker or env.shared() if env.broker_kind == "taffrail" else \
            env.broker(name=client, config={"group.min.session.timeout.ms": "3000"})

    def taffrail(self, *words, stdin=None, otherwise=None):
        """What the command printed; `otherwise` when there is no such thing and that may be."""
        done = subprocess.run([paths.TAFFRAIL, *words, "-b", self.broker.bootstrap], input=stdin, capture_output=True,
                              text=True, timeout=30)
        if otherwise is not None and done.returncode == NOT_FOUND:
            return otherwise
        assert done.returncode == 0, done.stderr
        return done.stdout

    def topic(self, row, count, partitions=1):
        name = f"settings-{row}-{self.client}"
        self.taffrail("topic", "create", name, "-p", str(partitions))
        self.write(name, count)
        return name

    def write(self, topic, count):
        self.taffrail("produce", topic, "-q", stdin="".join(f"{i}\n" for i in range(count)))

    @contextlib.contextmanager
    def consumer(self, topic, group, **settings):
        chosen = {"auto.offset.reset": "earliest", "enable.auto.commit": "false", "heartbeat.interval.ms": "500",
                  **{name.replace("_", "."): value for name, value in settings.items()}}
        words = [f"{name}={value}" for name, value in {"group.id": group, **chosen}.items()]
        consumer = Consumer(CLIENTS[self.client](), [self.broker.bootstrap, topic, *words])
        try:
            yield consumer
        finally:
            consumer.process.kill()
            consumer.process.wait()

    def described(self, group):
        nothing = '[{"partitions": [], "members": []}]'
        return json.loads(self.taffrail("group", "describe", group, "--format", "json", otherwise=nothing))[0]

    def members(self, group):
        return len(self.described(group)["members"])

    def committed(self, group):
        """What a group of one partition committed."""
        [partition] = self.described(group)["partitions"]
        return partition["committed_offset"]


def seconds_until(condition):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + PATIENCE_S, "it never came to that"
        time.sleep(0.05)
    return time.monotonic() - began


@with_both
def test_group_id(scene):
    """Each group has all; the members of one share it."""
    topic = scene.topic("group.id", 10)
    for group in ("one", "another"):
        with scene.consumer(topic, f"{topic}-{group}") as consumer:
            assert consumer.read(10) == list(range(10))
            consumer.do("commit")
            consumer.do("close")
    scene.write(topic, 5)
    with scene.consumer(topic, f"{topic}-one") as first, scene.consumer(topic, f"{topic}-one") as second:
        assert first.read(5) == [10, 11, 12, 13, 14]
        # One partition is one member's: the other waits for it.
        deadline = time.monotonic() + PATIENCE_S
        while scene.members(f"{topic}-one") < 2:
            assert time.monotonic() < deadline
            assert set(first.do(POLL) + second.do(POLL)) <= {10, 11, 12, 13, 14}


@with_both
def test_max_poll_records(scene):
    topic = scene.topic("max.poll.records", 250)
    with scene.consumer(topic, topic, max_poll_records="100") as consumer:
        polls = []
        while sum(map(len, polls)) < 250:
            polls.append(consumer.do(POLL))
        assert [offset for poll in polls for offset in poll] == list(range(250))
        assert max(map(len, polls)) == 100, [len(poll) for poll in polls]


@with_both
def test_session_timeout_ms(scene):
    """3 and 6 s are taken and kept to, less than 3 s is refused; who overslept may not commit, and joins anew."""
    topic = scene.topic("session", 5)
    with scene.consumer(topic, f"{topic}-2999", session_timeout_ms="2999") as refused:
        refused.fail("InvalidSessionTimeoutException")
    with scene.consumer(topic, f"{topic}-3", session_timeout_ms="3000") as three, \
            scene.consumer(topic, f"{topic}-6", session_timeout_ms="6000") as six:
        for consumer in (three, six):
            consumer.read(5)
            consumer.process.send_signal(signal.SIGSTOP)
        # A heartbeat of up to half a second ago, or one that the broker still holds, counts.
        gone_three = seconds_until(lambda: scene.members(f"{topic}-3") == 0)
        assert scene.members(f"{topic}-6") == 1
        gone_six = gone_three + seconds_until(lambda: scene.members(f"{topic}-6") == 0)
        assert gone_three > 1 and gone_six > gone_three + 1, (gone_three, gone_six)
        three.process.send_signal(signal.SIGCONT)
        assert three.tell("commit") == "error CommitFailedException"
        assert three.read(5) == list(range(5))
        three.do("commit")
        assert scene.committed(f"{topic}-3") == 5


@with_both
def test_max_poll_interval_ms(scene):
    """Who does not poll leaves, though its heartbeats go on; what it read comes again."""
    topic = scene.topic("poll-interval", 5)
    with scene.consumer(topic, topic, max_poll_interval_ms="3000", session_timeout_ms="3000") as slow:
        assert slow.read(5) == list(range(5)) and scene.members(topic) == 1
        seconds_until(lambda: scene.members(topic) == 0)
        assert slow.tell("commit") == "error CommitFailedException"
        assert slow.read(5) == list(range(5))
        slow.do("commit")
    assert scene.committed(topic) == 5


def test_isolation_level(env):
    """Committed and aborted transactions that Apache Kafka wrote: one level skips what the other shows."""
    topic = "settings-isolation"
    first = env.broker(kind="kafka", name="first")
    transactions = [*python("transactions.py")]
    Scene(env, None, first).taffrail("topic", "create", topic, "-p", "2")
    subprocess.run([*transactions, "write", first.bootstrap, topic], check=True, timeout=60)
    said = subprocess.run([*transactions, "read", first.bootstrap, topic], check=True, timeout=60, stdout=subprocess.PIPE).stdout
    wanted = {level: sorted(offset for _, offset, _ in rows) for level, rows in json.loads(said).items()}
    assert 0 < len(wanted["read_committed"]) < len(wanted["read_uncommitted"])
    first.stop()
    then = env.broker(name="then", config={"log.dirs": str(first.data)})
    for client in CLIENTS:
        scene = Scene(env, client, then)
        for level, offsets in wanted.items():
            with scene.consumer(topic, f"{topic}-{client}-{level}", isolation_level=level) as consumer:
                seen = consumer.read(len(offsets))
                assert sorted(seen + consumer.do(POLL)) == offsets, f"{client} {level}: {len(seen)} of {len(offsets)}"
                consumer.do("commit")
            partitions = scene.described(f"{topic}-{client}-{level}")["partitions"]
            assert [p["committed_offset"] for p in partitions] == [p["end_offset"] for p in partitions], partitions


@with_both
def test_auto_offset_reset(scene):
    """From the start, from what comes, or an error: without a committed offset, and with one that the log lost."""
    topic = scene.topic("reset", 10)
    with scene.consumer(topic, f"{topic}-earliest") as earliest, \
            scene.consumer(topic, f"{topic}-latest", auto_offset_reset="latest") as latest, \
            scene.consumer(topic, f"{topic}-none", auto_offset_reset="none") as none:
        assert earliest.read(10) == list(range(10))
        earliest.do("close")
        none.fail("NoOffsetForPartitionException")
        # It commits where it is as soon as it knows.
        deadline = time.monotonic() + PATIENCE_S
        while latest.tell(POLL) != "records" or latest.tell("commit") != "ok" or \
                not scene.described(f"{topic}-latest")["partitions"]:
            assert time.monotonic() < deadline
        scene.write(topic, 3)
        assert latest.read(3) == [10, 11, 12]
    scene.taffrail("group", "seek", f"{topic}-lost", "--to", "2", "-t", topic, "--execute")
    subprocess.run([*python("../../../cli/consumer.py"), scene.broker.bootstrap, "--delete-records", topic, "0", "6"],
                   check=True, timeout=30)
    with scene.consumer(topic, f"{topic}-lost") as lost:
        assert lost.read(7) == list(range(6, 13))


@with_both
def test_enable_auto_commit(scene):
    """What was read is committed after the interval, or at the end, or only when it is told."""
    topic = scene.topic("auto-commit", 5)
    with scene.consumer(topic, f"{topic}-false") as manual, \
            scene.consumer(topic, f"{topic}-interval", enable_auto_commit="true", auto_commit_interval_ms="100") as interval, \
            scene.consumer(topic, f"{topic}-end", enable_auto_commit="true", auto_commit_interval_ms="3600000") as end:
        for consumer in (manual, interval, end):
            consumer.read(5)
        time.sleep(0.2)
        seconds_until(lambda: not interval.do("poll 50") and scene.described(f"{topic}-interval")["partitions"])
        assert scene.committed(f"{topic}-interval") == 5
        end.do("close")
        assert scene.committed(f"{topic}-end") == 5
        manual.do("close")
    with scene.consumer(topic, f"{topic}-false") as again:
        assert again.read(5) == list(range(5))
