"""What must hold of a group while its members come and go; told what was seen, it raises at the first thing that may not be."""

import struct


class Checker:
    """One group and its one topic, by what its members say and by what the broker says of it now and then."""

    def __init__(self, counts):
        """`counts` are the numbers of records by partition."""
        self.counts = counts
        self.processed = set()
        self.committed = {}
        self.given = {partition: [] for partition in counts}  # (ms, generation, member)
        self.acknowledged = []  # (ms, generation, partition, member)

    def records(self, partition, first, last):
        assert 0 <= first <= last < self.counts.get(partition, 0), \
            f"offsets {first} to {last} of partition {partition}: nobody wrote them"
        self.processed.update((partition, offset) for offset in range(first, last + 1))

    def assigned(self, member, ms, generation, partitions):
        """A member was told to read these, in addition to what it has."""
        assert generation > 0 or not partitions, f"{member} has partitions {partitions} and is in no generation"
        for partition in partitions:
            assert partition in self.given, f"{member} got partition {partition}, which is not there"
            for _, another_generation, another in self.given[partition]:
                assert generation != another_generation or member == another, \
                    f"partition {partition} is both {another}'s and {member}'s in generation {generation}"
            self.given[partition].append((ms, generation, member))

    def acknowledges(self, member, ms, generation, partition, offset):
        """The broker took a commit, which the member had asked for at that time."""
        assert 0 <= offset <= self.counts.get(partition, 0), f"{member} has committed {offset} of partition {partition}"
        self.acknowledged.append((ms, generation, partition, member))

    def commits(self, offsets):
        """The committed offsets at one moment, by partition."""
        for partition, before in self.committed.items():
            now = offsets.get(partition)
            assert now is not None, f"the committed offset of partition {partition} is gone; it was {before}"
            assert now >= before, f"the committed offset of partition {partition} went back from {before} to {now}"
        for partition, now in offsets.items():
            assert now <= self.counts.get(partition, 0), \
                f"partition {partition} has committed {now} of {self.counts.get(partition, 0)}"
        self.committed = dict(offsets)

    def owners(self, members):
        """What each member has at one moment, as the broker says it: {member: partitions}."""
        owner = {}
        for member, partitions in members.items():
            for partition in partitions:
                assert partition not in owner, f"partition {partition} is both {owner[partition]}'s and {member}'s"
                owner[partition] = member

    def left(self):
        """How many records are not processed, and how many are not committed."""
        total = sum(self.counts.values())
        return total - len(self.processed), total - sum(self.committed.values())

    def finish(self):
        """Who slept, or was cut off, may not speak for what has been another's since."""
        for ms, generation, partition, member in self.acknowledged:
            for given_ms, newer, another in self.given[partition]:
                assert another == member or newer <= generation or given_ms >= ms, \
                    f"{member} of generation {generation} has committed partition {partition} " \
                    f"{ms - given_ms} ms after {another} got it in generation {newer}"
        assert self.left() == (0, 0), "{} records were not processed, {} not committed".format(*self.left())


class Reader:
    """A cursor over one record's bytes, of either kind of encoding."""

    def __init__(self, data, flexible=False):
        self.data, self.at, self.flexible = data, 0, flexible

    def number(self, code):
        size = struct.calcsize(code)
        self.at += size
        return struct.unpack_from(f">{code}", self.data, self.at - size)[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self, code):
        return self.varint() - 1 if self.flexible else self.number(code)

    def bytes(self, code="i"):
        size = self.length(code)
        if size < 0:
            return None
        self.at += size
        assert self.at <= len(self.data), "the record is cut"
        return self.data[self.at - size:self.at]

    def text(self):
        data = self.bytes("h")
        return None if data is None else data.decode()

    def array(self, item):
        return [item() for _ in range(self.length("i"))]

    def tags(self):
        if self.flexible:
            for _ in range(self.varint()):
                self.varint()
                size = self.varint()
                self.at += size


class History:
    """Everything that was ever written of groups, as __consumer_offsets has it, in its order."""

    def __init__(self):
        self.offsets = {}  # (group, topic, partition): the offset
        self.members = {}  # (group, member): partitions of (topic id, partition), of the consumer protocol
        self.commits = 0
        self.generations = 0

    def record(self, key, value):
        key = Reader(key)
        kind = key.number("h")
        if kind <= 1:
            self.on_offset((key.text(), key.text(), key.number("i")), value)
        elif kind == 2 and value is not None:
            self.on_classic(key.text(), value)
        elif kind == 8:
            self.on_member(key.text(), key.text(), value)

    def on_offset(self, where, value):
        before = self.offsets.pop(where, None)
        if value is None:
            return
        offset = Reader(value[2:]).number("q")
        assert before is None or before <= offset, f"{where}: the committed offset went back from {before} to {offset}"
        self.offsets[where] = offset
        self.commits += 1

    def on_classic(self, group, value):
        version = struct.unpack_from(">h", value)[0]
        reader = Reader(value[2:], flexible=version >= 4)
        reader.text()
        generation = reader.number("i")
        reader.text(), reader.text()
        reader.at += 8 if version >= 2 else 0
        owner = {}

        def member():
            name = reader.text()
            if version >= 3:
                reader.text()
            reader.text(), reader.text()
            reader.at += 8 if version >= 1 else 4
            reader.bytes()
            for partition in assigned(reader.bytes()):
                assert partition not in owner, \
                    f"{group}, generation {generation}: {partition} is both {owner[partition]}'s and {name}'s"
                owner[partition] = name
            reader.tags()

        reader.array(member)
        self.generations += 1

    def on_member(self, group, member, value):
        self.members.pop((group, member), None)
        if value is None:
            return
        reader = Reader(value[2:], flexible=True)
        epoch = reader.number("i")
        reader.at += 5
        has = set()

        def partitions():
            topic = reader.number("16s")
            has.update((topic, partition) for partition in reader.array(lambda: reader.number("i")))
            reader.tags()

        reader.array(partitions)
        reader.array(partitions)
        for (another_group, another), others in self.members.items():
            assert group != another_group or not has & others, \
                f"{group}, epoch {epoch}: {sorted(p for _, p in has & others)} are both {another}'s and {member}'s"
        self.members[group, member] = has
        self.generations += 1


def assigned(data):
    """(topic, partition) of what an assignor of the classic protocol gave to a member."""
    if not data:
        return []
    reader = Reader(data)
    reader.number("h")
    return [(topic, partition)
            for topic, partitions in reader.array(lambda: (reader.text(), reader.array(lambda: reader.number("i"))))
            for partition in partitions]
