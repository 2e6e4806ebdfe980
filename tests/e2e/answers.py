#!/usr/bin/env python3
"""The HTTP API over a real broker: `freshet run` with http.listen and `freshet serve` beside it.

  tests/e2e/answers.py --bin FOLDER [--keep]

Events go in by POST /v1/events of the one and lists come out by GET of the other; items are hidden while lists are asked for;
a server is killed and started again; one is ended under load. Broker: FRESHET_TEST_BOOTSTRAP, else its own. Ends with
`N passed, N failed, N skipped`.
"""
import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ending  # noqa: E402
from bad_input import ROOT, World, Wrong, must, run_one  # noqa: E402



def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool, "null": type(None)}


def fits(document, schema, value, where):
    """The value is what the schema says, and has nothing that the schema does not name."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "oneOf" in schema:
        return one_fits(document, schema["oneOf"], value, where)
    kinds = schema.get("type", list(TYPES))
    kinds = ([kinds] if isinstance(kinds, str) else kinds) + (["null"] if schema.get("nullable") else [])
    must(any(isinstance(value, TYPES[kind]) for kind in kinds), f"{where}: {value!r} is no {kinds}")
    if isinstance(value, dict) and "properties" in schema:
        for key in schema.get("required", []):
            must(key in value, f"{where}: no {key}")
        for key, inner in value.items():
            must(key in schema["properties"], f"{where}: {key} is not in the document")
            fits(document, schema["properties"][key], inner, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for i, inner in enumerate(value):
            fits(document, schema["items"], inner, f"{where}[{i}]")


def one_fits(document, schemas, value, where):
    why = []
    for schema in schemas:
        try:
            return fits(document, schema, value, where)
        except Wrong as wrong:
            why.append(str(wrong))
    must(False, "; ".join(why))


class Server:
    """One process that answers over HTTP. Every answer, and every body that is taken, is held against the process's own /openapi.json."""

    def __init__(self, case, verb, name, **settings):
        self.case, self.port = case, free_port()
        self.log = os.path.join(case.folder, f"{name}.log")
        listen = {"http.listen": f"127.0.0.1:{self.port}", "value.format": "json", "http.view.memory.bytes": "8MiB", **settings}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(case.command([verb], listen), stdout=log, stderr=log, cwd=case.folder,
                                            env={"PATH": os.environ["PATH"]})
        case.world.servers.append(self.process)
        self.await_ready()
        self.document = json.loads(self.ask("GET", "/openapi.json")[1])

    def documented(self, method, path, status, answer, body=None):
        """The answer fits the document's schema of this path and status, and the body that it was given for the request's."""
        parts = path.split("?")[0].strip("/").split("/")
        for template, operations in self.document["paths"].items():
            wanted = template.strip("/").split("/")
            if len(wanted) != len(parts) or any(w != p and w[0] != "{" for w, p in zip(wanted, parts)):
                continue
            if method.lower() not in operations:
                continue
            answers = operations[method.lower()]["responses"]
            said = answers.get(str(status), answers.get("default"))
            must(said, f"{method} {template}: {status} is not in the document")
            schema = said.get("content", {}).get("application/json", {}).get("schema")
            if schema:
                fits(self.document, schema, answer, f"{method} {template} {status}")
            if body is not None and status < 300:
                schema = operations[method.lower()]["requestBody"]["content"]["application/json"]["schema"]
                fits(self.document, schema, body, f"body of {method} {template}")
            return
        must(False, f"{method} {path} is not in the document")

    def await_ready(self):
        until = time.time() + 60
        while time.time() < until:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            must(self.process.poll() is None, f"ended with {self.process.returncode}: {self.tail()}")
            time.sleep(0.05)
        must(False, f"not ready: {self.tail()}")

    def tail(self):
        with open(self.log) as f:
            return f.read()[-600:]

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get(self, path, status=200):
        got, text = self.ask("GET", path)
        must(got == status, f"GET {path}: {got}, not {status}: {text[:300]}")
        self.documented("GET", path, status, json.loads(text))
        return json.loads(text)

    def post(self, path, body, status=200):
        got, text = self.ask("POST", path, body)
        must(got == status, f"POST {path}: {got}, not {status}: {text[:300]}")
        self.documented("POST", path, status, json.loads(text), body)
        return json.loads(text)

    def end(self, how=signal.SIGTERM, code=0):
        self.process.send_signal(how)
        got = self.process.wait(timeout=30)
        must(got == code, f"exit {got}, not {code}: {self.tail()}")


def topics_make(case):
    case.settings.update({"events.topics": f"{case.world.run_id}-{case.name}.events", "items.topic": f"{case.world.run_id}-{case.name}.items",
                          "trending.topic": "", "related.topic": f"{case.world.run_id}-{case.name}.related"})
    case.good("topics", "create", "--partitions", "2", "--items-topic", case.settings["items.topic"])


def item_put(case, **item):
    line = f"{item['item_id']}:{json.dumps(item)}\n"
    subprocess.run(["kcat", "-P", "-b", case.world.bootstrap, "-t", case.settings["items.topic"], "-K:"], input=line, text=True,
                   check=True, capture_output=True, timeout=30)


