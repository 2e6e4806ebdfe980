#!/usr/bin/env python3
"""Bad input anywhere: one clear line on stderr that says what, where and what to do; the exit code of docs/OPERATIONS.md;
after the repair freshet goes on and nothing is lost.

  tests/e2e/bad_input.py --bin FOLDER [--jobs N] [--keep] [case...]

Needs a real broker: the one of FRESHET_TEST_BOOTSTRAP, else one of its own through scripts/kafka. A second small one of its
own is "another cluster". Every case has its own application id, so cases run side by side. Ends with
`N passed, N failed, N skipped`.
"""
import argparse
import concurrent.futures
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ending  # noqa: E402
import wire  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
EVENTS = 2000
USAGE, STORE, UNREACHABLE, TOPIC, MODEL, DISK, FENCED, DATA = range(2, 10)


class Wrong(Exception):
    """What a case found to be other than it must be."""


class Skip(Exception):
    """Why a case cannot run here."""


def must(ok, text):
    if not ok:
        raise Wrong(text)


class Broker:
    def __init__(self, folder):
        self.folder = folder

    def start(self):
        self.bootstrap = self.call("start")

    def call(self, verb):
        command = [os.path.join(ROOT, "scripts/kafka"), verb, "--dir", self.folder]
        env = dict(os.environ, KAFKA_HEAP_OPTS="-Xmx256m")
        check = verb != "stop"  # the end: whether gently or not is nothing to a test that is over
        return subprocess.run(command, check=check, capture_output=True, text=True, timeout=120, env=env).stdout.strip()


