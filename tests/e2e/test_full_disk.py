"""A disk that is full: nothing is lost, the log says what to do, and with space all goes on without a start.

It needs root, for a small file system of its own.
"""

import json
import os
import subprocess

from lib import brokers, runner
from test_damage import read, taffrail

DISK_BYTES = 80 << 20


def fill(mount_point):
    """Takes all space."""
    with open(mount_point / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 65536):
                pass
        except OSError:
            pass


def put(broker, numbers, codes=(0,), timeout="20s"):
    lines = "".join(f"{i} {'x' * 500}\n" for i in numbers).encode()
    taffrail("produce", "t", "-b", broker.bootstrap, "--timeout", timeout, stdin=lines, codes=codes)


@runner.timeout(120)
def test_space_comes_back(env):
    if os.geteuid() != 0:
        print("a full disk needs root, to mount one: not tried here")
        return
    mount_point = env.tmp / "small"
    mount_point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", mount_point], check=True)
    try:
        broker = env.broker(kind="taffrail", config={"log.dirs": str(mount_point / "data")})
        taffrail("topic", "create", "t", "-p", "1", "-b", broker.bootstrap)
        put(broker, range(1000))
        fill(mount_point)
        put(broker, range(1000, 2000), codes=(3,), timeout="3s")
        assert broker.died() is None, "it does not live on"
        kept = read(broker, "t")
        assert list(kept.values())[:1000] == list(range(1000)), "what was there is not served"
        said = broker.log_path.read_text()
        assert "is full" in said and "Make room on it" in said, said[-2000:]
        [folder] = json.loads(taffrail("cluster", "info", "-b", broker.bootstrap, "--format", "json"))["log_dirs"]
        assert folder["state"] == "online" and folder["free_bytes"] < 1 << 20, folder
        os.unlink(mount_point / "filler")
        before = len(read(broker, "t"))
        put(broker, range(2000, 3000))
        after = list(read(broker, "t").values())
        assert after[before:] == list(range(2000, 3000)), "with space it does not go on"

        fill(mount_point)
        broker.kill()
        try:
            broker.start()
            assert read(broker, "t") == dict(enumerate(after))
        except brokers.BrokerFailed as failure:  # nothing at all is left, not even for its own files
            assert "no space left on the device" in str(failure), failure
        broker.kill()
        os.unlink(mount_point / "filler")
        broker.start()
        assert read(broker, "t") == dict(enumerate(after)), "a full disk at the start lost records"
        broker.stop()
        taffrail("log", "verify", mount_point / "data")
    finally:
        for own in env.own:
            own.kill()
        subprocess.run(["umount", "-l", mount_point], check=True)
