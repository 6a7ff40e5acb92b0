"""What a broker survives: garbage, peers that do not read, thousands of connections, bombs, full disks.

tests/behaviour compares the answers to single bad requests with Apache Kafka's. Here it is about the
broker afterwards: the same process still serves everyone else, quickly, and has not grown.
"""

import contextlib
import ctypes
import os
import pathlib
import random
import resource
import struct
import time

from lib import brokers, raw, runner, wire

MIB = 1 << 20
OFFSET_COMMIT, FIND_COORDINATOR = 8, 10


def resident_bytes(broker):
    for line in pathlib.Path(f"/proc/{broker.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@contextlib.contextmanager
def grows_less_than(broker, limit):
    """Fails when the broker's memory grew by more, at the end. The Java heap grows as it likes: not checked there."""
    before = resident_bytes(broker)
    yield
    grown = resident_bytes(broker) - before
    if broker.name == "taffrail":
        assert grown < limit, f"{grown / MIB:.1f} MiB more resident memory, allowed are {limit / MIB:.0f}"


def answers_soon(broker, limit_s=1.0):
    """A new connection gets its answer within the limit."""
    began = time.monotonic()
    with raw.Connection(broker) as connection:
        assert connection.broker_count() == 1
    took = time.monotonic() - began
    assert took < limit_s, f"a Metadata request took {took:.2f} s"


def skipped(why):
    print(f"      skipped: {why}")


def test_idle_connections(env):
    count = 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        # With Kafka's 50 a burst of connections overflows the queue, and the client's kernel waits a second.
        broker = env.broker(config={"socket.listen.backlog.size": "4096"})
        idle = []
        answers_soon(broker, 10)
        with contextlib.ExitStack() as stack, grows_less_than(broker, 64 * MIB):
            for _ in range(count):
                idle.append(stack.enter_context(raw.Connection(broker)))
            answers_soon(broker)
            # Each is alive, not only accepted by the kernel.
            for connection in idle[::50]:
                assert connection.broker_count() == 1
            answers_soon(broker)
        answers_soon(broker)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def closed_within(connection, limit_s):
    """Whether the broker closes the connection within the limit, without a word."""
    connection.socket.settimeout(limit_s)
    try:
        return connection.socket.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_idle_is_closed(env):
    broker = env.broker(config={"connections.max.idle.ms": "2000"})
    with raw.Connection(broker) as idle, raw.Connection(broker) as silent, raw.Connection(broker) as busy:
        assert idle.broker_count() == 1
        began = time.monotonic()
        while time.monotonic() - began < 5:
            assert busy.broker_count() == 1
            time.sleep(0.2)
        assert closed_within(idle, 5), "an idle connection is still open"
        assert closed_within(silent, 5), "a connection that never said a word is still open"
        assert busy.broker_count() == 1


def test_too_many_connections_of_an_address(env):
    broker = env.broker(config={"max.connections.per.ip": "20", "max.connections.per.ip.overrides": "127.0.0.9:2"})
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(raw.Connection(broker, source="127.0.0.9")) for _ in range(2)]
        for connection in others:
            assert connection.broker_count() == 1
        third = stack.enter_context(raw.Connection(broker, source="127.0.0.9"))
        assert closed_within(third, 5), "one connection more than the override allows"
        # Those that asked whether the broker is up may not be counted out yet.
        time.sleep(0.5)
        held = [stack.enter_context(raw.Connection(broker)) for _ in range(20)]
        for connection in held:
            assert connection.broker_count() == 1
        assert closed_within(stack.enter_context(raw.Connection(broker)), 5), "one connection more than is allowed"
        held[0].socket.close()
        time.sleep(0.5)
        assert stack.enter_context(raw.Connection(broker)).broker_count() == 1
        others[0].socket.close()
        time.sleep(0.5)
        assert stack.enter_context(raw.Connection(broker, source="127.0.0.9")).broker_count() == 1


def test_too_many_connections(env):
    """Who comes over max.connections is left in the system's queue until another goes."""
    broker = env.broker(config={"max.connections": "20"})
    with contextlib.ExitStack() as stack:
        time.sleep(0.5)
        held = [stack.enter_context(raw.Connection(broker)) for _ in range(20)]
        for connection in held:
            assert connection.broker_count() == 1
        waiting = stack.enter_context(raw.Connection(broker))
        waiting.send(raw.METADATA, 1, struct.pack(">i", 0))
        waiting.socket.settimeout(1)
        try:
            assert not waiting.socket.recv(1), "one connection more than max.connections is served"
            raise AssertionError("the connection was closed")
        except TimeoutError:
            pass
        held[0].socket.close()
        waiting.socket.settimeout(10)
        assert waiting.socket.recv(1), "no answer although there is room"
        # The others are served all the while.
        assert held[1].broker_count() == 1


