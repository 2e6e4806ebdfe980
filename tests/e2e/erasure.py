#!/usr/bin/env python3
"""Users that are forgotten: `freshet forget`, DELETE /v1/users/{user}, late events, and the bytes that are left.

  tests/e2e/erasure.py --bin FOLDER [--keep] [case...]

Broker: its own, which compacts and deletes at once, so that what a topic's files hold can be read from the disk. Events are JSON,
their times near now. Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import wire  # noqa: E402
from answers import free_port  # noqa: E402
from bad_input import ROOT, TOPIC, UNREACHABLE, USAGE, World, must, run_cases  # noqa: E402
from operations import Shop  # noqa: E402

TOKEN = "a-token-of-the-test"
# Segments roll and are cleaned within a second; what expires is looked for every half second.
CLEANING = ("log.roll.ms=200", "log.cleaner.backoff.ms=100", "log.cleaner.min.cleanable.ratio=0.01",
            "log.cleaner.delete.retention.ms=1", "log.retention.check.interval.ms=300", "log.segment.delete.delay.ms=100",
            "log.initial.task.delay.ms=500", "log.cleaner.min.compaction.lag.ms=0")


class Place(World):
    """A broker that cleans."""

    def prepare(self):
        self.folder = os.path.join(self.work, "broker")
        words = [word for setting in CLEANING for word in ("--set", setting)]
        done = subprocess.run([os.path.join(ROOT, "scripts/kafka"), "start", "--dir", self.folder, *words], check=True,
                              capture_output=True, text=True, timeout=120, env=dict(os.environ, KAFKA_HEAP_OPTS="-Xmx256m"))
        self.bootstrap, self.events, self.processes = done.stdout.strip(), "", []

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        subprocess.run([os.path.join(ROOT, "scripts/kafka"), "stop", "--dir", self.folder], check=False, capture_output=True)


class Market(Shop):
    """A shop with a process that runs and answers."""

    def __init__(self, world, name, partitions=2, **settings):
        super().__init__(world, name)
        self.settings.update({"erasures.topic": f"{self.app}.erasures", "http.token": self.secret("token", TOKEN), "items.topic": "",
                              "http.view.memory.bytes": "8MiB", "rocksdb.memory.max.bytes": "8MiB", **settings})
        self.erasures, self.receipts, self.lists = f"{self.app}.erasures", f"{self.app}-erasure-receipts", f"{self.app}.lists"
        self.number = 0
        self.topics(partitions)

    def secret(self, name, text):
        """A file that only we can read, as a value of the configuration."""
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return "${file:" + path + "}"

    def run(self, settings={}):
        self.port = free_port()
        self.log = os.path.join(self.folder, "run.log")
        with open(self.log, "ab") as log:
            command = self.command(["run"], {"http.listen": f"127.0.0.1:{self.port}", **settings})
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env={"PATH": os.environ["PATH"]})
        self.world.processes.append(self.process)
        self.until(lambda: self.ask("/readyz")[0] == 200, "ready")

    def end_process(self):
        self.process.terminate()
        must(self.process.wait(30) == 0, f"ended with {self.process.returncode}")

    def until(self, done, what, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if done():
                    return
            except OSError:
                pass
            must(self.process.poll() is None, f"ended with {self.process.returncode}: {open(self.log).read()[-800:]}")
            time.sleep(0.05)
        must(False, f"no {what} after {seconds} s: {open(self.log).read()[-800:]}")

    def once(self, topic):
        """The records of a topic of letters when each letter stands once: who moves them copies, then deletes."""
        rows = []

        def is_once():
            rows[:] = self.records(topic)
            return len(sources(rows)) == len(set(sources(rows)))

        self.until(is_once, f"end of a move in {topic}")
        return rows

    def ask(self, path, method="GET", token=TOKEN):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        rows = [line.split() for line in self.ask("/metrics")[1].splitlines() if line.startswith(name)]
        return int(float(rows[0][1])) if rows else 0

    def click(self, user, item, at_ms=None, **more):
        self.number += 1
        event = {"event_id": f"e{self.number}", "event_type": "view", "event_time": at_ms or int(time.time() * 1000),
                 "user_id": user, "items": [{"item_id": item}], **more}
        subprocess.run(["kcat", "-P", "-b", self.world.bootstrap, "-t", self.events, "-k", user, "-X", "partitioner=murmur2_random"],
                       input=json.dumps(event), text=True, check=True, capture_output=True, timeout=30)

    def window(self, user):
        return [one["item_id"] for one in json.loads(self.ask(f"/v1/users/{user}")[1]).get("window", [])]

    def has_list(self, user):
        return self.ask(f"/v1/recommend/{user}?fallback=false")[0] == 200

    def seen(self, n):
        """Waits until n events were read."""
        self.until(lambda: self.metric("freshet_records_total") >= n, f"{n} records")

    def files_with(self, folder, text):
        done = subprocess.run(["grep", "-rlaF", text, folder], capture_output=True, text=True, timeout=60)
        return sorted(os.path.relpath(path, folder) for path in done.stdout.split())

    def log_files_with(self, topic, text):
        """Files of the broker's log of a topic; the newest segment is not cleaned, so something is sent behind."""
        data = os.path.join(self.world.folder, "data")
        found = []
        for part in os.listdir(data):
            if part.rsplit("-", 1)[0] == topic:
                found += self.files_with(os.path.join(data, part), text)
        return [name for name in found if ".deleted" not in name]


