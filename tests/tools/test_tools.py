"""Kafka's own tools, unmodified, against the broker under test: they must say what they say to Apache Kafka."""

import contextlib
import json
import re
import subprocess
import time

import session
from lib import brokers, paths
from lib.runner import timeout
from session import Session

NUMBERS = [(r"-?\d[\d,]*(\.\d+)?", "N")]

# What the verifiable clients say of time and rate, and addresses.
TIMES = [(r'("(timestamp|avg_throughput|target_throughput|[a-z_]*_rate)"):-?[0-9.]+', r"\1:N")]
ANY_ID = [(r"\b[A-Za-z0-9_-]{22}\b", "ID")]

BROKER_KEYS = {
    "auto.create.topics.enable", "compression.type", "default.replication.factor", "delete.topic.enable",
    "fetch.max.bytes", "log.cleanup.policy", "log.index.interval.bytes", "log.retention.bytes", "log.retention.hours",
    "log.segment.bytes", "max.connections", "message.max.bytes", "node.id", "num.partitions",
    "socket.request.max.bytes", "unclean.leader.election.enable",
}

# What the broker must offer; the rest of Kafka's APIs comes with what it is for.
APIS = {
    "Produce", "Fetch", "ListOffsets", "Metadata", "ApiVersions", "CreateTopics", "DeleteTopics", "DeleteRecords",
    "InitProducerId", "OffsetForLeaderEpoch", "DescribeConfigs", "AlterConfigs", "DescribeLogDirs",
    "CreatePartitions", "IncrementalAlterConfigs", "DescribeQuorum", "DescribeCluster", "DescribeProducers",
    "ListConfigResources", "DescribeTopicPartitions",
}


def test_topics(env):
    with Session(env, "topics", env.broker()) as s:
        s.run("topics", "--list")
        s.run("topics", "--describe")
        s.run("topics", "--create", "--topic", "tt-a", "--partitions", 3, "--replication-factor", 1)
        s.run("topics", "--create", "--topic", "tt-b")
        s.run("topics", "--create", "--topic", "tt.c", "--config", "retention.ms=100000", "--config", "segment.ms=1000000")
        s.run("topics", "--create", "--topic", "tt-compact", "--config", "retention.ms=100000", "--config", "cleanup.policy=compact")
        s.run("topics", "--create", "--topic", "tt-a")
        s.run("topics", "--create", "--topic", "tt-a", "--if-not-exists")
        s.run("topics", "--create", "--topic", "tt_c")
        s.run("topics", "--create", "--topic", "bad name")
        s.run("topics", "--create", "--topic", "tt-bad", "--partitions", 0)
        s.run("topics", "--create", "--topic", "tt-bad", "--replication-factor", 2)
        s.run("topics", "--create", "--topic", "tt-bad", "--config", "no.such=1")
        s.run("topics", "--create", "--topic", "tt-bad", "--config", "retention.ms=abc")
        s.run("topics", "--create", "--topic", "tt-d", "--replica-assignment", "1,1")
        s.run("topics", "--create", "--topic", "tt-bad", "--replica-assignment", "7")
        s.run("topics", "--list")
        s.run("topics", "--list", "--topic", "tt-.*")
        s.run("topics", "--list", "--exclude-internal")
        s.run("topics", "--describe", sort=True)
        s.run("topics", "--describe", "--topic", "tt-a")
        s.run("topics", "--describe", "--topic", "tt-a", "--partition-size-limit-per-response", 2)
        s.run("topics", "--describe", "--topics-with-overrides", sort=True)
        s.run("topics", "--describe", "--under-replicated-partitions")
        s.run("topics", "--describe", "--unavailable-partitions")
        s.run("topics", "--describe", "--under-min-isr-partitions")
        s.run("topics", "--describe", "--at-min-isr-partitions", "--topic", "tt-a")
        s.run("topics", "--describe", "--topic", "unknown")
        s.run("topics", "--describe", "--topic", "unknown", "--if-exists")
        s.run("topics", "--describe", "--topic-id", "AAAAAAAAAAAAAAAAAAAAKg")
        s.run("topics", "--alter", "--topic", "tt-a", "--partitions", 5)
        s.run("topics", "--alter", "--topic", "tt-a", "--partitions", 5)
        s.run("topics", "--alter", "--topic", "tt-a", "--partitions", 2)
        s.run("topics", "--alter", "--topic", "unknown", "--partitions", 2)
        s.run("topics", "--alter", "--topic", "unknown", "--partitions", 2, "--if-exists")
        s.run("topics", "--alter", "--topic", "tt-b", "--partitions", 3, "--replica-assignment", "1,1,1")
        s.run("topics", "--describe", "--topic", "tt-[ab]", sort=True)
        s.run("topics", "--delete", "--topic", "tt-b")
        s.run("topics", "--delete", "--topic", "tt-b")
        s.run("topics", "--delete", "--topic", "tt-b", "--if-exists")
        s.run("topics", "--delete", "--topic", "tt.*")
        s.run("topics", "--list")


