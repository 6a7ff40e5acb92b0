"""Unmodified clients, each at a pinned version, and our own commands, write real files and read them back.

For every client and every codec that it has: a topic of three partitions, records of 0 bytes
to 1 MiB with keys, headers, tombstones and timestamps (cargo.py), written idempotently where
the client can and once with acks=1; then read from the first offset by the client itself, by
kcat, librdkafka and Java. Everything must be as it was written, and the files' SHA-256 the same.
One topic of each is read by members of a group, too, which commit what they read.
Then the calls an administrator makes, with what they must answer.
"""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import time

from lib import paths, runner

import cargo
import tsv

HERE = paths.REPO / "tests" / "e2e" / "clients"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

# What every client that has the call must see (`admin` in python/driver.py and the like).
ADMIN_ANSWERS = {
    "created.again": "36",
    "created.badly": "17",
    "listed": "True",
    "partitions": "3",
    "retention.ms": "7200000",
    "max.message.bytes": "2097152",
    "segment.bytes": "1073741824",
    "retention.ms.altered": "3600000",
    "altered.badly": "40",
    "offset.earliest": "0",
    "offset.latest": "5",
    "offset.max": "4",
    "offset.time": "2",
    "records.deleted": "2",
    "offset.earliest.deleted": "2",
    "too.large": "10",
    "partitions.grown": "5",
    "deleted": "True",
}


def python(program, venv="python"):
    return [paths.clients_home() / venv / "bin" / "python", "-B", HERE / "python" / program]


def node(program):
    # The program is copied to where its packages are: Node looks for them from the file upwards.
    shutil.copy(HERE / "node" / "driver.mjs", paths.clients_home() / "node")
    shutil.copy(HERE / "node" / program, paths.clients_home() / "node")
    return [paths.clients_home() / "python" / "bin" / "node", paths.clients_home() / "node" / program]


def go(library):
    return [paths.clients_home() / "go-clients", library]


def java(version=None):
    """Kafka's Java client, of the version under test elsewhere or an older one, which then comes first on the path."""
    classes = paths.java_classes(HERE / "java")
    if version:
        classes = f"{paths.clients_home()}/java/kafka-clients-{version}.jar:{classes}"
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m", "-cp", classes, "JavaClient"]


COMMANDS = {
    "kcat": lambda: python("kcat.py"),
    "console-consumer": lambda: python("console.py"),
    "taffrail": lambda: python("taffrail.py"),
    "confluent-kafka": lambda: python("confluent.py"),
    "kafka-python": lambda: python("kafka_python.py"),
    "kafka-python-2": lambda: python("kafka_python.py", "python-old"),
    "aiokafka": lambda: python("aio.py"),
    "java": java,
    "java-3.9": lambda: java("3.9.1"),
    "java-2.8": lambda: java("2.8.2"),
    "kafkajs": lambda: node("kafkajs.mjs"),
    "platformatic": lambda: node("platformatic.mjs"),
    "kafka-go": lambda: go("kafka-go"),
    "sarama": lambda: go("sarama"),
    "franz-go": lambda: go("franz-go"),
}


