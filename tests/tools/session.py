"""A session with Kafka's command-line tools: each command's output and status, compared with Apache Kafka's."""

import functools
import json
import pathlib
import re
import subprocess

from lib import brokers, paths, transcript

HERE = pathlib.Path(__file__).resolve().parent

MAINS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "configs": "kafka.admin.ConfigCommand",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "acls": "org.apache.kafka.tools.AclCommand",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "delegation-tokens": "org.apache.kafka.tools.DelegationTokenCommand",
    "client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "client-compatibility-test": "org.apache.kafka.tools.ClientCompatibilityTest",
    "streams-application-reset": "org.apache.kafka.tools.StreamsResetter",
    "storage": "kafka.tools.StorageTool",
    "metadata-shell": "org.apache.kafka.shell.MetadataShell",
    "admin": "AdminCalls",
}

# Of a Java stack trace: how deep it is hangs on what the process has run before.
FRAME = re.compile(r"\t(at |\.\.\. \d+ more)")

# How each tool is told where the broker is.
BOOTSTRAP = {"producer-perf-test": None, "dump-log": None, "cluster": None, "storage": None, "metadata-shell": None}


class Tools:
    """The Java process that runs the tools."""

    def __init__(self):
        class_path = paths.java_classes(HERE / "java")
        silent = paths.BUILD / "silent-log4j2.properties"
        silent.write_text(brokers.LOG4J.format(level="OFF"))
        self.process = subprocess.Popen(
            ["java", *brokers.JAVA_OPTIONS, "-Xmx384m", f"-Dlog4j2.configurationFile={silent}", "-cp", class_path, "Tools"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=brokers.die_with_parent)

    def run(self, main, args, stdin="", timeout_s=30):
        step = {"main": main, "args": [str(a) for a in args], "stdin": stdin, "timeoutMs": timeout_s * 1000}
        self.process.stdin.write(json.dumps(step) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the tools' process ended at {step}")
        return json.loads(line)


@functools.cache
def tools():
    return Tools()


class Session:
    """Use as a context: the comparison happens at its end."""

    def __init__(self, env, name, broker=None):
        self.env = env
        self.name = name
        self.broker = broker or env.shared()
        self.masks = transcript.Masks(self.broker)
        self.masks.texts.insert(0, (str(env.tmp), "TMP"))
        self.steps = []

    def __enter__(self):
        return self

    def __exit__(self, kind, failure, _trace):
        transcript.compare(self.env, HERE / "golden" / f"{self.name}.jsonl", self.steps, failure)
        return False

    def run(self, tool, *args, stdin="", mask=(), keep=None, sort=False, quiet=False, timeout_s=30):
        """
        Runs a tool and writes down what it said. `mask` are (pattern, replacement) pairs, `keep` chooses lines,
        `sort` is for output whose order is no promise.
        """
        where = [] if tool in BOOTSTRAP else ["--bootstrap-server", self.broker.bootstrap]
        answer = tools().run(MAINS[tool], [*where, *args], stdin, timeout_s)
        if not quiet:
            self.steps.append({
                "step": self.masked(f"{tool} {' '.join(str(a) for a in args)}", ()),
                "answer": {"exit": answer["exit"],
                           "out": self.lines(answer["out"], mask, keep, sort),
                           "err": self.lines(answer["err"], mask, None, sort)}})
        return answer

    def write(self, step, answer):
        self.steps.append({"step": step, "answer": answer})

    def lines(self, text, mask, keep, sort):
        lines = [self.masked(line.rstrip(), mask) for line in text.splitlines() if not FRAME.match(line)]
        lines = [line for line in lines if keep is None or keep(line)]
        return sorted(lines) if sort else lines

    def masked(self, text, mask):
        for topic_id in re.findall(r"TopicId: (\S{22})", text):
            self.masks.name("topic-id", topic_id)
        for pattern, replacement in mask:
            text = re.sub(pattern, replacement, text)
        text = re.sub(r"\[20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d\d\d\] ", "", text)
        return self.masks.text(text)
