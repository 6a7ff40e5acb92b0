"""A data folder may change hands: Apache Kafka starts on what the broker under test left, and the reverse."""

import json
import subprocess
import time

from lib import brokers, paths
from lib.runner import timeout
from scenario import Asking, codec, fetch_body, produce_body

# A producer expires by the time of its last batch, so that must be of today.
NOW_MS = int(time.time() * 1000)
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def write_all(broker):
    """Topics, records with each codec, an idempotent producer's state, a config change, a deletion, a trimmed log."""
    ask = Asking(broker)
    ask.create(*(f"fo-{c}" for c in CODECS), partitions=2, segment_bytes=1048576)
    ask.create("fo-gone")
    ask.settle()
    producer, _ = ask.producer_id()
    for name in CODECS:
        for i in range(15):
            records = [{"key": f"{i}-{j}", "value": f"{name} {i} " * 1000, "timestamp": NOW_MS + i,
                        "headers": [["n", str(i)]]} for j in range(20)]
            answer = ask.ask("Produce", 9, produce_body(f"fo-{name}", codec().batch(
                records, codec=name, producerId=producer, epoch=0, sequence=i * 20)))
            assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer
    ask.ask("DeleteRecords", 2, {"timeoutMs": 5000, "topics": [
        {"name": "fo-none", "partitions": [{"partitionIndex": 0, "offset": 30}]}]})
    ask.ask("IncrementalAlterConfigs", 1, {"resources": [{"resourceType": 2, "resourceName": "fo-gzip", "configs": [
        {"name": "max.message.bytes", "configOperation": 0, "value": "2000000"}]}]})
    ask.ask("CreatePartitions", 3, {"timeoutMs": 5000, "topics": [{"name": "fo-lz4", "count": 4, "assignments": None}]})
    ask.ask("DeleteTopics", 6, {"timeoutMs": 5000, "topics": [{"name": "fo-gone"}]})
    ask.settle()
    seen = read_all(broker)
    ask.close()
    return producer, seen


def offset_of(ask, topic, special):
    """A partition that was just loaded may need a moment until its leader answers."""
    for _ in range(100):
        answer = ask.ask("ListOffsets", 8, {"replicaId": -1, "topics": [
            {"name": topic, "partitions": [{"partitionIndex": 0, "timestamp": special}]}]})
        partition = answer["topics"][0]["partitions"][0]
        if partition["errorCode"] == 0:
            return partition["offset"], partition["timestamp"]
        time.sleep(0.1)
    raise AssertionError(f"no offset {special} of {topic}: {answer}")


def read_all(broker):
    """What a client can see of the topics: their ids, partitions, configs, offsets and all their records."""
    ask = Asking(broker)
    names = [f"fo-{c}" for c in CODECS]
    ask.wait_leaders(*names)
    topics = ask.ask("Metadata", 12, {"topics": [{"name": n} for n in [*names, "fo-gone"]], "allowAutoTopicCreation": False})
    seen = {"topics": sorted((t["name"], t["topicId"], t["errorCode"], len(t["partitions"])) for t in topics["topics"])}
    for name in names:
        configs = ask.ask("DescribeConfigs", 4, {"resources": [
            {"resourceType": 2, "resourceName": name, "configurationKeys": None}]})
        seen[name, "configs"] = sorted((c["name"], c["value"], c["configSource"]) for c in configs["results"][0]["configs"])
        for special in (-2, -1, -3):
            seen[name, special] = offset_of(ask, name, special)
        offset, batches = seen[name, -2][0], []
        while offset < seen[name, -1][0]:
            got = ask.ask("Fetch", 12, fetch_body(name, offset))["responses"][0]["partitions"][0]
            assert got["errorCode"] == 0 and got["records"], f"{name} at {offset}: {got}"
            whole = [b for b in got["records"] if "partialBytes" not in b]
            batches += whole
            offset = whole[-1]["lastOffset"] + 1
        seen[name, "batches"] = batches
    ask.close()
    return seen


