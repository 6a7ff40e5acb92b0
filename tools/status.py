#!/usr/bin/env python3
"""Writes docs/status.md: which of Kafka's APIs the broker serves, and in which versions.

    tools/status.py            writes the page
    tools/status.py --check    fails if the page is not what it would write

The APIs come from src/wire/schema/*.msg, what is served from the handler table
(src/broker/handlers/handlers.c). What an API that is not served belongs to is said here.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "status.md"
HANDLERS = ROOT / "src" / "broker" / "handlers" / "handlers.c"
SCHEMAS = ROOT / "src" / "wire" / "schema"

# What the missing APIs are part of; every API that is not served is in exactly one of them.
AREAS = {
    "consumer groups": [8, 9, 10, 11, 12, 13, 14, 15, 16, 42, 47, 68, 69],
    "transactions": [24, 25, 26, 27, 28, 65, 66],
    "share groups": [76, 77, 78, 79, 83, 84, 85, 86, 87, 90, 91, 92],
    "streams groups": [88, 89],
    "authentication and ACLs": [17, 29, 30, 31, 36, 38, 39, 40, 41, 50, 51],
    "quotas": [48, 49],
    "more than one broker": [34, 43, 45, 46, 64],
    "KRaft quorum of several nodes": [52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 80, 81, 82],
    "changing feature levels": [57],
    "client telemetry": [71, 72],
}

# Prose is wrapped in the page as it is here.
INTRO = """\
# Status

Written by `./dev fmt` from the schemas and the handler table; `./dev test` fails when it is out of
date.

"Kafka 4.3" is the range of versions of Apache Kafka 4.3's schemas. An API that is not served is not
advertised in ApiVersions either, so that clients can tell. Produce 0 to 2 are advertised, as Apache
Kafka does it for the sake of librdkafka, and refused.

## Served

"""

BEYOND = """\

## What else is missing

| | now |
|---|---|
| more than one node | one node is broker and controller; a replication factor over 1 is refused |
| TLS, SASL | listeners other than PLAINTEXT are refused at start |
| tiered storage | not there; the start names the configuration keys that have no effect |
| console | not there |

Each configuration key and what it does here: [config.md](config.md).
"""


def schema_ranges(path):
    """(key, name, (first, last) of the request) of a schema file; None if it is no API."""
    text = path.read_text()
    api = re.search(r"^api (\d+) (\w+)", text, re.M)
    if not api:
        return None
    versions = re.search(r"^request (\d+)(?:-(\d+))?", text, re.M)
    first = int(versions[1])
    last = int(versions[2] or first)
    return int(api[1]), api[2], (first, last)


def served():
    """{key: (first, last)} of the handler table."""
    rows = re.findall(r"\.key = (\d+),\s*\.version_min = (\d+),\s*\.version_max = (\d+)",
                      HANDLERS.read_text())
    return {int(key): (int(first), int(last)) for key, first, last in rows}


def span(versions):
    first, last = versions
    return str(first) if first == last else f"{first}-{last}"


def difference(ours, theirs):
    """What of Kafka's versions is not served."""
    missing = [v for v in range(theirs[0], theirs[1] + 1) if not ours[0] <= v <= ours[1]]
    return ", ".join(map(str, missing)) or "-"


def render():
    apis = sorted(filter(None, map(schema_ranges, SCHEMAS.glob("*.msg"))))
    ours = served()
    rows = ["| key | API | served | Kafka 4.3 | missing versions |", "|---:|---|---|---|---|"]
    for key, name, theirs in apis:
        if key in ours:
            rows.append(f"| {key} | {name} | {span(ours[key])} | {span(theirs)} | "
                        f"{difference(ours[key], theirs)} |")
    known = {key: (name, theirs) for key, name, theirs in apis}
    left = set(known) - set(ours)
    missing = ["| part | APIs (key, versions) |", "|---|---|"]
    for area, keys in AREAS.items():
        absent = [f"{known[k][0]} ({k}, {span(known[k][1])})" for k in keys if k in left]
        left -= set(keys)
        if absent:
            missing.append(f"| {area} | {', '.join(absent)} |")
    if left or set(ours) - set(known):
        odd = left | set(ours) - set(known)
        sys.exit(f"tools/status.py: keys without an area or a schema: {odd}")
    count = f"{len(ours)} of {len(known)} APIs.\n\n"
    return (INTRO + count + "\n".join(rows) + "\n\n## Not served\n\n" + "\n".join(missing) + "\n"
            + BEYOND)


def main():
    page = render()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page:
            sys.exit("docs/status.md is out of date: ./dev fmt")
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
