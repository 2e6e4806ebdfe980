#!/usr/bin/env python3
"""Everything breaks, for as long as you like: freshet is killed, failed and paused, its brokers too, the network lies, the disk is full,
the clock jumps. Afterwards the oracle looks whether anything was lost, doubled, invented or put out of order.

  scripts/chaos --minutes M [--seed N] [--guarantee exactly_once_v2,at_least_once] [--nodes 3] [--processes 1]
                [--rate EVENTS-A-SECOND]
                [--calm] [--set key=value]...
  scripts/chaos --replay PLAN       the actions of a plan.json that a run has left, at the same times
  scripts/chaos --short FILE        the seeds of a file one after the other, some seconds each (what scripts/test runs)

Needs a build with FRESHET_FAULTS in --bin (scripts/chaos makes it) and java. Each guarantee has an
application of its own, side by side over one cluster and one events topic. All that is done is drawn from the seed before it begins
(tests/e2e/plan.py) and written to plan.json in the working folder; actions.log there has what was done when. A run that fails
keeps its folder and says so. Ends with a JSON line for each application and a line `N passed, N failed, N skipped`.
"""
import argparse
import collections
import copy
import glob
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import plan as plans
from cluster import Cluster
from workbench import ITEMS, PARTITIONS, Workbench, end_on_sigterm, free_port, unmount_stale

HERE = os.path.dirname(os.path.abspath(__file__))
FEED_S = 10  # events come in pieces of so many seconds
PROGRESS_S = 10
STEP_S = 0.02
TO_THE_END_S = 300
DISK_MIB = 256
FORGOTTEN = 100  # users who are forgotten once or more
TOKEN = "a-token-of-the-test"
SESSION_MS = 10000
FATAL_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


class Actions:
    """What was done when; also counted by name."""

    def __init__(self, path):
        self.file, self.lock, self.started = open(path, "a"), threading.Lock(), time.monotonic()
        self.counts = collections.Counter()

    def now(self):
        return time.monotonic() - self.started

    def note(self, what, **more):
        with self.lock:
            self.counts[what] += 1
            print(json.dumps({"at": round(self.now(), 3), "what": what, **more}), file=self.file, flush=True)


def secret(folder):
    """The token, in a file that only we can read."""
    path = os.path.join(folder, "token")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(TOKEN)
    return "${file:" + path + "}"


