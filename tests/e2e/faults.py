#!/usr/bin/env python3
"""Nothing lost: freshet is killed, its broker restarted, its disk filled; the oracle looks afterwards.

  tests/e2e/faults.py --bin FOLDER [--seed N] [--events N] [--kills N] [scenario...]

FOLDER holds a build with FRESHET_FAULTS (preset `faults`): freshet and oracle. Needs a real broker: starts one of its own
through scripts/kafka on loopback and stops it at the end. All scenarios read one events topic, written once by
`freshet simulate` with duplicates, late events and poison of every kind; each has its own application id, lists topic, dead
letters and store.

A scenario of kind "holds" passes when the oracle finds nothing wrong; one of kind "caught" runs with a planted bug and passes
when the oracle finds something. A scenario that is about kills fails when it had fewer than nine tenths of --kills. Ends with a
line `N passed, N failed, N skipped`. The working folder goes away unless something failed.

Scenarios, about 10 to 30 s each: SCENARIOS_HELP
"""
import argparse
import collections
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
KAFKA = os.path.join(ROOT, "scripts/kafka")
PARTITIONS = 4
ITEMS = 500
ITEMS_TOPIC = "shop.items"
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
CHANCE = {**POINTS, "between_writes": 0.9}  # only the program with a planted bug passes the last
FEW_PASSES = 0.5  # chance at least, once the shared topic has been read to its end: a start then has a batch or two
FEED = 200  # events before each further start, once the shared topic has been read to its end
MISSES = 10  # starts in a row that come to the end without a kill: the point is not reached
LATE = "did not come to the end in 180 s"
STAYING = ("no_dedupe_of_pairs", "rows_not_stored")  # bugs that the last run has too: only there all pairs have come
RANKED = ("plain", "kill_acked")  # scenarios whose model has a ranker; the others merge by rank fusion
MOUNT = "freshet-faults-"  # with the process id: the source of a mounted tmpfs

# trouble: "" or what went wrong.
Outcome = collections.namedtuple("Outcome", "text trouble kills", defaults=(0,))
# counts_kills: whether few kills are a failure.
Scenario = collections.namedtuple("Scenario", "name kind run counts_kills", defaults=(False,))


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


def is_alive(pid):
    return os.path.exists(f"/proc/{pid}")


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
        self.port = free_port()
        self.folder = os.path.join(work, "kafka")
        self.bootstrap = f"127.0.0.1:{self.port}"

    def call(self, verb):
        command = [KAFKA, verb, "--dir", self.folder]
        if verb == "start":
            command += ["--port", str(self.port)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=180)

    def end(self):
        """Stops for good: whether gently or not is nothing to a test that is over."""
        subprocess.run([KAFKA, "stop", "--dir", self.folder], stdout=subprocess.DEVNULL, timeout=180)


