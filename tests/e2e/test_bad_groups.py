"""What a broker survives of bad members: hundreds of each kind, round after round, after which nothing of them is left.

tests/behaviour compares the answers with Apache Kafka's, one by one. Here a well-behaved group lives beside them: it must
not notice, no other group may be there in the end, and the broker's memory is what it was after the first rounds.
"""

import struct
import time

from lib import raw
from lib.raw import sized, string
from lib.runner import timeout
from test_bad_input import MIB, answers_soon, resident_bytes

OFFSET_COMMIT, FIND_COORDINATOR, JOIN, HEARTBEAT, LEAVE, SYNC, LIST_GROUPS, CONSUMER_HEARTBEAT = 8, 10, 11, 12, 13, 14, 16, 68
UNKNOWN_TOPIC, METADATA_TOO_LARGE, ILLEGAL_GENERATION, INCONSISTENT_PROTOCOL, INVALID_GROUP_ID, UNKNOWN_MEMBER = 3, 12, 22, 23, 24, 25
NOT_READY, INVALID_SESSION, INVALID_REGEX, INVALID_REQUEST = (14, 15, 16), 26, 128, 42
# Of Apache Kafka: an attempt to write what does not fit a batch.
TOO_LARGE = -1
COUNT = 300
SUBSCRIPTION = struct.pack(">hi", 0, 1) + string("bad-a") + struct.pack(">i", -1)


def compact(text):
    if text is None:
        return b"\0"
    data = text.encode()
    return unsigned(len(data) + 1) + data


