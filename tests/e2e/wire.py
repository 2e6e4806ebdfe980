"""The few admin requests of the Kafka protocol that no installed tool can send: most break a cluster on purpose.

Old, flat versions of the requests; a broker of one node answers all of them. Strings and arrays carry their length first.
"""
import socket
import struct

DELETE_TOPICS, DELETE_RECORDS, CREATE_PARTITIONS, ALTER_CONFIGS = 20, 21, 37, 44
TOPIC, SET = 2, 0


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def read_exactly(connection, n):
    data = b""
    while len(data) < n:
        more = connection.recv(n - len(data))
        if not more:
            raise OSError("the broker closed the connection")
        data += more
    return data


def ask(bootstrap, api, version, body):
    """Sends one request and returns the answer behind its correlation id."""
    host, port = bootstrap.split(",")[0].rsplit(":", 1)
    request = struct.pack(">hhi", api, version, 1) + text("bad-input") + body
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        size, = struct.unpack(">i", read_exactly(connection, 4))
        return read_exactly(connection, size)[4:]


def check(error, what):
    if error:
        raise RuntimeError(f"{what}: the broker answers with error {error}")


def add_partitions(bootstrap, topic, count):
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">ii?", count, -1, False)[:8]
    answer = ask(bootstrap, CREATE_PARTITIONS, 0, body + struct.pack(">i?", 15000, False))
    check(struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic))[0], f"add partitions to {topic}")


def delete_records(bootstrap, topic, partition, before):
    """Offsets below `before` go, as retention would do it."""
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">iiqi", 1, partition, before, 15000)
    answer = ask(bootstrap, DELETE_RECORDS, 0, body)
    check(struct.unpack(">h", answer[-2:])[0], f"delete records of {topic}")


def delete_topic(bootstrap, topic):
    answer = ask(bootstrap, DELETE_TOPICS, 1, struct.pack(">i", 1) + text(topic) + struct.pack(">i", 15000))
    check(struct.unpack(">h", answer[-2:])[0], f"delete {topic}")


def alter_topic(bootstrap, topic, settings):
    """Sets these settings of a topic and leaves its others."""
    body = struct.pack(">ib", 1, TOPIC) + text(topic) + struct.pack(">i", len(settings))
    for name, value in settings.items():
        body += text(name) + struct.pack(">b", SET) + text(str(value))
    answer = ask(bootstrap, ALTER_CONFIGS, 0, body + struct.pack(">?", False))
    check(struct.unpack_from(">h", answer, 4 + 4)[0], f"alter {topic}")