def test_configs(env):
    with Session(env, "configs", env.broker()) as s:
        s.run("topics", "--create", "--topic", "tc-a", "--config", "segment.bytes=2097152", quiet=True)

        def describe(*args, **more):
            s.run("configs", "--describe", *args, **more)

        def alter(*args, **more):
            s.run("configs", "--alter", *args, **more)

        topic = ["--entity-type", "topics", "--entity-name", "tc-a"]
        broker = ["--entity-type", "brokers", "--entity-name", "1"]
        default = ["--entity-type", "brokers", "--entity-default"]
        describe(*topic)
        describe(*topic, "--all", sort=True)
        describe("--entity-type", "topics")
        alter(*topic, "--add-config", "retention.ms=12345,leader.replication.throttled.replicas=[0:1,1:1]")
        describe(*topic, sort=True)
        alter(*topic, "--delete-config", "retention.ms")
        alter(*topic, "--delete-config", "retention.ms")
        alter(*topic, "--add-config", "retention.ms=7,segment.ms=8", "--delete-config", "leader.replication.throttled.replicas")
        describe(*topic, sort=True)
        alter(*topic, "--add-config", "retention.ms=12345,cleanup.policy=[compact,delete]")
        describe(*topic, sort=True)
        alter(*topic, "--add-config", "retention.ms=7,segment.ms=8", "--delete-config", "cleanup.policy")
        describe(*topic, sort=True)
        alter(*topic, "--add-config", "nope=1")
        alter(*topic, "--add-config", "retention.ms=abc")
        alter(*topic, "--add-config", "segment.bytes=5")
        alter("--entity-type", "topics", "--entity-name", "unknown", "--add-config", "retention.ms=5")
        describe("--entity-type", "topics", "--entity-name", "unknown")
        describe(*broker)
        describe(*default)
        describe(*broker, "--all", sort=True, keep=lambda line: line.strip().split("=")[0] in BROKER_KEYS)
        alter(*broker, "--add-config", "log.index.interval.bytes=8192")
        alter(*default, "--add-config", "log.retention.ms=99999999")
        s.run("topics", "--list", quiet=True)
        describe(*broker, sort=True)
        describe(*default, sort=True)
        describe(*topic, "--all", sort=True, keep=lambda line: line.strip().startswith("retention"))
        alter(*broker, "--add-config", "log.dirs=/x")
        alter(*broker, "--add-config", "log.index.interval.bytes=x")
        alter(*broker, "--delete-config", "log.index.interval.bytes")
        alter(*broker, "--add-config", "log.cleaner.threads=2")
        alter(*broker, "--add-config", "log.cleaner.threads=x")
        alter(*broker, "--delete-config", "log.cleaner.threads")
        alter(*default, "--delete-config", "log.retention.ms")
        describe(*default, sort=True)
        describe("--entity-type", "brokers", "--entity-name", "9")


@timeout(180)
def test_configs_of_others(env):
    """Users, clients, addresses, groups, client metrics, loggers."""
    with Session(env, "configs_of_others", env.broker()) as s:
        for kind in ("users", "clients", "ips", "groups", "client-metrics"):
            s.run("configs", "--describe", "--entity-type", kind)
            if kind not in ("groups", "client-metrics"):
                s.run("configs", "--describe", "--entity-type", kind, "--entity-default")
            s.run("configs", "--describe", "--entity-type", kind, "--entity-name", "127.0.0.1")
        s.run("configs", "--describe", "--entity-type", "users", "--entity-name", "a", "--entity-type", "clients",
              "--entity-name", "b")
        for kind, name, key, value in (
                ("groups", "g", "consumer.session.timeout.ms", "50000"), ("groups", "g", "consumer.session.timeout.ms", "1"),
                ("groups", "g", "nope", "1"), ("client-metrics", "m", "interval.ms", "1000"), ("client-metrics", "m", "interval.ms", "x"),
                ("client-metrics", "m", "nope", "x"), ("broker-loggers", "1", "no.such.logger", "INFO"),
                ("brokers", "1", "max.connections", "500"), ("brokers", "1", "log.cleaner.threads", "2")):
            s.run("configs", "--alter", "--entity-type", kind, "--entity-name", name, "--add-config", f"{key}={value}")
            s.run("topics", "--list", quiet=True)
            s.run("configs", "--describe", "--entity-type", kind, "--entity-name", name, sort=True,
                  keep=lambda line: kind != "broker-loggers")
        for kind, name, key in (("groups", "g", "consumer.session.timeout.ms"), ("client-metrics", "m", "interval.ms"),
                                ("brokers", "1", "max.connections")):
            s.run("configs", "--alter", "--entity-type", kind, "--entity-name", name, "--delete-config", key)
            s.run("topics", "--list", quiet=True)
            s.run("configs", "--describe", "--entity-type", kind, "--entity-name", name)


def produce(s, topic, text, *args):
    s.run("console-producer", "--topic", topic, *args, stdin=text)


def consume(s, topic, partition, offset, count, *args, **more):
    limit = ["--max-messages", count] if count else ["--timeout-ms", 1000]
    s.run("console-consumer", "--topic", topic, "--partition", partition, "--offset", offset, *limit, *args, **more)


def test_console(env):
    with Session(env, "console") as s:
        s.run("topics", "--create", "--topic", "co-a", "--partitions", 2, quiet=True)
        s.run("topics", "--create", "--topic", "co-b", quiet=True)
        produce(s, "co-b", "one\ntwo\n\nthree äöü 漢字\n")
        keyed = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
        produce(s, "co-b", "k1:v1\nk2:\nk3:v3\n", *keyed, "--compression-codec", "zstd")
        produce(s, "co-b", "h1:a,h2:b\tkey\tvalue\n", "--reader-property", "parse.key=true",
                "--reader-property", "parse.headers=true")
        produce(s, "co-b", "k:NULL\n", *keyed, "--reader-property", "null.marker=NULL")
        produce(s, "co-b", "no separator\n", *keyed)
        produce(s, "co-b", "acks one\n", "--request-required-acks", "1", "--sync")
        for codec in ("gzip", "snappy", "lz4", "none"):
            produce(s, "co-b", f"by {codec}\n", "--compression-codec", codec)
        consume(s, "co-b", 0, "earliest", 13)
        everything = []
        for name in ("timestamp", "key", "headers", "partition", "offset", "epoch", "value", "delivery"):
            everything += ["--formatter-property", f"print.{name}=true"]
        consume(s, "co-b", 0, "earliest", 13, *everything, "--formatter-property", "null.literal=-")
        consume(s, "co-b", 0, 5, 2)
        consume(s, "co-b", 0, 12, 1, *everything)
        consume(s, "co-b", 0, 100, None)
        consume(s, "co-b", 0, "latest", None)
        consume(s, "co-b", 5, "earliest", None)
        consume(s, "co-unknown", 0, "earliest", None, mask=[(r"Processed a total.*", "end")])
        produce(s, "co-a", "".join(f"key{i}:value{i}\n" for i in range(20)), *keyed)
        for partition in (0, 1):
            consume(s, "co-a", partition, "earliest", None, *everything)
        produce(s, "co-auto", "made by writing\n")
        consume(s, "co-auto", 0, "earliest", 1)


