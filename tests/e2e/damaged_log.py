#!/usr/bin/env python3
"""Batches that the broker itself holds damaged (RELIABILITY S24, bad CRC and bad compression): never skipped in silence.

  tests/e2e/damaged_log.py --bin FOLDER

A broker of its own gets a topic of events and is stopped; one batch on its disk is damaged: a byte flipped, or its compression
renamed with a correct checksum; the broker starts again. freshet must stop with exit code 5 and name the offset; with
on.offset.gap=accept it must go on behind the batch. In the end there is a list from just the offsets outside the batch from which
a run on the undamaged topic had published one.
"""
import argparse
import glob
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from faults import Broker, end_on_sigterm  # noqa: E402

EVENTS, RUNS = 600, 12
HEADER = 61  # bytes of a record batch, magic 2, before its records


def crc32c(data):
    """Castagnoli, bit by bit over a table of 256."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def batches(data):
    """(position, size, first offset, last offset) of each batch of a segment."""
    at = 0
    while at + HEADER <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if length <= 0:
            break
        last = struct.unpack_from(">i", data, at + 23)[0]
        yield at, length + 12, base, base + last
        at += length + 12


def damage(path, how):
    """Damages the middle batch; returns its first and last offset."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    found = list(batches(data))
    at, size, first, last = found[len(found) // 2]
    if how == "crc":
        data[at + size - 3] ^= 0xFF
    else:
        attributes = struct.unpack_from(">h", data, at + 21)[0]
        codec = {0: 3, 1: 4, 2: 1, 3: 4, 4: 3}[attributes & 7]
        struct.pack_into(">h", data, at + 21, (attributes & ~7) | codec)
        struct.pack_into(">I", data, at + 17, crc32c(data[at + 21:at + size]))
    with open(path, "wb") as f:
        f.write(data)
    return first, last


def options(broker, name, work, **more):
    sets = {"application.id": name, "bootstrap.servers": broker.bootstrap, "events.topics": f"{name}.events",
            "recommendations.topic": f"{name}.lists", "state.dir": work, "log.level": "warn", **more}
    return [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]


def run(freshet, words):
    done = subprocess.run([freshet, "run", "--report", "--idle", "2000", *words], capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    return done.returncode, report, done.stderr


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def sources(broker, topic):
    """Offsets that the topic's lists come from."""
    done = subprocess.run(["kcat", "-b", broker.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%h\n"],
                          capture_output=True, text=True, timeout=60, check=True)
    return {int(line.split("freshet-src=")[1].split(",")[0].split("/")[2]) for line in done.stdout.splitlines()}


def one(freshet, broker, work, how):
    name = f"damaged-{how}"
    words = options(broker, name, work)
    sound = options(broker, name, work, **{"application.id": name + "-sound", "recommendations.topic": name + "-sound.lists"})
    for each in (words, sound):
        subprocess.run([freshet, "topics", "create", "--partitions", "1", *each], check=True, capture_output=True)
    # Many runs, so that the damaged batch is a part of the log and not all of it.
    for seed in range(RUNS):
        subprocess.run([freshet, "simulate", "--events", str(EVENTS // RUNS), "--seed", str(seed), "--items-topic", "", *words],
                       check=True, capture_output=True)
    code, report, stderr = run(freshet, sound)
    check(code == 0 and report["records"] == EVENTS, f"undamaged: exit {code}: {stderr[-800:]}")
    expected = sources(broker, name + "-sound.lists")
    broker.call("stop")
    segment = glob.glob(os.path.join(work, "kafka", "**", f"{name}.events-0", "*.log"), recursive=True)[0]
    first, last = damage(segment, how)
    broker.call("start")
    code, report, stderr = run(freshet, words)
    check(code == 5, f"exit {code}, not 5: {stderr[-800:]}")
    check(str(first) in stderr, f"the message names no offset {first}: {stderr[-800:]}")
    code, report, stderr = run(freshet, options(broker, name, work, **{"on.offset.gap": "accept"}))
    check(code == 0, f"on.offset.gap=accept: exit {code}: {stderr[-800:]}")
    found, wanted = sources(broker, name + ".lists"), {o for o in expected if not first <= o <= last}
    check(0 < len(wanted) < len(expected), "the damage hit no list, or all")
    check(found == wanted, f"lists from {len(found)} offsets, {len(wanted)} expected; lost {sorted(wanted - found)[:5]}")
    print(f"ok     {how}: offsets {first} to {last} damaged: stopped before them, went on behind them when told, "
          f"lists from the {len(found)} offsets left", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    args = parser.parse_args()
    end_on_sigterm()
    work = tempfile.mkdtemp(prefix="freshet-damaged-")
    broker = Broker(work)
    failed, came_to_end = 0, False
    try:
        broker.call("start")
        for how in ("crc", "compression"):
            try:
                one(os.path.join(args.bin, "freshet"), broker, work, how)
            except AssertionError as error:
                failed += 1
                print(f"FAILED {how}: {error}; its folder is {work}", flush=True)
        came_to_end = True
    finally:
        broker.call("stop")
        if came_to_end and not failed:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{2 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
