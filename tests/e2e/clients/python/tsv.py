"""Records as text, one line each: what every client program here reads and writes.

    partition  offset  timestamp  key  value  headers       (separated by tabs)

Key and value are base64, `~` is null. Headers are `name:value` joined with commas.
In a plan the offset is `~`: the broker will choose it. A timestamp of `~` leaves it to the client.
"""

import base64
import collections

Record = collections.namedtuple("Record", "partition offset timestamp key value headers")


def encode(data):
    return "~" if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text == "~" else base64.b64decode(text)


def number(text):
    return None if text == "~" else int(text)


def parse_headers(text):
    pairs = [pair.split(":", 1) for pair in text.split(",")] if text else []
    return [(name, decode(value)) for name, value in pairs]


def parse_line(line):
    partition, offset, timestamp, key, value, headers = line.rstrip("\n").split("\t")
    return Record(int(partition), number(offset), number(timestamp), decode(key), decode(value), parse_headers(headers))


def format_line(record):
    headers = ",".join(f"{name}:{encode(value)}" for name, value in record.headers)
    fields = ["~" if n is None else str(n) for n in (record.partition, record.offset, record.timestamp)]
    return "\t".join([*fields, encode(record.key), encode(record.value), headers]) + "\n"


def read(path):
    with open(path, encoding="ascii") as lines:
        return [parse_line(line) for line in lines]


def write(path, records):
    with open(path, "w", encoding="ascii") as out:
        out.writelines(map(format_line, records))
