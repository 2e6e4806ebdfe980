#!/usr/bin/env python3
"""What a new model costs while 1,000 events come each second: event-to-list latency before, during and after the change.

  bench/swap.py --bin build/release/bin [--users 2000] [--past 100000] [--rate 1000] [--seconds 30] [--window 200] [--dim 64]

A broker of its own; a shop's past is read first, so that users have windows; then events come at the rate, and after a third of
the time a second model is copied over the one in use. Latency: the list's Kafka timestamp less the event's (whole ms; both are
taken on this machine). "during": the five seconds from `model loaded` on. Take numbers on a quiet machine.
"""
import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def kcat(bootstrap, topic, what):
    done = subprocess.run(["kcat", "-C", "-e", "-q", "-b", bootstrap, "-t", topic, "-f", what + "\n"], check=True,
                          capture_output=True, text=True)
    return done.stdout.splitlines()


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else -1


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.kafka = [os.path.join(ROOT, "scripts/kafka")]
        started = subprocess.run([*self.kafka, "start", "--dir", f"{work}/kafka"], check=True, capture_output=True, text=True)
        self.bootstrap = started.stdout.split()[-1]
        self.settings = {"application.id": "swap", "bootstrap.servers": self.bootstrap, "events.topics": "shop",
                         "recommendations.topic": "lists", "state.dir": f"{work}/state", "model.dir": f"{work}/model",
                         "session.window": args.window, "model.check.interval.ms": 200}

    def command(self, *words, settings=True):
        command = [os.path.join(self.args.bin, "freshet"), *map(str, words)]
        for key, value in self.settings.items() if settings else ():
            command += ["--set", f"{key}={value}"]
        return command

    def call(self, *words, settings=True):
        subprocess.run(self.command(*words, settings=settings), check=True, capture_output=True)

    def simulate(self, events, seed, *words):
        return self.command("simulate", "--events", events, "--items", self.args.items, "--users", self.args.users,
                            "--items-topic", "", "--quiet", "--seed", seed, *words)

    def prepare(self):
        shop = f"{self.work}/shop.tsv"
        self.call("simulate", "--events", 50000, "--items", self.args.items, "--users", self.args.users, "--to", shop,
                  "--format", "sessions", "--quiet", settings=False)
        for name, seed in (("model", 1), ("second", 2)):
            self.call("train", "--input", shop, "--format", "sessions", "--out", f"{self.work}/{name}", "--epochs", 1, "--dim",
                      self.args.dim, "--seed", seed, "--encoder", self.args.encoder, "--quiet", settings=False)
        self.call("topics", "create", "--partitions", 4, "--items-topic", "")
        subprocess.run(self.simulate(self.args.past, 1), check=True, capture_output=True)

    def run(self):
        with open(f"{self.work}/log", "w") as log:
            running = subprocess.Popen(self.command("run"), stderr=log, stdout=log)
        try:
            self.wait("lag=0 ", running)
            feed = subprocess.Popen(self.simulate(self.args.rate * self.args.seconds, 2, "--rate", self.args.rate))
            time.sleep(self.args.seconds / 3)
            subprocess.run(f"cp {self.work}/second/* {self.work}/model", shell=True, check=True)
            feed.wait()
            time.sleep(2)
        finally:
            running.terminate()
            running.wait()

    def wait(self, text, running):
        while True:
            with open(f"{self.work}/log") as log:
                if text in log.read():
                    return
            if running.poll() is not None:
                sys.exit(f"freshet run ended with {running.returncode}")
            time.sleep(0.2)

    def report(self):
        with open(f"{self.work}/log") as log:
            lines = [line for line in log if '"model ' in line]
        print("".join(lines), end="")
        stamp = re.match(r"ts=(\S+?)Z? ", lines[0]).group(1)
        swapped = datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.timezone.utc).timestamp() * 1000
        events = {(p, o): int(t) for p, o, t in (line.split() for line in kcat(self.bootstrap, "shop", "%p %o %T"))}
        parts = {"before": [], "during": [], "after": []}
        for line in kcat(self.bootstrap, "lists", "%h %T"):
            headers, stamp = line.rsplit(" ", 1)
            _, p, o = headers.split("freshet-src=")[1].split(",")[0].rsplit("/", 2)
            age = int(stamp) - swapped
            if abs(age) > 1000 * self.args.seconds / 3:
                continue
            parts["before" if age < 0 else "during" if age < 5000 else "after"].append(int(stamp) - events[p, o])
        for name, values in parts.items():
            print(f"{name:7} {len(values):6} lists, ms: p50 {quantile(values, .5)}  p90 {quantile(values, .9)}  "
                  f"p99 {quantile(values, .99)}  max {quantile(values, 1)}")

    def stop(self):
        subprocess.run([*self.kafka, "stop", "--dir", f"{self.work}/kafka"], capture_output=True, check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    parser.add_argument("--encoder", default="lru")
    for name, value in (("users", 2000), ("items", 5000), ("past", 100000), ("rate", 1000), ("seconds", 30), ("window", 200),
                        ("dim", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    work = tempfile.mkdtemp(prefix="freshet-swap-")
    bench = Bench(parser.parse_args(), work)
    try:
        bench.prepare()
        bench.run()
        bench.report()
    finally:
        bench.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
