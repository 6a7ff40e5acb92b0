"""A topic's settings that are changed while it has data take effect without a start: on Apache Kafka, and here.

Nothing is compared with a golden file; each effect is asserted, of whichever broker runs.
"""

import contextlib
import time

from lib import paths
from lib.runner import timeout
from scenario import PAST_MS, Asking, codec, fetch_body, produce_body

FAST = {
    "log.initial.task.delay.ms": "100", "log.retention.check.interval.ms": "300", "log.cleaner.backoff.ms": "100",
    "log.flush.offset.checkpoint.interval.ms": "300", "log.segment.delete.delay.ms": "60000",
}
HOUR_MS = 3_600_000
INVALID_TIMESTAMP, MESSAGE_TOO_LARGE = 32, 10
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class Live(Asking):
    def alter(self, topic, **configs):
        changes = [{"name": k.replace("_", "."), "configOperation": 0, "value": str(v)} for k, v in configs.items()]
        answer = self.ask("IncrementalAlterConfigs", 1, {"validateOnly": False, "resources": [
            {"resourceType": 2, "resourceName": topic, "configs": changes}]})
        assert answer["responses"][0]["errorCode"] == 0, answer
        self.settle()

    def put(self, topic, time_ms=None, count=1, size=10, key=None, codec_name="none", value=True):
        time_ms = int(time.time() * 1000) if time_ms is None else time_ms
        records = [{"key": key or f"{time_ms}-{i}", "value": {"repeat": "x", "count": size} if value else None,
                    "timestamp": time_ms} for i in range(count)]
        batch = codec().batch(records, codec=codec_name)
        return self.ask("Produce", 9, produce_body(topic, batch))["responses"][0]["partitionResponses"][0]

    def must_put(self, *arguments, **options):
        answer = self.put(*arguments, **options)
        assert answer["errorCode"] == 0, answer
        return answer

    def offset(self, topic, special):
        answer = self.ask("ListOffsets", 7, {"replicaId": -1, "isolationLevel": 0, "topics": [
            {"name": topic, "partitions": [{"partitionIndex": 0, "timestamp": special}]}]})
        return answer["topics"][0]["partitions"][0]["offset"]

    def start(self, topic):
        return self.offset(topic, -2)

    def end(self, topic):
        return self.offset(topic, -1)

    def batches(self, topic):
        found, offset = [], self.start(topic)
        while True:
            answer = self.ask("Fetch", 12, fetch_body(topic, offset, max_bytes=8 << 20))
            batches = answer["responses"][0]["partitions"][0]["records"]
            if not batches:
                return found
            found += batches
            offset = batches[-1]["lastOffset"] + 1

    def keys(self, topic):
        return [record["key"] for batch in self.batches(topic) for record in batch["records"]]

    def folder(self, topic):
        return self.broker.data / f"{topic}-0"

    def size(self, topic):
        answer = self.ask("DescribeLogDirs", 1, {"topics": [{"topic": topic, "partitions": [0]}]})
        return answer["results"][0]["topics"][0]["partitions"][0]["partitionSize"]

    def segments(self, topic):
        return sorted(int(p.stem) for p in self.folder(topic).glob("*.log"))

    def deleted(self, topic):
        return list(self.folder(topic).glob("*.deleted"))


@contextlib.contextmanager
def live(env, **config):
    ask = Live(env.broker(config={**FAST, **config}))
    try:
        yield ask
    finally:
        ask.close()


def until(what, told, seconds=30):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def rolled(ask, topic, count, first_ms):
    """So many segments, of a record each, by the records' times."""
    for i in range(count):
        ask.must_put(topic, first_ms + i * 2 * HOUR_MS, key=f"k{i % 2}")


