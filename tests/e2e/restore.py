#!/usr/bin/env python3
"""The changelog brings everything back: freshet loses its disk, is killed while it restores, comes back late; the oracle looks afterwards.

  tests/e2e/restore.py --bin FOLDER [--seed N] [--events N] [--rounds N] [scenario...]

FOLDER holds a build with FRESHET_FAULTS (preset `faults`): freshet and oracle. Needs a real broker: starts one of its own through
scripts/kafka on loopback and stops it at the end. Each scenario has its own application id, topics and store, and reads the one events
topic. At the end the disk is lost once more, and what is restored must be whole and at the end of the events: no list is made again. A
scenario passes when the oracle finds nothing wrong before and after that; one with a planted bug when it, or freshet itself, notices, in one of
several tries: some bugs show only where a kill falls between two answers of the broker. Ends with `N passed, N failed, N skipped`.

Scenarios, 3 to 15 s each; those that begin with hand_ run only when they are named: SCENARIOS_HELP
"""
import argparse
import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import wire
from workbench import CHANCE, EXACT_POINTS, ITEMS, PARTITIONS, ROOT, TRIES, Workbench, end_on_sigterm

# Points of the changelog and of restores: chance at each pass.
RESTORE_POINTS = {"restore_marked": 1.0, "restore_rows": 1.0, "restore_flushed": 0.5, "restore_writes": 0.01}
LOG_POINTS = {"some_changes": 0.002, "changes_sent": 0.3, "changes_under_way": 0.3}
CHANCE.update(RESTORE_POINTS)
CHANCE.update(LOG_POINTS)
EXACT_POINTS.update(RESTORE_POINTS)
EXACT_POINTS.update(LOG_POINTS)
SNAPSHOT_POINTS = {"snapshot_taken": 1.0, "snapshot_placed": 1.0, "snapshot_file": 0.4}
CHANCE.update(SNAPSHOT_POINTS)
EXACT_POINTS.update(SNAPSHOT_POINTS)

Scenario = collections.namedtuple("Scenario", "name kind run")


class Trouble(Exception):
    """A scenario cannot go on."""


