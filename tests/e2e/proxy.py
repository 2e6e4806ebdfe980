"""A proxy in front of the nodes of a Kafka cluster, which does what networks do: delays, cuts, silence, and requests that arrive
twice, late, or whose answer never comes.

It knows of the protocol what is needed for that: frames (4 bytes of length, then that many), a request's api key, and the
correlation id by which an answer belongs to a request. Everything else passes as bytes.

    proxy = Proxy({1: (20001, 20002)})     clients of node 1 come to 20001, the node listens on 20002
    proxy.start(); proxy.do(1, "delay", 0.2); ...; proxy.do(1, "heal"); proxy.stop()

Faults of a node; all but the tricks last until `heal`:
    delay S       every frame arrives S seconds later, both ways, in its order
    slow N        N bytes a second, both ways, for each connection
    cut           all connections are reset now
    refuse        connections are reset and new ones too
    half_open     connections stay open, new ones are accepted, and every byte is swallowed. At heal they are reset
    apply_cut     trick: the request is forwarded, its answer is not: the connection is reset in its place
    duplicate     trick: the request is forwarded twice, one answer comes back
    late          trick: the connection is reset, and S seconds later the request arrives all the same
A trick is (apis, times, S): with every second request of one of the api keys, so that a retry comes through, `times` times.
"""
import asyncio
import collections
import struct
import threading
import time

PRODUCE, OFFSET_COMMIT, INIT_PRODUCER, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 0, 8, 22, 24, 25, 26, 28
TRICKS = ("apply_cut", "duplicate", "late")
CHUNK = 65536
LATE_ANSWER_S = 5.0  # how long the answer to a late request is waited for

Trick = collections.namedtuple("Trick", "kind apis times seconds spares", defaults=(False,))


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        """The frames that are whole now, each with its length in front."""
        data, at, found = self.rest + data, 0, []
        while len(data) - at >= 4:
            size, = struct.unpack_from(">i", data, at)
            if len(data) - at < 4 + size:
                break
            found.append(data[at:at + 4 + size])
            at += 4 + size
        self.rest = data[at:]
        return found


def api_of(request):
    return struct.unpack_from(">h", request, 4)[0]


def correlation_of(frame, is_request):
    return struct.unpack_from(">i", frame, 8 if is_request else 4)[0]


class Gate:
    """What is wrong with the way to one node."""

    def __init__(self, upstream):
        self.upstream = upstream  # port
        self.links = set()
        self.late = set()  # tasks that deliver held requests
        self.done = collections.Counter()  # tricks played, by kind
        self.tricks = []
        self.clear()

    def clear(self):
        self.delay, self.rate, self.is_silent, self.is_refusing = 0.0, 0, False, False
        self.tricks = []

    def trick_for(self, api):
        """The first trick that is about such requests, when it wants this one; it is used up by one."""
        for i, trick in enumerate(self.tricks):
            if api not in trick.apis:
                continue
            left = trick.times if trick.spares else trick.times - 1
            self.tricks[i:i + 1] = [trick._replace(times=left, spares=not trick.spares)] if left else []
            self.done[trick.kind] += not trick.spares
            return None if trick.spares else trick
        return None

    def cut(self):
        for link in list(self.links):
            link.reset()


