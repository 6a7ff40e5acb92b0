"""A start after kill -9 takes partitions from the manifest, and names what is not as it was left."""

import shutil
import time

from lib import raw, runner, wire

STORAGE_ERROR = 56
PARTITIONS = 12


def values(connection, topic, partition):
    return [data.count(b"value-") for _, data in connection.read_all(topic, partition)]


def settled_broker(env):
    """A broker of whose partitions each has a record, and whose manifest knows them all."""
    broker = env.broker(kind="taffrail")
    with raw.Connection(broker) as connection:
        connection.create_topic("t", PARTITIONS)
        for partition in range(PARTITIONS):
            connection.produce("t", raw.values_batch([b"value-0"]), partition)
    time.sleep(8)  # nothing was appended for some seconds: entries are put that nothing takes back
    return broker


def log_of(broker, size_before):
    return broker.log_path.read_text()[size_before:]


def test_kill_start(env):
    if env.broker_kind != "taffrail":
        raise runner.Skipped("of Taffrail's own files")
    broker = settled_broker(env)
    for rounds in range(1, 4):
        broker.kill()
        # Were a folder looked at, this would be found; its partition is not asked for.
        (broker.data / "t-11" / "00000000000000000000.log").rename(broker.folder / "kept")
        before = broker.log_path.stat().st_size
        broker.start()
        with raw.Connection(broker) as connection:
            for partition in range(PARTITIONS - 1):
                connection.produce("t", raw.values_batch([b"value-%d" % rounds]), partition)
                assert len(values(connection, "t", partition)) == rounds + 1
        said = log_of(broker, before)
        assert "looked at instead" not in said and "ERROR" not in said, said
        (broker.folder / "kept").rename(broker.data / "t-11" / "00000000000000000000.log")


def test_damage_is_named(env):
    if env.broker_kind != "taffrail":
        raise runner.Skipped("of Taffrail's own files")
    broker = settled_broker(env)
    broker.kill()
    short = broker.data / "t-3" / "00000000000000000000.log"
    short.write_bytes(short.read_bytes()[:-1])
    (broker.data / "t-4" / "00000000000000000000.log").unlink()
    before = broker.log_path.stat().st_size
    broker.start()
    with raw.Connection(broker) as connection:
        for partition in (3, 4):
            try:
                connection.fetch("t", 0, partition)
                raise AssertionError(f"partition {partition} is served")
            except raw.Failed as failed:
                assert failed.code == STORAGE_ERROR, failed
        for partition in range(PARTITIONS):
            if partition not in (3, 4):
                connection.produce("t", raw.values_batch([b"value-1"]), partition)
                assert len(values(connection, "t", partition)) == 2
    said = log_of(broker, before)
    assert "t-3/00000000000000000000.log has" in said and "t-4/00000000000000000000.log is gone" in said, said


def test_manifest_is_only_a_cache(env):
    if env.broker_kind != "taffrail":
        raise runner.Skipped("of Taffrail's own files")
    broker = settled_broker(env)
    broker.kill()
    manifests = sorted(broker.data.glob("taffrail-manifest-*"))
    assert manifests
    old = [(path, path.read_bytes()) for path in manifests]

    def check(records):
        broker.start()
        assert wire.metadata_broker_count((broker.host, broker.port)) == 1
        with raw.Connection(broker) as connection:
            for partition in range(PARTITIONS):
                assert len(values(connection, "t", partition)) == records
                connection.produce("t", raw.values_batch([b"value-%d" % records]), partition)
        broker.kill()

    check(1)
    for path, content in old:  # of the run before the last
        path.write_bytes(content)
    check(2)
    for path in broker.data.glob("taffrail-manifest-*"):
        path.write_bytes(path.read_bytes()[:-7])
    check(3)
    for path in broker.data.glob("taffrail-manifest-*"):
        path.unlink()
    check(4)
    for path in broker.data.glob("taffrail-manifest-*"):
        path.write_bytes(b"x" * 100)
    check(5)
    shutil.rmtree(broker.data, ignore_errors=True)
