"""Reads Prometheus' text format, and is stricter than Prometheus: whatever is not as the format says fails."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SUFFIXES = {
    "counter": [""],
    "gauge": [""],
    "histogram": ["_bucket", "_sum", "_count"],
    "summary": ["", "_sum", "_count"],
}


class Page:
    """families: name -> (type, help); samples: (name, ((label, value), ...)) -> number."""

    def __init__(self, text):
        self.families, self.samples, self.ended = {}, {}, set()
        assert text.endswith("\n"), "the page does not end with a line feed"
        family = helped = None
        for line in text.split("\n")[:-1]:
            if line.startswith("# HELP "):
                helped = line.split(" ", 3)
                assert len(helped) == 4 and helped[3], f"no help: {line}"
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert helped and helped[2] == name, f"a type without help before it: {line}"
                assert re.fullmatch(NAME, name) and kind in SUFFIXES, line
                assert name not in self.families, f"the family {name} comes twice"
                self.families[name] = (kind, helped[3])
                family = name
            else:
                self.sample(line, family)
        for name, (kind, _) in self.families.items():
            if kind == "histogram":
                self.check_histogram(name)
            if kind == "counter":
                assert all(value >= 0 for (sample, _), value in self.samples.items() if sample == name), name

    def sample(self, line, family):
        match = SAMPLE.fullmatch(line)
        assert match and family, f"not a sample: {line!r}"
        name, text, number = match.groups()
        kind = self.families[family][0]
        assert name in [family + suffix for suffix in SUFFIXES[kind]], f"{line!r} is in the family {family}"
        labels, at = [], 0
        while text and at < len(text):
            label = LABEL.match(text, at)
            assert label, f"bad labels: {line!r}"
            labels.append((label[1], label[2].replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")))
            at = label.end()
        assert len(dict(labels)) == len(labels), f"a label comes twice: {line!r}"
        key = (name, tuple(sorted(labels)))
        assert key not in self.samples, f"the sample comes twice: {line!r}"
        self.samples[key] = float(number)

    def check_histogram(self, name):
        """Buckets grow, the last is +Inf and is the count."""
        series = {}
        for (sample, labels), value in self.samples.items():
            if sample == name + "_bucket":
                bound = float(dict(labels)["le"])
                series.setdefault(tuple(pair for pair in labels if pair[0] != "le"), []).append((bound, value))
        assert series, f"the histogram {name} is empty"
        for labels, buckets in series.items():
            assert [count for _, count in sorted(buckets)] == sorted(count for _, count in buckets), name
            bound, last = max(buckets)
            assert bound == float("inf") and last == self.samples[name + "_count", labels], name
            assert (name + "_sum", labels) in self.samples

    def get(self, name, **labels):
        """The sample's number, or None."""
        return self.samples.get((name, tuple(sorted((key, str(value)) for key, value in labels.items()))))

    def all(self, name):
        return {labels: value for (sample, labels), value in self.samples.items() if sample == name}
