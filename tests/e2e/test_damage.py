"""Files that were damaged while no broker ran: the rest is served, and log repair mends what can be mended."""

import json
import subprocess
import time

from lib import brokers, paths
from lib.runner import timeout

RECORDS = 6000
VALUE = "x" * 700


def taffrail(*words, stdin=b"", codes=(0,)):
    done = subprocess.run([paths.TAFFRAIL, *map(str, words)], input=stdin, capture_output=True, timeout=60)
    assert done.returncode in codes, f"taffrail {words}: exit {done.returncode}\n{done.stdout[-800:]}\n{done.stderr.decode()}"
    return done.stdout


def fill(broker, *topics):
    for topic in topics:
        taffrail("topic", "create", topic, "-p", "1", "-c", "segment.bytes=1048576", "-b", broker.bootstrap)
        lines = "".join(f"{i} {VALUE}\n" for i in range(RECORDS)).encode()
        taffrail("produce", topic, "-b", broker.bootstrap, stdin=lines)


def read(broker, topic, codes=(0,)):
    """{offset: the number in its value}"""
    lines = taffrail("consume", topic, "--from", "beginning", "-b", broker.bootstrap, "--format", "json", codes=codes).splitlines()
    found = {}
    for line in lines:
        record = json.loads(line)
        found[record["offset"]] = int(record["value"].split()[0])
    return found


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def segments(folder):
    return sorted(folder.glob("*.log"))


