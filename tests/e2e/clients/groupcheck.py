"""What must hold of a group while its members come and go; told what was seen, it raises at the first thing that may not be."""


class Checker:
    def __init__(self, counts):
        """`counts` are the numbers of records by partition."""
        self.counts = counts
        self.processed = set()
        self.committed = {}

    def record(self, partition, offset):
        assert 0 <= offset < self.counts.get(partition, 0), f"offset {offset} of partition {partition}: nobody wrote it"
        self.processed.add((partition, offset))

    def commits(self, offsets):
        """The committed offsets at one moment, by partition."""
        for partition, before in self.committed.items():
            now = offsets.get(partition)
            assert now is not None, f"the committed offset of partition {partition} is gone; it was {before}"
            assert now >= before, f"the committed offset of partition {partition} went back from {before} to {now}"
        for partition, now in offsets.items():
            assert now <= self.counts.get(partition, 0), f"partition {partition} has committed {now} of {self.counts.get(partition, 0)}"
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
        assert self.left() == (0, 0), "{} records were not processed, {} not committed".format(*self.left())
