#!/usr/bin/env python3
"""Several processes of one application.id: they join, leave, are killed, stand still and come back; the oracle looks afterwards.

  tests/e2e/processes.py --bin FOLDER [--seed N] [--events N] [--session MS] [scenario...]

FOLDER holds a build with FRESHET_FAULTS (preset `faults`): freshet and oracle. Starts a real broker of its own. Each scenario has
topics, an application id and, for each process, a store of its own; they run beside each other, since most of their time is
waiting for sessions to end. --events is how many each reads.

A scenario of kind "holds" passes when the oracle finds nothing wrong in the topics and in the stores, of each partition in the one
that is furthest; one of kind "caught" runs with a planted bug and passes when the oracle finds something. Ends with a line
`N passed, N failed, N skipped`. --session is the sessions' time-out; where a process must come back or be replaced within it, on a
busy machine too, it is four times that.

Without names all run but BY_HAND. A list is stale when the last record of its key is of an older event than one before it: who was
replaced within its session, in the default mode, may leave such lists (docs/SCALING.md); elsewhere there must be none.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import avro
import workbench

PARTITIONS = 4
FENCED = 8
WAIT_S = 120
COPIES = {"statestore.changelog.enabled": "true", "num.standby.replicas": "1"}

Scenario = collections.namedtuple("Scenario", "name kind run exact mutant transaction_ms stale more sessions",
                                  defaults=(False, "", "5000", False, {}, 1))


class Trouble(Exception):
    pass


def must(holds, text):
    if not holds:
        raise Trouble(text)


class Member:
    """One process of a group; its log is a file of its own."""

    def __init__(self, group, name, process):
        self.group, self.name, self.process = group, name, process

    def log(self):
        with open(self.group.log_of(self.name), errors="replace") as f:
            return f.read()

    def holds(self):
        """The partitions that it has now, as its log tells."""
        held = set()
        for what, partition in re.findall(r'msg="partition (assigned|revoked)".* partition=(\d+)', self.log()):
            (held.add if what == "assigned" else held.discard)(int(partition))
        return held

    def has_written(self):
        folder = os.path.join(self.group.settings_of(self.name)["state.dir"], self.group.settings["application.id"], "db")
        return os.path.isdir(folder)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, code=0):
        """Waits until it has ended, with this exit code."""
        try:
            got = self.process.wait(timeout=WAIT_S)
        except Exception as error:
            raise Trouble(f"{self.name} does not end") from error
        must(got == code, f"{self.name}: exit {got}, not {code}: {self.log()[-600:]}")


class Server:
    """`freshet serve`: its HTTP answers."""

    def __init__(self, group, name):
        self.port = workbench.free_port()
        own = {"state.dir": os.path.join(group.bench.work, "view", group.scenario.name, name), "http.listen": f"127.0.0.1:{self.port}"}
        command = [group.bench.program("freshet"), "serve"]
        for key, value in dict(group.settings, **own).items():
            command += ["--set", f"{key}={value}"]
        with open(group.log_of(name), "ab") as log:
            self.process = group.bench.spawn(command, log)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        until = time.time() + WAIT_S
        while time.time() < until and not self.is_ready():
            must(self.process.poll() is None, f"{name} ended with {self.process.returncode}")
            time.sleep(0.05)

    def is_ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            self.connection.close()
            return False

    def get(self, path):
        self.connection.request("GET", path, headers={"Connection": "close"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def end(self):
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=WAIT_S)
        must(self.process.returncode == 0, f"a server ended with {self.process.returncode}")


class Group:
    """The processes of one scenario."""

    def __init__(self, bench, scenario):
        self.bench, self.scenario = bench, scenario
        self.rng = random.Random(f"{bench.args.seed} {scenario.name}")
        self.settings = bench.settings(scenario.name)
        self.settings.update({"events.topics": f"{scenario.name}.events", "session.timeout.ms": str(self.session_ms()),
                              "log.level": "info", "log.format": "logfmt"})
        self.settings.pop("group.instance.id")
        self.settings.pop("state.dir")
        self.settings.update(scenario.more)
        self.members, self.readers = [], []
        if scenario.exact:
            self.settings.update({"processing.guarantee": "exactly_once_v2", "num.stream.threads": "2",
                                  "producer.transaction.timeout.ms": scenario.transaction_ms})

    def session_ms(self):
        return self.scenario.sessions * self.bench.args.session

    def log_of(self, name):
        return os.path.join(self.bench.work, f"{self.scenario.name}-{name}.log")

    def settings_of(self, name, instance=None):
        own = dict(self.settings, **{"state.dir": os.path.join(self.bench.work, "state", self.scenario.name, name)})
        return dict(own, **{"group.instance.id": instance}) if instance else own

    def prepare(self):
        with self.bench.one_at_a_time:  # a young broker on a busy machine takes seconds for ten topics
            for left in (3, 2, 1, 0):
                try:
                    self.bench.verb("topics", "create", "--partitions", str(PARTITIONS), "--items-topic", "", settings=self.settings_of("none"))
                    break
                except RuntimeError:
                    if not left:
                        raise
        self.readers = self.bench.readers(self.settings) if self.scenario.exact else []

    def start(self, name, instance=None):
        """static: instance is its group.instance.id; without one it leaves the group when it ends."""
        process = self.bench.start_member(self.settings_of(name, instance), self.log_of(name), self.scenario.mutant)
        self.members = [member for member in self.members if member.name != name]
        self.members.append(Member(self, name, process))
        return self.members[-1]

    def feed(self, events, rate=100000):
        return self.bench.feed(self.settings_of("none"), events, rate, self.rng.getrandbits(30))

    @contextlib.contextmanager
    def feeding(self, events, rate):
        feed = self.feed(events, rate)
        try:
            yield
        except BaseException:
            feed.kill()
            raise
        must(feed.wait(timeout=WAIT_S) == 0, "freshet simulate failed")

    def lists(self):
        """(partition, time, event's offset, key, value) of each list, in the topic's order; times in s."""
        command = ["kcat", "-C", "-e", "-q", "-b", self.bench.broker.bootstrap, "-t", self.settings["recommendations.topic"], "-X", "check.crcs=true",
                   "-f", "%p %T %h %K %S\n%k%s\n"]
        data = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
        found, at = [], 0
        while at < len(data):
            end = data.index(b"\n", at)
            partition, stamp, header, key_size, size = data[at:end].split(b" ")
            key = data[end + 1:end + 1 + int(key_size)]
            value = data[end + 1 + int(key_size):end + 1 + int(key_size) + int(size)]
            found.append((int(partition), int(stamp) / 1000, int(header.rsplit(b"/", 1)[1]), key, value))
            at = end + 2 + int(key_size) + int(size)
        return found

    def serve(self, name):
        return Server(self, name)

    def answers_check(self, servers):
        """Each server answers for each user what stands in the topic, or says that it filled up an empty list; how many users."""
        with open(os.path.join(workbench.ROOT, "schemas/avro/recommendations.avsc")) as f:
            schema = json.load(f)
        newest = {key.decode(): avro.decode(schema, value[5:]) for _, _, _, key, value in self.lists()}
        for server in servers:
            for user, stands in newest.items():
                status, answer = server.get(f"/v1/recommend/{urllib.parse.quote(user)}?n={max(1, len(stands['items']))}")
                must(status == 200, f"{user}: {status} {answer}")
                answer = json.loads(answer)
                wanted = (stands["recommendation_id"], [item["item_id"] for item in stands["items"]])
                items = [] if answer["fallback"] else answer["items"]
                got = (answer["recommendation_id"], [item["item_id"] for item in items])
                must(got == wanted, f"{user}: {got} and not {wanted}")
        return len(newest)

    def resumed_after(self, killed, partitions):
        """Seconds until the first list of an event that had none before, for each of these partitions."""
        newest, first = {}, {}
        for partition, stamp, offset, _, _ in self.lists():
            if stamp > killed and offset > newest.get(partition, -1):
                first.setdefault(partition, stamp - killed)
            newest[partition] = max(newest.get(partition, -1), offset)
        must(set(partitions) <= set(first), f"no new list in {set(partitions) - set(first)}")
        return sorted(first[partition] for partition in partitions)

    def settle(self, members, partitions=PARTITIONS):
        """Waits until these have all partitions among them, none twice."""
        until = time.time() + WAIT_S
        while time.time() < until:
            held = [member.holds() for member in members]
            if sum(map(len, held)) == partitions == len(set().union(*held)) and (partitions < len(members) or all(held)):
                return
            for member in members:
                must(member.process.poll() is None, f"{member.name} ended with {member.process.returncode}: {member.log()[-600:]}")
            time.sleep(0.05)
        raise Trouble(f"the partitions do not come to rest: {[(m.name, sorted(m.holds())) for m in members]}")

    def finish(self, members):
        """Ends all when they have read everything; a store that is not there any more is not asked for."""
        for member in members:
            self.bench.await_idle(member)
        for member in members:
            member.signal(signal.SIGTERM)
        for member in members:
            member.end()

    def stop(self):
        for reader in self.readers:
            reader.stop()
        for member in self.members:
            if member.process.poll() is None:
                member.kill()

    def stores(self):
        folder = os.path.join(self.bench.work, "state", self.scenario.name)
        names = [name for name in sorted(os.listdir(folder)) if os.path.isdir(os.path.join(folder, name, self.settings["application.id"], "db"))]
        return [os.path.join(folder, name) for name in names]


class Bench(workbench.Workbench):
    one_at_a_time = threading.Lock()

    def prepare(self):
        self.broker.call("start")
        self.model = os.path.join(self.work, "model")
        log = os.path.join(self.work, "shop.tsv")
        self.verb("simulate", "--events", "10000", "--items", str(workbench.ITEMS), "--users", "500", "--seed", str(self.args.seed),
                  "--to", log, "--format", "sessions")
        self.verb("train", "--input", log, "--format", "sessions", "--out", self.model, "--epochs", "1", "--dim", "16", "--ranker=false")

    def readers(self, settings):
        return [workbench.Reader(self.reader_command(settings, partition)) for partition in range(PARTITIONS)]

    def start_member(self, settings, log_path, mutant):
        env = dict(os.environ)
        for name in ("FRESHET_KILL_AT", "FRESHET_FAIL_AT", "FRESHET_MUTANT"):
            env.pop(name, None)
        env["FRESHET_STOP_AT"] = f"some_produced:{stop_file(log_path)}"
        if mutant:
            env["FRESHET_MUTANT"] = mutant
        command = [self.program("freshet"), "run"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        metrics = log_path.replace(".log", ".prom")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(metrics)
        command += ["--set", f"metrics.file={metrics}", "--set", "metrics.interval.ms=200"]
        with open(log_path, "ab") as log:
            return self.spawn(command, log, env)

    def feed(self, settings, events, rate, seed):
        command = [self.program("freshet"), "simulate", "--events", str(events), "--items", str(workbench.ITEMS), "--users", "300",
                   "--seed", str(seed), "--to", "topic", "--format", "avro", "--duplicates", "0.02", "--late", "0.02",
                   "--poison", "0.005", "--items-topic", "", "--rate", str(rate)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        with open(os.path.join(self.work, "simulate.log"), "ab") as log:
            return self.spawn(command, log)

    def oracle(self, settings, also=(), stale=False):
        command = [self.program("oracle"), *(("--stale", "counted") if stale else ())]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        for folder in also:
            command += ["--also", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == 2:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout), done.stderr

    def await_idle(self, member):
        """Until its lag has been 0 for a while."""
        path = self_metrics(member)
        until, since = time.time() + WAIT_S, None
        while time.time() < until:
            must(member.process.poll() is None, f"{member.name} ended with {member.process.returncode}: {member.log()[-600:]}")
            with contextlib.suppress(FileNotFoundError):
                with open(path) as f:
                    lag = re.search(r"^freshet_lag_records (\S+)", f.read(), re.M)
                    is_old = time.time() - os.fstat(f.fileno()).st_mtime > 1
                if not lag or float(lag[1]) != 0 or is_old:
                    since = None
                elif since is None:
                    since = time.time()
            if since and time.time() - since > 2:  # pairs may be under way to a slow broker
                return
            time.sleep(0.1)
        raise Trouble(f"{member.name} does not come to the end: {member.log()[-600:]}")


def stop_file(log_path):
    """A member that finds it stands still in the midst of its next batch."""
    return log_path.replace(".log", ".stop")


def stand_still(member):
    """Stopped from outside; with exactly_once_v2, and with a planted bug that is to show, in the midst of a batch."""
    if not member.group.scenario.exact and not member.group.scenario.mutant:
        member.signal(signal.SIGSTOP)
        return
    path = stop_file(member.group.log_of(member.name))
    with open(path, "w"):
        pass
    until = time.time() + WAIT_S
    while time.time() < until:
        with open(f"/proc/{member.process.pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "T":
                return
        time.sleep(0.02)
    raise Trouble(f"{member.name} has not come to a batch: {member.log()[-600:]}")


def self_metrics(member):
    return member.group.log_of(member.name).replace(".log", ".prom")


# ---- scenarios ----

def join_and_leave(group):
    """Dynamic members come and go; a partition returns to a process whose copy is older than what the others did since."""
    events = group.bench.args.events
    with group.feeding(events, events / 8):
        a = group.start("a")
        group.settle([a])
        b = group.start("b")
        group.settle([a, b])
        c = group.start("c")
        group.settle([a, b, c])
        b.signal(signal.SIGTERM)
        b.end()
        group.settle([a, c])
        c.signal(signal.SIGTERM)
        c.end()
        group.settle([a])
    group.finish([a])
    return "joined and left"


def restart(group, a, b):
    """b again within its session: nothing moves. On a busy machine a start may take longer than that; then it is tried again."""
    for _ in range(3):
        before, revoked = b.holds(), a.log().count('msg="partition revoked"')
        assigned = b.log().count('msg="partition assigned"')
        began = time.time()
        b.signal(signal.SIGTERM)
        b.end()
        b = group.start("b", "b")
        while b.log().count('msg="partition assigned"') < assigned + len(before) and time.time() - began < WAIT_S:
            time.sleep(0.05)
        if time.time() - began < group.session_ms() / 1000:
            must(b.holds() == before, f"b had {before}, after the restart {b.holds()}")
            must(a.log().count('msg="partition revoked"') == revoked, "the restart of b took partitions from a")
            return b
        group.settle([a, b])
    raise Trouble("no start within the session in three")


def restart_and_kill(group):
    """Static members: a restart within the session moves nothing, a kill -9 moves the partitions, and they come back."""
    events = group.bench.args.events
    a, b = group.start("a", "a"), group.start("b", "b")
    with group.feeding(events, events / (8 + group.session_ms() / 1000)):
        group.settle([a, b])
        b = restart(group, a, b)
        b.kill()
        killed = time.time()
        group.settle([a])
        took = time.time() - killed
        b = group.start("b", "b")
        group.settle([a, b])
    group.finish([a, b])
    return f"killed; its partitions were another's after {took:.1f} s"


def zombie(group):
    """One stands still past its session, and another has its partitions when it goes on. It does nothing wrong, and comes back;
    with exactly_once_v2 it may also find its producer fenced by the other."""
    events = group.bench.args.events
    session = group.bench.args.session / 1000
    a, b = group.start("a", "a"), group.start("b", "b")
    group.settle([a, b])  # else all events may have come before b has a partition
    with group.feeding(events, events / (6 + session)):
        time.sleep(1)
        stand_still(b)
        joined = b.log().count('msg="partition assigned"')
        until = time.time() + WAIT_S
        while len(a.holds()) < PARTITIONS and time.time() < until:
            time.sleep(0.05)
        time.sleep(1)
        b.signal(signal.SIGCONT)
        until = time.time() + WAIT_S
        while b.process.poll() is None and b.log().count('msg="partition assigned"') == joined and time.time() < until:
            time.sleep(0.05)
    time.sleep(1)
    if group.scenario.exact and b.process.poll() is not None:
        b.end(FENCED)
        group.finish([a])
        return "stood still past its session and was fenced"
    group.finish([a, b])
    return "stood still past its session"


def replaced(group):
    """One stands still and a new process takes its place; it is fenced when it goes on."""
    events = group.bench.args.events
    a, b = group.start("a", "a"), group.start("b", "b")
    with group.feeding(events, events / 8):
        group.settle([a, b])
        time.sleep(1)
        b.signal(signal.SIGSTOP)
        c = group.start("c", "b")
        until = time.time() + WAIT_S
        while len(c.holds()) != PARTITIONS // 2 and time.time() < until:
            time.sleep(0.05)
        time.sleep(1)
        b.signal(signal.SIGCONT)
        b.end(FENCED)
        group.settle([a, c])
    group.finish([a, c])
    return "stood still and was replaced"


def take_over(group):
    """Two processes keep copies of each other's partitions; one is killed, the other goes on from its copies."""
    events, session = group.bench.args.events, group.bench.args.session / 1000
    copy, begun = "a copy of another process's partition is kept", "restoring a partition"
    a, b = group.start("a", "a"), group.start("b", "b")
    group.settle([a, b])
    with group.feeding(events, events / (8 + 2 * session)):
        until = time.time() + WAIT_S
        while (a.log().count(copy) < len(b.holds()) or b.log().count(copy) < len(a.holds())) and time.time() < until:
            time.sleep(0.05)
        time.sleep(1)
        held, restores = b.holds(), a.log().count(begun)
        b.kill()
        killed = time.time()
        group.settle([a])
        took = time.time() - killed
        must(a.log().count(begun) == restores, "a partition was read from the changelog's beginning though there was a copy")
    group.finish([a])
    lists = group.resumed_after(killed, held)
    return f"killed; {len(held)} partitions were the other's after {took:.1f} s, their first new lists came after {lists[0]:.1f} to {lists[-1]:.1f} s"


def serve_copies(group):
    """Two processes with partitions of their own and two servers: each server has each user's newest list, also after partitions moved."""
    events = group.bench.args.events
    a, b = group.start("a", "a"), group.start("b", "b")
    with group.feeding(events, events / 3):
        group.settle([a, b])
        servers = [group.serve(f"s{i}") for i in range(2)]
    group.bench.await_idle(a)
    group.bench.await_idle(b)
    before = group.answers_check(servers)
    with group.feeding(events, events / 3):
        b.signal(signal.SIGTERM)
        b.end()
        b = group.start("b")  # a dynamic member now: the group shares out anew
        group.settle([a, b])
    group.finish([a, b])
    after = group.answers_check(servers)
    for server in servers:
        server.end()
    return f"two servers gave {before} and {after} users their newest lists"


SCENARIOS = [
    Scenario("join_and_leave", "holds", join_and_leave),
    Scenario("restart_and_kill", "holds", restart_and_kill, sessions=4),
    Scenario("exact_restart_and_kill", "holds", restart_and_kill, exact=True, transaction_ms="20000", sessions=4),
    Scenario("exact_zombie", "holds", zombie, exact=True, transaction_ms="60000"),
    Scenario("exact_replaced", "holds", replaced, exact=True, transaction_ms="20000", sessions=4),
    Scenario("zombie", "holds", zombie),
    Scenario("replaced", "holds", replaced, stale=True),
    Scenario("take_over", "holds", take_over, more=COPIES),
    Scenario("exact_take_over", "holds", take_over, exact=True, more=COPIES),
    Scenario("serve_copies", "holds", serve_copies),
    Scenario("exact_group_unnamed", "caught", zombie, exact=True, mutant="group_unnamed", transaction_ms="60000"),
    Scenario("pairs_not_again", "caught", zombie, mutant="pairs_not_again"),
    Scenario("lost_is_kept", "caught", zombie, mutant="lost_is_kept"),
]

BY_HAND = ("pairs_not_again", "replaced", "exact_take_over")


def judge(group):
    """(trouble, the oracle's numbers as text)"""
    stores = group.stores()
    settings = dict(group.settings, **{"state.dir": stores[0]})
    verdict, shown = group.bench.oracle(settings, also=stores[1:], stale=group.scenario.stale)
    numbers = "".join(f" {key}={value}" for key, value in verdict.items() if key in ("records", "lists", "repeats", "pair_repeats", "related_lists", "unknown_lists", "stale_lists", "stale_related", "wrong"))
    wrong = verdict["wrong"]
    if not group.scenario.stale and group.scenario.kind == "holds" and verdict["stale_lists"]:
        return f"{verdict['stale_lists']} lists are stale", numbers
    seen = group.bench.seen_trouble(group.settings, group.readers) if group.scenario.exact else ""
    if group.scenario.kind == "caught":
        return "" if wrong or seen or verdict["stale_lists"] else "the oracle did not notice", numbers
    return f"{wrong} differences\n{shown}" if wrong else seen, numbers


def attempt(bench, scenario):
    """(trouble, the oracle's numbers, what was done)"""
    group = Group(bench, scenario)
    try:
        group.prepare()
        text = scenario.run(group)
        return *judge(group), text
    except Trouble as error:
        return str(error), "", str(error)
    finally:
        group.stop()


def run_one(bench, scenario):
    started = time.time()
    trouble, numbers, text = attempt(bench, scenario)
    for n in range(2, workbench.TRIES + 1):
        if trouble and scenario.kind == "caught":
            print(f"       {scenario.name}: {trouble}, try {n} of {workbench.TRIES}", flush=True)
            trouble, numbers, text = attempt(bench, scenario._replace(name=f"{scenario.name}-{n}"))
    print(f"{'FAILED' if trouble else 'ok    '} {scenario.name}: {text},{numbers} ({time.time() - started:.1f} s)" +
          (f": {trouble}" if trouble else ""), flush=True)
    return not trouble


def main():
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__ + "\nScenarios: " + " ".join(names), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.SystemRandom().getrandbits(30))))
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--session", type=int, default=6000, help="session.timeout.ms")
    parser.add_argument("--beside", type=int, default=5, help="scenarios at a time")
    parser.add_argument("--kills", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    unknown = set(args.scenarios) - set(names)
    if unknown:
        sys.exit(f"unknown scenarios: {', '.join(sorted(unknown))}")
    workbench.end_on_sigterm()
    work = tempfile.mkdtemp(prefix="freshet-processes-")
    print(f"SEED={args.seed} work={work}", flush=True)
    bench = Bench(args, work)
    outcomes = []
    try:
        bench.prepare()
        wanted = [scenario for scenario in SCENARIOS if scenario.name in (args.scenarios or [name for name in names if name not in BY_HAND])]
        with concurrent.futures.ThreadPoolExecutor(args.beside) as pool:
            outcomes = list(pool.map(lambda scenario: run_one(bench, scenario), wanted))
    finally:
        bench.stop()
        if outcomes and all(outcomes) and not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed, 0 skipped")
    sys.exit(0 if outcomes and all(outcomes) else 1)


if __name__ == "__main__":
    main()
