#!/usr/bin/env python3
"""Another model while `freshet run` is at work: by a changed folder, by SIGHUP, with a broken one, with a kill behind it.

  tests/e2e/swap.py --bin FOLDER [--keep]

Each case feeds a shop's events at a steady rate and changes the model meanwhile. Two more runs read the same events with one
of the models from the first event to the last: every list of the case must have the bytes that the run of its model gives for
the same event, none may be missing, and in each partition the new model's lists follow the old one's. (That the frozen runs
are right is what tests/e2e/faults.py shows.) Broker: FRESHET_TEST_BOOTSTRAP, else its own. Ends with
`N passed, N failed, N skipped`.
"""
import argparse
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ending  # noqa: E402
from bad_input import World, must, run_one  # noqa: E402

EVENTS, RATE = 1000, 500  # before and during the change; and as many again when it is done
PARTITIONS = 2


class Lists:
    """The lists of one topic: bytes by the event they come from, one after another."""

    def __init__(self, case, topic):
        done = subprocess.run(["kcat", "-C", "-e", "-q", "-b", case.world.bootstrap, "-t", topic, "-f", "%h %S\n%s\n"],
                              check=True, capture_output=True, timeout=60)
        out, at = done.stdout, 0
        self.by_source = collections.defaultdict(list)
        while at < len(out):
            end = out.index(b"\n", at)
            headers, size = out[at:end].decode().rsplit(" ", 1)
            source = dict(header.split("=", 1) for header in headers.split(","))["freshet-src"]
            self.by_source[source].append(out[end + 1:end + 1 + int(size)])
            at = end + 2 + int(size)

    def count(self):
        return sum(len(found) for found in self.by_source.values())


def place(source):
    topic, partition, offset = source.rsplit("/", 2)
    return topic, int(partition), int(offset)


def frozen(case, name, model):
    """The lists of a run that has this model all along."""
    topic = f"{case.settings['application.id']}-{name}.lists"
    settings = {"application.id": f"{case.settings['application.id']}-{name}", "recommendations.topic": topic, "model.dir": model}
    case.topics(settings=settings)
    case.count(settings=settings, records=2 * EVENTS)
    return Lists(case, topic)


def compare(case, old, new, repeats):
    """Returns how many lists are of each model. repeats: an event may have several lists."""
    lists = Lists(case, case.settings["recommendations.topic"])
    runs = [frozen(case, "old", old), frozen(case, "new", new)]
    must(lists.by_source.keys() == runs[0].by_source.keys(),
         f"{len(lists.by_source)} events have lists, {len(runs[0].by_source)} must have")
    must(repeats or lists.count() == len(lists.by_source), f"{lists.count()} lists of {len(lists.by_source)} events")
    counts, last = [0, 0], {}
    for source in sorted(lists.by_source, key=place):
        partition = place(source)[1]
        for value in lists.by_source[source]:
            which = [run.by_source[source][0] == value for run in runs]
            must(any(which), f"the list of {source} is of neither model")
            if all(which):
                continue
            counts[which[1]] += 1
            must(repeats or which[1] >= last.get(partition, 0), f"{source} has a list of the old model behind one of the new")
            last[partition] = which[1]
    return counts


