#!/usr/bin/env python3
"""Nothing lost: freshet is killed, its broker restarted, its disk filled; the oracle looks afterwards.

  tests/e2e/faults.py --bin FOLDER [--seed N] [--events N] [--kills N] [scenario...]

FOLDER holds a build with FRESHET_FAULTS (preset `faults`): freshet and oracle. Needs a real broker: starts one of its own
through scripts/kafka on loopback and stops it at the end. All scenarios read one events topic, written once by
`freshet simulate` with duplicates, late events and poison of every kind; each has its own application id, lists topic, dead
letters and store.

A scenario of kind "holds" passes when the oracle finds nothing wrong; one of kind "caught" runs with a planted bug and passes
when the oracle finds something, in one of several tries. A scenario that is about kills fails when it had fewer than nine tenths of --kills. Ends with a
line `N passed, N failed, N skipped`. The working folder goes away unless something failed.

Without names all of the default mode run, `kills` and `others`; `exact` stands for all of exactly_once_v2, `exact_kills` and
`exact_others`: there no list may come twice, and who reads the lists meanwhile with read_committed sees what stands there at the
end. What begins with hand_ needs minutes and runs when it is named.

Scenarios, about 10 to 30 s each: SCENARIOS_HELP
"""
import argparse
import collections
import contextlib
import http.client
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from proxy import END_TXN, PRODUCE, Proxy
from workbench import (EXACT_POINTS, ITEMS, ITEMS_TOPIC, LATE, LOSSES, PARTITIONS, POINTS, TRIES, Workbench,
                       end_on_sigterm, free_port, unmount_stale)

FEW_PASSES = 0.5  # chance at least, once the shared topic has been read to its end: a start then has a batch or two
FEED = 200  # events before each further start, once the shared topic has been read to its end
MISSES = 10  # starts in a row that come to the end without a kill, or a fault: it is not reached
LATE_POINTS = ("sealed", "some_produced", "offsets_sent", "fetched")  # of a later transaction than the one whose end is late
STAYING = ("no_dedupe_of_pairs", "rows_not_stored")  # bugs that the last run has too: only there all pairs have come
ANSWER_S = 5.0  # what waits for a broker waits longer, in the scenarios that ask
ERASED_AT = ("written", "acked", "some_produced", "in_write", "fetched")
EXACT_ERASED_AT = ("committed", "acked", "commit_sent", "written", "in_write", "some_produced")
UNASSIGNED = "no partition is assigned yet"
ASSIGNED = "partitions assigned"
BEHIND = "what was committed before is applied again"
BY_HAND = ("session_lost", "forgotten", "erased_restored", "requests_unknown")  # only by name: what they show is shown by another too
WORDS = 25  # last lines of freshet's log that are printed when a scenario fails
LOGGED = ("erased_restored", "tombstones_forgotten", "forwarded_late")  # those with a changelog
RANKED = ("plain", "kill_acked")  # scenarios whose model has a ranker; the others merge by rank fusion

# trouble: "" or what went wrong.
Outcome = collections.namedtuple("Outcome", "text trouble kills", defaults=(0,))
# counts_kills: whether few kills are a failure; is_once: whether repeats are one, where nothing is killed.
Scenario = collections.namedtuple("Scenario", "name kind run counts_kills is_once", defaults=(False, False))


class Health:
    """Asks a process how it is, as an orchestrator does, until the end of the block."""

    def __init__(self, settings):
        self.address = f"127.0.0.1:{free_port()}"
        settings.update({"http.listen": self.address, "http.sessions": "off"})
        self.slowest, self.reasons, self.is_stopping = 0.0, {}, False  # reasons: in the order in which they came first
        self.thread = threading.Thread(target=self.run)

    def ask(self, path):
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode().strip()
        finally:
            connection.close()

    def run(self):
        while not self.is_stopping:
            asked = time.time()
            try:
                self.ask("/livez")
                self.slowest = max(self.slowest, time.time() - asked)
                self.reasons.setdefault(self.ask("/readyz"), time.time())
            except (OSError, http.client.HTTPException):
                self.slowest = max(self.slowest, time.time() - asked)  # not there yet, or no more: at once
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopping = True
        self.thread.join()

    def await_said(self, reason, process):
        while reason not in self.reasons and process.poll() is None:
            time.sleep(0.05)

    def trouble(self, *reasons):
        """It has answered all the time, and was ready, and was not for each of these reasons."""
        if self.slowest > ANSWER_S:
            return f"/livez took {self.slowest:.1f} s"
        missing = [reason for reason in ("ok", *reasons) if reason not in self.reasons]
        return f"/readyz never said {missing}, but {sorted(self.reasons)}" if missing else ""

    def ready_too_soon(self, *before):
        """It was ready for the first time when it had given each of these reasons."""
        early = [reason for reason in before if self.reasons["ok"] < self.reasons[reason]]
        return f"/readyz said ok before {early}" if early else ""


