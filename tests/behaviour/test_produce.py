"""Produce and DescribeProducers: every version, every codec, idempotence, and batches that must be refused."""

import time

from scenario import PAST_MS, Scenario, codec, fetch_body

ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
MISSING_ID = "AAAAAAAAAAAAAAAAAAAAKg"


def batch(value="v", **description):
    return codec().batch([{"key": "k", "value": value}], **description)


def test_produce_versions(env):
    with Scenario(env, "produce_versions") as s:
        (topic_id,) = s.create("pv-a", partitions=2)
        for version in range(3, 14):
            topic = topic_id if version >= 13 else "pv-a"
            unknown = MISSING_ID if version >= 13 else "pv-unknown"
            s.produce("good", topic, batch(codec="zstd" if version >= 7 else "gzip"), version=version)
            s.produce("acks 1", topic, batch(), version=version, acks=1)
            s.produce("unknown topic", unknown, batch(), version=version)
            s.produce("unknown partition", topic, batch(), partition=9, version=version)
            s.produce("negative partition", topic, batch(), partition=-1, version=version)
        s.produce("zstd before its time", "pv-a", batch(codec="zstd"), version=6)
        s.produce("no id", ZERO_ID, batch(), version=13)
        s.produce("acks 2", "pv-a", batch(), acks=2)
        s.produce("acks -2", "pv-a", batch(), acks=-2)
        s.produce("no topic", "", batch())
        s.produce("illegal topic", "a b", batch())
        s.call("nothing", "Produce", 9, {"acks": -1, "timeoutMs": 1000, "topicData": []})
        s.call("two partitions and a bad one", "Produce", 9, {"acks": -1, "timeoutMs": 1000, "topicData": [
            {"name": "pv-a", "partitionData": [{"index": i, "records": batch()} for i in (0, 1, 2)]}]})
        s.call("the same partition twice", "Produce", 9, {"acks": -1, "timeoutMs": 1000, "topicData": [
            {"name": "pv-a", "partitionData": [{"index": 0, "records": batch()} for _ in range(2)]}]})
        s.call("the same topic twice", "Produce", 9, {"acks": -1, "timeoutMs": 1000, "topicData": [
            {"name": "pv-a", "partitionData": [{"index": i, "records": batch()}]} for i in (0, 1)]})
        s.ask("ListOffsets", 1, {"replicaId": -1, "topics": []})
        s.fetch("all of it", "pv-a", 0)


def test_produce_no_acks(env):
    """Without acks there is no answer; an error closes the connection."""
    with Scenario(env, "produce_no_acks") as s:
        s.create("pn-a")

        def send(step, topic, records, then_silent):
            request = {"acks": 0, "timeoutMs": 1000, "topicData": [
                {"name": topic, "partitionData": [{"index": 0, "records": records}]}]}
            s.raw(step, s.frame("Produce", 9, request), silent_s=0.5 if then_silent else None)

        send("good", "pn-a", batch(), True)
        send("unknown topic", "pn-unknown", batch(), False)
        send("bad CRC", "pn-a", batch(set=[[17, "00000000"]]), False)
        s.fetch("what arrived", "pn-a", 0)


def test_produce_codecs(env):
    with Scenario(env, "produce_codecs") as s:
        codecs = ("none", "gzip", "snappy", "lz4", "zstd")
        many = [{"key": f"key {i}", "value": "value " * 50, "timestamp": PAST_MS + i, "headers": [["h", str(i)], ["n", None]]}
                for i in range(20)]
        for name in codecs:
            s.create(f"pc-{name}")
            s.produce(f"{name}", f"pc-{name}", codec().batch(many, codec=name))
            s.produce(f"{name}, tombstone", f"pc-{name}", codec().batch([{"key": "k", "value": None}], codec=name))
            s.produce(f"{name}, empty", f"pc-{name}", codec().batch([{"key": "", "value": ""}], codec=name))
            s.fetch(f"{name} back", f"pc-{name}", 0)
            s.fetch(f"{name} from the middle", f"pc-{name}", 10)
        s.create("pc-raw")
        s.produce("snappy without framing", "pc-raw", codec().batch(many, codec="snappy-raw"))
        s.fetch("snappy without framing, back", "pc-raw", 0)
        for wanted in ("uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"):
            s.create(f"pc-to-{wanted}", compression_type=wanted)
            for name in codecs:
                s.produce(f"{name} into {wanted}", f"pc-to-{wanted}", codec().batch(many[:3], codec=name))
            s.fetch(f"what {wanted} keeps", f"pc-to-{wanted}", 0)