def view(user, item, **more):
    return {"event_type": "view", "user_id": user, "items": [item], **more}


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def until(what, seconds=60.0):
    """Waits until what() is true; returns how long it took."""
    begun = time.time()
    while not what():
        must(time.time() - begun < seconds, f"line {what.__code__.co_firstlineno}: not within {seconds} s")
        time.sleep(0.005)
    return time.time() - begun


# ---- the cases ----

def events_in_lists_out(case):
    """A click changes the list that another process answers with; the trigger names the event. How fast is measured by bench/run."""
    topics_make(case)
    run = Server(case, "run", "run")
    serve = Server(case, "serve", "serve", **{"state.dir": case.folder + "/serve"})
    run.post("/v1/events", [view(f"u{u}", f"i{(u + k) % 20}") for u in range(20) for k in range(6)], 202)
    worst = 0.0
    for i in range(20):
        user = f"u{i}"
        accepted = serve.post("/v1/events", view(user, f"i{i}", event_id=f"e{i}"), 202)
        must(accepted == {"accepted": 1, "event_ids": [f"e{i}"]}, f"{accepted}")
        for server in (serve, run):
            took = until(lambda: server.get(f"/v1/recommend/{user}")["trigger"]["event_id"] == f"e{i}")
            worst = max(worst, took)
    print(f"    worst of 20 lists in two processes: {worst * 1000:.0f} ms")
    answer = serve.get("/v1/recommend/u3?n=5")
    must(len(answer["items"]) == 5 and answer["fallback"] is None and answer["items"][0]["reasons"], f"{answer}")
    item = ids(answer)[0]
    why = serve.get(f"/v1/explain/u3/{item}")
    must(why["rank"] == 1 and why["recommendation_id"] == answer["recommendation_id"], f"{why}")
    must(serve.get("/v1/explain/u3/no-such", 404)["error"]["code"] == "not_found", "explain of a stranger")
    stranger = serve.get("/v1/recommend/stranger")
    must(stranger["fallback"] == "popular" and len(stranger["items"]) == 20, f"{stranger}")
    serve.get("/v1/recommend/stranger?fallback=false", 404)
    session = serve.post("/v1/session?n=5", {"items": ["i1", "i2"]})
    must("i3" in ids(session) and "i2" not in ids(session), f"{session}")
    must(session == serve.post("/v1/session?n=5", {"items": ["i1", "i2"]}), "the same question has another answer")
    must(ids(serve.post("/v1/session", {"items": ["nobody-knows"]})), "empty for an unknown item")
    until(lambda: run.get("/v1/users/u1")["events"] >= 7)  # the store, a commit later
    user = run.get("/v1/users/u1")
    must([w["item_id"] for w in user["window"]] == ["i1"] + [f"i{k}" for k in (6, 5, 4, 3, 2, 1)], f"{user}")
    run.get("/v1/users/stranger", 404)
    serve.get("/v1/users/u1", 404)
    bad = serve.post("/v1/events", [view("u1", "i1"), {"event_type": "view", "items": ["i1"]}], 400)
    must("event 1" in bad["error"]["message"], f"{bad}")
    bad = serve.post("/v1/events", {"event_type": "viw", "user_id": "u1", "items": ["i1"]}, 400)
    must("viw" in bad["error"]["message"], f"{bad}")
    with open(os.path.join(ROOT, "schemas/avro/event.avsc")) as file:
        fields = {field["name"] for field in json.load(file)["fields"]}
    told = set(serve.document["components"]["schemas"]["Event"]["properties"])
    must(told == fields, f"the document's events have {told ^ fields} more or less than event.avsc")
    serve.post("/v1/events", {"event_type": "productViewed", "user_id": "u1", "items": [{"item_id": "i1", "price": 2.5}], "context": {"region": "NO"}}, 202)
    serve.end()
    run.end()


def orders_relate_items(case):
    """Two items of one order go together a moment later, alone and as a cart's complements."""
    topics_make(case)
    run = Server(case, "run", "run")
    serve = Server(case, "serve", "serve", **{"state.dir": case.folder + "/serve"})
    orders = [{"event_type": "purchase", "user_id": f"u{i}", "items": ["bread", "butter" if i % 2 else "jam"]} for i in range(8)]
    run.post("/v1/events", orders, 202)
    until(lambda: set(ids(serve.get("/v1/related/bread?kind=bought_together"))) == {"butter", "jam"})
    until(lambda: ids(serve.get("/v1/related/jam")) == ["bread"])  # any kind; another partition's list
    until(lambda: ids(serve.post("/v1/related", {"items": ["butter", "jam"]})) == ["bread"])  # a cart
    must(ids(serve.get("/v1/related/nothing")) == [], "an item that nobody bought")
    serve.end()
    run.end()