class Bench(Workbench):
    """The events topic that all scenarios share; each scenario is a method."""

    def __init__(self, args, work):
        super().__init__(args, work)
        self.least_kills = args.kills * 9 // 10

    def prepare(self):
        self.prepare_shop()
        self.ranked_model = self.model + "-ranked"
        self.train(self.ranked_model, "--dim", "32")
        if not os.path.exists(os.path.join(self.ranked_model, "ranker.json")):
            raise RuntimeError("no ranker was learnt, see freshet train")
        self.large_model = self.model + "-attention"
        self.train(self.large_model, "--encoder", "attention", "--max-len", "50", "--ranker=false")
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

    def categories(self, settings):
        settings["items.topic"] = ITEMS_TOPIC
        return self.mutant(settings, "categories_not_counted", "")

    @contextlib.contextmanager
    def forgetting(self, settings):
        """Some users are forgotten all the time."""
        users, over, asked = self.some_users(), threading.Event(), []
        rng = random.Random(self.rng.getrandbits(30))

        def ask():
            while not over.wait(rng.uniform(0.02, 0.2)):
                asked.append(self.forget(settings["erasures.topic"], rng, users, rng.randint(1, 3), f"r{len(asked)}"))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if not asked or False in asked:
            raise RuntimeError("requests to forget somebody were not taken")

    def forgotten(self, settings, mutant=""):
        """Users are forgotten in the midst of the stream; late events of theirs come, and later ones, and all that came meanwhile comes again."""
        process, seed = self.start(settings, mutant=mutant, idle=1500), self.rng.getrandbits(30)
        with self.forgetting(settings), self.more_coming(600, 400, seed=seed):
            pass
        with self.more_coming(600, 100000, seed=seed):
            pass
        return Outcome("users forgotten" + (f", planted {mutant}" if mutant else ""), self.wait(process) or self.finish(settings, mutant=mutant))

    def start_and_stop(self, settings, point, mutant="", seconds=60):
        """A process that has stopped itself at the point."""
        flag = os.path.join(self.work, "stop-here")
        open(flag, "w").close()
        process = self.start(settings, mutant=mutant, more_env={"FRESHET_STOP_AT": f"{point}:{flag}"})
        until = time.time() + seconds
        while os.path.exists(flag) and time.time() < until:
            time.sleep(0.02)
        return process

    def forwarded_late(self, settings):
        """Partitions begin later than they are assigned (a changelog), and their first records come before their queues are the shards'."""
        with self.more_coming(300, rate=100000):
            pass
        trouble = self.wait(self.start(settings, fail_at="forwarded_late"), 60)
        return Outcome("records come astray", trouble or self.finish(settings))

    def tail_left(self, settings, mutant=""):
        """A new disk, and the process ends before it has applied again what was told: the group's positions stay where they are."""
        settings["batch.max.events"] = "1"
        trouble = self.finish(settings)
        for _ in range(2):
            shutil.rmtree(settings["state.dir"])
            process = self.start_and_stop(settings, "written", mutant)
            process.terminate()
            process.send_signal(signal.SIGCONT)
            trouble = trouble or self.wait(process)
        return Outcome("ended in a tail" + (f", planted {mutant}" if mutant else ""), trouble or self.finish(settings))

    def erasures(self, settings, points, kills):
        """The same while the process dies."""
        killed, trouble = 0, self.finish(settings)
        with self.forgetting(settings), self.more_coming(150 * kills, 100):
            while killed < kills and not trouble:
                once, trouble = self.kill_at_point(settings, self.rng.choice(points), kills=1)
                killed += once
        return Outcome(f"users forgotten, at {' '.join(points)}", trouble or self.finish(settings), killed)

    def lists_of(self, settings, names):
        """How many lists of these users were published ever."""
        command = ["kcat", "-C", "-e", "-q", "-b", self.broker.bootstrap, "-t", settings["recommendations.topic"], "-f", "%k %S\\n"]
        rows = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n")
        return sum(key in names and size != "-1" for key, _, size in (row.rpartition(" ") for row in rows))

    def rebuilt(self, settings, mutant=""):
        """The store is lost, and later a new application begins: nothing of who was forgotten goes out again."""
        names = self.rng.sample(self.some_users(), 40)
        trouble = self.finish(settings)
        self.forget(settings["erasures.topic"], self.rng, names, len(names), "gone", is_now=True)
        trouble = trouble or self.finish(settings)
        shutil.rmtree(settings["state.dir"])
        before = self.lists_of(settings, names)
        with self.more_coming(300, rate=100000):
            pass
        trouble = trouble or self.finish(settings)
        again = self.lists_of(settings, names) - before
        if again:
            return Outcome("a store made again", f"{again} lists of users who were forgotten")
        newer = self.settings("new-" + settings["application.id"])
        for name in ("erasures.topic", "processing.guarantee", "num.stream.threads"):
            newer.update({name: settings[name]} if name in settings else {})
        newer["state.dir"] = settings["state.dir"] + "-new"
        self.verb("topics", "create", "--partitions", str(PARTITIONS), settings=newer)
        trouble = trouble or self.finish(newer, mutant=mutant)
        again = self.lists_of(newer, names)
        if bool(again) != bool(mutant):
            trouble = trouble or f"{again} lists of users who were forgotten, of a new application"
        verdict, shown = ({"wrong": 0}, "") if trouble or mutant else self.oracle(newer)
        return Outcome(f"a store made again, a new application{mutant and ', planted ' + mutant}",
                       trouble or (f"{verdict['wrong']} differences of the new application\n{shown}" if verdict["wrong"] else ""))

    def begun(self, settings, mutant=""):
        """A life ends before it has written anything, some of its lists are out, and its store is lost: the next one takes nothing for
        new, so what those lists knew is not forgotten before they were made."""
        process = self.start(settings, kill_at="in_write", least=1, mutant=mutant)
        if not self.wait(process):
            return Outcome("a store lost at its beginning", "the first life was not killed")
        self.forget(settings["erasures.topic"], self.rng, self.some_users(), 120, "gone", is_now=True)
        shutil.rmtree(settings["state.dir"])
        return Outcome(f"a store lost at its beginning{mutant and ', planted ' + mutant}", self.finish(settings, mutant=mutant))

    def exact_rebuilt(self, settings):
        with self.exact(settings) as judged:
            outcome = self.rebuilt(settings)
            return outcome._replace(text=f"exactly once, {outcome.text}", trouble=judged(outcome.trouble))

    def erased_restored(self, settings, mutant=""):
        """The store is lost and made again from its changelog, without who was forgotten."""
        trouble = self.finish(settings, mutant=mutant)
        self.forget(settings["erasures.topic"], self.rng, self.some_users(), 60, "gone")
        trouble = trouble or self.finish(settings, mutant=mutant)
        shutil.rmtree(settings["state.dir"])
        return Outcome(f"users forgotten, the store restored{mutant and ', planted ' + mutant}", trouble or self.finish(settings))

    def exact_erasures(self, settings, points, kills):
        with self.exact(settings) as judged:
            outcome = self.erasures(settings, points, kills)
            return outcome._replace(text=f"exactly once, {outcome.text}", trouble=judged(outcome.trouble))

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

    def lists_written(self, settings):
        """How many records the lists' topic has, of whatever kind; None: the broker does not say."""
        command = ["kcat", "-Q", "-b", self.broker.bootstrap]
        for partition in range(PARTITIONS):
            command += ["-t", f"{settings['recommendations.topic']}:{partition}:-1"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            return None
        return None if done.returncode else sum(int(line.rsplit(" ", 1)[1]) for line in done.stdout.splitlines())

    def await_lists(self, settings, process, seconds=180):
        """The process is at work: until more lists stand there than the broker first says, or it has ended, or time is over."""
        before, until = None, time.time() + seconds
        while process.poll() is None and time.time() < until:
            now = self.lists_written(settings)
            if None not in (before, now) and now > before:
                return
            before = now if before is None else before
            time.sleep(0.1)

    def broker_restarts(self, settings):
        process = self.start(dict(settings, **{"log.level": "info"}), idle=0)  # nobody knows how long a broker is away
        self.await_words(settings, ASSIGNED)
        restarts = 0
        with self.more_coming(6000, rate=300):
            for verb in ("restart", "kill", "restart"):
                self.await_lists(settings, process)
                self.broker.call(verb)
                if verb == "kill":
                    self.broker.call("start")
                restarts += 1
            self.await_lists(settings, process)
        process.terminate()
        trouble = self.wait(process)
        return Outcome(f"{restarts} broker restarts while events came", trouble or self.finish(settings))

    @contextlib.contextmanager
    def proxied(self, settings):
        """The process's way to the broker leads through a proxy."""
        proxy = Proxy({1: (self.broker.front, self.broker.behind)})
        proxy.start()
        direct, settings["bootstrap.servers"] = settings["bootstrap.servers"], self.broker.proxied
        try:
            yield proxy
        finally:
            settings["bootstrap.servers"] = direct
            proxy.stop()

    def cut_answers(self, settings, mutant=""):
        """The broker takes lists, its answer never comes and the connection is cut: they are sent again and are there once."""
        with self.proxied(settings) as proxy:
            process = self.start(settings, mutant=mutant, idle=2000)
            with self.more_coming(600, rate=400):
                for _ in range(4):
                    time.sleep(0.3)
                    proxy.do(1, "apply_cut", ((PRODUCE,), 2, 0.0))
            trouble = self.wait(process)
        cut = proxy.played()["apply_cut"]
        return Outcome(f"{cut} answers to lists cut off", trouble or ("" if cut > 2 else "hardly any") or self.finish(settings))

    # ---- exactly_once_v2 ----

    def exact_plain(self, settings):
        with self.exact(settings) as judged:
            return Outcome("exactly once, no fault", judged(self.finish(settings)))

    def exact_point(self, settings, name):
        with self.exact(settings) as judged:
            killed, trouble = self.kill_at_opened(settings) if name == "opened" else self.kill_at_point(settings, name)
            return Outcome(f"exactly once, at {name}", judged(trouble or self.finish(settings)), killed)

    def exact_tail(self, settings):
        """Two faults: a tail is made, then the process dies while it applies it again."""
        with self.exact(settings) as judged:
            total, missed, trouble = 0, 0, ""
            while total < self.args.kills and missed < MISSES and not trouble:
                for point in ("committed", "tail"):
                    killed, trouble = self.kill_at_point(settings, point, kills=1)
                    total += killed
                    missed += not killed
                    if trouble or not killed:
                        break
            return Outcome("exactly once, in the tail", judged(trouble or self.finish(settings)), total)

    def exact_random(self, settings):
        with self.exact(settings) as judged:
            outcome = self.random_kills(settings)
            return outcome._replace(text=f"exactly once, {outcome.text}", trouble=judged(outcome.trouble))

    def exact_brokers(self, settings):
        with self.exact(settings) as judged:
            outcome = self.broker_restarts(settings)
            return outcome._replace(text=f"exactly once, {outcome.text}", trouble=judged(outcome.trouble))

    def session_lost(self, settings):
        """A broker without an answer for longer than the session lasts: it is lost, by nobody's doing, which is not taken for another
        process. Meanwhile the process says how it is."""
        short = {"session.timeout.ms": "6000"}
        with Health(short) as health:
            process = self.start({**settings, **short}, idle=0)  # it may have read all when the broker goes, and would end
            health.await_said("ok", process)
            with self.more_coming(4000, rate=250):
                time.sleep(self.rng.uniform(0.5, 1.5))
                self.broker.call("pause")
                time.sleep(9.0)
                self.broker.call("resume")
                self.await_lists(settings, process)
            process.terminate()
            trouble = self.wait(process)
        trouble = trouble or health.trouble(UNASSIGNED)
        if not trouble and "session timed out" not in self.log_text(settings):
            trouble = "the session was not lost"
        return Outcome("a session lost while events came", trouble or self.finish(settings))

    def displaced(self, settings):
        """The client ends as it does when it lost its place in the group; another one takes it."""
        times, tried, trouble = 0, 0, ""
        while not times and not trouble and tried < MISSES:
            process = self.start(settings, fail_at="displaced", seed=self.rng.getrandbits(30), idle=3000)
            with self.more_coming(1000, rate=250):
                pass
            trouble = self.wait(process)
            times = self.log_text(settings).count("the consumer is made anew")
            tried += 1
        return Outcome(f"{times} consumers made anew", trouble or ("" if times else "never") or self.finish(settings))

    def exact_session_lost(self, settings):
        with self.exact(settings) as judged:
            outcome = self.session_lost(settings)
            return outcome._replace(text=f"exactly once, {outcome.text}", trouble=judged(outcome.trouble))

    def exact_modes(self, settings):
        """There and back on one store: what is committed in one mode counts in the other."""
        with self.exact(settings) as judged:
            killed, trouble = self.kill_at_point(settings, "committed", kills=1)
            for mode in ("at_least_once", "exactly_once_v2"):
                with self.more_coming(300, rate=100000):
                    pass
                trouble = trouble or self.finish(dict(settings, **{"processing.guarantee": mode}))
            return Outcome("exactly once, by the default mode and back", judged(trouble), killed)

    def exact_new_disk(self, settings):
        """The store is gone: it is made again from the log, without output for what is committed, and is not ready until then."""
        with self.exact(settings) as judged:
            killed, trouble = self.kill_at_point(settings, "written", kills=3)
            trouble = trouble or self.finish(settings)
            shutil.rmtree(settings["state.dir"])
            own = {}
            with self.proxied(settings) as proxy, Health(own) as health:
                proxy.do(1, "slow", 40_000)
                # Small answers: one alone would bring all events at once, whatever comes after it.
                process = self.start({**settings, **own, "consumer.max.partition.fetch.bytes": "16384"}, idle=60000)
                health.await_said(BEHIND, process)
                proxy.do(1, "heal")
                health.await_said("ok", process)
                process.terminate()
                trouble = trouble or self.wait(process) or health.trouble(BEHIND) or health.ready_too_soon(BEHIND)
            trouble = trouble or self.finish(settings)
            return Outcome("exactly once, the store gone", judged(trouble), killed)

    def exact_fenced(self, settings):
        """A second process of the same slot takes over in the middle; the first ends, and nothing that it sent last is seen."""
        settings["log.level"] = "info"
        second = dict(settings, **{"state.dir": settings["state.dir"] + "-second"})
        with self.exact(settings) as judged:
            second.update({key: settings[key] for key in ("processing.guarantee", "num.stream.threads")})
            first = self.start(settings, idle=60000)
            self.await_words(settings, ASSIGNED)
            with self.more_coming(3000, rate=500):
                time.sleep(2.0)
                taker = self.start(second, idle=4000)
                ended = self.wait(first)
            trouble = "" if ended == "exit 8" else f"the first ended with {ended or 'exit 0'}, not 8"
            settings["state.dir"] = second["state.dir"]  # what the oracle looks at
            return Outcome("exactly once, a second process takes over", judged(trouble or self.wait(taker) or self.finish(settings)))

    def exact_watchdog(self, settings):
        """A call of the client that does not return ends the process."""
        with self.exact(settings) as judged:
            started = time.time()
            ended = self.wait(self.start(dict(settings, **{"producer.transaction.timeout.ms": "2000"}), fail_at="call_hangs"))
            trouble = "" if ended == "exit 4" and time.time() - started < 30 else f"a hanging call ended with {ended or 'exit 0'}"
            return Outcome("exactly once, a call hangs", judged(trouble or self.finish(settings)))

    def exact_failures(self, settings, names, mutant=""):
        """The process lives on: it takes a new producer and does again what is not committed."""
        with self.exact(settings) as judged:
            trouble, events = "", 300
            for name in names:
                process = self.start(settings, fail_at=name, mutant=mutant, seed=self.rng.getrandbits(30), idle=3000)
                with self.more_coming(events, rate=200):
                    pass
                trouble = trouble or self.wait(process)
            lost = sum(self.log_text(settings).count(words) for words in ("a planted fault", "the consumer is made anew"))
            if lost < len(names) and not mutant:
                trouble = trouble or f"only {lost} calls failed"
            return Outcome(f"exactly once, {lost} failed calls", judged(trouble or self.finish(settings)))

    def exact_late(self, settings, mutant="", kills=None):
        """The end of a transaction is held back on the way and its connection cut. It is sent again; the first one arrives in the middle
        of a later transaction, and then the process dies before that one's end."""
        with self.exact(settings) as judged, self.proxied(settings) as proxy:
            killed, trouble = 0, ""
            while killed < (kills or self.args.kills) and not trouble:
                proxy.do(1, "heal")
                proxy.do(1, "late", ((END_TXN,), 1000, self.rng.uniform(0.02, 0.4)))
                once, trouble = self.kill_at_point(settings, self.rng.choice(LATE_POINTS), mutant, kills=1)
                killed += once
            proxy.do(1, "heal")
            late = proxy.played()["late"]
            trouble = trouble or self.finish(settings)
            return Outcome(f"exactly once, {late} ends of transactions come late", trouble if mutant else judged(trouble), killed)

    def exact_mutant(self, settings, name, point):
        with self.exact(settings):
            killed, trouble = self.kill_at_point(settings, point, mutant=name, kills=10)
            return Outcome(f"exactly once, planted {name}", trouble or self.finish(settings, mutant=name), killed)

    def disk_full(self, settings):
        folder = settings["state.dir"]
        if not self.mount_small(folder):
            return Outcome("SKIP", "cannot mount a tmpfs here")
        ballast = os.path.join(folder, "ballast")
        # A small store writes into new files all the time; a large one has room set aside in its log, and wants more of it to go on.
        settings.update({"rocksdb.memory.max.bytes": "8MiB", "statestore.uncommitted.max.bytes": "4MiB"})
        process = self.start(settings, idle=6000)
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


# All of a run read one topic: what brings many events of its own to it comes behind what does not, so that few scenarios read those.
SCENARIOS = [Scenario("plain", "holds", lambda b, s: b.plain(s))]
for at in POINTS:
    SCENARIOS.append(Scenario(f"kill_{at}", "holds", lambda b, s, at=at: b.point(s, at), counts_kills=True))
SCENARIOS += [
    Scenario("catalogue", "holds", lambda b, s: b.catalogue(s)),
    Scenario("cold_states", "holds", lambda b, s: b.cold_states(s)),
    Scenario("state_before_ack", "caught", lambda b, s: b.mutant(s, "state_before_ack", "written")),
    Scenario("offset_in_second_write", "caught", lambda b, s: b.mutant(s, "offset_in_second_write", "between_writes")),
    Scenario("skip_on_decode_error", "caught", lambda b, s: b.mutant(s, "skip_on_decode_error", "")),
    Scenario("neighbours_not_stored", "caught", lambda b, s: b.mutant(s, "neighbours_not_stored", "written")),
    Scenario("no_dedupe_of_pairs", "caught", lambda b, s: b.mutant(s, "no_dedupe_of_pairs", "acked")),
    Scenario("rows_not_stored", "caught", lambda b, s: b.mutant(s, "rows_not_stored", "written")),
    Scenario("trending_lost", "caught", lambda b, s: b.mutant(s, "trending_lost", "")),
    Scenario("categories_not_counted", "caught", lambda b, s: b.categories(s)),
    Scenario("no_dedupe", "caught", lambda b, s: b.mutant(s, "no_dedupe", "")),
    Scenario("forwarded_late", "holds", lambda b, s: b.forwarded_late(s), is_once=True),
    Scenario("tail_left", "holds", lambda b, s: b.tail_left(s), is_once=True),
    Scenario("tail_committed", "caught", lambda b, s: b.tail_left(s, "tail_committed"), is_once=True),
    Scenario("rebuilt", "holds", lambda b, s: b.rebuilt(s)),
    Scenario("requests_unknown", "holds", lambda b, s: b.rebuilt(s, "requests_unknown")),
    Scenario("begun", "holds", lambda b, s: b.begun(s)),
    Scenario("begin_untold", "caught", lambda b, s: b.begun(s, "begin_untold")),
    Scenario("erased_restored", "holds", lambda b, s: b.erased_restored(s)),
    Scenario("tombstones_forgotten", "caught", lambda b, s: b.erased_restored(s, "tombstones_forgotten")),
    Scenario("cut_answers", "holds", lambda b, s: b.cut_answers(s), is_once=True),
    Scenario("not_idempotent", "caught", lambda b, s: b.cut_answers(s, "not_idempotent"), is_once=True),
    Scenario("erasures", "holds", lambda b, s: b.erasures(s, ERASED_AT, 6)),
    Scenario("hand_erasures", "holds", lambda b, s: b.erasures(s, ERASED_AT, b.args.kills), counts_kills=True),
    Scenario("displaced", "holds", lambda b, s: b.displaced(s)),
    Scenario("forgotten", "holds", lambda b, s: b.forgotten(s), is_once=True),
    Scenario("guard_not_written", "caught", lambda b, s: b.forgotten(s, "guard_not_written")),
    Scenario("neighbours_kept", "caught", lambda b, s: b.forgotten(s, "neighbours_kept")),
    Scenario("lists_kept", "caught", lambda b, s: b.forgotten(s, "lists_kept")),
    Scenario("auto_offset_reset_latest", "caught", lambda b, s: b.mutant(s, "auto_offset_reset_latest", "written")),
    Scenario("session_lost", "holds", lambda b, s: b.session_lost(s)),
    Scenario("disk_full", "holds", lambda b, s: b.disk_full(s)),
    Scenario("random_kills", "holds", lambda b, s: b.random_kills(s), counts_kills=True),
    Scenario("broker_restarts", "holds", lambda b, s: b.broker_restarts(s)),
    Scenario("exact_plain", "holds", lambda b, s: b.exact_plain(s)),
]
for at in EXACT_POINTS:
    SCENARIOS.append(Scenario(f"exact_{at}", "holds", lambda b, s, at=at: b.exact_point(s, at), counts_kills=True))
SCENARIOS += [
    Scenario("exact_tail", "holds", lambda b, s: b.exact_tail(s), counts_kills=True),
    Scenario("exact_write_before_commit", "caught", lambda b, s: b.exact_mutant(s, "write_before_commit", "offsets_sent")),
    Scenario("exact_offsets_outside", "caught", lambda b, s: b.exact_mutant(s, "offsets_outside", "committed")),
    Scenario("exact_output_in_tail", "caught", lambda b, s: b.exact_mutant(s, "output_in_tail", "committed")),
    Scenario("exact_no_barrier", "caught", lambda b, s: b.exact_mutant(s, "no_barrier", "committed")),
    Scenario("exact_late", "holds", lambda b, s: b.exact_late(s), counts_kills=True),
    Scenario("hand_strays_ignored", "caught", lambda b, s: b.exact_late(s, "strays_ignored", 30)),
    Scenario("exact_commit_on_abort", "caught", lambda b, s: b.exact_failures(s, ["commit_refused"], "commit_on_abort")),
    Scenario("exact_new_disk", "holds", lambda b, s: b.exact_new_disk(s)),
    Scenario("exact_watchdog", "holds", lambda b, s: b.exact_watchdog(s)),
    Scenario("exact_random", "holds", lambda b, s: b.exact_random(s), counts_kills=True),
    Scenario("exact_erasures", "holds", lambda b, s: b.exact_erasures(s, EXACT_ERASED_AT, 6)),
    Scenario("hand_exact_erasures", "holds", lambda b, s: b.exact_erasures(s, EXACT_ERASED_AT, b.args.kills), counts_kills=True),
    Scenario("hand_exact_rebuilt", "holds", lambda b, s: b.exact_rebuilt(s)),
    Scenario("exact_modes", "holds", lambda b, s: b.exact_modes(s)),
    Scenario("exact_failures", "holds", lambda b, s: b.exact_failures(s, LOSSES)),
    Scenario("exact_session_lost", "holds", lambda b, s: b.exact_session_lost(s)),
    Scenario("exact_fenced", "holds", lambda b, s: b.exact_fenced(s)),
    Scenario("exact_brokers", "holds", lambda b, s: b.exact_brokers(s)),
]


def judge(bench, scenario, outcome, settings):
    """(trouble, the oracle's numbers as text)"""
    if outcome.trouble:
        return outcome.trouble, ""
    verdict, shown = bench.oracle(settings)
    numbers = "".join(f" {key}={value}" for key, value in verdict.items())
    wrong = verdict["wrong"] + (verdict["repeats"] if scenario.is_once else 0)
    if scenario.kind == "holds" and wrong:
        return f"{wrong} differences\n{shown}", numbers
    if scenario.kind == "caught" and not wrong:
        return "the oracle did not notice", numbers
    if scenario.counts_kills and outcome.kills < bench.least_kills:
        return f"{outcome.kills} kills, at least {bench.least_kills} are wanted", numbers
    return "", numbers


def attempt(bench, scenario, name):
    """(outcome, trouble, numbers) of one run under a name of its own."""
    settings = bench.settings(name)
    folder = settings["state.dir"] = os.path.join(bench.work, "state-" + name)
    if scenario.name in LOGGED:
        settings["statestore.changelog.enabled"] = "true"
    if scenario.name in RANKED:
        settings["model.dir"] = bench.ranked_model
    bench.verb("topics", "create", "--partitions", str(PARTITIONS), settings=settings)
    trouble = numbers = ""
    try:
        outcome = scenario.run(bench, settings)
        if outcome.text != "SKIP":
            trouble, numbers = judge(bench, scenario, outcome, settings)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        outcome, trouble = Outcome("broken off"), f"{type(error).__name__}: {error}"
        bench.kill_all()
    finally:
        bench.unmount(folder)
    if trouble:
        print_words(bench, settings)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        bench.delete_topics(f"{name}.", settings["application.id"] + "-")
    return outcome, trouble, numbers


def run_one(bench, scenario):
    """Prints one line; returns True when it passed, None when it was skipped."""
    started = time.time()
    for n in range(1, (TRIES if scenario.kind == "caught" else 1) + 1):
        outcome, trouble, numbers = attempt(bench, scenario, scenario.name if n == 1 else f"{scenario.name}-{n}")
        if not trouble:
            break
    if outcome.text == "SKIP":
        print(f"SKIP {scenario.name}: {outcome.trouble}", flush=True)
        return None
    print(f"{'FAILED' if trouble else 'ok    '} {scenario.name}: {outcome.text}, kills={outcome.kills}{numbers} "
          f"({time.time() - started:.1f} s)" + (f": {trouble}" if trouble else ""), flush=True)
    return not trouble


def print_words(bench, settings):
    lines = bench.log_text(settings).splitlines()
    print(f"    the last {min(WORDS, len(lines))} of {len(lines)} lines that freshet wrote:")
    for line in lines[-WORDS:]:
        print(f"    | {line[:500]}", flush=True)


EXACT_KILLS = (*(f"exact_{at}" for at in EXACT_POINTS), "exact_tail", "exact_random")
GROUPS = {
    "exact": lambda name: name.startswith("exact_"),
    "exact_kills": lambda name: name in EXACT_KILLS,
    "exact_others": lambda name: name.startswith("exact_") and name not in EXACT_KILLS,
    "kills": lambda name: name.startswith("kill_") or name == "random_kills",
    "others": lambda name: not name.startswith(("exact_", "kill_", "hand_")) and name not in BY_HAND + ("random_kills",),
}


def is_wanted(name, asked):
    """asked: names of scenarios and of groups; none: the default mode's."""
    asked = asked or ["kills", "others"]
    return name in asked or any(belongs(name) for group, belongs in GROUPS.items() if group in asked)


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
    unknown = set(args.scenarios) - set(names) - set(GROUPS)
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
            if is_wanted(scenario.name, args.scenarios):
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
