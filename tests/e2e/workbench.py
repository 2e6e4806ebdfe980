"""What drivers that break things share: a broker, a shop with its events topic, freshet with its faults, a reader beside it, the oracle.

Needs a build with FRESHET_FAULTS (preset `faults`): freshet and oracle.
"""
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KAFKA = os.path.join(ROOT, "scripts/kafka")
PARTITIONS = 4
ITEMS = 500
ITEMS_TOPIC = "shop.items"
SHOP_START_MS = 1736121600000  # where `freshet simulate` begins
TRIES = 4  # of a planted bug: some show only where a kill falls between two answers of the broker
NAME = re.compile("[A-Za-z0-9_-]+")
# Crash points of the default mode (docs/ARCHITECTURE.md has the table): name in the program, chance at each pass.
POINTS = {
    "opened": 1.0,
    "fetched": 0.06,
    "inferred": 0.06,
    "some_produced": 0.06,
    "some_pairs": 0.06,
    "acked": 0.8,
    "in_write": 0.9,
    "written": 1.0,
}
# Those of exactly_once_v2, rows of RELIABILITY 2.2: `sealed` to `committed` are the process's, the rest each shard's.
EXACT_POINTS = {
    "opened": 1.0,
    "fetched": 0.06,
    "inferred": 0.06,
    "some_produced": 0.06,
    "some_pairs": 0.06,
    "sealed": 0.5,
    "offsets_sent": 0.5,
    "commit_sent": 0.5,
    "committed": 0.5,
    "acked": 0.5,
    "in_write": 0.5,
    "written": 0.5,
}
CHANCE = {**POINTS, "between_writes": 0.9, "tail": 0.05}  # only the program with a planted bug passes the last
# Calls of exactly_once_v2 that fail: what, chance at each.
FAILURES = {"offsets_refused": 0.2, "commit_refused": 0.2, "commit_lost": 0.2, "commit_unheard": 0.2, "record_refused": 0.001, "call_hangs": 1.0, "forwarded_late": 0.7, "displaced": 0.1}
LOSSES = [name for name in FAILURES if name not in ("call_hangs", "forwarded_late")]
LATE = "did not come to the end in time"
MOUNT = "freshet-faults-"  # with the process id: the source of a mounted tmpfs


