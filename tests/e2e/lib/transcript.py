"""Transcripts: what a broker answered, step by step, compared with what Apache Kafka answered.

What differs from run to run (ids, ports, the time) is masked, so a transcript
is the same each time. A golden file holds Apache Kafka's: one line a step.
"""

import json
import re

DIFFERENCES_SHOWN = 25
# What a broker has where a field or a step is not there.
MISSING = object()

# The broker's port, and its controller's beside it.
PORT_NAMES = {0: "PORT", 1: "CONTROLLER-PORT"}
# What a topic is called beside its id.
TOPIC_KEYS = ("name", "topicName", "topic")
ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# Timestamps that tests write are older (2023); what is later comes from a clock.
CLOCK_FROM_MS = 1_750_000_000_000

# Sets by nature, which the two brokers may list in different orders.
UNORDERED = {
    "apiKeys", "supportedFeatures", "finalizedFeatures", "topics", "partitions", "configs", "responses",
    "partitionResponses", "results", "logDirs", "configResources", "activeProducers", "topicResponses",
    "topicPartitions", "replicaElectionResults", "partitionResult",
}


class Masks:
    """
    Replaces volatile values: ids by the names that tests or answers give them, so that they are compared, too; ports
    and folders by what they are; times by NOW.
    """

    def __init__(self, broker):
        self.names = {}
        self.counts = {}
        self.first_producer = None
        self.texts = [(str(broker.data), "DATA")] + [(str(p), PORT_NAMES[p - broker.port])
                                                     for p in (broker.port, broker.port + 1)]
        self.port = broker.port

    def name(self, kind, value):
        """The value's name: numbered in the order in which values of a kind are first seen."""
        if (kind, value) not in self.names:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.names[kind, value] = f"{kind}-{self.counts[kind]}"
        return self.names[kind, value]

    def topic_id(self, value, topic):
        """An id that no test has named is the first, second, ... that was seen for that topic."""
        if value == ZERO_ID:
            return "zero"
        return self.names.get(("topic-id", value)) or self.name(f"id of {topic or 'a nameless topic'}", value)

    def producer_id(self, value):
        """Producer ids are given out one after the other; those that no test has named count from the first one seen."""
        if ("producer-id", value) in self.names:
            return self.names["producer-id", value]
        if self.first_producer is None:
            self.first_producer = value
        return f"first producer id + {value - self.first_producer}"

    def text(self, text):
        for (_, value), name in self.names.items():
            if isinstance(value, str) and value:
                text = text.replace(value, name)
        for value, name in self.texts:
            text = text.replace(value, name)
        return re.sub(r"\b1[789]\d{11}\b|-9223370\d{12}\b", "NOW", text)

    def value(self, key, value, topic=None):
        if isinstance(value, dict):
            topic = next((value[k] for k in TOPIC_KEYS if isinstance(value.get(k), str)), topic)
            return {k: self.value(k, v, topic) for k, v in value.items()}
        if isinstance(value, list):
            values = [self.value(key, v, topic) for v in value]
            if key in UNORDERED:
                values.sort(key=sort_key)
            return values
        if isinstance(value, str):
            if key == "topicId":
                return self.topic_id(value, topic)
            if key == "replicaDirectoryId":
                return "zero" if value == ZERO_ID else self.name("directory-id", value)
            if key == "clusterId":
                return self.name("cluster-id", value)
            if key == "documentation":
                return "some" if value else value
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if key == "producerId" and value >= 0:
            return self.producer_id(value)
        if key == "sessionId" and value > 0:
            return "SESSION"
        if key == "port":
            return PORT_NAMES.get(value - self.port, value)
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


class Exceptions:
    """
    Where a broker may differ from Apache Kafka, each with its reason beside it in the test. An exception that is not
    needed is a failure, too.
    """

    def __init__(self):
        self.argued = {}
        self.missing = set()

    def argue(self, step, why, **answers):
        """In the step's answer this broker says what `answers` says, by the path of a field ("" is all of it)."""
        assert why
        for path, answer in answers.items():
            self.argued[step, path] = answer

    def lack(self, why, *steps):
        """These steps may be missing."""
        assert why
        self.missing.update(steps)

    def left(self, differences):
        unused = set(self.argued)
        for step, path, text, have in differences:
            if (step, path) in self.argued:
                unused.discard((step, path))
                if have == self.argued[step, path]:
                    continue
                text += f", or {short(self.argued[step, path])} as argued"
            elif have is MISSING and step in self.missing:
                continue
            yield step, f"{path or 'answer'} {text}"
        for step, path in unused:
            yield step, f"{path or 'answer'} is Apache Kafka's: the exception in the test is not needed"


def compare(env, path, steps, failure=None, exceptions=None):
    """Compares with the golden file, or writes it; `failure` is the exception that ended the steps early."""
    lines = [json.dumps(step, sort_keys=True) for step in steps]
    if env.update_golden:
        if failure is None:
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        return
    expected = [json.loads(line) for line in path.read_text().splitlines()]
    got = [json.loads(line) for line in lines]
    differences = list(compare_steps(expected, got, complete=failure is None))
    if exceptions is not None and env.broker_kind != "kafka":
        differences = list(exceptions.left(differences))
    else:
        differences = [(step, f"{path or 'answer'} {text}") for step, path, text, _ in differences]
    if differences:
        wrong = len({step for step, _ in differences})
        shown = [f"{step}: {text}" for step, text in differences[:DIFFERENCES_SHOWN]]
        if len(differences) > len(shown):
            shown.append(f"and {len(differences) - len(shown)} more")
        if failure is not None:
            shown.append(f"then {type(failure).__name__}: {failure}")
        raise AssertionError(
            f"{wrong} of {len(expected)} answers differ from Apache Kafka's:\n" + "\n".join(shown)) from failure


def numbered(steps):
    """Steps by name; of those with the same name, by their turn."""
    found, turns = {}, {}
    for step in steps:
        turns[step["step"]] = turns.get(step["step"], 0) + 1
        found[step["step"], turns[step["step"]]] = step["answer"]
    return found


def compare_steps(expected, got, complete):
    """For each difference the step, the path of the field, what is wrong, and what the broker has there."""
    want, have = numbered(expected), numbered(got)
    for name, turn in want:
        if (name, turn) in have:
            for difference in compare_values("", want[name, turn], have[name, turn]):
                yield name, *difference
        elif complete:
            yield name, "", "is missing", MISSING
    for name, turn in have:
        if (name, turn) not in want:
            yield name, "", f"is {short(have[name, turn])}, expected none", have[name, turn]


def compare_values(path, want, have):
    if isinstance(want, dict) and isinstance(have, dict):
        for key in sorted(want.keys() | have.keys()):
            if key not in have:
                yield f"{path}.{key}", f"is missing, expected {short(want[key])}", MISSING
            elif key not in want:
                yield f"{path}.{key}", f"is {short(have[key])}, expected none", have[key]
            else:
                yield from compare_values(f"{path}.{key}", want[key], have[key])
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for i, (w, h) in enumerate(zip(want, have)):
            name = w.get("name", i) if isinstance(w, dict) else i
            yield from compare_values(f"{path}[{name}]", w, h)
    elif want != have:
        yield path, f"is {short(have)}, expected {short(want)}", have


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:300] + "..."
