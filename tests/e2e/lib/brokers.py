"""Starts and stops the broker under test: Apache Kafka or Taffrail, one node, on loopback.

Both take Kafka's own configuration keys. A broker's files (configuration, log
of what it said, data) stay in its folder until the runner removes that.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import time

from . import paths, wire

JAVA_OPTIONS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xms64m"]

LOG4J = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = {level}
rootLogger.appenderRef.out.ref = out
"""

# One node has one replica of everything, and a test does not wait for a second member to join.
SINGLE_NODE = {
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}


class BrokerFailed(Exception):
    pass


def die_with_parent():
    """In the child, before exec: a runner that is killed leaves no broker behind."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Broker:
    """One broker process. `config` overrides any property; `data` survives stop, kill and start."""

    name = None
    start_timeout_s = 60

    def __init__(self, folder, port, config=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.data = self.folder / "data"
        self.log_path = self.folder / f"{self.name}.log"
        self.config = {**self.base_config(), **(config or {})}
        self.process = None

    @property
    def host(self):
        return "127.0.0.1"

    @property
    def bootstrap(self):
        return f"{self.host}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def base_config(self):
        """A combined broker and controller; the controller listens one port above the broker."""
        controller = f"{self.host}:{self.port + 1}"
        return {
            "node.id": "1",
            "process.roles": "broker,controller",
            "log.dirs": str(self.data),
            "listeners": f"PLAINTEXT://{self.host}:{self.port},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.host}:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": controller,
            **SINGLE_NODE,
        }

    def write_properties(self):
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in self.config.items()))
        return path

    def start(self):
        """Starts the process and returns once it answers a Metadata request."""
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self):
        """Starts the process and does not wait until it is up."""
        assert self.process is None, "started twice"
        command = self.command(self.write_properties())
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                preexec_fn=die_with_parent)

    def wait_ready(self):
        deadline = time.monotonic() + self.start_timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                status, self.process = self.process.returncode, None
                raise BrokerFailed(f"{self.name} ended with status {status} while it started\n{self.log_tail()}")
            try:
                if wire.metadata_broker_count((self.host, self.port)) > 0:
                    return
            except (OSError, ConnectionError):
                pass
            time.sleep(0.05)
        self.kill()
        raise BrokerFailed(f"{self.name} did not answer within {self.start_timeout_s} s\n{self.log_tail()}")

    def stop(self, timeout_s=60):
        """SIGTERM and wait; the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerFailed(f"{self.name} did not stop within {timeout_s} s\n{self.log_tail()}") from None
        self.process = None
        return status

    def kill(self):
        """kill -9: what a crash of the process leaves."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def died(self):
        """The status with which the process ended although nobody ended it, or None."""
        return None if self.process is None else self.process.poll()

    def restart(self):
        self.stop()
        return self.start()

    def log_tail(self, lines=8):
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


class ApacheKafka(Broker):
    """
    The reference: jars from Maven, on a small heap. Its quorum is of the kind that Taffrail makes (the voters are in the
    metadata log), unless the configuration names `controller.quorum.voters`.
    """

    name = "kafka"
    cluster_id = "5L6g3nShT-eMCtK--X86sw"

    def __init__(self, folder, port, config=None, heap_mb=384, log_level="WARN", fixed_voters=False):
        self.heap_mb = heap_mb
        self.log_level = log_level
        super().__init__(folder, port, config)
        if fixed_voters:
            self.config["controller.quorum.voters"] = f"1@{self.config.pop('controller.quorum.bootstrap.servers')}"

    def java(self):
        log4j = self.folder / "log4j2.properties"
        log4j.write_text(LOG4J.format(level=self.log_level))
        return ["java", *JAVA_OPTIONS, f"-Xmx{self.heap_mb}m", f"-Dlog4j2.configurationFile={log4j}",
                "-cp", f"{paths.kafka_libs()}/*"]

    def command(self, properties):
        if not any((pathlib.Path(d) / "meta.properties").exists() for d in self.config["log.dirs"].split(",")):
            self.format(properties)
        return [*self.java(), "kafka.Kafka", properties]

    def format(self, properties):
        voters = [] if "controller.quorum.voters" in self.config else ["--standalone"]
        done = subprocess.run(
            [*self.java(), "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", properties, *voters],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise BrokerFailed(f"formatting failed with status {done.returncode}\n{done.stdout}")


class Taffrail(Broker):
    """The broker of this repository; it formats its storage itself on its first start."""

    name = "taffrail"
    start_timeout_s = 20

    def __init__(self, folder, port, config=None, overrides=None):
        self.overrides = overrides or {}
        super().__init__(folder, port, config)

    def command(self, properties):
        command = [paths.BROKER, "serve", properties]
        for key, value in self.overrides.items():
            command += ["--override", f"{key}={value}"]
        return command


KINDS = {"kafka": ApacheKafka, "taffrail": Taffrail}
