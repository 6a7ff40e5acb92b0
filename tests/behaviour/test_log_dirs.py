"""Several log folders: where partitions go, one that fails while the broker runs, one that is missing at its start."""

import time

from scenario import PAST_MS, Scenario, codec, fetch_body, produce_body

# A folder that is gone is noticed by the next checkpoint.
CONFIG = {"log.flush.offset.checkpoint.interval.ms": "500", "log.flush.start.offset.checkpoint.interval.ms": "500"}
PARTITIONS = 6


def records(count=5):
    return codec().batch([{"key": f"k{i}", "value": f"v{i}", "timestamp": PAST_MS + i} for i in range(count)])


def wait_until(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"{what.__name__} does not come"
        time.sleep(0.1)


class Folders:
    """Two log folders of a broker; what is said of them does not name them, nor which partition lies where."""

    def __init__(self, s):
        self.s = s
        self.first, self.second = s.broker.config["log.dirs"].split(",")

    def results(self, version=4):
        answer = self.s.ask("DescribeLogDirs", version, {"topics": None})
        return {result["logDir"]: result for result in answer["results"]}

    def partitions_in(self, folder, topic):
        topics = [t for t in self.results()[folder]["topics"] if t["name"] == topic]
        return sorted(p["partitionIndex"] for t in topics for p in t["partitions"])

    def describe(self, step, topic):
        for name, folder in ("first", self.first), ("second", self.second):
            result = self.results()[folder]
            parts = [p for t in result["topics"] if t["name"] == topic for p in t["partitions"]]
            self.s.write(f"{step}, {name}", {
                "errorCode": result["errorCode"],
                "hasTotal": result["totalBytes"] > 0, "hasUsable": result["usableBytes"] > 0,
                "partitions": sorted([p["partitionSize"], p["offsetLag"], p["isFutureKey"]] for p in parts)})

    def metadata(self, topic, partitions):
        answer = self.s.ask("Metadata", 12, {"topics": [{"name": topic}]})
        keep = ("errorCode", "leaderId", "isrNodes", "offlineReplicas", "replicaNodes")
        return [{key: p[key] for key in keep} for p in answer["topics"][0]["partitions"]
                if p["partitionIndex"] in partitions]

    def described(self, topic, partitions):
        answer = self.s.ask("DescribeTopicPartitions", 0, {
            "topics": [{"name": topic}], "responsePartitionLimit": 100, "cursor": None})
        # Apache Kafka takes a stop with a failed folder for unclean and then forgets who was eligible.
        keep = ("errorCode", "leaderId", "isrNodes", "offlineReplicas", "lastKnownElr")
        return [{key: p[key] for key in keep} for p in answer["topics"][0]["partitions"]
                if p["partitionIndex"] in partitions]

    def codes(self, step, topic, partitions, either=False):
        """What requests for these partitions are answered with."""
        said = {"produce": set(), "fetch": set(), "offsets": set()}
        for p in partitions:
            answer = self.s.ask("Produce", 9, produce_body(topic, records(), partition=p))
            said["produce"].add(answer["responses"][0]["partitionResponses"][0]["errorCode"])
            answer = self.s.ask("Fetch", 12, fetch_body(topic, 0, partition=p))
            said["fetch"].add(answer["responses"][0]["partitions"][0]["errorCode"])
            answer = self.s.ask("ListOffsets", 7, {"replicaId": -1, "isolationLevel": 0, "topics": [
                {"name": topic, "partitions": [{"partitionIndex": p, "currentLeaderEpoch": -1, "timestamp": -1}]}]})
            said["offsets"].add(answer["topics"][0]["partitions"][0]["errorCode"])
        # Apache Kafka starts as a follower of nobody there: NOT_LEADER_OR_FOLLOWER until it has looked for the log.
        codes = {key: ["refused"] if either and codes <= {6, 56} else sorted(codes) for key, codes in said.items()}
        self.s.write(step, codes)

    def wait_offline(self, topic, partitions):
        def the_failure():
            return self.results()[self.second]["errorCode"] != 0
        wait_until(the_failure)

        def the_metadata():
            return all(p["leaderId"] == -1 for p in self.metadata(topic, partitions))
        wait_until(the_metadata)


def test_a_folder_fails(env):
    data = env.tmp / "folders"
    data.mkdir()
    folders = [data / "first", data / "second"]
    with Scenario(env, "log-dirs-failure", config={"log.dirs": ",".join(map(str, folders)), **CONFIG}) as s:
        dirs = Folders(s)
        s.create("ld", partitions=PARTITIONS)
        dirs.describe("new", "ld")
        good, bad = (dirs.partitions_in(d, "ld") for d in (dirs.first, dirs.second))
        s.write("spread", [len(good), len(bad)])
        dirs.codes("while all is well", "ld", good + bad)
        dirs.describe("filled", "ld")

        kept = data / "kept"
        folders[1].rename(kept)
        folders[1].write_text("no folder any more\n")
        dirs.wait_offline("ld", bad)
        for when in "failed", "started without it":
            dirs.codes(f"{when}: partitions there", "ld", bad, either=when != "failed")
            dirs.codes(f"{when}: the others", "ld", good)
            s.write(f"{when}: metadata there", dirs.metadata("ld", bad))
            s.write(f"{when}: metadata of the others", dirs.metadata("ld", good))
            s.write(f"{when}: described there", dirs.described("ld", bad))
            dirs.describe(when, "ld")
            s.create("ld-" + when.split()[0], partitions=2)
            s.write(f"{when}: a new topic", len(dirs.partitions_in(dirs.first, "ld-" + when.split()[0])))
            if when == "failed":
                s.close()
                s.broker.stop()
                s.broker.start()
                dirs.wait_offline("ld", bad)

        s.close()
        s.broker.stop()
        folders[1].unlink()
        kept.rename(folders[1])
        s.broker.start()
        s.wait_leaders("ld")
        s.settle()
        dirs.codes("mended", "ld", good + bad)
        s.write("mended: metadata there", dirs.metadata("ld", bad))
        s.write("mended: described there", dirs.described("ld", bad))
        dirs.describe("mended", "ld")


def alter(s, step, *moves):
    answer = s.ask("AlterReplicaLogDirs", 2, {"dirs": [
        {"path": str(path), "topics": [{"name": topic, "partitions": list(partitions)}]}
        for path, topic, partitions in moves]})
    s.write(step, sorted([t["topicName"], p["partitionIndex"], p["errorCode"]]
                         for t in answer["results"] for p in t["partitions"]))


def test_replicas_move(env):
    data = env.tmp / "folders"
    folders = [data / "first", data / "second"]
    with Scenario(env, "log-dirs-moves", config={"log.dirs": ",".join(map(str, folders)), **CONFIG}) as s:
        dirs = Folders(s)
        s.create("mv", partitions=2, segment_bytes=1048576)
        s.create("mv-compacted", cleanup_policy="compact")
        producer, epoch = s.producer_id()
        sequence = 0

        def send(topic, partition, count, size=1000):
            nonlocal sequence
            for _ in range(count):
                batch = codec().batch([{"key": f"k{sequence}", "value": {"repeat": "x", "count": size},
                                        "timestamp": PAST_MS + sequence}],
                                      producerId=producer, epoch=epoch, sequence=sequence)
                answer = s.ask("Produce", 9, produce_body(topic, batch, partition=partition))
                code = answer["responses"][0]["partitionResponses"][0]["errorCode"]
                assert code == 0, f"Produce is answered with {code}"
                sequence += 1

        def where(partition):
            return [f for f in (dirs.first, dirs.second) if partition in dirs.partitions_in(f, "mv")]

        def move(step, partition, to, topic="mv"):
            alter(s, step, (to, topic, [partition]))

            def the_move():
                return partition not in dirs.partitions_in(dirs.first if to == dirs.second else dirs.second, topic)
            return the_move

        def records_of(partition):
            offset, keys = 0, []
            while True:
                answer = s.ask("Fetch", 12, fetch_body("mv", offset, partition=partition))
                part = answer["responses"][0]["partitions"][0]
                found = [r for batch in part["records"] for r in batch["records"]]
                if not found:
                    return {"errorCode": part["errorCode"], "highWatermark": part["highWatermark"],
                            "count": len(keys), "inOrder": keys == sorted(keys)}
                for batch in part["records"]:
                    keys += [batch["baseOffset"] + i for i in range(len(batch["records"]))]
                offset = keys[-1] + 1

        send("mv", 0, 300)
        start, = where(0)
        other = dirs.second if start == dirs.first else dirs.first
        moved = move("a move begins", 0, other)
        send("mv", 0, 200)
        wait_until(moved)
        send("mv", 0, 100)
        s.write("moved", {"once": len(where(0)), "records": records_of(0)})
        alter(s, "where it is", (other, "mv", [0]))
        wait_until(move("and back", 0, start))
        s.write("moved back", {"once": len(where(0)), "records": records_of(0)})
        answer = s.ask("DeleteRecords", 2, {"timeoutMs": 5000, "topics": [
            {"name": "mv", "partitions": [{"partitionIndex": 0, "offset": 450}]}]})
        assert answer["topics"][0]["partitions"][0]["errorCode"] == 0, answer
        wait_until(move("after records were deleted", 0, other))
        s.call("the start stays", "ListOffsets", 7, {"replicaId": -1, "isolationLevel": 0, "topics": [
            {"name": "mv", "partitions": [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": t}
                                          for t in (-2,)]}]})
        for to in dirs.first, dirs.second:
            move("an empty and a compacted one", 0, to, "mv-compacted")
            move("an empty and a compacted one", 1, to)
        alter(s, "no such folder", ("/no/such/folder", "mv", [0]))
        alter(s, "a name of it", ("second", "mv", [0]))
        alter(s, "no such topic", (start, "no-such-topic", [0, 1]))
        alter(s, "no such partition", (start, "mv", [7, -1]))
        alter(s, "twice", (start, "mv", [1]), (other, "mv", [1]))
        alter(s, "no such folder, no such topic", ("/no/such/folder", "no-such-topic", [0]))
        s.call("nothing", "AlterReplicaLogDirs", 1, {"dirs": []})

        s.close()
        s.broker.kill()
        s.broker.start()
        s.wait_leaders("mv")
        s.settle()
        s.write("after a crash", len(where(0)))
        s.call("the start is still there", "ListOffsets", 7, {"replicaId": -1, "isolationLevel": 0, "topics": [
            {"name": "mv", "partitions": [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": t}
                                          for t in (-2,)]}]})
        send("mv", 0, 10)


MOVES_RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
BROKER, SET, DELETE = 4, 0, 1


def test_moves_are_throttled(env):
    data = env.tmp / "folders"
    folders = [data / "first", data / "second"]
    with Scenario(env, "log-dirs-throttle", config={"log.dirs": ",".join(map(str, folders)), **CONFIG}) as s:
        dirs = Folders(s)
        s.create("mt")
        batch = codec().batch([{"key": "k", "value": {"repeat": "x", "count": 500_000}, "timestamp": PAST_MS}])
        for _ in range(8):
            answer = s.ask("Produce", 9, produce_body("mt", batch))
            assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer
        start, = [f for f in (dirs.first, dirs.second) if dirs.partitions_in(f, "mt")]
        other = dirs.second if start == dirs.first else dirs.first

        def rate(step, op, value):
            s.call(step, "IncrementalAlterConfigs", 1, {"resources": [{
                "resourceType": BROKER, "resourceName": "1",
                "configs": [{"name": MOVES_RATE, "configOperation": op, "value": value}]}]})
            s.settle()

        def described(step, resource="1"):
            s.call(step, "DescribeConfigs", 4, {"includeSynonyms": True, "resources": [
                {"resourceType": BROKER, "resourceName": resource, "configurationKeys": [MOVES_RATE]}]})

        described("not set")
        for value in "abc", "-1", "", None:
            rate(f"rate {value}", SET, value)
        rate("a byte a second", SET, "1")
        described("set")
        alter(s, "a move begins", (other, "mt", [0]))
        time.sleep(4)
        future, = [p for t in dirs.results()[other]["topics"] for p in t["partitions"] if t["name"] == "mt"]
        s.write("after seconds", {"isFutureKey": future["isFutureKey"], "lags": future["offsetLag"] > 0,
                                  "serves": len(dirs.partitions_in(start, "mt"))})
        rate("no limit", DELETE, None)

        def the_move():
            return not dirs.partitions_in(start, "mt")
        wait_until(the_move)
        s.write("moved", len(dirs.partitions_in(other, "mt")))
