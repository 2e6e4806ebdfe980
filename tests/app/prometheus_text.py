"""A metrics file is sound Prometheus text (format 0.0.4), and says what the report of the same run says.

    prometheus_text.py METRICS REPORT     REPORT: output of `freshet run --report`, the report is its last line

First tries itself on planted defects. Exit status 1 with what is wrong."""

import json
import math
import re
import sys

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
HISTOGRAM = ("_bucket", "_sum", "_count")


class Wrong(Exception):
    pass


def must(ok, what):
    if not ok:
        raise Wrong(what)


# ---- reading ----

def sample(line):
    """name{label="value",...} number -> (name, ((label, value), ...), number)"""
    name = NAME.match(line)
    must(name, f"no sample: {line!r}")
    at, labels = name.end(), []
    while line[at:at + 1] in ("{", ",") and (at == name.end()) == (line[at] == "{"):
        label = LABEL.match(line, at + 1)
        must(label, f"no label at {at + 1}: {line!r}")
        labels.append((label[1], re.sub(r"\\.", lambda m: ESCAPED[m[0]], label[2])))
        at = label.end()
    at += bool(labels) and line[at:at + 1] == "}"
    must(not labels or line[at - 1] == "}", f"no end of the labels: {line!r}")
    number = re.fullmatch(r" (-?[0-9.]+(?:e[+-]?[0-9]+)?)", line[at:])
    must(number, f"no number: {line!r}")
    return name[0], tuple(labels), float(number[1])


def read(text):
    """{family: (type, {(sample name, labels): number})}; HELP and TYPE stand before a family's samples, which stand together."""
    families, helped, family = {}, None, None
    must(text.endswith("\n"), "the last line has no end")
    for line in text[:-1].split("\n"):
        words = line.split(" ", 3)
        if line.startswith("# HELP "):
            must(len(words) == 4 and words[3], f"no help: {line!r}")
            must(re.fullmatch(r"(?:[^\\]|\\[\\n])*", words[3]), f"help is not escaped: {line!r}")
            helped = words[2]
        elif line.startswith("# TYPE "):
            must(words[2] == helped, f"TYPE without HELP before it: {line!r}")
            must(words[2] not in families, f"{words[2]} comes twice")
            must(words[3] in ("counter", "gauge", "histogram"), f"no type: {line!r}")
            family = words[2]
            families[family] = (words[3], {})
        else:
            name, labels, number = sample(line)
            kind = families[family][0] if family else None
            suffixes = HISTOGRAM if kind == "histogram" else ("",)
            must(family and name in [family + s for s in suffixes], f"not of the family before it: {line!r}")
            must((name, labels) not in families[family][1], f"twice: {line!r}")
            families[family][1][name, labels] = number
    return families


# ---- soundness ----

def histogram_check(name, samples):
    by_series = {}
    for (full, labels), number in samples.items():
        rest = tuple(label for label in labels if label[0] != "le")
        one = by_series.setdefault(rest, {"le": []})
        if full.endswith("_bucket"):
            one["le"].append((float(dict(labels)["le"]), number))
        else:
            one[full[len(name):]] = number
    for one in by_series.values():
        edges = [edge for edge, _ in one["le"]]
        counts = [count for _, count in one["le"]]
        must(edges == sorted(set(edges)), f"{name}: le does not rise")
        must(counts == sorted(counts), f"{name}: buckets do not add up")
        must(edges[-1:] == [math.inf], f"{name}: no +Inf")
        must(one.get("_count") == counts[-1], f"{name}: _count is not the +Inf bucket")
        must("_sum" in one and (one["_count"] > 0 or one["_sum"] == 0), f"{name}: _sum")


def sound(families):
    for name, (kind, samples) in families.items():
        must(samples, f"{name} has no sample")
        must((kind == "counter") == name.endswith("_total"), f"{name}: _total is for counters")
        must(not name.endswith(HISTOGRAM), f"{name}: that end is a histogram's")
        if kind == "histogram":
            histogram_check(name, samples)
        if kind == "counter":
            must(all(number >= 0 for number in samples.values()), f"{name} is below 0")


# ---- against the report ----

class Metrics:
    def __init__(self, families):
        self.families = families

    def get(self, name, **labels):
        return self.families[name][1][name, tuple(labels.items())]

    def sum(self, name):
        return sum(self.families[name][1].values())


def equal(what, have, want, near=0.0):
    must(abs(have - want) <= near, f"{what}: the metrics say {have}, the report {want}")


def counts_compare(metrics, report):
    for key in ("records", "lists", "batches"):
        equal(key, metrics.get(f"freshet_{key}_total"), report[key])
    for key, outcome in (("events", "applied"), ("replayed", "replayed"), ("duplicates", "duplicate"), ("quiet", "quiet")):
        equal(key, metrics.get("freshet_events_total", outcome=outcome), report[key])
    for key, name in (("late", "late_events"), ("too_late", "late_items_dropped"), ("epochs", "commits"), ("steps", "encoder_steps"),
                      ("prefills", "encoder_prefills"), ("models_loaded", "models_loaded"), ("models_refused", "models_refused"),
                      ("allocations", "allocations")):
        equal(key, metrics.get(f"freshet_{name}_total"), report[key])
    equal("dead_letters", metrics.sum("freshet_dead_letters_total"), report["dead_letters"])
    reasons = {}
    for name in ("freshet_dead_letters_total", "freshet_cleaned_total"):
        reasons.update({labels[0][1]: number for (_, labels), number in metrics.families[name][1].items()})
    must(reasons == report["reasons"], f"reasons: the metrics say {reasons}, the report {report['reasons']}")
    equal("conservation", metrics.sum("freshet_events_total") + report["dead_letters"], report["records"])


