"""kill -9 (and SIGTERM) under load loses nothing, doubles nothing, leaves no gap.

The broker is killed at random moments, some of them while it still recovers from the
kill before, and started again on the same folder, while idempotent producers write with
acks=all and a reader follows (python/load.py, which also does the checking). The number of
rounds is TAFFRAIL_CRASH_ROUNDS, 10 when it is not set.
"""

import json
import os
import random
import subprocess
import time

from lib import brokers, paths, runner

from test_clients import python  # also makes the programs' folder known

import logcheck

ROUNDS = int(os.environ.get("TAFFRAIL_CRASH_ROUNDS", "10"))
# Apache Kafka takes some ten seconds to start after a kill: a few rounds are enough to judge the test.
ROUNDS_OF_KAFKA = 3
SEED = int(os.environ.get("TAFFRAIL_CRASH_SEED", random.randrange(1 << 32)))


def crash(broker, rng, longest_s=0.6):
    """One kill, at a moment that nobody chose; then a start that may be killed as well."""
    time.sleep(rng.uniform(0.05, longest_s))
    broker.kill()
    while rng.random() < 0.3:
        broker.spawn()
        time.sleep(rng.expovariate(1 / 0.03))
        broker.kill()
    broker.start()


def stop(broker, rng):
    """SIGTERM, and a start."""
    time.sleep(rng.uniform(0.05, 0.6))
    status = broker.stop()
    assert status in (0, 143), f"SIGTERM ended the broker with status {status}"
    broker.start()