@timeout(180)
def test_offsets(env):
    with Session(env, "offsets", env.broker()) as s:
        s.run("topics", "--create", "--topic", "of-a", "--partitions", 3, quiet=True)
        s.run("topics", "--create", "--topic", "of-b", quiet=True)
        s.run("console-producer", "--topic", "of-b", stdin="a\nb\nc\nd\ne\n", quiet=True)
        s.run("get-offsets")
        for time in ("-1", "-2", "-3", "-4", "-5", "latest", "earliest", "max-timestamp", "earliest-local",
                     "latest-tiered", "earliest-pending-upload", "0", "99999999999999", "soon", "-9"):
            # Which of five records of the same millisecond or so is the newest is a matter of luck.
            luck = [(r"of-b:0:\d", "of-b:0:N")] if time in ("-3", "max-timestamp") else []
            s.run("get-offsets", "--topic", "of-b", "--time", time, mask=luck)
        s.run("get-offsets", "--topic", "of-.*")
        s.run("get-offsets", "--topic", "of-a", "--partitions", "0,2")
        s.run("get-offsets", "--topic", "of-a", "--partitions", "x")
        s.run("get-offsets", "--topic-partitions", "of-a:1,of-b:0-2,of-a:2-")
        s.run("get-offsets", "--topic", "unknown")
        s.run("get-offsets", "--topic", "of-b", "--partitions", "9")
        s.run("get-offsets", "--exclude-internal-topics")

        def delete(*records):
            path = env.tmp / "delete.json"
            path.write_text(json.dumps({"partitions": [
                {"topic": t, "partition": p, "offset": o} for t, p, o in records], "version": 1}))
            s.run("delete-records", "--offset-json-file", path, sort=True)

        delete(("of-b", 0, 2))
        delete(("of-b", 0, 99))
        delete(("of-b", 0, 1), ("of-a", 1, 0))
        s.run("get-offsets", "--topic", "of-b", "--time", "-2")
        delete(("of-b", 0, -1))
        s.run("get-offsets", "--topic", "of-b", "--time", "-2")
        path = env.tmp / "bad.json"
        path.write_text("{}")
        s.run("delete-records", "--offset-json-file", path)


def test_producer_performance(env):
    with Session(env, "producer_performance") as s:
        s.run("topics", "--create", "--topic", "pp-a", quiet=True)
        s.run("producer-perf-test", "--topic", "pp-a", "--num-records", 5000, "--record-size", 100, "--throughput", -1,
              "--bootstrap-server", s.broker.bootstrap,
              mask=[(r"^\d+ records sent, (?!.*50th).*", "progress"), *NUMBERS], keep=lambda line: line != "progress")
        s.run("get-offsets", "--topic", "pp-a")


@timeout(180)
def test_load(env):
    """The tools that make load and measure: their figures are masked, their counts are not."""
    with Session(env, "load") as s:
        at = ("--bootstrap-server", s.broker.bootstrap)

        def started(line):
            """The producer's main returns before its last answers are printed."""
            return "startup_complete" in line
        s.run("topics", "--create", "--topic", "lo-a", quiet=True)
        s.run("verifiable-producer", "--topic", "lo-a", "--max-messages", 50, "--acks", "-1", mask=TIMES, keep=started)
        s.run("verifiable-producer", "--topic", "lo-a", "--max-messages", 20, "--acks", "1", "--value-prefix", "7",
              "--repeating-keys", 4, "--message-create-time", 1_700_000_000_000, mask=TIMES, keep=started)
        s.run("verifiable-consumer", "--topic", "lo-a", "--group-id", "lo-g", "--max-messages", 70, "--reset-policy",
              "earliest", "--verbose", mask=TIMES, keep=lambda line: '"record_data"' in line or '"shutdown' in line, sort=True)
        s.run("consumer-groups", "--describe", "--group", "lo-g", "--offsets", sort=True, mask=[(r" +$", "")])
        s.run("consumer-perf-test", "--topic", "lo-a", "--num-records", 70, "--timeout", 20000,
              mask=[(r"\d{4}-\d\d-\d\d [0-9:]+", "WHEN"), *NUMBERS])
        s.run("consumer-perf-test", "--topic", "lo-a", "--num-records", 70, "--group", "lo-p", "--hide-header",
              mask=[(r"\d{4}-\d\d-\d\d [0-9:]+", "WHEN"), *NUMBERS])
        s.run("e2e-latency", "--topic", "lo-e", "--num-records", 200, "--producer-acks", "all", "--record-size", 50,
              mask=[(r"\d+\t", "I\t"), *NUMBERS])
        s.run("client-compatibility-test", "--topic", "lo-c", "--offsets-for-times-supported", "true",
              "--cluster-id-supported", "true", "--expect-record-too-large-exception", "false", "--num-cluster-nodes", 1,
              "--create-topics-supported", "true", "--describe-acls-supported", "true", "--describe-configs-supported",
              "true", "--idempotent-producer-supported", "true")
        s.run("get-offsets", "--topic-partitions", "lo-a,lo-e,lo-c", sort=True)
        s.run("streams-application-reset", "--application-id", "lo-g", "--input-topics", "lo-a", "--dry-run")
        s.run("streams-application-reset", "--application-id", "lo-g", "--input-topics", "lo-a", sort=True)
        s.run("consumer-groups", "--describe", "--group", "lo-g", "--offsets", sort=True, mask=[(r" +$", "")])
        s.run("cluster", "cluster-id", *at, mask=[(r"[A-Za-z0-9_-]{22}", "ID")])
        s.run("cluster", "list-endpoints", *at, mask=[(r"\s+", " ")])
        s.run("cluster", "list-endpoints", *at, "--include-fenced-brokers", mask=[(r"\s+", " ")])


