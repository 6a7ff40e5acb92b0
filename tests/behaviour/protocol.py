"""Speaks any API of Kafka's protocol, through Codec.java; and raw bytes on raw sockets."""

import json
import pathlib
import socket
import struct
import subprocess

from lib import brokers, paths, wire

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT_S = 15


class Codec:
    """The Java process that encodes and decodes."""

    def __init__(self):
        class_path = paths.java_classes(HERE / "java")
        self.process = subprocess.Popen(
            ["java", *brokers.JAVA_OPTIONS, "-Xmx256m", "-cp", class_path, "Codec"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=brokers.die_with_parent)

    def ask(self, **step):
        self.process.stdin.write(json.dumps(step) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the codec ended at {step}")
        answer = json.loads(line)
        if "failure" in answer:
            raise ValueError(f"{answer['failure']} in {step.get('op')} {step.get('api')} v{step.get('version')}")
        return answer

    def encode(self, api, version, body, correlation=1):
        """A request's frame without its length."""
        answer = self.ask(op="encode", api=api, version=version, body=body, correlation=correlation)
        return bytes.fromhex(answer["hex"])

    def decode(self, api, version, answer):
        return self.ask(op="decode", api=api, version=version, hex=answer.hex())["body"]

    def batch(self, records=({"value": "v"},), **description):
        """One record batch in hex, ready for a Produce request's records."""
        return self.ask(op="batch", records=list(records), **description)["hex"]

    def apis(self):
        return self.ask(op="apis")["apis"]


def framed(frame):
    return struct.pack(">i", len(frame)) + frame


class Connection:
    """One connection; requests on it are answered in order."""

    def __init__(self, address, timeout_s=TIMEOUT_S):
        self.socket = socket.create_connection(address, timeout_s)
        self.socket.settimeout(timeout_s)

    def send(self, raw):
        try:
            self.socket.sendall(raw)
        except (ConnectionError, BrokenPipeError):
            pass

    def receive(self):
        """One answer's frame without its length; None when the broker closed the connection."""
        try:
            (size,) = struct.unpack(">i", wire.receive(self.socket, 4))
            return wire.receive(self.socket, size)
        except ConnectionError:
            return None

    def silent(self, timeout_s):
        """Whether nothing comes and the connection stays open for so long."""
        self.socket.settimeout(timeout_s)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return False
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.socket.settimeout(TIMEOUT_S)

    def close(self):
        self.socket.close()
