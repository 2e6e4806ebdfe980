#!/usr/bin/env python3
"""Half an hour of requests: memory and open descriptors of `freshet run` with http.listen, and its end by SIGTERM under load.

  bench/http_soak.py --bin FOLDER --bootstrap HOST:PORT --work FOLDER [--minutes 30] [--rate 1000] [--connections 32] [--seed 1]

A simulated shop with a catalogue and a small model writes 100 events/s; beside it --rate requests/s over all endpoints at planned
times, one in a hundred on a connection of its own, and now and then a stream of events. Each minute one line: requests by status,
their time from planned to answered, RSS, open descriptors. Then SIGTERM while requests go on. Exit status 1 when an answer is cut
or unexpected, the process does not end with 0 within 30 s, or the log has an error line. Memory options are set small, so that
their bounds are reached early.
"""
import argparse
import asyncio
import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request

LIMITS = {"statestore.cache.max.bytes": 32 << 20, "statestore.uncommitted.max.bytes": 32 << 20, "rocksdb.memory.max.bytes": 32 << 20,
          "producer.queue.max.bytes": 32 << 20, "neighbours.memory.max.bytes": 16 << 20, "http.view.memory.bytes": 16 << 20}
ITEMS, USERS, PAST, PAST_RATE, EVENTS_RATE = 2000, 5000, 100000, 5000, 100
END_S = 30.0


class Failed(Exception):
    """An answer that must not be."""


class Cut(Failed):
    """The connection ended inside an answer."""


class Closed(Exception):
    """The connection ended before the first byte of an answer: the client may ask again."""


def requests(rng, items):
    """Endless requests: name, method, path, body, statuses that may come. items: ids of the catalogue."""
    def user():
        return f"u{rng.randrange(USERS)}"

    def item():
        return rng.choice(items)

    def basket():
        return {"items": [item() for _ in range(rng.randint(1, 5))]}

    makers = [(38, lambda: ("recommend", "GET", f"/v1/recommend/{user()}?n={rng.choice((5, 20, 50))}", None, (200,))),
              (20, lambda: ("session", "POST", "/v1/session", basket(), (200,))),
              (10, lambda: ("related", "GET", f"/v1/related/{item()}", None, (200,))),
              (5, lambda: ("cart", "POST", "/v1/related", basket(), (200,))),
              (5, lambda: ("trending", "GET", "/v1/trending", None, (200,))),
              (5, lambda: ("search", "GET", f"/v1/items?query={rng.choice(('red', 's', 'wo', 'b', 'zz'))}", None, (200,))),
              (5, lambda: ("item", "GET", f"/v1/items/{item()}", None, (200, 404))),
              (1, lambda: ("categories", "GET", "/v1/categories", None, (200,))),
              (2, lambda: ("user", "GET", f"/v1/users/{user()}", None, (200, 404))),
              (2, lambda: ("explain", "GET", f"/v1/explain/{user()}/{item()}", None, (200, 404))),
              (4, lambda: ("event", "POST", "/v1/events", {"event_type": "view", "user_id": user(), "items": [item()]}, (202,))),
              (1, lambda: ("ready", "GET", "/readyz", None, (200,))),
              (1, lambda: ("metrics", "GET", "/metrics", None, (200,))),
              (1, lambda: ("wrong", "GET", rng.choice(("/v1/nothing", "/v1/recommend/u1?n=x", "/v1/related/")), None, (400, 404)))]
    weights = [weight for weight, _ in makers]
    while True:
        yield rng.choices(makers, weights)[0][1]()


