"""Just enough of Kafka's protocol to ask a broker whether it is up."""

import socket
import struct


def request(address, api_key, version, body, timeout_s=5.0):
    """Sends one request with a version 1 header and returns the answer after its correlation id."""
    client_id = b"e2e"
    header = struct.pack(">hhih", api_key, version, 7, len(client_id)) + client_id
    frame = header + body
    with socket.create_connection(address, timeout_s) as connection:
        if connection.getsockname() == connection.getpeername():
            raise ConnectionError("nobody listens; the socket got the same port and met itself")
        connection.settimeout(timeout_s)
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        (size,) = struct.unpack(">i", receive(connection, 4))
        answer = receive(connection, size)
    return answer[4:]


def receive(connection, size):
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError(f"closed after {len(parts)} of {size} bytes")
        parts += part
    return bytes(parts)


def metadata_broker_count(address):
    """How many brokers a Metadata answer (version 1, no topics) names."""
    answer = request(address, 3, 1, struct.pack(">i", 0))
    return struct.unpack_from(">i", answer)[0]
