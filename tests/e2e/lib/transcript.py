"""Transcripts: what a broker answered, step by step, compared with what Apache Kafka answered.

What differs from run to run (ids, ports, the time) is masked, so a transcript
is the same each time. A golden file holds Apache Kafka's: one line a step.
"""

import json
import re

DIFFERENCES_SHOWN = 25

# A topic config is honoured or refused; a refusal that says so is no difference.
REFUSED_CONFIG = (40, "not supported by this version")

ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# Timestamps that tests write are older (2023); what is later comes from a clock.
CLOCK_FROM_MS = 1_750_000_000_000

# Where Apache Kafka did not see a case coming, any error of ours will do.
UNKNOWN_SERVER_ERROR = -1

# Sets by nature, which the two brokers may list in different orders.
UNORDERED = {
    "apiKeys", "supportedFeatures", "finalizedFeatures", "topics", "partitions", "configs", "responses",
    "partitionResponses", "results", "logDirs", "configResources", "activeProducers", "topicResponses",
}


class Masks:
    """Replaces volatile values: those that a test has named by their names, others by what they are."""

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
                return "zero" if value == ZERO_ID else self.names.get(("topic-id", value), "ID")
            if key == "clusterId":
                return self.name("cluster-id", value)
            if key == "documentation":
                return "some" if value else value
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if key == "producerId" and value >= 0:
            return self.names.get(("producer-id", value), "ID")
        if key == "sessionId" and value > 0:
            return "SESSION"
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


def compare(env, path, steps, failure=None, some=False, texts=True):
    """
    Compares with the golden file, or writes it; `failure` is the exception that ended the steps early. With `some`
    steps may be missing; without `texts` an error's message must be there where Apache Kafka has one, in any words.
    """
    lines = [json.dumps(step, sort_keys=True) for step in steps]
    if env.update_golden:
        if failure is None:
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        return
    expected = [json.loads(line) for line in path.read_text().splitlines()]
    got = [json.loads(line) for line in lines]
    if not texts:
        expected, got = without_texts(expected), without_texts(got)
    differences = list(compare_steps(expected, got, complete=failure is None and not some))
    if differences:
        wrong = len({step for step, _ in differences})
        shown = [f"{step}: {text}" for step, text in differences[:DIFFERENCES_SHOWN]]
        if len(differences) > len(shown):
            shown.append(f"and {len(differences) - len(shown)} more")
        if failure is not None:
            shown.append(f"then {type(failure).__name__}: {failure}")
        raise AssertionError(
            f"{wrong} of {len(expected)} answers differ from Apache Kafka's:\n" + "\n".join(shown)) from failure


def without_texts(value):
    if isinstance(value, dict):
        return {k: "a text" if k in ("errorMessage", "batchIndexErrorMessage") and v else without_texts(v)
                for k, v in value.items()}
    return [without_texts(v) for v in value] if isinstance(value, list) else value


def numbered(steps):
    """Steps by name; of those with the same name, by their turn."""
    found, turns = {}, {}
    for step in steps:
        turns[step["step"]] = turns.get(step["step"], 0) + 1
        found[step["step"], turns[step["step"]]] = step["answer"]
    return found


def compare_steps(expected, got, complete):
    want, have = numbered(expected), numbered(got)
    for name, turn in want:
        if (name, turn) in have:
            for text in compare_values("", want[name, turn], have[name, turn]):
                yield name, text
        elif complete:
            yield name, "is missing"
    for name, turn in have:
        if (name, turn) not in want:
            yield name, f"is {short(have[name, turn])}, expected none"


def compare_values(path, want, have):
    if isinstance(want, dict) and isinstance(have, dict):
        if refuses_config(have) and want.get("errorCode") == 0:
            return
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
            elif key == "errorMessage" and want[key] is None and want.get("errorCode") != 0:
                continue  # a reason where Apache Kafka gives none
            else:
                yield from compare_values(f"{path}.{key}", want[key], have[key])
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for i, (w, h) in enumerate(zip(want, have)):
            name = w.get("name", i) if isinstance(w, dict) else i
            yield from compare_values(f"{path}[{name}]", w, h)
    elif want != have:
        yield f"{path or 'answer'} is {short(have)}, expected {short(want)}"


def refuses_config(answer):
    return answer.get("errorCode") == REFUSED_CONFIG[0] and REFUSED_CONFIG[1] in str(answer.get("errorMessage"))


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:300] + "..."
