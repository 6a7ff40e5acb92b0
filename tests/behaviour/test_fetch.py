"""Fetch with and without sessions, ListOffsets, DeleteRecords, OffsetForLeaderEpoch."""

import time

from scenario import PAST_MS, Scenario, codec, produce_body

ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
MISSING_ID = "AAAAAAAAAAAAAAAAAAAAKg"


def fill(s, topic, batches, records=1, size=10, partition=0):
    for i in range(batches):
        send(s, topic, [{"key": f"k{i}", "value": {"repeat": "x", "count": size},
                         "timestamp": PAST_MS + 1000 * (i * records + j)} for j in range(records)], partition)


def send(s, topic, records, partition=0, **batch):
    s.ask("Produce", 9, produce_body(topic, codec().batch(records, **batch), partition))


def test_fetch_versions(env):
    with Scenario(env, "fetch_versions") as s:
        (topic_id,) = s.create("fv-a", partitions=2)
        fill(s, "fv-a", 3, 2)
        for version in range(4, 19):
            topic = topic_id if version >= 13 else "fv-a"
            unknown = MISSING_ID if version >= 13 else "fv-unknown"
            s.fetch("from 2", topic, 2, version=version)
            s.fetch("at the end", topic, 6, version=version)
            s.fetch("past the end", topic, 7, version=version)
            s.fetch("negative", topic, -1, version=version)
            s.fetch("empty partition", topic, 0, partition=1, version=version)
            s.fetch("unknown partition", topic, 0, partition=9, version=version)
            s.fetch("unknown topic", unknown, 0, version=version)
            s.fetch("read committed", topic, 4, version=version, isolationLevel=1)
            if version >= 9:
                s.fetch("right epoch", topic, 5, version=version, partition_fields={"currentLeaderEpoch": 0})
                s.fetch("newer epoch", topic, 5, version=version, partition_fields={"currentLeaderEpoch": 3})
            if version >= 12:
                s.fetch("last epoch agrees", topic, 5, version=version, partition_fields={"lastFetchedEpoch": 0})
                s.fetch("last epoch is newer", topic, 5, version=version, partition_fields={"lastFetchedEpoch": 3})
        s.fetch("no topic", "", 0)
        s.fetch("no id", ZERO_ID, 0, version=13)
        s.call("no partition", "Fetch", 12, {"maxWaitMs": 10, "minBytes": 0, "maxBytes": 1000, "topics": []})


def test_fetch_limits(env):
    with Scenario(env, "fetch_limits") as s:
        (topic_id,) = s.create("fl-a", partitions=3)
        for partition in range(2):
            fill(s, "fl-a", 4, 1, 1000, partition)
        s.fetch("partition limit of one batch", "fl-a", 0, max_bytes=1)
        s.fetch("partition limit 0", "fl-a", 0, max_bytes=0)
        s.fetch("partition limit cuts the second batch", "fl-a", 0, max_bytes=1500)
        s.fetch("partition limit cuts the third batch", "fl-a", 0, max_bytes=2500)
        s.fetch("answer limit 1", "fl-a", 0, maxBytes=1)
        s.fetch("answer limit 0", "fl-a", 0, maxBytes=0)

        def both(step, **body):
            s.call(step, "Fetch", 12, {"maxWaitMs": 50, "minBytes": 0, "maxBytes": 1 << 20, **body, "topics": [
                {"topic": "fl-a", "partitions": [{"partition": p, "fetchOffset": 0, "partitionMaxBytes": 1 << 20}
                                                 for p in (0, 1, 2)]}]})
        both("three partitions")
        both("the limit ends in the first", maxBytes=1500)
        both("the limit ends in the second", maxBytes=5000)
        began = time.monotonic()
        s.fetch("waits in vain", "fl-a", 4, maxWaitMs=400, minBytes=1)
        s.write("it waited", 0.35 < time.monotonic() - began < 1.5)
        began = time.monotonic()
        s.fetch("does not wait with data", "fl-a", 0, maxWaitMs=5000, minBytes=1, max_bytes=100)
        s.fetch("does not wait with an error", "fl-a", 99, maxWaitMs=5000, minBytes=1)
        s.fetch("does not wait for 0 bytes", "fl-a", 4, maxWaitMs=5000, minBytes=0)
        s.write("it did not wait", time.monotonic() - began < 2)
        began = time.monotonic()
        s.connection("waiting").send(s.frame("Fetch", 12, {"maxWaitMs": 10000, "minBytes": 1, "maxBytes": 1 << 20, "topics": [
            {"topic": "fl-a", "partitions": [{"partition": 2, "fetchOffset": 0, "partitionMaxBytes": 1 << 20}]}]}))
        time.sleep(0.3)
        fill(s, "fl-a", 1, partition=2)
        s.write("woken by a produce (Fetch v12)", s.read("Fetch", 12, "waiting"))
        s.write("it was quick", time.monotonic() - began < 3)


