"""A broker refuses a data folder that is not its own, and leaves it as it was."""

import hashlib

from lib import brokers, wire

# What a start may touch before it has looked: the lock, and the folder's own times.
NOT_COMPARED = {".lock"}


def fingerprint(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file() and path.name not in NOT_COMPARED}


def assert_refused(env, data, **config):
    """A second broker on that folder must end by itself, with a status that says failure."""
    port = env.port(2)
    second = brokers.KINDS[env.broker_kind](
        env.tmp / f"refused-{port}", port, {"log.dirs": str(data), **{k.replace("_", "."): v for k, v in config.items()}})
    second.start_timeout_s = 30
    try:
        second.start()
    except brokers.BrokerFailed as failure:
        text = str(failure)
        assert "ended with status" in text, text
        assert "status 0" not in text and "status -" not in text, f"it must refuse, not crash: {text}"
        return second.log_path.read_text(errors="replace")
    second.kill()
    raise AssertionError("it started on a folder that it must refuse")


def test_second_process_is_refused(env):
    first = env.broker()
    said = assert_refused(env, first.data)
    assert "lock" in said.lower() or "in use" in said.lower(), f"it does not say why:\n{said}"
    assert wire.metadata_broker_count((first.host, first.port)) == 1


def test_taken_address_is_refused(env):
    """Two brokers must not share an address, though the shards of one broker do."""
    first = env.broker()
    address = f"PLAINTEXT://{first.host}:{first.port}"
    said = assert_refused(env, env.tmp / "other-data", listeners=address, advertised_listeners=address)
    assert str(first.port) in said, f"it does not say which address:\n{said}"
    assert wire.metadata_broker_count((first.host, first.port)) == 1


def spoil(path, old, new):
    text = path.read_text()
    assert old in text, f"{path} has no {old}:\n{text}"
    path.write_text(text.replace(old, new))


def test_newer_format_is_refused(env):
    broker = env.broker()
    broker.stop()
    spoil(broker.data / "meta.properties", "version=1", "version=99")
    before = fingerprint(broker.data)
    said = assert_refused(env, broker.data)
    assert "99" in said, f"it does not say which version it met:\n{said}"
    assert fingerprint(broker.data) == before, "the refused folder was changed"


def test_other_node_is_refused(env):
    broker = env.broker()
    broker.stop()
    before = fingerprint(broker.data)
    said = assert_refused(env, broker.data, node_id="2", controller_quorum_voters="2@127.0.0.1:1")
    assert "node.id" in said or "node id" in said.lower(), f"it does not say why:\n{said}"
    assert fingerprint(broker.data) == before, "the refused folder was changed"


def test_broken_meta_properties_are_refused(env):
    broker = env.broker()
    broker.stop()
    (broker.data / "meta.properties").write_bytes(b"\x00\xff garbage\n")
    before = fingerprint(broker.data)
    assert_refused(env, broker.data)
    assert fingerprint(broker.data) == before, "the refused folder was changed"


def test_another_voter_is_refused(env):
    """Found only in the metadata log; not even the mark of the clean stop is taken away."""
    broker = env.broker()
    broker.stop()
    properties = broker.data / "meta.properties"
    own = [line for line in properties.read_text().splitlines() if line.startswith("directory.id=")][0]
    spoil(properties, own, "directory.id=AAAAAAAAQACAAAAAAAAAAw")
    before = fingerprint(broker.data)
    said = assert_refused(env, broker.data)
    assert "voter" in said.lower(), f"it does not say why:\n{said}"
    after = fingerprint(broker.data)
    if env.broker_kind == "taffrail":  # Apache Kafka has taken the mark by then
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert not changed, f"the refused folder was changed: {changed}"
