"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources."""

from scenario import Scenario

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
STATIC = 4
LIST = "leader.replication.throttled.replicas"
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3

# Broker configs that every node answers for, whatever machine it runs on.
BROKER_KEYS = [
    "auto.create.topics.enable", "compression.type", "connections.max.idle.ms", "default.replication.factor",
    "delete.topic.enable", "fetch.max.bytes", "log.cleanup.policy", "log.flush.interval.messages",
    "log.index.interval.bytes", "log.message.timestamp.type", "log.retention.bytes", "log.retention.hours",
    "log.retention.minutes", "log.retention.ms", "log.roll.hours", "log.roll.ms", "log.segment.bytes",
    "max.connections", "max.connections.per.ip", "message.max.bytes", "min.insync.replicas", "node.id",
    "num.partitions", "producer.id.expiration.ms", "socket.request.max.bytes", "transactional.id.expiration.ms",
    "unclean.leader.election.enable", "max.incremental.fetch.session.cache.slots", "log.cleaner.threads",
]


def describe(s, step, *resources, version=4, synonyms=False, documentation=False):
    s.call(step, "DescribeConfigs", version, {
        "resources": [{"resourceType": t, "resourceName": n, "configurationKeys": k} for t, n, k in resources],
        "includeSynonyms": synonyms, "includeDocumentation": documentation})


def alter(s, step, resource_type, name, *changes, version=1, validate=False):
    return s.call(step, "IncrementalAlterConfigs", version, {"validateOnly": validate, "resources": [{
        "resourceType": resource_type, "resourceName": name,
        "configs": [{"name": k, "configOperation": op, "value": v} for k, op, v in changes]}]})


def test_describe_configs(env):
    with Scenario(env, "describe_configs", config={"log.retention.hours": "100", "log.flush.interval.messages": "500"}) as s:
        s.create("dc-a", segment_bytes=2097152)
        for version in range(1, 5):
            describe(s, "a topic", (TOPIC, "dc-a", None), version=version)
            describe(s, "synonyms", (TOPIC, "dc-a", ["retention.ms", "segment.bytes", "flush.messages",
                                                     "min.insync.replicas", "cleanup.policy"]),
                     version=version, synonyms=True)
            describe(s, "broker keys", (BROKER, "1", BROKER_KEYS), version=version, synonyms=True)
        describe(s, "everything of a topic", (TOPIC, "dc-a", None), synonyms=True, documentation=True)
        describe(s, "no keys", (TOPIC, "dc-a", []))
        describe(s, "unknown key", (TOPIC, "dc-a", ["nope", "retention.ms"]))
        describe(s, "unknown topic", (TOPIC, "dc-unknown", None))
        describe(s, "illegal topic", (TOPIC, "a b", None))
        describe(s, "no topic", (TOPIC, "", None))
        describe(s, "a stranger's broker configs", (BROKER, "9", None))
        describe(s, "a broker that is no number", (BROKER, "x", None))
        describe(s, "broker default", (BROKER, "", None), synonyms=True)
        describe(s, "unknown type", (99, "x", None))
        describe(s, "type 0", (0, "x", None))
        describe(s, "the same twice", (TOPIC, "dc-a", ["retention.ms"]), (TOPIC, "dc-a", ["segment.ms"]))
        describe(s, "two kinds", (TOPIC, "dc-a", ["retention.ms"]), (BROKER, "1", ["num.partitions"]))
        describe(s, "none")


def test_broker_configs(env):
    """
    What the broker names is what Apache Kafka names: value, type, default, synonyms, and whether it can be changed.
    """
    with Scenario(env, "broker_configs", config={"node.id": "1"}) as s:
        answer = s.ask("DescribeConfigs", 4, {"resources": [
            {"resourceType": BROKER, "resourceName": "1", "configurationKeys": None}],
            "includeSynonyms": True, "includeDocumentation": True})
        configs = answer["results"][0]["configs"]
        assert set(BROKER_KEYS) <= {c["name"] for c in configs}, "a broker config that every broker has is missing"
        for config in sorted(configs, key=lambda c: c["name"]):
            name = config.pop("name")
            s.write(name, config)
        for name, ours, why in (
                ("group.min.session.timeout.ms", "3000", "Sessions of 3 s are asked for by many set-ups."),
                ("group.initial.rebalance.delay.ms", "100", "It hides rebalances that are slow; here they are not.")):
            shown = {} if name in s.broker.config else {".value": ours}
            s.exceptions.argue(name, why, **shown, **{f".synonyms[{name}].value": ours})


