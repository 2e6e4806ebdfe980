#!/usr/bin/env python3
"""The proxy of scripts/chaos, fault by fault, in front of a node that answers every request with its own bytes.

Last line: `N passed, N failed, N skipped`."""
import socket
import struct
import sys
import threading
import time
import traceback

from proxy import END_TXN, PRODUCE, Frames, Proxy, api_of, correlation_of
from workbench import free_port

QUIET_S = 0.3  # nothing came for so long: nothing comes


def request(api, correlation, body=b"x"):
    data = struct.pack(">hhi", api, 3, correlation) + body
    return struct.pack(">i", len(data)) + data


class Node:
    """Keeps what arrives; answers with correlation id and the rest of the request."""

    def __init__(self):
        self.got = []
        self.server = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.server.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        frames = Frames()
        try:
            while data := connection.recv(65536):
                for frame in frames.feed(data):
                    self.got.append((api_of(frame), correlation_of(frame, is_request=True)))
                    connection.sendall(struct.pack(">i", len(frame) - 8) + frame[8:])
        except OSError:
            pass


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.frames = Frames()

    def send(self, *requests):
        self.socket.sendall(b"".join(requests))

    def answers(self, seconds=QUIET_S, enough=1000):
        """Correlation ids of what comes within that time, or until there are enough; "reset" when the connection ended."""
        found, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and len(found) < enough:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except (TimeoutError, socket.timeout):
                break
            except OSError:
                return found + ["reset"]
            if not data:
                return found + ["reset"]
            found += [correlation_of(frame, is_request=False) for frame in self.frames.feed(data)]
        return found


class Case:
    """A proxy, a node behind it and a client that has had one answer."""

    def __init__(self):
        self.node, self.port = Node(), free_port()
        self.proxy = Proxy({1: (self.port, self.node.port)})
        self.proxy.start()
        self.client = self.connect()
        self.client.send(request(PRODUCE, 1))
        equal("first answer", self.client.answers(2.0, enough=1), [1])

    def connect(self):
        return Client(self.port)

    def do(self, what, value=None):
        self.proxy.do(1, what, value)


def equal(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, wanted {wanted!r}")


def test_frames_in_any_pieces():
    data = request(PRODUCE, 1) + request(END_TXN, 2, b"y" * 300) + request(PRODUCE, 3)
    whole = Frames().feed(data)
    equal("correlations", [correlation_of(frame, is_request=True) for frame in whole], [1, 2, 3])
    for size in (1, 3, 7, 100):
        frames, found = Frames(), []
        for at in range(0, len(data), size):
            found += frames.feed(data[at:at + size])
        equal(f"pieces of {size}", found, whole)


def test_passes_in_order():
    case = Case()
    case.client.send(*[request(PRODUCE, n, b"z" * n * 100) for n in range(2, 60)])
    equal("answers", case.client.answers(2.0, enough=58), list(range(2, 60)))


def test_delay_keeps_order_and_does_not_add_up():
    case = Case()
    case.do("delay", 0.2)
    started = time.monotonic()
    case.client.send(*[request(PRODUCE, n) for n in range(2, 30)])
    equal("too early", case.client.answers(0.3), [])
    equal("answers", case.client.answers(0.4), list(range(2, 30)))
    case.do("heal")
    case.client.send(request(PRODUCE, 30))
    equal("after heal", case.client.answers(2.0, enough=1), [30])
    equal("at most 2 s", time.monotonic() - started < 2, True)


def test_slow():
    case = Case()
    case.do("slow", 2000)
    case.client.send(request(PRODUCE, 2, b"x" * 1000), request(PRODUCE, 3))
    equal("too early", case.client.answers(0.3), [2])
    equal("later", case.client.answers(1.5, enough=1), [3])


def test_cut_then_again():
    case = Case()
    case.do("cut")
    equal("cut", case.client.answers(), ["reset"])
    again = case.connect()
    again.send(request(PRODUCE, 2))
    equal("again", again.answers(2.0, enough=1), [2])


def test_refuse():
    case = Case()
    case.do("refuse")
    equal("cut", case.client.answers(), ["reset"])
    equal("refused", case.connect().answers(), ["reset"])
    case.do("heal")
    again = case.connect()
    again.send(request(PRODUCE, 2))
    equal("healed", again.answers(2.0, enough=1), [2])


def test_half_open_swallows():
    case = Case()
    case.do("half_open")
    case.client.send(request(PRODUCE, 2))
    new = case.connect()
    new.send(request(PRODUCE, 3))
    equal("silence", case.client.answers(), [])
    equal("silence for a new one", new.answers(), [])
    equal("arrived", case.node.got, [(PRODUCE, 1)])
    case.do("heal")
    equal("reset at heal", case.client.answers(), ["reset"])
    equal("reset at heal, the new one", new.answers(), ["reset"])


def test_apply_cut_arrives_unanswered():
    case = Case()
    case.do("apply_cut", ((END_TXN,), 1, 0.0))
    case.client.send(request(PRODUCE, 2), request(END_TXN, 3))
    equal("answers", case.client.answers(), [2, "reset"])
    equal("arrived", case.node.got, [(PRODUCE, 1), (PRODUCE, 2), (END_TXN, 3)])
    equal("used up", case.proxy.played(), {"apply_cut": 1})
    again = case.connect()
    again.send(request(END_TXN, 4))
    equal("next", again.answers(2.0, enough=1), [4])


def test_duplicate_arrives_twice_answered_once():
    case = Case()
    case.do("duplicate", ((END_TXN,), 1, 0.0))
    case.client.send(request(END_TXN, 2), request(END_TXN, 3))
    equal("answers", case.client.answers(), [2, 3])
    equal("arrived", case.node.got, [(PRODUCE, 1), (END_TXN, 2), (END_TXN, 2), (END_TXN, 3)])


def test_late_arrives_after_the_next():
    case = Case()
    case.do("late", ((END_TXN,), 1, 0.4))
    case.client.send(request(END_TXN, 2))
    equal("cut", case.client.answers(0.2), ["reset"])
    again = case.connect()
    again.send(request(END_TXN, 3))
    equal("the retry is answered", again.answers(0.1), [3])
    time.sleep(0.5)
    equal("arrived", case.node.got, [(PRODUCE, 1), (END_TXN, 3), (END_TXN, 2)])


def test_what_was_sent_before_a_close_arrives():
    case = Case()
    case.client.send(request(END_TXN, 2))
    case.client.socket.close()
    time.sleep(QUIET_S)
    equal("arrived", case.node.got, [(PRODUCE, 1), (END_TXN, 2)])


def test_node_away():
    case = Case()
    lost = Proxy({1: (free_port(), free_port())})
    lost.start()
    equal("reset", Client(lost.listen[1]).answers(), ["reset"])
    case.client.send(request(PRODUCE, 2))
    equal("others live", case.client.answers(), [2])


def main():
    tests = [(name, run) for name, run in sorted(globals().items()) if name.startswith("test_")]
    failed = 0
    for name, run in tests:
        try:
            run()
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}")
    print(f"{len(tests) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