def under_load(env, end_and_start, rounds):
    rng = random.Random(SEED)
    rounds = min(rounds, ROUNDS_OF_KAFKA) if env.broker_kind == "kafka" else rounds
    broker = env.broker()
    load = subprocess.Popen([*python("load.py"), broker.bootstrap, "under-load"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert load.stdout.readline() == "running\n", load.communicate()[1]
        for _ in range(rounds):
            end_and_start(broker, rng)
            assert load.poll() is None, f"seed {SEED}: {load.communicate()[1]}"
        said, complained = load.communicate(timeout=300)
        assert load.returncode == 0, f"seed {SEED}: {complained}"
    finally:
        load.kill()
        load.wait()
    counted = json.loads(said)
    assert counted["records"] > 100 * rounds, f"too little was written to show anything: {counted}"
    assert counted["records"] == counted["acknowledged"], counted
    print(f"      {rounds} rounds, {counted['records']} records")


@runner.timeout(240 + ROUNDS * 10)
def test_kill_under_load(env):
    under_load(env, crash, ROUNDS)


@runner.timeout(240)
def test_stop_under_load(env):
    under_load(env, stop, 6)


# Everything that is done now and then, all the time.
BUSY = {
    "log.retention.check.interval.ms": "100",
    "log.initial.task.delay.ms": "50",
    "log.cleaner.backoff.ms": "50",
    "log.flush.offset.checkpoint.interval.ms": "200",
}


# All kinds of files that kafka-dump-log reads.
DUMPED = (".log", ".index", ".timeindex", ".snapshot", ".txnindex", ".checkpoint")


def dump_everything(broker):
    """What kafka-dump-log complains about in the files of a broker that was stopped."""
    files = sorted(p for p in broker.data.glob("*-*/*") if p.suffix in DUMPED and p.stat().st_size)
    complaints = []
    for at in range(0, len(files), 200):
        done = subprocess.run(
            ["java", *brokers.JAVA_OPTIONS, "-Xmx384m", "-cp", f"{paths.kafka_libs()}/*", "org.apache.kafka.tools.DumpLogSegments",
             "--deep-iteration", "--files", ",".join(map(str, files[at:at + 200]))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-2000:]
        complaints += complaints_of(done.stdout)
    return len(files), complaints


def complaints_of(text):
    """Compaction leaves gaps, and a segment may begin past offset 0: the tool calls both "Non-consecutive"."""
    kept, is_about_gaps = [], False
    for line in text.splitlines():
        is_about_gaps = line.startswith("Non-consecutive offsets") or (is_about_gaps and " is followed by " in line)
        wrong = ("isvalid: false", "Mismatches in", "Found timestamp mismatch", "Found out of order", "Index offset",
                 "Indexed offset", "Exception", "Could not", "corrupt")
        if not is_about_gaps and any(word in line for word in wrong):
            kept.append(line)
    return kept


@runner.timeout(400 + ROUNDS * 10)
def test_kill_in_all_of_it(env):
    """Produce, roll, retention, compaction and DeleteRecords at once (python/life.py), and the files that are left."""
    rng = random.Random(SEED)
    rounds = min(ROUNDS, ROUNDS_OF_KAFKA) if env.broker_kind == "kafka" else ROUNDS
    broker = env.broker(config=BUSY)
    life = subprocess.Popen([*python("life.py"), broker.bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    try:
        assert life.stdout.readline() == "running\n", life.communicate()[1]
        for _ in range(rounds):
            crash(broker, rng, longest_s=rng.choice((0.3, 1.2, 3)))  # a compaction begins after half a second
            assert life.poll() is None, f"seed {SEED}: {life.communicate()[1]}"
        time.sleep(2)
        said, complained = life.communicate(timeout=300)
        assert life.returncode == 0, f"seed {SEED}: {complained}"
    finally:
        life.kill()
        life.wait()
    broker.stop()
    counted = json.loads(said)
    compacted = counted["compacted"]
    assert compacted["kept"] < compacted["written"], f"nothing was compacted: {counted}"
    assert counted["short"]["start"] > 0 and counted["deleted"]["start"] > 0, f"nothing was deleted: {counted}"
    files, complaints = dump_everything(broker)
    assert not complaints, f"seed {SEED}: {complaints[:10]}"
    assert files > 4 * len(DUMPED), f"only {files} files are left to be looked at"
    said = broker.log_path.read_text(errors="replace")
    print(f"      {rounds} rounds, {files} files, {said.count(': compacted from')} passes, "
          f"{said.count('an interrupted compaction')} swaps completed; {counted}")


def test_complaints_are_heard(_env):
    text = "Dumping /x/0.log\nbaseOffset: 0 isvalid: true\nbaseOffset: 9 isvalid: false\n"
    assert complaints_of(text) == ["baseOffset: 9 isvalid: false"]
    assert complaints_of("Non-consecutive offsets in /x/0.log\n  5 is followed by 9\n") == []
    assert complaints_of("Mismatches in :/x/0.index\n  Index offset: 3, log offset: 4\n") == [
        "Mismatches in :/x/0.index", "  Index offset: 3, log offset: 4"]


def test_checker_sees(_env):
    """Each way a log can be wrong, planted by hand."""
    kept = {0: ("a", 0), 1: ("b", 0), 2: ("a", 1), 3: ("a", 2)}
    acknowledged = {record: offset for offset, record in kept.items()}
    written = {"a": 3, "b": 1}
    logcheck.check(0, written, acknowledged, kept, kept)
    faults = {
        "gap": (written, acknowledged, {}, {0: ("a", 0), 1: ("b", 0), 2: ("a", 1), 4: ("a", 2)}),
        "lost:": (written, {}, {}, {0: ("a", 0), 1: ("b", 0), 2: ("a", 2)}),
        "3 written, 2 kept": (written, {}, {}, {0: ("a", 0), 1: ("b", 0), 2: ("a", 1)}),
        "twice": (written, {}, {}, {**kept, 4: ("a", 2)}),
        "2 is where 1 belongs": (written, {}, {}, {0: ("a", 0), 1: ("b", 0), 2: ("a", 2), 3: ("a", 1)}),
        "was acknowledged": (written, {**acknowledged, ("b", 0): 0}, kept, kept),
        "was read": (written, acknowledged, {**kept, 1: ("a", 0)}, kept),
        "offset 4": (written, acknowledged, {**kept, 4: ("a", 3)}, kept),
    }
    for fault, arguments in faults.items():
        try:
            logcheck.check(0, *arguments)
        except logcheck.Wrong as wrong:
            assert fault in str(wrong), (fault, str(wrong))
        else:
            raise AssertionError(f"not seen: {fault}")