def test_produce_time(env):
    with Scenario(env, "produce_time") as s:
        now = int(time.time() * 1000)
        s.create("pt-log", message_timestamp_type="LogAppendTime")
        s.create("pt-near", message_timestamp_before_max_ms=60000, message_timestamp_after_max_ms=60000)
        s.create("pt-default")
        s.produce("append time", "pt-log", batch())
        s.produce("append time, compressed", "pt-log", batch(codec="gzip"))
        s.produce("append time given by the client", "pt-log", batch(timestampType="LogAppendTime"))
        s.fetch("append time back", "pt-log", 0)
        s.produce("create time, says append time", "pt-default", batch(timestampType="LogAppendTime"))
        s.produce("now", "pt-near", batch(timestamp=now))
        s.produce("too old", "pt-near", batch(timestamp=now - 120_000))
        s.produce("too new", "pt-near", batch(timestamp=now + 120_000))
        s.produce("too old, compressed", "pt-near", batch(timestamp=now - 120_000, codec="lz4"))
        s.produce("one of three too old", "pt-near", codec().batch([
            {"value": "a", "timestamp": now}, {"value": "b", "timestamp": now - 120_000}, {"value": "c", "timestamp": now}]))
        s.produce("two hours ahead", "pt-default", batch(timestamp=now + 7_200_000))
        s.produce("very old", "pt-default", batch(timestamp=0))
        s.produce("no time", "pt-default", batch(timestamp=-1))
        s.produce("below no time", "pt-default", codec().batch([{"value": "v"}], set=[[27, "fffffffffffffff0"], [35, "fffffffffffffff0"]], fixCrc=True))
        s.produce("max time is wrong", "pt-default", codec().batch([{"value": "v"}], set=[[35, "0000018bcfe56fff"]], fixCrc=True))
        s.fetch("what arrived", "pt-near", 0)
        s.fetch("what arrived", "pt-default", 0)


# Byte offsets in a batch: 0 base offset, 8 length, 12 leader epoch, 16 magic, 17 CRC, 21 attributes,
# 23 last offset delta, 27 base timestamp, 35 max timestamp, 43 producer id, 51 epoch, 53 base sequence, 57 count.
def test_produce_bad_batches(env):
    with Scenario(env, "produce_bad_batches") as s:
        s.create("pb-a")
        good = batch()

        def bad(step, *changes, fix=True, records=None, **description):
            s.produce(step, "pb-a", codec().batch(records or [{"key": "k", "value": "v"}], set=list(changes),
                                                  fixCrc=fix, **description))

        bad("base offset 5", [0, "0000000000000005"])
        bad("base offset -1", [0, "ffffffffffffffff"])
        bad("leader epoch 7", [12, "00000007"])
        bad("bad CRC", [17, "deadbeef"], fix=False)
        for magic in ("00", "01", "03", "7f", "ff"):
            bad(f"magic {magic}", [16, magic])
        for attributes in ("0005", "0006", "0007"):
            bad(f"codec {attributes}", [21, attributes])
        bad("attributes that nobody knows", [21, "0080"])
        bad("control batch", [21, "0020"])
        bad("transactional without an id", [21, "0010"])
        bad("delete horizon set", [21, "0040"])
        bad("last offset delta 7", [23, "00000007"])
        bad("last offset delta -1", [23, "ffffffff"])
        bad("count 2", [57, "00000002"])
        bad("count 0", [57, "00000000"])
        bad("count -1", [57, "ffffffff"])
        bad("count of two thousand million", [57, "77359400"])
        bad("record length too long", [61, "7e"])
        bad("record length negative", [61, "01"])
        bad("says gzip and is not", [21, "0001"])
        bad("says zstd and is not", [21, "0004"])
        bad("gzip, spoiled inside", [70, "ffffffff"], codec="gzip", records=[{"value": "v" * 500}])
        bad("gzip, count wrong", [57, "00000005"], codec="gzip")
        bad("batch length too short", [8, "00000010"], fix=False)
        bad("batch length 0", [8, "00000000"], fix=False)
        bad("batch length negative", [8, "ffffffff"], fix=False)
        bad("batch length too long", [8, "00001000"], fix=False)
        bad("batch length huge", [8, "7fffffff"], fix=False)
        s.produce("two batches", "pb-a", good + good)
        s.produce("a batch and a half", "pb-a", good + good[:40])
        s.produce("half a batch", "pb-a", good[:80])
        s.produce("no bytes", "pb-a", "")
        s.produce("five bytes", "pb-a", "0000000000")
        s.produce("twelve bytes", "pb-a", "00" * 12)
        s.produce("zeros", "pb-a", "00" * 100)
        s.produce("batch without records", "pb-a", good[:2 * 23] + "ffffffff" + good[2 * 27:2 * 57] + "00000000")
        s.fetch("what arrived", "pb-a", 0)
        # The offset delta of the only record, which the batch says is 0, is 5.
        s.create("pb-delta")
        s.produce("offset delta of a record", "pb-delta", codec().batch(
            [{"key": "k", "value": "v"}], set=[[64, "0a"]], fixCrc=True))
        s.fetch("what arrived of it", "pb-delta", 0)
        s.exceptions.argue("what arrived of it (Fetch v12)",
                           "Apache Kafka keeps the 5 and gives the next batch the offset 1, so that two records may have "
                           "one offset; here the record gets the offset that its batch has for it.",
                           **{".responses[0].partitions[0].records[0].records[0].offset": 0})