class Bench(Workbench):
    """Each scenario is a method that returns what went wrong, or ""."""

    def prepare(self):
        self.prepare_shop()
        self.verb("simulate", "--events", str(self.args.events), "--items", str(ITEMS), "--users", "500", "--seed", str(self.args.seed),
                  "--to", "topic", "--format", "avro", "--duplicates", "0.05", "--late", "0.05", "--poison", "0.01", "--items-topic", "",
                  settings=self.settings("prepare"))

    def settings(self, name):
        return dict(super().settings(name), **{"statestore.changelog.enabled": "true", "log.level": "info"})

    def lose(self, settings):
        shutil.rmtree(settings["state.dir"])

    def killed_at(self, settings, point, mutant="", chance=None):
        """One life that ends at the point, at each pass with this chance; whether it did. Raises Trouble when it ends by itself, as where
        freshet refuses its store."""
        process = self.start(settings, point, mutant, self.rng.getrandbits(30), chance=chance)
        trouble = self.wait(process)
        if process.returncode not in (0, -signal.SIGKILL):
            raise Trouble(f"{trouble} at {point}, see {settings['application.id']}.log")
        return process.returncode != 0

    def restores(self, settings):
        """Of each restore that the log tells of: records, rows put right, whether the store was written whole."""
        found = re.findall(r'partition restored.*records=(\d+).*repaired=(\d+) written_whole=(\d)', self.log_text(settings))
        return [tuple(map(int, one)) for one in found]

    # ---- scenarios ----

    def lost_disk(self, settings, mutant=""):
        """Killed at points of the commit and of the changelog, each time with the disk gone."""
        for _ in range(self.args.rounds):
            for point in ("written", "some_changes", "acked", "changes_sent"):
                self.killed_at(settings, point, mutant)
                self.lose(settings)
        return self.finish(settings, mutant)

    def kept_disk(self, settings, mutant=""):
        """Killed in the same places, with the disk: what the log is ahead of the store is taken from it, torn rows are put right."""
        settings["producer.batch.num.messages"] = "5"  # an epoch's rows take many requests, and a kill cuts them apart
        trouble = self.finish(settings, mutant)
        for _ in range(2 * self.args.rounds):
            for point in LOG_POINTS:
                with self.more_coming(300, rate=100000):
                    pass
                self.killed_at(settings, point, mutant)
        return trouble or self.finish(settings, mutant)

    def torn(self, settings, mutant=""):
        """Killed while an epoch's rows are sent, then behind some epochs of the next life, which are smaller and of any partition; then
        the disk is lost."""
        settings["producer.batch.num.messages"] = "5"
        small = dict(settings, **{"batch.max.events": "1", "commit.interval.ms": "10"})
        trouble = self.finish(settings, mutant)
        for _ in range(3 * self.args.rounds):
            with self.more_coming(2400, rate=100000):
                pass
            self.killed_at(settings, "changes_under_way", mutant)
            self.killed_at(small, "written", mutant, chance=0.3)
            self.lose(settings)
        return trouble or self.finish(settings, mutant)

    def kill_in_restore(self, settings):
        killed = 0
        self.killed_at(settings, "written")
        trouble = self.finish(settings)
        for point in list(RESTORE_POINTS)[:3]:
            self.lose(settings)
            for _ in range(2):
                killed += self.killed_at(settings, point)
        if not trouble and killed < 4:
            trouble = f"only {killed} kills in restores"
        return trouble or self.finish(settings)

    def turned_on(self, settings):
        """A store from before there was a changelog is written into it, also when the process dies meanwhile; so is one that went on
        without it for a while."""
        without = dict(settings, **{"statestore.changelog.enabled": "false"})
        trouble = ""
        for _ in range(2):
            with self.more_coming(300, rate=100000):
                pass
            trouble = trouble or self.finish(without)
            self.killed_at(settings, "restore_writes")
            self.killed_at(settings, "written")
        whole = sum(written for _, _, written in self.restores(settings))
        if whole < PARTITIONS:
            trouble = f"only {whole} partitions were written whole"
        self.lose(settings)
        return trouble or self.finish(settings)

    def horizon(self, settings, mutant=""):
        """A store comes back after its disk was away for longer than tombstones are kept, and another one went on meanwhile."""
        wire.alter_topic(self.broker.bootstrap, f"{settings['application.id']}-state-changelog", {"delete.retention.ms": 1000})
        self.killed_at(settings, "written")
        kept = settings["state.dir"] + "-kept"
        shutil.copytree(settings["state.dir"], kept)
        trouble = self.finish(settings)
        time.sleep(1.5)
        self.lose(settings)
        os.rename(kept, settings["state.dir"])
        trouble = trouble or self.finish(settings, mutant)
        if not trouble and "older than the changelog keeps deletions" not in self.log_text(settings):
            trouble = "the old store was taken for a good one"
        return trouble

    def take_over(self, settings):
        """Two processes, each with copies of the other's partitions; one is killed while events come. The other goes on from its copies."""
        second = dict(settings, **{"state.dir": settings["state.dir"] + "-second", "group.instance.id": settings["group.instance.id"] + "-2"})
        for one in (settings, second):
            one.update({"num.standby.replicas": "1", "session.timeout.ms": "6000"})
        trouble = self.finish(settings)
        first, other = self.start(settings, idle=60000), self.start(second, idle=15000)
        for _ in range(600):
            if self.log_text(settings).count("a copy of another process's partition is kept") >= PARTITIONS:
                break
            time.sleep(0.1)
        with self.more_coming(2000, rate=400):
            time.sleep(1)
            first.kill()
            first.wait()
            before = self.log_text(settings).count("restoring a partition")
        trouble = trouble or self.wait(other)
        if not trouble and self.log_text(settings).count("restoring a partition") > before:
            trouble = "a partition was read from the changelog's beginning though there was a copy"
        settings.update({key: second[key] for key in ("state.dir", "group.instance.id")})
        return trouble

    # ---- snapshots ----

    @staticmethod
    def with_snapshots(settings, changelog):
        settings.update({"statestore.snapshot.dir": settings["state.dir"] + "-snapshots", "statestore.snapshot.interval.ms": "1000",
                         "statestore.changelog.enabled": "true" if changelog else "false"})

    def snapshots(self, settings):
        """Folders, newest first."""
        folder = os.path.join(settings["statestore.snapshot.dir"], settings["application.id"], settings["group.instance.id"])
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder), reverse=True) if re.fullmatch(r"snapshot-\d+", name)]

    def few_more(self, settings, mutant=""):
        """Snapshots are taken while events come; when it ends the newest one is older than the store."""
        process = self.start(settings, mutant=mutant, idle=2200)
        with self.more_coming(900, rate=400):
            pass
        trouble = self.wait(process)
        if not trouble and len(self.snapshots(settings)) < 2:
            trouble = f"{len(self.snapshots(settings))} snapshots, 2 are kept"
        with self.more_coming(200, rate=100000):
            pass
        return trouble or self.finish(settings, mutant)

    def snapshot(self, settings, changelog=False, mutant=""):
        """The disk is lost, and the process is killed while a snapshot is taken, while it becomes the store, and just before it does."""
        self.with_snapshots(settings, changelog)
        trouble = self.few_more(settings, mutant)
        for point in () if trouble else SNAPSHOT_POINTS:
            if point != "snapshot_taken":
                self.lose(settings)
            for _ in range(self.args.rounds):
                process = self.start(settings, point, mutant, self.rng.getrandbits(30), idle=2500)
                ended = self.wait(process)
                if process.returncode != -signal.SIGKILL:
                    return ended or f"not killed at {point}"
        trouble = trouble or self.finish(settings, mutant)
        if not trouble and self.log_text(settings).count("was restored from a snapshot") < 1:
            trouble = "the store began anew"
        return trouble

    def snapshot_damaged(self, settings, mutant=""):
        """The newest one has a byte changed: it is passed over, and the one before is taken. Then both have: the events are read again."""
        self.with_snapshots(settings, changelog=False)
        trouble, damaged = self.few_more(settings, mutant), set()
        for n in () if trouble else (1, 2):
            for folder in set(self.snapshots(settings)[:n]) - damaged:  # twice would mend it
                self.damage(folder)
                damaged.add(folder)
            self.lose(settings)
            before = self.log_text(settings).count("a snapshot is passed over")
            trouble = trouble or self.finish(settings, mutant)
            if not trouble and self.log_text(settings).count("a snapshot is passed over") - before != n:
                trouble = f"not {n} snapshots were passed over"
        return trouble

    def snapshot_erased(self, settings, mutant=""):
        """Users are forgotten after the newest snapshot that is left; the store that is made of it forgets them again."""
        self.with_snapshots(settings, changelog=False)
        trouble = self.few_more(settings, mutant)
        folder, aside = settings["statestore.snapshot.dir"], settings["statestore.snapshot.dir"] + "-aside"
        shutil.copytree(folder, aside)
        if not self.forget(settings["erasures.topic"], self.rng, self.some_users(), 60, "gone"):
            raise Trouble("requests to forget somebody were not taken")
        trouble = trouble or self.finish(settings, mutant)
        shutil.rmtree(folder)
        os.rename(aside, folder)
        self.lose(settings)
        before = self.log_text(settings).count("was restored from a snapshot")
        trouble = trouble or self.finish(settings, mutant)
        if not trouble and self.log_text(settings).count("was restored from a snapshot") == before:
            trouble = "the snapshot from before was not taken"
        return trouble

    @staticmethod
    def damage(folder):
        """Once each; tables are shared, and would damage the older ones as well."""
        name = next(name for name in os.listdir(os.path.join(folder, "db")) if name.startswith("MANIFEST"))
        with open(os.path.join(folder, "db", name), "r+b") as f:
            at = os.path.getsize(f.name) // 2
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x20]))

    def exactly(self, settings, run):
        with self.exact(settings) as judged:
            return judged(run(settings))


