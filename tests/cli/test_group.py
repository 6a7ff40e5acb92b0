"""taffrail group: lists, describes, judges, seeks and deletes groups, of old and of new protocol.

Runs against either broker: the command line is a client of both.
"""

import contextlib
import json
import os
import pathlib
import pty
import signal
import subprocess
import time

from test_cli import INTERRUPTED, NOT_FOUND, OK, REFUSED, UNREACHABLE, USAGE, Cli
from lib import paths, runner

HERE = pathlib.Path(__file__).resolve().parent
STICKY = ("-X", "partition.assignment.strategy=cooperative-sticky")  # who has a partition keeps it


class Consumer:
    """A member of a group in a process of its own; `protocol` is classic or consumer."""

    def __init__(self, broker, group, topic, protocol="classic", pause_s=0, client="member"):
        python = paths.clients_home() / "python" / "bin" / "python"
        self.process = subprocess.Popen(
            [python, "-B", HERE / "consumer.py", broker.bootstrap, group, topic, protocol, str(pause_s), client],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "assigned\n"

    def wait_read(self, count):
        for _ in range(count):
            assert self.process.stdout.readline() == "read\n"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextlib.contextmanager
def member(*args, **options):
    consumer = Consumer(*args, **options)
    try:
        yield consumer
    finally:
        consumer.process.kill()
        consumer.process.wait()


def until(look, timeout_s=30):
    """The first true answer."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = look()
        if answer or time.monotonic() > deadline:
            assert answer, "it never came to that"
            return answer
        time.sleep(0.2)


def fill(cli, topic, counts):
    """Records of one partition each, so that ends are known."""
    cli.run("topic", "create", topic, "-p", str(len(counts)))
    for partition, count in enumerate(counts):
        if count:
            cli.run("produce", topic, "-p", str(partition), "-q", stdin=b"".join(b"%d\n" % i for i in range(count)))


def offsets(cli, group):
    [described] = cli.json("group", "describe", group)
    return {(p["topic"], p["partition"]): p["committed_offset"] for p in described["partitions"]}


@runner.timeout(240)
def test_groups_without_members(env):
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    assert cli.json("group", "list") == [] and cli.run("group", "list") == b""
    cli.fails(NOT_FOUND, "there is no group 'nobody'; see which there are", "group", "describe", "nobody")
    fill(cli, "orders", [100, 50, 0])
    fill(cli, "bills", [10])

    # A plan changes nothing.
    plan = cli.json("group", "seek", "mail", "--to", "earliest", "--topic", "orders", "--topic", "bills")
    assert [(p["topic"], p["partition"], p["committed_offset"], p["new_offset"], p["lag"], p["executed"])
            for p in plan] == [("bills", 0, None, 0, 10, False), ("orders", 0, None, 0, 100, False),
                               ("orders", 1, None, 0, 50, False), ("orders", 2, None, 0, 0, False)]
    assert "--execute does it" in cli.said
    assert cli.json("group", "list") == []

    cli.run("group", "seek", "mail", "--to", "10", "-t", "orders:0,1", "--execute")
    assert offsets(cli, "mail") == {("orders", 0): 10, ("orders", 1): 10}
    [listed] = cli.json("group", "list")
    assert (listed["group"], listed["type"], listed["state"], listed["coordinator"]) == ("mail", "classic", "Empty", 1)
    assert cli.run("group", "list", "--names") == b"mail\n"
    assert cli.json("group", "list", "--state", "Stable") == [] and cli.json("group", "list", "--type", "consumer") == []
    assert len(cli.json("group", "list", "--state", "Stable,Empty", "--type", "classic")) == 1

    [described] = cli.json("group", "describe", "mail")
    assert described["lag"] == 130 and 0 <= described["lag_seconds"] < 120 and described["members"] == []
    for partition in described["partitions"]:
        assert partition["lag"] == partition["end_offset"] - 10 and partition["begin_offset"] == 0
        assert partition["consumer_id"] is None
    text = cli.run("group", "describe", "mail").decode().splitlines()
    assert "  unread       130 records in 2 partitions, the oldest " in "\n".join(text)
    assert text[-3].split() == ["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "SECONDS",
                                "CONSUMER-ID", "HOST", "CLIENT-ID"]
    assert text[-2].split()[:6] == ["mail", "orders", "0", "10", "100", "90"]
    cli.fails(NOT_FOUND, "did you mean 'mail'?", "group", "describe", "mial")

    # Every way to seek.
    def seek(*words):
        cli.run("group", "seek", "mail", *words, "--execute")
        remarks.append(cli.said)
        return offsets(cli, "mail")

    remarks = []
    assert seek("--shift", "30") == {("orders", 0): 40, ("orders", 1): 40}
    assert seek("--shift", "30") == {("orders", 0): 70, ("orders", 1): 50}
    assert "orders-1: 70 is outside of the log; 50 is taken" in remarks[-1]
    assert seek("--shift", "-1000") == {("orders", 0): 0, ("orders", 1): 0}
    assert seek("--to", "latest") == {("orders", 0): 100, ("orders", 1): 50}
    assert seek("--to", "-5") == {("orders", 0): 95, ("orders", 1): 45}
    assert seek("--to", "-1h") == {("orders", 0): 0, ("orders", 1): 0}
    assert seek("--to", "2100-01-01") == {("orders", 0): 100, ("orders", 1): 50}
    assert seek("--to", "@0") == {("orders", 0): 0, ("orders", 1): 0}
    plan = env.tmp / "offsets.csv"
    plan.write_text("# a remark\n\"orders\",0,7\r\norders, 1, 8\nmail,bills,0,9\nother,bills,0,1\n")
    assert seek("--file", str(plan)) == {("orders", 0): 7, ("orders", 1): 8, ("bills", 0): 9}
    exported = cli.run("group", "seek", "mail", "--export")
    assert exported == b"bills,0,9\norders,0,7\norders,1,8\n"
    plan.write_bytes(exported)
    assert seek("--shift", "1") != seek("--file", str(plan)) == {("bills", 0): 9, ("orders", 0): 7, ("orders", 1): 8}

    # Offsets of a topic, then the group.
    assert cli.run("group", "delete", "mail", "--topic", "bills") == b"deleted mail\n"
    assert offsets(cli, "mail") == {("orders", 0): 7, ("orders", 1): 8}
    cli.fails(NOT_FOUND, "group 'mail' has no offsets of topic 'bills'", "group", "delete", "mail", "--topic", "bills")
    assert cli.json("group", "delete", "mail") == [{"group": "mail", "deleted": True}]
    cli.fails(NOT_FOUND, "there is no group 'mail'", "group", "delete", "mail")
    assert cli.json("group", "delete", "mail", "--if-exists") == [{"group": "mail", "deleted": False}]


def test_wrong_words(env):
    cli = Cli(env.shared().bootstrap)
    for words, text in [
            (["seek", "g"], "say where to"),
            (["seek", "g", "--to", "end", "--shift", "1"], "only one of"),
            (["seek", "g", "--to", "tomorrow"], "beginning, end"),
            (["seek", "g", "--file", "/dev/null", "--topic", "t"], "no --topic with --file"),
            (["seek", "g", "--to", "end", "--export", "--execute"], "--export only prints"),
            (["seek"], "GROUP"),
            (["describe"], "GROUP"),
            (["list", "--state", "Happy"], "Happy"),
            (["lag", "--by", "colour"], "group, topic"),
            (["lgg"], "lag")]:
        cli.fails(USAGE, text, "group", *words)
    lonely = Cli("127.0.0.1:1")
    for words in (["list"], ["describe", "g"], ["lag"], ["seek", "g", "--to", "end"], ["delete", "g"]):
        lonely.fails(UNREACHABLE, "no broker answers", "group", *words)


def test_bad_files(env):
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    fill(cli, "orders", [5])
    path = env.tmp / "bad.csv"
    for content, code, text in [
            ("orders,0\n", USAGE, "bad.csv:1: not a TOPIC,PARTITION,OFFSET"),
            ("orders,0,1\norders,x,1\n", USAGE, "bad.csv:2: not a"),
            ("orders,0,-1\n", USAGE, "bad.csv:1: not a"),
            ("g,orders,0,1,9\n", USAGE, "bad.csv:1: not a"),
            ("orders,0,1\norders,0,2\n", USAGE, "orders-0 is named twice"),
            ("orders,1,1\n", NOT_FOUND, "orders-1 does not exist"),
            ("nothing,0,1\n", NOT_FOUND, "nothing-0 does not exist"),
            ("", NOT_FOUND, "has no offsets")]:
        path.write_text(content)
        cli.fails(code, text, "group", "seek", "g", "--file", str(path), "--execute")
    cli.fails(USAGE, "/nonexistent cannot be read", "group", "seek", "g", "--file", "/nonexistent")
    cli.fails(NOT_FOUND, "there is no topic 'odrers'", "group", "seek", "g", "--to", "end", "--topic", "odrers")
    cli.fails(USAGE, "'x' is no partition", "group", "seek", "g", "--to", "end", "--topic", "orders:0,x")
    cli.fails(NOT_FOUND, "there is no group 'g'", "group", "seek", "g", "--to", "end")
    assert cli.json("group", "list") == []


def check_members(env, broker, protocol):
    cli = Cli(broker.bootstrap)
    group = f"{protocol}-readers"
    topic = f"{protocol}-orders"
    fill(cli, topic, [20, 20])
    with member(broker, group, topic, protocol, client="alice") as alice:
        alice.wait_read(40)
        described = until(lambda: [g for g in cli.json("group", "describe", group) if g["lag"] == 0])[0]
        assert (described["type"], described["state"], described["protocol"]) == (protocol, "Stable", "consumer")
        [one] = described["members"]
        assert one["client_id"] == "alice" and one["host"].endswith("127.0.0.1")
        assert one["assignment"] == [{"topic": topic, "partitions": [0, 1]}]
        assert ("epoch" in one) == (protocol == "consumer")
        assert {p["consumer_id"] for p in described["partitions"]} == {one["consumer_id"]}
        lines = cli.run("group", "describe", "--members", group).decode().splitlines()
        assert lines[-1].split() == [group, one["consumer_id"], "-", one["host"], "alice", "2", f"{topic}(0,1)"]
        [row] = cli.json("group", "lag", group)
        assert (row["verdict"], row["lag"], row["lag_seconds"]) == ("ok", 0, 0)

        cli.fails(REFUSED, "has members; offsets can be set once they have stopped", "group", "seek", group, "--to",
                  "0", "--execute")
        cli.run("group", "seek", group, "--to", "0")
        assert "must have stopped by then" in cli.said
        cli.fails(REFUSED, "has members; stop them first", "group", "delete", group)
        assert offsets(cli, group) == {(topic, 0): 20, (topic, 1): 20}
        alice.stop()
    until(lambda: cli.json("group", "describe", group)[0]["state"] == "Empty")
    cli.run("group", "seek", group, "--to", "5", "--execute")
    rows = cli.json("group", "lag", group, "--by", "partition", "--window", "0s")
    assert [(r["partition"], r["verdict"], r["lag"]) for r in rows] == [(0, "stopped", 15), (1, "stopped", 15)]
    assert all("no member reads it" in r["reason"] and r["lag_seconds"] > 0 for r in rows)
    cli.run("group", "delete", group)


@runner.timeout(240)
def test_classic_members(env):
    check_members(env, env.broker(), "classic")


@runner.timeout(240)
def test_consumer_protocol_members(env):
    check_members(env, env.broker(), "consumer")


@runner.timeout(240)
def test_seconds(env):
    """The age is that of the record at the committed offset, inside of a compressed batch, too."""
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    cli.run("topic", "create", "old", "-p", "2")
    now_ms = int(time.time() * 1000)
    for codec, partition in (("none", 0), ("gzip", 1)):
        lines = "".join(json.dumps({"value": "x" * 50, "timestamp": now_ms - (100 - i) * 60000}) + "\n" for i in range(100))
        cli.run("produce", "old", "-p", str(partition), "-i", "json", "-z", codec, "-q", stdin=lines.encode())
    for offset in (0, 1, 40, 99):
        cli.run("group", "seek", "g", "--to", str(offset), "--topic", "old", "--execute")
        [described] = cli.json("group", "describe", "g")
        for partition in described["partitions"]:
            age_s = partition["lag_seconds"]
            assert abs(age_s - (100 - offset) * 60) < 60, (partition, offset)
    cli.run("group", "seek", "g", "--to", "end", "--execute")
    assert cli.json("group", "describe", "g")[0]["lag_seconds"] == 0
    # What was deleted cannot be read any more: the oldest that is left counts.
    cli.run("group", "seek", "g", "--to", "0", "--execute")
    subprocess.run([paths.clients_home() / "python" / "bin" / "python", "-B", HERE / "consumer.py", broker.bootstrap,
                    "--delete-records", "old", "0", "50"], check=True)
    partitions = cli.json("group", "describe", "g")[0]["partitions"]
    assert partitions[0]["begin_offset"] == 50 and abs(partitions[0]["lag_seconds"] - 50 * 60) < 60
    [row] = [r for r in cli.json("group", "lag", "g", "--by", "partition", "--window", "0s") if r["partition"] == 0]
    assert "50 records were deleted before they were read" in row["reason"]


@runner.timeout(240)
def test_verdicts(env):
    """A slow reader is behind, one that hangs is stalled, one that went back is rewound."""
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    fill(cli, "orders", [1000])
    time.sleep(10)  # records are old after 10 s
    with member(broker, "slow", "orders", pause_s=0.05) as slow:
        slow.wait_read(30)
        [row] = cli.json("group", "lag", "slow", "--window", "5s")
        assert row["verdict"] == "behind" and row["read_per_second"] > 0, row
        assert "catches up" in row["reason"] and row["written_per_second"] == 0, row
        slow.process.send_signal(signal.SIGSTOP)  # still a member until its session ends
        [row] = cli.json("group", "lag", "slow", "--window", "12s")
        slow.process.send_signal(signal.SIGCONT)
        assert row["verdict"] == "stalled" and "no step for" in row["reason"], row
    cli.run("group", "seek", "back", "--to", "end", "--topic", "orders", "--execute")
    watch = cli.start("group", "lag", "back", "--watch", "--interval", "200ms", "--format", "json")
    assert json.loads(watch.stdout.readline())[0]["verdict"] == "ok"
    cli.run("group", "seek", "back", "--shift", "-400", "--execute")
    verdicts = until(lambda: [row for row in json.loads(watch.stdout.readline()) if row["verdict"] != "ok"])
    assert (verdicts[0]["verdict"], verdicts[0]["lag"]) == ("rewound", 400), verdicts
    assert "went back by 400" in verdicts[0]["reason"]
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=10)
    assert watch.returncode == INTERRUPTED


def test_watch_on_a_terminal(env):
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    fill(cli, "orders", [10])
    cli.run("group", "seek", "g", "--to", "4", "--topic", "orders", "--execute")
    master, slave = pty.openpty()
    process = subprocess.Popen([paths.TAFFRAIL, "group", "lag", "-w", "-n", "3", "--interval", "50ms"], env=cli.env,
                               stdout=slave)
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):  # a terminal whose other side is closed
        while chunk := os.read(master, 4096):
            said += chunk
    os.close(master)
    assert process.wait(30) == OK
    screens = said.decode().split("\x1b[H\x1b[2J")
    assert len(screens) == 4 and "TREND" in screens[1] and "███" in screens[3] and "stopped" in screens[3]


@runner.timeout(240)
def test_consume_in_a_group(env):
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    fill(cli, "read", [300, 200, 0])
    want = sorted([b"%d" % i for i in range(300)] + [b"%d" % i for i in range(200)])
    first = cli.run("consume", "read", "-g", "one", "-n", "120").split()
    assert len(first) == 120 and sum(p or 0 for p in offsets(cli, "one").values()) == 120
    rest = cli.run("consume", "read", "-g", "one").split()
    assert sorted(first + rest) == want
    assert cli.run("consume", "read", "-g", "one") == b""
    assert cli.json("consume", "read", "-g", "two", "-q")["records"] == 500
    assert cli.run("consume", "read", "-g", "three", "--from", "end") == b""
    cli.run("produce", "read", "-p", "1", stdin=b"new\n")
    assert cli.run("consume", "read", "-g", "one", "--print", "partition,value") == b"1\tnew\n"

    cli.fails(USAGE, "exclude each other", "consume", "read", "-g", "one", "--to", "5")
    cli.fails(USAGE, "exclude each other", "consume", "read", "-g", "one", "-p", "1")
    cli.fails(USAGE, "beginning or end", "consume", "read", "-g", "one", "--from", "5")
    cli.fails(USAGE, "needs a name", "consume", "read", "-g", "")
    cli.fails(NOT_FOUND, "there is no topic", "consume", "raed", "-g", "one")

    # Two members share the partitions; the one that goes leaves its own, with what it has read, to the other.
    followers = [cli.start("consume", "read", "-g", "one", "-f", "--print", "partition,value") for _ in range(2)]
    until(lambda: len({p["consumer_id"] for p in cli.json("group", "describe", "one")[0]["partitions"]} - {None}) == 2)
    for partition in range(3):
        cli.run("produce", "read", "-p", str(partition), stdin=b"a\nb\n")
    until(lambda: sum(p["lag"] or 0 for p in cli.json("group", "describe", "one")[0]["partitions"]) == 0)
    followers[0].send_signal(signal.SIGINT)
    assert followers[0].wait(30) == OK
    for partition in range(3):
        cli.run("produce", "read", "-p", str(partition), stdin=b"c\n")
    until(lambda: sum(p["lag"] or 0 for p in cli.json("group", "describe", "one")[0]["partitions"]) == 0)
    followers[1].send_signal(signal.SIGINT)
    lines = followers[0].stdout.read() + followers[1].communicate(timeout=30)[0]
    assert followers[1].returncode == OK
    assert sorted(lines.split(b"\n")[:-1]) == sorted(b"%d\t%s" % (p, v) for p in range(3) for v in (b"a", b"b", b"c"))
    # A member without a partition says so.
    cli.run("topic", "create", "single")
    follower = cli.start("consume", "single", "-g", "single", "-f", *STICKY)
    try:
        until(lambda: any(g["group"] == "single" for g in cli.json("group", "list", "--state", "Stable")))
        cli.fails(UNREACHABLE, "no partition of 'single'", "consume", "single", "-g", "single", "--timeout", "2s",
                  *STICKY)
    finally:
        follower.kill()
        follower.communicate()


@runner.timeout(120)
def test_consume_commits_while_it_is_busy(env):
    """What has left is committed while there is always more to print; what has not is printed again."""
    broker = env.broker()
    cli = Cli(broker.bootstrap)
    cli.run("topic", "create", "busy")
    cli.run("produce", "busy", "-q", stdin=b"0123456789abcdef\n" * 600_000)
    reader = cli.start("consume", "busy", "-g", "busy", "--follow", "--from", "beginning")
    try:
        taken = len(reader.stdout.read(17 * 50_000))
        until(lambda: offsets(cli, "busy").get(("busy", 0)) if cli.json("group", "list") else None, 15)
    finally:
        reader.kill()
    taken += len(reader.communicate()[0])
    committed = offsets(cli, "busy")[("busy", 0)]
    assert 0 < committed <= taken // 17, (committed, taken // 17)