@timeout(120)
def test_folder(env):
    """What a stopped broker leaves is a formatted folder to the storage tool, and the metadata shell loads it."""
    broker = env.broker()
    with Session(env, "folder", broker) as s:
        s.run("topics", "--create", "--topic", "fo-a", "--partitions", 2, "--config", "retention.ms=1000", quiet=True)
        s.run("configs", "--alter", "--entity-type", "brokers", "--entity-default", "--add-config",
              "log.cleaner.threads=2", quiet=True)
        broker.stop()
        config = broker.folder / "server.properties"
        s.run("storage", "info", "--config", config, mask=ANY_ID)
        cluster_id = re.search(r"cluster\.id=(.*)", (broker.data / "meta.properties").read_text())[1]
        s.masks.name("cluster-id", cluster_id)
        for more in ((), ("--ignore-formatted",)):
            s.run("storage", "format", "--config", config, f"--cluster-id={cluster_id}", "--standalone", *more, mask=ANY_ID)
        s.run("storage", "format", "--config", config, "--cluster-id=AnotherClusterTaffrail", "--standalone", mask=ANY_ID)
        (metadata,) = (broker.data / "__cluster_metadata-0").glob("*.log")

        def shell(*words, until):
            """What the shell says, sorted; it may look before it has read the file to its end."""
            for _ in range(10):
                said = s.run("metadata-shell", "--snapshot", metadata, *words, quiet=True)["out"].splitlines()
                if until in said:
                    break
            s.write(f"metadata-shell {' '.join(words)}", sorted({s.masked(line, ANY_ID) for line in said}))

        shell("find", "/image", until="/image/topics/byName/fo-a/name")
        shell("cat", "/image/configs/TOPIC:fo-a/retention.ms", until="1000")


def test_cluster(env):
    with Session(env, "cluster", env.broker()) as s:
        s.run("topics", "--create", "--topic", "cl-a", quiet=True)
        s.run("topics", "--create", "--topic", "cl-two", "--partitions", 2, quiet=True)
        s.run("console-producer", "--topic", "cl-a", stdin="x\n", quiet=True)
        size = [(r'"size":[1-9]\d*', '"size":"SOME"')]
        s.run("log-dirs", "--describe", "--topic-list", "cl-a", mask=size)
        s.run("log-dirs", "--describe", "--topic-list", "cl-a", "--broker-list", "1", mask=size)
        said = s.run("log-dirs", "--describe", "--topic-list", "cl-two", quiet=True)["out"].splitlines()
        (found,) = [json.loads(line) for line in said if line.startswith("{")]
        # The order of the partitions is no promise.
        s.write("two partitions", sorted(p["partition"] for d in found["brokers"][0]["logDirs"] for p in d["partitions"]))
        s.run("log-dirs", "--describe", "--topic-list", "cl-a", "--broker-list", "9")
        s.run("log-dirs", "--describe", "--topic-list", "unknown", mask=size)

        def api(line):
            return line.startswith("127") or line == ")" or line.strip().split("(")[0] in APIS
        s.run("broker-api-versions", mask=[(r",$", "")], keep=api)
        s.run("features", "describe", mask=[(r"Epoch: \d+", "Epoch: N")])
        volatile = [(r"(ClusterId:\s+)\S+", r"\1ID"), (r"(LeaderEpoch|HighWatermark|MaxFollowerLag(TimeMs)?):\s+-?\d+", r"\1: N"),
                    (r'"directoryId": "[^"]+"', '"directoryId": "ID"'), (r"localhost|127\.0\.0\.1", "HOST"),
                    (r"HOST:\d+", "HOST:PORT")]
        s.run("metadata-quorum", "describe", "--status", mask=volatile)
        s.run("metadata-quorum", "describe", "--replication",
              mask=[(r"\b[A-Za-z0-9_-]{22}\b", "ID"), (r"\d{3,}", "N"), (r"\s+", " "), (r"ID \d+ ", "ID N ")])
        s.run("metadata-quorum", "describe", "--replication", "--human-readable",
              mask=[(r"\b[A-Za-z0-9_-]{22}\b", "ID"), (r"\d+ ms ago", "N ms ago"), (r"\s+", " "), (r"ID \d+ ", "ID N ")])