SCENARIOS = [
    Scenario("lost_disk", "holds", lambda b, s: b.lost_disk(s)),
    Scenario("kept_disk", "holds", lambda b, s: b.kept_disk(s)),
    Scenario("torn", "holds", lambda b, s: b.torn(s)),
    Scenario("kill_in_restore", "holds", lambda b, s: b.kill_in_restore(s)),
    Scenario("turned_on", "holds", lambda b, s: b.turned_on(s)),
    Scenario("horizon", "holds", lambda b, s: b.horizon(s)),
    Scenario("take_over", "holds", lambda b, s: b.take_over(s)),
    Scenario("hand_snapshot", "holds", lambda b, s: b.snapshot(s)),
    Scenario("snapshot_changelog", "holds", lambda b, s: b.snapshot(s, changelog=True)),
    Scenario("snapshot_damaged", "holds", lambda b, s: b.snapshot_damaged(s)),
    Scenario("snapshot_erased", "holds", lambda b, s: b.snapshot_erased(s)),
    Scenario("exact_snapshot_erased", "holds", lambda b, s: b.exactly(s, b.snapshot_erased)),
    Scenario("hand_exact_snapshot", "holds", lambda b, s: b.exactly(s, b.snapshot)),
    Scenario("snapshot_unchecked", "caught", lambda b, s: b.snapshot_damaged(s, "snapshot_unchecked")),
    Scenario("hand_snapshot_in_place", "caught", lambda b, s: b.snapshot(s, mutant="snapshot_in_place")),
    Scenario("exact_lost_disk", "holds", lambda b, s: b.exactly(s, b.lost_disk)),
    Scenario("exact_kept_disk", "holds", lambda b, s: b.exactly(s, b.kept_disk)),
    Scenario("exact_turned_on", "holds", lambda b, s: b.exactly(s, b.turned_on)),
    Scenario("row_forgotten", "caught", lambda b, s: b.lost_disk(s, "changelog_row_forgotten")),
    Scenario("marker_before_rows", "caught", lambda b, s: b.lost_disk(s, "marker_before_rows")),
    Scenario("marker_before_lists", "caught", lambda b, s: b.lost_disk(s, "marker_before_lists")),
    Scenario("torn_rows_left", "caught", lambda b, s: b.torn(s, "torn_rows_left")),
]