class World:
    """The brokers, the events topic that cases share, a trained model."""

    def __init__(self, args, work):
        self.args, self.work = args, work
        self.own = []
        self.run_id = f"bad{os.getpid()}"

    def start_broker(self, name):
        broker = Broker(os.path.join(self.work, name))
        broker.start()
        self.own.append(broker)
        return broker.bootstrap

    def prepare(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            other = pool.submit(self.start_broker, "other-broker")
            given = os.environ.get("FRESHET_TEST_BOOTSTRAP")
            self.bootstrap = given or self.start_broker("broker")
            self.other = other.result()
        self.events = f"{self.run_id}.events"
        self.model = os.path.join(self.work, "model")
        log = os.path.join(self.work, "shop.tsv")
        shared = Case(self, "shared")
        shared.good("topics", "create", "--partitions", "2")
        shared.good("simulate", "--events", str(EVENTS), "--items", "100", "--users", "50", "--items-topic", "", "--quiet")
        self.verb_plain("simulate", "--events", "2000", "--items", "100", "--users", "50", "--to", log, "--format", "sessions",
                        "--quiet")
        self.verb_plain("train", "--input", log, "--format", "sessions", "--out", self.model, "--epochs", "1", "--dim", "16",
                        "--quiet")

    def verb_plain(self, *words):
        subprocess.run([os.path.join(self.args.bin, "freshet"), *words], check=True, capture_output=True, timeout=120)

    def stop(self):
        for broker in self.own:
            broker.call("stop")


class Case:
    """One application id: its settings, its runs, what they must say."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.folder = os.path.join(world.work, name)
        os.makedirs(self.folder, exist_ok=True)
        app = f"{world.run_id}-{name}"
        self.settings = {
            "application.id": app,
            "bootstrap.servers": world.bootstrap,
            "events.topics": world.events,
            "recommendations.topic": f"{app}.lists",
            "trending.topic": "",
            "related.topic": "",  # its internal topic is each application's own
            "erasures.topic": "",  # co-partitioned with the events: each case has its own partitions
            "state.dir": os.path.join(self.folder, "state"),
            "commit.interval.ms": "50",
        }
        self.store = os.path.join(self.settings["state.dir"], app)

    def command(self, words, settings):
        command = [os.path.join(self.world.args.bin, "freshet"), *words]
        if settings is not None:
            for key, value in {**self.settings, **settings}.items():
                if value is not None:
                    command += ["--set", f"{key}={value}"]
        return command

    def start(self, *words, settings={}, prefix=()):
        return subprocess.Popen([*prefix, *self.command(words, settings)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, cwd=self.folder, env={"PATH": os.environ["PATH"]})

    def await_said(self, process, say, seconds=60):
        """Waits for a line on the stderr of a process that was started."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            line = process.stderr.readline()
            if say in line:
                return
            must(line or process.poll() is None, f"ended with {process.returncode} before '{say}'")
        must(False, f"'{say}' does not come")

    def end(self, process, code, words, seconds=60):
        """Waits for the end; checks the exit code and the one line. Returns the line."""
        try:
            out, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Wrong(f"no end within {seconds} s: {process.communicate()[1][-600:]}") from None
        lines = [line for line in errors.splitlines() if line.startswith("freshet: ")]
        must(process.returncode == code, f"exit {process.returncode}, not {code}: {errors[-600:]}")
        if code == 0:
            must(not lines, f"an error line after success: {lines}")
            return out
        must(len(lines) == 1, f"{len(lines)} lines begin with 'freshet:', not 1: {errors[-800:]}")
        must(errors.splitlines()[-1] == lines[0], f"the line is not the last: {errors[-800:]}")
        for word in words:
            must(word.lower() in lines[0].lower(), f"'{word}' is not in: {lines[0]}")
        must(len(lines[0]) < 490, f"the line has {len(lines[0])} characters: {lines[0]}")
        return lines[0]

    def bad(self, code, *words, verb=("run", "--idle", "1500"), settings={}, seconds=60, prefix=()):
        """The verb must end with that exit code and a line with all these words."""
        return self.end(self.start(*verb, settings=settings, prefix=prefix), code, words, seconds)

    def good(self, *verb, settings={}, seconds=60):
        return self.end(self.start(*verb, settings=settings), 0, (), seconds)

    def count(self, settings={}, **expected):
        """Runs to the end of the topic; the report must hold these numbers (events: quiet ones and duplicates too). Returns the report."""
        report = json.loads(self.good("run", "--idle", "1500", "--report", settings=settings).splitlines()[-1])
        report["events"] += report["quiet"] + report["duplicates"]
        for key, value in expected.items():
            must(report[key] == value, f"{key} is {report[key]}, not {value}: {report}")
        return report

    def topics(self, partitions=2, settings={}):
        self.good("topics", "create", "--partitions", str(partitions), "--items-topic", "", settings=settings)

    def own_events(self, n=EVENTS, partitions=2):
        """An events topic of this case alone, with n events."""
        self.settings["events.topics"] = f"{self.world.run_id}.{self.name}.events"
        self.topics(partitions)
        if n:
            self.simulate(n)

    def simulate(self, n, seed=1):
        self.good("simulate", "--events", str(n), "--items", "100", "--users", "50", "--items-topic", "", "--quiet", "--seed",
                  str(seed))

    def send_garbage(self, n):
        lines = "".join(f"u{i}:this is no event {i}\n" for i in range(n))
        subprocess.run(["kcat", "-P", "-b", self.world.bootstrap, "-t", self.settings["events.topics"], "-K:"], input=lines,
                       text=True, check=True, capture_output=True, timeout=30)

    def records_of(self, topic, shape="%k\n"):
        done = subprocess.run(["kcat", "-C", "-e", "-q", "-b", self.world.bootstrap, "-t", topic, "-f", shape],
                              check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.splitlines()


# ---- configuration: nothing of the outside is needed ----

def unknown_key(case):
    case.bad(USAGE, "--set", "aplication.id", "did you mean application.id", settings={"aplication.id": "x"})
    path = os.path.join(case.folder, "shop.properties")
    with open(path, "w") as f:
        f.write("# a shop\napplication.id = shop\nsesion.window = 10\n")
    case.bad(USAGE, "shop.properties:3", "sesion.window", "did you mean session.window",
             verb=("run", "--config", path), settings=None)


def key_twice(case):
    path = os.path.join(case.folder, "twice.properties")
    with open(path, "w") as f:
        f.write("list.size = 10\nlist.size = 20\n")
    case.bad(USAGE, "twice.properties:2", "list.size", verb=("run", "--config", path), settings=None)


def bad_value(case):
    case.bad(USAGE, "list.size", "many", settings={"list.size": "many"})
    case.bad(USAGE, "list.size", "64", settings={"list.size": "1000"})
    case.bad(USAGE, "commit.interval.ms", "5 parsecs", settings={"commit.interval.ms": "5 parsecs"})
    case.bad(USAGE, "poison.policy", "dlq", "stop", settings={"poison.policy": "ignore"})
    case.bad(USAGE, "exactly_once_v2", "at_least_once", settings={"processing.guarantee": "exactly_once_v2",
                                                                  "bootstrap.servers": "embedded"})
    case.bad(USAGE, "application.id", settings={"application.id": None})


def missing_file(case):
    case.bad(USAGE, "/no/such.properties", verb=("run", "--config", "/no/such.properties"))
    case.bad(USAGE, "/no/such/secret", settings={"basic.auth.user.info": "${file:/no/such/secret}"})
    case.bad(USAGE, "/no/such.tsv", "cannot open", verb=("train", "--input", "/no/such.tsv", "--out", "m", "--quiet"),
             settings=None)
    case.bad(USAGE, "/no/such.csv", "cannot open", verb=("import", "--input", "/no/such.csv"))


def open_secret(case):
    path = os.path.join(case.folder, "secret")
    with open(path, "w") as f:
        f.write("user:password")
    os.chmod(path, 0o644)
    line = case.bad(USAGE, path, "chmod 600", settings={"basic.auth.user.info": "${file:" + path + "}"})
    must("user:password" not in line, "the secret is in the line")


def command_line(case):
    case.bad(USAGE, "unknown verb", "rnu", "did you mean 'run'", verb=("rnu",), settings=None)
    case.bad(USAGE, "idel", "idle", verb=("run", "--idel", "5"))
    case.bad(USAGE, "topics create", verb=("topics", "destroy"))


def refused_keys(case):
    case.bad(USAGE, "consumer.plugin.library.paths", "foreign code", settings={"consumer.plugin.library.paths": "/x.so"})
    case.bad(USAGE, "producer.acks", "refused", settings={"producer.acks": "1"})
    case.bad(USAGE, "consumer.auto.offset.reset", "on.offset.gap", settings={"consumer.auto.offset.reset": "latest"})
    case.bad(USAGE, "consumer.nonsense", settings={"consumer.nonsense": "1"})
    case.bad(USAGE, "consumer.fetch.min.bytes", "plenty", settings={"consumer.fetch.min.bytes": "plenty"})


def embedded(case):
    case.bad(USAGE, "embedded", "freshet demo", settings={"bootstrap.servers": "embedded"})


# ---- the cluster ----

def unreachable_broker(case):
    port_nobody_has = "127.0.0.1:1"
    started = time.time()
    case.bad(UNREACHABLE, port_nobody_has, "bootstrap.servers", settings={"bootstrap.servers": port_nobody_has}, seconds=40)
    must(time.time() - started < 35, f"took {time.time() - started:.0f} s")


def unknown_host(case):
    case.bad(UNREACHABLE, "no.such.host.invalid", "bootstrap.servers",
             settings={"bootstrap.servers": "no.such.host.invalid:9092"}, seconds=40)


def topic_missing(case):
    case.bad(TOPIC, "no.such.topic", "freshet topics create", settings={"events.topics": "no.such.topic"})
    case.bad(TOPIC, case.settings["recommendations.topic"], "topics create")
    case.topics()
    case.count(records=EVENTS, events=EVENTS)


def other_counts(case):
    more = f"{case.world.run_id}.three"
    case.topics(3, settings={"events.topics": more, "recommendations.topic": f"{more}.lists"})
    both = {"events.topics": f"{case.world.events},{more}"}
    case.bad(TOPIC, more, "3 partitions", case.world.events, "2", "same number", settings=both)


def partitions_added(case):
    case.own_events()
    case.count(records=EVENTS)
    running = case.start("run", settings={"consumer.topic.metadata.refresh.interval.ms": "1000"})
    case.await_said(running, "partitions assigned")
    wire.add_partitions(case.world.bootstrap, case.settings["events.topics"], 3)
    case.end(running, TOPIC, (case.settings["events.topics"], "partitions were added", "state folder aside"))
    case.bad(STORE, case.store, "2 partitions", "3 now", "move the folder away")
    os.rename(case.store, case.store + ".aside")
    case.count(records=EVENTS, events=EVENTS)


def retention_passed(case):
    case.own_events(partitions=1)
    case.count(records=EVENTS)
    case.simulate(500, seed=2)
    wire.delete_records(case.world.bootstrap, case.settings["events.topics"], 0, EVENTS + 100)
    case.bad(TOPIC, case.settings["events.topics"], str(EVENTS), "100", "retention", "on.offset.gap=accept")
    case.count(records=400, settings={"on.offset.gap": "accept"})
    case.count(records=0)


def topic_made_again(case):
    case.own_events(partitions=1)
    case.count(records=EVENTS)
    wire.delete_topic(case.world.bootstrap, case.settings["events.topics"])
    time.sleep(2)
    case.topics(1)
    case.simulate(300, seed=3)
    case.bad(TOPIC, case.settings["events.topics"], str(EVENTS), "300", "created again", "on.offset.gap=accept")
    os.rename(case.store, case.store + ".aside")
    case.count(records=300, events=300)


def same_instance(case):
    case.topics()
    instance = {"group.instance.id": "one", "session.timeout.ms": "30000"}
    first = case.start("run", settings={**instance, "state.dir": case.folder + "/first"})
    case.await_said(first, "partitions assigned")
    second = case.start("run", settings={**instance, "state.dir": case.folder + "/second"})
    case.end(first, FENCED, ("group.instance.id", "another process"))
    second.send_signal(signal.SIGTERM)
    case.end(second, 0, ())


# ---- the model ----

def with_model(case, damage):
    folder = os.path.join(case.folder, "model")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(case.world.model, folder)
    damage(folder)
    return {"model.dir": folder}


def model_missing(case):
    case.topics()
    case.bad(MODEL, "/no/such/model", "freshet train", settings={"model.dir": "/no/such/model"})
    case.bad(MODEL, case.folder, settings={"model.dir": case.folder})
    case.count(records=EVENTS, events=EVENTS, settings={"model.dir": case.world.model})


def model_truncated(case):
    def cut(folder):
        path = os.path.join(folder, "model.safetensors")
        os.truncate(path, os.path.getsize(path) // 2)

    case.bad(MODEL, "model.safetensors", settings=with_model(case, cut))


def model_of_nans(case):
    def poison(folder):
        path = os.path.join(folder, "model.safetensors")
        with open(path, "r+b") as f:
            header = int.from_bytes(f.read(8), "little")
            f.seek(8 + header)
            f.write(b"\x00\x00\xc0\x7f" * 64)

    case.bad(MODEL, case.folder, "item.embedding", "not finite", "freshet train", settings=with_model(case, poison))


def model_other_shapes(case):
    def change(folder):
        path = os.path.join(folder, "model.json")
        with open(path) as f:
            text = f.read()
        must('"dim": 16' in text or '"dim":16' in text or "16" in text, f"no width in {text}")
        with open(path, "w") as f:
            f.write(text.replace("16", "24"))

    case.bad(MODEL, "model", "shape", settings=with_model(case, change))

    def no_json(folder):
        with open(os.path.join(folder, "model.json"), "w") as f:
            f.write("{ this is no JSON")

    case.bad(MODEL, "model.json", settings=with_model(case, no_json))


# ---- the store ----

def other_cluster(case):
    case.topics()
    case.count(records=EVENTS)
    elsewhere = {"bootstrap.servers": case.world.other}
    case.good("topics", "create", "--partitions", "2", settings=elsewhere)
    case.bad(STORE, case.store, "cluster", "bootstrap.servers", settings=elsewhere)
    case.count(records=0)


def other_application(case):
    case.topics()
    case.count(records=EVENTS)
    name = case.settings["application.id"] + "-2"
    shutil.copytree(case.store, os.path.join(case.settings["state.dir"], name))
    other = {"application.id": name, "errors.deadletterqueue.topic.name": case.settings["application.id"] + "-dlq"}
    case.bad(STORE, name, "application", case.settings["application.id"], settings=other)


def other_topics(case):
    case.topics()
    case.count(records=EVENTS)
    more = case.world.events + ".more"
    case.topics(2, settings={"events.topics": more})
    case.bad(STORE, case.store, case.world.events, more, "events.topics", settings={"events.topics": more})
    case.count(records=0)


def store_locked(case):
    case.topics()
    first = case.start("run")
    case.await_said(first, "partitions assigned")
    try:
        case.bad(STORE, case.store, "process")
    finally:
        first.send_signal(signal.SIGTERM)
    case.end(first, 0, ())
    case.count(records=0)


def damage_files(case, kind, change):
    hit, folder = 0, os.path.join(case.store, "db")
    for name in os.listdir(folder):
        if kind in name:
            with open(os.path.join(folder, name), "r+b") as f:
                change(f, os.path.getsize(f.name))
                hit += 1
    must(hit > 0, f"the store has no {kind} file: {os.listdir(folder)}")


def garbage(f, size):
    f.write(b"\xa5" * size)


def store_damaged(case):
    case.topics()
    for kind in ("MANIFEST", ".sst", "CURRENT"):
        case.count(records=EVENTS, events=EVENTS)
        case.count(records=0)  # a second start writes table files
        damage_files(case, kind, garbage)
        case.bad(STORE, case.store, "move the folder away")
        shutil.rmtree(case.store)
    case.count(records=EVENTS, events=EVENTS)


def state_not_writable(case):
    case.topics()
    path = os.path.join(case.folder, "a-file")
    with open(path, "w") as f:
        f.write("x")
    case.bad(STORE, path, "Not a directory", "state.dir", settings={"state.dir": path})
    if os.getuid() == 0:
        os.makedirs(case.settings["state.dir"], exist_ok=True)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        if subprocess.run([*nobody, os.path.join(case.world.args.bin, "freshet"), "--version"],
                          capture_output=True).returncode == 0:
            case.bad(STORE, case.store, "Permission denied", "state.dir", prefix=nobody)
    case.count(records=EVENTS, events=EVENTS)


def disk_full_at_start(case):
    case.topics()
    folder = case.settings["state.dir"]
    os.makedirs(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", folder], capture_output=True).returncode:
        raise Skip("cannot mount a tmpfs here")
    try:
        ballast = os.path.join(folder, "ballast")
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"\0" * 4096)
            except OSError:
                pass
        case.bad(DISK, folder, "disk", "room")
        os.unlink(ballast)
        case.count(records=EVENTS, events=EVENTS)
    finally:
        subprocess.run(["umount", folder], capture_output=True)


# ---- schemas and records ----

class Garbage(http.server.BaseHTTPRequestHandler):
    """Answers everything as no registry would; the first part of the path says how."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = int(self.path.split("/")[1]) if self.path.split("/")[1].isdigit() else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    do_GET = do_POST = answer

    def log_message(self, *words):
        pass


def registry(case):
    case.topics()
    nobody = "http://127.0.0.1:1"
    case.bad(UNREACHABLE, nobody, "schema.registry.url", settings={"schema.registry.url": nobody})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Garbage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        case.bad(USAGE, url, "schema.registry.url", settings={"schema.registry.url": url})
        case.bad(USAGE, url, "401", "basic.auth.user.info", settings={"schema.registry.url": url + "/401"})
        case.bad(UNREACHABLE, url, "503", settings={"schema.registry.url": url + "/503"})
    finally:
        server.shutdown()
    case.bad(USAGE, "schema.registry.url", "ftp", settings={"schema.registry.url": "ftp://somewhere"})
    case.count(records=EVENTS, events=EVENTS)


def unknown_schema(case):
    case.own_events(n=100)
    path = os.path.join(case.folder, "framed")
    with open(path, "wb") as f:
        f.write(b"\x00" + (77777).to_bytes(4, "big") + b"abc")
    subprocess.run(["kcat", "-P", "-b", case.world.bootstrap, "-t", case.settings["events.topics"], "-k", "u1", path],
                   check=True, capture_output=True, timeout=30)
    report = case.count(records=101, events=100, dead_letters=1)
    must(report["reasons"]["unknown_schema"] == 1, str(report["reasons"]))
    must(case.records_of(case.settings["application.id"] + "-dlq") == ["u1"], "the dead letter is not there")


def poison_stop(case):
    case.own_events(n=200)
    case.send_garbage(1)
    case.simulate(100, seed=2)
    stop = {"poison.policy": "stop"}
    for _ in range(2):
        case.bad(DATA, case.settings["events.topics"], "partition", "offset", "poison.policy=dlq", settings=stop)
    must(not case.records_of(case.settings["application.id"] + "-dlq"), "stop sent a dead letter")
    report = case.count(dead_letters=1)
    must(report["records"] >= 101, f"the bad record was passed: {report}")


def poison_of_a_time_to_come(case):
    """The broker takes no dead letter of such a time (an hour ahead, by default): it is of now, and says so."""
    case.own_events(n=0, partitions=1)
    wire.alter_topic(case.world.bootstrap, case.settings["events.topics"], {"message.timestamp.after.max.ms": 2**63 - 1})
    begun_ms = int(time.time() * 1000)
    for _ in range(10):  # the setting comes to the broker a moment later
        simulate = case.start("simulate", "--events", "50", "--items", "50", "--users", "20", "--start", "2100-01-01", "--timestamps",
                              "event", "--poison", "0.5", "--items-topic", "", "--quiet", "--seed", "1")
        errors = simulate.communicate(timeout=60)[1]
        if simulate.returncode == 0:
            break
    must(simulate.returncode == 0, f"the events are not taken: {errors}")
    report = case.count(settings={"poison.max.share": "1"})
    must(report["events"] >= 50, str(report))
    letters = case.records_of(case.settings["application.id"] + "-dlq", "%T %h\n")
    must(report["dead_letters"] == len(letters) > 5, f"{len(letters)} dead letters: {report}")
    for letter in letters:
        must(int(letter.split()[0]) >= begun_ms and ",freshet-timestamp-ms=41" in letter, letter)


def poison_share(case):
    case.own_events(n=100, partitions=1)
    case.send_garbage(2500)
    topic, letters = case.settings["events.topics"], case.settings["application.id"] + "-dlq"
    case.bad(DATA, "900 of the last 1000", topic, letters, "poison.max.share=0.5", "value.format")
    report = case.count(settings={"poison.max.share": "1"})
    must(report["records"] >= 1600, f"passed more than what was acknowledged: {report}")
    found = set(case.records_of(letters))
    must(len(found) == 2500, f"{len(found)} of 2500 dead letters are in {letters}")
    case.count(records=0)


CASES = [unreachable_broker, unknown_host, partitions_added, same_instance, store_damaged, registry, poison_share,
         retention_passed, topic_made_again, other_cluster, unknown_key, key_twice, bad_value, missing_file, open_secret,
         command_line, refused_keys, embedded, topic_missing, other_counts, model_missing, model_truncated, model_of_nans,
         model_other_shapes, other_application, other_topics, store_locked, state_not_writable, disk_full_at_start,
         unknown_schema, poison_stop, poison_of_a_time_to_come]


def run_one(world, function):
    """Returns "passed", "failed" or "skipped"."""
    name = function.__name__
    started = time.time()
    try:
        function(Case(world, name.replace("_", "-")))
        outcome, text = "passed", ""
    except Skip as why:
        outcome, text = "skipped", f": {why}"
    except (Wrong, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as why:
        outcome, text = "failed", f": {why}"
    print(f"{'SKIP' if outcome == 'skipped' else outcome:7} {name} ({time.time() - started:.1f} s){text}", flush=True)
    return outcome


def run_cases(doc, prefix, place, cases):
    """The main of a driver whose cases run beside each other in one world: place(args, work)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    work = tempfile.mkdtemp(prefix=prefix)
    world = place(args, work)
    outcomes = []
    try:
        world.prepare()
        chosen = [function for function in cases if not args.cases or function.__name__ in args.cases]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            outcomes = list(pool.map(lambda function: run_one(world, function), chosen))
    finally:
        world.stop()
        ending.clear(work, outcomes, args.keep)
    ending.leave(outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    names = {function.__name__ for function in CASES}
    if set(args.cases) - names:
        sys.exit(f"unknown cases: {', '.join(sorted(set(args.cases) - names))}; there are {', '.join(sorted(names))}")
    args.bin = os.path.abspath(args.bin)
    work = tempfile.mkdtemp(prefix="freshet-bad-")
    os.chmod(work, 0o755)
    world = World(args, work)
    outcomes = []
    try:
        world.prepare()
        chosen = [function for function in CASES if not args.cases or function.__name__ in args.cases]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            outcomes = list(pool.map(lambda function: run_one(world, function), chosen))
    finally:
        world.stop()
        ending.clear(work, outcomes, args.keep)
    ending.leave(outcomes)


if __name__ == "__main__":
    main()