def test_announced_and_not_sent(env):
    if env.broker_kind == "kafka":
        return skipped("Apache Kafka allocates what is announced, and needs a heap for it")
    broker = env.broker()
    with contextlib.ExitStack() as stack, grows_less_than(broker, 64 * MIB):
        for _ in range(200):
            connection = stack.enter_context(raw.Connection(broker))
            connection.socket.sendall(struct.pack(">i", 100 * 1000 * 1000) + b"\0\0\0\x03" + bytes(1000))
        time.sleep(0.3)
        answers_soon(broker)
        with raw.Connection(broker) as connection:
            connection.create_topic("beside")
            connection.produce("beside", raw.values_batch([b"still served"]))


def test_large_requests(env):
    """Many at once, again and again: what they took goes back, but for what is kept for the next ones."""
    broker = env.broker()
    with raw.Connection(broker) as connection:
        connection.create_topic("large")
    # Too large for the topic, so that nothing is written.
    body = struct.pack(">hhii", -1, 1, 10000, 1) + raw.string("large") + struct.pack(">ii", 1, 0)
    body += raw.sized(raw.values_batch([bytes(3 * MIB)]))
    frame = raw.sized(struct.pack(">hhi", raw.PRODUCE, 3, 1) + raw.string("e2e") + body)
    with grows_less_than(broker, 64 * MIB):
        for _ in range(6):
            with contextlib.ExitStack() as stack:
                crowd = [stack.enter_context(raw.Connection(broker)) for _ in range(24)]
                for part in frame[:-10], frame[-10:]:
                    for connection in crowd:
                        connection.socket.sendall(part)
                for connection in crowd:
                    connection.receive()
            time.sleep(0.3)
        answers_soon(broker)


def test_slow_readers(env):
    broker = env.broker()
    value = os.urandom(100000)
    with raw.Connection(broker) as writer:
        writer.create_topic("slow")
        packed = raw.values_batch([value] * 5)
        for _ in range(40):
            writer.produce("slow", packed)
        answers_soon(broker, 10)
        # An answer has at most 8 MiB, and a connection has one at a time.
        with contextlib.ExitStack() as stack, grows_less_than(broker, (40 * 8 + 64) * MIB):
            for _ in range(40):
                reader = stack.enter_context(raw.Connection(broker, receive_buffer=4096))
                for _ in range(20):
                    reader.send(raw.FETCH, 4, reader.fetch_body("slow", 0, max_bytes=20 * MIB))
            for _ in range(10):
                answers_soon(broker, 3)
                began = time.monotonic()
                writer.produce("slow", packed)
                assert time.monotonic() - began < 3, "a produce waited for others' slow reads"
                time.sleep(0.1)
        assert len(writer.read_all("slow")) == 50
        answers_soon(broker)


def requests(rng):
    """Well-formed requests of many APIs and versions, to spoil."""
    topic = raw.string("spoilt")
    known = [
        (raw.PRODUCE, 3, struct.pack(">hhii", -1, 1, 1000, 1) + topic + struct.pack(">ii", 1, 0)
         + raw.sized(raw.values_batch([rng.randbytes(rng.randrange(200)) for _ in range(5)], rng.choice((0, raw.GZIP))))),
        (raw.FETCH, 4, raw.Connection.fetch_body("spoilt", 0)),
        (raw.METADATA, 1, struct.pack(">i", 1) + topic),
        (raw.METADATA, 12, b"\0\x02" + bytes(16) + b"\x07spoilt" + b"\0\1\0\0"),
        (raw.API_VERSIONS, 3, b"\0\x04e2e\x021\0"),
        (raw.CREATE_TOPICS, 2, struct.pack(">i", 1) + topic + struct.pack(">ihiiib", 1, 1, 0, 0, 1000, 1)),
        (2, 1, struct.pack(">ii", -1, 1) + topic + struct.pack(">iiq", 1, 0, -1)),
        (22, 0, struct.pack(">hi", -1, 60000)),
        (32, 1, struct.pack(">ib", 1, 2) + topic + struct.pack(">ib", -1, 1)),
    ]
    return known + [(key, rng.randrange(18), rng.randbytes(rng.randrange(120))) for key in range(95)]


