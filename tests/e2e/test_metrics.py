"""The listener for operators: the metrics page, health and readiness, and what it bears."""

import concurrent.futures
import http.client
import json
import socket
import subprocess
import time

from lib import brokers, paths, prometheus

TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Endpoint:
    def __init__(self, env, **config):
        self.port = env.port()
        self.address = ("127.0.0.1", self.port)
        self.broker = env.broker(kind="taffrail", config={
            "metrics.listeners": f"http://127.0.0.1:{self.port}", **config})

    def request(self, path, method="GET", timeout=10, **options):
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            connection.request(method, path, **options)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def page(self):
        status, headers, body = self.request("/metrics")
        assert (status, headers["Content-Type"]) == (200, TYPE), (status, headers)
        return prometheus.Page(body.decode())

    def cli(self, *words, stdin=b""):
        return subprocess.run([paths.TAFFRAIL, *words, "-b", self.broker.bootstrap], input=stdin, check=True,
                              capture_output=True, timeout=60).stdout


def test_metrics_page(env):
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env)
    before = endpoint.page()
    endpoint.cli("topic", "create", "orders", "-p", "3")
    endpoint.cli("produce", "orders", stdin=b"".join(b"%d\n" % i for i in range(1000)))
    assert len(endpoint.cli("consume", "orders").splitlines()) == 1000
    time.sleep(1.1)  # a page is shown for a second
    page = endpoint.page()
    topics = "kafka_server_brokertopicmetrics_"
    assert before.get(topics + "messagesin_total") == 0
    for labels in ({}, {"topic": "orders"}):
        assert page.get(topics + "messagesin_total", **labels) == 1000
        assert page.get(topics + "bytesin_total", **labels) == page.get(topics + "bytesout_total", **labels) > 0
        assert page.get(topics + "totalproducerequests_total", **labels) >= 1
        assert page.get(topics + "failedproducerequests_total", **labels) == 0
    assert sum(page.all("kafka_log_log_logendoffset").values()) == 1000
    assert sum(page.all("kafka_log_log_size").values()) == page.get(topics + "bytesin_total")
    assert page.all("kafka_topic_partition_current_offset") == page.all("kafka_log_log_logendoffset")
    assert page.get("kafka_topic_partitions", topic="orders") == 3
    assert page.get("kafka_server_replicamanager_partitioncount") == 3
    assert page.get("kafka_server_replicamanager_underreplicatedpartitions") == 0
    assert page.get("kafka_controller_kafkacontroller_activecontrollercount") == 1
    assert page.get("kafka_brokers") == 1
    produced = {dict(labels)["version"]: value
                for labels, value in page.all("kafka_network_requestmetrics_requests_total").items()
                if dict(labels)["request"] == "Produce"}
    assert sum(produced.values()) == page.get("taffrail_request_seconds_count", request="Produce") >= 1
    assert page.get("taffrail_commit_seconds_count") == sum(produced.values())
    flushes = "kafka_log_logflushstats_logflushrateandtimems_count"
    assert page.get(flushes) > before.get(flushes) >= 0
    assert page.get(flushes) == sum(page.get("taffrail_flush_seconds_count", kind=kind) for kind in ("flush", "write"))
    assert 0 < page.get("kafka_network_requestmetrics_totaltimems", request="Produce", quantile="0.99") < 60000
    assert page.get("process_resident_memory_bytes") > 1 << 20
    assert abs(page.get("process_start_time_seconds") - time.time()) < 60
    assert page.get("taffrail_metrics_partitions_left_out") == 0


def test_counters_of_what_was_refused(env):
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env, **{"message.max.bytes": "1000"})
    endpoint.cli("topic", "create", "small")
    refused = subprocess.run([paths.TAFFRAIL, "produce", "small", "-b", endpoint.broker.bootstrap],
                             input=b"x" * 5000 + b"\n", capture_output=True, timeout=60)
    assert refused.returncode != 0
    with socket.create_connection((endpoint.broker.host, endpoint.broker.port)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert peer.recv(100) == b""
    page = endpoint.page()
    assert page.get("kafka_server_brokertopicmetrics_failedproducerequests_total", topic="small") == 1
    assert page.get("kafka_server_brokertopicmetrics_bytesrejected_total", topic="small") > 5000
    assert page.get("kafka_server_brokertopicmetrics_messagesin_total", topic="small") == 0
    assert page.get("taffrail_requests_refused_total") == 1


def test_cardinality_cap(env):
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env, **{"metrics.partitions.max": "5"})
    endpoint.cli("topic", "create", "a", "b", "-p", "4")
    page = endpoint.page()
    assert len(page.all("kafka_log_log_size")) == 5
    assert page.get("taffrail_metrics_partitions_left_out") == 3
    assert page.get("kafka_server_replicamanager_partitioncount") == 8
    assert set(page.all("kafka_topic_partitions")) == {(("topic", "a"),)}


def test_health(env):
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env)
    for path, good in (("/healthz", "healthy"), ("/readyz", "ready")):
        status, headers, body = endpoint.request(path)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body) == {"status": good, "reasons": []}
    assert b"/metrics" in endpoint.request("/")[2]


def test_bad_http(env):
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env)
    assert endpoint.request("/nothing")[0] == 404
    assert endpoint.request("/metrics/")[0] == 404
    status, headers, _ = endpoint.request("/metrics", method="POST", body=b"x" * 100000)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert endpoint.request("/metrics", method="HEAD")[2] == b""
    assert endpoint.request("/metrics?x=1", body=b"a body that nobody reads")[0] == 200
    assert endpoint.request("/metrics", headers={"X-Long": "y" * 60000})[0] in (413, 431)
    for garbage in (b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"):
        with socket.create_connection(endpoint.address, timeout=20) as peer:
            peer.sendall(garbage)
            assert b"200 OK" not in peer.recv(1000)
    assert endpoint.request("/healthz")[0] == 200
    assert endpoint.broker.died() is None


def test_slow_and_many(env):
    """Peers that do not read, do not write or come in crowds cost no client its answer."""
    if env.broker_kind != "taffrail":
        return
    endpoint = Endpoint(env)
    endpoint.cli("topic", "create", "wide", "-p", "500")
    deaf = [socket.create_connection(endpoint.address) for _ in range(20)]
    for peer in deaf:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    mute = [socket.create_connection(endpoint.address) for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: endpoint.request("/metrics"), range(200)))
    assert all(status == 200 and body.count(b"\nkafka_log_log_size{") == 500 for status, _, body in answers)
    assert endpoint.page().get("process_resident_memory_bytes") < 200 << 20
    for peer in deaf[:10]:
        peer.close()
    began = time.monotonic()
    assert endpoint.cli("topic", "list", "--names") == b"wide\n"
    assert time.monotonic() - began < 5
    assert endpoint.broker.stop() in (0, 143), "deaf peers must not hold up a stop"
    for peer in deaf + mute:
        peer.close()


def test_address_in_use(env):
    if env.broker_kind != "taffrail":
        return
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = brokers.KINDS["taffrail"](env.tmp / "taken", env.port(2),
                                           {"metrics.listeners": f"http://127.0.0.1:{port}"})
        try:
            broker.start()
        except brokers.BrokerFailed as failed:
            assert f"metrics.listeners: cannot listen on 127.0.0.1:{port}: another program listens there" in str(failed)
        else:
            broker.kill()
            raise AssertionError("it started without its metrics")