def run(client, *arguments, timeout_s=100):
    """Runs a client program; what it printed."""
    done = subprocess.run([*COMMANDS[client](), *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s,
                          env={**os.environ, "NO_COLOR": "1", "TAFFRAIL_BIN": str(paths.TAFFRAIL), "KAFKA_LIBS": str(paths.kafka_libs())})
    assert done.returncode == 0, \
        f"{client} {arguments[0]} ended with status {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-2500:]}"
    return done.stdout


def run_topics(client, *arguments):
    """{topic: (seconds, failure)} of a client program's produce or consume."""
    outcomes = {}
    for line in run(client, *arguments).splitlines():
        word, topic, rest = line.split("\t")
        outcomes[topic] = (float(rest), None) if word == "ok" else (0, rest)
    return outcomes


class Sheet:
    """What happened with one client: a line for each codec and the failures."""

    def __init__(self, client):
        self.client = client
        self.columns = collections.defaultdict(list)
        self.failures = []

    def add(self, case, what, failure, seconds=0.0):
        self.columns[case].append(f"{what} FAILED" if failure else f"{what} {seconds:.1f}")
        if failure:
            self.failures.append(f"{self.client} {case}, {what}: {failure}")

    def close(self):
        for case, columns in self.columns.items():
            print(f"      {self.client:<16} {case:<14} {'  '.join(columns)}", flush=True)
        assert not self.failures, "\n".join(self.failures)


def shown_by_kcat(record):
    """kcat prints a header's value up to its first NUL."""
    return record._replace(headers=[(name, value and value.split(b"\0")[0]) for name, value in record.headers])


def shown_by_kafka_go(record):
    """kafka-go's reader makes no difference between empty and null."""
    headers = [(name, value or None) for name, value in record.headers]
    return record._replace(key=record.key or None, value=record.value or None, headers=headers)


VIEWS = {"kcat": shown_by_kcat, "kafka-go": shown_by_kafka_go}


def check_topic(plan, path, wrote_at_ms, view):
    try:
        plan.check(tsv.read(path), wrote_at_ms, view)
        return None
    except AssertionError as failure:
        return str(failure)


def check_committed(broker, group, protocol, topic, count):
    """Why not all that the topic has is committed by the group of that protocol, or None."""
    done = subprocess.run([paths.TAFFRAIL, "group", "describe", group, "--format", "json", "-b", broker.bootstrap],
                          capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        return done.stderr
    [described] = json.loads(done.stdout)
    if described["type"] != protocol:
        return f"it is a {described['type']} group"
    seen = [(p["partition"], p["committed_offset"], p["end_offset"]) for p in described["partitions"] if p["topic"] == topic]
    whole = all(committed == end for _, committed, end in seen) and sum(end for *_, end in seen) == count
    return None if whole and len(seen) == cargo.PARTITIONS else f"committed (partition, offset, end): {seen}"


def read_in_group(env, sheet, reader, protocol, topic, plan, written_ms):
    """Reads the topic as the only member of a new group and looks at what it committed."""
    broker, group = env.shared(), f"{topic}-{reader}-{protocol}"
    folder = env.tmp / group
    folder.mkdir()
    outcomes = run_topics(reader, "group", broker.bootstrap, folder, group, len(plan.records), topic)
    seconds, failure = outcomes.get(topic, (0, "the program said nothing of it"))
    path = folder / f"{topic}.tsv"
    failure = failure or check_topic(plan, path, written_ms, VIEWS.get(reader, lambda record: record))
    failure = failure or check_committed(broker, group, protocol, topic, len(plan.records))
    sheet.add(f"{protocol} group", reader, failure, seconds)
    path.unlink(missing_ok=True)


def carry(env, client, codecs=CODECS, readers=(), plan=None, created=False, groups=("classic",), member=None):
    """
    Writes with `client` by every codec, reads with every reader, then with `member`, or the client itself, as the member of
    a group of each of the kinds in `groups`, checks all. `created`: it cannot create topics.
    """
    broker = env.shared()
    plan = plan or cargo.Plan()
    plan_path = env.tmp / "plan.tsv"
    plan.write(plan_path)
    name = member or client  # others write with this client, too, on the same broker
    sheet = Sheet(name)
    cases = {f"{name}-{codec}": codec for codec in codecs} | {f"{name}-acks1": "none:plain"}
    ready = cases if created else [f"{name}-acks1"]
    subprocess.run([*python("confluent.py"), "create", broker.bootstrap, *ready], check=True)

    began_ms = time.time() * 1000
    outcomes = run_topics(client, "produce", broker.bootstrap, plan_path, *(f"{t}:{c}" for t, c in cases.items()))
    written_ms = (began_ms, time.time() * 1000)
    written = []
    for topic in cases:
        seconds, failure = outcomes.get(topic, (0, "the program said nothing of it"))
        sheet.add(topic.removeprefix(name + "-"), "write", failure, seconds)
        if not failure:
            written.append(topic)

    for reader in readers:
        folder = env.tmp / reader
        folder.mkdir()
        outcomes = run_topics(reader, "consume", broker.bootstrap, folder, *written)
        for topic in written:
            seconds, failure = outcomes.get(topic, (0, "the program said nothing of it"))
            path = folder / f"{topic}.tsv"
            failure = failure or check_topic(plan, path, written_ms, VIEWS.get(reader, lambda record: record))
            sheet.add(topic.removeprefix(name + "-"), reader, failure, seconds)
            path.unlink(missing_ok=True)
    for protocol in groups:
        read_in_group(env, sheet, name, protocol, f"{name}-{codecs[0]}", plan, written_ms)
    sheet.close()


def administer(env, client, lacks=(), **expected):
    """Runs the client's admin calls; `lacks` are the answers it has no call for."""
    topic = f"admin-{client}"
    output = run(client, "admin", env.shared().bootstrap, topic)
    seen = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    wanted = {key: value for key, value in ADMIN_ANSWERS.items() if key not in lacks}
    wrong = [f"{key} is {seen.get(key)}, wanted {value}" for key, value in wanted.items() if seen.get(key) != value]
    assert not wrong, f"{client} admin: " + "; ".join(wrong)
    print(f"      {client:<16} admin    {len(wanted)} answers")


def test_check_sees(_env):
    """Each way that records can come back wrong, planted by hand."""
    plan = cargo.Plan()
    offsets = collections.Counter()
    good = []
    for record in plan.records:
        good.append(record._replace(offset=offsets[record.partition]))
        offsets[record.partition] += 1
    plan.check(good, None)
    at = {kind: next(i for i, r in enumerate(good) if wanted(r)) for kind, wanted in {
        "value": lambda r: len(r.value or b"") > 1000,
        "empty": lambda r: r.value == b"",
        "tombstone": lambda r: r.value is None,
        "headers": lambda r: len(r.headers) > 2,
    }.items()}

    def changed(kind, **fields):
        return [r._replace(**fields) if i == at[kind] else r for i, r in enumerate(good)]

    faults = {
        "SHA-256 or value": changed("value", value=good[at["value"]].value[:-1] + b"?"),
        "cut": changed("value", value=good[at["value"]].value[:-1]),
        "null for empty": changed("empty", value=None),
        "empty for null": changed("tombstone", value=b""),
        "key": changed("value", key=b"another"),
        "headers out of order": changed("headers", headers=good[at["headers"]].headers[::-1]),
        "header lost": changed("headers", headers=good[at["headers"]].headers[:-1]),
        "timestamp": changed("value", timestamp=good[at["value"]].timestamp + 1),
        "offset": changed("value", offset=good[at["value"]].offset + 1),
        "lost": good[:at["value"]] + good[at["value"] + 1:],
        "twice": good + good[-1:],
        "none": [],
    }
    for fault, records in faults.items():
        try:
            plan.check(records, None)
        except AssertionError:
            continue
        raise AssertionError(f"not seen: {fault}")


@runner.timeout(180)
def test_kcat(env):
    plan = cargo.Plan(uniform_headers=True, timestamps=False, null_keys=False)
    carry(env, "kcat", readers=("kcat", "confluent-kafka", "java"), plan=plan, created=True)


def test_kcat_admin(env):
    topic = "admin-kcat"
    broker = env.shared()
    subprocess.run([*python("confluent.py"), "create", broker.bootstrap, topic], check=True)
    seen = dict(line.split("=") for line in run("kcat", "admin", broker.bootstrap, topic).splitlines())
    assert seen == {"listed": "True", "partitions": "3", "offset.earliest": "0", "offset.latest": "3"}, seen


@runner.timeout(180)
def test_taffrail(env):
    carry(env, "taffrail", readers=("taffrail", "kcat", "confluent-kafka", "java"), groups=())


def test_taffrail_admin(env):
    administer(env, "taffrail", lacks=("offset.max", "records.deleted", "offset.earliest.deleted"))


def test_console_consumer(env):
    """Kafka's own, which can only read."""
    carry(env, "java", codecs=("zstd",), groups=("classic", "consumer"), member="console-consumer")


@runner.timeout(180)
def test_confluent_kafka(env):
    carry(env, "confluent-kafka", readers=("confluent-kafka", "kcat", "java"), groups=("classic", "consumer"))


def test_confluent_kafka_admin(env):
    administer(env, "confluent-kafka")


@runner.timeout(180)
def test_java(env):
    carry(env, "java", readers=("java", "kcat", "confluent-kafka"), groups=("classic", "consumer"))


def test_java_admin(env):
    administer(env, "java")


@runner.timeout(180)
def test_java_3_9(env):
    carry(env, "java-3.9", readers=("java-3.9", "kcat"))


def test_java_3_9_admin(env):
    administer(env, "java-3.9")


@runner.timeout(180)
def test_java_2_8(env):
    """The last that knows topics by name only when it fetches; the admin program uses calls that came later."""
    carry(env, "java-2.8", readers=("java-2.8", "kcat"))


@runner.timeout(180)
def test_kafka_python(env):
    carry(env, "kafka-python", readers=("kafka-python", "kcat", "confluent-kafka", "java"),
          plan=cargo.Plan(null_headers=False))


def test_kafka_python_admin(env):
    administer(env, "kafka-python")


@runner.timeout(180)
def test_kafka_python_2(env):
    carry(env, "kafka-python-2", readers=("kafka-python-2", "kcat", "confluent-kafka", "java"),
          plan=cargo.Plan(null_headers=False))


def test_kafka_python_2_admin(env):
    administer(env, "kafka-python-2", lacks=("offset.max",))


@runner.timeout(180)
def test_aiokafka(env):
    carry(env, "aiokafka", readers=("aiokafka", "kcat", "confluent-kafka"), plan=cargo.Plan(null_headers=False))


def test_aiokafka_admin(env):
    administer(env, "aiokafka", lacks=("offset.max",))


@runner.timeout(180)
def test_kafkajs(env):
    carry(env, "kafkajs", readers=("kcat", "confluent-kafka", "java"), plan=cargo.Plan(null_headers=False))


def test_kafkajs_admin(env):
    administer(env, "kafkajs", lacks=("offset.max", "records.deleted"))


@runner.timeout(180)
def test_platformatic(env):
    carry(env, "platformatic", readers=("platformatic", "kcat", "confluent-kafka", "java"), groups=("classic", "consumer"))


def test_platformatic_admin(env):
    administer(env, "platformatic")


@runner.timeout(180)
def test_kafka_go(env):
    carry(env, "kafka-go", readers=("kafka-go", "kcat", "confluent-kafka", "java"), created=True)


def test_kafka_go_admin(env):
    administer(env, "kafka-go", lacks=("offset.max", "records.deleted", "offset.earliest.deleted"))


@runner.timeout(180)
def test_sarama(env):
    carry(env, "sarama", readers=("sarama", "kcat", "confluent-kafka", "java"))


def test_sarama_admin(env):
    administer(env, "sarama", lacks=("offset.max", "records.deleted"))


@runner.timeout(180)
def test_franz_go(env):
    carry(env, "franz-go", readers=("franz-go", "kcat", "confluent-kafka", "java"))


def test_franz_go_admin(env):
    administer(env, "franz-go")
