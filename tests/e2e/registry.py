#!/usr/bin/env python3
"""The whole program with a real schema registry: ids of the registry in and out, lists that a foreign reader understands,
auto.register.schemas, and a registry that goes away.

  tests/e2e/registry.py --bin FOLDER [--keep]

Broker and registry: FRESHET_TEST_BOOTSTRAP and FRESHET_TEST_REGISTRY, else its own through scripts/. freshet talks to the
registry through a relay of this script, so that it can be taken away without touching others. Ends with
`N passed, N failed, N skipped`.
"""
import argparse
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import avro  # noqa: E402
import ending  # noqa: E402
from bad_input import ROOT, UNREACHABLE, USAGE, Case, World, must, run_one  # noqa: E402

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Relay:
    """An HTTP address that passes everything on to the registry, or is not there."""

    def __init__(self, target):
        self.target, self.port, self.server, self.asked = target, 0, None, 0

    def up(self):
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                relay.asked += 1
                size = int(self.headers.get("Content-Length", 0))
                request = urllib.request.Request(relay.target + self.path, self.rfile.read(size) if size else None,
                                                 {"Content-Type": self.headers.get("Content-Type", "application/json")})
                try:
                    with OPENER.open(request, timeout=20) as reply:
                        status, body = reply.status, reply.read()
                except urllib.error.HTTPError as reply:
                    status, body = reply.code, reply.read()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.port}"

    def down(self):
        self.server.shutdown()
        self.server.server_close()


def ask(case, path):
    with OPENER.open(case.world.registry + path, timeout=20) as reply:
        return json.load(reply)


def messages(case, topic):
    """The values of a topic, bytes."""
    done = subprocess.run(["kcat", "-C", "-e", "-q", "-b", case.world.bootstrap, "-t", topic, "-f", "%S\n%s"],
                          check=True, capture_output=True, timeout=60)
    out, at, found = done.stdout, 0, []
    while at < len(out):
        end = out.index(b"\n", at)
        size = int(out[at:end])
        found.append(out[end + 1:end + 1 + size])
        at = end + 1 + size
    return found


def with_registry(case):
    case.settings["schema.registry.url"] = case.world.relay.up()
    case.settings["events.topics"] = f"{case.settings['application.id']}.events"
    case.topics()


def lists_are_readable(case):
    with_registry(case)
    try:
        case.simulate(1000)
        report = case.count(records=1000, dead_letters=0)
        topic = case.settings["recommendations.topic"]
        latest = ask(case, f"/subjects/{topic}-value/versions/latest")
        schema = json.loads(ask(case, f"/schemas/ids/{latest['id']}")["schema"])
        lists = messages(case, topic)
        must(len(lists) == report["lists"] > 500, f"{len(lists)} lists in {topic}, {report['lists']} reported")
        for value in lists:
            must(value[:5] == b"\0" + latest["id"].to_bytes(4, "big"), f"framing {value[:5].hex()}, id {latest['id']}")
            read = avro.decode(schema, value[5:])
            must(read["user_id"] and read["trigger"]["topic"] == case.settings["events.topics"], str(read))
        must(any(len(avro.decode(schema, value[5:])["items"]) == 20 for value in lists), "no list of 20 items")
        events = {value[1:5] for value in messages(case, case.settings["events.topics"])}
        must(len(events) == 1, f"events carry {len(events)} ids")
        writer = ask(case, f"/schemas/ids/{int.from_bytes(events.pop(), 'big')}")["schema"]
        must("event_type" in writer, f"the events' schema is {writer[:200]}")
    finally:
        case.world.relay.down()


def not_registered(case):
    with_registry(case)
    try:
        never = {"auto.register.schemas": "false"}
        case.bad(USAGE, case.settings["recommendations.topic"], "auto.register.schemas", settings=never)
        case.simulate(100)
        case.count(records=100)
        case.count(records=0, settings=never)
    finally:
        case.world.relay.down()


def registry_goes_away(case):
    with_registry(case)
    feed = case.start("simulate", "--events", "3000", "--rate", "400", "--items", "100", "--users", "50", "--items-topic", "",
                      "--quiet")
    running = case.start("run", "--idle", "3000", "--report")
    time.sleep(3)
    case.world.relay.down()
    try:
        case.end(feed, 0, ())
        report = json.loads(case.end(running, 0, ()).splitlines()[-1])
        must(report["records"] == 3000 and report["dead_letters"] == 0, f"an outage lost something: {report}")
        case.bad(UNREACHABLE, case.settings["schema.registry.url"], "schema.registry.url")
    finally:
        case.world.relay.up()
    try:
        case.count(records=0)
    finally:
        case.world.relay.down()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    work = tempfile.mkdtemp(prefix="freshet-registry-")
    world = World(args, work)
    world.run_id = f"registry{os.getpid()}"
    world.events = ""
    folder, outcomes = os.path.join(work, "registry"), []
    tool = os.path.join(ROOT, "scripts/registry")
    try:
        world.bootstrap = os.environ.get("FRESHET_TEST_BOOTSTRAP") or world.start_broker("broker")
        world.registry = os.environ.get("FRESHET_TEST_REGISTRY") or subprocess.run(
            [tool, "start", "--dir", folder], check=True, capture_output=True, text=True, timeout=180).stdout.strip()
        world.relay = Relay(world.registry)
        outcomes = [run_one(world, case) for case in (lists_are_readable, not_registered, registry_goes_away)]
    finally:
        world.stop()
        subprocess.run([tool, "stop", "--dir", folder], capture_output=True, timeout=60)
        ending.clear(work, outcomes, args.keep)
    ending.leave(outcomes)


if __name__ == "__main__":
    main()