# ---- a user goes ----

def forget(case):
    """State, lists, sessions and the bytes of them; late events stay out, later ones may come."""
    market = Market(case.world, case.name, **{"statestore.changelog.enabled": "true"})
    gone, back = "gone-5f1c9a", "back-77d0e2"
    changelog = f"{market.app}-state-changelog"
    wire.alter_topic(case.world.bootstrap, changelog, {"delete.retention.ms": 1, "min.compaction.lag.ms": 0})  # else a week and a minute
    market.run()
    for user in ("u1", "u2", gone, back):
        for item in ("kettle", "mug", "tea"):
            market.click(user, item)
    shy = "shy-0b77f1"
    for item in ("kettle", "mug"):
        market.click(shy, item, consent=False)
    market.seen(14)
    must(market.metric('freshet_events_total{outcome="quiet"}') == 2 and not market.has_list(shy), "events without consent")
    for user in (gone, back):
        market.until(lambda user=user: market.has_list(user), f"list of {user}")
    must(market.files_with(market.store, gone) != [], "the store does not hold the user, so there is nothing to test")
    text = market.good("forget", gone, "--dry-run")
    must("3 events, 3 in the window" in text and market.erasures in text, text)
    must(market.has_list(gone), "a dry run did something")
    market.until(lambda: market.log_files_with(changelog, gone) != [], "the user in the changelog")
    before_ms = int(time.time() * 1000) - 1
    receipt = json.loads(market.good("forget", gone, "--quiet").splitlines()[-1])
    must((receipt["outcome"], receipt["events"], receipt["window"], receipt["sessions"]) == ("erased", 3, 3, 1), str(receipt))
    must(gone not in json.dumps(receipt), "the receipt names the user")

    must(market.ask(f"/v1/users/{back}", "DELETE", token="")[0] == 401, "no token is needed")
    status, body = market.ask(f"/v1/users/{back}", "DELETE")
    must(status == 202 and json.loads(body)["receipts"] == market.receipts, f"{status} {body}")
    market.until(lambda: market.metric('freshet_erasures_total{outcome="erased"}') == 2, "second erasure")
    for user in (gone, back):
        market.until(lambda user=user: not market.has_list(user), f"end of the list of {user}")
        market.until(lambda user=user: market.ask(f"/v1/users/{user}")[0] == 404, f"end of {user}")
    market.until(lambda: market.metric("freshet_erasures_purged_total") >= 2, "purge")

    # Late events do not bring either back, a new one brings one of them back.
    market.click(gone, "mug", before_ms)
    market.click(back, "mug", before_ms)
    market.click(back, "saucer")
    market.until(lambda: market.has_list(back), f"list of {back}, who came back")
    market.until(lambda: market.metric('freshet_events_total{outcome="erased"}') == 2, "late events")
    must(not market.has_list(gone) and market.ask(f"/v1/users/{gone}")[0] == 404, "a late event brought the user back")
    market.until(lambda: market.window(back) == ["saucer"], "window of who came back")
    must(json.loads(market.good("forget", "nobody-at-all", "--quiet").splitlines()[-1])["outcome"] == "nothing", "nobody")

    # The bytes: the store and the view, while the process runs; the topics once they are cleaned.
    def dirty():
        return market.files_with(market.store, gone)
    market.until(lambda: dirty() == [], f"end of {dirty()}")
    def push(): # the newest segment of a partition is never cleaned
        for _ in range(2):
            for user in (f"u{n}" for n in range(8)):
                market.click(user, "tea")
            time.sleep(0.3)
    push()
    for _ in range(15):
        left = {topic: market.log_files_with(topic, gone) for topic in (market.lists, changelog)}
        if not any(left.values()):
            break
        push()
    must(not any(left.values()), f"files of topics that hold the user: {left}")
    must(market.log_files_with(market.receipts, gone) == [], "a receipt names the user")
    must(market.log_files_with(market.events, gone) != [] and market.log_files_with(market.erasures, gone) != [],
         "the grep finds nothing anywhere, which cannot be")

    # After a start the guard still holds, and so does what came back.
    market.end_process()
    must(market.files_with(market.store, gone) == [], str(market.files_with(market.store, gone)))
    left = market.files_with(market.store, shy) + market.log_files_with(market.lists, shy)
    must(left == [], f"who did not consent stands in {left}")
    market.run()
    market.click(gone, "mug", before_ms)
    market.until(lambda: market.metric('freshet_events_total{outcome="erased"}') == 1, "late event after the start")
    must(market.ask(f"/v1/users/{gone}")[0] == 404 and market.ask(f"/v1/users/{back}")[0] == 200, "a start changed it")
    market.end_process()
    with open(market.log) as log:
        must(gone not in log.read(), "the log names the user")


