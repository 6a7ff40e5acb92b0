"""A data folder goes from Apache Kafka to the broker under test and back, twice round, and nothing is lost or changed."""

import subprocess
import time

from lib import brokers, paths
from lib.runner import timeout
from scenario import Asking, codec, produce_body
from test_folder import NOW_MS, differences, go_on, read_all, transactions, write_all

GROUP = "mv-group"


def write_more(broker):
    """Beside what test_folder writes: a compacted topic, transactions, committed offsets."""
    ask = Asking(broker)
    ask.create("mv-txn", partitions=2, segment_bytes=1048576)
    ask.create("mv-compacted", cleanup_policy="compact")
    ask.settle()
    for i in range(20):
        records = [{"key": f"k{j}", "value": f"{i}", "timestamp": NOW_MS + i} for j in range(10)]
        answer = ask.ask("Produce", 9, produce_body("mv-compacted", codec().batch(records, codec="zstd")))
        assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer
    transactions("write", broker.bootstrap, "mv-txn")
    commit(ask, 123)
    ask.close()


def commit(ask, offset):
    """The coordinator may have to be made, or to load, first."""
    for _ in range(150):
        ask.ask("FindCoordinator", 4, {"keyType": 0, "coordinatorKeys": [GROUP]})
        answer = ask.ask("OffsetCommit", 8, {
            "groupId": GROUP, "generationIdOrMemberEpoch": -1, "memberId": "", "groupInstanceId": None,
            "topics": [{"name": "fo-none", "partitions": [
                {"partitionIndex": 0, "committedOffset": offset, "committedLeaderEpoch": -1, "committedMetadata": "m"}]}]})
        if answer["topics"][0]["partitions"][0]["errorCode"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"no offset can be committed: {answer}")


def committed(ask):
    for _ in range(150):
        answer = ask.ask("OffsetFetch", 8, {"groups": [{"groupId": GROUP, "topics": [
            {"name": "fo-none", "partitionIndexes": [0]}]}], "requireStable": False})
        group = answer["groups"][0]
        if group["errorCode"] == 0:
            return group["topics"][0]["partitions"][0]
        time.sleep(0.1)
    raise AssertionError(f"no offset is told: {answer}")


def compacted(ask):
    """The newest value of each key; how many older ones are still there is nobody's promise."""
    ask.wait_leaders("mv-compacted")
    newest, offset = {}, 0
    while True:
        answer = ask.ask("Fetch", 12, {"maxWaitMs": 100, "minBytes": 0, "maxBytes": 1 << 20, "topics": [
            {"topic": "mv-compacted", "partitions": [{"partition": 0, "fetchOffset": offset, "partitionMaxBytes": 1 << 20}]}]})
        records = answer["responses"][0]["partitions"][0]["records"]
        if not records:
            return newest
        for batch in records:
            for record in batch["records"]:
                newest[record["key"]] = record["value"]
            offset = batch["lastOffset"] + 1


def see(broker):
    ask = Asking(broker)
    seen = read_all(broker)
    seen["transactions"] = transactions("read", broker.bootstrap, "mv-txn")
    seen["compacted"] = compacted(ask)
    offset = committed(ask)
    seen["committed"] = (offset["committedOffset"], offset["metadata"], offset["errorCode"])
    ask.close()
    return seen


def dump_complains(folders):
    """What Apache Kafka's own reader of files finds wrong with them, indexes included."""
    files = [str(path) for folder in folders for pattern in ("*.log", "*.index", "*.timeindex", "*.txnindex")
             for path in sorted(folder.glob(f"*-*/{pattern}")) if path.stat().st_size > 0]
    said = subprocess.run(
        ["java", *brokers.JAVA_OPTIONS, "-cp", f"{paths.kafka_libs()}/*", "org.apache.kafka.tools.DumpLogSegments",
         "--deep-iteration", "--files", ",".join(files)], capture_output=True, text=True, timeout=150)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.count("isvalid: true") > 20, said.stdout[-1000:]
    # It calls it an error that a file begins past offset 0 ("-1 is followed by N"), as after DeleteRecords.
    return [line for line in said.stdout.splitlines()
            if "isvalid: false" in line or "Found" in line or ("is followed by" in line and "-1 is followed by" not in line)]


@timeout(420)
def test_twice_round(env):
    folders = [env.tmp / "data" / name for name in ("first", "second")]
    config = {"log.dirs": ",".join(map(str, folders))}
    broker = env.broker(kind="kafka", name="hand-0", config=config)
    producer, _ = write_all(broker)
    write_more(broker)
    before = see(broker)
    assert before["committed"] == (123, "m", 0), before["committed"]
    assert set(before["compacted"].values()) == {"19"}, before["compacted"]
    broker.stop()
    for number, kind in enumerate((env.broker_kind, "kafka", env.broker_kind, "kafka", env.broker_kind), 1):
        broker = brokers.KINDS[kind](env.tmp / f"hand-{number}", env.port(2), config)
        env.own.append(broker)
        broker.start()
        wrong = differences(before, see(broker))
        assert not wrong, f"not the same in hand {number}, {kind}:\n" + "\n".join(wrong)
        if number == 1:
            go_on(broker, producer)
        ask = Asking(broker)
        commit(ask, 123 + number)
        ask.close()
        before = see(broker)
        broker.stop()
        complaints = dump_complains(folders)
        assert not complaints, f"kafka-dump-log on what {kind} left: " + "\n".join(complaints[:10])
