"""A broker starts on an empty folder, stops cleanly, and starts again on what it left."""

from lib import wire


def test_start_stop_start(env):
    broker = env.broker()
    assert broker.stop() in (0, 143), "SIGTERM must end a broker cleanly"
    assert (broker.data / "meta.properties").exists(), "no meta.properties in the data folder"
    broker.start()
    assert wire.metadata_broker_count((broker.host, broker.port)) == 1


def test_kill_start(env):
    broker = env.broker()
    broker.kill()
    broker.start()
    assert wire.metadata_broker_count((broker.host, broker.port)) == 1