def unsigned(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


class Member(raw.Connection):
    """A connection that speaks the groups' requests; answers are codes, and what else is wanted."""

    def __init__(self, broker):
        super().__init__(broker)
        self.broker = broker

    def wait_coordinator(self, *groups):
        for group in groups:
            for _ in range(300):
                self.call(FIND_COORDINATOR, 0, string(group))
                if self.commit(group, {}, topic="bad-a")[0] not in NOT_READY:
                    break
                time.sleep(0.1)

    def send_join(self, group, member="", protocols=(("range", SUBSCRIPTION),), session_ms=30000, kind="consumer"):
        body = string(group) + struct.pack(">ii", session_ms, 60000) + string(member) + string(kind)
        body += struct.pack(">i", len(protocols)) + b"".join(string(name) + sized(data) for name, data in protocols)
        self.send(JOIN, 1, body)

    def read_join(self):
        answer = self.receive()
        code, generation, size = struct.unpack_from(">hih", answer)
        at = 8 + size
        (size,) = struct.unpack_from(">h", answer, at)
        at += 2 + size
        (size,) = struct.unpack_from(">h", answer, at)
        return code, generation, answer[at + 2:at + 2 + size].decode()

    def join(self, group, **more):
        self.send_join(group, **more)
        return self.read_join()

    def sync(self, group, generation, member, assignment=b"x"):
        body = string(group) + struct.pack(">i", generation) + string(member) + struct.pack(">i", 1) + string(member) + sized(assignment)
        return struct.unpack_from(">h", self.call(SYNC, 0, body))[0]

    def heartbeat(self, group, generation, member):
        return struct.unpack_from(">h", self.call(HEARTBEAT, 0, string(group) + struct.pack(">i", generation) + string(member)))[0]

    def leave(self, group, member):
        return struct.unpack_from(">h", self.call(LEAVE, 0, string(group) + string(member)))[0]

    def commit(self, group, offsets, topic="bad-a", generation=-1, member="", metadata=""):
        """The codes of the partitions."""
        body = string(group) + struct.pack(">i", generation) + string(member) + struct.pack(">qi", -1, 1) + string(topic)
        offsets = offsets or {0: 0}
        body += struct.pack(">i", len(offsets)) + b"".join(struct.pack(">iq", p, o) + string(metadata) for p, o in offsets.items())
        answer = self.call(OFFSET_COMMIT, 2, body)
        at = 4 + 2 + len(topic) + 4
        return [struct.unpack_from(">ih", answer, at + 6 * i)[1] for i in range(len(offsets))]

    def groups(self):
        answer = self.call(LIST_GROUPS, 0, b"")
        code, count = struct.unpack_from(">hi", answer)
        assert code == 0, code
        names, at = [], 6
        for _ in range(count):
            for kind in range(2):
                (size,) = struct.unpack_from(">h", answer, at)
                if kind == 0:
                    names.append(answer[at + 2:at + 2 + size].decode())
                at += 2 + size
        return sorted(names)

    def beat(self, group, member, epoch=0, regex=None, topics=(), instance=None):
        """ConsumerGroupHeartbeat v1: the code."""
        body = compact(group) + compact(member) + struct.pack(">i", epoch) + compact(instance) + compact(None)
        body += struct.pack(">i", 60000)
        body += b"\0" if topics is None else unsigned(len(topics) + 1) + b"".join(map(compact, topics))
        body += compact(regex) + compact(None) + unsigned(1) + b"\0"
        head = struct.pack(">hhi", CONSUMER_HEARTBEAT, 1, 7) + string("e2e") + b"\0"
        self.socket.sendall(sized(head + body))
        return struct.unpack_from(">h", self.receive(), 1 + 4)[0]


def expect(wanted, got, what):
    assert got == wanted or (isinstance(wanted, tuple) and got in wanted), f"{what}: {got}, not {wanted}"


def bad_commits(m, _turn):
    for i in range(COUNT):
        expect([UNKNOWN_TOPIC] * 3, m.commit(f"bad-commits-{i}", {0: 1, 1: 2, 2: 3}, topic="nowhere"), "an unknown topic")
        expect([METADATA_TOO_LARGE], m.commit(f"bad-commits-{i}", {0: 1}, metadata="x" * 4097), "metadata over the limit")
        expect([ILLEGAL_GENERATION], m.commit(f"bad-fenced-{i}", {0: 1}, generation=5, member="nobody"), "a fenced member")


def bad_joins(m, turn):
    for i in range(COUNT):
        group = f"bad-joins-{turn}-{i}"
        expect(INCONSISTENT_PROTOCOL, m.join(group, protocols=())[0], "no protocols")
        expect(INCONSISTENT_PROTOCOL, m.join(group, kind="")[0], "no type")
        expect(INCONSISTENT_PROTOCOL, m.join("neighbour", protocols=(("other", b""),))[0], "no common protocol")
        expect(INCONSISTENT_PROTOCOL, m.join("neighbour", kind="other")[0], "another type")
        expect(UNKNOWN_MEMBER, m.join(group, member="nobody")[0], "a stranger")
        expect(INVALID_SESSION, m.join(group, session_ms=1)[0], "a short session")
        expect(INVALID_GROUP_ID, m.join("")[0], "no group")


def oversized(m, turn):
    for i in range(4):
        group = f"bad-size-{turn}-{i}"
        if m.broker.name == "taffrail":  # from Apache Kafka no answer comes
            code, generation, member = m.join(group, protocols=(("range", b"x" * (2 * MIB)),))
            expect(0, code, "a large subscription")
            expect(TOO_LARGE, m.sync(group, generation, member), "what cannot be written")
            m.leave(group, member)
        topics = [f"a-topic-that-is-not-there-{n:06}" for n in range(40000)]
        expect(TOO_LARGE, m.beat(group, "m", topics=topics), "a member with many topics")


def bad_regexes(m, turn):
    for i in range(COUNT):
        for pattern in (f"({turn}{i}", f"[z-a]{i}", f"a{{1001}}{i}", f"\\{i}(", "(" * 500 + f"{i}"):
            expect(INVALID_REGEX, m.beat(f"bad-regex-{turn}-{i}", "m", regex=pattern, topics=None), pattern)


def joins_without_sync(m, turn):
    """Members of one group, and groups of one: none asks for what it was assigned, and all go away."""
    crowd = [Member(m.broker) for _ in range(COUNT)]
    for member in crowd:
        member.send_join(f"bad-crowd-{turn}", session_ms=1000)
    for i in range(COUNT):
        expect(0, m.join(f"bad-lone-{turn}-{i}", session_ms=1000)[0], "a join")
    for member in crowd:
        member.socket.close()


def bad_ids(m, turn):
    for i in range(COUNT):
        for group in ("", " ", "\t"):
            expect(INVALID_REQUEST, m.beat(group, f"m-{turn}-{i}", topics=["bad-a"]), f"a group called {group!r}")
        for group in ("../" * 1000 + f"{turn}-{i}", f"\0{turn}-{i}", "x" * 32000 + f"{turn}-{i}"):
            expect(UNKNOWN_MEMBER, m.heartbeat(group, 1, "nobody"), "a group that is not there")
            expect(UNKNOWN_MEMBER, m.leave(group, "nobody"), "likewise")
            expect(UNKNOWN_MEMBER, m.sync(group, 1, "nobody"), "likewise")


KINDS = (bad_commits, bad_joins, oversized, bad_regexes, joins_without_sync, bad_ids)
ROUNDS = 4
ROUNDS_UNTIL_WARM = 2


@timeout(240)
def test_bad_members(env):
    broker = env.broker(config={"group.min.session.timeout.ms": "1000", "offsets.retention.check.interval.ms": "1000"})
    with Member(broker) as m, Member(broker) as beside:
        m.create_topic("bad-a")
        m.wait_coordinator("neighbour")
        # Longer than the test: on a slow machine a kind may take its time, and the neighbour must not go for that.
        code, generation, me = beside.join("neighbour", session_ms=300000)
        expect(0, code, "the neighbour's join")
        expect(0, beside.sync("neighbour", generation, me), "its sync")
        expect([0], beside.commit("neighbour", {0: 7}, generation=generation, member=me), "its commit")
        warm = 0
        for turn in range(ROUNDS):
            for kind in KINDS:
                kind(m, turn)
                expect(0, beside.heartbeat("neighbour", generation, me), f"the neighbour's heartbeat after {kind.__name__}")
                expect([0], beside.commit("neighbour", {0: 7}, generation=generation, member=me), "its commit")
                answers_soon(broker)
            deadline = time.monotonic() + 30
            while (left := m.groups()) != ["neighbour"]:
                assert time.monotonic() < deadline, f"round {turn}: {len(left)} groups are left: {left[:5]}"
                expect(0, beside.heartbeat("neighbour", generation, me), "the neighbour's heartbeat")
                time.sleep(0.2)
            grown = resident_bytes(broker) - warm
            if turn < ROUNDS_UNTIL_WARM:
                warm = resident_bytes(broker)
        if broker.name == "taffrail":
            assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB more than after two rounds"