def spoil(rng, frame):
    frame = bytearray(frame)
    for _ in range(rng.randrange(1, 4)):
        choice = rng.randrange(5)
        at = rng.randrange(len(frame))
        if choice == 0:
            frame[at] = rng.randrange(256)
        elif choice == 1:
            del frame[at:]
        elif choice == 2:
            frame[at:at + 4] = rng.choice((b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f"))
        elif choice == 3:
            frame[at:at] = rng.randbytes(rng.randrange(1, 40))
        else:
            frame[at] ^= 1 << rng.randrange(8)
        if not frame:
            return b"\0"
    return bytes(frame)


def test_spoilt_requests(env):
    """Thousands of requests with bytes changed, cut, inserted: some are answered, none ends the broker."""
    seed = int(os.environ.get("TAFFRAIL_BAD_INPUT_SEED", random.randrange(1 << 32)))
    rng = random.Random(seed)
    broker = env.broker()
    with raw.Connection(broker) as connection:
        connection.create_topic("spoilt")
        good = raw.values_batch([b"before"])
        connection.produce("spoilt", good)
    pid = broker.pid
    with grows_less_than(broker, 96 * MIB):
        for _ in range(15):
            for api_key, version, body in requests(rng):
                frame = struct.pack(">hhi", api_key, version, 7) + raw.string("e2e") + body
                with raw.Connection(broker) as connection:
                    connection.socket.sendall(raw.sized(spoil(rng, frame)))
            try:
                answers_soon(broker, 5)
            except (OSError, AssertionError) as failure:
                raise AssertionError(f"seed {seed}: {failure}") from failure
    assert broker.process.poll() is None and broker.pid == pid, f"seed {seed}: the broker ended"
    with raw.Connection(broker) as connection:
        first = connection.read_all("spoilt")[0]
        # The broker writes the leader epoch into a batch; what the CRC covers is as it was sent.
        assert first[0] == 0 and first[1][17:] == good[17:], f"seed {seed}: the first batch has changed"


def test_garbage(env):
    rng = random.Random(5)
    broker = env.broker()
    with grows_less_than(broker, 32 * MIB):
        for _ in range(1000):
            with raw.Connection(broker) as connection:
                with contextlib.suppress(OSError):
                    connection.socket.sendall(rng.randbytes(rng.choice((1, 3, 4, 5, 20, 300, 70000))))
        answers_soon(broker, 5)


def test_bomb(env):
    """A batch of some hundred kilobytes that unpacks to 300 MiB."""
    broker = env.broker()
    with raw.Connection(broker, timeout_s=60) as connection:
        connection.create_topic("bomb")
        bomb = raw.batch(raw.record(0, bytes(300 * MIB)), 1, raw.GZIP)
        assert len(bomb) < MIB
        with grows_less_than(broker, 64 * MIB):
            with contextlib.suppress(raw.Failed, ConnectionError):
                connection.produce("bomb", bomb)
        answers_soon(broker)
    with raw.Connection(broker) as connection:
        connection.produce("bomb", raw.values_batch([b"after"]))


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of its own; gives whether it could be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()) == 0
    try:
        yield mounted
    finally:
        if mounted:
            MNT_DETACH = 2
            libc.umount2(str(folder).encode(), MNT_DETACH)


def fill(connection, topic, packed):
    """Writes until it is refused; (offsets that were acknowledged, the error code)."""
    offsets = []
    while len(offsets) < 10000:
        try:
            offsets.append(connection.produce(topic, packed))
        except raw.Failed as refused:
            return offsets, refused.code
    raise AssertionError("the disk did not fill up")


def test_full_disk(env):
    """Produce is refused with a storage error, reads go on, and it heals when there is space again."""
    if env.broker_kind == "kafka":
        return skipped("Apache Kafka ends when its only log folder has failed")
    with small_disk(env.tmp / "disk", 64 * MIB) as mounted:
        if not mounted:
            return skipped("may not mount a small file system")
        ballast = env.tmp / "disk" / "ballast"
        broker = env.broker(config={"log.dirs": str(env.tmp / "disk" / "data")})
        with raw.Connection(broker) as connection:
            connection.create_topic("full", config={"segment.bytes": "8388608"})
            packed = raw.values_batch([bytes(range(256)) * 200])
            offsets = [connection.produce("full", packed)]
            free = os.statvfs(env.tmp / "disk")
            ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 4 * MIB)))
            more, code = fill(connection, "full", packed)
            offsets += more
            assert code == 56, f"a full disk is answered with error {code}, not 56, KAFKA_STORAGE_ERROR"
            assert [base for base, _ in connection.read_all("full")] == offsets
            _, again = fill(connection, "full", packed)
            assert again == 56
            ballast.unlink()
            deadline = time.monotonic() + 15
            healed = None
            while healed is None and time.monotonic() < deadline:
                try:
                    healed = connection.produce("full", packed)
                except raw.Failed:
                    time.sleep(0.2)
            assert healed is not None, "still refused 15 s after there was space again"
            bases = [base for base, _ in connection.read_all("full")]
            assert bases == list(range(len(bases))) and bases[:len(offsets)] == offsets
        broker.restart()
        with raw.Connection(broker) as connection:
            assert [base for base, _ in connection.read_all("full")] == bases
        broker.kill()