def test_fetch_sessions(env):
    with Scenario(env, "fetch_sessions") as s:
        (topic_id, other_id) = s.create("fs-a", "fs-b", partitions=2)
        fill(s, "fs-a", 2)

        def ask(step, version, session, epoch, offsets=(), forgotten=(), topic=None):
            def name(key="topic"):
                return {"topicId": topic_id} if version >= 13 else {key: topic or "fs-a"}
            return s.call(step, "Fetch", version, {
                "maxWaitMs": 50, "minBytes": 0, "maxBytes": 1 << 20, "sessionId": session, "sessionEpoch": epoch,
                "topics": [{**name(), "partitions": [
                    {"partition": p, "fetchOffset": o, "partitionMaxBytes": 1 << 20} for p, o in offsets]}] if offsets else [],
                "forgottenTopicsData": [{**name(), "partitions": list(forgotten)}] if forgotten else []})

        for version in (7, 11, 12, 13, 16, 18):
            start = s.ask("ListOffsets", 4, {"replicaId": -1, "topics": [
                {"name": "fs-a", "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]})
            end = start["topics"][0]["partitions"][0]["offset"]
            session = ask("full, makes a session", version, 0, 0, [(0, 0), (1, 0)]).get("sessionId", 0)
            ask("empty, nothing new but what was not taken", version, session, 1)
            ask("moves on", version, session, 2, [(0, end)])
            ask("empty, nothing new", version, session, 3)
            s.produce("something new", "fs-a", codec().batch([{"value": "new"}]))
            ask("empty, finds it", version, session, 4)
            ask("forgets a partition", version, session, 5, [], [0])
            ask("empty, without it", version, session, 6)
            ask("wrong epoch", version, session, 3)
            ask("right epoch again", version, session, 7)
            ask("past the end", version, session, 8, [(1, 77)])
            ask("still past the end", version, session, 9)
            ask("unknown session", version, 1234567, 1)
            ask("closes", version, session, -1)
            ask("closed", version, session, 10)
            ask("unknown partition in a session", version, 0, 0, [(9, 0)])
            ask("epoch 5 of no session", version, 0, 5, [(0, 0)])
            ask("nothing in a full fetch", version, 0, 0)


def list_offsets(s, step, version, topic, *asks, **body):
    return s.call(step, "ListOffsets", version, {"replicaId": -1, **body, "topics": [
        {"name": topic, "partitions": [{"partitionIndex": p, "timestamp": t, "maxNumOffsets": 1} if version == 0 else
                                       {"partitionIndex": p, "timestamp": t} for p, t in asks]}]})


def test_list_offsets(env):
    with Scenario(env, "list_offsets") as s:
        s.create("lo-a", partitions=2)
        s.create("lo-b", message_timestamp_type="LogAppendTime")
        fill(s, "lo-a", 3, 3)
        send(s, "lo-a", [{"value": "late", "timestamp": PAST_MS - 5000}])
        send(s, "lo-a", [{"value": "latest", "timestamp": PAST_MS + 90000},
                         {"value": "x", "timestamp": PAST_MS + 80000}], codec="gzip")
        send(s, "lo-b", [{"value": "a"}, {"value": "b"}])
        for version in range(1, 12):
            for name, timestamp in (("latest", -1), ("earliest", -2), ("max timestamp", -3), ("earliest local", -4),
                                    ("latest tiered", -5), ("earliest pending upload", -6), ("special -7", -7), ("time 0", 0),
                                    ("exact", PAST_MS + 4000), ("between", PAST_MS + 4500), ("last", PAST_MS + 90000),
                                    ("inside a packed batch", PAST_MS + 85000), ("past the end", PAST_MS + 90001)):
                list_offsets(s, name, version, "lo-a", (0, timestamp))
            list_offsets(s, "empty partition", version, "lo-a", (1, 5))
            list_offsets(s, "unknown partition", version, "lo-a", (9, -1))
            list_offsets(s, "unknown topic", version, "lo-unknown", (0, -1))
            list_offsets(s, "two partitions", version, "lo-a", (0, -1), (1, -1))
            if version >= 2:
                list_offsets(s, "committed", version, "lo-a", (0, -1), isolationLevel=1)
        list_offsets(s, "max of an empty partition", 8, "lo-a", (1, -3))
        list_offsets(s, "max of append times", 8, "lo-b", (0, -3))
        list_offsets(s, "the same partition twice", 8, "lo-a", (0, -1), (0, -2))
        for epoch in (-1, 0, 1):
            s.call(f"leader epoch {epoch}", "ListOffsets", 8, {"replicaId": -1, "topics": [{"name": "lo-a", "partitions": [
                {"partitionIndex": 0, "timestamp": -1, "currentLeaderEpoch": epoch}]}]})
        s.call("as a follower", "ListOffsets", 8, {"replicaId": 5, "topics": [
            {"name": "lo-a", "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]})
        s.call("nothing", "ListOffsets", 8, {"replicaId": -1, "topics": []})


def delete_records(s, step, version, topic, *asks):
    s.call(step, "DeleteRecords", version, {"timeoutMs": 5000, "topics": [
        {"name": topic, "partitions": [{"partitionIndex": p, "offset": o} for p, o in asks]}]})


def test_delete_records_compacted(env):
    with Scenario(env, "delete_records_compacted") as s:
        s.create("dr-compact", cleanup_policy="compact")
        s.create("dr-both", cleanup_policy="compact,delete")
        fill(s, "dr-both", 2)
        for version in range(0, 3):
            delete_records(s, "of a compacted topic", version, "dr-compact", (0, 0))
            delete_records(s, "of a compacted and deleted topic", version, "dr-both", (0, 1))


def test_delete_records(env):
    with Scenario(env, "delete_records") as s:
        s.create("dr-a", partitions=2)
        fill(s, "dr-a", 5, 2)

        def delete(step, version, topic, *asks):
            delete_records(s, step, version, topic, *asks)

        for version in range(0, 3):
            delete("to 3", version, "dr-a", (0, 3))
            delete("to 1, before the start", version, "dr-a", (0, 1))
            delete("past the end", version, "dr-a", (0, 11))
            delete("negative", version, "dr-a", (0, -2))
            delete("unknown partition", version, "dr-a", (9, 0))
            delete("unknown topic", version, "dr-unknown", (0, 0))
            delete("empty partition", version, "dr-a", (1, 0))
            delete("good and bad", version, "dr-a", (0, 3), (1, 5))
        s.fetch("before the start", "dr-a", 2)
        s.fetch("in the middle of a batch", "dr-a", 3)
        list_offsets(s, "earliest now", 8, "dr-a", (0, -2))
        delete("all of it", 2, "dr-a", (0, -1))
        list_offsets(s, "earliest and latest now", 8, "dr-a", (0, -2))
        s.fetch("at the end", "dr-a", 10)
        s.produce("goes on", "dr-a", codec().batch([{"value": "v"}]))
        s.call("nothing", "DeleteRecords", 2, {"timeoutMs": 100, "topics": []})


def test_offset_for_leader_epoch(env):
    with Scenario(env, "offset_for_leader_epoch", config={"node.id": "1"}) as s:
        s.create("oe-a", partitions=2)
        fill(s, "oe-a", 3)

        def ask(step, version, topic="oe-a", partition=0, current=-1, epoch=0, replica=-2):
            body = {"replicaId": replica} if version >= 3 else {}
            s.call(step, "OffsetForLeaderEpoch", version, {**body, "topics": [{"topic": topic, "partitions": [
                {"partition": partition, "currentLeaderEpoch": current, "leaderEpoch": epoch}]}]})

        def all_versions(when):
            for version in range(2, 5):
                for epoch in range(-1, 4):
                    ask(f"{when}, epoch {epoch}", version, epoch=epoch)
                    ask(f"{when}, empty partition, epoch {epoch}", version, partition=1, epoch=epoch)
                ask(f"{when}, current 0", version, current=0)
                ask(f"{when}, current 9", version, current=9)
                ask(f"{when}, unknown partition", version, partition=9)
                ask(f"{when}, unknown topic", version, topic="oe-unknown")
                ask(f"{when}, replica 1", version, replica=1)

        all_versions("at first")