def go_on(broker, producer):
    """The producer's sequence goes on where it was: the last batch again is a duplicate, the next is appended."""
    ask = Asking(broker)
    for name in CODECS:
        records = [{"key": f"14-{j}", "value": f"{name} 14 " * 1000, "timestamp": NOW_MS + 14,
                    "headers": [["n", "14"]]} for j in range(20)]

        def send(sequence):
            answer = ask.ask("Produce", 9, produce_body(f"fo-{name}", codec().batch(
                records, codec=name, producerId=producer, epoch=0, sequence=sequence)))
            partition = answer["responses"][0]["partitionResponses"][0]
            return partition["errorCode"], partition["baseOffset"]

        assert send(14 * 20) == (0, 280), "the last batch, sent again, is not known"
        assert send(15 * 20) == (0, 300), "the next batch is not appended at the end"
        assert send(99 * 20)[0] == 45, "a gap is not refused"
    ask.close()


def differences(before, after):
    return [f"{key}: {str(before[key])[:300]}\n    became {str(after[key])[:300]}" for key in before if before[key] != after[key]]


def change_hands(env, first_kind, second_kind, end, **options):
    first = env.broker(kind=first_kind, name="first", **options)
    producer, before = write_all(first)
    getattr(first, end)()
    port = env.port(2)
    voters = {"controller.quorum.voters": f"1@127.0.0.1:{port + 1}"} if "fixed_voters" in options else {}
    second = brokers.KINDS[second_kind](env.tmp / "second", port, {"log.dirs": str(first.data), **voters})
    env.own.append(second)
    second.start()
    wrong = differences(before, read_all(second))
    assert not wrong, "not the same after the folder changed hands:\n" + "\n".join(wrong)
    go_on(second, producer)
    again = read_all(second)
    second.stop()
    third = brokers.KINDS[first_kind](env.tmp / "third", env.port(2), {"log.dirs": str(first.data)}, **options)
    env.own.append(third)
    third.start()
    wrong = differences(again, read_all(third))
    assert not wrong, "not the same after the folder came back:\n" + "\n".join(wrong)


@timeout(180)
def test_kafka_takes_over(env):
    change_hands(env, env.broker_kind, "kafka", "stop")


@timeout(180)
def test_takes_over_from_kafka(env):
    change_hands(env, "kafka", env.broker_kind, "stop")


@timeout(180)
def test_takes_over_from_killed_kafka(env):
    change_hands(env, "kafka", env.broker_kind, "kill")


@timeout(180)
def test_takes_over_from_kafka_with_fixed_voters(env):
    """
    Fixed voters are in the configuration and not in the metadata log, so each broker needs to be told them.
    """
    if env.broker_kind == "kafka":
        return
    change_hands(env, "kafka", env.broker_kind, "stop", fixed_voters=True)


