"""The command line against a real broker: what it prints, what it exits with, what it leaves alone.

Runs against either broker: the command line is a client of both.
"""

import base64
import hashlib
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time

from lib import paths

OK, REFUSED, USAGE, UNREACHABLE, NOT_FOUND, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Cli:
    def __init__(self, bootstrap):
        self.env = {**os.environ, "TAFFRAIL_BOOTSTRAP": bootstrap}
        self.env.pop("TAFFRAIL_FORMAT", None)

    def start(self, *words, **options):
        return subprocess.Popen([paths.TAFFRAIL, *words], env=self.env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def run(self, *words, stdin=b"", code=OK):
        """Standard output as bytes; the exit code must be `code`. Errors are in self.said."""
        done = subprocess.run([paths.TAFFRAIL, *words], env=self.env, input=stdin, capture_output=True, timeout=90)
        self.said = done.stderr.decode()
        assert done.returncode == code, \
            f"taffrail {' '.join(map(str, words))}: exit {done.returncode}, not {code}\n{done.stdout[-500:]}\n{self.said}"
        return done.stdout

    def json(self, *words, **options):
        return json.loads(self.run(*words, "--format", "json", **options))

    def records(self, *words):
        return [json.loads(line) for line in self.run("consume", *words, "--format", "json").splitlines()]

    def fails(self, code, text, *words, stdin=b""):
        self.run(*words, stdin=stdin, code=code)
        assert text in self.said, f"taffrail {' '.join(words)} does not say '{text}':\n{self.said}"
        lines = self.said.rstrip("\n").split("\n")
        assert len(lines) <= 2 and self.said.startswith("taffrail: "), self.said


def topic(cli, name, *options):
    cli.run("topic", "create", name, *options)
    return name


def test_topics(env):
    cli = Cli(env.shared().bootstrap)
    assert cli.run("topic", "create", "cli-a", "cli-b", "-p", "3", "-r", "1", "-c", "retention.ms=3600000") \
        == b"created cli-a\ncreated cli-b\n"
    cli.fails(REFUSED, "exists", "topic", "create", "cli-a")
    assert cli.json("topic", "create", "cli-a", "--if-not-exists") == [{"topic": "cli-a", "created": False}]
    cli.run("topic", "create", "cli-c", "--validate-only")
    cli.fails(REFUSED, "letters, digits", "topic", "create", "no/slash")
    cli.fails(REFUSED, "cluster info", "topic", "create", "cli-d", "-r", "3")
    names = cli.run("topic", "list", "--names").decode().split()
    assert {"cli-a", "cli-b"} <= set(names) and "cli-c" not in names and names == sorted(names)
    assert {"topic": "cli-a", "partitions": 3, "replication_factor": 1, "internal": False} in cli.json("topic", "list")

    [described] = cli.json("topic", "describe", "cli-a")
    assert described["replication_factor"] == 1 and len(described["id"]) == 22 and not described["internal"]
    assert {"key": "retention.ms", "value": "3600000", "source": "topic"} in described["configs"]
    assert [p["partition"] for p in described["partitions"]] == [0, 1, 2]
    assert all(p["leader"] == 1 and p["replicas"] == [1] and p["isr"] == [1] and p["end_offset"] == 0
               and p["size_bytes"] == 0 for p in described["partitions"])
    assert b"PARTITION" in cli.run("topic", "describe", "cli-a", "cli-b")

    cli.run("topic", "alter", "cli-a", "-p", "5", "-c", "retention.ms=5000", "--unset", "cleanup.policy")
    [described] = cli.json("topic", "describe", "cli-a")
    assert len(described["partitions"]) == 5
    assert {"key": "retention.ms", "value": "5000", "source": "topic"} in described["configs"]
    cli.fails(REFUSED, "cli-a", "topic", "alter", "cli-a", "-p", "2")

    cli.fails(NOT_FOUND, "did you mean 'cli-b'?", "topic", "describe", "cli-bb")
    cli.fails(NOT_FOUND, "did you mean 'cli-b'?", "topic", "delete", "clib")
    assert cli.json("topic", "delete", "cli-a") == [{"topic": "cli-a", "deleted": True}]
    cli.run("topic", "delete", "cli-a", "--if-exists")
    assert "cli-a" not in cli.run("topic", "list", "--names").decode().split()


def test_many_partitions(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-wide", "-p", "300")
    deadline = time.monotonic() + 20
    while True:
        [described] = cli.json("topic", "describe", name)
        if all(p["end_offset"] == 0 for p in described["partitions"]):
            break
        assert time.monotonic() < deadline, described  # leaders begin to serve soon after the creation
        time.sleep(0.1)
    assert [p["partition"] for p in described["partitions"]] == list(range(300))
    cli.run("topic", "delete", name)


def test_lines_keys_headers(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-lines", "-p", "2")
    cli.run("produce", name, "-K", ":", "-H", "source=test", "-H", "empty=", "-p", "1",
            stdin=b"a:one\nb:two:three\nno key\nd:\nlast without newline")
    assert "5 records" in cli.said
    read = cli.records(name)
    assert [(r["key"], r["value"]) for r in read] == \
        [("a", "one"), ("b", "two:three"), (None, "no key"), ("d", ""), (None, "last without newline")]
    assert all(r["partition"] == 1 and r["headers"] == [{"key": "source", "value": "test"},
               {"key": "empty", "value": ""}] and r["timestamp_type"] == "create" for r in read)
    assert [r["offset"] for r in read] == [0, 1, 2, 3, 4]
    line = cli.run("consume", name, "-p", "1", "-n", "1", "--separator", "|",
                   "--print", "partition,offset,key,headers,size,value")
    assert line == b"1|0|a|source=test,empty=|4|one\n"
    assert cli.run("consume", name, "-p", "0") == b""
    cli.run("produce", name, "--empty-as-null", "-k", "gone", "-p", "0", "-q", stdin=b"\n")
    assert cli.said == ""
    [tombstone] = cli.records(name, "-p", "0")
    assert tombstone["key"] == "gone" and tombstone["value"] is None
    cli.fails(NOT_FOUND, "it has 2", "produce", name, "-p", "7", stdin=b"x\n")
    cli.fails(NOT_FOUND, "it has 2", "consume", name, "-p", "7")


def test_json_copies_a_topic(env):
    cli = Cli(env.shared().bootstrap)
    name, copy = topic(cli, "cli-json"), topic(cli, "cli-json-copy")
    blob = bytes(range(256))
    lines = [
        {"key": "k", "value": "text \u20ac \"\\ \n", "headers": {"h": "x"}, "timestamp": 1767225600000},
        {"key": None, "value": None, "partition": 0},
        {"value": {"nested": [1, 2]}, "timestamp": "2026-01-01T00:00:01Z"},
        {"key_base64": base64.b64encode(blob).decode(), "value_base64": base64.b64encode(b"\xff").decode(),
         "headers": [{"key": "b", "value_base64": base64.b64encode(b"\xfe").decode()}, {"key": "n", "value": None}]},
    ]
    cli.run("produce", name, "--input", "json", stdin="\n".join(map(json.dumps, lines)).encode() + b"\n\n")
    printed = cli.run("consume", name, "--format", "json")
    cli.run("produce", copy, "-i", "json", stdin=printed)
    strip = lambda text: [{k: v for k, v in json.loads(line).items() if k != "topic"} for line in text.splitlines()]
    assert strip(printed) == strip(cli.run("consume", copy, "--format", "json"))
    read = strip(printed)
    assert read[0]["value"] == lines[0]["value"] and read[0]["timestamp"] == 1767225600000
    assert read[1]["key"] is None and read[1]["value"] is None
    assert read[2]["value"] == '{"nested":[1,2]}' and read[2]["timestamp"] == 1767225601000
    assert base64.b64decode(read[3]["key_base64"]) == blob

    for bad, text in [(b"nonsense", "line 1 of the input: not JSON"), (b'{"a":1}\n', 'unknown field "a"'),
                      (b'{"value":"ok"}\n{"vaLue":1}', 'line 2 of the input: unknown field "vaLue"; did you mean "value"?'),
                      (b'{"partition":99}', "has no partition 99")]:
        code = NOT_FOUND if b"99" in bad else USAGE
        cli.run("produce", copy, "-q", "-i", "json", stdin=bad, code=code)
        assert text in cli.said, cli.said


def test_positions(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-positions", "-p", "2", "-c", "retention.ms=-1")
    begin_ms = 1767225600000  # 2026-01-01T00:00Z; a record a minute, in both partitions
    lines = [json.dumps({"value": str(i), "partition": p, "timestamp": begin_ms + i * 60000})
             for i in range(100) for p in (0, 1)]
    cli.run("produce", name, "-i", "json", stdin="\n".join(lines).encode())

    def values(*words):
        return [int(v) for v in cli.run("consume", name, "-p", "1", *words).split()]

    assert values() == list(range(100))
    assert values("--from", "90") == list(range(90, 100))
    assert values("--from", "10", "--to", "20") == list(range(10, 20))
    assert values("-10") == values("--from", "-10") == list(range(90, 100))
    assert values("--to", "-95") == list(range(5))
    assert values("-n", "3") == [0, 1, 2]
    assert values("--from", "end") == []
    assert values("--from", "2026-01-01T00:10", "--to", "2026-01-01T00:20") == list(range(10, 20))
    assert values("--from", "2026-01-01T01:30:00.001+01:00") == list(range(31, 100))
    assert values("--from", f"@{begin_ms + 98 * 60000}") == [98, 99]
    assert values("--from", "2027-01-01") == []
    assert values("--to", "2025-01-01") == []
    assert values("--from", "-36500d") == list(range(100))
    assert len(cli.run("consume", name, "-5").split()) == 10
    assert cli.json("consume", name, "--quiet")["records"] == 200
    values("--from", "5000")
    assert "partition 1 ends at offset 100" in cli.said
    cli.fails(USAGE, "not after", "consume", name, "--from", "2026-01-02", "--to", "2026-01-01")
    cli.fails(USAGE, "--follow has no end", "consume", name, "--to", "5", "-f")
    cli.fails(USAGE, "given twice", "consume", name, "-p", "1", "-p", "1")


def test_each_compression_carries_a_file(env):
    cli = Cli(env.shared().bootstrap)
    data = (paths.REPO / "LICENSE").read_bytes() + (paths.REPO / "meson.build").read_bytes()
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        name = topic(cli, f"cli-codec-{codec}")
        cli.run("produce", name, "-z", codec, stdin=data)
        assert hashlib.sha256(cli.run("consume", name)).digest() == hashlib.sha256(data).digest(), codec
    big = b"x" * (1 << 20) + b"\n"
    name = topic(cli, "cli-big", "-c", "max.message.bytes=2000000")
    cli.run("produce", name, "-X", "message.max.bytes=2000000", stdin=big)
    assert cli.run("consume", name) == big
    for acks in ["0", "1", "all"]:
        cli.run("produce", name, "--acks", acks, stdin=b"acks\n")
    assert cli.json("consume", name, "-q")["records"] in (3, 4)  # acks=0 may still be on its way


def test_follow_and_interrupts(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-follow")
    cli.run("produce", name, stdin=b"before\n")
    follower = cli.start("consume", name, "-f")
    time.sleep(1.0)
    cli.run("produce", name, stdin=b"after\n")
    assert follower.stdout.readline() == b"after\n"
    follower.send_signal(signal.SIGINT)
    assert follower.wait(10) == OK
    follower = cli.start("consume", name, "-f", "--from", "beginning", "-n", "2")
    assert follower.communicate(timeout=20)[0] == b"before\nafter\n" and follower.returncode == OK

    writer = cli.start("produce", name)
    writer.stdin.write(b"one\ntwo\nhalf a li")
    writer.stdin.flush()
    time.sleep(1.0)
    writer.send_signal(signal.SIGINT)
    assert writer.wait(10) == INTERRUPTED
    assert b"2 records" in writer.stderr.read()
    assert cli.run("consume", name, "-2") == b"one\ntwo\n"


def test_rate(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-rate")
    began = time.monotonic()
    cli.run("produce", name, "--rate", "50", stdin=b"x\n" * 50)
    assert 0.9 < time.monotonic() - began < 20
    assert cli.json("produce", name, stdin=b"x\n" * 3)["records"] == 3


def test_closed_pipe_is_quiet(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-pipe")
    cli.run("produce", name, stdin=b"0123456789\n" * 200000)
    reader = cli.start("consume", name)
    assert reader.stdout.readline() == b"0123456789\n"
    reader.stdout.close()
    assert reader.wait(20) == OK
    assert reader.stderr.read() == b""


def test_progress_only_on_a_terminal(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-progress")
    cli.run("produce", name, "--rate", "100", stdin=b"x\n" * 60)
    assert "\r" not in cli.said
    ours, theirs = pty.openpty()
    writer = subprocess.Popen([paths.TAFFRAIL, "produce", name, "--rate", "100"], env=cli.env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    writer.stdin.write(b"x\n" * 60)
    writer.stdin.close()
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # how Linux says that the other side of a pty is closed
    os.close(ours)
    assert writer.wait(20) == OK
    assert shown.count(b"\r") > 2 and b"records" in shown, shown


def test_escapes_on_a_terminal(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-escape")
    cli.run("produce", name, stdin=b"\x1b[2Jred\xff\n")
    assert cli.run("consume", name) == b"\x1b[2Jred\xff\n"
    assert cli.run("consume", name, "--escape", "always") == b"\\x1b[2Jred\\xff\n"
    ours, theirs = pty.openpty()
    reader = subprocess.Popen([paths.TAFFRAIL, "consume", name], env=cli.env, stdout=theirs,
                              stderr=subprocess.DEVNULL)
    os.close(theirs)
    assert b"\\x1b[2Jred\\xff" in os.read(ours, 4096)
    os.close(ours)
    reader.wait(20)


def test_configs(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-config", "-c", "retention.ms=1000000")
    get = lambda *keys: {c["key"]: (c["value"], c["source"]) for c in cli.json("config", "describe", "topic", name, *keys)}
    assert get()["retention.ms"] == ("1000000", "topic")
    assert "segment.bytes" not in get()
    assert get("segment.bytes")["segment.bytes"] == ("1073741824", "default")
    assert len(get("--all")) > 20
    assert cli.json("config", "describe", "topic", name, "retention.ms", "--docs")[0]["documentation"]
    assert cli.run("config", "set", "topic", name, "retention.ms=2000000", "max.message.bytes=2000000") \
        == f"set topic {name}: retention.ms=2000000\nset topic {name}: max.message.bytes=2000000\n".encode()
    assert get()["retention.ms"] == ("2000000", "topic") and get()["max.message.bytes"] == ("2000000", "topic")
    cli.run("config", "set", "topic", name, "retention.ms=3000000", "--validate-only")
    cli.run("config", "unset", "topic", name, "max.message.bytes")
    assert get()["retention.ms"] == ("2000000", "topic") and "max.message.bytes" not in get()
    cli.fails(NOT_FOUND, "did you mean 'retention.ms'?", "config", "set", "topic", name, "retenton.ms=5")
    cli.fails(NOT_FOUND, "did you mean 'retention.ms'?", "config", "describe", "topic", name, "retention.sm")
    cli.fails(REFUSED, "retention.ms", "config", "set", "topic", name, "retention.ms=never")
    cli.fails(USAGE, "is not KEY=VALUE", "config", "set", "topic", name, "retention.ms")
    cli.fails(NOT_FOUND, "there is no topic", "config", "set", "topic", "cli-nope", "retention.ms=5")
    cli.fails(NOT_FOUND, "there is no broker 77", "config", "describe", "broker", "77")
    cli.fails(USAGE, "named by its id", "config", "describe", "broker", "first")
    cli.fails(USAGE, "KIND is 'topics'", "config", "describe", "topics", name)
    assert {"kind": "topic", "name": name} in cli.json("config", "list", "topic")
    broker = {c["key"]: c for c in cli.json("config", "describe", "broker", "1", "--all")}
    assert broker["node.id"]["value"] == "1" and broker["node.id"]["read_only"]


def test_cluster_info(env):
    cli = Cli(env.shared().bootstrap)
    info = cli.json("cluster", "info")
    assert len(info["cluster_id"]) == 22 and info["controller"] == 1
    [broker] = info["brokers"]
    assert f"{broker['host']}:{broker['port']}" == env.shared().bootstrap and broker["id"] == 1 and not broker["fenced"]
    assert info["quorum"]["leader"] == 1 and info["quorum"]["replicas"][0]["role"] == "leader"
    assert any(f["name"] == "metadata.version" and f["level"] > 0 for f in info["features"])
    [log_dir] = info["log_dirs"]
    assert log_dir["path"] == str(env.shared().data) and log_dir["state"] == "online" and log_dir["disk_bytes"] > 0
    text = cli.run("cluster", "info").decode()
    assert info["cluster_id"] in text and "metadata.version" in text and "LOG FOLDER" in text


def test_producers(env):
    cli = Cli(env.shared().bootstrap)
    name = topic(cli, "cli-producers")
    cli.run("produce", name, stdin=b"a\nb\nc\n")
    [described] = cli.json("topic", "describe", name, "--producers")
    [producer] = described["partitions"][0]["producers"]
    assert producer["last_sequence"] == 2 and producer["producer_id"] >= 0
    assert described["partitions"][0]["end_offset"] == 3 and described["partitions"][0]["size_bytes"] > 60


def test_wrong_usage_and_unreachable(env):
    cli = Cli("127.0.0.1:1")
    cli.fails(UNREACHABLE, "taffrail serve", "topic", "list")
    cli.fails(UNREACHABLE, "no broker answers", "consume", "x")
    cli.fails(UNREACHABLE, "no broker answers", "produce", "x")
    cli.fails(UNREACHABLE, "no broker answers", "cluster", "info", "-b", "nowhere.invalid:9092")
    cli.fails(USAGE, "is not HOST:PORT", "topic", "list", "-b", "host:port")
    cli.fails(USAGE, "did you mean 'topic'?", "topci", "list")
    cli.fails(USAGE, "did you mean 'topic list'?", "topic", "lits")
    cli.fails(USAGE, "did you mean '--follow'?", "consume", "x", "--folow")
    cli.fails(USAGE, "TOPIC is missing", "produce")
    cli.fails(USAGE, "one argument too many", "topic", "list", "x")
    cli.fails(USAGE, "one of: none, gzip", "produce", "x", "-z", "zip")
    cli.run(code=USAGE)
    assert b"Usage" in cli.run("help") and b"consume TOPIC" in cli.run("consume", "--help")
    assert cli.run("--version").startswith(b"taffrail ")
    bound = Cli(env.shared().bootstrap)
    bound.fails(USAGE, "no.such", "produce", "cli-x", "-X", "no.such=1")
    bound.fails(NOT_FOUND, "there is no topic", "consume", "cli-nothing-like-it")


def answer_once(reply):
    """The port of a server that answers the first request with `reply` and closes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server, server.accept()[0] as peer:
            peer.recv(4096)
            peer.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


def test_what_listens_is_no_broker(env):
    for reply, text in [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak Kafka's protocol"),
                        (b"", "closed the connection"),
                        (b"\0\0\0\x05abcde", "cannot be read"),
                        (b"\0\0\0\x00", "does not speak Kafka's protocol"),
                        (b"\0\0\0\x40\0\0\0\x01\0\0" + b"\xff" * 58, "cannot be read"),
                        (b"\0\1\0\0cut", "closed the connection")]:
        code = REFUSED if "read" in text else UNREACHABLE
        Cli(f"127.0.0.1:{answer_once(reply)}").fails(code, text, "cluster", "info")


def test_offline_log(env):
    broker = env.broker(config={"auto.create.topics.enable": "false", "max.request.partition.size.limit": "50"})
    cli = Cli(broker.bootstrap)
    topic(cli, "paged", "-p", "120")
    [described] = cli.json("topic", "describe", "paged")
    assert [p["partition"] for p in described["partitions"]] == list(range(120)), "pages are not put together"
    cli.fails(NOT_FOUND, "taffrail topic create offline", "produce", "offline", stdin=b"x\n")
    topic(cli, "offline", "-p", "1", "-c", "segment.bytes=1048576")
    cli.run("produce", "offline", "-z", "zstd", "-K", ":", stdin=b"".join(b"k%d:value %d\n" % (i, i) for i in range(2000)))
    broker.stop()
    cli = Cli("127.0.0.1:1")  # no broker is asked
    verified = cli.json("log", "verify", broker.data)
    assert verified["problems"] == [] and verified["records"] >= 2000, verified
    lines = [json.loads(line) for line in
             cli.run("log", "dump", "-r", broker.data / "offline-0", "--format", "json").splitlines()]
    batches = [line for line in lines if line["type"] == "batch"]
    records = [line for line in lines if line["type"] == "record"]
    assert len(records) == 2000 and sum(b["count"] for b in batches) == 2000
    assert all(b["crc_valid"] and b["compression"] == "zstd" for b in batches)
    assert base64.b64decode(records[7]["value_base64"]) == b"value 7"
    assert b"k7" in cli.run("log", "dump", "--records", broker.data / "offline-0")
    metadata = [json.loads(line) for line in
                cli.run("log", "dump", "-r", broker.data / "__cluster_metadata-0", "--format", "json").splitlines()]
    assert any(line.get("record") == "TopicRecord" and line["data"]["name"] == "offline" for line in metadata)

    segment = broker.data / "offline-0" / "00000000000000000000.log"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    cli.run("log", "verify", broker.data / "offline-0", code=REFUSED)
    [wrong] = json.loads(cli.run("log", "verify", segment, "--format", "json", code=REFUSED))["problems"]
    assert "checksum" in wrong["problem"] and wrong["file"] == str(segment)
    cli.run("log", "dump", segment, code=REFUSED)
    cli.fails(NOT_FOUND, "No such file", "log", "verify", broker.data / "nothing.log")
