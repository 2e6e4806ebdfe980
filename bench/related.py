#!/usr/bin/env python3
"""How long an order takes to change what goes with its items, with other events beside it.

  bench/related.py --bin FOLDER --bootstrap HOST:PORT --work FOLDER [--orders 1000] [--rate 1000] [--items 1000] [--seed 1]

A simulated shop writes --rate events/s. Beside it every 20 ms a user of this bench buys two items that nobody else knows; the time
is taken from the order's Kafka timestamp to that of the first bought_together record of its first item, both set by the clock of
this machine when a record is handed to a producer. Printed: quantiles in ms, one JSON object on the last line.
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

WARM_SECONDS, ORDER_MS = 5, 20


def quantile(values, q):
    return values[min(len(values) - 1, int(len(values) * q))]


class Bench:
    def __init__(self, args):
        self.args = args
        self.name = f"related-{int(time.time())}"
        self.work = tempfile.mkdtemp(prefix="related-", dir=args.work)
        self.words = []
        for key, value in {"application.id": self.name, "bootstrap.servers": args.bootstrap, "events.topics": f"{self.name}.events",
                           "recommendations.topic": f"{self.name}.lists", "related.topic": f"{self.name}.related", "trending.topic": f"{self.name}.trending",
                           "items.topic": "", "value.format": "json", "state.dir": self.work, "log.level": "warn"}.items():
            self.words += ["--set", f"{key}={value}"]

    def freshet(self, *words):
        return [os.path.join(self.args.bin, "freshet"), *words, *self.words]

    def orders(self):
        """Orders one after the other; returns when each item's order was handed to the producer, by the record itself."""
        command = ["kcat", "-b", self.args.bootstrap, "-P", "-t", f"{self.name}.events", "-K", "\t", "-X", "linger.ms=0"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as producer:
            began = time.time()
            for i in range(self.args.orders):
                time.sleep(max(0.0, began + i * ORDER_MS / 1000 - time.time()))
                event = {"event_id": f"order-{i}", "event_type": "purchase", "user_id": f"buyer-{i}",
                         "event_time": int(time.time() * 1000), "items": [{"item_id": f"first-{i}"}, {"item_id": f"second-{i}"}]}
                producer.stdin.write(f"buyer-{i}\t{json.dumps(event)}\n")
                producer.stdin.flush()

    def times(self, topic, of):
        """First Kafka timestamp of each key that `of` takes."""
        done = subprocess.run(["kcat", "-b", self.args.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%T %k\n"],
                              capture_output=True, text=True, timeout=120, check=True)
        first = {}
        for line in done.stdout.splitlines():
            at, key = line.split(" ", 1)
            name = of(key)
            if name is not None:
                first.setdefault(name, int(at))
        return first

    def run(self):
        args = self.args
        subprocess.run(self.freshet("topics", "create", "--partitions", "8", "--items-topic", ""), check=True, capture_output=True)
        seconds = WARM_SECONDS + args.orders * ORDER_MS / 1000 + 2
        shop = subprocess.Popen(self.freshet("simulate", "--events", str(int(args.rate * seconds)), "--rate", str(args.rate),
                                             "--items", str(args.items), "--users", "2000", "--seed", str(args.seed), "--to", "topic",
                                             "--format", "json", "--items-topic", ""), stdout=subprocess.DEVNULL)
        with open(os.path.join(self.work, "report.json"), "w") as report:
            pipeline = subprocess.Popen(self.freshet("run", "--report", "--idle", "3000"), stdout=report)
        try:
            time.sleep(WARM_SECONDS)
            feed = threading.Thread(target=self.orders)
            feed.start()
            feed.join()
            shop.wait(timeout=60)
            pipeline.wait(timeout=60)
        finally:
            for process in (shop, pipeline):
                if process.poll() is None:
                    process.kill()
                    process.wait()
        asked = self.times(f"{self.name}.events", lambda key: key[6:] if key.startswith("buyer-") else None)
        end = ":bought_together"
        found = self.times(f"{self.name}.related",
                           lambda key: key[6:-len(end)] if key.startswith("first-") and key.endswith(end) else None)
        took = sorted(found[i] - asked[i] for i in asked if i in found)
        with open(os.path.join(self.work, "report.json")) as report:
            numbers = json.loads(report.read().splitlines()[-1])
        print(json.dumps({"orders": len(asked), "changed": len(took), "rate": args.rate, "seed": args.seed,
                          "p50_ms": quantile(took, 0.5), "p90_ms": quantile(took, 0.9), "p99_ms": quantile(took, 0.99),
                          "max_ms": took[-1], "event_to_list_ms": numbers.get("latency_ms"),
                          "stages_us": numbers.get("stage_us_per_event"), "cpu_us_per_record": numbers.get("cpu_us_per_record")}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    bench = Bench(parser.parse_args())
    try:
        bench.run()
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)


if __name__ == "__main__":
    main()
