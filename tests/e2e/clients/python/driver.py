"""The command line that every client program here has.

    produce BOOTSTRAP PLAN topic:codec[:plain]...    create each topic and write the plan's records to it
    consume BOOTSTRAP FOLDER topic...                read each topic from its beginning into FOLDER/topic.tsv
    group BOOTSTRAP FOLDER GROUP COUNT topic...      the same as a member of the group GROUP, which reads COUNT records,
                                                     commits, and leaves
    admin BOOTSTRAP topic                            administer the topic, and print what was seen as key=value

For each topic one line is printed: `ok topic seconds` or `failed topic message`, separated by tabs.
The producer is idempotent where the client can. `plain` asks for acks=1 without idempotence, on a
topic that exists and is ready: what such a producer has to retry may come twice or out of order.
"""

import pathlib
import sys
import time

import tsv


def attempt(topic, function, *arguments):
    began = time.monotonic()
    try:
        function(*arguments)
        print(f"ok\t{topic}\t{time.monotonic() - began:.2f}", flush=True)
    except Exception as failure:
        print(f"failed\t{topic}\t{type(failure).__name__}: {failure}".replace("\n", " "), flush=True)


def until(wanted, function):
    """What function() gives once it gives `wanted`, or at last: a broker learns of a change a moment later."""
    deadline = time.monotonic() + 10
    while (seen := function()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return seen


def main(produce, consume, admin=None, group=None):
    """produce(bootstrap, topic, codec, idempotent, records); consume(bootstrap, topic) gives records, and so does
    group(bootstrap, topic, group, count)."""
    action, bootstrap, *rest = sys.argv[1:]
    if action == "produce":
        records = tsv.read(rest[0])
        for case in rest[1:]:
            topic, codec, *plain = case.split(":")
            attempt(topic, produce, bootstrap, topic, codec, not plain, records)
    elif action == "consume":
        folder = pathlib.Path(rest[0])
        for topic in rest[1:]:
            attempt(topic, lambda t: tsv.write(folder / f"{t}.tsv", consume(bootstrap, t)), topic)
    elif action == "group":
        folder, name, count = pathlib.Path(rest[0]), rest[1], int(rest[2])
        for topic in rest[3:]:
            attempt(topic, lambda t: tsv.write(folder / f"{t}.tsv", group(bootstrap, t, name, count)), topic)
    elif action == "admin":
        admin(bootstrap, rest[0])
    else:
        sys.exit(__doc__)