def latency_compare(metrics, report):
    """The report's quantiles, from finer buckets, lie in the bucket that the metrics say."""
    name = "freshet_event_to_publish_seconds"
    edges = [(float(dict(labels)["le"]), count) for (full, labels), count in metrics.families[name][1].items() if full.endswith("_bucket")]
    n = metrics.families[name][1][name + "_count", ()]
    must(n <= report["lists"], f"{n} latencies of {report['lists']} lists")
    for q, key in ((0.5, "p50"), (0.99, "p99")):
        have, below = report["latency_ms"][key], 0.0
        for edge, count in edges:
            if count >= q * n:
                must(below * 1e3 - 0.006 <= have <= edge * 1e3 + 0.006, f"{key} {have} ms is not between {below} and {edge} s")
                break
            below = edge


def compare(families, report):
    metrics = Metrics(families)
    counts_compare(metrics, report)
    latency_compare(metrics, report)
    for stage, us in report["stage_us_per_event"].items():
        seconds = metrics.get("freshet_stage_seconds_total", stage=stage)
        equal(stage, seconds * 1e6 / max(report["records"], 1), us, 0.00501)
    for (_, labels), n in families["freshet_quality_events_total"][1].items():
        event_type = labels[0][1]
        must((n > 0) == (event_type in report["quality"]), f"quality of {event_type}: {n} events")
        for arm, prefix in (("list", ""), ("popular", "popularity_")) if n else ():
            quality = report["quality"][event_type]
            equal("quality events", n, quality["events"])
            for key, name in (("hr20", "hits"), ("mrr20", "reciprocal_rank")):
                total = metrics.get(f"freshet_quality_{name}_total", event_type=event_type, arm=arm)
                equal(f"{event_type} {prefix}{key}", total / n, quality[prefix + key], 0.00000501)


# ---- planted defects ----

GOOD = """# HELP a_total All \\\\ of\\nthem.
# TYPE a_total counter
a_total{why="x\\"\\\\\\ny",type="z"} 3
# HELP h_seconds Time.
# TYPE h_seconds histogram
h_seconds_bucket{le="0.5"} 1
h_seconds_bucket{le="+Inf"} 2
h_seconds_sum 3.5
h_seconds_count 2
# HELP g_bytes Level.
# TYPE g_bytes gauge
g_bytes -1
"""
DEFECTS = [
    ("g_bytes -1\n", "g_bytes -1", "no end"), ("g_bytes -1", "g_bytes 1 1", "no number"), ("# HELP g_bytes Level.\n", "", "without HELP"),
    ("# HELP h_seconds Time.\n# TYPE h_seconds histogram\n", "", "not of the family"), ('\\"\\\\', '"\\\\', "labels"),
    ("All \\\\", "All \\", "not escaped"), ('le="0.5"', 'le="Inf"', "does not rise"), ('"} 1', '"} 3', "do not add up"),
    ("_count 2", "_count 1", "not the +Inf"), ('h_seconds_bucket{le="+Inf"} 2\n', "", "no +Inf"), ("g_bytes", "g_total", "_total"),
    ("g_bytes -1\n", "g_bytes -1\ng_bytes -1\n", "twice"), ("a_total", "g_bytes", "comes twice"), ("a_total", "a_bytes", "counters"), (',type="z"}', ',type="z"', "no end of"),
    ("counter", "count", "no type"), ("# HELP g_bytes Level.\n# TYPE g_bytes gauge\n", "", "not of the family"),
    ("h_seconds_sum 3.5\n", "", "_sum"), ('"z"} 3', '"z"} -3', "below 0"),
]


def try_itself():
    families = read(GOOD)
    sound(families)
    assert families["a_total"][1]["a_total", (("why", 'x"\\\ny'), ("type", "z"))] == 3
    for old, new, words in DEFECTS:
        try:
            assert old in GOOD, old
            sound(read(GOOD.replace(old, new)))
        except Wrong as wrong:
            assert words in str(wrong), f"{old!r} -> {new!r}: {wrong}"
        else:
            raise AssertionError(f"{old!r} -> {new!r} is not noticed")


def main():
    try_itself()
    with open(sys.argv[1], encoding="utf-8", newline="\n") as file:
        families = read(file.read())
    with open(sys.argv[2], encoding="utf-8") as file:
        report = json.loads(file.read().splitlines()[-1])
    sound(families)
    compare(families, report)
    print(f"  {len(families)} metrics, {sum(len(samples) for _, samples in families.values())} samples, {report['records']} records")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"FAILED: {wrong}")