class Subject(threading.Thread):
    """One application under its lives: a process is started as soon as the one before has ended."""

    def __init__(self, chaos, name, guarantee, lives):
        super().__init__(daemon=True)
        self.chaos, self.bench, self.guarantee, self.lives = chaos, chaos.bench, guarantee, lives
        self.settings = self.bench.settings(name)
        self.settings.update({"bootstrap.servers": self.bench.broker.proxied, "session.timeout.ms": f"{SESSION_MS}",
                              "processing.guarantee": guarantee, "num.stream.threads": "2", "rocksdb.memory.max.bytes": "8MiB"})
        if chaos.plan["is_calm"]:  # full soon, so that what grows after that should not
            self.settings.update({"statestore.cache.max.bytes": "8MiB", "statestore.uncommitted.max.bytes": "8MiB"})
        if chaos.plan.get("erasure_steps"):
            self.settings.update({"http.listen": f"127.0.0.1:{free_port()}", "http.token": secret(self.bench.work), "http.view.memory.bytes": "8MiB"})
        self.settings.update(pair.split("=", 1) for pair in chaos.plan["settings"])
        self.folder = self.settings["state.dir"] = os.path.join(self.bench.work, "state-" + name)
        self.kills, self.exits = collections.Counter(), collections.Counter()
        self.trouble = ""
        self.filler, self.is_free = None, threading.Event()
        self.process = None
        self.guests = {}  # further processes, by number
        self.was_shared = False
        self.sizes = []  # (resident MiB, descriptors) at each line of progress, when nothing is broken

    def prepare(self):
        self.bench.verb("topics", "create", "--partitions", str(PARTITIONS), settings=self.direct())
        self.bench.mount_small(self.folder, DISK_MIB)  # where it cannot be, the disk does not get full

    def direct(self):
        return dict(self.settings, **{"bootstrap.servers": self.bench.broker.bootstrap})

    def run(self):
        try:
            for number, life in enumerate(self.lives):
                if self.chaos.is_over.is_set():
                    return
                self.live(number, life)
        except Exception as e:  # whoever waits for the end sees it
            self.trouble = f"{self.guarantee}: {e!r}"

    def live(self, number, life):
        started = time.monotonic()
        process = self.process = self.launch(life)
        pause, clock = list(life.get("pause", [])), list(life.get("clock", []))
        limit = life.get("after", life.get("patience"))
        while process.poll() is None and not self.chaos.is_over.is_set():
            age = time.monotonic() - started
            if pause and age >= pause[0]:
                self.pause(process, pause[1])
                pause = []
            elif clock and age >= clock[1]:
                self.clock_write(clock[2])
                clock = []
            elif age >= limit:
                break
            time.sleep(STEP_S)
        was_alive = process.poll() is None
        if was_alive:
            process.kill()
            process.wait()
        self.record(number, life, process.returncode, was_alive, time.monotonic() - started)

    def launch(self, life):
        env = {}
        if life.get("wiped"):
            self.chaos.actions.note("wiped", of=self.guarantee)
            shutil.rmtree(os.path.join(self.folder, self.settings["application.id"]), ignore_errors=True)
        if "clock" in life:
            self.clock_write(life["clock"][0])
            env = {"LD_PRELOAD": self.chaos.clock_library, "WALL_CLOCK_FILE": self.clock_file()}
        return self.bench.start(self.settings, kill_at=life.get("point", ""), fail_at=life.get("fail", ""), seed=life["seed"],
                                idle=3600000, least=0.2 if life.get("point") == "tail" else 0.0, more_env=env)

    def forget_http(self, rng, names):
        """By DELETE of whatever process is there. Its moment is now: all simulated events of the user are late from then on."""
        address, name = self.settings["http.listen"], rng.choice(names)
        connection = http.client.HTTPConnection(address, timeout=3)
        try:
            connection.request("DELETE", f"/v1/users/{name}", headers={"Authorization": f"Bearer {TOKEN}"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def clock_file(self):
        return self.folder + ".clock"

    def clock_write(self, offset):
        with open(self.clock_file(), "w") as f:
            f.write(f"{offset}\n")
        self.chaos.actions.note("clock", offset=offset, of=self.guarantee)

    def pause(self, process, seconds):
        self.chaos.actions.note("pause", seconds=seconds, of=self.guarantee)
        process.send_signal(signal.SIGSTOP)
        self.chaos.is_over.wait(seconds)
        process.send_signal(signal.SIGCONT)

    def record(self, number, life, code, was_alive, lived):
        if code == -signal.SIGKILL:
            self.kills["at a random time" if was_alive else life["point"]] += 1
        else:
            self.exits[code] += 1
            if -code in FATAL_SIGNALS:
                self.trouble = self.trouble or f"{self.guarantee}: crashed with signal {-code} in life {number}"
            time.sleep(0.2)
        self.chaos.actions.note("end of life", of=self.guarantee, number=number, code=code, point=life.get("point"),
                                outside=was_alive, lived=round(lived, 3))

    def guest_join(self, number):
        """Another process of the application, with a disk of its own and no name in the group."""
        folder = f"{self.folder}-guest{number}"
        own = dict(self.settings, **{"state.dir": folder, "group.instance.id": ""})
        own.pop("http.listen", None)
        if self.guarantee == plans.EXACT:
            own["group.instance.id"] = f"{self.settings['group.instance.id']}-{number}"
        self.guests[number] = self.bench.start(own, idle=3600000)
        self.was_shared = True

    def guest_leave(self, number, how):
        guest = self.guests.pop(number, None)
        if guest is None:
            return
        guest.send_signal(getattr(signal, "SIG" + how))
        try:
            guest.wait(60)
        except subprocess.TimeoutExpired:
            guest.kill()
            guest.wait()
            self.trouble = self.trouble or f"{self.guarantee}: guest {number} does not end"
        if -guest.returncode in FATAL_SIGNALS:
            self.trouble = self.trouble or f"{self.guarantee}: guest {number} crashed with signal {-guest.returncode}"
        self.chaos.actions.note("end of guest", of=self.guarantee, number=number, code=guest.returncode)

    def measure(self):
        try:
            with open(f"/proc/{self.process.pid}/status") as f:
                resident = next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))
            self.sizes.append((resident, len(os.listdir(f"/proc/{self.process.pid}/fd"))))
        except (AttributeError, OSError, StopIteration):
            pass

    def growth(self):
        """Of memory and descriptors, from the first half to the second: what is too much, and the numbers."""
        half = len(self.sizes) // 2
        if not self.chaos.plan["is_calm"] or half < 3:
            return "", {}
        first, second = ([max(column) for column in zip(*part)] for part in (self.sizes[half // 4:half], self.sizes[half:]))
        numbers = {"resident_mib": [round(first[0], 1), round(second[0], 1)], "descriptors": [first[1], second[1]]}
        is_flat = second[0] <= first[0] * 1.1 + 4 and second[1] <= first[1] + 4
        return "" if is_flat else f"grows: {numbers}", numbers

    def fill(self):
        if self.filler or not os.path.ismount(self.folder):
            return
        self.is_free.clear()
        self.filler = threading.Thread(target=self.bench.fill, args=(os.path.join(self.folder, "ballast"), self.is_free))
        self.filler.start()

    def free(self):
        if not self.filler:
            return
        self.is_free.set()
        self.filler.join()
        os.unlink(os.path.join(self.folder, "ballast"))
        self.filler = None

    def finish(self):
        """To the end of the topic without faults; then what the oracle says. (trouble, numbers)"""
        # Partitions of a guest that was killed come back when its session ends.
        idle = 3 * SESSION_MS if self.was_shared else 4000
        trouble = self.trouble or self.bench.finish(self.settings, idle=idle, seconds=TO_THE_END_S)
        if trouble:
            return trouble, {}
        numbers, shown = self.bench.oracle(self.direct(), seconds=1200, also=glob.glob(self.folder + "-guest*"))
        return (f"{numbers['wrong']} differences\n{shown}" if numbers["wrong"] else ""), numbers


class Chaos:
    """One run by a plan. The bench is ready and may have had runs before."""

    def __init__(self, bench, plan, tag):
        self.bench, self.plan, self.tag = bench, plan, tag
        self.is_over = threading.Event()
        self.actions = Actions(os.path.join(bench.work, f"actions-{tag}.log"))
        self.trouble = ""
        self.fed = 0
        self.names, self.erasing = [], random.Random(f"{plan['seed']} names")
        self.clock_library = os.path.join(bench.work, "clock.so")
        subprocess.run(["cc", "-std=c11", "-O1", "-shared", "-fPIC", "-o", self.clock_library, os.path.join(HERE, "clock/clock.c")], check=True)
        with open(os.path.join(bench.work, f"plan-{tag}.json"), "w") as f:
            json.dump(plan, f)
        self.subjects = [Subject(self, f"{tag}-{name}", name, copy.deepcopy(plan["lives"][name])) for name in plan["guarantees"]]

    def run(self):
        """[(guarantee, trouble, numbers)]"""
        for subject in self.subjects:
            subject.prepare()
        exact = [subject for subject in self.subjects if subject.guarantee == plans.EXACT]
        readers = {subject: self.bench.readers(subject.direct()) for subject in exact}
        try:
            self.break_things()
            self.quieten()
            return [self.verdict(subject, readers.get(subject, [])) for subject in self.subjects]
        finally:
            self.is_over.set()
            for reader in sum(readers.values(), []):
                reader.stop()
            for subject in self.subjects:
                subject.free()

    def break_things(self):
        self.actions.started = time.monotonic()
        self.hands = [threading.Thread(target=self.follow, args=(self.plan.get(steps, []), do), daemon=True) for steps, do in
                      (("node_steps", self.node_step), ("net_steps", self.net_step), ("disk_steps", self.disk_step),
                       ("guest_steps", self.guest_step), ("erasure_steps", self.erasure_step))]
        self.hands.append(threading.Thread(target=self.feed, daemon=True))
        for thread in [*self.subjects, *self.hands]:
            thread.start()
        while self.actions.now() < self.plan["seconds"] and not self.troubled():
            self.is_over.wait(min(PROGRESS_S, max(0.1, self.plan["seconds"] - self.actions.now())))
            for subject in self.subjects:
                subject.measure()
            self.say_progress()

    def troubled(self):
        return self.trouble or next((subject.trouble for subject in self.subjects if subject.trouble), "")

    def quieten(self):
        """Nothing breaks any more, all brokers are there."""
        self.is_over.set()
        for thread in [*self.subjects, *self.hands]:
            thread.join(240)
            if thread.is_alive():
                raise RuntimeError("a thread of the run does not end")
        self.bench.broker.heal()
        for subject in self.subjects:
            subject.free()
            for number in list(subject.guests):
                subject.guest_leave(number, "TERM")
        self.actions.note("healed", tricks=dict(self.bench.broker.proxy.played()))

    def follow(self, steps, do):
        try:
            for step in steps:
                if self.is_over.wait(max(0.0, step["at"] - self.actions.now())):
                    return
                more = {key: value for key, value in step.items() if key not in ("at", "do")}
                self.actions.note(step["do"], planned=step["at"], **more)
                do(step)
        except Exception as e:
            self.trouble = f"a planned action failed: {e!r}"

    def node_step(self, step):
        self.bench.broker.call(step["do"], step["node"])

    def net_step(self, step):
        for node in self.bench.broker.nodes:
            if step["node"] in (0, node):
                self.bench.broker.proxy.do(node, step["do"], step.get("value"))

    def disk_step(self, step):
        for subject in self.subjects:
            if subject.guarantee == step["guarantee"]:
                subject.fill() if step["do"] == "fill" else subject.free()

    def guest_step(self, step):
        for subject in self.subjects:
            if subject.guarantee == step["guarantee"]:
                subject.guest_join(step["guest"]) if step["do"] == "join" else subject.guest_leave(step["guest"], step["signal"])

    def erasure_step(self, step):
        """Nobody minds a request that a fault refuses: it is not in the topic, or it is and counts. The same few users all the time, since
        some of them are gone for good: simulated events are old."""
        rng = self.erasing
        try:
            users = self.names or self.bench.some_users(seconds=5)
        except subprocess.SubprocessError:
            return
        self.names = self.names or rng.sample(users, min(len(users), FORGOTTEN))
        if not self.names:
            return
        for subject in self.subjects:
            asked = subject.forget_http(rng, self.names) if step["way"] == "http" else self.forget_topic(subject, rng, step["users"])
            self.actions.note("asked", of=subject.guarantee, way=step["way"], asked=asked)

    def forget_topic(self, subject, rng, users):
        try:
            return self.bench.forget(subject.settings["erasures.topic"], rng, self.names, users, f"at{self.actions.now():.0f}", seconds=5)
        except subprocess.TimeoutExpired:
            return False

    def feed(self):
        """Events at the rate of the plan until it is over. A simulator that the brokers' faults end is followed by another."""
        rng = random.Random(f"{self.plan['seed']} events")
        while not self.is_over.is_set():
            self.bench.rng.seed(rng.getrandbits(30))
            try:
                with self.bench.more_coming(int(FEED_S * self.plan["rate"]), self.plan["rate"], "--duplicates", "0.05", "--late", "0.05",
                                            "--poison", "0.01"):
                    pass
                self.fed += FEED_S * self.plan["rate"]
            except RuntimeError:
                self.actions.note("simulate failed")
                self.is_over.wait(1.0)

    def say_progress(self):
        counts = self.actions.counts
        text = f"{self.actions.now():6.0f} of {self.plan['seconds']:.0f} s: about {self.fed} events"
        for subject in self.subjects:
            exits = " ".join(f"{code}:{n}" for code, n in sorted(subject.exits.items()))
            if self.plan["is_calm"] and subject.sizes:
                text += " | resident %.0f MiB, %d descriptors" % subject.sizes[-1]
            text += f" | {subject.guarantee} {sum(subject.kills.values())} kills" + (f", own ends {exits}" if exits else "")
        tricks = sum(self.bench.broker.proxy.played().values())
        text += f" | brokers: {counts['kill']} kills, {counts['restart']} restarts, {counts['pause']} pauses"
        print(text + f" | network: {counts['heal']} faults, {tricks} tricks | disk: {counts['fill']} | clock: {counts['clock']}" +
              (f" | guests: {counts['join']}" if counts["join"] else "") + f" | forgotten: {counts['forget']} times", flush=True)

    def verdict(self, subject, readers):
        trouble, numbers = (self.trouble, {}) if self.trouble else subject.finish()
        grows, sizes = subject.growth()
        trouble = trouble or self.bench.seen_trouble(subject.direct(), readers) or grows
        numbers = {"guarantee": subject.guarantee, "seed": self.plan["seed"], "seconds": round(self.plan["seconds"]),
                   "kills": sum(subject.kills.values()), "kills_at": dict(subject.kills), "own_ends": dict(subject.exits),
                   "broker_kills": self.actions.counts["kill"], "actions": dict(self.actions.counts),
                   "seen": sum(len(reader.lines) for reader in readers), **sizes, **numbers}
        print(json.dumps(numbers), flush=True)
        return trouble


def plans_of(args):
    """[(tag, plan)]"""
    if args.replay:
        with open(args.replay) as f:
            return [("replay", json.load(f))]
    if not args.short:
        return [("run", plans.make(args))]
    found = []
    with open(args.short) as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                args.seed, args.minutes = int(words[0]), float(words[1]) / 60
                found.append((f"seed{args.seed}", plans.make(args)))
    return found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.SystemRandom().getrandbits(30))))
    parser.add_argument("--guarantee", type=lambda text: text.split(","), default=["exactly_once_v2", "at_least_once"])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="how many at most: those after the first come and go")
    parser.add_argument("--rate", type=int, default=150)
    parser.add_argument("--calm", action="store_true", help="break nothing: memory and descriptors must not grow")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of freshet")
    parser.add_argument("--replay", metavar="PLAN")
    parser.add_argument("--short", metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    return parser.parse_args()


def main():
    args = arguments()
    end_on_sigterm()
    unmount_stale()
    work = tempfile.mkdtemp(prefix="freshet-chaos-")
    found = plans_of(args)
    print(f"SEED={' '.join(str(plan['seed']) for _, plan in found)} work={work}", flush=True)
    bench = Workbench(args, work, Cluster(work, found[0][1]["nodes"]))
    troubles, came_to_end = [], False
    try:
        bench.prepare_shop()
        for tag, plan in found:
            troubles += [f"seed {plan['seed']}: {trouble}" if trouble else "" for trouble in Chaos(bench, plan, tag).run()]
        came_to_end = True
    finally:
        bench.stop()
        for folder in glob.glob(os.path.join(work, "state-*")):
            bench.unmount(folder)
        if came_to_end and not any(troubles) and not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    for trouble in filter(None, troubles):
        print(f"FAILED {trouble}\nall of it: {work}")
    failed = sum(bool(trouble) for trouble in troubles)
    print(f"{len(troubles) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
