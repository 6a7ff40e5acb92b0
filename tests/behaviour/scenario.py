"""A scenario: requests sent in order, answers written down, and the whole compared with Apache Kafka's.

What differs from run to run (ids, ports, the time) is masked, so a transcript
is the same each time. golden/NAME.jsonl holds the one that Apache Kafka gave:
one line a step.
"""

import functools
import json
import pathlib
import re
import struct
import time

from lib import brokers
from protocol import Codec, Connection, framed

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
DIFFERENCES_SHOWN = 25

ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# Timestamps that scenarios write are older (2023); what is later comes from the broker's clock.
PAST_MS = 1_700_000_000_000
CLOCK_FROM_MS = 1_750_000_000_000

# Where Apache Kafka did not see a case coming, any error of ours will do.
UNKNOWN_SERVER_ERROR = -1

# Sets by nature, which the two brokers may list in different orders.
UNORDERED = {
    "apiKeys", "supportedFeatures", "finalizedFeatures", "topics", "partitions", "configs", "responses",
    "partitionResponses", "results", "logDirs", "configResources", "activeProducers", "topicResponses",
}


@functools.cache
def codec():
    return Codec()


class Masks:
    """Gives each volatile value a name when it is first seen."""

    def __init__(self, broker):
        self.names = {}
        self.counts = {}
        self.texts = [(str(broker.data), "DATA"), (str(broker.port), "PORT")]

    def name(self, kind, value):
        if (kind, value) not in self.names:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.names[kind, value] = f"{kind}-{self.counts[kind]}"
        return self.names[kind, value]

    def text(self, text):
        for (kind, value), name in self.names.items():
            if isinstance(value, str) and value:
                text = text.replace(value, name)
        for value, name in self.texts:
            text = text.replace(value, name)
        return re.sub(r"\b1[789]\d{11}\b|-9223370\d{12}\b", "NOW", text)

    def value(self, key, value):
        if isinstance(value, dict):
            return {k: self.value(k, v) for k, v in value.items()}
        if isinstance(value, list):
            values = [self.value(key, v) for v in value]
            if key in UNORDERED:
                values.sort(key=sort_key)
            return values
        if isinstance(value, str):
            if key == "topicId":
                return "zero" if value == ZERO_ID else self.name("topic-id", value)
            if key == "clusterId":
                return self.name("cluster-id", value)
            if key == "documentation":
                return "some" if value else value
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if key == "producerId" and value >= 0:
            return self.name("producer-id", value)
        if key == "sessionId" and value > 0:
            return self.name("session-id", value)
        if key == "port" and value > 0:
            return "PORT"
        if key == "finalizedFeaturesEpoch":
            return "EPOCH" if value >= 0 else value
        if key in ("totalBytes", "usableBytes") and value > 0:
            return "BYTES"
        if value >= CLOCK_FROM_MS and value < 2 * CLOCK_FROM_MS:
            return "NOW"
        return value


def sort_key(value):
    if isinstance(value, dict):
        for key in ("apiKey", "partitionIndex", "index", "partition"):
            if isinstance(value.get(key), int):
                return (f"{value[key]:012}", "")
        for key in ("name", "topicName", "resourceName", "topic", "logDir"):
            if isinstance(value.get(key), str):
                return (value[key], json.dumps(value, sort_keys=True))
    return ("", json.dumps(value, sort_keys=True))


