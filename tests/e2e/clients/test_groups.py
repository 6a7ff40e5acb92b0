"""Consumer groups of real clients under change: members come, leave, oversleep their session, are killed, and so is the
broker, while a producer runs.

A round is one group: its kind is dealt from a deck of all kinds, its size (1 to 20), its partitions and what happens to it
are drawn from TAFFRAIL_GROUP_SEED. TAFFRAIL_GROUP_ROUNDS says how many there are, of which some go on side by side;
TAFFRAIL_GROUP_KIND is a word that the kinds' names hold. A few processes of the group's own host its members
(python/members.py says what these say), so that one kill -9 or SIGSTOP hits some members and not others.

Every record must be processed at least once, no committed offset may go back, no partition may be two members' in one
generation, who slept may not commit what has become another's, and in the end the group has committed all: by what members
say, by what the broker says now and then, and by all that it ever wrote of the groups (groupcheck.py).
"""

import base64
import json
import os
import queue
import random
import signal
import struct
import subprocess
import threading
import time

from lib import paths, runner

import groupcheck
from test_clients import go, java, node, python

ROUNDS = int(os.environ.get("TAFFRAIL_GROUP_ROUNDS", 8))
KIND = os.environ.get("TAFFRAIL_GROUP_KIND", "")
SEED = int(os.environ.get("TAFFRAIL_GROUP_SEED", random.randrange(1 << 32)))
AT_ONCE = 4
COUNT = 640
PER_SECOND = 90
SIZE_MAX = 20
HOSTS = 3
SESSION_S = 3
LIMIT_S = 90
NOT_FOUND = 4
# A consumer group's session is the broker's to say, by default 45 s; Apache Kafka takes no classic one below 6 s.
SHORT_SESSIONS = {"group.min.session.timeout.ms": "3000", **{f"group.consumer.{name}": value for name, value in {
    "min.session.timeout.ms": "3000", "session.timeout.ms": "3000",
    "min.heartbeat.interval.ms": "500", "heartbeat.interval.ms": "500"}.items()}}

# (library, strategy) of the group's processes. In an upgrade the first go on in the old protocol, the others join in the new.
KINDS = {
    "java-range": [("java", "range")],
    "java-roundrobin": [("java", "roundrobin")],
    "java-sticky": [("java", "sticky")],
    "java-cooperative": [("java", "cooperative-sticky")],
    "java-consumer": [("java", "consumer")],
    "java-3.9-cooperative": [("java-3.9", "cooperative-sticky")],
    "java-2.8-range": [("java-2.8", "range")],
    "librdkafka-range": [("confluent-kafka", "range")],
    "librdkafka-roundrobin": [("confluent-kafka", "roundrobin")],
    "librdkafka-cooperative": [("confluent-kafka", "cooperative-sticky")],
    "librdkafka-consumer": [("confluent-kafka", "consumer")],
    "kafka-python-range": [("kafka-python", "range")],
    "kafka-python-2-roundrobin": [("kafka-python-2", "roundrobin")],
    "kafkajs": [("kafkajs", "roundrobin")],
    "kafka-go-range": [("kafka-go", "range")],
    "sarama-range": [("sarama", "range")],
    "sarama-cooperative": [("sarama", "cooperative-sticky")],
    "franz-go-cooperative": [("franz-go", "cooperative-sticky")],
    "franz-go-consumer": [("franz-go", "consumer")],
    "mixed-range": [("java", "range"), ("confluent-kafka", "range"), ("sarama", "range"), ("kafka-python", "range")],
    "mixed-cooperative": [("java", "cooperative-sticky"), ("confluent-kafka", "cooperative-sticky")],
    "mixed-consumer": [("java", "consumer"), ("confluent-kafka", "consumer"), ("franz-go", "consumer")],
    "upgrade-java": [("java", "range"), ("java", "consumer")],
    # Its cooperative-sticky cannot, here or with Apache Kafka (GROUP_ID_NOT_FOUND): it has notes of its own in assignments,
    # which an upgrade would lose.
    "upgrade-librdkafka": [("confluent-kafka", "range"), ("confluent-kafka", "consumer")],
    "upgrade-mixed": [("confluent-kafka", "range"), ("java", "consumer")],
}