def refused(case):
    """What is wrong is said."""
    market = Market(case.world, case.name)
    market.bad(UNREACHABLE, "no receipt", "freshet run", verb=("forget", "u1", "--wait", "1", "--quiet"))
    market.bad(USAGE, "say who", verb=("forget",))
    market.bad(USAGE, "user id", verb=("forget", "x" * 300))
    market.bad(TOPIC, "erasures", "topics create", verb=("forget", "u1"), settings={"erasures.topic": "no.such.erasures"})
    market.bad(TOPIC, "erasures", "topics create", settings={"erasures.topic": "no.such.erasures"})
    for partition in range(2):  # a receipt that nobody wrote: far beyond the log's end
        market.send(partition, "forged", json.dumps({"next": {market.events: 1 << 60}}), f"freshet-src={market.erasures}/{partition}/0",
                    topic=market.receipts)
    market.run({"http.token": ""})
    must(market.ask("/v1/users/u1", "DELETE")[0] == 403, "without http.token anybody may erase")
    market.until(lambda: market.metric('freshet_erasures_total{outcome="nothing"}') == 1, "the request of before")
    market.send(0, "odd", "{\"tenant\":\"t\"}", topic=market.erasures)
    market.until(lambda: len(market.records(f"{market.app}-dlq")) == 1, "dead letter of a request that names nobody")
    market.end_process()


# ---- dead letters ----

def sources(rows):
    """Of each letter where its original stands."""
    return sorted(word.split("=", 1)[1] for row in rows for word in row[4].split(",") if word.startswith("freshet-src="))


def without(row, *names):
    """Its headers but these."""
    return [word for word in row[4].split(",") if word.split("=", 1)[0] not in names]


def as_sent(rows):
    """What does not change when a letter is moved; marks left out."""
    return sorted((row[0], row[2], row[3], without(row, "freshet-dlq-was"), row[5]) for row in rows
                  if "freshet-dlq-mark=" not in row[4] or row[5] != b"")