class Scenario:
    """Use as a context: the comparison happens at its end."""

    def __init__(self, env, name, config=None):
        self.env = env
        self.name = name
        self.broker = env.broker(config=config) if config is not None else env.shared()
        self.masks = Masks(self.broker)
        self.steps = []
        self.connections = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, failure, _trace):
        for connection in self.connections.values():
            connection.close()
        self.compare(failure)
        return False

    def connection(self, name="main"):
        if name not in self.connections:
            self.connections[name] = Connection((self.broker.host, self.broker.port))
        return self.connections[name]

    def drop(self, name="main"):
        if name in self.connections:
            self.connections.pop(name).close()

    def write(self, step, answer):
        self.steps.append({"step": step, "answer": self.masks.value(None, answer)})

    def ask(self, api, version, body, on="main"):
        """The answer as it came; nothing is written down."""
        connection = self.connection(on)
        connection.send(framed(codec().encode(api, version, body)))
        return self.read(api, version, on)

    def read(self, api, version, on="main"):
        try:
            answer = self.connection(on).receive()
        except TimeoutError:
            self.drop(on)
            return {"noAnswer": True}
        if answer is None:
            self.drop(on)
            return {"closed": True}
        try:
            return codec().decode(api, version, answer)
        except ValueError as failure:
            return {"undecodable": str(failure), "hex": answer[:200].hex()}

    def call(self, step, api, version, body, on="main", keep=None):
        """Sends, writes the answer down under the step's name (only what `keep` leaves), and returns it."""
        answer = self.ask(api, version, body, on)
        label = f"{step} ({api} v{version})"
        self.write(label, keep(answer) if keep and "closed" not in answer and "noAnswer" not in answer else answer)
        return answer

    def raw(self, step, raw, on="raw", silent_s=None, answer_of=None):
        """Sends bytes as they are; writes down what came back: closed, silence, or the answer of an API's version."""
        self.drop(on)
        connection = self.connection(on)
        connection.send(raw)
        if silent_s is not None:
            answer = "open and silent" if connection.silent(silent_s) else "not silent"
        else:
            try:
                came = connection.receive()
                if came is None:
                    answer = "closed"
                elif answer_of is None:
                    answer = f"answered {len(came)} bytes"
                else:
                    answer = codec().decode(*answer_of, came)
            except TimeoutError:
                answer = "open and silent"
        self.drop(on)
        self.write(step, answer)
        return answer

    def frame(self, api, version, body, correlation=1):
        """A good request with its length, to be spoiled."""
        return framed(codec().encode(api, version, body, correlation))

    # What most scenarios need.

    def create(self, *topics, partitions=1, **configs):
        configs = {"retention.ms": "-1", **{k.replace("_", "."): v for k, v in configs.items()}}
        entries = [{"name": k, "value": str(v)} for k, v in configs.items()]
        answer = self.ask("CreateTopics", 7, {"timeoutMs": 15000, "topics": [
            {"name": t, "numPartitions": partitions, "replicationFactor": 1, "configs": entries} for t in topics]})
        bad = [t for t in answer.get("topics", [answer]) if t.get("errorCode") != 0]
        assert not bad, f"could not create topics: {bad}"
        self.wait_leaders(*topics)
        self.settle()
        ids = {t["name"]: t["topicId"] for t in answer["topics"]}
        for topic in topics:
            self.masks.name("topic-id", ids[topic])
        return [ids[t] for t in topics]

    def wait_leaders(self, *topics):
        """A topic exists a little earlier than its partitions have a leader."""
        for _ in range(100):
            answer = self.ask("Metadata", 12, {"topics": [{"name": t} for t in topics]})
            partitions = [p for t in answer["topics"] for p in t["partitions"]]
            if partitions and all(t["errorCode"] == 0 for t in answer["topics"]) and \
                    all(p["errorCode"] == 0 and p["leaderId"] >= 0 for p in partitions):
                return

    def settle(self):
        """Apache Kafka answers a change a little before its own metadata shows it; a read that follows must wait."""
        if self.env.broker_kind == "kafka":
            time.sleep(0.3)

    def producer_id(self):
        """A producer id and its epoch; a broker that has just started may ask for patience (error 14)."""
        while True:
            answer = self.ask("InitProducerId", 4, {"transactionalId": None, "transactionTimeoutMs": 60000})
            if answer.get("errorCode") != 14:
                self.masks.name("producer-id", answer["producerId"])
                return answer["producerId"], answer["producerEpoch"]

    def produce(self, step, topic, records, partition=0, acks=-1, version=9, on="main", **body):
        topic_field = {"topicId": topic} if version >= 13 else {"name": topic}
        request = {"acks": acks, "timeoutMs": 10000, **body, "topicData": [
            {**topic_field, "partitionData": [{"index": partition, "records": records}]}]}
        if step is None:
            return self.ask("Produce", version, request, on)
        return self.call(step, "Produce", version, request, on)

    def fetch(self, step, topic, offset, partition=0, version=12, on="main", max_bytes=1 << 20, **body):
        topic_field = {"topicId": topic} if version >= 13 else {"topic": topic}
        partition_body = {"partition": partition, "fetchOffset": offset, "partitionMaxBytes": max_bytes,
                          **body.pop("partition_fields", {})}
        request = {"maxWaitMs": 100, "minBytes": 0, "maxBytes": 50 << 20, **body,
                   "topics": [{**topic_field, "partitions": [partition_body]}]}
        if step is None:
            return self.ask("Fetch", version, request, on)
        return self.call(step, "Fetch", version, request, on)

    # The comparison.

    def compare(self, failure):
        path = GOLDEN / f"{self.name}.jsonl"
        lines = [json.dumps(step, sort_keys=True) for step in self.steps]
        if self.env.update_golden:
            if failure is None:
                GOLDEN.mkdir(exist_ok=True)
                path.write_text("\n".join(lines) + "\n")
            return
        expected = [json.loads(line) for line in path.read_text().splitlines()]
        got = [json.loads(line) for line in lines]
        differences = list(compare_steps(expected, got, complete=failure is None))
        if differences:
            wrong = len({step for step, _ in differences})
            shown = [f"{step}: {text}" for step, text in differences[:DIFFERENCES_SHOWN]]
            if len(differences) > len(shown):
                shown.append(f"and {len(differences) - len(shown)} more")
            if failure is not None:
                shown.append(f"then {type(failure).__name__}: {failure}")
            raise AssertionError(
                f"{wrong} of {len(expected)} answers differ from Apache Kafka's:\n" + "\n".join(shown)) from failure


def compare_steps(expected, got, complete):
    for number, (want, have) in enumerate(zip(expected, got)):
        if want["step"] != have["step"]:
            yield want["step"], f"step {number + 1} is {have['step']}; the expected answers are of another script"
            return
        for text in compare_values("", want["answer"], have["answer"]):
            yield want["step"], text
    if complete and len(expected) != len(got):
        yield "end", f"{len(got)} steps, expected {len(expected)}"


def compare_values(path, want, have):
    if isinstance(want, dict) and isinstance(have, dict):
        for key in sorted(want.keys() | have.keys()):
            if key not in have:
                yield f"{path}.{key} is missing, expected {short(want[key])}"
            elif key not in want:
                yield f"{path}.{key} is {short(have[key])}, expected none"
            elif key == "errorCode" and want[key] == UNKNOWN_SERVER_ERROR:
                if have[key] == 0:
                    yield f"{path}.{key} is 0, expected an error"
            elif key == "errorMessage" and want.get("errorCode") == UNKNOWN_SERVER_ERROR:
                continue
            else:
                yield from compare_values(f"{path}.{key}", want[key], have[key])
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for i, (w, h) in enumerate(zip(want, have)):
            name = w.get("name", i) if isinstance(w, dict) else i
            yield from compare_values(f"{path}[{name}]", w, h)
    elif want != have:
        yield f"{path or 'answer'} is {short(have)}, expected {short(want)}"


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:300] + "..."


def int32(value):
    return struct.pack(">i", value)