@timeout(180)
def test_administration(env):
    """ACLs, elections, reassignments, features, tokens, client metrics: on one node, without an authorizer."""
    with Session(env, "administration", env.broker()) as s:
        s.run("topics", "--create", "--topic", "ad-a", "--partitions", 2, quiet=True)
        s.run("acls", "--list")
        s.run("acls", "--add", "--allow-principal", "User:a", "--operation", "Read", "--topic", "ad-a")
        s.run("acls", "--remove", "--force", "--topic", "ad-a")
        s.run("leader-election", "--election-type", "preferred", "--topic", "ad-a", "--partition", 0)
        s.run("leader-election", "--election-type", "unclean", "--topic", "ad-a", "--partition", 1)
        s.run("leader-election", "--election-type", "preferred", "--all-topic-partitions", sort=True)
        s.run("leader-election", "--election-type", "preferred", "--topic", "unknown", "--partition", 0)
        path = env.tmp / "reassign.json"

        def reassign(replicas, *args, **more):
            path.write_text(json.dumps({"version": 1, "partitions": [
                {"topic": "ad-a", "partition": p, "replicas": r, "log_dirs": ["any"] * len(r)} for p, r in replicas]}))
            s.run("reassign-partitions", "--reassignment-json-file", path, *args, **more)

        s.run("reassign-partitions", "--list")
        reassign([(0, [1]), (1, [1])], "--execute", sort=True)
        reassign([(0, [1]), (1, [1])], "--verify", sort=True)
        reassign([(0, [7])], "--execute")
        reassign([(9, [1])], "--execute")
        reassign([(0, [1])], "--cancel", sort=True)
        topics = env.tmp / "topics.json"
        topics.write_text(json.dumps({"version": 1, "topics": [{"topic": "ad-a"}]}))
        s.run("reassign-partitions", "--generate", "--topics-to-move-json-file", topics, "--broker-list", 1)
        s.run("features", "upgrade", "--feature", "share.version=9")
        s.run("features", "downgrade", "--feature", "streams.version=0")
        s.run("features", "describe", mask=[(r"Epoch: \d+", "Epoch: N")])
        s.run("features", "upgrade", "--feature", "streams.version=1")
        s.run("features", "disable", "--feature", "share.version", "--dry-run")
        s.run("features", "upgrade", "--release-version", "4.3-IV0")
        s.run("features", "downgrade", "--metadata", "4.0-IV3")
        for what in (["--describe"], ["--create", "--max-life-time-period", "-1"], ["--renew", "--renew-time-period", "-1", "--hmac", "AAAA"]):
            s.run("delegation-tokens", *what, "--command-config", properties(env))
        s.run("client-metrics", "--list")
        s.run("client-metrics", "--alter", "--name", "m", "--metrics", "org.apache.kafka.producer.", "--interval", 10000)
        s.run("client-metrics", "--list")
        s.run("client-metrics", "--describe", "--name", "m", sort=True)
        s.run("client-metrics", "--delete", "--name", "m")
        s.run("client-metrics", "--describe", "--name", "m")


# A member's id is its client's name and what the broker makes up, or what the client made up.
MEMBER_ID = [(r"\bmember-[0-9a-f-]{36}", "MEMBER-ID"), (r"(?<= )[A-Za-z0-9_+/-]{22}(?= )", "MEMBER-ID"), (r" +$", "")]