def judge(bench, scenario, settings, trouble):
    """(trouble, numbers as text). A store so wrong that nobody can read it is noticed, too."""
    if trouble:
        return ("" if scenario.kind == "caught" else trouble), ""
    try:
        return compare(bench, scenario, settings)
    except RuntimeError as error:
        if scenario.kind == "caught" and "oracle: cannot look: state store" in str(error) and "is damaged" in str(error):
            return "", " damaged"
        raise


def compare(bench, scenario, settings):
    """As judge: what the oracle says before the store is lost, and after it was restored."""
    before, shown_before = bench.oracle(settings)
    bench.lose(settings)
    trouble = bench.finish(settings)
    verdict, shown = bench.oracle(settings)
    restores = bench.restores(settings)
    wrong = before["wrong"] + verdict["wrong"]
    again = verdict["repeats"] - before["repeats"]
    numbers = f" events={verdict['records']} wrong={wrong} repeats={before['repeats']}+{again} restores={len(restores)}"
    numbers += f" rows={sum(r[0] for r in restores)} repaired={sum(r[1] for r in restores)}"
    numbers += f" snapshots={bench.log_text(settings).count('was restored from a snapshot')}"
    if scenario.kind == "caught":
        return ("" if wrong or trouble else "nobody noticed"), numbers
    if wrong:
        trouble = trouble or f"{wrong} differences\n{shown_before}{shown}"
    if again > 0:
        trouble = trouble or f"{again} lists twice: the state was not restored but made anew from the events"
    return trouble, numbers


def attempt(bench, scenario, name):
    settings = bench.settings(name)
    folder = settings["state.dir"] = os.path.join(bench.work, "state-" + name)
    bench.verb("topics", "create", "--partitions", str(PARTITIONS), settings=settings)
    try:
        trouble = scenario.run(bench, settings)
    except Trouble as error:
        trouble = str(error)
    trouble, numbers = judge(bench, scenario, settings, trouble)
    if not trouble:
        shutil.rmtree(folder, ignore_errors=True)
    return trouble, numbers


def run_one(bench, scenario):
    started = time.time()
    trouble, numbers = attempt(bench, scenario, scenario.name)
    for n in range(2, TRIES + 1):
        if trouble and scenario.kind == "caught":
            print(f"       {scenario.name}: no kill met the planted bug, try {n} of {TRIES}", flush=True)
            trouble, numbers = attempt(bench, scenario, f"{scenario.name}-{n}")
    print(f"{'FAILED' if trouble else 'ok    '} {scenario.name}:{numbers} ({time.time() - started:.1f} s)" + (f": {trouble}" if trouble else ""),
          flush=True)
    return not trouble


def main():
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__.replace("SCENARIOS_HELP", " ".join(names)),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.SystemRandom().getrandbits(30))))
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    unknown = set(args.scenarios) - set(names)
    if unknown:
        sys.exit(f"unknown scenarios: {', '.join(sorted(unknown))}")
    end_on_sigterm()
    work = tempfile.mkdtemp(prefix="freshet-restore-")
    print(f"SEED={args.seed} work={work}", flush=True)
    bench = Bench(args, work)
    outcomes, came_to_end = [], False
    try:
        bench.prepare()
        for scenario in SCENARIOS:
            if scenario.name in (args.scenarios or names) and (args.scenarios or not scenario.name.startswith("hand_")):
                outcomes.append(run_one(bench, scenario))
        came_to_end = True
    finally:
        bench.stop()
        if came_to_end and False not in outcomes and not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed, 0 skipped")
    sys.exit(1 if False in outcomes else 0)


if __name__ == "__main__":
    main()