class Bench:
    """What all scenarios share: broker, model, the events topic."""

    def __init__(self, args, work):
        self.args, self.work = args, work
        self.broker = Broker(work)
        self.rng = random.Random(args.seed)
        self.least_kills = args.kills * 9 // 10
        self.processes = []  # those that may still run

    def program(self, name):
        return os.path.join(self.args.bin, name)

    def prepare(self):
        self.broker.call("start")
        self.model = os.path.join(self.work, "model")
        self.verb("topics", "create", "--partitions", str(PARTITIONS), "--items-topic", ITEMS_TOPIC,
                  settings=self.settings("prepare"))
        # The encoder only needs to be an encoder here: one short epoch on the shop's own log.
        log = os.path.join(self.work, "shop.tsv")
        self.verb("simulate", "--events", "20000", "--items", str(ITEMS), "--users", "500", "--seed", str(self.args.seed),
                  "--to", log, "--format", "sessions")
        self.verb("train", "--input", log, "--format", "sessions", "--out", self.model, "--epochs", "1", "--dim", "32",
                  "--ranker=false")
        self.ranked_model = self.model + "-ranked"
        self.verb("train", "--input", log, "--format", "sessions", "--out", self.ranked_model, "--epochs", "1", "--dim", "32")
        if not os.path.exists(os.path.join(self.ranked_model, "ranker.json")):
            raise RuntimeError("no ranker was learnt, see freshet train")
        self.large_model = self.model + "-attention"
        self.verb("train", "--input", log, "--format", "sessions", "--out", self.large_model, "--epochs", "1",
                  "--encoder", "attention", "--max-len", "50", "--ranker=false")
        self.verb("simulate", "--events", str(self.args.events), "--items", str(ITEMS), "--users", "500",
                  "--seed", str(self.args.seed), "--to", "topic", "--format", "avro", "--duplicates", "0.05",
                  "--late", "0.05", "--poison", "0.01", "--items-topic", ITEMS_TOPIC, settings=self.settings("prepare"))

        self.delete_items()

    def delete_items(self):
        """Takes every third item out of the catalogue."""
        at = ["-b", self.broker.bootstrap, "-t", ITEMS_TOPIC]
        keys = subprocess.run(["kcat", "-C", "-e", "-q", *at, "-f", "%k\n"], check=True, capture_output=True, text=True, timeout=60)
        gone = sorted(set(keys.stdout.split()))[::3]
        subprocess.run(["kcat", "-P", "-Z", "-K:", "-X", "topic.partitioner=murmur2_random", *at], input="".join(f"{key}:\n" for key in gone), check=True, text=True, timeout=60)

    def settings(self, name):
        state = os.path.join(self.work, "state")
        return {
            "application.id": f"faults-{name}",
            "bootstrap.servers": self.broker.bootstrap,
            "events.topics": "shop.events",
            "recommendations.topic": f"{name}.lists",
            "items.topic": "",
            "related.topic": f"{name}.related",
            "trending.topic": f"{name}.trending",
            "related.memory.max.bytes": "1MiB",  # rows leave the memory
            "blend.related.weight": "0",  # lists would depend on when published ones were read
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

    # ---- running freshet ----

    def start(self, settings, kill_at="", mutant="", seed=1, idle=1000, least=0.0):
        env = dict(os.environ)
        for name in ("FRESHET_KILL_AT", "FRESHET_MUTANT"):
            env.pop(name, None)
        if kill_at:
            env["FRESHET_KILL_AT"] = f"{kill_at}:{max(CHANCE[kill_at], least)}:{seed}"
        if mutant:
            env["FRESHET_MUTANT"] = mutant
        command = [self.program("freshet"), "run", "--idle", str(idle)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        with open(os.path.join(self.work, settings["application.id"] + ".log"), "ab") as log:
            return self.spawn(command, log, env)

    def spawn(self, command, log, env=None):
        self.processes = [process for process in self.processes if process.poll() is None]
        self.processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
        return self.processes[-1]

    def stop(self):
        """Stops all that was started."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.broker.end()

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
            return LATE
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
            process = self.spawn(command, log)
        try:
            yield
        except BaseException:
            process.kill()
            raise
        if process.wait(timeout=180) != 0:
            raise RuntimeError("freshet simulate failed, see simulate.log")

    def kill_at_point(self, settings, point, mutant="", kills=None):
        """Restarts it until it was killed often enough; returns the number of kills and the trouble. Each kill may let some events
        through: when all have been, more come before each start."""
        kills = kills or self.args.kills
        killed = misses = 0
        at_end = False
        while killed < kills and misses < MISSES:
            if at_end:
                with self.more_coming(FEED, rate=100000):
                    pass
            least = FEW_PASSES if at_end else 0.0
            process = self.start(settings, point, mutant, self.rng.getrandbits(30), least=least)
            trouble = self.wait(process)
            if process.returncode == 0:
                at_end = True
                misses += 1
            elif process.returncode == -signal.SIGKILL and trouble != LATE:
                killed += 1
                misses = 0
            else:
                return killed, f"{trouble} after {killed} kills, see {settings['application.id']}.log"
        return killed, ""

    def oracle(self, settings):
        command = [self.program("oracle")]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == 2:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout), done.stderr

    # ---- scenarios: each returns an Outcome ----

    def plain(self, settings):
        return Outcome("no fault", self.finish(settings))

    def point(self, settings, name):
        if name == "opened":
            killed, trouble = self.kill_at_opened(settings)
        else:
            killed, trouble = self.kill_at_point(settings, name)
        return Outcome(f"at {name}", trouble or self.finish(settings), killed)

    def kill_at_opened(self, settings):
        """Nothing moves before this point: each third time a kill at another one, not counted, lets some events through."""
        total = 0
        for i in range(self.args.kills):
            killed, trouble = self.kill_at_point(settings, "opened", kills=1)
            total += killed
            if not trouble and i % 3 == 2:
                _, trouble = self.kill_at_point(settings, "written", kills=1)
            if trouble or not killed:
                break
        return total, trouble

    def cold_states(self, settings):
        """Encoder states that are not stored, and memory for a few of them only: most users come back without one."""
        settings["model.dir"] = self.large_model
        settings["statestore.cache.max.bytes"] = "1MiB"
        killed, trouble = self.kill_at_point(settings, "acked", kills=self.args.kills // 4)
        return Outcome("at acked, states in little memory", trouble or self.finish(settings), killed)

    def catalogue(self, settings):
        """Items that are sold out or not launched yet, in a catalogue that does not change."""
        settings["items.topic"] = ITEMS_TOPIC
        killed, trouble = self.kill_at_point(settings, "acked", kills=self.args.kills // 4)
        return Outcome("at acked, with a catalogue", trouble or self.finish(settings), killed)

    def random_kills(self, settings):
        rate, shortest, longest = 300, 0.2, 1.2
        with self.more_coming(int(rate * (shortest + longest) / 2 * self.args.kills), rate):
            for _ in range(self.args.kills):
                process = self.start(settings, idle=30000)
                time.sleep(self.rng.uniform(shortest, longest))
                if process.poll() is not None:
                    return Outcome("at random times", f"ended by itself with {process.returncode}")
                process.kill()
                process.wait()
        return Outcome("at random times while events came", self.finish(settings), self.args.kills)

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
        return Outcome(f"{restarts} broker restarts while events came", trouble or self.finish(settings))

    def disk_full(self, settings):
        folder = settings["state.dir"]
        os.makedirs(folder, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", f"{MOUNT}{os.getpid()}", folder],
                          capture_output=True).returncode:
            return Outcome("SKIP", "cannot mount a tmpfs here")
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
            return Outcome("disk full", f"ended with {ended} instead of waiting, see {settings['application.id']}.log")
        trouble = self.wait(process) or ("" if noticed else "the disk was never too full")
        return Outcome("disk full while events came", trouble or self.finish(settings))

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
        killed, trouble = 0, ""
        if name == "auto_offset_reset_latest":
            killed, trouble = self.kill_at_point(settings, "written", kills=1)
            process = self.start(settings, mutant=name, idle=4000)
            time.sleep(2.0)
            with self.more_coming(2000, rate=1000):
                pass
            trouble = trouble or self.wait(process)
        elif point:
            if name == "offset_in_second_write":  # its second write follows the first at once: no epoch may wait between them
                settings["max.in.flight.epochs"] = "1"
            killed, trouble = self.kill_at_point(settings, point, mutant=name, kills=10)
        stays = not point or name in STAYING
        return Outcome(f"planted {name}", trouble or self.finish(settings, mutant=name if stays else ""), killed)


SCENARIOS = [Scenario("plain", "holds", lambda b, s: b.plain(s))]
for at in POINTS:
    SCENARIOS.append(Scenario(f"kill_{at}", "holds", lambda b, s, at=at: b.point(s, at), counts_kills=True))
SCENARIOS += [
    Scenario("catalogue", "holds", lambda b, s: b.catalogue(s)),
    Scenario("cold_states", "holds", lambda b, s: b.cold_states(s)),
    Scenario("random_kills", "holds", lambda b, s: b.random_kills(s), counts_kills=True),
    Scenario("broker_restarts", "holds", lambda b, s: b.broker_restarts(s)),
    Scenario("disk_full", "holds", lambda b, s: b.disk_full(s)),
    Scenario("state_before_ack", "caught", lambda b, s: b.mutant(s, "state_before_ack", "written")),
    Scenario("offset_in_second_write", "caught", lambda b, s: b.mutant(s, "offset_in_second_write", "between_writes")),
    Scenario("auto_offset_reset_latest", "caught", lambda b, s: b.mutant(s, "auto_offset_reset_latest", "written")),
    Scenario("skip_on_decode_error", "caught", lambda b, s: b.mutant(s, "skip_on_decode_error", "")),
    Scenario("neighbours_not_stored", "caught", lambda b, s: b.mutant(s, "neighbours_not_stored", "written")),
    Scenario("no_dedupe_of_pairs", "caught", lambda b, s: b.mutant(s, "no_dedupe_of_pairs", "acked")),
    Scenario("rows_not_stored", "caught", lambda b, s: b.mutant(s, "rows_not_stored", "written")),
    Scenario("no_dedupe", "caught", lambda b, s: b.mutant(s, "no_dedupe", "")),
]


def judge(bench, scenario, outcome, settings):
    """(trouble, the oracle's numbers as text)"""
    if outcome.trouble:
        return outcome.trouble, ""
    verdict, shown = bench.oracle(settings)
    numbers = "".join(f" {key}={value}" for key, value in verdict.items())
    wrong = verdict["wrong"]
    if scenario.kind == "holds" and wrong:
        return f"{wrong} differences\n{shown}", numbers
    if scenario.kind == "caught" and not wrong:
        return "the oracle did not notice", numbers
    if scenario.counts_kills and outcome.kills < bench.least_kills:
        return f"{outcome.kills} kills, at least {bench.least_kills} are wanted", numbers
    return "", numbers


def run_one(bench, scenario):
    """Prints one line; returns True when it passed, None when it was skipped."""
    settings = bench.settings(scenario.name)
    folder = settings["state.dir"] = os.path.join(bench.work, "state-" + scenario.name)
    if scenario.name in RANKED:
        settings["model.dir"] = bench.ranked_model
    started = time.time()
    bench.verb("topics", "create", "--partitions", str(PARTITIONS), settings=settings)
    try:
        outcome = scenario.run(bench, settings)
        if outcome.text == "SKIP":
            print(f"SKIP {scenario.name}: {outcome.trouble}", flush=True)
            return None
        trouble, numbers = judge(bench, scenario, outcome, settings)
    finally:
        if os.path.ismount(folder):
            subprocess.run(["umount", folder], capture_output=True)
    print(f"{'FAILED' if trouble else 'ok    '} {scenario.name}: {outcome.text}, kills={outcome.kills}{numbers} "
          f"({time.time() - started:.1f} s)" + (f": {trouble}" if trouble else ""), flush=True)
    if not trouble:
        shutil.rmtree(folder, ignore_errors=True)
    return not trouble


def main():
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__.replace("SCENARIOS_HELP", " ".join(names)),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.SystemRandom().getrandbits(30))))
    parser.add_argument("--events", type=int, default=20000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    unknown = set(args.scenarios) - set(names)
    if unknown:
        sys.exit(f"unknown scenarios: {', '.join(sorted(unknown))}")
    end_on_sigterm()
    unmount_stale()
    work = tempfile.mkdtemp(prefix="freshet-faults-")
    print(f"SEED={args.seed} work={work}", flush=True)
    bench = Bench(args, work)
    outcomes, came_to_end = [], False
    try:
        bench.prepare()
        for scenario in SCENARIOS:
            if not args.scenarios or scenario.name in args.scenarios:
                outcomes.append(run_one(bench, scenario))
        came_to_end = True
    finally:
        bench.stop()
        if came_to_end and False not in outcomes and not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed, {outcomes.count(None)} skipped")
    sys.exit(1 if False in outcomes else 0)


if __name__ == "__main__":
    main()