@timeout(180)
def test_rolling(env):
    with live(env) as ask:
        ask.create("lr-bytes", "lr-ms", "lr-index", "lr-interval")
        for topic in ("lr-bytes", "lr-ms", "lr-index"):
            ask.must_put(topic, PAST_MS)
        for _ in range(3):
            ask.must_put("lr-bytes", PAST_MS, size=600_000)
        assert ask.segments("lr-bytes") == [0]
        ask.alter("lr-bytes", segment_bytes=1 << 20)
        for _ in range(4):
            ask.must_put("lr-bytes", PAST_MS, size=600_000)
        assert ask.segments("lr-bytes") == [0, 4, 5, 6, 7]

        ask.must_put("lr-ms", PAST_MS + HOUR_MS)
        assert ask.segments("lr-ms") == [0]
        ask.alter("lr-ms", segment_ms=HOUR_MS)
        ask.must_put("lr-ms", PAST_MS + HOUR_MS)  # no later than an hour
        assert ask.segments("lr-ms") == [0]
        ask.must_put("lr-ms", PAST_MS + HOUR_MS + 1)
        assert ask.segments("lr-ms") == [0, 3]
        ask.alter("lr-ms", segment_jitter_ms=HOUR_MS // 2)  # of the next segment on
        ask.alter("lr-ms", segment_ms=HOUR_MS * 24 * 7)
        ask.must_put("lr-ms", PAST_MS + 4 * HOUR_MS)
        assert ask.segments("lr-ms") == [0, 3]

        ask.alter("lr-index", segment_index_bytes=24, index_interval_bytes=0, segment_ms=HOUR_MS)
        ask.must_put("lr-index", PAST_MS + 3 * HOUR_MS)  # the first segment with so small an index
        for _ in range(12):
            ask.must_put("lr-index", PAST_MS + 3 * HOUR_MS)
        assert len(ask.segments("lr-index")) > 3, ask.segments("lr-index")

        for _ in range(10):
            ask.must_put("lr-interval", PAST_MS)
        ask.alter("lr-interval", index_interval_bytes=0, segment_ms=HOUR_MS)
        for _ in range(11):
            ask.must_put("lr-interval", PAST_MS + 3 * HOUR_MS)  # in a new segment: Apache Kafka asks once for each
        ask.broker.stop()
        first, index = sorted(ask.folder("lr-interval").glob("*.index"))
        assert first.stat().st_size == 0
        assert 9 <= index.stat().st_size // 8 <= 11, index.stat().st_size


@timeout(180)
def test_retention(env):
    with live(env) as ask:
        names = ("rt-ms", "rt-bytes", "rt-long", "rt-delay", "rt-future", "rt-none", "rt-quiet")
        ask.create(*names, segment_ms=HOUR_MS)
        now_ms = int(time.time() * 1000)
        for topic in names:
            if topic == "rt-quiet":
                ask.must_put(topic, now_ms - 5000)
            else:
                rolled(ask, topic, 4, PAST_MS)
        ask.must_put("rt-future", now_ms + 20 * 60_000)  # as late as may be: sealed at once by the next
        ask.must_put("rt-bytes", PAST_MS + 20 * HOUR_MS, size=900_000)
        ask.must_put("rt-bytes", PAST_MS + 22 * HOUR_MS, size=900_000)
        time.sleep(1)
        for topic in names:
            assert ask.start(topic) == 0, f"{topic}: retention.ms=-1, and it begins at {ask.start(topic)}"

        ask.alter("rt-none", cleanup_policy="")
        ask.alter("rt-none", retention_ms=1000)
        ask.alter("rt-long", retention_ms=220752000000)  # seven years: PAST_MS is from 2023
        ask.alter("rt-delay", file_delete_delay_ms=0)
        ask.alter("rt-delay", retention_ms=HOUR_MS)
        ask.alter("rt-ms", retention_ms=HOUR_MS)
        ask.alter("rt-bytes", retention_bytes=1_000_000)
        ask.alter("rt-quiet", retention_ms=1000)
        for topic in ("rt-ms", "rt-delay", "rt-quiet"):
            until(lambda: ask.start(topic) == ask.end(topic), lambda: f"{topic} begins at {ask.start(topic)}")
        until(lambda: ask.start("rt-bytes") == 4, lambda: f"rt-bytes begins at {ask.start('rt-bytes')}")
        time.sleep(1)
        assert ask.start("rt-bytes") == 4, "retention.bytes takes more than it should"
        assert ask.start("rt-long") == 0 and ask.start("rt-none") == 0
        assert ask.deleted("rt-ms"), "file.delete.delay.ms is 60 s there"
        until(lambda: not ask.deleted("rt-delay"), lambda: f"{ask.deleted('rt-delay')} stay")
        ask.alter("rt-none", cleanup_policy="delete")
        until(lambda: ask.start("rt-none") == ask.end("rt-none"), lambda: "rt-none is not deleted from")


@timeout(180)
def test_policies(env):
    with live(env) as ask:
        ask.create("lp-change", segment_ms=HOUR_MS, min_cleanable_dirty_ratio="0.01")
        ask.create("lp-ratio", segment_ms=HOUR_MS, cleanup_policy="compact", min_cleanable_dirty_ratio="1.0")
        ask.create("lp-lag", segment_ms=HOUR_MS, cleanup_policy="compact", min_cleanable_dirty_ratio="0.01",
                   min_compaction_lag_ms=str(20 * 365 * 24 * HOUR_MS))
        ask.create("lp-max", segment_ms=HOUR_MS, cleanup_policy="compact", min_cleanable_dirty_ratio="1.0")
        ask.create("lp-tombs", segment_ms=HOUR_MS, cleanup_policy="compact", min_cleanable_dirty_ratio="1.0")
        names = ("lp-change", "lp-ratio", "lp-lag", "lp-max")
        for topic in names:
            rolled(ask, topic, 6, PAST_MS)
        ask.must_put("lp-tombs", PAST_MS, key="a")
        ask.must_put("lp-tombs", PAST_MS + 2 * HOUR_MS, key="a", value=False)
        ask.must_put("lp-tombs", PAST_MS + 4 * HOUR_MS, key="b")
        ask.must_put("lp-tombs", PAST_MS + 6 * HOUR_MS, key="c")
        for topic in names:
            assert len(ask.keys(topic)) == 6, f"{topic} is compacted: {ask.keys(topic)}"

        ask.alter("lp-change", cleanup_policy="compact")
        ask.alter("lp-ratio", min_cleanable_dirty_ratio="0.01")
        ask.alter("lp-lag", min_compaction_lag_ms=0)
        ask.alter("lp-max", max_compaction_lag_ms=1000)
        # How long a tombstone stays is fixed when it is first compacted.
        ask.alter("lp-tombs", delete_retention_ms=0, min_cleanable_dirty_ratio="0.01")
        for topic in names:
            # The last segment is active, and not compacted; with a maximal lag it is rolled.
            until(lambda: len(ask.keys(topic)) <= 3, lambda: f"{topic} is not compacted: {ask.keys(topic)}")
        until(lambda: ask.keys("lp-tombs") == ["a", "b", "c"], lambda: f"lp-tombs: {ask.keys('lp-tombs')}")
        ask.must_put("lp-tombs", PAST_MS + 8 * HOUR_MS, key="c")
        ask.must_put("lp-tombs", PAST_MS + 10 * HOUR_MS, key="d")
        until(lambda: "a" not in ask.keys("lp-tombs"), lambda: f"the tombstone stays: {ask.keys('lp-tombs')}")

        ask.alter("lp-change", cleanup_policy="compact,delete")
        ask.alter("lp-change", retention_ms=HOUR_MS)
        until(lambda: ask.keys("lp-change") == [], lambda: f"lp-change: {ask.keys('lp-change')}")
        ask.alter("lp-change", cleanup_policy="delete", retention_ms=-1)
        rolled(ask, "lp-change", 6, PAST_MS)
        time.sleep(1)
        assert len(ask.keys("lp-change")) == 6, "it is compacted, and should not be any more"


@timeout(180)
def test_writing(env):
    with live(env) as ask:
        ask.create("lw-type", "lw-before", "lw-after", "lw-size", "lw-codec", "lw-flush")
        now_ms = int(time.time() * 1000)
        for topic in ("lw-type", "lw-before", "lw-after", "lw-codec", "lw-flush"):
            assert ask.must_put(topic, PAST_MS)["logAppendTimeMs"] == -1
        ask.must_put("lw-size", PAST_MS, size=5000)
        ask.alter("lw-type", message_timestamp_type="LogAppendTime")
        ask.alter("lw-before", message_timestamp_before_max_ms=HOUR_MS)
        ask.alter("lw-after", message_timestamp_after_max_ms=1000)
        ask.alter("lw-size", max_message_bytes=1000)
        ask.alter("lw-flush", flush_messages=1, flush_ms=1)
        ask.must_put("lw-flush", PAST_MS)
        for codec_name in CODECS:
            answer = ask.must_put("lw-type", PAST_MS, count=3, codec_name=codec_name)
            assert abs(answer["logAppendTimeMs"] - now_ms) < 120_000, answer
            stored = ask.batches("lw-type")[-1]
            assert stored["timestampType"] == "LogAppendTime" and stored["maxTimestamp"] == answer["logAppendTimeMs"], stored
        assert ask.put("lw-before", PAST_MS)["errorCode"] == INVALID_TIMESTAMP
        assert ask.put("lw-before", now_ms - HOUR_MS // 2)["errorCode"] == 0
        assert ask.put("lw-after", now_ms + 60_000)["errorCode"] == INVALID_TIMESTAMP
        assert ask.put("lw-after", PAST_MS)["errorCode"] == 0
        assert ask.put("lw-size", PAST_MS, size=5000)["errorCode"] == MESSAGE_TOO_LARGE
        assert ask.put("lw-size", PAST_MS, size=500)["errorCode"] == 0
        ask.alter("lw-size", max_message_bytes=100_000)
        assert ask.put("lw-size", PAST_MS, size=5000)["errorCode"] == 0
        ask.alter("lw-type", message_timestamp_type="CreateTime")
        assert ask.must_put("lw-type", PAST_MS)["logAppendTimeMs"] == -1
        # Each codec of a producer under each of the topic's.
        for target in [*CODECS, "producer"]:
            ask.alter("lw-codec", compression_type={"none": "uncompressed"}.get(target, target))
            for sent in CODECS:
                ask.must_put("lw-codec", PAST_MS + 7, count=3, size=100, codec_name=sent)
                stored = ask.batches("lw-codec")[-1]
                want = sent if target == "producer" else target
                assert stored["codec"] == want, f"{sent} under {target}: {stored}"
                assert [r["timestamp"] for r in stored["records"]] == [PAST_MS + 7] * 3, stored
                assert stored["maxTimestamp"] == PAST_MS + 7, stored


@timeout(180)
def test_compression_levels(env):
    """The level of a topic's codec is the one that batches are compressed with."""
    text = (paths.REPO / "docs" / "config.md").read_text()
    records = [{"key": str(i), "value": text[i * 5000:(i + 1) * 5000], "timestamp": PAST_MS} for i in range(12)]
    batch = codec().batch(records)
    with live(env) as ask:
        for name, low, high in (("gzip", 1, 9), ("lz4", 1, 17), ("zstd", 1, 19)):
            topic = f"cl-{name}"
            ask.create(topic, compression_type=name)
            sizes = []
            for level in (low, high):
                ask.alter(topic, **{f"compression_{name}_level": level})
                before = ask.size(topic)
                answer = ask.ask("Produce", 9, produce_body(topic, batch))["responses"][0]["partitionResponses"][0]
                assert answer["errorCode"] == 0, answer
                stored = ask.batches(topic)[-1]
                assert stored["codec"] == name and [r["key"] for r in stored["records"]] == [r["key"] for r in records], stored
                sizes.append(ask.size(topic) - before)
            assert sizes[1] < sizes[0] * 0.99, f"{name}: level {low} takes {sizes[0]} bytes, level {high} takes {sizes[1]}"
