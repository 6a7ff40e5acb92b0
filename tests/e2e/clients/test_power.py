"""A power cut loses nothing that was acknowledged.

The broker's folder is on a file system of its own, on a loop device. A cut ends the broker with kill -9 and
then shuts the file system down as a power cut does: from that moment nothing that is only in the page cache or
in the journal's memory can reach the device (ext4's own ioctl for such tests). It is mounted again, which reads
everything from the device, and the broker starts on what it finds. Idempotent producers write with acks=all all
the while (python/load.py, which does the checking). A volatile cache inside of a disk is not part of this.

It needs root and a loop device, and says so where it has them not.
"""

import fcntl
import json
import os
import pathlib
import random
import subprocess
import time

from lib import brokers, paths, runner

from test_clients import python
from test_crash import SEED

ROUNDS = int(os.environ.get("TAFFRAIL_POWER_ROUNDS", "6"))
DISK_BYTES = 1 << 30
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_THE_JOURNAL = (2).to_bytes(4, "little")


class Disk:
    """A file system of its own, in a file."""

    def __init__(self, folder):
        self.image = folder / "disk"
        self.mount_point = folder / "mount"
        self.is_mounted = False
        with open(self.image, "wb") as image:
            image.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount_point.mkdir()
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.mount_point], check=True, capture_output=True)
        self.is_mounted = True

    def unmount(self):
        # What a killed process had open is closed a moment after its end.
        deadline = time.monotonic() + 10
        while self.is_mounted:
            done = subprocess.run(["umount", self.mount_point], capture_output=True, text=True)
            assert done.returncode == 0 or time.monotonic() < deadline, done.stderr
            self.is_mounted = done.returncode != 0
            time.sleep(0.02 if self.is_mounted else 0)

    def cut(self):
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, WITHOUT_THE_JOURNAL)
        os.close(descriptor)
        self.unmount()
        self.mount()


def disk_of(env):
    """None where there can be none."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        print("      not run: a file system of its own needs root and a loop device")
        return None
    return Disk(env.tmp)


def power_broker(env, disk):
    return env.broker(config={"log.dirs": str(disk.mount_point / "data")})


@runner.timeout(120 + ROUNDS * 15)
def test_power_cuts(env):
    disk = disk_of(env)
    if disk is None:
        return
    rng = random.Random(SEED)
    broker = power_broker(env, disk)
    load = subprocess.Popen([*python("load.py"), broker.bootstrap, "cut", "power"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert load.stdout.readline() == "running\n", load.communicate()[1]
        for _ in range(ROUNDS):
            time.sleep(rng.uniform(0.3, 3))
            broker.kill()
            # A kill alone now and then: what is only in the page cache is found once, and must last.
            while rng.random() < 0.3:
                broker.start()
                time.sleep(rng.uniform(0.05, 0.5))
                broker.kill()
            disk.cut()
            broker.start()
            assert load.poll() is None, f"seed {SEED}: {load.communicate()[1]}"
        said, complained = load.communicate(timeout=300)
        assert load.returncode == 0, f"seed {SEED}: {complained}"
        counted = json.loads(said)
        assert counted["records"] > 100 * ROUNDS, f"too little was written to show anything: {counted}"
        print(f"      {ROUNDS} power cuts, {counted['records']} records")
        assert broker.stop() in (0, 143)
        left = [p.name for p in pathlib.Path(disk.mount_point / "data").glob("taffrail-wal-*")]
        assert not left, f"a clean stop left {left}"
    finally:
        load.kill()
        load.wait()
        broker.kill()
        disk.unmount()


def produce(broker, topic, count):
    """What was acknowledged of so many records."""
    values = "".join(f"{n}\n" for n in range(count))
    subprocess.run([paths.TAFFRAIL, "produce", topic, "-b", broker.bootstrap, "-q"], input=values,
                   text=True, check=True, capture_output=True)


def kept(broker, topic):
    done = subprocess.run([paths.TAFFRAIL, "topic", "describe", topic, "-b", broker.bootstrap, "--format", "json"],
                          text=True, check=True, capture_output=True)
    return sum(p["end_offset"] - p["begin_offset"] for p in json.loads(done.stdout)[0]["partitions"])


def test_cut_is_seen(env):
    """The cut takes what a topic with write.caching has acknowledged, and nothing of one without."""
    disk = disk_of(env)
    if disk is None:
        return
    broker = power_broker(env, disk)
    try:
        for topic, config in (("cached", ["-c", "write.caching=true"]), ("durable", [])):
            subprocess.run([paths.TAFFRAIL, "topic", "create", topic, "-b", broker.bootstrap, "-p", "1", *config],
                           check=True, capture_output=True)
            produce(broker, topic, 1000)
        broker.kill()
        disk.cut()
        broker.start()
        assert kept(broker, "durable") == 1000
        assert kept(broker, "cached") < 1000, "the cut took nothing: it proves nothing"
    finally:
        broker.kill()
        disk.unmount()


def consumed(broker, topic):
    done = subprocess.run([paths.TAFFRAIL, "consume", topic, "-b", broker.bootstrap], text=True,
                          check=True, capture_output=True)
    return done.stdout.split()


@runner.timeout(240)
def test_kafka_in_between(env):
    """Taffrail is killed, Apache Kafka runs on the folder and is stopped or killed, Taffrail starts again: what its last
    run left in the write-ahead log does not come back over what Kafka wrote since."""
    if env.broker_kind == "kafka":
        return
    for name, end in (("stopped", "stop"), ("killed", "kill")):
        folder, port = env.tmp / name, env.port(2)
        ours, kafkas = brokers.Taffrail(folder, port), brokers.ApacheKafka(folder, port)
        env.own += [ours, kafkas]
        ours.start()
        subprocess.run([paths.TAFFRAIL, "topic", "create", "t", "-b", ours.bootstrap, "-p", "1"],
                       check=True, capture_output=True)
        for _ in range(3):
            produce(ours, "t", 200)
            time.sleep(0.3)
        ours.kill()
        assert list(ours.data.glob("taffrail-wal-*")), "nothing is left to come back"
        kafkas.start()
        produce(kafkas, "t", 300)
        getattr(kafkas, end)()
        want = [str(n) for n in [*range(200), *range(200), *range(200), *range(300)]]
        ours.start()
        assert consumed(ours, "t") == want, f"Apache Kafka was {name}"
        produce(ours, "t", 1)
        ours.kill()
        ours.start()
        assert consumed(ours, "t") == [*want, "0"]
        assert ours.stop() in (0, 143)
        assert not list(ours.data.glob("taffrail-wal-*"))
