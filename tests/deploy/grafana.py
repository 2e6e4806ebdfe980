#!/usr/bin/env python3
"""Grafana's board and the alerts: every metric and label that they ask for is one of the program's own, from the tables that make
/metrics; and the runbook has a section for each alert."""
import glob
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENTRY = re.compile(r'\] = \{"((?:freshet|process)_[a-z_]+)",(.*?)\}\s*,\s*(?=\[|\};)', re.S)
NAME = re.compile(r'\b((?:freshet|process)_[a-z_]+)')
USE = re.compile(r'\b((?:freshet|process)_[a-z_]+)\{([^}]*)\}')
ADDED = {"instance", "job", "le"}  # by Prometheus, and by every histogram


def metrics():
    """{name: its labels} as they stand in /metrics."""
    made = {}
    for path in sorted(glob.glob(os.path.join(ROOT, "app", "*.c"))):
        text = open(path, encoding="utf-8").read()
        macros = {name: body for name, body in re.findall(r'^#define ([A-Z]+) +(\{.*)$', text, re.M)}
        for name, rest in ENTRY.findall(text):
            for macro, body in macros.items():
                rest = re.sub(rf'\b{macro}\b', lambda _: body, rest)
            labels = set(re.findall(r'\{"([a-z_]+)",', rest))
            parts = ("_bucket", "_sum", "_count") if "COUNTER_LATENCY" in rest else ("",)
            made.update({name + part: labels for part in parts})
    return made


def queries(node):
    """Every query of the board, whatever it stands in."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "definition") and isinstance(value, str):
                yield value
            yield from queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from queries(value)


def wrong(query, made):
    for name in NAME.findall(query):
        if name not in made:
            yield f"{name} is no metric of freshet: {query}"
    for name, selectors in USE.findall(query):
        for label in re.findall(r'([a-z_]+)\s*=', selectors):
            if label not in made.get(name, set()) | ADDED:
                yield f"{name} has no label {label}: {query}"
    known = set().union(*(made.get(name, set()) for name in NAME.findall(query)), ADDED)
    for group in re.findall(r'\bby \(([^)]*)\)', query):
        for label in re.split(r'[,\s]+', group.strip()):
            if label not in known:
                yield f"nothing in it has a label {label}: {query}"


def alerts():
    """Names and queries of deploy/alerts.yml, which has each on a line of its own."""
    with open(os.path.join(ROOT, "deploy/alerts.yml"), encoding="utf-8") as file:
        text = file.read()
    return re.findall(r"^ +- alert: (\w+)$", text, re.M), re.findall(r"^ +expr: (.+)$", text, re.M)


def sections():
    with open(os.path.join(ROOT, "docs/RUNBOOK.md"), encoding="utf-8") as file:
        return re.findall(r"^### (Freshet\w+)$", file.read(), re.M)


def main():
    made = metrics()
    planted = ["rate(freshet_no_such_total[1m])", 'freshet_lag_records{shard="1"}', "sum by (shard) (freshet_lists_total)"]
    failed = [f"the check does not see that this is wrong: {query}" for query in planted if not list(wrong(query, made))]
    with open(os.path.join(ROOT, "deploy/grafana/freshet.json"), encoding="utf-8") as file:
        board = json.load(file)
    names, rules = alerts()
    if len(names) < 10 or len(names) != len(rules) or sorted(names) != sorted(sections()):
        failed.append(f"alerts {names} with {len(rules)} queries, sections of the runbook {sections()}")
    asked = list(queries(board)) + [rule for rule in rules if "up{" not in rule]
    failed += [text for query in asked for text in wrong(query, made)]
    ids = [panel["id"] for panel in board["panels"]]
    if len(ids) != len(set(ids)):
        failed.append("two panels have one id")
    if len(made) < 40 or len(asked) < 20:
        failed.append(f"{len(made)} metrics and {len(asked)} queries were found: too few to be all")
    print("\n".join(failed) if failed else f"{len(asked)} queries, {len(made)} metrics: all there")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