def halved_or_doubled(key, present):
    return (f"{key} can be halved or doubled at once, no more: it is {present}, "
            f"so from {max(present // 2, 1)} to {2 * present}")


def no_address_limit(value):
    return (f"Invalid value {value} for configuration max.connections.per.ip.overrides: It must be the number of an "
            "address, a colon and how many connections it may have; names are not looked up")


def test_alter_configs(env):
    with Scenario(env, "alter_configs", config={"node.id": "1"}) as s:
        s.create("ac-a")
        keys = ["retention.ms", LIST, "max.message.bytes", "min.insync.replicas"]

        def show(step):
            s.settle()
            describe(s, step, (TOPIC, "ac-a", keys), synonyms=True)

        alter(s, "set", TOPIC, "ac-a", ("retention.ms", SET, "5000"))
        show("after set")
        alter(s, "validated only", TOPIC, "ac-a", ("retention.ms", SET, "6000"), validate=True)
        alter(s, "append to a list", TOPIC, "ac-a", (LIST, APPEND, "0:1,1:1"))
        show("after append")
        alter(s, "append what is there", TOPIC, "ac-a", (LIST, APPEND, "1:1"))
        alter(s, "subtract", TOPIC, "ac-a", (LIST, SUBTRACT, "0:1"))
        alter(s, "subtract what is not there", TOPIC, "ac-a", (LIST, SUBTRACT, "0:1"))
        show("after subtract")
        alter(s, "append to no list", TOPIC, "ac-a", ("retention.ms", APPEND, "1"))
        alter(s, "subtract from no list", TOPIC, "ac-a", ("retention.ms", SUBTRACT, "1"))
        alter(s, "append a policy", TOPIC, "ac-a", ("cleanup.policy", APPEND, "compact"))
        alter(s, "append a policy that is there", TOPIC, "ac-a", ("cleanup.policy", APPEND, "compact"))
        alter(s, "append no policy", TOPIC, "ac-a", ("cleanup.policy", APPEND, "shred"))
        alter(s, "subtract the default policy", TOPIC, "ac-a", ("cleanup.policy", SUBTRACT, "delete"))
        alter(s, "subtract a policy that is not there", TOPIC, "ac-a", ("cleanup.policy", SUBTRACT, "delete"))
        s.settle()
        describe(s, "the policy", (TOPIC, "ac-a", ["cleanup.policy"]), synonyms=True)
        alter(s, "subtract the last policy", TOPIC, "ac-a", ("cleanup.policy", SUBTRACT, "compact"))
        alter(s, "the default policy again", TOPIC, "ac-a", ("cleanup.policy", DELETE, None))
        alter(s, "delete", TOPIC, "ac-a", ("retention.ms", DELETE, None))
        alter(s, "delete again", TOPIC, "ac-a", ("retention.ms", DELETE, None))
        alter(s, "delete an unknown key", TOPIC, "ac-a", ("nope", DELETE, None))
        show("after delete")
        alter(s, "unknown key", TOPIC, "ac-a", ("nope", SET, "1"))
        alter(s, "no key", TOPIC, "ac-a", ("", SET, "1"))
        alter(s, "null value", TOPIC, "ac-a", ("retention.ms", SET, None))
        alter(s, "bad value", TOPIC, "ac-a", ("retention.ms", SET, "abc"))
        alter(s, "value out of range", TOPIC, "ac-a", ("segment.bytes", SET, "1"))
        alter(s, "good and bad together", TOPIC, "ac-a", ("retention.ms", SET, "77"), ("segment.bytes", SET, "1"))
        show("nothing changed")
        alter(s, "the same key twice", TOPIC, "ac-a", ("retention.ms", SET, "1"), ("retention.ms", SET, "2"))
        alter(s, "no change", TOPIC, "ac-a")
        alter(s, "unknown topic", TOPIC, "ac-unknown", ("retention.ms", SET, "1"))
        alter(s, "illegal topic", TOPIC, "a b", ("retention.ms", SET, "1"))
        alter(s, "no topic", TOPIC, "", ("retention.ms", SET, "1"))
        alter(s, "unknown type", 99, "x", ("retention.ms", SET, "1"))
        alter(s, "version 0", TOPIC, "ac-a", ("max.message.bytes", SET, "9999"), version=0)
        show("after version 0")
        s.call("two of the same", "IncrementalAlterConfigs", 1, {"resources": 2 * [{
            "resourceType": TOPIC, "resourceName": "ac-a",
            "configs": [{"name": "retention.ms", "configOperation": SET, "value": "1"}]}]})

        alter(s, "a broker", BROKER, "1", ("log.index.interval.bytes", SET, "8192"))
        alter(s, "all brokers", BROKER, "", ("log.retention.ms", SET, "123456789"))
        alter(s, "a read-only key", BROKER, "1", ("log.dirs", SET, "/x"))
        alter(s, "a cluster-wide key on one broker", BROKER, "1", ("log.retention.ms", SET, "5"))
        alter(s, "an unknown broker key", BROKER, "1", ("no.such.key", SET, "5"))
        alter(s, "a bad broker value", BROKER, "1", ("log.index.interval.bytes", SET, "x"))
        alter(s, "a stranger", BROKER, "9", ("log.index.interval.bytes", SET, "8192"))
        alter(s, "no number", BROKER, "x", ("log.index.interval.bytes", SET, "8192"))
        s.settle()
        describe(s, "the broker now", (BROKER, "1", ["log.index.interval.bytes", "log.retention.ms"]), synonyms=True)
        describe(s, "the default now", (BROKER, "", None), synonyms=True)
        describe(s, "seen in a topic", (TOPIC, "ac-a", ["retention.ms"]), synonyms=True)
        alter(s, "undo", BROKER, "", ("log.retention.ms", DELETE, None))
        alter(s, "undo", BROKER, "1", ("log.index.interval.bytes", DELETE, None))
        for key, value in (("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", "127.0.0.2:7,::1: 9"),
                           ("max.connections.per.ip.overrides", "127.0.0.2"), ("max.connections.per.ip.overrides", "127.0.0.2:x"),
                           ("max.connections.per.ip.overrides", "127.0.0.2:-1"), ("max.connections.per.ip.overrides", ""),
                           ("max.connections.per.ip", "-1"), ("max.connections.per.ip.overrides", "127.0.0.2:7"),
                           ("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", ""),
                           ("max.connections.per.ip", "100"), ("max.connections", "1000")):
            alter(s, f"{key}={value}", BROKER, "1", (key, SET, value))
            s.settle()
            describe(s, f"after {key}={value}", (BROKER, "1", [
                "max.connections", "max.connections.per.ip", "max.connections.per.ip.overrides"]), synonyms=True)
        for key in ("max.connections", "max.connections.per.ip", "max.connections.per.ip.overrides"):
            alter(s, f"{key} as before", BROKER, "1", (key, DELETE, None))
        # They are for listeners with SASL or TLS; there are none.
        moot = {"sasl.kerberos.min.time.before.relogin": "58000", "sasl.login.refresh.window.factor": "0.7",
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256", "ssl.client.auth": "requested", "ssl.protocol": "TLSv1.2"}
        for key, value in moot.items():
            alter(s, f"{key}={value}", BROKER, "1", (key, SET, value))
            alter(s, f"{key}={value} everywhere", BROKER, "", (key, SET, value))
        alter(s, "not a number of milliseconds", BROKER, "1", ("sasl.kerberos.min.time.before.relogin", SET, "x"))
        s.settle()
        describe(s, "SASL and TLS", (BROKER, "1", list(moot)), synonyms=True)
        for key in moot:
            alter(s, f"{key} as before", BROKER, "1", (key, DELETE, None))
        for limits in ("127.0.0.2", "127.0.0.2:x"):
            s.exceptions.argue(f"max.connections.per.ip.overrides={limits} (IncrementalAlterConfigs v1)",
                               "Apache Kafka's text is that of the Java function which failed.",
                               **{".responses[0].errorMessage": no_address_limit(limits)})
        for threads in ("2", "3", "0", "x"):
            alter(s, f"cleaner threads {threads}", BROKER, "1", ("log.cleaner.threads", SET, threads))
            s.settle()
        for key, *values in (("log.cleaner.threads", "9", "1"), ("num.io.threads", "3", "17", "16"),
                             ("num.recovery.threads.per.data.dir", "5", "1"), ("background.threads", "4", "21", "5")):
            for value in values:
                alter(s, f"{key}={value}", BROKER, "1", (key, SET, value))
            alter(s, f"{key} as before", BROKER, "1", (key, DELETE, None))
        s.exceptions.argue("cleaner threads 0 (IncrementalAlterConfigs v1)", "Apache Kafka's text is that of its division by zero.",
                           **{".responses[0].errorMessage": halved_or_doubled("log.cleaner.threads", 3)})
        for key, value, present in (("log.cleaner.threads", 9, 3), ("num.io.threads", 3, 8), ("num.io.threads", 17, 8),
                                    ("num.recovery.threads.per.data.dir", 5, 2), ("background.threads", 4, 10),
                                    ("background.threads", 21, 10)):
            s.exceptions.argue(f"{key}={value} (IncrementalAlterConfigs v1)", "Apache Kafka's text names its own Java classes.",
                               **{".responses[0].errorMessage": halved_or_doubled(key, present)})
        describe(s, "cleaner threads", (BROKER, "1", ["log.cleaner.threads"]), synonyms=True)
        alter(s, "cleaner threads as before", BROKER, "1", ("log.cleaner.threads", DELETE, None))
        s.settle()
        describe(s, "the broker after", (BROKER, "1", ["log.index.interval.bytes", "log.retention.ms"]), synonyms=True)

        def replace(step, name, version=2, validate=False, resource_type=TOPIC, **configs):
            s.call(step, "AlterConfigs", version, {"validateOnly": validate, "resources": [{
                "resourceType": resource_type, "resourceName": name,
                "configs": [{"name": k.replace("_", "."), "value": v} for k, v in configs.items()]}]})

        for version in range(0, 3):
            replace("replace all", "ac-a", version, retention_ms=str(1000 + version))
            show("after replace")
        replace("validated only", "ac-a", validate=True, retention_ms="4")
        replace("replace by none", "ac-a")
        show("after replace by none")
        replace("bad value", "ac-a", retention_ms="x")
        replace("null value", "ac-a", retention_ms=None)
        replace("unknown key", "ac-a", nope="x")
        replace("unknown topic", "ac-unknown", retention_ms="5")
        replace("unknown type", "x", resource_type=99, retention_ms="5")


def test_other_resources(env):
    """Groups, client metrics, loggers, and brokers by the older request."""
    with Scenario(env, "other_resources", config={"node.id": "1"}) as s:
        def replace(step, resource_type, name, version=2, validate=False, **configs):
            s.call(step, "AlterConfigs", version, {"validateOnly": validate, "resources": [{
                "resourceType": resource_type, "resourceName": name,
                "configs": [{"name": k.replace("_", "."), "value": v} for k, v in configs.items()]}]})

        def show(step, resource_type, name, keys=None, **more):
            s.settle()
            describe(s, step, (resource_type, name, keys), **more)

        for version in range(1, 5):
            describe(s, "a group", (GROUP, "g", None), version=version, synonyms=True)
            describe(s, "client metrics", (CLIENT_METRICS, "m", None), version=version, synonyms=True)
        describe(s, "keys of a group", (GROUP, "g", ["consumer.session.timeout.ms", "nope"]))
        describe(s, "a group without a name", (GROUP, "", None))
        describe(s, "client metrics without a name", (CLIENT_METRICS, "", None))
        describe(s, "a logger's broker that is no number", (LOGGER, "x", ["nope"]))
        describe(s, "a stranger's loggers", (LOGGER, "9", ["nope"]))
        describe(s, "no broker's loggers", (LOGGER, "", ["nope"]))

        for key, value in (("consumer.session.timeout.ms", "50000"), ("consumer.heartbeat.interval.ms", "6000"),
                           ("consumer.session.timeout.ms", "1"), ("consumer.session.timeout.ms", "x"), ("nope", "1"),
                           ("share.auto.offset.reset", "earliest"), ("share.auto.offset.reset", "nowhere"),
                           ("share.isolation.level", "read_committed"), ("streams.num.standby.replicas", "1"),
                           ("streams.num.standby.replicas", "9")):
            alter(s, f"group: {key}={value}", GROUP, "g", (key, SET, value))
        show("the group now", GROUP, "g", synonyms=True)
        alter(s, "group: append", GROUP, "g", ("consumer.session.timeout.ms", APPEND, "1"))
        alter(s, "group: delete", GROUP, "g", ("consumer.session.timeout.ms", DELETE, None))
        alter(s, "group: delete an unknown key", GROUP, "g", ("nope", DELETE, None))
        alter(s, "group: no name", GROUP, "", ("consumer.session.timeout.ms", SET, "50000"))
        replace("group: replace", GROUP, "g", consumer_session_timeout_ms="46000")
        show("the group after", GROUP, "g", ["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"], synonyms=True)
        replace("group: replace by none", GROUP, "g")
        replace("group: bad", GROUP, "g", consumer_session_timeout_ms="x")

        for key, value in (("interval.ms", "1000"), ("interval.ms", "5"), ("interval.ms", "x"), ("metrics", "a.,b."), ("metrics", ""),
                           ("match", "client_id=a.*,client_software_name=[a-z]+"), ("match", "client_id"), ("match", "nobody=a"),
                           ("match", "client_id=[a"), ("nope", "1")):
            alter(s, f"client metrics: {key}={value}", CLIENT_METRICS, "m", (key, SET, value))
        show("client metrics now", CLIENT_METRICS, "m", synonyms=True)
        alter(s, "client metrics: append", CLIENT_METRICS, "m", ("metrics", APPEND, "c."))
        alter(s, "client metrics: subtract", CLIENT_METRICS, "m", ("metrics", SUBTRACT, "a."))
        show("client metrics after", CLIENT_METRICS, "m")
        s.call("subscriptions", "ListConfigResources", 0, {})
        replace("client metrics: replace by none", CLIENT_METRICS, "m")
        s.settle()
        s.call("no subscriptions", "ListConfigResources", 0, {})

        alter(s, "a logger", LOGGER, "1", ("no.such.logger", SET, "INFO"))
        alter(s, "a logger by default", LOGGER, "", ("no.such.logger", SET, "INFO"))
        alter(s, "no logger", LOGGER, "1")
        alter(s, "delete a logger", LOGGER, "1", ("no.such.logger", DELETE, None))
        alter(s, "append to a logger", LOGGER, "1", ("no.such.logger", APPEND, "INFO"))
        replace("replace loggers", LOGGER, "1", a="INFO")

        for version in range(0, 3):
            replace("broker: replace", BROKER, "1", version, log_index_interval_bytes=str(5000 + version))
            show("the broker now", BROKER, "1", ["log.index.interval.bytes"], synonyms=True)
        replace("broker: validated only", BROKER, "1", validate=True, log_index_interval_bytes="9999")
        replace("broker: bad", BROKER, "1", log_index_interval_bytes="x")
        replace("broker: read-only", BROKER, "1", log_dirs="/x")
        replace("broker: unknown", BROKER, "1", no_such="x")
        replace("broker: null", BROKER, "1", log_index_interval_bytes=None)
        replace("all brokers", BROKER, "", log_retention_ms="777777")
        show("all brokers now", BROKER, "", synonyms=True)
        replace("all brokers: none", BROKER, "")
        show("all brokers after", BROKER, "", synonyms=True)
        replace("a stranger", BROKER, "9", log_index_interval_bytes="5000")


def test_list_config_resources(env):
    with Scenario(env, "list_config_resources", config={"node.id": "1"}) as s:
        s.create("lr-a", "lr-b")
        s.call("client metrics", "ListConfigResources", 0, {})
        for types in ([], [TOPIC], [BROKER], [LOGGER], [CLIENT_METRICS], [GROUP], [TOPIC, BROKER], [99], [TOPIC, TOPIC]):
            s.call(f"types {types}", "ListConfigResources", 1, {"resourceTypes": types})