def free_port():
    """A free port below the range that clients connect from: while the broker is down, a client that tries to reach it must not be
    given the broker's own port to connect from (the connection would be to itself, and the port taken)."""
    while True:
        port = random.SystemRandom().randrange(15000, 30000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def distinct_ports(n):
    ports = set()
    while len(ports) < n:
        ports.add(free_port())
    return list(ports)


def is_alive(pid):
    return os.path.exists(f"/proc/{pid}")


def is_exact(settings):
    return settings.get("processing.guarantee") == "exactly_once_v2"


def unmount_stale():
    """Takes away what a run that was killed left mounted."""
    with open("/proc/self/mounts") as mounts:
        for source, folder in (line.split()[:2] for line in mounts):
            pid = source[len(MOUNT):]
            if source.startswith(MOUNT) and pid.isdigit() and not is_alive(pid):
                subprocess.run(["umount", folder], check=False)


def end_on_sigterm():
    """A time limit ends a driver like an error: what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


class Broker:
    def __init__(self, work):
        self.port, self.behind, self.front = distinct_ports(3)  # clients of `front` come through a proxy, when there is one
        self.folder = os.path.join(work, "kafka")
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.proxied = f"127.0.0.1:{self.front}"

    def call(self, verb):
        command = [KAFKA, verb, "--dir", self.folder]
        if verb == "start":
            command += ["--port", str(self.port), "--proxied", f"{self.behind}:{self.front}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=180)

    def end(self):
        """Stops for good: whether gently or not is nothing to a test that is over."""
        subprocess.run([KAFKA, "stop", "--dir", self.folder], stdout=subprocess.DEVNULL, timeout=180)


class Reader:
    """Reads one partition from its beginning while things break; kcat ends when all brokers are away, and goes on where it was."""

    def __init__(self, command):
        self.command, self.lines, self.is_stopping = command, [], False
        self.process = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_stopping:
            at = int(self.lines[-1].split(" ", 1)[0]) + 1 if self.lines else "beginning"
            self.process = subprocess.Popen([*self.command, "-o", str(at)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for line in self.process.stdout:
                if line.endswith("\n"):
                    self.lines.append(line[:-1])
            self.process.wait()
            time.sleep(0.1)

    def stop(self):
        self.is_stopping = True
        while self.thread.is_alive():
            if self.process:
                self.process.kill()
            self.thread.join(timeout=0.1)


class Workbench:
    """What all cases share: broker, model, the events topic. args: bin, seed."""

    def __init__(self, args, work, broker=None):
        self.args, self.work = args, work
        self.broker = broker or Broker(work)
        self.rng = random.Random(args.seed)
        self.processes = []  # those that may still run

    def program(self, name):
        return os.path.join(self.args.bin, name)

    def prepare_shop(self):
        """Broker, topics and a model. The encoder only needs to be an encoder here: one short epoch on the shop's own log."""
        self.broker.call("start")
        self.model = os.path.join(self.work, "model")
        self.verb("topics", "create", "--partitions", str(PARTITIONS), "--items-topic", ITEMS_TOPIC,
                  settings=self.settings("prepare"))
        self.shop_log = os.path.join(self.work, "shop.tsv")
        self.verb("simulate", "--events", "20000", "--items", str(ITEMS), "--users", "500", "--seed", str(self.args.seed),
                  "--to", self.shop_log, "--format", "sessions")
        self.train(self.model, "--dim", "32", "--ranker=false")

    def train(self, folder, *words):
        self.verb("train", "--input", self.shop_log, "--format", "sessions", "--out", folder, "--epochs", "1", *words)

    def settings(self, name):
        state = os.path.join(self.work, "state")
        return {
            "application.id": f"faults-{name}",
            "bootstrap.servers": self.broker.bootstrap,
            "events.topics": "shop.events",
            "recommendations.topic": f"{name}.lists",
            "items.topic": "",
            "erasures.topic": f"{name}.erasures",
            "erasure.guard.ms": "3650d",  # simulated events are old
            "related.topic": f"{name}.related",
            "trending.topic": f"{name}.trending",
            "related.memory.max.bytes": "1MiB",  # rows leave the memory
            "blend.related.weight": "0",  # lists would depend on when published ones were read
            "blend.trending.weight": "0",
            "related.partners.max": "12",  # and partners their rows
            "related.user.max": "15",
            "state.dir": state,
            "model.dir": self.model,
            "group.instance.id": f"faults-{name}",
            "commit.interval.ms": "10",
            "batch.max.events": "64",
            "session.window": "20",
            "neighbours.memory.max.bytes": "256KiB",  # sessions leave at the bounds
            "log.level": "warn",
        }

    def verb(self, *words, settings=None):
        command = [self.program("freshet"), *words]
        for key, value in (settings or {}).items():
            command += ["--set", f"{key}={value}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words[:2])}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def delete_topics(self, *prefixes):
        """Topics with such names: a broker that keeps those of all scenarios takes longer and longer to start again. Where it does not
        do it in time, nothing is amiss."""
        with contextlib.suppress(OSError, RuntimeError, subprocess.SubprocessError):
            listed = subprocess.run(["kcat", "-L", "-J", "-b", self.broker.bootstrap], capture_output=True, text=True, check=True, timeout=60)
            for topic in json.loads(listed.stdout)["topics"]:
                if topic["topic"].startswith(prefixes):
                    wire.delete_topic(self.broker.bootstrap, topic["topic"])

    # ---- running freshet ----

    def start(self, settings, kill_at="", mutant="", seed=1, idle=1000, least=0.0, fail_at="", more_env=None, chance=None):
        env = {**os.environ, **(more_env or {})}
        for name in ("FRESHET_KILL_AT", "FRESHET_FAIL_AT", "FRESHET_MUTANT"):
            env.pop(name, None)
        if kill_at:
            chances = EXACT_POINTS if is_exact(settings) else CHANCE
            chance = chance or max(chances.get(kill_at, CHANCE.get(kill_at)), least)
            env["FRESHET_KILL_AT"] = f"{kill_at}:{chance}:{seed}"
        if fail_at:
            env["FRESHET_FAIL_AT"] = f"{fail_at}:{FAILURES[fail_at]}:{seed}"
        if mutant:
            env["FRESHET_MUTANT"] = mutant
        command = [self.program("freshet"), "run", "--idle", str(idle)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        with open(os.path.join(self.work, settings["application.id"] + ".log"), "ab") as log:
            return self.spawn(command, log, env)

    def spawn(self, command, log, env=None):
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def kill_all(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def stop(self):
        """Stops all that was started."""
        self.kill_all()
        self.broker.end()

    def finish(self, settings, mutant="", idle=1000, seconds=180):
        """Runs to the end of the topic without kills."""
        trouble = self.wait(self.start(settings, mutant=mutant, idle=idle), seconds)
        return trouble and f"{trouble}, see {settings['application.id']}.log"

    def wait(self, process, seconds=180):
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return LATE
        return "" if code == 0 else f"exit {code}"

    def log_text(self, settings):
        with open(os.path.join(self.work, settings["application.id"] + ".log"), errors="replace") as f:
            return f.read()

    def await_words(self, settings, words, times=1, seconds=60):
        """Until its log holds the words so many times, or time is over."""
        until = time.time() + seconds
        while self.log_text(settings).count(words) < times and time.time() < until:
            time.sleep(0.02)

    @contextlib.contextmanager
    def more_coming(self, events, rate, *words, seed=None):
        """More events into the shared topic meanwhile; all are there at the end of the block. With the seed of others they come again."""
        command = [self.program("freshet"), "simulate", "--events", str(events), "--items", str(ITEMS), "--users", "500",
                   "--seed", str(self.rng.getrandbits(30) if seed is None else seed), "--to", "topic", "--items-topic", "", "--rate", str(rate), *words]
        for key, value in self.settings("prepare").items():
            command += ["--set", f"{key}={value}"]
        with open(os.path.join(self.work, "simulate.log"), "ab") as log:
            process = self.spawn(command, log)
        try:
            yield
        except BaseException:
            process.kill()
            raise
        if process.wait(timeout=180) != 0:
            raise RuntimeError("freshet simulate failed, see simulate.log")

    def oracle(self, settings, seconds=300, also=()):
        """also: folders of further stores."""
        command = [self.program("oracle")]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        for folder in also:
            command += ["--also", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"the oracle ended with {done.returncode}: {done.stderr[-3000:]}")
        return json.loads(done.stdout), done.stderr

    # ---- users who are forgotten ----

    def some_users(self, seconds=60):
        """Names in the shared topic, users and visitors, in an order of their own."""
        command = ["kcat", "-C", "-e", "-q", "-b", self.broker.bootstrap, "-t", "shop.events", "-f", "%k\n"]
        keys = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=seconds).stdout
        return sorted({key for key in keys.split("\n") if NAME.fullmatch(key)})

    def forget(self, topic, rng, users, n, label, is_now=False, seconds=60):
        """Asks for n users to be forgotten, some more than once: up to now, which keeps all simulated events out, or up to some time among
        them. is_now: the first n, each once, up to now. False: nobody took it."""
        lines = ""
        for k in range(n):
            name = users[k] if is_now else rng.choice(users)
            request = {"user_id": name, "anonymous_id": name, "request_id": f"{label}-{k}"}
            if not is_now and rng.random() < 0.5:
                request["requested_at"] = SHOP_START_MS + int(rng.choice([1e4, 8e7]) * rng.random())
            lines += f"{name}\t{json.dumps(request)}\n"
        command = ["kcat", "-P", "-b", self.broker.bootstrap, "-t", topic, "-K", "\t", "-X", "topic.partitioner=murmur2_random"]
        return subprocess.run(command, input=lines, text=True, capture_output=True, timeout=seconds).returncode == 0

    # ---- exactly_once_v2 ----

    @contextlib.contextmanager
    def exact(self, settings):
        """In that mode, with two threads, so that a transaction is of several shards; beside it somebody reads the lists."""
        settings.update({"processing.guarantee": "exactly_once_v2", "num.stream.threads": "2"})
        readers = self.readers(settings)
        try:
            yield lambda trouble: trouble or self.seen_trouble(settings, readers)
        finally:
            for reader in readers:
                reader.stop()

    def readers(self, settings):
        """Of the lists' topic, one for each partition; the caller stops them."""
        return [Reader(self.reader_command(settings, partition)) for partition in range(PARTITIONS)]

    def reader_command(self, settings, partition):
        return ["kcat", "-C", "-q", "-u", "-b", self.broker.bootstrap, "-t", settings["recommendations.topic"], "-p", str(partition),
                "-X", "isolation.level=read_committed", "-X", "fetch.wait.max.ms=100", "-f", "%o %h\n"]

    def seen_trouble(self, settings, readers):
        """What was read meanwhile is what is read now, in the same order."""
        for partition, reader in enumerate(readers):
            command = [*self.reader_command(settings, partition), "-o", "beginning", "-e"]
            now = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
            for _ in range(100):
                if len(reader.lines) >= len(now):
                    break
                time.sleep(0.1)
            if reader.lines != now:
                return f"partition {partition}: who read meanwhile saw {len(reader.lines)} lists, now there are {len(now)}"
        return ""

    # ---- a full disk ----

    @staticmethod
    def mount_small(folder, mib=64):
        """Whether a disk of that size could be mounted there."""
        os.makedirs(folder, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", f"{MOUNT}{os.getpid()}", folder]
        return subprocess.run(command, capture_output=True).returncode == 0

    @staticmethod
    def unmount(folder):
        if os.path.ismount(folder):
            subprocess.run(["umount", folder], capture_output=True)

    @staticmethod
    def fill(path, done):
        """Keeps a disk full until done: what others free meanwhile is taken as well."""
        with open(path, "wb", buffering=0) as f:
            while not done.is_set():
                try:
                    f.write(b"\0" * 4096)
                except OSError:
                    time.sleep(0.005)