def flipped_byte(folder):
    first = segments(folder)[0]
    flip(first, first.stat().st_size // 2)


def zeroed_page(folder):
    first = segments(folder)[1]
    content = bytearray(first.read_bytes())
    content[8192:12288] = bytes(4096)
    first.write_bytes(content)


def cut_segment(folder):
    second = segments(folder)[1]
    second.write_bytes(second.read_bytes()[:-3000])


def cut_active_segment(folder):
    last = segments(folder)[-1]
    last.write_bytes(last.read_bytes()[:-100])


def junk_at_the_end(folder):
    with open(segments(folder)[-1], "ab") as file:
        file.write(b"nonsense" * 100)


def missing_index(folder):
    sorted(folder.glob("*.index"))[0].unlink()


def wrong_index(folder):
    sorted(folder.glob("*.index"))[0].write_bytes(b"12345678" * 20)


def wrong_epochs(folder):
    (folder / "leader-epoch-checkpoint").write_text("nonsense\n")


KINDS = [flipped_byte, zeroed_page, cut_segment, cut_active_segment, junk_at_the_end, missing_index, wrong_index,
         wrong_epochs]
LOSE_NOTHING = {junk_at_the_end, missing_index, wrong_index, wrong_epochs}


@timeout(240)
def test_each_kind_is_mended(env):
    broker = env.broker(kind="taffrail")
    topics = ["sound", *(kind.__name__.replace("_", "-") for kind in KINDS)]
    fill(broker, *topics)
    broker.stop()
    for kind, topic in zip(KINDS, topics[1:]):
        kind(broker.data / f"{topic}-0")

    broker.start()
    assert read(broker, "sound") == {i: i for i in range(RECORDS)}, "what is sound is not served beside what is not"
    refused = subprocess.run([paths.TAFFRAIL, "log", "repair", broker.data, "--apply"], capture_output=True, text=True)
    assert refused.returncode == 1 and "a broker runs on this folder" in refused.stderr, refused
    broker.stop()

    for kind, topic in zip(KINDS, topics[1:]):
        folder = broker.data / f"{topic}-0"
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        found = json.loads(taffrail("log", "repair", folder, "--format", "json", codes=(0, 1)))
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before, f"{topic}: saying it changed something"
        broken = found["findings"]
        taffrail("log", "repair", folder, "--apply", "--drop-damaged")
        taffrail("log", "verify", folder)
        taffrail("log", "repair", folder)
        kept = {p.name for p in folder.iterdir() if ".cut-" in p.name or p.name.endswith(".bad")}
        if kind in (flipped_byte, zeroed_page, cut_segment):
            assert broken and kept, f"{topic}: {broken}, kept are {kept}"

    broker.start()
    for kind, topic in zip(KINDS, topics[1:]):
        records = read(broker, topic)
        assert all(offset == number for offset, number in records.items()), f"{topic}: a record is at another offset"
        lost = RECORDS - len(records)
        most = 0 if kind in LOSE_NOTHING else RECORDS // 4
        assert lost <= most and (lost > 0 or most == 0), f"{topic}: {lost} records are lost"
        taffrail("produce", topic, "-b", broker.bootstrap, stdin=b"77 again\n")
        last = max(read(broker, topic))
        assert last >= RECORDS - (0 if lost == 0 else most), f"{topic}: the next record got offset {last}"
    broker.stop()
    taffrail("log", "verify", broker.data)
    mended = [f"{kind.__name__.replace('_', '-')}-0" for kind in (flipped_byte, zeroed_page, cut_segment)]
    files = [str(path) for folder in mended for path in segments(broker.data / folder)]
    said = subprocess.run(
        ["java", *brokers.JAVA_OPTIONS, "-cp", f"{paths.kafka_libs()}/*", "org.apache.kafka.tools.DumpLogSegments",
         "--deep-iteration", "--files", ",".join(files)], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr[-2000:]
    assert "isvalid: false" not in said.stdout and "Found" not in said.stdout, said.stdout[-2000:]
    assert said.stdout.count("isvalid: true") > len(files), said.stdout[-500:]


def loses_its_end(folder, recorded):
    """What a power cut may do to a segment that was not flushed."""
    last = segments(folder)[-1]
    last.write_bytes(last.read_bytes()[:recorded // 2])


def loses_a_page(folder, recorded):
    last = segments(folder)[-1]
    content = bytearray(last.read_bytes())
    content[recorded // 2:recorded // 2 + 4096] = bytes(4096)
    last.write_bytes(content)


def loses_its_last_batch(folder, recorded):
    last = segments(folder)[-1]
    last.write_bytes(last.read_bytes()[:recorded // 3 * 2])


def has_a_wrong_offset(folder, recorded):
    """Which no checksum covers."""
    last = segments(folder)[-1]
    content = bytearray(last.read_bytes())
    second = 12 + int.from_bytes(content[8:12], "big")
    content[second + 7] ^= 3
    last.write_bytes(content)


@timeout(120)
def test_repair_knows_the_write_ahead_log(env):
    """After a crash, what was acknowledged is put back from the write-ahead log, by repair as by a start."""
    kinds = [loses_its_end, loses_a_page, loses_its_last_batch, has_a_wrong_offset]
    topics = [kind.__name__.replace("_", "-") for kind in kinds]
    broker = env.broker(kind="taffrail")
    for topic in topics:
        taffrail("topic", "create", topic, "-p", "1", "-b", broker.bootstrap)
    def put(topic, part):
        lines = "".join(f"{part * 100 + i} {VALUE}\n" for i in range(100)).encode()
        taffrail("produce", topic, "-b", broker.bootstrap, stdin=lines)

    for topic in topics:
        put(topic, 0)
    time.sleep(1)  # the first records are flushed: files of the write-ahead log are made when they are missed
    for part in (1, 2):
        for topic in topics:
            put(topic, part)
    broker.kill()
    assert list(broker.data.glob("taffrail-wal-*")), "there is no write-ahead log"
    for kind, topic in zip(kinds, topics):
        folder = broker.data / f"{topic}-0"
        kind(folder, segments(folder)[-1].stat().st_size)

    before = {p: p.read_bytes() for p in broker.data.rglob("*") if p.is_file()}
    found = json.loads(taffrail("log", "repair", broker.data, "--format", "json", codes=(1,)))
    assert {p: p.read_bytes() for p in broker.data.rglob("*") if p.is_file()} == before, "saying it changed something"
    for topic in topics:
        [told] = [f["finding"] for f in found["findings"] if f"/{topic}-0/" in f["file"] and f["file"].endswith(".log")]
        assert "whole in the write-ahead log, and not here" in told, told
    taffrail("log", "repair", broker.data, "--apply")
    taffrail("log", "verify", broker.data)
    assert b"nothing to mend" in taffrail("log", "repair", broker.data)

    broker.start()
    for topic in topics:
        assert read(broker, topic) == {i: i for i in range(300)}, topic
    broker.stop()
    assert not list(broker.data.glob("taffrail-wal-*"))
