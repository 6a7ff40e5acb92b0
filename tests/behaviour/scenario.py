"""A scenario: requests sent in order, answers written down, and the whole compared with Apache Kafka's."""

import functools
import pathlib
import time

from lib import transcript
from protocol import Codec, Connection, framed

HERE = pathlib.Path(__file__).resolve().parent
PAST_MS = 1_700_000_000_000
NOT_ANSWERED = ("closed", "noAnswer", "undecodable")


@functools.cache
def codec():
    return Codec()


def produce_body(topic, records, partition=0, acks=-1, version=9, **body):
    topic_field = {"topicId": topic} if version >= 13 else {"name": topic}
    return {"acks": acks, "timeoutMs": 10000, **body, "topicData": [
        {**topic_field, "partitionData": [{"index": partition, "records": records}]}]}


def fetch_body(topic, offset, partition=0, version=12, max_bytes=1 << 20, partition_fields=None, **body):
    topic_field = {"topicId": topic} if version >= 13 else {"topic": topic}
    partition_body = {"partition": partition, "fetchOffset": offset, "partitionMaxBytes": max_bytes,
                      **(partition_fields or {})}
    return {"maxWaitMs": 100, "minBytes": 0, "maxBytes": 50 << 20, **body,
            "topics": [{**topic_field, "partitions": [partition_body]}]}


class Asking:
    """Asks a broker, on named connections; nothing is written down."""

    def __init__(self, broker):
        self.broker = broker
        self.connections = {}

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()

    def connection(self, name="main"):
        if name not in self.connections:
            self.connections[name] = Connection((self.broker.host, self.broker.port))
        return self.connections[name]

    def drop(self, name="main"):
        if name in self.connections:
            self.connections.pop(name).close()

    def ask(self, api, version, body, on="main"):
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

    def create(self, *topics, partitions=1, **configs):
        """Makes topics whose old records stay, waits until they can be written to, and returns their ids."""
        configs = {"retention.ms": "-1", **{k.replace("_", "."): v for k, v in configs.items()}}
        entries = [{"name": k, "value": str(v)} for k, v in configs.items()]
        answer = self.ask("CreateTopics", 7, {"timeoutMs": 15000, "topics": [
            {"name": t, "numPartitions": partitions, "replicationFactor": 1, "configs": entries} for t in topics]})
        bad = [t for t in answer.get("topics", [answer]) if t.get("errorCode") != 0]
        assert not bad, f"could not create topics: {bad}"
        self.wait_leaders(*topics)
        self.settle()
        ids = {t["name"]: t["topicId"] for t in answer["topics"]}
        return [ids[t] for t in topics]

    def wait_leaders(self, *topics):
        """A topic exists a little earlier than its partitions have a leader."""
        for _ in range(100):
            answer = self.ask("Metadata", 12, {"topics": [{"name": t} for t in topics]})
            found = answer.get("topics", [])
            partitions = [p for t in found for p in t["partitions"]]
            if partitions and all(t["errorCode"] == 0 for t in found) and \
                    all(p["errorCode"] == 0 and p["leaderId"] >= 0 for p in partitions):
                return
            time.sleep(0.05)
        raise AssertionError(f"no leaders for {topics}: {answer}")

    def settle(self):
        """Apache Kafka answers a change a little before its own metadata shows it; a read that follows must wait."""
        if self.broker.name == "kafka":
            time.sleep(0.5)

    def producer_id(self):
        """A producer id and its epoch; a broker that has just started may ask for patience (error 14)."""
        for _ in range(100):
            answer = self.ask("InitProducerId", 4, {"transactionalId": None, "transactionTimeoutMs": 60000})
            if answer.get("errorCode") != 14:
                break
            time.sleep(0.1)
        assert answer.get("errorCode") == 0, f"no producer id: {answer}"
        return answer["producerId"], answer["producerEpoch"]


class Scenario(Asking):
    """Use as a context: the comparison happens at its end."""

    def __init__(self, env, name, config=None):
        super().__init__(env.broker(config=config) if config is not None else env.shared())
        self.env = env
        self.name = name
        self.exceptions = transcript.Exceptions()
        self.masks = transcript.Masks(self.broker)
        self.steps = []

    def __enter__(self):
        return self

    def __exit__(self, kind, failure, _trace):
        self.close()
        transcript.compare(self.env, HERE / "golden" / f"{self.name}.jsonl", self.steps, failure, self.exceptions)
        return False

    def write(self, step, answer):
        self.steps.append({"step": step, "answer": self.masks.value(None, answer)})

    def call(self, step, api, version, body, on="main", keep=None):
        """Sends, writes the answer down under the step's name (only what `keep` leaves), and returns it."""
        answer = self.ask(api, version, body, on)
        answered = not any(key in answer for key in NOT_ANSWERED)
        self.write(f"{step} ({api} v{version})", keep(answer) if keep and answered else answer)
        return answer

    def raw(self, step, raw, on="raw", silent_s=None, answer_of=None):
        """Sends bytes as they are; writes down what came back: closed, silence, or the answer of an API's version."""
        self.drop(on)
        connection = self.connection(on)
        connection.send(raw)
        if silent_s is not None:
            answer = "open and silent" if connection.silent(silent_s) else "not silent"
        elif answer_of is not None:
            answer = self.read(*answer_of, on)
        else:
            try:
                came = connection.receive()
                answer = "closed" if came is None else f"answered {len(came)} bytes"
            except TimeoutError:
                answer = "open and silent"
        self.drop(on)
        self.write(step, answer)

    def frame(self, api, version, body, correlation=1):
        """A good request with its length, to be spoiled."""
        return framed(codec().encode(api, version, body, correlation))

    def create(self, *topics, **more):
        ids = super().create(*topics, **more)
        for topic_id in ids:
            self.masks.name("topic-id", topic_id)
        return ids

    def producer_id(self):
        producer, epoch = super().producer_id()
        self.masks.name("producer-id", producer)
        return producer, epoch

    def produce(self, step, topic, records, version=9, on="main", **body):
        return self.call(step, "Produce", version, produce_body(topic, records, version=version, **body), on)

    def fetch(self, step, topic, offset, version=12, on="main", **body):
        return self.call(step, "Fetch", version, fetch_body(topic, offset, version=version, **body), on)
