#!/usr/bin/env python3
"""Nothing lost: freshet is killed, its broker restarted, its disk filled; the oracle looks afterwards.

  tests/e2e/faults.py --bin FOLDER [--seed N] [--events N] [--kills N] [scenario...]

FOLDER holds a build with FRESHET_FAULTS (preset `faults`): freshet and oracle. Needs a real broker: starts one of its own
through scripts/kafka on loopback and stops it at the end. All scenarios read one events topic, written once by
`freshet simulate` with duplicates, late events and poison of every kind; each has its own application id, lists topic, dead
letters and store.

A scenario of kind "holds" passes when the oracle finds nothing wrong; one of kind "caught" runs with a planted bug and passes
when the oracle finds something. Ends with a line `N passed, N failed`.
"""
import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTITIONS = 4
ITEMS = 500
# Crash points of the default mode (docs/ARCHITECTURE.md has the table): name in the program, chance at each pass.
POINTS = {
    "opened": 1.0,
    "fetched": 0.06,
    "inferred": 0.06,
    "some_produced": 0.06,
    "acked": 0.8,
    "in_write": 0.9,
    "written": 1.0,
}


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


class Broker:
    def __init__(self, work):
        self.port = free_port()
        self.folder = os.path.join(work, "kafka")
        self.bootstrap = f"127.0.0.1:{self.port}"

    def call(self, verb):
        command = [os.path.join(ROOT, "scripts/kafka"), verb, "--dir", self.folder]
        if verb == "start":
            command += ["--port", str(self.port)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=180)