def commit(broker, group, offset):
    """One offset with much metadata, of no member; the error code."""
    body = raw.string(group) + struct.pack(">i", -1) + raw.string("") + struct.pack(">qi", -1, 1) + raw.string("full")
    body += struct.pack(">iiq", 1, 0, offset) + raw.string("m" * 4000)
    wire.request((broker.host, broker.port), FIND_COORDINATOR, 0, raw.string(group))
    return struct.unpack(">h", wire.request((broker.host, broker.port), OFFSET_COMMIT, 2, body)[-2:])[0]


def until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return met


def test_full_disk_for_groups(env):
    """Commits are refused, which the log says once, and go on when there is space again, which it says, too."""
    if env.broker_kind == "kafka":
        return skipped("Apache Kafka ends when its only log folder has failed")
    with small_disk(env.tmp / "disk", 64 * MIB) as mounted:
        if not mounted:
            return skipped("may not mount a small file system")
        ballast = env.tmp / "disk" / "ballast"
        broker = env.broker(config={"log.dirs": str(env.tmp / "disk" / "data"), "offsets.topic.segment.bytes": "1048576"})
        with raw.Connection(broker) as connection:
            connection.create_topic("full")
        assert until(10, lambda: commit(broker, "g", 0) == 0), "the first commit is refused"
        free = os.statvfs(env.tmp / "disk")
        ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - MIB)))
        codes = [commit(broker, "g", i) for i in range(1, 2000)]
        assert codes.count(0) < len(codes) - 100, "the disk did not fill up"
        assert set(codes) <= {0, 14, 16}, set(codes)  # loading, or another one's: a client tries again
        ballast.unlink()
        assert until(15, lambda: commit(broker, "g", 2000) == 0), "still refused 15 s after there was space again"
        said = broker.log_path.read_text()
        for words in ("its disk is full: commits and rebalances", "is written again"):
            assert said.count(words) == 1, f"{said.count(words)} lines say {words}:\n{broker.log_tail(30)}"
        broker.kill()


def tree(folder):
    """Every path below, with what a change to it would change."""
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
            for path in sorted(folder.rglob("*")) if path.name != ".lock"}


def refused(broker, *words):
    """The start fails, and its words say why."""
    try:
        broker.start()
    except brokers.BrokerFailed:
        said = broker.log_tail()
        missing = [word for word in words if word not in said]
        assert not missing, f"the refusal does not say {', '.join(missing)}:\n{said}"
        return
    broker.kill()
    raise AssertionError("the broker started")


def unstarted(env, name, **options):
    broker = brokers.KINDS[env.broker_kind](env.tmp / name, env.port(2), **options)
    env.own.append(broker)
    return broker


# Folders that no broker of ours left so (test_guard.py has those that one did).
FOREIGN = {
    "empty meta.properties": {"meta.properties": ""},
    "topics and no meta.properties": {"orders-0/00000000000000000000.log": "", "recovery-point-offset-checkpoint": "0\n0\n"},
}


def test_foreign_folders(env):
    if env.broker_kind == "kafka":
        return skipped("Apache Kafka's folders are formatted by its own tool")
    for name, files in FOREIGN.items():
        broker = unstarted(env, name.replace(" ", "-"))
        for path, text in files.items():
            target = broker.data / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        before = tree(broker.data)
        try:
            refused(broker, str(broker.data))
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}") from failure
        assert tree(broker.data) == before, f"{name}: the folder was refused, and changed"


BAD_CONFIGS = [
    ("num.partitions", "three"),
    ("num.partitions", "0"),
    ("socket.request.max.bytes", "99999999999999999999"),
    ("auto.create.topics.enable", "maybe"),
    ("log.retention.ms", "1h"),
    ("listeners", "PLAINTEXT:/localhost"),
    ("listeners", "PLAINTEXT://127.0.0.1:99999"),
    ("log.cleanup.policy", "shred"),
    ("compression.type", "rar"),
    ("node.id", "-5"),
]


def test_bad_configs(env):
    if env.broker_kind == "kafka":
        return skipped("Apache Kafka does not name the line")
    for i, (key, value) in enumerate(BAD_CONFIGS):
        broker = unstarted(env, f"config{i}", config={key: value})
        line = list(broker.config).index(key) + 1
        began = time.monotonic()
        try:
            refused(broker, f"server.properties:{line}", key, value)
        except AssertionError as failure:
            raise AssertionError(f"{key}={value}: {failure}") from failure
        assert time.monotonic() - began < 5, f"{key}={value}: the refusal took its time"
        assert not broker.data.exists(), f"{key}={value}: a folder was made before the file was read"


@runner.timeout(30)
def test_missing_config_file(env):
    if env.broker_kind == "kafka":
        return skipped("Apache Kafka's words are its own")
    broker = unstarted(env, "nothing")
    broker.write_properties = lambda: broker.folder / "absent.properties"
    refused(broker, "absent.properties")