def until(process, log, pattern, since=0, seconds=60):
    """Waits for a line on stderr, which goes to the file `log`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(log) as f:
            f.seek(since)
            if re.search(pattern, f.read()):
                return
        must(process.poll() is None, f"ended with {process.returncode}")
        time.sleep(0.05)
    must(False, f"'{pattern}' does not come")


class Feed:
    """`freshet run` at work on a steady feed."""

    def __init__(self, case, interval_ms):
        self.case = case
        self.model = os.path.join(case.folder, "model")
        self.log = os.path.join(case.folder, "run.log")
        shutil.copytree(case.world.model, self.model)
        case.settings["events.topics"] = f"{case.world.run_id}.{case.name}.events"
        case.settings["model.check.interval.ms"] = str(interval_ms)
        case.settings["model.dir"] = self.model
        case.settings["group.instance.id"] = case.name
        case.settings["log.summary.interval.ms"] = "1000"
        case.topics(PARTITIONS)
        self.events = self.send(1)
        self.start()
        self.wait(r" lists=\d{3}")  # some are of the first model

    def send(self, seed):
        return self.case.start("simulate", "--events", str(EVENTS), "--rate", str(RATE), "--items", "100", "--users", "50",
                               "--items-topic", "", "--quiet", "--seed", str(seed))

    def start(self):
        command = self.case.command(("run", "--report"), {})
        with open(self.log, "a") as log:
            self.running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.case.folder)
        self.wait("partitions assigned")

    def wait(self, pattern):
        """For a line of the run that is going on, or of an earlier one."""
        until(self.running, self.log, pattern)

    def put(self, folder):
        """Copies a model over the one in use, as a person does."""
        subprocess.run(f"cp {folder}/* {self.model}", shell=True, check=True)

    def end(self):
        """Sends the other half of the events, lets all be read, and returns the report."""
        self.case.end(self.events, 0, ())
        self.case.end(self.send(2), 0, ())
        for _ in range(2):  # the first summary may have been under way
            until(self.running, self.log, "lag=0", since=os.path.getsize(self.log))
        self.running.terminate()
        out, _ = self.running.communicate(timeout=60)
        must(self.running.returncode == 0, f"run ended with {self.running.returncode}")
        return json.loads(out.splitlines()[-1])


def by_file(case):
    feed = Feed(case, interval_ms=100)
    case.world.train(feed.model, dim=32, seed=2)  # another size, into the folder in use
    feed.wait("model in use")
    report = feed.end()
    must(report["models_loaded"] == 1 and report["models_refused"] == 0, str(report))
    counts = compare(case, case.world.model, feed.model, repeats=False)
    must(min(counts) > 50, f"{counts} lists of the old model and the new")


def by_signal(case):
    feed = Feed(case, interval_ms=0)
    feed.put(case.world.second)
    time.sleep(1)
    with open(feed.log) as log:
        must("model loaded" not in log.read(), "loaded before it was told to")
    feed.running.send_signal(signal.SIGHUP)
    feed.wait("model in use")
    report = feed.end()
    must(report["models_loaded"] == 1, str(report))
    counts = compare(case, case.world.model, case.world.second, repeats=False)
    must(min(counts) > 50, f"{counts} lists of the old model and the new")


def broken_is_refused(case):
    feed = Feed(case, interval_ms=100)
    broken = os.path.join(case.folder, "broken")
    shutil.copytree(case.world.second, broken)
    with open(os.path.join(broken, "model.safetensors"), "r+b") as f:
        f.truncate(2000)
    feed.put(broken)
    feed.wait("the model in use stays")
    time.sleep(1)
    feed.running.send_signal(signal.SIGHUP)  # and once more when told
    report = feed.end()
    with open(feed.log) as log:
        lines = [line for line in log if "level=error" in line]
    must(len(lines) == 2 and all("model.safetensors" in line for line in lines), f"error lines: {lines}")
    must(report["models_loaded"] == 0 and report["models_refused"] == 2, str(report))
    counts = compare(case, case.world.model, case.world.second, repeats=False)
    must(counts[1] == 0, f"{counts[1]} lists of a broken model")


def killed_behind_it(case):
    feed = Feed(case, interval_ms=100)
    feed.put(case.world.second)
    feed.wait("model in use")
    feed.running.kill()
    feed.running.communicate()
    feed.start()
    feed.end()
    counts = compare(case, case.world.model, case.world.second, repeats=True)
    must(min(counts) > 50, f"{counts} lists of the old model and the new")


class Models(World):
    """The world of bad_input, with two models."""

    def train(self, out, dim, seed):
        self.verb_plain("train", "--input", os.path.join(self.work, "shop.tsv"), "--format", "sessions", "--out", out,
                        "--epochs", "1", "--dim", str(dim), "--seed", str(seed), "--quiet", "--ranker=false")

    def prepare(self):
        self.bootstrap = os.environ.get("FRESHET_TEST_BOOTSTRAP") or self.start_broker("broker")
        self.events = ""
        self.run_id = f"swap{os.getpid()}"
        self.model, self.second = os.path.join(self.work, "first"), os.path.join(self.work, "second")
        self.verb_plain("simulate", "--events", "2000", "--items", "100", "--users", "50", "--to",
                        os.path.join(self.work, "shop.tsv"), "--format", "sessions", "--quiet")
        self.train(self.model, dim=16, seed=1)
        self.train(self.second, dim=16, seed=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    work = tempfile.mkdtemp(prefix="freshet-swap-")
    world, outcomes = Models(args, work), []
    try:
        world.prepare()
        outcomes = [run_one(world, case) for case in (by_file, by_signal, broken_is_refused, killed_behind_it)]
    finally:
        world.stop()
        ending.clear(work, outcomes, args.keep)
    ending.leave(outcomes)


if __name__ == "__main__":
    main()
