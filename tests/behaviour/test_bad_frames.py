"""What a broker does with bytes that are no request: it closes that connection, or answers, and goes on serving."""

import struct

from scenario import Scenario


def int32(value):
    return struct.pack(">i", value)


def header(api_key, version, correlation=77, client=b"bad"):
    return struct.pack(">hhih", api_key, version, correlation, len(client)) + client


def framed(body):
    return int32(len(body)) + body


def test_bad_frames(env):
    with Scenario(env, "bad_frames", config={"node.id": "1"}) as s:
        s.create("bf-a")
        good = s.frame("Metadata", 12, {"topics": [{"name": "bf-a"}]})

        s.raw("length negative", int32(-1))
        s.raw("length -2147483648", int32(-2147483648))
        s.raw("length over the limit", int32(104857601))
        s.raw("length 2147483647", int32(2147483647))
        s.raw("length 0", int32(0))
        s.raw("length at the limit, and nothing more", int32(104857600), silent_s=0.3)
        s.raw("half a length", b"\0\0", silent_s=0.3)
        s.raw("half a request", good[:20], silent_s=0.3)
        s.raw("one byte", framed(b"\0"))
        s.raw("header cut", framed(b"\0\x03\0\x0c\0\0"))
        s.raw("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        s.raw("a TLS greeting", bytes.fromhex("16030100c8010000c40303") + bytes(200))
        s.raw("zeros", bytes(64))
        s.raw("ones", b"\xff" * 64)

        s.raw("unknown API", framed(header(999, 0)))
        s.raw("negative API", framed(header(-1, 0)))
        s.raw("API that was removed", framed(header(4, 0)))
        s.raw("controller's API", framed(header(52, 0) + b"\0"))
        s.raw("Metadata, version too new", framed(header(3, 99) + int32(-1)))
        s.raw("Metadata, version negative", framed(header(3, -1) + int32(-1)))
        s.raw("Produce version 2", framed(header(0, 2) + bytes(10)))
        s.raw("Fetch version 3", framed(header(1, 3) + bytes(10)))
        s.raw("ApiVersions, version too new", framed(header(18, 99) + b"\0"), answer_of=("ApiVersions", 0))
        s.raw("ApiVersions, version too new and no tags in the header", framed(header(18, 99)))
        s.raw("ApiVersions, version negative", framed(header(18, -1)), answer_of=("ApiVersions", 0))

        s.raw("client id longer than the frame", framed(struct.pack(">hhih", 3, 1, 7, 500) + b"x"))
        s.raw("client id length -2", framed(struct.pack(">hhih", 3, 1, 7, -2) + int32(0)), answer_of=("Metadata", 1))
        s.raw("client id is no UTF-8", framed(header(3, 1, client=b"\xff\xfe\xfd") + int32(0)), answer_of=("Metadata", 1))
        s.raw("body missing", framed(header(3, 1)))
        s.raw("body cut", framed(header(3, 1) + int32(1) + b"\0\x05ab"))
        s.raw("array of -2", framed(header(3, 1) + int32(-2)), answer_of=("Metadata", 1))
        s.raw("array of two thousand million", framed(header(3, 1) + int32(2_000_000_000)))
        s.raw("array longer than the rest", framed(header(3, 1) + int32(100) + b"\0\x01a"))
        s.raw("string of -2", framed(header(3, 1) + int32(1) + b"\xff\xfe"))
        s.raw("string of null", framed(header(3, 1) + int32(1) + b"\xff\xff"))
        s.raw("name is no UTF-8", framed(header(3, 4) + int32(1) + b"\0\x02\xff\xfe" + b"\0"), answer_of=("Metadata", 4))
        s.raw("bytes left over", framed(header(2, 1) + struct.pack(">ii", -1, 0) + b"more"), answer_of=("ListOffsets", 1))
        s.raw("flexible: varint too long", framed(header(3, 12) + b"\0" + b"\xff" * 12))
        s.raw("flexible: array of two thousand million", framed(header(3, 12) + b"\0" + b"\x81\xa8\xd6\xb9\x07" + bytes(9)))
        s.raw("flexible: tags in the header cut", framed(header(3, 12) + b"\x05"))
        s.raw("flexible: tags twice", framed(header(60, 0) + b"\x02\x01\x00\x01\x00" + b"\0\0"), answer_of=("DescribeCluster", 0))
        s.raw("flexible: tags out of order", framed(header(60, 0) + b"\x02\x05\x00\x01\x00" + b"\0\0"), answer_of=("DescribeCluster", 0))
        s.raw("flexible: tag longer than the rest", framed(header(60, 0) + b"\x01\x01\x7f" + b"\0\0"))

        s.call("a good request after all of it", "Metadata", 12, {"topics": [{"name": "bf-a"}]})


def test_pipelined(env):
    """Requests that come together are answered in their order; a bad one does not take back the answers before it."""
    with Scenario(env, "pipelined") as s:
        s.create("pi-a")
        one = s.frame("Metadata", 12, {"topics": [{"name": "pi-a"}]})
        two = s.frame("ListOffsets", 8, {"replicaId": -1, "topics": [
            {"name": "pi-a", "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]})
        s.connection("many").send(one + two + one)
        s.write("first", s.read("Metadata", 12, "many"))
        s.write("second", s.read("ListOffsets", 8, "many"))
        s.write("third", s.read("Metadata", 12, "many"))
        for byte in one:
            s.connection("slow").send(bytes([byte]))
        s.write("a byte at a time", s.read("Metadata", 12, "slow"))
        s.connection("then bad").send(one + framed(header(999, 0)))
        s.write("before the bad one", s.read("Metadata", 12, "then bad"))
        s.write("the bad one", s.read("Metadata", 12, "then bad"))