def hidden_items_are_gone(case):
    """Catalogue, search, and items that disappear: from the moment their record is read, no answer holds them."""
    topics_make(case)
    for i in range(10):
        item_put(case, item_id=f"i{i}", title=f"Red shoe number {i}", price=10 + i, stock=5)
    run = Server(case, "run", "run")
    serve = Server(case, "serve", "serve", **{"state.dir": case.folder + "/serve"})
    run.post("/v1/events", [view(f"u{u}", f"i{(u + k) % 10}") for u in range(10) for k in range(4)], 202)

    def is_long():  # u0's first list may have been made before the others' clicks were counted
        run.post("/v1/events", [view("u0", "i0")], 202)
        time.sleep(0.1)
        return len(ids(serve.get("/v1/recommend/u0"))) >= 5

    until(is_long)
    must(serve.get("/v1/items/i3")["title"] == "Red shoe number 3", "the item")
    must(len(ids(serve.get("/v1/items?query=red+num"))) == 10, "search")
    must(serve.get("/v1/recommend/u0")["items"][0]["title"].startswith("Red shoe"), "title in a list")
    hidden = ids(serve.get("/v1/recommend/u0"))[0]
    item_put(case, item_id=hidden, title="Red shoe", stock=0)
    until(lambda: serve.get(f"/v1/items/{hidden}")["stock"] == 0)
    for path in ("/v1/recommend/u0", "/v1/recommend/stranger", "/v1/items?query=red"):
        must(hidden not in ids(serve.get(path)), f"{hidden} in {path}")
    must(hidden not in ids(serve.post("/v1/session", {"items": ["i8"]})), f"{hidden} in a session's list")
    item_put(case, item_id=hidden, title="Red shoe", stock=3)
    until(lambda: hidden in ids(serve.get("/v1/items?query=red")))
    # the server is killed, the catalogue changes meanwhile: its view goes on where it stands
    serve.end(signal.SIGKILL, -signal.SIGKILL)
    item_put(case, item_id=hidden, title="Red shoe", hidden=True)
    again = Server(case, "serve", "again", **{"state.dir": case.folder + "/serve"})
    must(hidden not in ids(again.get("/v1/items?query=red")) and len(ids(again.get("/v1/items?query=red"))) == 9, "after the kill")
    again.end()
    run.end()


def changes_are_streamed(case):
    topics_make(case)
    run = Server(case, "run", "run")
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)
    connection.request("GET", "/v1/stream?user=u1&types=list,metrics")
    answer = connection.getresponse()
    must(answer.status == 200 and answer.getheader("Content-Type").startswith("text/event-stream"), "no stream")
    run.post("/v1/events", [view("u2", "a"), view("u1", "b", event_id="mine")], 202)
    seen, event, ends = {}, "", time.time() + 15
    while set(seen) != {"list", "metrics"}:
        must(time.time() < ends, f"only {set(seen)} came")
        line = answer.readline().decode()
        if line.startswith("event:"):
            event = line.split(":", 1)[1].strip()
        if line.startswith("data:") and event:
            data = json.loads(line[5:])
            must(event in ("list", "metrics"), f"event {event}")
            must(event != "list" or data["user_id"] == "u1", f"a list of {data.get('user_id')}")
            seen[event] = data
    must(seen["list"]["trigger"]["event_id"] == "mine", f"{seen['list']}")
    connection.close()
    text = run.ask("GET", "/metrics")[1]
    names = [line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")]
    twice = sorted({name for name in names if names.count(name) > 1})
    must(not twice, f"series that stand twice in /metrics: {twice}")
    must("freshet_records_total" in names and "freshet_view_records_total" in names, "metrics of both")
    run.end()


def ended_under_load(case):
    """SIGTERM while requests come: every answer that begins is whole, and the end is clean."""
    topics_make(case)
    run = Server(case, "run", "run")
    run.post("/v1/events", [view(f"u{u}", f"i{u}") for u in range(20)], 202)
    counts = {"ok": 0, "cut": 0}
    stop = threading.Event()

    def load():
        while not stop.is_set():
            try:
                status, text = run.ask("GET", "/v1/recommend/u1")
                json.loads(text)
                counts["ok"] += status == 200
            except http.client.IncompleteRead:
                counts["cut"] += 1
            except (OSError, http.client.HTTPException):
                if run.process.poll() is not None:
                    return

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    run.end()
    stop.set()
    for thread in threads:
        thread.join()
    must(counts["ok"] > 100 and counts["cut"] == 0, f"{counts}")


class Shop(World):
    """The world of bad_input, without its extra broker and model."""

    def prepare(self):
        self.bootstrap = os.environ.get("FRESHET_TEST_BOOTSTRAP") or self.start_broker("broker")
        self.events = ""
        self.run_id = f"http{os.getpid()}"
        self.servers = []  # a case that fails leaves its own

    def stop(self):
        for process in self.servers:
            if process.poll() is None:
                process.kill()
                process.wait()
        super().stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the working folder behind")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    work = tempfile.mkdtemp(prefix="freshet-http-")
    world, outcomes = Shop(args, work), []
    try:
        world.prepare()
        outcomes = [run_one(world, case) for case in (events_in_lists_out, orders_relate_items, hidden_items_are_gone, changes_are_streamed, ended_under_load)]
    finally:
        world.stop()
        ending.clear(work, outcomes, args.keep)
    ending.leave(outcomes)


if __name__ == "__main__":
    main()
