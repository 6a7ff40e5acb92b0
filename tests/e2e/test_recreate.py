"""A topic that is deleted and made again at once is a new one: the old one's files do not come in its way."""

import random
import threading

from lib.runner import timeout
from test_damage import read, taffrail

ROUNDS = 30


def put(broker, topic, words, codes=(0,)):
    taffrail("produce", topic, "-b", broker.bootstrap, stdin="".join(f"{w} x\n" for w in words).encode(), codes=codes)


@timeout(120)
def test_recreated_at_once(env):
    broker = env.broker(kind="taffrail", config={"auto.create.topics.enable": "false"})
    stopping = threading.Event()

    def writer():
        """Has appends under way when the topic goes."""
        while not stopping.is_set():
            put(broker, "t", range(200), codes=(0, 1, 2, 3, 4))

    thread = threading.Thread(target=writer)
    for turn in range(ROUNDS):
        taffrail("topic", "create", "t", "-p", "4", "-b", broker.bootstrap)
        put(broker, "t", range(20))
        if turn == ROUNDS // 2:
            thread.start()
        taffrail("topic", "delete", "t", "-b", broker.bootstrap)
    stopping.set()
    thread.join()
    taffrail("topic", "delete", "t", "--if-exists", "-b", broker.bootstrap)
    taffrail("topic", "create", "t", "-p", "1", "-b", broker.bootstrap)
    numbers = random.sample(range(1000), 100)
    put(broker, "t", numbers)
    assert list(read(broker, "t").values()) == numbers
    assert not list(broker.data.glob("*-stray")), "a topic's folder was taken for one that nobody has"
    broker.restart()
    assert list(read(broker, "t").values()) == numbers
    broker.stop()
    said = broker.log_path.read_text()
    assert "ERROR" not in said, said[-2000:]
