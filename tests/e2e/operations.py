#!/usr/bin/env python3
"""The verbs for who runs freshet, against a real broker: dlq, reset, trace, backup and restore.

  tests/e2e/operations.py --bin FOLDER [--keep] [case...]

Broker: FRESHET_TEST_BOOTSTRAP, else its own. Every case has its own application id and topics, so cases run side by side.
Events are JSON, so that they can be read here. Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import wire  # noqa: E402
from bad_input import ROOT, STORE, TOPIC, USAGE, Case, World, must, run_cases  # noqa: E402

FIRST_MS = 1_760_000_000_000


class Place(World):
    """A broker, nothing else."""

    def prepare(self):
        self.bootstrap = os.environ.get("FRESHET_TEST_BOOTSTRAP") or self.start_broker("broker")
        self.events = ""


class Shop(Case):
    """A shop of its own: JSON events in two partitions, by hand."""

    def __init__(self, world, name):
        super().__init__(world, name)
        app = f"ops{os.getpid()}-{name}"
        self.app, self.events, self.letters = app, f"{app}.events", f"{app}-dlq"
        self.settings.update({"application.id": app, "events.topics": self.events, "value.format": "json",
                              "recommendations.topic": f"{app}.lists", "items.topic": "", "poison.max.share": "1"})
        self.store = os.path.join(self.settings["state.dir"], app)

    def send(self, partition, key, value, *headers, topic=None):
        """One record at a time: kcat puts the headers on all that it sends."""
        words = [word for header in headers for word in ("-H", header)]
        subprocess.run(["kcat", "-P", "-b", self.world.bootstrap, "-t", topic or self.events, "-p", str(partition), "-k", key,
                        *words], input=value, text=True, check=True, capture_output=True, timeout=30)

    def view(self, partition, user, item, n, kind="view", **more):
        self.send(partition, user, json.dumps({"event_id": f"e{n}", "event_type": kind, "event_time": FIRST_MS + n * 1000,
                                               "user_id": user, "items": [{"item_id": item}], **more}))

    def emptied(self, topic):
        """A broker with much to do shows the old topic for a moment."""
        ends = time.time() + 15
        while self.records(topic) and time.time() < ends:
            time.sleep(0.2)
        must(self.records(topic) == [], f"records are left in {topic}")

    def records(self, topic):
        """[(partition, offset, timestamp, key, headers, value)], by partition and offset. A topic that was just made anew is not known
        to the broker for a moment."""
        mark = "\x1e"
        command = ["kcat", "-C", "-e", "-q", "-b", self.world.bootstrap, "-t", topic, "-f",
                   f"%p{mark}%o{mark}%T{mark}%k{mark}%h{mark}%s\x1d"]
        for wait in (0.5, 1, 2, 4, None):
            done = subprocess.run(command, capture_output=True, timeout=60)
            if done.returncode == 0:
                break
            must(wait, f"{topic} cannot be read: {done.stderr.decode()}")
            time.sleep(wait or 0)
        rows = [row.split(mark.encode()) for row in done.stdout.split(b"\x1d")[:-1]]
        return sorted((int(row[0]), int(row[1]), int(row[2]), row[3].decode(), row[4].decode(), row[5]) for row in rows)

    def lines(self, *verb, settings={}):
        return [json.loads(line) for line in self.good(*verb, "--json", settings=settings).splitlines()]

    def process(self, settings={}, **expected):
        """Runs until nothing more comes; the report must hold these numbers."""
        report = json.loads(self.good("run", "--idle", "500", "--report", settings=settings).splitlines()[-1])
        for key, value in expected.items():
            must(report[key] == value, f"{key} is {report[key]}, not {value}: {report}")


# ---- dead letters ----

def dlq(case):
    """Events that were read as Avro by mistake come back when the setting is right."""
    shop = Shop(case.world, case.name)
    shop.topics()
    for n in range(4):
        shop.view(n % 2, f"u{n % 2}", f"item{n}", n)
    shop.send(1, "odd", "this is no event", "traceparent=00-1", "empty=")
    shop.process(settings={"value.format": "avro"}, dead_letters=5)
    sent = shop.records(shop.events)

    found = shop.lines("dlq", "list")
    must(len(found) == 5 and {line["reason"] for line in found} == {"decode"}, f"not the five letters: {found}")
    must({(line["source"]["partition"], line["source"]["offset"]) for line in found} == {row[:2] for row in sent}, str(found))
    must(all(line["replayed_to"] is None and line["source"]["topic"] == shop.events for line in found), str(found))
    text = shop.good("dlq", "list", "--since", "2h", "--reason", "decode,empty", "--max", "2")
    must(text.count("\n") == 2 and f"from {shop.events}/" in text, text)
    must(shop.good("dlq", "list", "--until", "2h") == "", "nothing is two hours old")
    must(shop.good("dlq", "list", "--reason", "bad_id") == "", "no letter has this reason")

    shop.bad(USAGE, "say which", "--all", verb=("dlq", "replay"))
    shop.bad(USAGE, "none of", "bad_id", verb=("dlq", "list", "--reason", "decoded"))
    shop.bad(USAGE, "--since", "2026-11-22", verb=("dlq", "list", "--since", "yesterday"))
    shop.bad(USAGE, "PARTITION/OFFSET", verb=("dlq", "replay", "17"))
    shop.bad(USAGE, "no dead letter", "dlq list", verb=("dlq", "replay", "0/999"))
    shop.bad(USAGE, "dlq list", "dlq replay", verb=("dlq", "drop"))
    shop.bad(TOPIC, "no-such", verb=("dlq", "list"), settings={"errors.deadletterqueue.topic.name": "no-such"})

    odd = next(line for line in found if line["bytes"] == len("this is no event"))
    name = f"{odd['partition']}/{odd['offset']}"
    text = shop.good("dlq", "replay", name, "--dry-run")
    must(f"would replay {shop.letters}/{name} to {shop.events}/1" in text, text)
    must(shop.records(shop.events) == sent, "a dry run sent something")
    text = shop.good("dlq", "replay", name)
    must(f"replayed {shop.letters}/{name} to {shop.events}/1/3" in text, text)
    new = [row for row in shop.records(shop.events) if row not in sent]
    old = next(row for row in sent if row[3] == "odd")
    must(len(new) == 1 and new[0][0] == 1 and new[0][2:4] == old[2:4] and new[0][5] == old[5], f"{new} is not {old}")
    must(new[0][4] == f"{old[4]},freshet-replayed={shop.letters}/{name}", f"headers {new[0][4]}")

    must("left alone" in shop.good("dlq", "replay", f"{shop.letters}/{name}"), "it was replayed twice")
    text = shop.good("dlq", "replay", "--all", "--rate", "1000")
    must(text.count("replayed " + shop.letters) == 4 and text.count("left alone") == 1, text)
    shop.good("dlq", "replay", name, "--again")
    must(len(shop.records(shop.events)) == 11, "not each of them once, and one twice")
    must(all(line["replayed_to"] for line in shop.lines("dlq", "list")), "a replayed letter does not say so")

    # Events that come again are new records; the one that is no event becomes two new letters, with one replay to name.
    shop.process(events=4, dead_letters=2)
    newest = shop.lines("dlq", "list")[-1]
    name = f"{newest['partition']}/{newest['offset']}"
    shop.good("dlq", "replay", name)
    last = [row for row in shop.records(shop.events) if row[0] == 1][-1]
    must(last[4] == f"{old[4]},freshet-replayed={shop.letters}/{name}", f"headers of a letter's letter: {last[4]}")


# ---- backup and restore ----

def backup(case):
    """A copy of a running store and one of a stopped store; put back, all comes out as without it."""
    shop = Shop(case.world, case.name)
    shop.topics()
    for n in range(12):
        shop.view(n % 2, f"u{n % 4}", f"item{n % 5}", n, kind="purchase" if n % 3 == 0 else "view")
    running, stopped = os.path.join(shop.folder, "running"), os.path.join(shop.folder, "stopped")
    shop.bad(STORE, "no state store", "state.dir", verb=("backup", running))
    process = shop.start("run", settings={"log.summary.interval.ms": "1000"})
    shop.await_said(process, "lists=12")
    text = shop.good("backup", running)
    must(f"application.id {shop.app}" in text and text.count(" next ") == 2 and text.count(" next            6") == 2, text)
    shop.bad(USAGE, "is there already", verb=("backup", running))
    shop.bad(STORE, "a process owns", "stop it", verb=("restore", "--from", running, "--replace"))
    process.terminate()
    must(process.wait(30) == 0, f"ended with {process.returncode}")
    must(not [name for name in os.listdir(shop.store) if name.startswith("checkpoint")], str(os.listdir(shop.store)))
    shop.good("backup", running, "--check")
    before = [shop.lines("query", "user", f"u{user}") for user in range(4)]

    for n in range(12, 18):
        shop.view(n % 2, f"u{n % 4}", f"item{n % 5}", n)
    shop.process(records=6)
    shop.good("backup", stopped)
    after = [shop.lines("query", "user", f"u{user}") for user in range(4)]
    must(before != after, "six events changed nothing")

    # A dry run and refusals change nothing; then back to the copy of the running store.
    shop.bad(USAGE, "has a store already", "--replace", verb=("restore", "--from", running))
    text = shop.good("restore", "--from", running, "--replace", "--dry-run")
    must("6 records will be read again" in text and "would move" in text, text)
    shop.bad(USAGE, "no backup in", verb=("restore", "--from", shop.folder))
    shop.bad(STORE, "application.id", shop.app, verb=("restore", "--from", running),
             settings={"application.id": "other", "state.dir": os.path.join(shop.folder, "other")})
    must([shop.lines("query", "user", f"u{user}") for user in range(4)] == after, "something was changed")
    shop.good("restore", "--from", running, "--replace")
    must([shop.lines("query", "user", f"u{user}") for user in range(4)] == before, "the copy has other users than the store had")
    shop.process(records=6, events=6)
    must([shop.lines("query", "user", f"u{user}") for user in range(4)] == after, "events read again made other users")

    # A byte changed in the copy; a log that no longer reaches back.
    name = next(name for name in sorted(os.listdir(os.path.join(stopped, "db"))) if name.startswith("MANIFEST"))
    with open(os.path.join(stopped, "db", name), "r+b") as f:
        f.seek(20)
        byte = f.read(1)
        f.seek(20)
        f.write(bytes([byte[0] ^ 1]))
    shop.bad(STORE, "other bytes", name, verb=("backup", stopped, "--check"))
    shop.bad(STORE, "other bytes", name, verb=("restore", "--from", stopped, "--replace"))
    wire.delete_records(case.world.bootstrap, shop.events, 1, 8)
    shop.bad(TOPIC, "no longer reaches back", "partition 1 begins at 8", "younger backup",
             verb=("restore", "--from", running, "--replace"))


# ---- reset ----

def reset(case):
    """Each part alone, and all of it; nothing without --yes, nothing while somebody is at work."""
    shop = Shop(case.world, case.name)
    pairs = f"{shop.app}-pairs-repartition"
    shop.settings["related.topic"] = f"{shop.app}.related"
    shop.topics()
    lists = shop.settings["recommendations.topic"]
    for n in range(8):
        shop.view(n % 2, f"u{n % 2}", f"item{n % 4}", n)
    process = shop.start("run", settings={"log.summary.interval.ms": "1000"})
    shop.await_said(process, "lists=8")
    shop.bad(STORE, "is at work with 1 members", shop.app, "stop", verb=("reset", "--to", "earliest", "--yes"))
    process.terminate()
    must(process.wait(30) == 0, f"ended with {process.returncode}")
    shop.bad(USAGE, "say what to reset", "--dry-run", verb=("reset", "--yes"))
    shop.bad(USAGE, "--to", "earliest", "2026-11-22", verb=("reset", "--to", "begin", "--yes"))

    # Dry, and without --yes: told, not done.
    everything = ("reset", "--to", "earliest", "--state", "--internal-topics", "--output-topics")
    told = shop.good(*everything, "--dry-run")
    for words in (f"{shop.events} 0: next 4 -> 0", f"{shop.store}/db is deleted", f"{lists} is deleted and made again", pairs):
        must(words in told, f"'{words}' is not in: {told}")
    must(shop.app + "-dlq" not in told, f"the dead letters are touched: {told}")
    shop.bad(USAGE, "nothing was changed", "--yes", verb=everything)
    must(len(shop.records(lists)) == 8 and len(shop.records(pairs)) > 0, "something was changed")

    # Back by position alone: lists again, from a state that does not change.
    before = [shop.lines("query", "user", f"u{user}") for user in range(2)]
    shop.good("reset", "--to", "earliest", "--yes")
    shop.process(records=8, replayed=8)
    must([shop.lines("query", "user", f"u{user}") for user in range(2)] == before, "replayed events changed users")
    must(len(shop.records(lists)) == 16, "the lists were not published again")

    # Forward: what is passed over is not applied. To a time: from the first record of that time.
    shop.view(0, "u0", "item9", 9)
    middle = shop.records(shop.events)[-1][2]
    shop.good("reset", "--to", "latest", "--yes")
    shop.process(records=0)
    first = sum(row[2] >= middle for row in shop.records(shop.events))
    shop.good("reset", "--to", str(middle), "--yes")
    shop.process(records=first)

    # Output topics: empty, with the settings that they had; and all of it. Exactly once: what was told is told again after it.
    shop.good("reset", "--output-topics", "--yes")
    shop.emptied(lists)
    must("compacted" in shop.good("topics", "check", "--items-topic", ""), "the topic's settings are lost")
    once = {"processing.guarantee": "exactly_once_v2"}
    shop.view(1, "u1", "item8", 10, kind="purchase", items=[{"item_id": "item8"}, {"item_id": "item9"}])
    shop.process(settings=once, events=1)
    shop.good("reset", "--state", "--internal-topics", "--to", "earliest", "--yes")
    shop.emptied(pairs)
    must("the store knows no user" in shop.bad(USAGE, "u0", verb=("query", "user", "u0")), "a user is left")
    told = len(shop.records(shop.settings["related.topic"]))
    shop.process(settings=once, events=10)
    must(len(shop.records(lists)) == 11, f"{len(shop.records(lists))} lists, not 1 and 10")
    must(len(shop.records(shop.settings["related.topic"])) > told, "related lists were taken for told")


# ---- trace ----

def trace(case):
    """One event of each fate, by id and by place."""
    shop = Shop(case.world, case.name)
    shop.settings["related.topic"] = f"{shop.app}.related"
    shop.topics()
    lists = shop.settings["recommendations.topic"]
    shop.view(0, "u0", "kettle", 1)
    shop.view(0, "u0", "teapot", 2)
    shop.view(0, "u0", "teapot", 2)
    shop.view(0, "u0", "kettle", 3, kind="impression")
    shop.view(1, "u1", "kettle", 4, kind="purchase", items=[{"item_id": "kettle"}, {"item_id": "cup"}])
    shop.send(1, "?", json.dumps({"event_id": "e5", "event_type": "view", "items": [{"item_id": "cup"}]}))
    shop.send(1, "?", "this is no event")
    shop.process(events=3, duplicates=1, quiet=1, dead_letters=2)
    shop.view(1, "u1", "cup", 6)

    def one(name, *flags):
        found = shop.lines("trace", name, *flags)
        must(len(found) == 1, f"{len(found)} places of {name}: {found}")
        return found[0]

    first, second, bought = one("e1"), shop.lines("trace", "e2"), one("e4")
    must(first["verdict"] == "replaced" and first["newest_list_of"] == f"{shop.events}/0/1", str(first))
    must([found["verdict"] for found in second] == ["applied", "duplicate"], str(second))
    must(second[1]["duplicate_of"]["offset"] == 1 and second[0]["list"]["topic"] == lists, str(second))
    must(second[0]["store_remembers"] and second[0]["in_window"] == 1 and second[0]["store_next"] == 4, str(second))
    must(one("e3")["verdict"] == "quiet" and one("e6")["verdict"] == "waiting", "quiet, waiting")
    must(bought["verdict"] == "applied" and bought["pair_counts"].get("bought_together") == 2, str(bought))
    keys = {row["key"] for row in bought["related"]}
    must({"kettle:bought_together", "cup:bought_together"} <= keys, f"related lists of {keys}")
    must(one("e5")["verdict"] == "dead_letter" and one("e5")["reason"] == "missing_user", str(one("e5")))
    place = f"{shop.events}/1/2"
    odd = one(place)
    must(odd["verdict"] == "dead_letter" and odd["reason"] == "decode" and odd["event_id"] is None, str(odd))
    text = shop.good("trace", place)
    must("freshet dlq replay" in text and "not JSON" in text, text)
    shop.good("dlq", "replay", "--reason", "missing_user")
    fifth = shop.lines("trace", "e5")
    must(len(fifth) == 2 and fifth[0]["replayed_to"] == f"{shop.events}/1/4" and fifth[1]["replayed_from"], str(fifth))
    text = shop.good("trace", "e2", "--since", "2h")
    must("applied: the user's newest list is its own" in text and f"list      {lists}/" in text, text)

    shop.bad(USAGE, "no event with id 'e1'", "2 records", "--last", verb=("trace", "e1", "--last", "1"))
    shop.bad(USAGE, "no event with id 'nobody'", verb=("trace", "nobody"))
    shop.bad(USAGE, "there is no offset 99", verb=("trace", f"{shop.events}/0/99"))
    shop.bad(USAGE, "no partition 7", verb=("trace", f"{shop.events}/7/0"))
    shop.bad(USAGE, "say which event", verb=("trace",))
    shop.bad(USAGE, "not both", verb=("trace", "e1", "--since", "2h", "--last", "5"))
    must(shop.lines("trace", "e1", settings={"state.dir": case.folder})[0]["verdict"] == "replaced", "without the store")


# ---- topics ----

def topics(case):
    """Said, made, checked; an internal topic of another number of partitions is found and not worked around."""
    shop = Shop(case.world, case.name)
    shop.settings.update({"related.topic": f"{shop.app}.related", "trending.topic": f"{shop.app}.trending"})
    pairs, lists = f"{shop.app}-pairs-repartition", shop.settings["recommendations.topic"]
    create = ("topics", "create", "--partitions", "3", "--items-topic", "")
    told = shop.good(*create, "--dry-run")
    for name, rest in ((shop.events, "3 partitions\n"), (pairs, "3 partitions\n"), (lists, "3 partitions, compacted\n"), (shop.letters, "3 partitions\n")):
        must(any(line.startswith("would create") and f" {name} " in line and (line + "\n").endswith(rest) for line in told.splitlines()), f"{name} {rest} is not in: {told}")

    def problems(settings={}):
        done = subprocess.run(shop.command(("topics", "check", "--items-topic", ""), settings), capture_output=True, text=True, timeout=60)
        must(done.returncode == TOPIC, f"exit {done.returncode}: {done.stderr}")
        return [line for line in done.stdout.splitlines() if line.startswith("problem ")]

    must(len(problems()) == 6, f"the dry run made topics: {problems()}")

    # A topic of that name that was made as something else.
    shop.good("topics", "create", "--partitions", "2", "--items-topic", "", settings={"application.id": shop.app + "-other", "events.topics": pairs, "related.topic": "", "trending.topic": ""})
    shop.bad(TOPIC, pairs, "has 2 partitions and 3 are wanted", verb=create)
    other = {"application.id": shop.app + "-third"}
    shop.good(*create, settings=other)
    must("problem " not in shop.good("topics", "check", "--items-topic", "", settings=other), "something is wrong with what was made")
    found = problems()
    must(any(pairs in line and "has 2 partitions, the events topics have 3" in line for line in found), str(found))

    # What lists are in must be compacted, what events and letters are in must not; copies.
    found = problems({**other, "events.topics": lists, "recommendations.topic": shop.events})
    must(sum("is compacted, which deletes all but" in line for line in found) == 1, str(found))
    must(any("is not compacted, so its newest records expire" in line for line in found), str(found))
    letters = problems({**other, "related.topic": "", "errors.deadletterqueue.topic.name": shop.settings["related.topic"]})
    must(len(letters) == 1 and "is compacted, which deletes all but" in letters[0], str(letters))
    found = problems({**other, "replication.factor": "3"})
    must(len(found) == 6 and all("has 1 replicas, replication.factor is 3" in line for line in found), str(found))


# ---- where a new application begins ----

def start_latest(case):
    """Who begins at the end leaves out what was there, also when it is started again before it stored anything; then nothing that comes."""
    shop = Shop(case.world, case.name)
    shop.topics()
    latest = {"events.start": "latest"}
    for n in range(6):
        shop.view(n % 2, f"u{n % 2}", "kettle", n)
    for _ in range(2):
        shop.process(settings=latest, records=0)
    running = shop.start("run", settings={**latest, "log.summary.interval.ms": "500"})
    shop.await_said(running, "partitions assigned")
    for n in range(6, 10):
        shop.view(n % 2, f"u{n % 2}", "mug", n)
    shop.await_said(running, "lists=4")
    running.terminate()
    must(running.wait(30) == 0, f"ended with {running.returncode}")
    for n in range(10, 13):
        shop.view(n % 2, f"u{n % 2}", "tea", n)
    shop.process(settings=latest, records=3)


# ---- the runbook ----

def runbook(case):
    """Every command of docs/RUNBOOK.md, as it stands there, in its order; those that take the backup first."""
    shop = Shop(case.world, case.name)
    shop.topics()
    shop.view(0, "u1", "kettle", 1)
    shop.send(1, "?", "this is no event")
    shop.process(events=1, dead_letters=1)
    with open(os.path.join(ROOT, "docs/RUNBOOK.md"), encoding="utf-8") as file:
        commands = [shlex.split(line)[1:] for line in file if line.startswith("    freshet ")]
    must(len(commands) >= 20, f"only {len(commands)} commands were found")
    with open(os.path.join(shop.folder, "shop.properties"), "w", encoding="utf-8") as file:
        file.writelines(f"{key} = {value}\n" for key, value in shop.settings.items())
    done = {}
    for command in sorted(commands, key=lambda words: words[0] != "backup"):
        name = " ".join(command)
        done[name] = done.get(name) or shop.good(*command, settings=None)
    must("replayed" in done["dlq replay --config shop.properties --reason decode --rate 100"], str(done))
    must("verdict   applied" in done["trace e1 --config shop.properties"], str(done))
    must("restored into" in done["restore --from backup-1 --config shop.properties --replace"], str(done))
    must(shop.lines("query", "position") != [], "no store is there in the end")


CASES = [dlq, reset, trace, backup, topics, start_latest, runbook]


if __name__ == "__main__":
    run_cases(__doc__, "freshet-ops-", Place, CASES)
