"""What a run of scripts/chaos does and when: all of it is drawn from the seed before it begins, so that a run can be done again.

A plan is a dict, written as JSON:
    seed, seconds, rate, nodes, guarantees, is_calm, settings
    lives      {guarantee: [life, ...]}: each process of freshet in turn; the next begins when one has ended
        end    a fail-point ({"point", "seed", "patience"}: killed from outside after `patience` seconds), or a time ({"after"})
        fail   a call that fails, with a seed (exactly_once_v2)
        pause  [after, seconds] of SIGSTOP
        clock  [offset in seconds, after, another offset] of the wall clock
        wiped  the disk is a new one
    erasure_steps [{"at", "do", "users", "way"}]: so many users are forgotten, by records in the topic or by DELETE
    node_steps, net_steps, disk_steps, guest_steps: [{"at": seconds, "do": ..., ...}], sequences that run beside each other
"""
import random

from proxy import ADD_OFFSETS, ADD_PARTITIONS, END_TXN, INIT_PRODUCER, OFFSET_COMMIT, PRODUCE, TXN_OFFSET_COMMIT
from workbench import EXACT_POINTS, LOSSES, POINTS

DAY_S = 86400
LIVES_PER_S = 2
WRITES = (PRODUCE, OFFSET_COMMIT, INIT_PRODUCER, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT)
EXACT = "exactly_once_v2"


def make(args):
    """args: seed, minutes, rate, nodes, processes, guarantee (a list), calm, set."""
    seconds = args.minutes * 60
    rng = random.Random(f"{args.seed} cluster")
    plan = {"seed": args.seed, "seconds": seconds, "rate": args.rate, "nodes": args.nodes, "guarantees": args.guarantee,
            "is_calm": args.calm, "settings": args.set, "lives": {}, "node_steps": [], "net_steps": [], "disk_steps": [], "guest_steps": [],
            "erasure_steps": erasure_steps(random.Random(f"{args.seed} erasures"), seconds)}
    for guarantee in args.guarantee:
        plan["lives"][guarantee] = [{"seed": 1, "after": 2 * seconds}] if args.calm else [
            life(random.Random(f"{args.seed} {guarantee} {k}"), guarantee) for k in range(int(seconds * LIVES_PER_S) + 1)]
    if not args.calm:
        plan["node_steps"] = node_steps(rng, seconds, args.nodes)
        plan["net_steps"] = net_steps(rng, seconds, args.nodes)
        plan["disk_steps"] = disk_steps(rng, seconds, args.guarantee)
        if args.processes > 1:
            plan["guest_steps"] = guest_steps(random.Random(f"{args.seed} guests"), seconds, args)
    return plan


def life(rng, guarantee):
    points = [*EXACT_POINTS, "tail"] if guarantee == EXACT else list(POINTS)
    drawn = {"seed": rng.getrandbits(30)}
    if rng.random() < 0.6:
        drawn.update(point=rng.choice(points), patience=2.5)
    else:
        drawn["after"] = round(rng.uniform(0.05, 1.4), 3)
    if guarantee == EXACT and rng.random() < 0.05:
        drawn["fail"] = rng.choice(LOSSES)
    if rng.random() < 0.04:
        drawn["pause"] = [round(rng.uniform(0.2, 1.5), 3), round(rng.choice([0.2, 1.0, 3.0, 12.0]) * rng.uniform(0.5, 1.2), 3)]
    if rng.random() < 0.01:
        drawn["wiped"] = True
    if rng.random() < 0.04:
        offsets = [rng.choice([-DAY_S, 0, DAY_S]) for _ in range(2)]
        drawn["clock"] = [offsets[0], round(rng.uniform(0.3, 1.5), 3), offsets[1]]
    return drawn


def episodes(rng, seconds, first, gap, draw):
    """Steps of one episode after the other. draw(rng): (length, steps at the begin, steps at the end)."""
    steps, at = [], rng.uniform(first / 2, first)
    while True:
        length, begin, end = draw(rng)
        if at + length > seconds:
            return steps
        steps += [{"at": round(at, 3), **step} for step in begin] + [{"at": round(at + length, 3), **step} for step in end]
        at += length + rng.uniform(0.5, 1.5) * gap


def node_steps(rng, seconds, nodes):
    def draw(rng):
        node = rng.randint(1, nodes)
        other = rng.choice([n for n in range(1, nodes + 1) if n != node] or [node])
        kind = rng.choices(["kill", "kill_two", "restart", "pause"], [8, 1, 2, 2])[0]
        start, again = [{"do": "start", "node": node}], [{"do": "kill", "node": node}]
        if kind == "kill_two" and nodes > 1:
            return rng.uniform(0.5, 4), [*again, {"do": "kill", "node": other}], [*start, {"do": "start", "node": other}]
        if kind == "restart":
            return 0.0, [{"do": "restart", "node": node}], []
        if kind == "pause":
            return rng.uniform(0.5, 12), [{"do": "pause", "node": node}], [{"do": "resume", "node": node}]
        return rng.uniform(0.2, 6), again, start
    return episodes(rng, seconds, 4.0, 18.0, draw)


def net_steps(rng, seconds, nodes):
    def draw(rng):
        node = rng.randint(0, nodes)  # 0: all
        what = rng.choice(["delay", "slow", "cut", "refuse", "half_open", "apply_cut", "duplicate", "late", "late"])
        value = {"delay": round(rng.uniform(0.01, 0.4), 3), "slow": rng.randint(20, 200) * 1000}.get(what)
        length = rng.uniform(0.5, 5)
        if what in ("apply_cut", "duplicate", "late"):
            node, apis = 0, rng.choice([WRITES, (rng.choice(WRITES),), (END_TXN,)])
            value = [list(apis), rng.randint(1, 3), round(rng.choice([0.02, 0.1, 0.5, 3.0]) * rng.uniform(0.5, 1.5), 3)]
        begin = [{"node": node, "do": what, "value": value}]
        return length, begin, [{"node": node, "do": "heal"}]
    return episodes(rng, seconds, 2.0, 4.0, draw)


def disk_steps(rng, seconds, guarantees):
    def draw(rng):
        guarantee = rng.choice(guarantees)
        return rng.uniform(2, 6), [{"do": "fill", "guarantee": guarantee}], [{"do": "free", "guarantee": guarantee}]
    return episodes(rng, seconds, 12.0, 60.0, draw)


def erasure_steps(rng, seconds):
    """Some users every second or two, after the beginning."""
    steps, at = [], rng.uniform(8, 12)
    while at < seconds:
        steps.append({"at": round(at, 3), "do": "forget", "users": rng.randint(1, 4), "way": rng.choice(["topic", "topic", "http"])})
        at += rng.uniform(0.5, 3.0)
    return steps


def guest_steps(rng, seconds, args):
    """Further processes of an application come and go."""
    def draw(rng):
        who = {"guarantee": rng.choice(args.guarantee), "guest": rng.randint(2, args.processes)}
        return rng.uniform(1, 25), [{"do": "join", **who}], [{"do": "leave", "signal": rng.choice(["TERM", "KILL"]), **who}]
    return episodes(rng, seconds, 5.0, 8.0, draw)