class Bench:
    """What all scenarios share: broker, model, the events topic."""

    def __init__(self, args, work):
        self.args, self.work = args, work
        self.broker = Broker(work)
        self.rng = random.Random(args.seed)

    def program(self, name):
        return os.path.join(self.args.bin, name)

    def prepare(self):
        self.broker.call("start")
        self.model = os.path.join(self.work, "model")
        self.verb("topics", "create", "--partitions", str(PARTITIONS), settings=self.settings("prepare"))
        # The encoder only needs to be an encoder here: one short epoch on the shop's own log.
        log = os.path.join(self.work, "shop.tsv")
        self.verb("simulate", "--events", "20000", "--items", str(ITEMS), "--users", "500", "--seed", str(self.args.seed),
                  "--to", log, "--format", "sessions")
        self.verb("train", "--input", log, "--format", "sessions", "--out", self.model, "--epochs", "1", "--dim", "32")
        self.verb("simulate", "--events", str(self.args.events), "--items", str(ITEMS), "--users", "500",
                  "--seed", str(self.args.seed), "--to", "topic", "--format", "avro", "--duplicates", "0.05",
                  "--late", "0.05", "--poison", "0.01", settings=self.settings("prepare"))

    def settings(self, name):
        state = os.path.join(self.work, "state")
        return {
            "application.id": f"faults-{name}",
            "bootstrap.servers": self.broker.bootstrap,
            "events.topics": "shop.events",
            "recommendations.topic": f"{name}.lists",
            "state.dir": state,
            "model.dir": self.model,
            "group.instance.id": f"faults-{name}",
            "commit.interval.ms": "10",
            "batch.max.events": "64",
            "session.window": "20",
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

    # ---- running freshet ----

    def start(self, settings, kill_at="", mutant="", seed=1, idle=1000):
        env = dict(os.environ)
        for name in ("FRESHET_KILL_AT", "FRESHET_MUTANT"):
            env.pop(name, None)
        if kill_at:
            env["FRESHET_KILL_AT"] = f"{kill_at}:{POINTS.get(kill_at, 0.3)}:{seed}"
        if mutant:
            env["FRESHET_MUTANT"] = mutant
        command = [self.program("freshet"), "run", "--idle", str(idle)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        log = open(os.path.join(self.work, settings["application.id"] + ".log"), "ab")
        return subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def finish(self, settings, mutant=""):
        """Runs to the end of the topic without kills."""
        trouble = self.wait(self.start(settings, mutant=mutant))
        return trouble and f"{trouble}, see {settings['application.id']}.log"

    def wait(self, process):
        try:
            code = process.wait(timeout=180)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "did not come to the end in 180 s"
        return "" if code == 0 else f"exit {code}"

    def log_text(self, settings):
        with open(os.path.join(self.work, settings["application.id"] + ".log"), errors="replace") as f:
            return f.read()

    @contextlib.contextmanager
    def more_coming(self, events, rate):
        """More events into the shared topic meanwhile; all are there at the end of the block."""
        command = [self.program("freshet"), "simulate", "--events", str(events), "--items", str(ITEMS), "--users", "500",
                   "--seed", str(self.rng.getrandbits(30)), "--to", "topic", "--items-topic", "", "--rate", str(rate)]
        for key, value in self.settings("prepare").items():
            command += ["--set", f"{key}={value}"]
        with open(os.path.join(self.work, "simulate.log"), "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            if process.wait(timeout=180) != 0:
                raise RuntimeError("freshet simulate failed, see simulate.log")

    def kill_at_point(self, settings, point, mutant="", kills=None):
        """Restarts it until it was killed often enough or came to the end; returns the number of kills."""
        killed = 0
        for _ in range(kills or self.args.kills):
            process = self.start(settings, point, mutant, self.rng.getrandbits(30))
            try:
                code = process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                break
            if code != -signal.SIGKILL:
                break
            killed += 1
        return killed

    def oracle(self, settings):
        command = [self.program("oracle")]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == 2:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout), done.stderr

    # ---- scenarios: each returns (settings, text, trouble) ----

    def plain(self, settings):
        return "no fault", self.finish(settings)

    def point(self, settings, name):
        killed = 0
        if name == "opened":  # nothing moves before it: get on by other kills in between
            for _ in range(self.args.kills // 4):
                killed += self.kill_at_point(settings, name, kills=1)
                self.kill_at_point(settings, "written", kills=1)
        else:
            killed = self.kill_at_point(settings, name)
        trouble = self.finish(settings)
        if not trouble and killed == 0:
            trouble = "was never killed: the point is not reached"
        return f"{killed} kills", trouble

    def random_kills(self, settings):
        killed = 0
        with self.more_coming(6000, rate=300):
            end = time.time() + 20
            while time.time() < end:
                process = self.start(settings, idle=30000)
                time.sleep(self.rng.uniform(0.2, 1.5))
                process.kill()
                process.wait()
                killed += 1
        return f"{killed} kills at random times while events came", self.finish(settings)

    def broker_restarts(self, settings):
        process = self.start(settings, idle=6000)
        restarts = 0
        with self.more_coming(6000, rate=500):
            for verb in ("restart", "kill", "restart"):
                time.sleep(1.0)
                self.broker.call(verb)
                if verb == "kill":
                    self.broker.call("start")
                restarts += 1
        trouble = self.wait(process)
        return f"{restarts} broker restarts while events came", trouble or self.finish(settings)

    def disk_full(self, settings):
        folder = settings["state.dir"]
        os.makedirs(folder, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True).returncode:
            return "SKIP", "cannot mount a tmpfs here"
        ballast = os.path.join(folder, "ballast")
        # A small store writes into new files all the time; a large one has room set aside in its log.
        process = self.start(dict(settings, **{"rocksdb.memory.max.bytes": "8MiB"}), idle=6000)
        time.sleep(3.0)
        full, noticed = threading.Event(), False
        filler = threading.Thread(target=self.fill, args=(ballast, full))
        filler.start()
        try:
            for _ in range(20):  # until its files have used up the room that was set aside for them
                with self.more_coming(2000, rate=4000):
                    pass
                noticed = "disk is full" in self.log_text(settings)
                if noticed:
                    break
            ended = process.poll()
        finally:
            full.set()
            filler.join()
            os.unlink(ballast)
        if ended is not None:
            return "disk full", f"ended with {ended} instead of waiting, see {settings['application.id']}.log"
        trouble = self.wait(process) or ("" if noticed else "the disk was never too full")
        return "disk full while events came", trouble or self.finish(settings)

    @staticmethod
    def fill(path, done):
        """Keeps a disk full until done: what others free meanwhile is taken as well."""
        with open(path, "wb", buffering=0) as f:
            while not done.is_set():
                try:
                    f.write(b"\0" * 4096)
                except OSError:
                    time.sleep(0.005)

    def mutant(self, settings, name, point):
        if name == "auto_offset_reset_latest":
            self.kill_at_point(settings, "written", kills=1)
            process = self.start(settings, mutant=name, idle=4000)
            time.sleep(2.0)
            with self.more_coming(2000, rate=1000):
                pass
            self.wait(process)
        elif point:
            self.kill_at_point(settings, point, mutant=name, kills=10)
        return f"planted {name}", self.finish(settings, mutant="" if point else name)


SCENARIOS = [("plain", "holds", lambda b, s: b.plain(s))]
for at in POINTS:
    SCENARIOS.append((f"kill_{at}", "holds", lambda b, s, at=at: b.point(s, at)))
SCENARIOS += [
    ("random_kills", "holds", lambda b, s: b.random_kills(s)),
    ("broker_restarts", "holds", lambda b, s: b.broker_restarts(s)),
    ("disk_full", "holds", lambda b, s: b.disk_full(s)),
    ("state_before_ack", "caught", lambda b, s: b.mutant(s, "state_before_ack", "written")),
    ("offset_in_second_write", "caught", lambda b, s: b.mutant(s, "offset_in_second_write", "between_writes")),
    ("auto_offset_reset_latest", "caught", lambda b, s: b.mutant(s, "auto_offset_reset_latest", "written")),
    ("skip_on_decode_error", "caught", lambda b, s: b.mutant(s, "skip_on_decode_error", "")),
    ("no_dedupe", "caught", lambda b, s: b.mutant(s, "no_dedupe", "")),
]


def run_one(bench, name, kind, scenario):
    """Prints one line; returns True when it passed, None when it was skipped."""
    settings = bench.settings(name)
    settings["state.dir"] = os.path.join(bench.work, "state-" + name)
    started = time.time()
    bench.verb("topics", "create", "--partitions", str(PARTITIONS), settings=settings)
    text, trouble = scenario(bench, settings)
    verdict, shown = {}, ""
    if text == "SKIP":
        print(f"SKIP {name}: {trouble}", flush=True)
        return None
    if not trouble:
        verdict, shown = bench.oracle(settings)
        wrong = verdict["wrong"]
        if kind == "holds" and wrong:
            trouble = f"{wrong} differences\n{shown}"
        if kind == "caught" and not wrong:
            trouble = "the oracle did not notice"
    numbers = " ".join(f"{key}={value}" for key, value in verdict.items())
    print(f"{'FAILED' if trouble else 'ok    '} {name}: {text}, {numbers} ({time.time() - started:.1f} s)"
          + (f": {trouble}" if trouble else ""), flush=True)
    subprocess.run(["umount", settings["state.dir"]], capture_output=True)
    shutil.rmtree(settings["state.dir"], ignore_errors=True)
    return not trouble


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.SystemRandom().getrandbits(30))))
    parser.add_argument("--events", type=int, default=20000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    unknown = set(args.scenarios) - {name for name, _, _ in SCENARIOS}
    if unknown:
        sys.exit(f"unknown scenarios: {', '.join(sorted(unknown))}")
    work = tempfile.mkdtemp(prefix="freshet-faults-")
    print(f"SEED={args.seed} work={work}", flush=True)
    bench = Bench(args, work)
    passed = failed = skipped = 0
    try:
        bench.prepare()
        for name, kind, scenario in SCENARIOS:
            if args.scenarios and name not in args.scenarios:
                continue
            outcome = run_one(bench, name, kind, scenario)
            passed += outcome is True
            failed += outcome is False
            skipped += outcome is None
    finally:
        bench.broker.call("stop")
        if not args.keep and not failed:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
