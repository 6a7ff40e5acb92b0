"""ApiVersions, DescribeCluster, DescribeQuorum, DescribeLogDirs, InitProducerId."""

from scenario import Scenario, codec


def advertised(answer):
    """Which of Kafka's APIs are offered at what versions is a test of its own (test_advertised)."""
    return {**answer, "apiKeys": len(answer.get("apiKeys", [])) > 0}


def test_api_versions(env):
    with Scenario(env, "api_versions") as s:
        client = {"clientSoftwareName": "behaviour", "clientSoftwareVersion": "1.0"}
        for version in range(0, 5):
            s.call("good", "ApiVersions", version, dict(client), keep=advertised)
        for name, number in (("", "1"), ("a b", "1"), ("-a", "1"), ("a", ""), ("a", "1 0"), ("a.b-c", "1.0-x.y"), ("a", "_")):
            s.call(f"client {name!r} {number!r}", "ApiVersions", 3,
                   {"clientSoftwareName": name, "clientSoftwareVersion": number}, keep=advertised)


NOT_BUILT = """
    ConsumerGroupHeartbeat ConsumerGroupDescribe ShareGroupHeartbeat ShareGroupDescribe ShareFetch
    ShareAcknowledge InitializeShareGroupState ReadShareGroupState WriteShareGroupState DeleteShareGroupState
    ReadShareGroupStateSummary DescribeShareGroupOffsets AlterShareGroupOffsets DeleteShareGroupOffsets
    StreamsGroupHeartbeat StreamsGroupDescribe AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers TxnOffsetCommit
    DescribeTransactions ListTransactions SaslHandshake SaslAuthenticate
    AlterUserScramCredentials AlterClientQuotas AlterReplicaLogDirs
    UnregisterBroker AddRaftVoter RemoveRaftVoter
""".split()


def test_advertised(env):
    """Each API that is offered is offered at exactly the versions of Apache Kafka."""
    with Scenario(env, "advertised") as s:
        names = apis()
        answer = s.ask("ApiVersions", 4, {"clientSoftwareName": "behaviour", "clientSoftwareVersion": "1.0"})
        for api in answer["apiKeys"]:
            s.write(names[api["apiKey"]], [api["minVersion"], api["maxVersion"]])
        s.exceptions.lack("what is not built is not offered", *NOT_BUILT)


def apis():
    return {api["key"]: api["name"] for api in codec().apis()}


def test_describe_cluster(env):
    with Scenario(env, "describe_cluster") as s:
        for version in range(0, 3):
            s.call("brokers", "DescribeCluster", version, {})
            s.call("with operations", "DescribeCluster", version, {"includeClusterAuthorizedOperations": True})
        for version in (1, 2):
            s.call("controllers of a broker", "DescribeCluster", version, {"endpointType": 2})
            s.call("unknown endpoints", "DescribeCluster", version, {"endpointType": 9})
        s.call("with the fenced", "DescribeCluster", 2, {"includeFencedBrokers": True})


def quorum(answer):
    """Offsets and epochs of the metadata log move all the time: only how they relate is compared."""
    for topic in answer.get("topics", []):
        for partition in topic["partitions"]:
            end = partition["highWatermark"]
            if end > 0:
                partition["highWatermark"] = "OFFSET"
            if partition["leaderEpoch"] > 0:
                partition["leaderEpoch"] = "EPOCH"
            for replica in partition["currentVoters"] + partition["observers"]:
                replica["logEndOffset"] = "not before the high watermark" if replica["logEndOffset"] >= end else "behind"
    return answer


def test_describe_quorum(env):
    with Scenario(env, "describe_quorum") as s:
        for version in range(0, 3):
            def ask(step, *topics):
                s.call(step, "DescribeQuorum", version, {"topics": [
                    {"topicName": t, "partitions": [{"partitionIndex": p} for p in ps]} for t, ps in topics]}, keep=quorum)
            ask("the metadata log", ("__cluster_metadata", [0]))
            ask("another partition", ("__cluster_metadata", [1]))
            ask("another topic", ("other", [0]))
            ask("both", ("__cluster_metadata", [0, 1]))
            ask("none")


def test_describe_log_dirs(env):
    with Scenario(env, "describe_log_dirs", config={"node.id": "1"}) as s:
        s.create("ld-a", "ld-b", partitions=2)
        s.produce("some data", "ld-a", batch(s, "x" * 100))
        for version in range(1, 6):
            s.call("all", "DescribeLogDirs", version, {"topics": None})
            s.call("one", "DescribeLogDirs", version, {"topics": [{"topic": "ld-a", "partitions": [0, 1, 7]}]})
            s.call("unknown", "DescribeLogDirs", version, {"topics": [{"topic": "nope", "partitions": [0]}]})
            s.call("none", "DescribeLogDirs", version, {"topics": []})


def batch(s, value):
    return codec().batch([{"value": value}])


def test_init_producer_id(env):
    with Scenario(env, "init_producer_id") as s:
        s.producer_id()

        def ask(step, version, **body):
            s.call(step, "InitProducerId", version, body)

        for version in range(0, 6):
            ask("no transaction", version, transactionalId=None, transactionTimeoutMs=60000)
        for version in (3, 4, 5):
            for step, producer, epoch in (("id without epoch", 5, -1), ("epoch without id", -1, 3), ("id and epoch", 5, 3)):
                ask(step, version, transactionalId=None, transactionTimeoutMs=60000, producerId=producer, producerEpoch=epoch)
        ask("no timeout", 4, transactionalId=None, transactionTimeoutMs=0)
        ask("negative timeout", 4, transactionalId=None, transactionTimeoutMs=-1)
        ask("empty transactional id", 4, transactionalId="", transactionTimeoutMs=1000)
