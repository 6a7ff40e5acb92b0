"""Clients that come over IPv6."""

import struct
import time

from lib import brokers, raw, wire

FIND_COORDINATOR, JOIN_GROUP, DESCRIBE_GROUPS = 10, 11, 15
NOT_READY = (14, 15, 16)  # loading, not available, not the coordinator


def dual_broker(env):
    """A broker that listens on both loopback addresses; the second's address."""
    port, six = env.port(2), env.port()
    controller = f"127.0.0.1:{port + 1}"
    broker = brokers.KINDS[env.broker_kind](env.tmp / "broker", port, {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},SIX://[::1]:{six},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},SIX://[::1]:{six}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SIX:PLAINTEXT,CONTROLLER:PLAINTEXT"})
    env.own.append(broker)
    broker.start()
    return ("::1", six)


def join(address, group):
    """A first member, which never gives its group an assignment."""
    body = raw.string(group) + struct.pack(">i", 10000) + raw.string("") + raw.string("consumer")
    body += struct.pack(">i", 1) + raw.string("range") + raw.sized(b"")
    deadline = time.monotonic() + 30
    while True:
        wire.request(address, FIND_COORDINATOR, 0, raw.string(group))  # which makes the topic of the groups
        (code,) = struct.unpack_from(">h", wire.request(address, JOIN_GROUP, 0, body, timeout_s=20), 0)
        if code not in NOT_READY or time.monotonic() > deadline:
            return code
        time.sleep(0.1)


def member_host(address, group):
    """Where the group's first member comes from, as DescribeGroups tells."""
    answer = wire.request(address, DESCRIBE_GROUPS, 0, struct.pack(">i", 1) + raw.string(group))
    at, texts = 4 + 2, []
    for i in range(7):  # group, state, type, protocol, (count) member, client, host
        at += 4 if i == 4 else 0
        (size,) = struct.unpack_from(">h", answer, at)
        texts.append(answer[at + 2:at + 2 + size].decode())
        at += 2 + size
    assert texts[0] == group, texts
    return texts[6]


def test_member_host(env):
    """A member's host is the address as Java prints it: a slash, and eight numbers without leading zeros or a gap."""
    six = dual_broker(env)
    for address, host in ((six, "/0:0:0:0:0:0:0:1"), (("127.0.0.1", env.own[0].port), "/127.0.0.1")):
        group = f"from-{address[0]}".replace(":", "-")
        assert join(address, group) == 0
        assert member_host(address, group) == host
