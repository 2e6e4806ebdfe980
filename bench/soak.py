#!/usr/bin/env python3
"""Memory over time: simulated events through a real broker, with the resident size and open descriptors of freshet as it goes.

  bench/soak.py --bin FOLDER --bootstrap HOST:PORT --work FOLDER [--events N] [--rate R --minutes M] [--set KEY=VALUE]...

Without --rate the events lie there before freshet starts; with it they come at R a second for M minutes. Memory options are set small,
so that the bounds are reached early; what they say is printed beside what is used. The last line says by how much the second half grew
over the first.
"""
import argparse
import json
import os
import subprocess
import time

LIMITS = {"statestore.cache.max.bytes": 64 << 20, "statestore.uncommitted.max.bytes": 32 << 20,
          "rocksdb.memory.max.bytes": 64 << 20, "producer.queue.max.bytes": 32 << 20, "neighbours.memory.max.bytes": 16 << 20,
          "related.memory.max.bytes": 32 << 20, "related.lists.memory.max.bytes": 16 << 20}
READ_AHEAD = 32 << 20  # consumer.queued.max.messages.kbytes, left at its default


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--events", type=int, default=2000000)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    events = int(args.rate * args.minutes * 60) or args.events
    freshet = os.path.join(args.bin, "freshet")
    name = f"soak-{int(time.time())}"
    model = os.path.join(args.work, name + "-model")
    log = os.path.join(args.work, name + ".tsv")
    sets = [f"application.id={name}", f"bootstrap.servers={args.bootstrap}", f"events.topics={name}.events",
            f"recommendations.topic={name}.lists", f"state.dir={args.work}", f"model.dir={model}", "log.level=warn"]
    sets += [f"{key}={value}" for key, value in LIMITS.items()] + args.set
    options = [word for setting in sets for word in ("--set", setting)]
    shop = ["--users", "100000", "--items", "10000", "--seed", "1"]
    subprocess.run([freshet, "simulate", "--events", "50000", "--to", log, "--format", "sessions", *shop], check=True,
                   capture_output=True)
    subprocess.run([freshet, "train", "--input", log, "--format", "sessions", "--out", model, "--epochs", "1"], check=True,
                   capture_output=True)
    subprocess.run([freshet, "topics", "create", "--partitions", "8", *options], check=True, capture_output=True)
    simulate = [freshet, "simulate", "--events", str(events), "--items-topic", "", *shop, *options]
    feed = None
    if args.rate:
        feed = subprocess.Popen([*simulate, "--rate", str(args.rate), "--start", "now"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        subprocess.run(simulate, check=True, capture_output=True)
    process = subprocess.Popen([freshet, "run", "--report", "--idle", "30000" if args.rate else "3000", *options], stdout=subprocess.PIPE, text=True)
    samples = []
    started = time.time()
    while process.poll() is None:
        time.sleep(10.0 if args.rate else 1.0)
        try:
            samples.append((time.time() - started, resident_mib(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))))
        except (FileNotFoundError, ProcessLookupError):
            break
        print("soak %5.0f s  RSS %7.1f MiB  descriptors %4d" % samples[-1], flush=True)
    if feed and feed.wait():
        raise SystemExit(f"soak: freshet simulate ended with {feed.returncode}")
    report = json.loads(process.communicate()[0].splitlines()[-1])
    samples = [s for s in samples if s[1] > 0]
    half = len(samples) // 2
    print(f"soak: {report['records']} records, {report['lists']} lists, {report['records_per_s']:.0f} records/s; "
          f"limits {(sum(LIMITS.values()) + READ_AHEAD) >> 20} MiB in all; RSS peak first half {max(s[1] for s in samples[:half]):.0f} MiB, "
          f"second half {max(s[1] for s in samples[half:]):.0f} MiB; descriptors {max(s[2] for s in samples[:half])} and "
          f"{max(s[2] for s in samples[half:])}")


if __name__ == "__main__":
    main()