def first_place(topic, row):
    was = [word.split("=", 1)[1] for word in row[4].split(",") if word.startswith("freshet-dlq-was=")]
    return was[0] if was else f"{topic}/{row[0]}/{row[1]}"


def letters(case):
    """Those of who is forgotten go, the others stay as they are and keep their names."""
    market = Market(case.world, case.name)
    topic, gone, other, late = f"{market.app}-dlq", "gone-81d2c4", "stays-40be71", "late-5a77e0"
    wire.alter_topic(case.world.bootstrap, topic, {"segment.ms": 1000})  # else an hour
    market.run()
    for user in (gone, other):
        market.click(user, "kettle")
    theirs = ((gone, f"no event of {gone}"), ("", f'{{"user_id": "{gone}", "event'), (gone, "{}"),
              ("session-7", json.dumps({"event_id": "x1", "event_type": "view", "user_id": gone})))
    kept = ((other, f"no event of {other}"), ("session-8", json.dumps({"event_id": "x2", "event_type": "view", "user_id": other})),
            ("", '{"user_id": "somebody'))
    for key, value in theirs[:2] + kept + theirs[2:]:
        market.send(0, key, value, "trace=00-1")
    market.until(lambda: len(market.records(topic)) == 7, "seven letters")
    first = next(row for row in market.records(topic) if row[3] == other)
    name = f"{topic}/{first[0]}/{first[1]}"
    # An event whose own headers say what only the redactor's may: that it is the letter before, or a mark.
    market.send(0, other, f"forged event of {other}", f"freshet-dlq-was={name}", "freshet-dlq-mark=1", f"freshet-dlq-replayed={name}")
    market.until(lambda: len(market.records(topic)) == 8, "letter of a forged event")
    market.good("dlq", "replay", name)  # a note behind it, and a letter of the replayed record
    market.until(lambda: len(market.records(topic)) == 10, "a note and a letter more")
    before = [row for row in market.records(topic) if (row[3], row[5].decode()) not in theirs]
    must(len(before) == 6, f"not the letters that stay: {before}")
    must(market.log_files_with(topic, gone) != [], "the topic does not hold the user, so there is nothing to test")

    text = market.good("forget", gone, "--dry-run")
    must("dead letters: 4" in text and len(market.records(topic)) == 10, f"a dry run: {text}")
    market.good("forget", gone, "--quiet")
    market.until(lambda: market.metric("freshet_erased_dead_letters_total") == 4, "end of four letters")
    after = market.once(topic)
    must(as_sent(after) == as_sent(before), f"{after} is not {before}")
    listed = market.lines("dlq", "list")
    must(len(listed) == 5 and [bool(line["replayed_to"]) for line in listed].count(True) == 1, str(listed))
    must("left alone" in market.good("dlq", "replay", name), "a letter that was moved lost its name")
    must("dead letters: 0" in market.good("forget", gone, "--dry-run"), "letters are left")
    market.until(lambda: market.log_files_with(topic, gone) == [], f"end of the user in {market.log_files_with(topic, gone)}")
    market.until(lambda: as_sent(market.records(topic)) == as_sent(before), "the letters that stay")
    must(market.log_files_with(topic, other) != [], "the grep finds nothing anywhere, which cannot be")

    # A process that ended between copying and deleting: a letter stands twice, and once afterwards.
    # No move of its own may be cut off: a letter that then stands twice counts twice.
    market.until(lambda: "can leave the broker's files" in open(market.log).read(), "end of the last move")
    market.send(0, late, f"no event of {late}")
    market.until(lambda: any(row[3] == late for row in market.records(topic)), "letter of another one")
    market.end_process()
    rows = market.records(topic)
    place = next(row for row in rows if row[3] == late)
    twice = next(row for row in rows if row[0] == place[0] and row != place and "freshet-src=" in row[4])
    market.send(twice[0], twice[3], twice[5].decode(), *without(twice, "freshet-dlq-was"), f"freshet-dlq-was={first_place(topic, twice)}", topic=topic)
    must(len(market.lines("dlq", "list")) == len(set(sources(rows))), "a letter that stands twice is listed twice")
    market.run()
    market.good("forget", late, "--quiet")
    market.until(lambda: market.metric("freshet_erased_dead_letters_total") == 1, "end of the other's letter")
    after = market.once(topic)
    must(sources(after) == sorted(set(sources(rows)) - set(sources([place]))), f"{sources(after)} of {sources(rows)}")
    market.end_process()


