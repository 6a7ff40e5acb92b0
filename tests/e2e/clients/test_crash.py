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

from lib import runner

from test_clients import python  # also makes the programs' folder known

import logcheck

ROUNDS = int(os.environ.get("TAFFRAIL_CRASH_ROUNDS", "10"))
# Apache Kafka takes some ten seconds to start after a kill: a few rounds are enough to judge the test.
ROUNDS_OF_KAFKA = 3
SEED = int(os.environ.get("TAFFRAIL_CRASH_SEED", random.randrange(1 << 32)))


def crash(broker, rng):
    """One kill, at a moment that nobody chose; then a start that may be killed as well."""
    time.sleep(rng.uniform(0.05, 0.6))
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