def test_produce_sizes(env):
    with Scenario(env, "produce_sizes") as s:
        s.create("ps-small", max_message_bytes=1000)
        s.create("ps-default")
        # 69 bytes are header and record framing of one record with a null key here.
        s.produce("just fits", "ps-small", codec().batch([{"value": {"repeat": "x", "count": 1000 - 61 - 9}}]))
        s.produce("one byte too large", "ps-small", codec().batch([{"value": {"repeat": "x", "count": 1000 - 61 - 8}}]))
        s.produce("large, and packs small", "ps-small", codec().batch([{"value": {"repeat": "x", "count": 20000}}], codec="gzip"))
        s.produce("a megabyte", "ps-default", codec().batch([{"value": {"repeat": "x", "count": 1 << 20}}]))
        s.produce("more than a megabyte", "ps-default", codec().batch([{"value": {"repeat": "x", "count": (1 << 20) + 1000}}]))
        for name in ("gzip", "snappy", "lz4", "zstd"):
            s.produce(f"thirty megabytes, small by {name}", "ps-default",
                      codec().batch([{"value": {"repeat": "x", "count": 30 << 20}}], codec=name))
        s.fetch("what arrived", "ps-small", 0)


def test_produce_compacted(env):
    """A topic that is compacted wants keys."""
    with Scenario(env, "produce_compacted") as s:
        s.create("ps-compact", cleanup_policy="compact")
        s.produce("compact, no key", "ps-compact", codec().batch([{"value": "v"}]))
        s.produce("compact, one without key", "ps-compact", codec().batch([{"key": "a", "value": "v"}, {"value": "v"}]))
        s.produce("compact, packed, no key", "ps-compact", codec().batch([{"value": "v"}], codec="zstd"))
        s.produce("compact, with key", "ps-compact", codec().batch([{"key": "a", "value": None}]))
        s.fetch("what arrived", "ps-compact", 0)


