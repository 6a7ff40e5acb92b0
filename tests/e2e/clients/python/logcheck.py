"""Whether a partition holds what numbered producers wrote: all of it, once, in order, where they were told."""


class Wrong(Exception):
    pass


def check(partition, written, acknowledged, seen, kept):
    """Raises Wrong at the first thing that is not so.

    written       {producer: how many records it wrote}, numbered from 0
    acknowledged  {(producer, number): offset}
    seen, kept    {offset: (producer, number)}: as read along the way, and as read at the end
    """
    where = f"partition {partition}"
    if sorted(kept) != list(range(len(kept))):
        raise Wrong(f"{where}: the offsets have a gap")
    for offset, record in seen.items():
        if kept.get(offset) != record:
            raise Wrong(f"{where} offset {offset}: {record} was read, now it is {kept.get(offset)}")
    for producer, count in written.items():
        numbers = [kept[offset][1] for offset in sorted(kept) if kept[offset][0] == producer]
        for wanted, number in enumerate(numbers):
            if number != wanted:
                kind = "twice, or out of order," if number < wanted else "lost:"
                raise Wrong(f"{where}, producer {producer}: {kind} {number} is where {wanted} belongs")
        if len(numbers) != count:
            raise Wrong(f"{where}, producer {producer}: {count} written, {len(numbers)} kept")
    offset_of = {record: offset for offset, record in kept.items()}
    for record, offset in acknowledged.items():
        if offset_of.get(record) != offset:
            raise Wrong(f"{where}: {record} was acknowledged at {offset}, it is at {offset_of.get(record)}")
