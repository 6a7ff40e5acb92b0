"""Lag as the broker sees it: on the metrics page, and the alerts that hang on it.

The three thresholds are those that companies use: 10 messages, 5 seconds, 10,000 messages.
"""

import contextlib
import http.server
import json
import pathlib
import subprocess
import threading
import time

from lib import brokers, paths, runner
from test_metrics import Endpoint

CONSUMER = paths.REPO / "tests" / "cli" / "consumer.py"


def commit(broker, group, topic, offset, partition=0):
    python = paths.clients_home() / "python" / "bin" / "python"
    subprocess.run([python, "-B", CONSUMER, broker.bootstrap, "--commit", group, topic, str(partition), str(offset)],
                   check=True, timeout=60)


def until(look, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while True:
        answer = look()
        if answer or time.monotonic() > deadline:
            assert answer, "it never came to that"
            return answer
        time.sleep(0.1)


@contextlib.contextmanager
def hook(status=204):
    """An HTTP server that keeps what is posted to it."""
    posts = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            posts.append((self.path, json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?x=1", posts
    finally:
        server.shutdown()


def program(env, name, text):
    path = env.tmp / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def produce(endpoint, topic, count):
    endpoint.cli("produce", topic, "-p", "0", "-q", stdin=b"x\n" * count)


@runner.timeout(180)
def test_three_thresholds(env):
    if env.broker_kind != "taffrail":
        return
    said = env.tmp / "said"
    note = program(env, "note.sh", f'echo "$TAFFRAIL_EVENT $TAFFRAIL_GROUP $TAFFRAIL_MESSAGES $#:$1:$2" >> {said}\n')
    with hook() as (url, posts):
        endpoint = Endpoint(env, **{
            "lag.interval.ms": "200",
            "lag.alert.ten.when": "messages > 10", "lag.alert.ten.pause.ms": "500",
            "lag.alert.ten.group": "order-*", "lag.alert.ten.command": f'{note} "scale up" now',
            "lag.alert.fresh.when": "seconds > 5", "lag.alert.fresh.url": url, "lag.alert.fresh.pause.ms": "500",
            "lag.alert.flood.when": "messages > 10000", "lag.alert.flood.clear": "100", "lag.alert.flood.url": url,
            "lag.alert.flood.pause.ms": "500", "lag.alert.flood.topic": "orders"})
        broker = endpoint.broker
        endpoint.cli("topic", "create", "orders")
        produce(endpoint, "orders", 10)
        commit(broker, "order-mail", "orders", 0)
        commit(broker, "other", "orders", 10)
        time.sleep(1)
        assert not said.exists(), "10 messages are not more than 10"
        produce(endpoint, "orders", 1)
        until(said.exists)
        assert said.read_text() == "begin order-mail 11 2:scale up:now\n"
        path, post = until(lambda: posts and posts[0])
        assert path == "/hook?x=1" and (post["alert"], post["event"], post["group"]) == ("fresh", "begin", "order-mail")
        assert post["messages"] == 11 and 5 < post["seconds"] < 30 and post["threshold"] == 5, post
        assert post["verdict"] == "stopped" and "orders-0: no member reads it" in post["reason"], post

        commit(broker, "other", "orders", 11)
        produce(endpoint, "orders", 10000)
        flood = until(lambda: [p for _, p in posts if p["alert"] == "flood"])
        assert {(p["group"], p["event"]) for p in flood} == {("order-mail", "begin")}, "10,000 are not more than 10,000"
        page = endpoint.page()
        assert page.get("taffrail_lag_alert", alert="flood", consumergroup="order-mail") == 1
        assert page.get("taffrail_lag_alert", alert="ten", consumergroup="other") is None, "its pattern does not match"

        commit(broker, "order-mail", "orders", 10011)
        commit(broker, "other", "orders", 10011)
        until(lambda: sum(p["event"] == "end" for _, p in posts) >= 2)
        until(lambda: len(said.read_text().splitlines()) == 2)
        time.sleep(2)
        assert said.read_text().splitlines()[1].startswith("end order-mail 0 2:scale up:now")
        events = [(p["alert"], p["group"], p["event"]) for _, p in posts]
        assert len(events) == len(set(events)), f"something was told twice: {events}"
        page = endpoint.page()
        assert page.all("taffrail_lag_alert") == {}
        assert page.get("taffrail_lag_alerts_begun_total") == page.get("taffrail_lag_alerts_ended_total") == 3
        assert page.get("taffrail_lag_alert_calls_failed_total") == 0
    log = broker.log_path.read_text()
    assert "alert ten begins: group order-mail has 11 unread" in log and "alert ten ends: group order-mail has 0" in log


def runs(program):
    """Whether a process has it on its command line."""
    for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(program).encode() in line.read_bytes().split(b"\0"):
                return True
    return False


def test_calls_that_fail(env):
    """What is called outside may hang, fail or not be there: the broker serves, says so, and stops soon."""
    if env.broker_kind != "taffrail":
        return
    started = env.tmp / "started"
    with hook(status=500) as (url, _):
        endpoint = Endpoint(env, **{
            "lag.interval.ms": "200",
            "lag.alert.a.when": "messages > 0", "lag.alert.a.command": "/bin/false",
            "lag.alert.b.when": "messages > 0", "lag.alert.b.url": url,
            "lag.alert.c.when": "messages > 0", "lag.alert.c.url": f"http://127.0.0.1:{env.port()}/nobody",
            "lag.alert.d.when": "messages > 0", "lag.alert.d.url": "http://host.invalid/",
            "lag.alert.e.when": "messages > 0",
            "lag.alert.e.command": str(program(env, "hang.sh", f"touch {started}\nsleep 1000\n"))})
        endpoint.cli("topic", "create", "orders")
        produce(endpoint, "orders", 1)
        commit(endpoint.broker, "g", "orders", 0)
        until(lambda: started.exists() and endpoint.page().get("taffrail_lag_alert_calls_failed_total") == 4)
        assert runs(env.tmp / "hang.sh")
        produce(endpoint, "orders", 1)
        assert endpoint.request("/readyz")[0] == 200
        began = time.monotonic()
        assert endpoint.broker.stop() in (0, 143)
        assert time.monotonic() - began < 10, "a program that hangs must not hold up a stop"
    log = endpoint.broker.log_path.read_text()
    for text in ("/bin/false: it ended with status 1", "the answer is status 500", "Connection refused", "host.invalid"):
        assert text in log, text
    assert not runs(env.tmp / "hang.sh"), "the program was left behind"


def test_lag_on_the_page(env):
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env, **{"lag.interval.ms": "200"})
    endpoint.cli("topic", "create", "orders", "-p", "3")
    now_ms = int(time.time() * 1000)
    lines = "".join(json.dumps({"value": "x", "timestamp": now_ms - (100 - i) * 60000}) + "\n" for i in range(100))
    endpoint.cli("produce", "orders", "-p", "1", "-i", "json", "-z", "lz4", "-q", stdin=lines.encode())
    commit(endpoint.broker, "mail", "orders", 40, partition=1)
    commit(endpoint.broker, "mail", "orders", 0, partition=2)
    labels = {"consumergroup": "mail", "topic": "orders", "partition": 1}

    def page():
        found = endpoint.page()
        lags = [found.get("kafka_consumergroup_lag", **{**labels, "partition": p}) for p in (1, 2)]
        return found if lags == [60, 0] else None

    found = until(page)
    assert found.get("kafka_consumergroup_current_offset", **labels) == 40
    assert found.get("kafka_consumergroup_lag_sum", consumergroup="mail", topic="orders") == 60
    assert found.get("kafka_consumergroup_current_offset_sum", consumergroup="mail", topic="orders") == 40
    assert abs(found.get("taffrail_consumergroup_lag_seconds", **labels) - 60 * 60) < 120
    assert found.get("taffrail_consumergroup_lag_seconds", **{**labels, "partition": 2}) == 0
    assert found.get("kafka_consumergroup_members", consumergroup="mail") == 0
    assert found.get("taffrail_consumergroup_partitions", consumergroup="mail", verdict="stopped") == 1
    assert found.get("taffrail_consumergroup_partitions", consumergroup="mail", verdict="ok") == 1
    # Back, then gone with its topic.
    commit(endpoint.broker, "mail", "orders", 10, partition=1)
    until(lambda: endpoint.page().get("taffrail_consumergroup_partitions", consumergroup="mail", verdict="rewound") == 1)
    endpoint.cli("topic", "delete", "orders")
    until(lambda: endpoint.page().all("kafka_consumergroup_lag") == {})


def test_wrong_alerts(env):
    """A wrong rule is told at the start, with its key and what is allowed."""
    if env.broker_kind != "taffrail":
        return
    for setting, text in [
            ({"lag.alert.x.command": "/bin/true"}, "lag.alert.x.when: the alert does not say when"),
            ({"lag.alert.x.when": "lag > 5"}, "lag.alert.x.when: Invalid value lag > 5. Allowed: messages > NUMBER"),
            ({"lag.alert.x.when": "messages > 5", "lag.alert.x.command": "/nonexistent/program"},
             "lag.alert.x.command: /nonexistent/program: no such file"),
            ({"lag.alert.x.when": "messages > 5", "lag.alert.x.command": "true"}, "an absolute path"),
            ({"lag.alert.x.when": "messages > 5", "lag.alert.x.url": "https://a/"}, "http://HOST[:PORT][/PATH]"),
            ({"lag.alert.x.when": "messages > 5", "lag.alert.x.wen": "1"}, 'an alert has no setting "wen"'),
            ({"lag.interval.ms": "5"}, "lag.interval.ms: Invalid value 5")]:
        broker = brokers.KINDS["taffrail"](env.tmp / f"wrong-{len(text)}", env.port(2), setting)
        try:
            broker.start()
        except brokers.BrokerFailed as failed:
            assert text in str(failed), f"{text}: {failed}"
        else:
            broker.kill()
            raise AssertionError(f"{setting} is taken")