class Load:
    """Requests at planned times over connections that stay open."""

    def __init__(self, port, items, args):
        self.port, self.items, self.args = port, items, args
        self.queue = asyncio.Queue()
        self.statuses, self.latencies = collections.Counter(), {"reads": [], "events": []}
        self.ending = self.stopped = False
        self.closed = 0
        self.failures = []

    async def plan(self):
        rng = random.Random(self.args.seed)
        source, begun, sent = requests(rng, self.items), time.monotonic(), 0
        while not self.stopped:
            due = int((time.monotonic() - begun) * self.args.rate)
            while sent < due:
                self.queue.put_nowait((begun + sent / self.args.rate, next(source), rng.random() < 0.01))
                sent += 1
            await asyncio.sleep(0.002)

    async def answer(self, reader):
        """Status and body. Closed: nothing came."""
        line = await reader.readline()
        if not line:
            raise Closed
        length, head = 0, line
        while head not in (b"\r\n", b""):
            head = await reader.readline()
            if head.lower().startswith(b"content-length:"):
                length = int(head.split(b":")[1])
        if head == b"":
            raise Cut(f"inside the head of {line!r}")
        try:
            body = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as end:
            raise Cut(f"inside a body of {length} bytes") from end
        return int(line.split()[1]), body

    async def ask(self, link, request):
        _, method, path, body, may = request
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        try:
            link[1].write(head.encode() + b"\r\n" + data)
            status, text = await self.answer(link[0])
        except ConnectionError as end:
            raise Closed from end
        # A process that ends says 503 to what it cannot do any more.
        if status not in may and not (self.ending and status == 503):
            raise Failed(f"{method} {path}: {status} {text[:200]!r}")
        if status == 200 and path.startswith("/v1/"):
            json.loads(text)
        return status

    async def work(self):
        link = None
        while not self.stopped:
            planned, request, is_alone = await self.queue.get()
            try:
                if link is None or is_alone:
                    if link:
                        link[1].close()
                    link = await asyncio.open_connection("127.0.0.1", self.port)
                self.statuses[await self.ask(link, request)] += 1
                self.latencies["events" if request[0] == "event" else "reads"].append(time.monotonic() - planned)
            except Failed as failure:
                self.failures.append(f"{request[0]}: {failure}")
                link = None
            except (Closed, ConnectionError, OSError):
                self.closed += self.ending
                if not self.ending:
                    self.failures.append(f"{request[0]}: the connection was closed or refused")
                link = None

    async def watch(self):
        """A page that comes, looks at its stream for some seconds, and goes."""
        while not self.stopped:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /v1/stream?user=u1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                until = time.monotonic() + 5
                while time.monotonic() < until and await reader.readline():
                    pass
                writer.close()
            except (ConnectionError, OSError):
                pass
            await asyncio.sleep(5)


