"""CreateTopics, DeleteTopics, CreatePartitions, Metadata, DescribeTopicPartitions: good requests and bad ones."""

from scenario import Scenario

MISSING_ID = "AAAAAAAAAAAAAAAAAAAAKg"


def topic(name, partitions=1, replication=1, configs=(), assignments=()):
    return {
        "name": name, "numPartitions": partitions, "replicationFactor": replication,
        "assignments": [{"partitionIndex": p, "brokerIds": list(b)} for p, b in assignments],
        "configs": [{"name": k, "value": v} for k, v in configs],
    }


def create(s, step, *topics, version=7, validate=False, keys=()):
    """Of the configs in the answer only those in `keys` are written down; None writes all."""
    def keep(answer):
        for result in answer["topics"]:
            if keys is not None and result.get("configs"):
                result["configs"] = [c for c in result["configs"] if c["name"] in keys]
        return answer
    return s.call(step, "CreateTopics", version,
                  {"topics": list(topics), "timeoutMs": 15000, "validateOnly": validate}, keep=keep)


def test_create_topics(env):
    with Scenario(env, "create_topics") as s:
        create(s, "a topic", topic("ct-plain", 3), keys=None)
        create(s, "the same again", topic("ct-plain", 3))
        create(s, "validated only", topic("ct-dry", 2, configs=[("cleanup.policy", "compact")]), validate=True)
        create(s, "validated only and exists", topic("ct-plain"), validate=True)
        s.call("the dry one is not there", "Metadata", 12,
               {"topics": [{"name": "ct-dry"}], "allowAutoTopicCreation": False})
        create(s, "defaults", topic("ct-default", -1, -1))
        create(s, "two at once, one bad", topic("ct-good"), topic("ct bad"))
        create(s, "none at all")
        create(s, "the same name twice", topic("ct-twice"), topic("ct-twice"), topic("ct-beside"))
        for name in ("", ".", "..", "a b", "a/b", "x" * 249, "x" * 250, "näme", "a_b.c", "a.b_c", "__cluster_metadata"):
            create(s, f"name {name[:20]!r} of {len(name)}", topic(name))
        for partitions in (0, -2, 2_000_000_000):
            create(s, f"{partitions} partitions", topic("ct-partitions", partitions))
        for replication in (0, -2, 2, 32767):
            create(s, f"replication {replication}", topic("ct-replication", 1, replication))
        create(s, "an assignment", topic("ct-assigned", -1, -1, assignments=[(0, [1]), (1, [1])]))
        create(s, "assignment and count", topic("ct-assigned2", 2, -1, assignments=[(0, [1]), (1, [1])]))
        create(s, "assignment and replication", topic("ct-assigned3", -1, 1, assignments=[(0, [1])]))
        create(s, "assignment to nobody", topic("ct-assigned4", -1, -1, assignments=[(0, [])]))
        create(s, "assignment to a stranger", topic("ct-assigned5", -1, -1, assignments=[(0, [7])]))
        create(s, "assignment twice to one", topic("ct-assigned6", -1, -1, assignments=[(0, [1, 1])]))
        create(s, "assignment with a gap", topic("ct-assigned7", -1, -1, assignments=[(0, [1]), (2, [1])]))
        create(s, "assignment from one on", topic("ct-assigned8", -1, -1, assignments=[(1, [1])]))
        create(s, "assignment of one twice", topic("ct-assigned9", -1, -1, assignments=[(0, [1]), (0, [1])]))
        for key, value in TOPIC_CONFIGS:
            create(s, f"{key}={value}", topic("ct-config", configs=[(key, value)]), validate=True, keys=[key])
        create(s, "configs that contradict", topic("ct-config", configs=[
            ("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "10")]), validate=True)
        create(s, "a config twice", topic("ct-config", configs=[
            ("retention.ms", "1000"), ("retention.ms", "2000")]), validate=True)
        for version in range(2, 8):
            create(s, "good", topic(f"ct-v{version}"), version=version)
            create(s, "exists", topic(f"ct-v{version}"), version=version)


# Key and value: what is allowed at each edge, what is refused and with which words.
TOPIC_CONFIGS = [
    ("no.such.config", "1"), ("", "1"),
    ("cleanup.policy", "compact"), ("cleanup.policy", "compact,delete"), ("cleanup.policy", "delete,compact"),
    ("cleanup.policy", ""), ("cleanup.policy", "shred"), ("cleanup.policy", "delete,delete"),
    ("cleanup.policy", " compact , delete "), ("cleanup.policy", None),
    ("compression.type", "zstd"), ("compression.type", "uncompressed"), ("compression.type", "none"),
    ("compression.type", "brotli"), ("compression.type", "ZSTD"),
    ("compression.gzip.level", "1"), ("compression.gzip.level", "0"), ("compression.gzip.level", "10"),
    ("compression.lz4.level", "17"), ("compression.lz4.level", "18"), ("compression.lz4.level", "0"),
    ("compression.zstd.level", "22"), ("compression.zstd.level", "23"), ("compression.zstd.level", "-131072"),
    ("delete.retention.ms", "0"), ("delete.retention.ms", "-1"),
    ("file.delete.delay.ms", "0"), ("file.delete.delay.ms", "-1"),
    ("flush.messages", "1"), ("flush.messages", "0"), ("flush.ms", "0"), ("flush.ms", "-1"),
    ("follower.replication.throttled.replicas", "*"), ("follower.replication.throttled.replicas", "0:1,1:1"),
    ("follower.replication.throttled.replicas", "x"), ("leader.replication.throttled.replicas", "0:"),
    ("index.interval.bytes", "0"), ("index.interval.bytes", "-1"),
    ("local.retention.ms", "-2"), ("local.retention.ms", "-1"), ("local.retention.ms", "-3"),
    ("local.retention.bytes", "-3"), ("local.retention.ms", "999999999999"),
    ("max.compaction.lag.ms", "1"), ("max.compaction.lag.ms", "0"),
    ("max.message.bytes", "0"), ("max.message.bytes", "-1"), ("max.message.bytes", "2147483647"),
    ("max.message.bytes", "2147483648"), ("max.message.bytes", "1.5"), ("max.message.bytes", "1k"),
    ("max.message.bytes", " 7 "), ("max.message.bytes", ""), ("max.message.bytes", None), ("max.message.bytes", "+5"),
    ("message.timestamp.after.max.ms", "0"), ("message.timestamp.after.max.ms", "-1"),
    ("message.timestamp.before.max.ms", "0"), ("message.timestamp.before.max.ms", "-1"),
    ("message.timestamp.type", "LogAppendTime"), ("message.timestamp.type", "logappendtime"),
    ("message.format.version", "3.0"), ("message.timestamp.difference.max.ms", "5"),
    ("message.downconversion.enable", "false"),
    ("min.cleanable.dirty.ratio", "0"), ("min.cleanable.dirty.ratio", "1"), ("min.cleanable.dirty.ratio", "1.1"),
    ("min.cleanable.dirty.ratio", "x"), ("min.cleanable.dirty.ratio", "1e-1"), ("min.cleanable.dirty.ratio", "NaN"),
    ("min.compaction.lag.ms", "0"), ("min.compaction.lag.ms", "-1"),
    ("min.insync.replicas", "1"), ("min.insync.replicas", "0"), ("min.insync.replicas", "5"),
    ("preallocate", "true"), ("preallocate", "TRUE"), ("preallocate", "yes"), ("preallocate", ""),
    ("remote.storage.enable", "true"), ("remote.storage.enable", "false"),
    ("remote.log.copy.disable", "true"), ("remote.log.delete.on.disable", "true"),
    ("retention.bytes", "-1"), ("retention.bytes", "0"), ("retention.bytes", "-2"),
    ("retention.ms", "-1"), ("retention.ms", "0"), ("retention.ms", "-2"), ("retention.ms", "9223372036854775807"),
    ("retention.ms", "9223372036854775808"), ("retention.ms", "0x10"), ("retention.ms", "abc"),
    ("segment.bytes", "1048576"), ("segment.bytes", "1048575"), ("segment.bytes", "2147483647"),
    ("segment.bytes", "2147483648"),
    ("segment.index.bytes", "4"), ("segment.index.bytes", "3"),
    ("segment.jitter.ms", "0"), ("segment.jitter.ms", "-1"),
    ("segment.ms", "1"), ("segment.ms", "0"),
    ("unclean.leader.election.enable", "true"), ("unclean.leader.election.enable", "maybe"),
    ("internal.segment.bytes", "100"),
]


def test_delete_topics(env):
    with Scenario(env, "delete_topics") as s:
        ids = s.create("dt-a", "dt-b", "dt-c", "dt-d", "dt-e", "dt-f", partitions=2)

        def delete(step, topics, version=6):
            field = {"topics": topics} if version >= 6 else {"topicNames": topics}
            return s.call(step, "DeleteTopics", version, {**field, "timeoutMs": 15000})

        delete("by name", [{"name": "dt-a"}])
        delete("again", [{"name": "dt-a"}])
        delete("by id", [{"name": None, "topicId": ids[1]}])
        delete("by an unknown id", [{"name": None, "topicId": MISSING_ID}])
        delete("by name and id", [{"name": "dt-c", "topicId": ids[2]}])
        delete("by neither", [{"name": None}])
        delete("twice in one request", [{"name": "dt-c"}, {"name": "dt-c"}])
        delete("by name and by id in one request", [{"name": "dt-d"}, {"name": None, "topicId": ids[3]}])
        delete("good and unknown", [{"name": "dt-e"}, {"name": "dt-unknown"}])
        delete("none", [])
        delete("illegal name", [{"name": "a b"}])
        delete("the metadata topic", [{"name": "__cluster_metadata"}])
        for version in range(1, 6):
            delete("unknown", ["dt-unknown"], version)
        delete("old version", ["dt-f"], 1)
        s.settle()
        s.call("what is left", "Metadata", 12,
               {"topics": [{"name": f"dt-{c}"} for c in "abcdef"], "allowAutoTopicCreation": False})
        s.create("dt-a")
        s.call("made again", "Metadata", 12, {"topics": [{"name": "dt-a"}]})


def test_create_partitions(env):
    with Scenario(env, "create_partitions") as s:
        s.create("cp-a", "cp-b", partitions=2)

        def grow(step, *topics, version=3, validate=False):
            return s.call(step, "CreatePartitions", version, {
                "topics": list(topics), "timeoutMs": 15000, "validateOnly": validate})

        def to(name, count, assignments=None):
            return {"name": name, "count": count,
                    "assignments": None if assignments is None else [{"brokerIds": b} for b in assignments]}

        grow("validated only", to("cp-a", 4), validate=True)
        grow("to 3", to("cp-a", 3))
        grow("to the same", to("cp-a", 3))
        grow("to fewer", to("cp-a", 1))
        grow("to 0", to("cp-a", 0))
        grow("to -1", to("cp-a", -1))
        grow("unknown topic", to("cp-unknown", 3))
        grow("illegal name", to("a b", 3))
        grow("assigned", to("cp-b", 3, [[1]]))
        grow("assigned too few", to("cp-b", 5, [[1]]))
        grow("assigned too many", to("cp-b", 4, [[1], [1]]))
        grow("assigned to a stranger", to("cp-b", 4, [[9]]))
        grow("assigned to nobody", to("cp-b", 4, [[]]))
        grow("assigned twice to one", to("cp-b", 4, [[1, 1]]))
        grow("no assignment listed", to("cp-b", 4, []))
        grow("the same topic twice", to("cp-b", 4), to("cp-b", 5))
        grow("none")
        for version in range(0, 4):
            grow("good", to("cp-b", 6 + version), version=version)
        s.settle()
        s.call("what they are now", "Metadata", 12, {"topics": [{"name": "cp-a"}, {"name": "cp-b"}]})


def topics_only(answer):
    return {"topics": answer["topics"]}


def test_metadata(env):
    with Scenario(env, "metadata", config={"node.id": "1"}) as s:
        ids = s.create("md-a", "md-b", partitions=2)
        for version in range(0, 14):
            no_creation = {"allowAutoTopicCreation": False} if version >= 4 else {}
            s.call("one topic", "Metadata", version, {"topics": [{"name": "md-a"}], **no_creation})
            s.call("all topics", "Metadata", version, {"topics": [] if version == 0 else None})
            if version > 0:
                s.call("none", "Metadata", version, {"topics": []})
            if version >= 4:
                s.call("unknown", "Metadata", version, {"topics": [{"name": "md-unknown"}], **no_creation})
        for version in (10, 11, 12, 13):
            s.call("by id", "Metadata", version, {"topics": [{"name": None, "topicId": ids[0]}]})
            s.call("by an unknown id", "Metadata", version, {"topics": [{"name": None, "topicId": MISSING_ID}]})
            s.call("by id and name", "Metadata", version, {"topics": [{"name": "md-a", "topicId": ids[0]}]})
        s.call("twice", "Metadata", 12, {"topics": [{"name": "md-a"}, {"name": "md-a"}]})
        for name in ("", "a b", "x" * 250, ".."):
            s.call(f"name {name[:10]!r} of {len(name)}", "Metadata", 12,
                   {"topics": [{"name": name}], "allowAutoTopicCreation": True})
        s.call("operations", "Metadata", 8, {"topics": [{"name": "md-a"}], "includeClusterAuthorizedOperations": True,
                                             "includeTopicAuthorizedOperations": True})
        s.call("operations", "Metadata", 12, {"topics": [{"name": "md-a"}], "includeTopicAuthorizedOperations": True})
        for version in (4, 9, 12, 13):
            name = f"md-auto-{version}"
            s.call("creates by asking", "Metadata", version, {"topics": [{"name": name}], "allowAutoTopicCreation": True},
                   keep=topics_only)
            s.wait_leaders(name)
            s.settle()
            s.call("created by asking", "Metadata", version, {"topics": [{"name": name}]}, keep=topics_only)

        def describe(step, topics, limit=2000, cursor=None):
            s.call(step, "DescribeTopicPartitions", 0, {
                "topics": [{"name": t} for t in topics], "responsePartitionLimit": limit, "cursor": cursor})

        describe("two topics", ["md-b", "md-a"])
        describe("all topics", [])
        describe("unknown", ["md-unknown", "md-a"])
        describe("illegal", ["a b"])
        describe("limit 1", ["md-a", "md-b"], 1)
        describe("limit 3", ["md-a", "md-b"], 3)
        describe("limit 0", ["md-a"], 0)
        describe("limit -1", ["md-a"], -1)
        describe("cursor", ["md-a", "md-b"], 2, {"topicName": "md-a", "partitionIndex": 1})
        describe("cursor, all topics", [], 2, {"topicName": "md-b", "partitionIndex": 0})
        describe("cursor of an unknown topic", ["md-a", "md-b"], 2, {"topicName": "md-aa", "partitionIndex": 0})
        describe("cursor past the end", ["md-a"], 2, {"topicName": "md-a", "partitionIndex": 9})
        describe("cursor below 0", ["md-a"], 2, {"topicName": "md-a", "partitionIndex": -1})


def test_no_auto_create(env):
    with Scenario(env, "no_auto_create", config={
            "auto.create.topics.enable": "false", "num.partitions": "3", "default.replication.factor": "1",
            "log.retention.hours": "5", "log.segment.bytes": "2097152", "message.max.bytes": "5000"}) as s:
        s.call("not created", "Metadata", 12, {"topics": [{"name": "na-a"}], "allowAutoTopicCreation": True})
        create(s, "broker defaults", topic("na-b", -1, -1))
        s.call("configs", "DescribeConfigs", 4, {"resources": [{
            "resourceType": 2, "resourceName": "na-b",
            "configurationKeys": ["retention.ms", "segment.bytes", "max.message.bytes", "min.insync.replicas"]}],
            "includeSynonyms": True})