@contextlib.contextmanager
def group_member(broker, group, topic, protocol, records, *instance):
    """A client's process that is a member while the context lasts, and has read and committed all of the topic."""
    python = paths.clients_home() / "python" / "bin" / "python"
    program = paths.REPO / "tests" / "cli" / "consumer.py"
    process = subprocess.Popen([python, "-B", program, broker.bootstrap, group, topic, protocol, "0", "member", *instance],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for word in ["assigned", *["read"] * records]:
            assert process.stdout.readline() == f"{word}\n", f"the member of {group} ended"
        yield
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def groups_fill(s):
    s.run("topics", "--create", "--topic", "gr-a", "--partitions", 3, quiet=True)
    s.run("topics", "--create", "--topic", "gr-b", quiet=True)
    produce(s, "gr-a", "".join(f"key{i}:value{i}\n" for i in range(20)), "--reader-property", "parse.key=true",
            "--reader-property", "key.separator=:")
    produce(s, "gr-b", "a\nb\nc\nd\ne\n")


# Java lists the states in any order; when a target assignment is made for an epoch is a matter of time.
GROUP_CHANCE = [(r"Valid states are: .*", "Valid states are: THESE"), (r"(Empty +)\d+( +)\d+", r"\1N\2N"), *MEMBER_ID]


def describe_groups(s, *groups):
    for what in ((), ("--members",), ("--members", "--verbose"), ("--state",), ("--offsets", "--verbose"), ("--state", "--verbose")):
        s.run("consumer-groups", "--describe", *groups, *what, sort=True, mask=GROUP_CHANCE)


@timeout(240)
def test_groups(env):
    """Groups without members: made by the console consumer, listed, described, moved in every way, and deleted."""
    with Session(env, "groups", env.broker()) as s:
        groups_fill(s)
        s.run("consumer-groups", "--list")
        s.run("groups", "--list")
        s.run("consumer-groups", "--describe", "--all-groups")

        def read(topic, group, protocol, *args):
            s.run("console-consumer", "--topic", topic, "--group", group, "--command-property", f"group.protocol={protocol}",
                  *args, sort=True)

        read("gr-b", "classic-one", "classic", "--from-beginning", "--max-messages", 3)
        read("gr-b", "classic-one", "classic", "--max-messages", 2)
        read("gr-b", "classic-one", "classic", "--timeout-ms", 1000)
        read("gr-a", "consumer-one", "consumer", "--from-beginning", "--max-messages", 20)
        read("gr-a", "consumer-one", "consumer", "--timeout-ms", 1000)
        for args in ((), ("--state",), ("--type",), ("--state", "--type"), ("--state", "Empty"), ("--state", "stable"),
                     ("--state", "Dead,Empty"), ("--state", "Bogus"), ("--type", "consumer"), ("--type", "Classic"),
                     ("--type", "bogus")):
            s.run("consumer-groups", "--list", *args, sort=True, mask=GROUP_CHANCE)
        for args in ((), ("--group-type", "classic"), ("--group-type", "consumer"), ("--consumer",), ("--protocol", "consumer"),
                     ("--share",), ("--streams",), ("--group-type", "bogus")):
            s.run("groups", "--list", *args, sort=True)
        describe_groups(s, "--group", "classic-one")
        describe_groups(s, "--group", "consumer-one")
        describe_groups(s, "--all-groups")
        s.run("consumer-groups", "--describe", "--group", "nobody")
        s.run("consumer-groups", "--describe", "--group", "nobody", "--members")
        s.run("consumer-groups", "--describe", "--group", "nobody", "--state")

        def reset(*args, group="consumer-one"):
            s.run("consumer-groups", "--reset-offsets", "--group", group, *args, sort=True)

        path = env.tmp / "offsets.csv"
        path.write_text("gr-a,0,1\ngr-b,0,2\n")
        for where in (["--to-earliest"], ["--to-latest"], ["--to-current"], ["--to-offset", 3], ["--to-offset", 100],
                      ["--shift-by", 2], ["--shift-by", -3], ["--shift-by", -1000], ["--to-datetime", "2020-01-01T00:00:00.000"],
                      ["--to-datetime", "2090-01-01T00:00:00.000"], ["--by-duration", "PT1H"], ["--by-duration", "PT0S"]):
            reset("--all-topics", *where)
            reset("--all-topics", *where, "--execute")
            s.run("consumer-groups", "--describe", "--group", "consumer-one", sort=True)
        reset("--topic", "gr-a:0,2", "--topic", "gr-b", "--to-earliest", "--execute")
        reset("--from-file", path, "--dry-run")
        reset("--from-file", path, "--execute")
        reset("--topic", "gr-a", "--to-current", "--export")
        reset("--topic", "unknown", "--to-earliest", "--execute")
        reset("--topic", "gr-a:9", "--to-earliest", "--execute")
        reset("--all-topics", "--to-earliest", "--dry-run", group="classic-one")
        reset("--topic", "gr-b", "--to-offset", 4, "--execute", group="made-by-reset")
        reset("--all-topics", "--to-earliest", "--execute", group="nobody")
        s.run("consumer-groups", "--list", "--type", sort=True)
        describe_groups(s, "--group", "made-by-reset")

        s.run("consumer-groups", "--delete-offsets", "--group", "consumer-one", "--topic", "gr-b", sort=True)
        s.run("consumer-groups", "--delete-offsets", "--group", "consumer-one", "--topic", "gr-a:0,1", sort=True)
        s.run("consumer-groups", "--delete-offsets", "--group", "consumer-one", "--topic", "unknown", sort=True)
        s.run("consumer-groups", "--delete-offsets", "--group", "nobody", "--topic", "gr-a", sort=True)
        s.run("consumer-groups", "--describe", "--group", "consumer-one", sort=True)
        s.run("consumer-groups", "--delete", "--group", "made-by-reset")
        s.run("consumer-groups", "--delete", "--group", "made-by-reset")
        s.run("consumer-groups", "--delete", "--group", "classic-one", "--group", "nobody", sort=True)
        s.run("consumer-groups", "--delete", "--all-groups", sort=True)
        s.run("consumer-groups", "--list")


@timeout(240)
def test_groups_with_members(env):
    """Groups of a living member each: what is shown, and what may not be done to them."""
    broker = env.broker()
    with Session(env, "groups_with_members", broker) as s:
        groups_fill(s)
        for protocol, topic, records in (("classic", "gr-a", 20), ("consumer", "gr-b", 5)):
            group = ["--group", f"live-{protocol}"]
            with group_member(broker, f"live-{protocol}", topic, protocol, records):
                s.run("consumer-groups", "--list", "--state", "--type")
                s.run("groups", "--list")
                describe_groups(s, *group)
                s.run("consumer-groups", "--reset-offsets", *group, "--topic", topic, "--to-earliest", "--execute", sort=True)
                s.run("consumer-groups", "--delete-offsets", *group, "--topic", topic, sort=True)
                s.run("consumer-groups", "--delete", *group)
            s.run("consumer-groups", "--describe", *group, "--state")
            s.run("consumer-groups", "--delete", *group)
        s.run("consumer-groups", "--list")


@timeout(240)
def test_admin_calls_of_groups(env):
    """The Java Admin client's calls behind the tools, on groups of each kind: with members, empty, simple, not there."""
    broker = env.broker()
    with Session(env, "admin_calls", broker) as s:
        groups_fill(s)

        def call(*words):
            answer = s.run("admin", *words, mask=[(r"(epoch=Optional\[)\d+", r"\1N"), (r"(epoch=|target=)Optional\[\d+\]( |$)", r"\1N\2"),
                                         (r"member [0-9A-Za-z_-]{22}\b", "member ID"), *MEMBER_ID])
            assert answer["exit"] == 0, f"{words}: {answer['err']}"

        def look(*groups):
            call("describe-consumer", *groups)
            call("describe-classic", *groups)

        call("alter-offsets", "simple", "gr-a:0=1", "gr-a:1=2", "gr-b:0=3")
        call("alter-offsets", "simple", "gr-a:9=1", "unknown:0=1", "gr-a:2=4")
        call("alter-offsets", "", "gr-a:0=1")
        for protocol, topic, records in (("classic", "gr-a", 20), ("consumer", "gr-b", 5)):
            group, other = f"of-{protocol}", f"empty-{protocol}"
            with group_member(broker, group, topic, protocol, records, "instance-1"):
                look(group, "simple", "nobody", "", other)
                for filters in ((), ("consumer",), ("s=Stable",), ("s=Empty",), ("s=Stable", "s=Empty", "s=Dead"), ("t=Classic",),
                                ("t=Consumer",), ("t=Classic", "t=Consumer", "s=Stable"), ("p=consumer",), ("p=",), ("p=connect",),
                                ("p=consumer", "t=Consumer"), ("t=Share",), ("t=Streams",)):
                    call("list", *filters)
                for offsets in ("offsets", "stable-offsets"):
                    call(offsets, group)
                    call(offsets, group, "simple", "nobody/gr-a:0", f"{other}/gr-a:0,gr-b:0,unknown:0")
                    call(offsets, f"{group}/gr-a:0,gr-a:9,unknown:0", "simple/gr-a:0")
                call("alter-offsets", group, f"{topic}:0=0")
                call("delete-offsets", group, f"{topic}:0")
                call("delete-offsets", group, "gr-a:0", "gr-b:0", "unknown:0")
                call("delete", group, "nobody", "")
                call("remove", group, "nobody", "instance-1")
                look(group)
            call("remove", group, "instance-1")
            call("remove-all", group)
            call("alter-offsets", group, f"{topic}:0=0")
            call("offsets", group)
            with group_member(broker, other, topic, protocol, records):
                call("remove-all", other)
            look(other, group)
            call("remove-all", other)
            call("remove-all", "nobody")
            call("remove-all", "simple")
            call("remove", "nobody", "i")
            call("remove", "simple", "i")
            call("delete-offsets", other, f"{topic}:0", f"{topic}:7")
            call("delete-offsets", "nobody", f"{topic}:0")
            call("offsets", other)
            call("delete", group, other)
            call("delete", group, "nobody")
            look(group)
        call("delete", "simple")
        call("list")
        for words in ((), ("consumer.session.timeout.ms=50000", "consumer.heartbeat.interval.ms=6000"), ("consumer.session.timeout.ms",),
                      ("consumer.session.timeout.ms=1",), ("consumer.heartbeat.interval.ms=x",), ("nope=1",), ("consumer.heartbeat.interval.ms",)):
            if words:
                call("alter-configs", "of-classic", *words)
                s.run("topics", "--list", quiet=True)
            call("describe-configs", "of-classic")
        call("describe-configs", "nobody", "of-classic")
        call("alter-configs", "", "consumer.session.timeout.ms=50000")
        call("describe-configs", "")


@timeout(240)
def test_more_of_groups(env):
    """What else consumer-groups can: expressions for topics, files that it wrote itself, and words that do not go together."""
    with Session(env, "groups_more", env.broker()) as s:
        groups_fill(s)

        def run(*words):
            s.run("consumer-groups", *words, sort=True, mask=GROUP_CHANCE)

        run("--reset-offsets", "--group", "g", "--topic", "gr-a", "--topic", "gr-b", "--to-latest", "--execute")
        run("--reset-offsets", "--group", "h", "--topic", "gr-b", "--to-earliest", "--execute")
        run("--reset-offsets", "--group", "g", "--group", "h", "--all-topics", "--to-current", "--export")
        path = env.tmp / "offsets.csv"
        run("--reset-offsets", "--all-groups", "--all-topics", "--shift-by", -1, "--execute")
        run("--describe", "--all-groups", "--offsets")
        path.write_text("not a line\n")
        run("--reset-offsets", "--group", "g", "--from-file", path, "--execute")
        for words in (("--to-datetime", "yesterday"), ("--by-duration", "an hour"), ("--to-offset", "x"), ("--shift-by", "x"),
                      ("--to-offset", -5), ("--to-latest", "--to-earliest")):
            run("--reset-offsets", "--group", "g", "--topic", "gr-a", *words, "--dry-run")
        run("--reset-offsets", "--group", "g", "--to-latest", "--dry-run")
        run("--reset-offsets", "--group", "g", "--topic", "gr-a:x", "--to-latest", "--dry-run")
        run("--describe", "--group", "g", "--members", "--state")
        run("--describe", "--group", "g", "--members", "--offsets")
        run("--delete", "--group", "g", "--group", "h", "--group", "nobody")
        run("--delete-offsets", "--group", "g", "--topic", "gr-a")
        for pattern in ("gr-.*", "(", "a{1001}", "", "(?=a)", "x" * 1000):
            run("--validate-regex", pattern)
        run("--list", "--state", "Stable,Empty", "--type", "classic,consumer")
        run("--list", "--type", "share")
        s.run("groups", "--list", "--protocol", "nope")
        s.run("groups", "--list", "--consumer", "--share")
        s.run("groups", "--describe")


def tool(name, broker, *args):
    """What a tool says of a broker, its lines in order."""
    answer = session.tools().run(session.MAINS[name], ["--bootstrap-server", broker.bootstrap, *args])
    assert answer["exit"] == 0, f"{name} {args}: {answer['err']}"
    return sorted(re.sub(r" +", " ", line).strip() for line in answer["out"].splitlines() if line.strip())


def groups_seen(broker):
    """All that consumer-groups shows, once the members have partitions."""
    seen = []
    deadline = time.monotonic() + 60
    while sum(" Stable " in line for line in tool("consumer-groups", broker, "--describe", "--all-groups", "--state")) < 2:
        assert time.monotonic() < deadline, "the groups are not stable"
        time.sleep(0.5)
    for what in ("--offsets", "--members", "--state"):
        seen += [f"{what} {line}" for line in tool("consumer-groups", broker, "--describe", "--all-groups", what)]
    return seen


def decoded(broker):
    """The groups' records in the files that a stopped broker left, as dump-log reads them."""
    groups = set()
    for log in sorted(broker.data.glob("__consumer_offsets-*/*.log")):
        answer = session.tools().run(session.MAINS["dump-log"], ["--offsets-decoder", "--files", str(log)])
        assert answer["exit"] == 0 and not complaints(answer["out"] + answer["err"]), f"{log}: {answer}"
        groups.update(re.findall(r'"group(?:Id)?":"([^"]*)"', answer["out"]))
    return groups


@timeout(240)
def test_live_groups_change_hands(env):
    """A folder goes from broker to broker while members of both protocols live on: nobody loses place or offset."""
    kinds = (env.broker_kind, "kafka", env.broker_kind) if env.broker_kind == "kafka" else ("kafka", "taffrail", "kafka", "taffrail")
    port, before = env.port(2), None
    config = {"log.dirs": str(env.tmp / "data"), "group.min.session.timeout.ms": "6000"}
    with contextlib.ExitStack() as members:
        for turn, kind in enumerate(kinds):
            broker = brokers.KINDS[kind](env.tmp / f"turn-{turn}", port, config)
            broker.data = env.tmp / "data"
            env.own.append(broker)
            broker.start()
            if before is None:
                for topic, count in (("gr-a", 20), ("gr-b", 5)):
                    tool("topics", broker, "--create", "--topic", topic, "--partitions", "3" if topic == "gr-a" else "1")
                    session.tools().run(session.MAINS["console-producer"], ["--bootstrap-server", broker.bootstrap, "--topic", topic],
                                        "".join(f"{i}\n" for i in range(count)))
                tool("admin", broker, "alter-offsets", "simple", "gr-a:0=1", "gr-b:0=3")
                members.enter_context(group_member(broker, "live-classic", "gr-a", "classic", 20))
                members.enter_context(group_member(broker, "live-consumer", "gr-b", "consumer", 5))
                before = groups_seen(broker)
                assert sum(line.startswith("--members live-") for line in before) == 2, before
            after = groups_seen(broker)
            lost = sorted(set(before) ^ set(after))
            assert not lost, f"{kind} shows other groups:\n" + "\n".join(lost)
            if turn == len(kinds) - 1:
                members.close()
            broker.stop()
            assert decoded(broker) >= {"live-classic", "live-consumer", "simple"}, decoded(broker)


def properties(env):
    path = env.tmp / "client.properties"
    path.write_text("client.id=admin\n")
    return path


DUMP_MASKS = [
    (r"(CreateTime|LogAppendTime|timestamp|crc|position|size|producerId|keySize|valueSize): -?\d+", r"\1: N"),
    (r"[A-Za-z0-9_-]{22}", "ID"),
]


def complaints(text):
    words = r"(?i)mismatch|isvalid: false|corrupt|exception|out of order|not found|should not|invalid|error"
    return [line for line in text.splitlines() if re.search(words, line.replace("compresscodec", ""))]


@timeout(180)
def test_dump_log(env):
    """dump-log reads what a stopped broker leaves and has nothing to complain about."""
    broker = env.broker()
    with Session(env, "dump_log", broker) as s:
        s.run("topics", "--create", "--topic", "du-a", "--config", "segment.bytes=1048576", "--config",
              "index.interval.bytes=100", quiet=True)
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            s.run("console-producer", "--topic", "du-a", "--compression-codec", codec, "--reader-property", "parse.key=true",
                  "--reader-property", "key.separator=:", stdin=f"{codec}:value\n", quiet=True)
        s.run("producer-perf-test", "--topic", "du-a", "--num-records", 2500, "--record-size", 1000, "--throughput", -1,
              "--bootstrap-server", broker.bootstrap, quiet=True)
        s.run("configs", "--alter", "--entity-type", "topics", "--entity-name", "du-a", "--add-config",
              "retention.ms=-1", quiet=True)
        s.run("topics", "--create", "--topic", "du-gone", quiet=True)
        s.run("topics", "--delete", "--topic", "du-gone", quiet=True)
        broker.stop()

        def dump(path, *args):
            answer = s.run("dump-log", *args, "--files", path, quiet=True)
            assert answer["exit"] == 0, f"{path}: dump-log ended with {answer['exit']}\n{answer['err']}"
            said = complaints(answer["out"] + answer["err"])
            assert not said, f"{path}: dump-log complains\n" + "\n".join(said[:10])
            return answer["out"].splitlines()

        def masked(lines):
            return [s.masked(line, DUMP_MASKS) for line in lines]

        folder = broker.data / "du-a-0"
        logs = sorted(folder.glob("*.log"))
        s.write("there are several segments", len(logs) > 2)
        s.write("the first five batches and their records", masked(dump(logs[0], "--print-data-log")[:12]))
        for log in logs:
            dump(log, "--deep-iteration")
            dump(log.with_suffix(".index"), "--index-sanity-check")
            dump(log.with_suffix(".index"), "--verify-index-only")
            dump(log.with_suffix(".timeindex"))
        for snapshot in sorted(folder.glob("*.snapshot")):
            lines = dump(snapshot)
        s.write("the last producer snapshot", [re.sub(r"\d+", "N", line) for line in masked(lines[1:])])
        for metadata in sorted((broker.data / "__cluster_metadata-0").glob("*.log")):
            lines = dump(metadata, "--cluster-metadata-decoder")
            records = [json.loads(line[line.index("payload: ") + 9:]) for line in lines if "payload: " in line]
            changes = [r for r in records if r["type"] in ("TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD", "REMOVE_TOPIC_RECORD")]
            s.write("metadata records", [s.masked(json.dumps(change, sort_keys=True), DUMP_MASKS) for change in changes])
        for index in (broker.data / "__cluster_metadata-0").glob("*.index"):
            dump(index, "--index-sanity-check")
        for checkpoint in sorted(broker.data.rglob("*.checkpoint")):
            dump(checkpoint, "--cluster-metadata-decoder")