class Soak:
    def __init__(self, args):
        self.args = args
        name = f"http-soak-{int(time.time())}"
        self.model, self.past = os.path.join(args.work, name + "-model"), os.path.join(args.work, name + ".tsv")
        self.log = os.path.join(args.work, name + ".log")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        sets = {"application.id": name, "bootstrap.servers": args.bootstrap, "events.topics": f"{name}.events", "items.topic": f"{name}.items",
                "recommendations.topic": f"{name}.lists", "related.topic": f"{name}.related", "trending.topic": f"{name}.trending",
                "state.dir": os.path.join(args.work, name), "log.level": "warn", **LIMITS}
        self.options = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
        self.shop = ["--users", str(USERS), "--items", str(ITEMS), "--seed", str(args.seed), "--quiet"]
        self.items = f"{name}.items"
        self.problems = []

    def freshet(self, *words):
        return [os.path.join(self.args.bin, "freshet"), *words]

    def prepare(self):
        def run(*words):
            subprocess.run(self.freshet(*words), check=True, capture_output=True)
        run("simulate", "--events", "20000", "--to", self.past, "--format", "sessions", *self.shop)
        run("train", "--input", self.past, "--format", "sessions", "--out", self.model, "--epochs", "1", "--dim", "32", "--quiet")
        run("topics", "create", "--partitions", "4", "--items-topic", self.items, *self.options)
        run("simulate", "--events", str(PAST), "--items-topic", self.items, "--start", "now", "--rate", str(PAST_RATE), *self.shop, *self.options)

    def start(self):
        with open(self.log, "ab") as log:
            self.run = subprocess.Popen(self.freshet("run", *self.options, "--set", f"model.dir={self.model}", "--set",
                                                     f"http.listen=127.0.0.1:{self.port}"), stderr=log)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        events = str(EVENTS_RATE * (self.args.minutes + 5) * 60)
        self.feed = subprocess.Popen(self.freshet("simulate", "--events", events, "--rate", str(EVENTS_RATE), "--items-topic", "",
                                                  "--start", "now", *self.shop, *self.options), stdout=subprocess.DEVNULL)

    def catalogue(self):
        """Ids of the items that a search finds."""
        found = set()
        for letter in "abcdefghijklmnopqrstuvwxyz":
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/items?n=50&query={letter}", timeout=5) as answer:
                found |= {item["item_id"] for item in json.load(answer)["items"]}
        return sorted(found)

    def measure(self):
        with open(f"/proc/{self.run.pid}/status") as f:
            rss = next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))
        return rss, len(os.listdir(f"/proc/{self.run.pid}/fd"))

    def line(self, minute, load):
        rss, descriptors = self.measure()
        total = sum(load.statuses.values())
        print(f"http-soak {minute:3d} min  {total:6d} answers {dict(sorted(load.statuses.items()))}", end="")
        for what, times in load.latencies.items():
            took = sorted(times) or [0.0]
            print(f"  {what} p50 {took[len(took) // 2] * 1e3:.1f} p99 {took[len(took) * 99 // 100] * 1e3:.1f} max {took[-1] * 1e3:.0f} ms", end="")
            times.clear()
        print(f"  RSS {rss:.1f} MiB  descriptors {descriptors}", flush=True)
        load.statuses.clear()
        return rss, descriptors, total

    async def load(self):
        load = Load(self.port, self.catalogue(), self.args)
        tasks = [asyncio.create_task(job) for job in
                 [load.plan(), load.watch(), *(load.work() for _ in range(self.args.connections))]]
        samples, begun = [], time.monotonic()
        for minute in range(1, self.args.minutes + 1):
            await asyncio.sleep(begun + minute * 60 - time.monotonic())
            samples.append(self.line(minute, load))
            if load.failures or self.run.poll() is not None:
                break
        load.ending, ended = True, time.monotonic()
        self.run.send_signal(signal.SIGTERM)
        while self.run.poll() is None and time.monotonic() < ended + END_S:
            await asyncio.sleep(0.01)
        took, load.stopped = time.monotonic() - ended, True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(f"http-soak: SIGTERM under load: exit {self.run.poll()} after {took:.2f} s, {dict(load.statuses)} answered meanwhile, "
              f"{load.closed} requests found the connection closed before an answer began or no server")
        self.problems += load.failures[:5]
        if self.run.poll() != 0:
            self.problems.append(f"exit {self.run.poll()}")
        return samples

    def report(self, samples):
        with open(self.log) as f:
            self.problems += [line.strip() for line in f if "level=error" in line][:5]
        half = len(samples) // 2
        for what, part in (("first", samples[:half]), ("second", samples[half:])):
            if part:
                print(f"http-soak: {what} half: {sum(s[2] for s in part)} answers, RSS {min(s[0] for s in part):.1f} to "
                      f"{max(s[0] for s in part):.1f} MiB, descriptors {min(s[1] for s in part)} to {max(s[1] for s in part)}")
        for problem in self.problems:
            print(f"http-soak: WRONG {problem}")
        return 1 if self.problems else 0

    def stop(self):
        for process in (self.run, self.feed):
            if process.poll() is None:
                process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    soak = Soak(parser.parse_args())
    soak.prepare()
    soak.start()
    try:
        samples = asyncio.run(soak.load())
    finally:
        soak.stop()
    sys.exit(soak.report(samples))


if __name__ == "__main__":
    main()
