#!/usr/bin/env python3
"""What a restart, a lost disk and the changelog cost.

  bench/restore.py --bin FOLDER [--users N] [--each N] [--partitions N] [--runs N] [--seed N] [--set KEY=VALUE]... [--work FOLDER] [--copy FOLDER] [--cost N]

FOLDER holds freshet (preset release). Starts a broker of its own. Makes a store of so many users (--each events of every user, in random
order) with and without a changelog (CPU and wall time of both: its cost; --runs 0: nothing else), kills it with -9 and takes the time from a start to the first new
list, then takes the disk away and tells the rate of the restore: from the changelog, from a snapshot on the same disk (links) and, with --copy, from
one on another file system. Prints one JSON object."""
import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/e2e"))
from workbench import Broker, end_on_sigterm  # noqa: E402

ITEMS = 1000


class Bench:
    def __init__(self, args, work):
        self.args, self.work, self.broker = args, work, Broker(work)
        self.rng = random.Random(args.seed)
        self.processes = []

    def command(self, verb, name, *words, **more):
        settings = {"application.id": name, "bootstrap.servers": self.broker.bootstrap, "events.topics": "events", "items.topic": "",
                    "recommendations.topic": f"{name}.lists", "related.topic": "", "trending.topic": "", "neighbours.enabled": "false",
                    "state.dir": os.path.join(self.work, "state"), "group.instance.id": name, "session.timeout.ms": "6000",
                    "statestore.changelog.enabled": "true"}
        settings.update(dict(one.split("=", 1) for one in self.args.set))
        settings.update(more)
        command = [os.path.join(self.args.bin, "freshet"), *verb, *words]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        return command

    def run(self, *args, **more):
        done = subprocess.run(self.command(*args, **more), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return done

    def events(self, users, each):
        """Events of users 0 to users - 1 into the topic, in random order."""
        path = os.path.join(self.work, "events.txt")
        with open(path, "w") as f:
            for _ in range(each):
                order = list(range(users))
                self.rng.shuffle(order)
                f.writelines(f"u{user} i{user * 7919 % ITEMS}\n" for user in order)
        prefix = f"e{self.rng.getrandbits(40)}"
        self.run(["import"], "with", "--input", path, "--format", "pairs", "--timestamps", "now", "--id-prefix", prefix, "--quiet")
        os.remove(path)

    def measured(self, name, **more):
        started = time.time()
        done = self.run(["run"], name, "--idle", "1500", "--report", **more)
        report = json.loads(done.stdout.splitlines()[-1])
        return {"wall_s": round(time.time() - started, 1), "events_per_s": report["records_per_s"], "cpu_us": report["cpu_us_per_record"]}

    def cost(self, i):
        """One run without a changelog and one with; each of an application of its own."""
        found = {}
        for kind, value in (("without", "false"), ("with", "true")):
            more = {"statestore.changelog.enabled": value}
            self.run(["topics", "create"], f"{kind}-{i}", "--partitions", str(self.args.partitions), **more)
            found[kind] = self.measured(f"{kind}-{i}", **more)
            shutil.rmtree(self.folder(f"{kind}-{i}"))
        return found

    def first_list(self, name):
        """Seconds from the start of the process, after one that was killed at work, to the first new list."""
        self.until_list(name)
        return round(self.until_list(name), 2)

    def until_list(self, name):
        """A process that is killed at the first list of the events that waited for it."""
        before = self.lists(name)
        self.events(2000, 1)
        with open(os.path.join(self.work, "start.log"), "ab") as log:
            started = time.time()
            process = subprocess.Popen(self.command(["run"], name), stdout=log, stderr=log)
            self.processes.append(process)
            while self.lists(name) <= before and time.time() - started < 60:
                time.sleep(0.02)
            took = time.time() - started
        process.kill()
        process.wait()
        return took

    def lists(self, name):
        asked = [word for p in range(self.args.partitions) for word in ("-t", f"{name}.lists:{p}:-1")]
        done = subprocess.run(["kcat", "-Q", "-b", self.broker.bootstrap, *asked], capture_output=True, text=True)
        return sum(int(n) for n in re.findall(r"offset (\d+)", done.stdout))

    def folder(self, name):
        return os.path.join(self.work, "state", name)

    def bytes(self, name):
        return sum(os.path.getsize(os.path.join(at, one)) for at, _, files in os.walk(self.folder(name)) for one in files)

    def restored(self, name):
        """Rate of the restore: all records over the time of the partition that took longest."""
        shutil.rmtree(self.folder(name))
        started = time.time()
        done = self.run(["run"], name, "--idle", "1000", "--report")
        found = re.findall(r"partition restored.*records=(\d+) seconds=([\d.]+)", done.stderr)
        records, seconds = sum(int(r) for r, _ in found), max(float(s) for _, s in found)
        return {"records": records, "seconds": seconds, "records_per_s": round(records / seconds), "users_per_s": round(self.args.users / seconds),
                "wall_s": round(time.time() - started, 1)}


    def snapshot(self, name, folder):
        """Rate of a restore from a snapshot in the folder, all of the start included; users over the seconds that the log tells."""
        more = {"statestore.snapshot.dir": folder, "statestore.snapshot.keep": "1"}
        taken = re.search(r"snapshot taken.*bytes=(\d+) bytes_new=(\d+) took_ms=(\d+)", self.run(["run"], name, "--idle", "3000", **more).stderr)
        shutil.rmtree(self.folder(name))
        started = time.time()
        done = self.run(["run"], name, "--idle", "1000", **more)
        found = re.search(r"restored from a snapshot.*seconds=([\d.]+) events_since=(\d+)", done.stderr)
        shutil.rmtree(folder)
        seconds = float(found[1])
        return {"taken_ms": int(taken[3]), "bytes": int(taken[1]), "bytes_new": int(taken[2]), "seconds": seconds, "events_since": int(found[2]),
                "users_per_s": round(self.args.users / max(seconds, 0.01)), "wall_s": round(time.time() - started, 1)}


def measure(bench, args):
    """Fills the result bit by bit; what there is gets printed also when something breaks."""
    result = {"users": args.users, "each": args.each, "seed": args.seed, "set": args.set}
    try:
        bench.broker.call("start")
        bench.run(["topics", "create"], "with", "--partitions", str(args.partitions))
        bench.events(args.users, args.each)
        for i in range(args.cost):
            result.setdefault("cost", []).append(bench.cost(i))
        if args.cost and not args.runs:
            return
        result["with"] = bench.measured("with")
        result["store_mb"] = round(bench.bytes("with") / 1e6)
        result["first_list_s"] = statistics.median(bench.first_list("with") for _ in range(args.runs))
        result["restore"] = [bench.restored("with") for _ in range(args.runs)]
        result["snapshot_linked"] = [bench.snapshot("with", os.path.join(bench.work, "snapshots")) for _ in range(args.runs)]
        if args.copy:
            result["snapshot_copied"] = [bench.snapshot("with", os.path.join(args.copy, "snapshots")) for _ in range(args.runs)]
    finally:
        print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--users", type=int, default=1000000)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="of freshet's configuration")
    parser.add_argument("--cost", type=int, default=1, help="so many runs without and with a changelog, by turns")
    parser.add_argument("--copy", help="a folder on another file system")
    parser.add_argument("--work", help="where the files go; kept")
    args = parser.parse_args()
    end_on_sigterm()
    work = args.work or tempfile.mkdtemp(prefix="freshet-restore-bench-")
    os.makedirs(work, exist_ok=True)
    bench = Bench(args, work)
    try:
        measure(bench, args)
    finally:
        for process in bench.processes:
            if process.poll() is None:
                process.kill()
        bench.broker.end()
        if not args.work:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