def late_letters(case):
    """Those that come after the request go too; those of which nobody can say whose they are lose their bytes and stay."""
    market = Market(case.world, case.name)
    topic, gone, short, back = f"{market.app}-dlq", "gone-81d2c4", "u7", "back-33e01f"
    left_out = "freshet-value-left-out-bytes="
    wire.alter_topic(case.world.bootstrap, topic, {"segment.ms": 1000})  # else an hour
    market.run()
    for user in (gone, short, back):
        market.click(user, "kettle")

    def is_empty(row):
        return row[3] == "" and row[5] == b"" and "freshet-src=" in row[4]

    maybe = ('{"user_id": "u7", "event', '{"user_id": "gone-81d', f"user={gone}&item=kettle")
    for value in maybe + ('{"user_id": "u77", "event',):
        market.send(0, "session-9", value, "trace=00-1")
    market.send(0, "session-9", "an event", f"who={gone}")
    market.until(lambda: len(market.records(topic)) == 5, "five letters")
    before = market.records(topic)
    text = market.good("forget", gone, "--dry-run")
    must("dead letters: 0 in" in text and ", 3 that may be" in text, f"a dry run: {text}")
    for user in (gone, short, back):
        market.good("forget", user, "--quiet")
    market.until(lambda: market.metric("freshet_erased_dead_letters_total") == 4, "four letters emptied")
    after = market.once(topic)
    must(sources(after) == sources(before), f"{after} is not of {before}")
    empty, kept = [row for row in after if is_empty(row)], [row for row in after if "u77" in row[5].decode()]
    must(len(empty) == 4 and len(kept) == 1 and "trace=00-1" in kept[0][4] and kept[0][3] == "session-9", f"after: {after}")
    must(not any(word in row[4] for row in empty for word in ("trace=", "who=")), f"headers of the original in {empty}")
    must(sorted(row[4].split(left_out)[1].split(",")[0] for row in empty) == sorted(str(len(value)) for value in maybe + ("an event",)), str(empty))

    now_ms = int(time.time() * 1000)
    event = {"event_type": "view"}
    market.send(0, gone, f"late, no event of {gone}")
    market.send(0, "session-9", json.dumps({**event, "event_id": "x1", "user_id": gone, "event_time": now_ms - 3600000}))
    market.send(0, "session-9", json.dumps({**event, "event_id": "x2", "user_id": back, "event_time": now_ms}))
    market.until(lambda: market.metric("freshet_erased_dead_letters_total") == 6, "late letters gone")
    after = market.once(topic)
    must(len([row for row in after if is_empty(row)]) == 5 and len([row for row in after if back in row[5].decode()]) == 1, f"late: {after}")
    text = market.good("dlq", "replay", "--all", "--dry-run")
    must(text.count("are not in the dead letter") == 5, f"replay of emptied letters: {text}")
    market.until(lambda: market.log_files_with(topic, gone) == [], f"end of the user in {market.log_files_with(topic, gone)}")
    must(market.log_files_with(topic, back) != [], "the letter of who came back is gone")

    # Another process, which has not seen the requests.
    market.end_process()
    market.run()
    market.send(0, gone, f"later, no event of {gone}")
    market.until(lambda: market.metric("freshet_erased_dead_letters_total") == 1, "later letter emptied")
    must(len([row for row in market.once(topic) if is_empty(row)]) == 6, "the later letter is not empty")
    market.end_process()


# ---- names that are no ids ----