def transactions(*arguments):
    """What the program of librdkafka's says, which is the same for the end-to-end tests of clients."""
    clients = paths.REPO / "tests" / "e2e" / "clients"
    home = subprocess.run([clients / "setup.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    done = subprocess.run([f"{home}/python/bin/python", "-B", clients / "python" / "transactions.py", *arguments],
                          stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return done.stdout and json.loads(done.stdout)


def transactions_change_hands(env, end):
    """Committed and aborted transactions in many small segments, read at both isolation levels before and after."""
    first = env.broker(kind="kafka", name="first")
    ask = Asking(first)
    ask.create("fo-txn", partitions=2, segment_bytes=1048576, index_interval_bytes=1000)
    ask.settle()
    transactions("write", first.bootstrap, "fo-txn")
    before = transactions("read", first.bootstrap, "fo-txn")
    committed, all_of_it = before["read_committed"], before["read_uncommitted"]
    assert 0 < len(committed) < len(all_of_it), f"{len(committed)} of {len(all_of_it)} records are committed"
    ask.close()
    getattr(first, end)()
    for number, kind in enumerate((env.broker_kind, "kafka", env.broker_kind)):
        broker = brokers.KINDS[kind](env.tmp / f"then-{number}", env.port(2), {"log.dirs": str(first.data)})
        env.own.append(broker)
        broker.start()
        after = transactions("read", broker.bootstrap, "fo-txn")
        assert after == before, f"{kind} serves {len(after['read_committed'])} committed records, not {len(committed)}"
        getattr(broker, "stop" if number else end)()


@timeout(180)
def test_transactions_of_kafka(env):
    transactions_change_hands(env, "stop")


@timeout(180)
def test_transactions_of_killed_kafka(env):
    transactions_change_hands(env, "kill")


def asking_coordinator(broker, group):
    """A connection, once the group's coordinator has read its log."""
    ask = Asking(broker)
    for _ in range(300):
        found = ask.ask("FindCoordinator", 4, {"keyType": 0, "coordinatorKeys": [group]})["coordinators"][0]
        loaded = ask.ask("OffsetFetch", 7, {"groupId": group, "topics": [], "requireStable": False})
        if found["errorCode"] == 0 and loaded["errorCode"] == 0:
            break
        time.sleep(0.1)
    return ask


def group_offsets(broker, group, topic):
    """What readers of both kinds are told: of the partitions they name, of all, and of one that is not there."""
    ask, seen = asking_coordinator(broker, group), {}
    for stable in (False, True):
        for name, topics in (("named", [{"name": topic, "partitionIndexes": list(range(9))}]), ("all", None)):
            answer = ask.ask("OffsetFetch", 7, {"groupId": group, "topics": topics, "requireStable": stable})
            assert answer["errorCode"] == 0, answer
            seen[name, stable] = sorted((p["partitionIndex"], p["committedOffset"], p["errorCode"], p["metadata"])
                                        for t in answer["topics"] for p in t["partitions"])
    ask.close()
    return seen


UNSTABLE_OFFSET_COMMIT = 88


@timeout(180)
def test_transactional_offsets_of_killed_kafka(env):
    """
    A group's offsets of transactions that were committed, aborted and left open, before and after. After a clean stop a
    folder with an open one is refused (test_refused.py).
    """
    first = env.broker(kind="kafka", name="first")
    ask = Asking(first)
    ask.create("fo-offsets", partitions=8)
    ask.settle()
    ask.close()
    transactions("offsets", first.bootstrap, "fo-offsets", "fo-group")
    before = group_offsets(first, "fo-group", "fo-offsets")
    # Partition 6's plain commit is later in the log than the transaction's: it stays when the marker comes.
    assert [o for _, o, _, _ in before["named", False]] == [1, -1, 20, 31, -1, 51, 61, -1, -1], before
    assert [e for _, _, e, _ in before["named", True]] == [0, 0, 0, *[UNSTABLE_OFFSET_COMMIT] * 3, 0, 0, 0], before
    first.kill()
    second = brokers.KINDS[env.broker_kind](env.tmp / "second", env.port(2), {"log.dirs": str(first.data)})
    env.own.append(second)
    for how in ("stop", "kill", "stop"):
        second.start()
        wrong = differences(before, group_offsets(second, "fo-group", "fo-offsets"))
        assert not wrong, "not the same after the folder changed hands:\n" + "\n".join(wrong)
        getattr(second, how)()
    # What nobody can end any more is dropped with its offset.
    second.start()
    ask = asking_coordinator(second, "fo-group")
    answer = ask.ask("OffsetDelete", 0, {"groupId": "fo-group", "topics": [
        {"name": "fo-offsets", "partitions": [{"partitionIndex": 3}, {"partitionIndex": 4}]}]})
    assert answer["errorCode"] == 0 and all(p["errorCode"] == 0 for t in answer["topics"] for p in t["partitions"]), answer
    ask.close()
    second.kill()
    second.start()
    after = group_offsets(second, "fo-group", "fo-offsets")
    assert [o for _, o, _, _ in after["named", False]] == [1, -1, 20, -1, -1, 51, 61, -1, -1], after
    assert [e for _, _, e, _ in after["named", True]] == [0, 0, 0, 0, 0, UNSTABLE_OFFSET_COMMIT, 0, 0, 0], after


def alter_quota(ask, entity, key, value=None):
    answer = ask.ask("AlterClientQuotas", 1, {"validateOnly": False, "entries": [{
        "entity": [{"entityType": t, "entityName": n} for t, n in entity],
        "ops": [{"key": key, "value": float(value or 0) + 0.0, "remove": value is None}]}]})
    assert all(e["errorCode"] == 0 for e in answer["entries"]), answer


def alter_credential(ask, user, mechanism, iterations=None):
    upsert = {"name": user, "mechanism": mechanism, "iterations": iterations, "salt": "c2FsdA==", "saltedPassword": "cGFzc3dvcmQ="}
    answer = ask.ask("AlterUserScramCredentials", 0, {
        "deletions": [] if iterations else [{"name": user, "mechanism": mechanism}], "upsertions": [upsert] if iterations else []})
    assert all(r["errorCode"] == 0 for r in answer["results"]), answer


def quotas_and_credentials(broker):
    """What a client is told of them, in an order of its own."""
    ask, seen = Asking(broker), []
    for components in ([], [("user", 2, None)], [("user", 0, "a")], [("user", 1, None)], [("user", 0, "a"), ("client-id", 1, None)],
                       [("ip", 2, None)], [("client-id", 0, "c")]):
        for strict in (False, True):
            answer = ask.ask("DescribeClientQuotas", 1, {"strict": strict, "components": [
                {"entityType": t, "matchType": m, "match": n} for t, m, n in components]})
            seen.append((components, strict, answer["errorCode"], sorted(
                (sorted((e["entityType"], str(e["entityName"])) for e in entry["entity"]),
                 sorted((v["key"], v["value"]) for v in entry["values"])) for entry in answer["entries"])))
    for users in (None, ["u", "v", "gone"]):
        answer = ask.ask("DescribeUserScramCredentials", 0, {"users": users and [{"name": n} for n in users]})
        seen.append((users, sorted((r["user"], r["errorCode"], sorted((c["mechanism"], c["iterations"]) for c in r["credentialInfos"]))
                                   for r in answer["results"])))
    ask.close()
    return seen


@timeout(180)
def test_quotas_and_credentials_of_kafka(env):
    """Nothing here acts on quotas and credentials, but none is lost, and they are shown."""
    first = env.broker(kind="kafka", name="first")
    ask = Asking(first)
    for entity, key, value in (
            ([("user", "a")], "producer_byte_rate", 1000), ([("user", "a")], "consumer_byte_rate", 7), ([("user", None)], "request_percentage", 50),
            ([("user", "a"), ("client-id", "c")], "producer_byte_rate", 1), ([("client-id", None), ("user", "a")], "producer_byte_rate", 2),
            ([("ip", "10.0.0.1")], "connection_creation_rate", 5), ([("client-id", "c")], "consumer_byte_rate", 9),
            ([("user", "a")], "producer_byte_rate", 2000), ([("client-id", "c")], "consumer_byte_rate", None)):
        alter_quota(ask, entity, key, value)
    for user, mechanism, iterations in (("u", 1, 4096), ("u", 2, 8192), ("v", 1, 5000), ("gone", 1, 4096), ("gone", 1, None), ("u", 1, 6000)):
        alter_credential(ask, user, mechanism, iterations)
    ask.close()
    time.sleep(0.5)
    before = quotas_and_credentials(first)
    assert len(before[0][3]) == 5 and len(before[-2][1]) == 2, before
    first.stop()
    second = brokers.KINDS[env.broker_kind](env.tmp / "second", env.port(2), {"log.dirs": str(first.data)})
    env.own.append(second)
    second.start()
    after = quotas_and_credentials(second)
    assert after == before, f"{after}\n    instead of\n{before}"