def command(library):
    if library.startswith("java"):
        version = {"java": None, "java-3.9": "3.9.1", "java-2.8": "2.8.2"}[library]
        return [*java(version)[:-1], "GroupMembers", library]
    if library == "kafkajs":
        return [*node("members.mjs"), library]
    if library in ("kafka-go", "sarama", "franz-go"):
        return [*go(library), "members"]
    return [*python("members.py", "python-old" if library == "kafka-python-2" else "python"), library.removesuffix("-2")]


class Host:
    """A process that members live in."""

    def __init__(self, library, strategy, bootstrap, path, hear):
        self.library, self.strategy = library, strategy
        self.members, self.joined = [], []
        with open(path, "wb") as err:
            # In a session of its own: some programs are started by a wrapper, which must not be all that a signal hits.
            self.process = subprocess.Popen([*command(library), bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=err, text=True, start_new_session=True)
        self.reader = threading.Thread(target=self.read, args=[hear], daemon=True)
        self.reader.start()

    def read(self, hear):
        for line in self.process.stdout:
            if line.endswith("\n"):
                hear(line.split())

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def end(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()
        self.reader.join(10)


class Group:
    def __init__(self, campaign, number, kind):
        self.campaign, self.kind = campaign, kind
        self.name = f"{number}-{kind}"
        self.rng = random.Random(f"{SEED}/{number}")
        self.is_upgrade = kind.startswith("upgrade")
        self.partitions = self.rng.choice([1, 4, 7, 12, 24])
        self.size = self.rng.randint(1, SIZE_MAX)
        self.check = groupcheck.Checker({p: len(range(p, COUNT, self.partitions)) for p in range(self.partitions)})
        self.heard = queue.SimpleQueue()
        self.hosts, self.ended = [], []
        self.joined = 0
        self.gone, self.given = set(), set()
        self.trail, self.told = [], []
        self.refused = 0
        self.protocol = None

    # --- what happens to it ---

    def add_host(self):
        kinds = KINDS[self.kind]
        at = len(self.hosts) + len(self.ended)
        # An upgrade begins with processes of the old protocol only.
        pair = kinds[min(at // HOSTS, 1)] if self.is_upgrade else kinds[at % len(kinds)]
        path = self.campaign.folder / f"{self.name}-{at}.err"
        self.hosts.append(Host(*pair, self.campaign.broker.bootstrap, path, self.heard.put))

    def members(self):
        return [name for host in self.hosts for name in host.members]

    def join_at(self, host):
        name = f"{self.name}-m{self.joined}"
        self.joined += 1
        host.members.append(name)
        host.joined.append(name)
        host.ask("join", name, self.name, self.name, host.strategy)

    def join(self, count):
        for _ in range(min(count, SIZE_MAX - len(self.members()))):
            self.join_at(self.rng.choice(self.hosts))

    def some_join(self):
        self.join(self.rng.randint(1, 1 + self.size // 2))

    def anchor(self):
        """
        Who must stay in an upgrade: a group that is empty for a moment would not go from one protocol to the other, but end,
        and one of the same name count its generations from the beginning.
        """
        if not self.is_upgrade:
            return None
        there = [(host.strategy != "consumer", name) for host in self.hosts for name in host.members if name in self.given]
        return min(there, default=(None, None))[1]

    def others(self):
        return [host for host in self.hosts if self.anchor() not in host.members]

    def some_leave(self):
        members = [name for name in self.members() if name != self.anchor()]
        most = len(members) if self.anchor() else len(members) - 1
        for name in self.rng.sample(members, min(most, self.rng.randint(1, 1 + self.size // 2))):
            self.leave(name)

    def leave(self, name):
        for host in self.hosts:
            if name in host.members:
                host.members.remove(name)
                host.ask("leave", name)

    def kill(self):
        """kill -9: the group notices when the session ends. Another process takes the place."""
        host = self.rng.choice(self.others())
        host.signal(signal.SIGKILL)
        self.hosts.remove(host)
        self.ended.append(host)
        self.gone.update(host.joined)
        self.add_host()
        if not self.members():
            self.join(self.size)

    def sleepers(self):
        """
        A group whose only member of the new protocol oversleeps becomes one of the old, and librdkafka takes it for fatal that
        the group is of another kind (GROUP_ID_NOT_FOUND, here and with Apache Kafka).
        """
        return [host for host in self.others() if not (self.is_upgrade and host.strategy == "consumer")] or self.others()

    def oversleep(self):
        """The group goes on without some, which then find out."""
        host = self.rng.choice([host for host in self.sleepers() if host.members] or self.sleepers())
        host.signal(signal.SIGSTOP)
        try:
            self.pause(SESSION_S + self.rng.uniform(0.2, 1.5))
        finally:
            host.signal(signal.SIGCONT)

    def upgrade(self):
        """The last of the old protocol leave, once one of the new is there."""
        if not any(host.strategy == "consumer" for host in self.hosts):
            self.add_host()
        new = [host for host in self.hosts if host.strategy == "consumer"]
        if not any(host.members for host in new):
            self.join_at(new[0])
        self.wait("a member of the new protocol", lambda: self.protocol == "consumer")
        for name in [name for host in self.hosts if host not in new for name in host.members]:
            self.leave(name)

    # --- what is seen of it ---

    def listen(self):
        """Tells the checker what members have said."""
        while True:
            try:
                words = self.heard.get_nowait()
            except queue.Empty:
                return
            self.told.append(" ".join(words))
            name, ms, word, *rest = words
            if word == "processed":
                self.check.records(*map(int, rest))
            elif word == "assigned":
                self.check.assigned(name, int(ms), int(rest[0]), [int(p) for p in rest[1:]])
                self.given.add(name)
            elif word == "committed":
                self.check.acknowledges(name, int(ms), *map(int, rest))
            elif word == "refused":
                self.refused += 1
            elif word == "failed":
                raise AssertionError(f"{name} ended: {' '.join(rest)}")
            elif word == "left":
                self.gone.add(name)

    def look(self):
        """What members and broker say now."""
        self.listen()
        with self.campaign.broker_is_up:
            done = self.campaign.taffrail("group", "describe", self.name, "--format", "json")
        if done.returncode == NOT_FOUND:
            return
        assert done.returncode == 0, done.stderr
        [described] = json.loads(done.stdout)
        self.protocol = described["type"]
        self.check.commits({p["partition"]: p["committed_offset"] for p in described["partitions"]
                            if p["committed_offset"] is not None})
        self.check.owners({m["consumer_id"]: [p for t in m["assignment"] for p in t["partitions"]]
                           for m in described["members"]})

    def pause(self, seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(0.5, left))
            self.look()

    def wait(self, what, condition):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
            time.sleep(0.3)
            self.look()

    # --- a round ---

    def play(self):
        done = self.campaign.taffrail("topic", "create", self.name, "-p", str(self.partitions))
        assert done.returncode == 0, done.stderr
        for _ in range(HOSTS):
            self.add_host()
        self.campaign.produce(self.name, self.partitions)
        self.join(self.size)
        changes = [self.some_join, self.some_leave, self.kill, self.oversleep]
        changes.append(self.rng.choice(changes))
        self.rng.shuffle(changes)
        for change in changes:
            self.pause(self.rng.uniform(0.2, 1.5))
            self.trail.append(f"{change.__name__} of {len(self.members())}")
            change()
        if self.is_upgrade:
            self.upgrade()
        self.wait("the producer", lambda: self.campaign.is_produced(self.name))
        self.wait("all processed and committed", lambda: self.check.left() == (0, 0))
        for name in self.members():
            self.leave(name)
        self.wait("all have left", lambda: len(self.gone) == self.joined)

    def run(self):
        try:
            self.play()
            self.end()
            self.listen()
            self.check.finish()
        except AssertionError as failure:
            raise AssertionError(f"{self} (seed {SEED}): {failure}; {self.check.left()} not processed, not committed") from None
        finally:
            self.end()
            (self.campaign.folder / f"{self.name}.told").write_text("\n".join(self.told))

    def end(self):
        for host in self.hosts + self.ended:
            host.end()

    def __str__(self):
        return f"{self.name} of {self.size}, {self.partitions} partitions: {', '.join(self.trail)}"


class Campaign:
    """Rounds, some at once, with one broker and one producer process."""

    def __init__(self, env):
        self.folder = env.tmp
        self.broker = env.broker(config=SHORT_SESSIONS)
        self.broker_is_up = threading.Lock()
        self.rng = random.Random(SEED)
        self.groups = queue.SimpleQueue()
        for number, kind in enumerate(self.deal()):
            self.groups.put(Group(self, number, kind))
        self.produced = set()
        self.done, self.failures = [], []
        for library in ("java", "kafkajs"):
            command(library)  # compiled, and copied to its place, before there are threads
        self.producer = Host("confluent-kafka", None, self.broker.bootstrap, self.folder / "producer.err",
                             lambda words: self.produced.add(words[0]))

    def deal(self):
        kinds = []
        while len(kinds) < ROUNDS:
            deck = [kind for kind in KINDS if KIND in kind]
            self.rng.shuffle(deck)
            kinds += deck
        return kinds[:ROUNDS]

    def taffrail(self, *arguments):
        return subprocess.run([paths.TAFFRAIL, *arguments, "-b", self.broker.bootstrap], capture_output=True, text=True,
                              timeout=60)

    def produce(self, topic, partitions):
        self.producer.ask("produce", topic, partitions, COUNT, PER_SECOND)

    def is_produced(self, topic):
        return topic in self.produced

    def work(self):
        while not self.failures:
            try:
                group = self.groups.get_nowait()
            except queue.Empty:
                return
            began = time.monotonic()
            try:
                group.run()
                self.done.append(group)
                print(f"      {time.monotonic() - began:5.1f} s  {group}; {group.refused} commits refused", flush=True)
            except Exception as failure:
                print(f"      {failure}", flush=True)
                self.failures.append(failure)

    def crash(self):
        """kill -9 of the broker."""
        with self.broker_is_up:
            self.broker.kill()
            self.broker.start()

    def run(self):
        workers = [threading.Thread(target=self.work, daemon=True) for _ in range(AT_ONCE)]
        for worker in workers:
            worker.start()
        crash_at = time.monotonic() + self.rng.uniform(5, 12)
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.1)
            if time.monotonic() > crash_at:
                self.crash()
                crash_at = time.monotonic() + self.rng.uniform(15, 45)
        self.producer.end()
        if self.failures:
            raise self.failures[0]
        self.judge()

    def judge(self):
        """By all that was ever written of groups."""
        done = self.taffrail("consume", "__consumer_offsets", "--format", "json")
        assert done.returncode == 0, done.stderr
        history = groupcheck.History()
        for line in done.stdout.splitlines():
            record = json.loads(line)
            history.record(data_of(record, "key"), data_of(record, "value"))
        print(f"      seed {SEED}: {len(self.done)} groups, {sum(g.joined for g in self.done)} members, "
              f"{history.generations} generations, {history.commits} commits", flush=True)
        for group in self.done:
            for partition, count in group.check.counts.items():
                assert history.offsets.get((group.name, group.name, partition)) == count, f"{group}: not in the log"


def data_of(record, name):
    if f"{name}_base64" in record:
        return base64.b64decode(record[f"{name}_base64"])
    return None if record[name] is None else record[name].encode()


def faults_seen(good, faults):
    good().finish()
    for fault, plant in faults.items():
        checker = good()
        try:
            plant(checker)
            checker.finish()
        except AssertionError:
            continue
        raise AssertionError(f"not seen: {fault}")


def test_check_sees(_env):
    """Each way that a group can go wrong, planted by hand."""
    counts = {0: 3, 1: 2}

    def good():
        check = groupcheck.Checker(counts)
        check.assigned("a", 100, 1, [0])
        check.assigned("a", 150, 1, [])
        check.assigned("b", 100, 1, [1])
        for partition, count in counts.items():
            check.records(partition, 0, count - 1)
        check.records(1, 0, 0)
        check.acknowledges("b", 110, 1, 1, 1)
        check.assigned("a", 200, 2, [1])
        check.acknowledges("a", 210, 2, 1, 2)
        check.commits({0: 1})
        check.commits({0: 3, 1: 2})
        check.owners({"a": [0], "b": [1], "c": []})
        return check

    faults_seen(good, {
        "a record that nobody wrote": lambda c: c.records(0, 2, 3),
        "a partition that is not there": lambda c: c.records(2, 0, 0),
        "an assignment of no generation": lambda c: c.assigned("c", 300, -1, [0]),
        "an assignment of what is not there": lambda c: c.assigned("c", 300, 3, [2]),
        "an assignment of what is another's": lambda c: c.assigned("c", 300, 2, [1]),
        "a commit of one who slept": lambda c: c.acknowledges("b", 201, 1, 1, 2),
        "a commit past the end that was taken": lambda c: c.acknowledges("a", 210, 2, 1, 3),
        "an offset that goes back": lambda c: c.commits({0: 2, 1: 2}),
        "an offset that is lost": lambda c: c.commits({0: 3}),
        "an offset past the end": lambda c: c.commits({0: 4, 1: 2}),
        "two owners": lambda c: c.owners({"a": [0, 1], "b": [1]}),
        "one owner twice": lambda c: c.owners({"a": [0, 0]}),
        "a record that is not processed": lambda c: c.processed.discard((0, 1)),
        "a record that is not committed": lambda c: c.committed.update({1: 1}),
    })


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def classic_record(*members):
    """A classic group's value, version 3: {name: partitions}."""
    data = struct.pack(">h", 3) + text("consumer") + struct.pack(">i", 7) + text("range") + text("a") + struct.pack(">q", 0)
    data += struct.pack(">i", len(members))
    for name, partitions in members:
        assignment = struct.pack(">hi", 0, 1) + text("t") + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        data += text(name) + struct.pack(">h", -1) + text("client") + text("/host") + struct.pack(">iii", 1, 1, 0)
        data += struct.pack(">i", len(assignment)) + assignment
    return data


def member_record(assigned, pending):
    """What a member of the consumer protocol has, version 0, of two topics; the epochs are in a tagged field."""
    data = struct.pack(">hiib", 0, 5, 4, 0)
    for partitions in (assigned, pending):
        data += b"\x03"
        for topic in (b"T", b"U"):
            count = len(partitions)
            data += topic * 16 + bytes([count + 1]) + struct.pack(f">{count}i", *partitions)
            data += bytes([1, 0, 1 + 4 * count, count + 1]) + struct.pack(f">{count}i", *partitions)
    return data + b"\0"


def test_history_sees(_env):
    """The same, of what a broker wrote."""
    def offset(partition):
        return struct.pack(">h", 1) + text("g") + text("t") + struct.pack(">i", partition)

    def committed(offset):
        return struct.pack(">hqi", 3, offset, -1) + text("") + struct.pack(">q", 0)

    def member(name, group="g"):
        return struct.pack(">h", 8) + text(group) + text(name)

    class History(groupcheck.History):
        def finish(self):
            assert (self.commits, self.generations) == (4, 5), "it has not seen all"

    classic = struct.pack(">h", 2) + text("g")

    def good():
        history = History()
        for key, value in [
                (offset(0), committed(1)), (offset(1), committed(1)), (offset(0), committed(5)), (offset(1), None),
                (offset(1), committed(0)), (classic, classic_record(("a", [0]), ("b", [1, 2]))), (classic, None),
                (member("a"), member_record([0], [1])), (member("a"), member_record([0], [])),
                (member("b"), member_record([1], [])), (member("c", "another"), member_record([0], [])),
                (member("b"), None)]:
            history.record(key, value)
        return history

    faults_seen(good, {
        "an offset that goes back": lambda h: h.record(offset(0), committed(4)),
        "two owners in a generation": lambda h: h.record(classic, classic_record(("a", [0, 1]), ("b", [1]))),
        "one owner twice": lambda h: h.record(classic, classic_record(("a", [0, 0]))),
        "what another has": lambda h: h.record(member("b"), member_record([0], [])),
        "what another gives back only now": lambda h: (h.record(member("a"), member_record([], [0])),
                                                       h.record(member("b"), member_record([0], []))),
    })


@runner.timeout(120 + 30 * ROUNDS)
def test_under_change(env):
    Campaign(env).run()