def test_idempotence(env):
    with Scenario(env, "idempotence") as s:
        s.create("id-a", partitions=2)
        producer, _ = s.producer_id()
        for strange in (123456789, 123456790, 123456791):
            s.masks.name("producer-id", strange)

        def send(step, sequence, count=1, epoch=0, pid=producer, partition=0, **more):
            s.produce(step, "id-a", codec().batch([{"value": f"{sequence}+{i}"} for i in range(count)], producerId=pid,
                                                  epoch=epoch, sequence=sequence, **more), partition=partition)

        send("first does not begin at 0", 5, partition=1)
        send("first", 0)
        send("again", 0)
        send("gap", 5)
        send("next, three records", 1, 3)
        send("again, three records", 1, 3)
        send("again, other count", 1, 2)
        send("in the middle of it", 2, 1)
        send("overlaps the end", 3, 3)
        for sequence in range(4, 9):
            send("one after another", sequence)
        for sequence in range(8, -1, -1):
            send(f"again, {sequence}", sequence)
        send("negative sequence", 9, set=[[53, "fffffffb"]], fixCrc=True)
        send("new epoch not at 0", 9, epoch=1)
        send("new epoch at 0", 0, epoch=1)
        send("old epoch", 9, epoch=0)
        send("old epoch, from 0", 0, epoch=0)
        send("negative epoch", 1, set=[[51, "ffff"]], fixCrc=True)
        send("epoch jumps", 0, epoch=5)
        send("packed", 1, 4, epoch=5, codec="lz4")
        send("packed again", 1, 4, epoch=5, codec="lz4")
        send("id that nobody gave", 0, pid=123456789)
        send("id that nobody gave, not at 0", 7, pid=123456790)
        send("wraps around", 2147483646, 3, pid=123456791)
        send("after the wrap", 1, 1, pid=123456791)
        send("no id, sequence 0", 0, pid=-1, epoch=-1)
        s.produce("two batches of one producer", "id-a",
                  codec().batch([{"value": "x"}], producerId=producer, epoch=5, sequence=5)
                  + codec().batch([{"value": "y"}], producerId=producer, epoch=5, sequence=6))
        s.produce("transactional flag without a transaction", "id-a", codec().batch(
            [{"value": "x"}], producerId=producer, epoch=5, sequence=5, transactional=True))
        s.produce("transactional id, plain batch", "id-a", codec().batch(
            [{"value": "x"}], producerId=producer, epoch=5, sequence=5), transactionalId="tx")
        s.call("producers", "DescribeProducers", 0, {"topics": [
            {"name": "id-a", "partitionIndexes": [0, 1, 9]}, {"name": "unknown", "partitionIndexes": [0]},
            {"name": "a b", "partitionIndexes": [0]}]})
        s.fetch("what arrived", "id-a", 0)


def epochs_in_order(answer):
    """
    A restart raises a leader's epoch once here and twice in Apache Kafka, whose controller sees the broker go and come.
    Who reads an epoch may only ask whether it is older or newer than another, so they are compared by their order.
    """
    batches = answer["responses"][0]["partitions"][0]["records"]
    epochs = sorted({b["leaderEpoch"] for b in batches})
    for record_batch in batches:
        record_batch["leaderEpoch"] = f"epoch {epochs.index(record_batch['leaderEpoch'])} of {len(epochs)}"
    return answer


def test_idempotence_survives(env):
    """
    The producers of a partition are known again after a clean stop and after a crash. Batches have the present
    time: a producer expires by the time of its last batch.
    """
    now = int(time.time() * 1000)
    with Scenario(env, "idempotence_survives", config={"node.id": "1"}) as s:
        s.create("is-a")
        producer, _ = s.producer_id()

        def send(step, sequence, epoch=0):
            s.produce(step, "is-a", codec().batch([{"value": f"{sequence}"}], producerId=producer, epoch=epoch,
                                                  sequence=sequence, timestamp=now))

        for sequence in range(6):
            send("before", sequence)
        for how in ("stop", "kill"):
            s.drop()
            getattr(s.broker, how)()
            s.broker.start()
            s.wait_leaders("is-a")
            s.settle()
            send(f"{how}: last again", 5 if how == "stop" else 6)
            send(f"{how}: older", 0)
            send(f"{how}: gap", 9)
            s.call(f"{how}: producers", "DescribeProducers", 0, {"topics": [{"name": "is-a", "partitionIndexes": [0]}]})
            send(f"{how}: next", 6 if how == "stop" else 7)
        s.call("what arrived", "Fetch", 12, fetch_body("is-a", 0), keep=epochs_in_order)
