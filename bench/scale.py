#!/usr/bin/env python3
"""The same events through 1, 2 and 4 processes of one application: the same lists, and what a process takes of the CPU for an event.

  bench/scale.py --bin FOLDER [--events N] [--rate R | --in-turn] [--partitions 8] [--processes 1,2,4] [--seed N]
                 [--set key=value]... [--oracle PROGRAM]

Each number of processes has a broker of its own, with the same events (a list names the topic of its event). The processes share the
partitions out first, then the events come: --rate of them in a second; or as fast as they are taken, where processes that want more
cores than there are also take them from each other; or --in-turn: all stand still until the events lie there, then one after the
other takes its share as fast as it can while the others stand still, as if each had a machine. CPU time is the processes' own,
by their report, from when they were open; what the broker takes is not in it. The lists of all runs must be equal, byte for byte, by user and in order of their
events; with --oracle (tests/oracle, of the same build) topics and stores are compared with the reference as well, which takes a
second for some 1,000 events. Take numbers on a quiet machine.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KAFKA = os.path.join(ROOT, "scripts/kafka")
IDLE_MS = 3000
WAIT_S = 60


def sets(settings):
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


class Scale:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.freshet = os.path.join(args.bin, "freshet")
        self.kafka = ""
        self.model = os.path.join(work, "model")
        self.bootstrap = ""

    def verb(self, *words):
        done = subprocess.run([self.freshet, *words], capture_output=True, text=True, timeout=600)
        if done.returncode:
            sys.exit(f"{words[:2]}: exit {done.returncode}: {done.stderr[-1000:]}")

    def prepare(self):
        log = os.path.join(self.work, "shop.tsv")
        self.shop = ["--users", str(self.args.users), "--items", str(self.args.items), "--seed", str(self.args.seed)]
        self.verb("simulate", "--events", "30000", "--to", log, "--format", "sessions", *self.shop)
        self.verb("train", "--input", log, "--format", "sessions", "--out", self.model, "--epochs", "1")

    def settings(self, n, own=None):
        settings = {"application.id": "scale", "bootstrap.servers": self.bootstrap, "events.topics": "scale.events",
                    "recommendations.topic": "scale.lists", "related.topic": "scale.related",
                    "trending.topic": "scale.trending", "items.topic": "", "model.dir": self.model, "log.level": "info",
                    "state.dir": os.path.join(self.work, f"scale-{n}-{own}"), "session.timeout.ms": "280000" if self.args.in_turn else "10000",
                    # Lists would depend on when published ones were read.
                    "blend.related.weight": "0", "blend.trending.weight": "0"}
        settings.update(pair.split("=", 1) for pair in self.args.set)
        return dict(settings, **{"group.instance.id": f"p{own}"}) if own is not None else settings

    def log_of(self, n, own):
        return os.path.join(self.work, f"scale-{n}-{own}.log")

    def held(self, n, own):
        with open(self.log_of(n, own), errors="replace") as f:
            text = f.read()
        held = set()
        for what, partition in re.findall(r'msg="partition (assigned|revoked)".* partition=(\d+)', text):
            (held.add if what == "assigned" else held.discard)(int(partition))
        return held

    def start(self, n):
        """All of them, once the partitions are shared out."""
        processes = []
        for own in range(n):
            with open(self.log_of(n, own), "w") as log:
                command = [self.freshet, "run", "--report", *sets(self.settings(n, own))]
                processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True))
        until = time.time() + WAIT_S
        while time.time() < until:
            held = [self.held(n, own) for own in range(n)]
            if all(held) and sum(map(len, held)) == self.args.partitions:
                return processes
            time.sleep(0.1)
        for process in processes:
            process.kill()
        sys.exit(f"{n} processes do not come to rest: {held}")

    def count(self, topic):
        done = subprocess.run(["kcat", "-Q", "-b", self.bootstrap, *[word for p in range(self.args.partitions) for word in ("-t", f"{topic}:{p}:-1")]],
                              capture_output=True, text=True, check=True)
        return sum(int(line.rsplit(" ", 1)[1]) for line in done.stdout.splitlines() if "offset" in line)

    def broker(self, n):
        self.stop()
        self.kafka = os.path.join(self.work, f"kafka-{n}")
        started = subprocess.run([KAFKA, "start", "--dir", self.kafka], check=True, capture_output=True, text=True)
        self.bootstrap = started.stdout.strip()

    def signal(self, processes, number):
        for process in processes:
            process.send_signal(number)

    def rest(self):
        """Waits until no list comes any more; how many there are, and since when."""
        lists, since = -1, time.time()
        while time.time() - since < IDLE_MS / 1000:
            now = self.count("scale.lists")
            if now != lists:
                lists, since = now, time.time()
            time.sleep(0.2)
        return lists, since

    def run(self, n):
        self.broker(n)
        self.verb("topics", "create", "--partitions", str(self.args.partitions), *sets(self.settings(n)))
        processes = self.start(n)
        if self.args.in_turn:
            self.signal(processes, signal.SIGSTOP)
        started = time.time()
        self.verb("simulate", "--events", str(self.args.events), "--rate", str(self.args.rate), "--items-topic", "", *self.shop,
                  *sets(self.settings(n)))
        fed = time.time() - started
        for process in processes if self.args.in_turn else []:
            self.signal([process], signal.SIGCONT)
            self.rest()
            self.signal([process], signal.SIGSTOP)
        self.signal(processes, signal.SIGCONT)
        lists, since = self.rest()
        for process in processes:
            process.terminate()
        reports = [json.loads(process.communicate(timeout=WAIT_S)[0].splitlines()[-1]) for process in processes]
        took = since - started
        records = sum(report["records"] for report in reports)
        cpu = [report["cpu_us_per_record"] for report in reports if report["records"]]
        mean = sum(report["cpu_us_per_record"] * report["records"] for report in reports) / max(records, 1)
        print(f"scale processes={n} partitions={self.args.partitions} records={records} lists={lists} seconds={took:.1f} fed_in={fed:.1f} "
              f"cpu_us_per_record={mean:.1f} each={' '.join(f'{value:.1f}' for value in cpu)} "
              f"records_each={' '.join(str(report['records']) for report in reports)}", flush=True)
        return mean

    def lists(self):
        """A digest for each user of all lists, first appearances in order of their events."""
        command = ["kcat", "-C", "-e", "-q", "-b", self.bootstrap, "-t", "scale.lists", "-f", "%h %K %S\n%k%s\n"]
        data = subprocess.run(command, check=True, capture_output=True, timeout=600).stdout
        seen, digests, at, repeats = set(), {}, 0, 0
        while at < len(data):
            end = data.index(b"\n", at)
            head, key_len, value_len = data[at:end].rsplit(b" ", 2)
            body = data[end + 1:end + 1 + int(key_len) + int(value_len)]
            at = end + 2 + len(body)
            source = head.split(b"/", 1)[1]
            repeats += source in seen
            if source not in seen:
                digests.setdefault(body[:int(key_len)], hashlib.sha256()).update(source + body)
            seen.add(source)
        return {key: digest.hexdigest() for key, digest in digests.items()}, len(seen), repeats

    def judge(self, n, first):
        digests, lists, repeats = self.lists()
        other = sum(digests.get(key) != first.get(key) for key in set(digests) | set(first or digests)) if first else 0
        print(f"scale processes={n} users={len(digests)} lists={lists} repeats={repeats} users_with_other_lists={other}", flush=True)
        wrong = 0
        if self.args.oracle:
            also = [word for own in range(1, n) for word in ("--also", self.settings(n, own)["state.dir"])]
            done = subprocess.run([self.args.oracle, *sets(self.settings(n, 0)), *also], capture_output=True, text=True, timeout=1200)
            print(f"scale processes={n} oracle {done.stdout.strip()}{done.stderr[-500:]}", flush=True)
            wrong = done.returncode
        return digests, other + wrong

    def stop(self):
        if self.kafka:
            subprocess.run([KAFKA, "stop", "--dir", self.kafka], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--events", type=int, default=200000)
    parser.add_argument("--rate", type=float, default=0, help="events a second; 0: as fast as they are taken")
    parser.add_argument("--in-turn", action="store_true", help="no process runs while another does")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--users", type=int, default=20000)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--oracle", default="")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="freshet-scale-")
    print(f"SEED={args.seed} work={work}", flush=True)
    scale = Scale(args, work)
    means, wrong, first = {}, 0, None
    try:
        scale.prepare()
        for n in map(int, args.processes.split(",")):
            means[n] = scale.run(n)
            digests, bad = scale.judge(n, first)
            first = first or digests
            wrong += bad
    finally:
        scale.stop()
        shutil.rmtree(work, ignore_errors=True)
    one = next(iter(means.values()))
    print("scale " + " ".join(f"{n}_processes={100 * mean / one:.1f}%" for n, mean in means.items()) + f" wrong={wrong}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
