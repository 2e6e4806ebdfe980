#!/usr/bin/env python3
"""What a freshet that has nothing to do costs: the CPU of its process and of its broker, in percent of one core.

  bench/idle.py --bin build/release/bin [--waits 10,100,500] [--each 3] [--seconds 20] [--guarantee at_least_once]

A broker of its own, topics of 8 partitions without events, one process. --waits: values of consumer.fetch.wait.max.ms, taken in turns;
the broker alone comes first. Take numbers on a quiet machine.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS = os.sysconf("SC_CLK_TCK")
WARM_S = 8  # the group is shared out, and the broker has compiled what it does


def cpu_s(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def percent(pids, seconds):
    before = [cpu_s(pid) for pid in pids]
    time.sleep(seconds)
    return [100 * (cpu_s(pid) - was) / seconds for pid, was in zip(pids, before)]


class Bench:
    def __init__(self, args, work):
        self.args, self.work, self.folder = args, work, f"{work}/kafka"
        started = subprocess.run([f"{ROOT}/scripts/kafka", "start", "--dir", self.folder], check=True, capture_output=True, text=True)
        with open(f"{self.folder}/pid") as pid:
            self.broker = int(pid.read())
        self.settings = {"bootstrap.servers": started.stdout.split()[-1], "application.id": "idle", "events.topics": "shop",
                         "recommendations.topic": "lists", "processing.guarantee": args.guarantee, "state.dir": f"{work}/state"}

    def command(self, *words, **settings):
        command = [os.path.join(self.args.bin, "freshet"), *words]
        for key, value in {**self.settings, **settings}.items():
            command += ["--set", f"{key}={value}"]
        return command

    def take(self, wait):
        with open(f"{self.work}/log", "w") as log:
            running = subprocess.Popen(self.command("run", **{"consumer.fetch.wait.max.ms": wait}), stdout=log, stderr=log)
        try:
            time.sleep(WARM_S)
            if running.poll() is not None:
                sys.exit(f"bench/idle.py: freshet ended: {open(f'{self.work}/log').read()[-500:]}")
            process, broker = percent((running.pid, self.broker), self.args.seconds)
        finally:
            running.terminate()
            running.wait()
        print(f"fetch.wait.max.ms={wait}: freshet {process:.1f} %, broker {broker:.1f} %", flush=True)

    def run(self):
        subprocess.run(self.command("topics", "create", "--partitions", "8"), check=True, capture_output=True)
        time.sleep(WARM_S)
        print(f"no freshet: broker {percent((self.broker,), self.args.seconds)[0]:.1f} %", flush=True)
        for _ in range(self.args.each):
            for wait in self.args.waits.split(","):
                self.take(wait)

    def stop(self):
        subprocess.run([f"{ROOT}/scripts/kafka", "stop", "--dir", self.folder], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--waits", default="10,100,500")
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--guarantee", default="at_least_once", choices=["at_least_once", "exactly_once_v2"])
    with tempfile.TemporaryDirectory(prefix="freshet-idle-") as work:
        bench = Bench(parser.parse_args(), work)
        try:
            bench.run()
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
