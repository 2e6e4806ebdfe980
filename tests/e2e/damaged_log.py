#!/usr/bin/env python3
"""Batches that the broker itself holds damaged (RELIABILITY S24, bad CRC and bad compression): never skipped in silence.

  tests/e2e/damaged_log.py --bin FOLDER

A broker of its own gets a topic of events and is stopped; batches on its disk are damaged: a byte flipped, the compression
renamed with a correct checksum, or the records overwritten, so that the client takes what it finds in them for an offset and goes
there; the broker starts again. freshet must stop with exit code 5 and name the offset; with
on.offset.gap=accept it must go on behind the batch, or come to rest when it is the last. In the end there is a list from just the
offsets outside the batches from which a run on the undamaged topic had published one.
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
from workbench import Broker, end_on_sigterm  # noqa: E402

EVENTS, BATCH = 600, 50  # so that a damaged batch is a part of the log and not all of it
LIMIT = 120  # seconds for a run
# What is done to which batches, counted from the middle one; LAST is the log's last.
LAST = 10**6
CASES = {"crc": [0], "compression": [0], "overwritten": [0], "twice": [0, 2], "end": [LAST]}
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


def damage_one(data, at, size, how):
    if how == "crc":
        data[at + size - 3] ^= 0xFF
    elif how == "compression":
        attributes = struct.unpack_from(">h", data, at + 21)[0]
        codec = {0: 3, 1: 4, 2: 1, 3: 4, 4: 3}[attributes & 7]
        struct.pack_into(">h", data, at + 21, (attributes & ~7) | codec)
        struct.pack_into(">I", data, at + 17, crc32c(data[at + 21:at + size]))
    else:
        data[at + HEADER:at + size] = b"\x55" * (size - HEADER)


def damage(path, how):
    """Damages batches as the case says; returns the first and last offset of each."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    found = list(batches(data))
    holes = []
    for place in CASES[how]:
        at, size, first, last = found[min(len(found) // 2 + place, len(found) - 1)]
        damage_one(data, at, size, how)
        holes.append((first, last))
    with open(path, "wb") as f:
        f.write(data)
    return holes


def options(broker, name, work, **more):
    sets = {"application.id": name, "bootstrap.servers": broker.bootstrap, "events.topics": f"{name}.events",
            "recommendations.topic": f"{name}.lists", "state.dir": work, "log.level": "info", **more}
    return [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]


def run(freshet, words):
    try:
        done = subprocess.run([freshet, "run", "--report", "--idle", "2000", *words], capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired as late:
        said = (late.stderr or b"").decode(errors="replace")
        raise AssertionError(f"did not end in {LIMIT} s; its last words: {said[-2000:]}") from late
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


def fill(freshet, broker, work, how):
    """A case's topic, undamaged; returns its options and the offsets that lists come from."""
    name = f"damaged-{how}"
    words = options(broker, name, work)
    sound = options(broker, name, work, **{"application.id": name + "-sound", "recommendations.topic": name + "-sound.lists"})
    for each in (words, sound):
        subprocess.run([freshet, "topics", "create", "--partitions", "1", *each], check=True, capture_output=True)
    subprocess.run([freshet, "simulate", "--events", str(EVENTS), "--seed", "1", "--items-topic", "",
                    "--set", f"producer.batch.num.messages={BATCH}", *words], check=True, capture_output=True)
    code, report, stderr = run(freshet, sound)
    check(code == 0 and report["records"] == EVENTS, f"undamaged: exit {code}: {stderr[-800:]}")
    return words, sources(broker, name + "-sound.lists")


def one(freshet, broker, how, words, expected, holes):
    code, _, stderr = run(freshet, words)
    check(code == 5, f"exit {code}, not 5: {stderr[-800:]}")
    check(str(holes[0][0]) in stderr, f"the message names no offset {holes[0][0]}: {stderr[-800:]}")
    code, _, stderr = run(freshet, [*words, "--set", "on.offset.gap=accept"])
    check(code == 0, f"on.offset.gap=accept: exit {code}: {stderr[-800:]}")
    found = sources(broker, f"damaged-{how}.lists")
    wanted = {offset for offset in expected if not any(first <= offset <= last for first, last in holes)}
    check(0 < len(wanted) < len(expected), "the damage hit no list, or all")
    check(found == wanted, f"lists from {len(found)} offsets, {len(wanted)} expected; lost {sorted(wanted - found)[:5]}")
    hit = ", ".join(f"{first} to {last}" for first, last in holes)
    print(f"ok     {how}: offsets {hit} damaged: stopped before them, went on behind them when told, "
          f"lists from the {len(found)} offsets left", flush=True)


def all_cases(freshet, broker, work):
    """Returns how many failed. The broker stops once: all topics are filled before and damaged meanwhile."""
    failed = 0
    filled = {how: fill(freshet, broker, work, how) for how in CASES}
    broker.call("stop")
    holes = {}
    for how in CASES:
        pattern = os.path.join(work, "kafka", "**", f"damaged-{how}.events-0", "*.log")
        holes[how] = damage(glob.glob(pattern, recursive=True)[0], how)
    broker.call("start")
    for how, (words, expected) in filled.items():
        try:
            one(freshet, broker, how, words, expected, holes[how])
        except AssertionError as error:
            failed += 1
            print(f"FAILED {how}: {error}; its folder is {work}", flush=True)
    return failed


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
        failed = all_cases(os.path.join(args.bin, "freshet"), broker, work)
        came_to_end = True
    finally:
        broker.end()
        if came_to_end and not failed:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{len(CASES) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