def pseudonyms(case):
    """No id of a user anywhere but in the events; lookups and erasures by id; another key."""
    one, two = "first:" + "0f" * 32, "second:" + "a5" * 32
    market = Market(case.world, case.name)
    market.settings.update({"privacy.pseudonymise": "true", "privacy.pseudonym.secret": market.secret("names", one)})
    user, other, quiet = "anna-19c4e7", "otto-5d20aa", "karl-e3b991"
    market.run()
    for name in (user, other, quiet):
        for item in ("kettle", "mug"):
            market.click(name, item)
    market.click("", "tea", anonymous_id="visitor-8812fd")
    market.send(0, user, f"no event of {user}", f"who={user}")
    for name in (user, other, quiet, "visitor-8812fd"):
        market.until(lambda name=name: market.has_list(name), f"list of {name}")
        market.until(lambda name=name: market.ask(f"/v1/users/{name}")[0] == 200, f"user {name}")
    listed = json.loads(market.ask(f"/v1/recommend/{user}")[1])
    must(listed["user_id"].startswith("first~") and len(listed["user_id"]) == 38, str(listed))
    market.until(lambda: len(market.records(f"{market.app}-dlq")) == 1, "dead letter")
    letter = market.records(f"{market.app}-dlq")[0]
    must(letter[3] == "" and letter[5] == b"" and "decode" in letter[4], f"a dead letter that may name a user: {letter}")
    must("2 events" in market.good("query", "user", user) and "first~" in market.good("trace", "e1"), "query or trace by the id")

    # Another key: the lists stand until the user comes, then all is under the new name, with its history.
    market.end_process()
    market.settings["privacy.pseudonym.secret"] = market.secret("names", two + "\n" + one + "\n")
    market.run()
    must(market.has_list(user) and market.ask(f"/v1/users/{user}")[0] == 200, "with a new key the user is not found")
    market.click(user, "saucer")
    market.until(lambda: market.window(user) == ["saucer", "mug", "kettle"], "history under the new name")
    market.until(lambda: json.loads(market.ask(f"/v1/recommend/{user}")[1])["user_id"].startswith("second~"), "list under the new name")
    names = {row[3].split("~")[0] for row in market.records(market.lists) if row[5] == b""}
    must(names == {"first"}, f"tombstones of {names}, not of the name before")
    receipts = [json.loads(line) for line in market.good("forget", other, "--quiet").splitlines()]
    must(sorted(receipt["outcome"] for receipt in receipts) == ["erased", "nothing"], f"who did not come since: {receipts}")
    market.until(lambda: not market.has_list(other), f"end of the list of {other}")
    must("who=" not in str(market.records(f"{market.app}-dlq")), "headers of an event that may name a user")
    market.end_process()
    for name in (user, other, quiet, "visitor-8812fd"):
        found = market.files_with(market.store, name)
        for topic in (market.lists, market.receipts, market.erasures, f"{market.app}-dlq"):
            found += market.log_files_with(topic, name)
        must(found == [], f"{name} stands in {found}")
        must(market.log_files_with(market.events, name) != [], "the grep finds nothing anywhere, which cannot be")
        with open(market.log) as log:
            must(name not in log.read(), f"the log names {name}")

    # Without the old key: who came is there, who did not is nobody.
    market.settings["privacy.pseudonym.secret"] = market.secret("names", two)
    market.run()
    must(market.has_list(user) and not market.has_list(quiet), "without the old key")
    market.end_process()

    text = market.secret("names", "short:0f")
    line = market.bad(USAGE, "privacy.pseudonym.secret", "short", "openssl rand", settings={"privacy.pseudonym.secret": text})
    must("0f" not in line.split("short")[1][:4], f"a key in {line}")
    market.bad(USAGE, "privacy.pseudonym.secret", "file", settings={"privacy.pseudonym.secret": ""})
    os.chmod(os.path.join(market.folder, "names"), 0o640)
    market.bad(USAGE, "chmod 600")


CASES = [forget, refused, letters, late_letters, pseudonyms]


if __name__ == "__main__":
    run_cases(__doc__, "freshet-erasure-", Place, CASES)