class Link:
    """One client's connection, and the one to the node behind it."""

    def __init__(self, gate, reader, writer):
        self.gate, self.reader, self.writer = gate, reader, writer
        self.node_reader = self.node_writer = None
        self.unanswered = set()  # correlation ids whose answer is a reset
        self.unwanted = collections.Counter()  # ... and how many answers more than one come
        self.is_late = False  # a held request still has to reach the node
        self.is_broken = False  # ends by a reset, not by what a side has closed
        self.tasks = []

    async def run(self):
        self.gate.links.add(self)
        try:
            if not self.gate.is_silent:
                self.node_reader, self.node_writer = await asyncio.open_connection("127.0.0.1", self.gate.upstream)
                self.tasks = [asyncio.ensure_future(self.pump(self.node_reader, self.writer, self.answer))]
            self.tasks.append(asyncio.ensure_future(self.pump(self.reader, self.node_writer, self.request)))
            await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:  # the node is away
            self.is_broken = True
        finally:
            self.gate.links.discard(self)
            self.end()

    def reset(self):
        self.is_broken = True
        self.end()

    def end(self):
        """What was sent before one side closed still arrives at the other."""
        for writer in (self.writer, None if self.is_late else self.node_writer):
            if writer and self.is_broken:
                writer.transport.abort()
            elif writer:
                writer.close()
        for task in self.tasks:
            task.cancel()

    async def pump(self, reader, writer, handle):
        """Frames from one side to the other, until a side ends. Reading goes on while frames wait for their time."""
        frames, queue = Frames(), asyncio.Queue()
        sender = asyncio.ensure_future(self.send(queue, writer))
        self.tasks.append(sender)
        try:
            while data := await reader.read(CHUNK):
                if self.gate.is_silent or writer is None:
                    continue
                for frame in frames.feed(data):
                    for copy in handle(frame):
                        queue.put_nowait((time.monotonic() + self.gate.delay, copy))
            queue.put_nowait((0.0, None))
            await sender
        except OSError:
            self.is_broken = True

    async def send(self, queue, writer):
        while True:
            due, frame = await queue.get()
            if frame is None:
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.gate.is_silent:
                continue
            writer.write(frame)
            await writer.drain()
            if self.gate.rate:
                await asyncio.sleep(len(frame) / self.gate.rate)

    def request(self, frame):
        """The frames to forward in place of the client's."""
        trick = self.gate.trick_for(api_of(frame))
        if trick is None:
            return [frame]
        correlation = correlation_of(frame, is_request=True)
        if trick.kind == "late":
            self.is_late = True
            task = asyncio.ensure_future(self.deliver_late(frame, trick.seconds))
            self.gate.late.add(task)
            task.add_done_callback(self.gate.late.discard)
            raise ConnectionResetError("late")
        if trick.kind == "duplicate":
            self.unwanted[correlation] += 1
            return [frame, frame]
        self.unanswered.add(correlation)
        return [frame]

    async def deliver_late(self, frame, seconds):
        """The node sees a live connection with a request on it, as from a buffer on the way."""
        await asyncio.sleep(seconds)
        try:
            self.node_writer.write(frame)
            await self.node_writer.drain()
            await asyncio.wait_for(self.node_reader.read(CHUNK), LATE_ANSWER_S)
        except (OSError, asyncio.TimeoutError, RuntimeError):
            pass
        self.node_writer.transport.abort()

    def answer(self, frame):
        correlation = correlation_of(frame, is_request=False)
        if correlation in self.unanswered:
            raise ConnectionResetError("answer dropped")
        if self.unwanted[correlation] > 0:
            self.unwanted[correlation] -= 1
            return []
        return [frame]


class Proxy:
    """All gates of a cluster, on a thread of their own. do() may be called from any thread."""

    def __init__(self, ports):
        self.listen = {node: port for node, (port, _) in ports.items()}
        self.gates = {node: Gate(upstream) for node, (_, upstream) in ports.items()}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.is_up = threading.Event()
        self.servers = []

    def start(self):
        self.thread.start()
        if not self.is_up.wait(10):
            raise RuntimeError("the proxy does not listen")

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.open())
        self.is_up.set()
        self.loop.run_forever()
        for server in self.servers:
            server.close()
        for gate in self.gates.values():
            gate.cut()
        self.loop.run_until_complete(asyncio.sleep(0.1))  # until all that was told to end has ended

    async def open(self):
        for node, port in self.listen.items():
            gate = self.gates[node]
            self.servers.append(await asyncio.start_server(lambda r, w, gate=gate: self.accept(gate, r, w), "127.0.0.1", port))

    async def accept(self, gate, reader, writer):
        if gate.is_refusing:
            writer.transport.abort()
            return
        await Link(gate, reader, writer).run()

    def do(self, node, what, value=None):
        """One fault, or `heal`. Done when it returns."""
        done = threading.Event()

        def apply():
            self.apply(self.gates[node], what, value)
            done.set()
        self.loop.call_soon_threadsafe(apply)
        if not done.wait(10):
            raise RuntimeError("the proxy does not answer")

    @staticmethod
    def apply(gate, what, value):
        if what == "delay":
            gate.delay = value
        elif what == "slow":
            gate.rate = value
        elif what == "cut":
            gate.cut()
        elif what == "refuse":
            gate.is_refusing = True
            gate.cut()
        elif what == "half_open":
            gate.is_silent = True
        elif what in TRICKS:
            gate.tricks.append(Trick(what, *value))
        elif what == "heal":
            was_silent = gate.is_silent
            gate.clear()
            if was_silent:
                gate.cut()
        else:
            raise ValueError(what)

    def played(self):
        """How often each trick was played so far, all nodes together."""
        return sum((gate.done for gate in self.gates.values()), collections.Counter())
