#!/usr/bin/env python3
"""Does freshet learn? Models of slices of two real logs, trained and evaluated, and the partners of a third, in about 25 s on two idle cores.

The floors lie well above popularity and well below what one run gave (seed 1, docs/QUALITY.md), so that another seed passes and a
broken gradient, mask, split or index does not. Session neighbours draw nothing at random: theirs are the published numbers.

FRESHET_TEST_DATA: folder of the logs; SEED: of the training. Last line: `N passed, N failed, N skipped`."""
import argparse, gzip, itertools, json, os, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ML_USERS, SERENADE_CLICKS, RETAIL_ROWS = 500, 20000, 80000
PASSED, FAILED = [], []


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=f"{ROOT}/build/release/bin")
    parser.add_argument("--data", default=os.environ.get("FRESHET_TEST_DATA") or f"{ROOT}/../shared/data")
    parser.add_argument("--seed", default=os.environ.get("SEED", "1"))
    return parser.parse_args()


def freshet(args, *words):
    """The JSON object of the last line; ends the test when the command fails."""
    command = [f"{args.bin}/freshet", *words, "--quiet"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    print(f"  {time.monotonic() - started:.0f} s: {' '.join(command)}", flush=True)
    if done.returncode != 0:
        print(done.stdout, done.stderr)
        finish(f"{words[0]} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def finish(trouble=""):
    if trouble:
        FAILED.append(trouble)
        print(f"FAILED {trouble}")
    print(f"{len(PASSED)} passed, {len(FAILED)} failed, 0 skipped")
    sys.exit(1 if FAILED else 0)


def at_least(what, value, floor):
    ok = value >= floor
    (PASSED if ok else FAILED).append(what)
    print(f"{'ok    ' if ok else 'FAILED'} {what}: {value:.4f}, at least {floor:.4f} wanted", flush=True)


def ml_slice(source, path):
    with gzip.open(source, "rt") as log, open(path, "w") as out:
        out.writelines(line for line in log if int(line.split()[0]) <= ML_USERS)


def serenade_slice(source, path):
    """The newest clicks; the sort keeps clicks of one second as they stand."""
    with gzip.open(source, "rt") as log:
        rows = [line for line in log.readlines()[1:]]
    rows.sort(key=lambda line: float(line.split()[2]))
    with open(path, "w") as out:
        out.writelines(rows[-SERENADE_CLICKS:])


def neighbours(args):
    """T5, the whole log."""
    folder = f"{args.data}/serenade"
    got = freshet(args, "eval", "--protocol", "serenade", "--input", f"{folder}/train.tsv.gz", "--test", f"{folder}/test.tsv.gz",
                  "--format", "sessions", "--arms", "neighbours,popularity")["neighbours"]
    at_least("serenade: neighbours' MRR@20", got["mrr@20"], 0.343)
    at_least("serenade: neighbours' HR@20", got["hr@20"], 0.658)


def sessions(args, work):
    log, split = f"{work}/serenade.tsv", ("--protocol", "next-item", "--split-time", "0.85")
    serenade_slice(f"{args.data}/serenade/train.tsv.gz", log)
    freshet(args, "train", "--input", log, "--format", "sessions", *split, "--out", f"{work}/sessions", "--epochs", "5",
            "--validation", "0", "--seed", args.seed)
    got = freshet(args, "eval", "--model", f"{work}/sessions", "--input", log, "--format", "sessions", *split, "--mask", "current")
    encoder, popular = got["encoder"], got["popularity_recent"]
    at_least("serenade's slice: encoder's MRR@20", encoder["mrr@20"], max(0.11, 10 * popular["mrr@20"]))
    at_least("serenade's slice: encoder's HR@20", encoder["hr@20"], max(0.18, 8 * popular["hr@20"]))
    at_least("serenade's slice: blend's MRR@20 over the encoder's", got["blend"]["mrr@20"], encoder["mrr@20"])


def films(args, work):
    log = f"{work}/ml-1m.txt"
    ml_slice(f"{args.data}/ml-1m/ml-1m-lrurec.txt.gz", log)
    freshet(args, "train", "--input", log, "--format", "pairs", "--protocol", "leave-one-out", "--out", f"{work}/films",
            "--epochs", "4", "--batch", "1000", "--lr", "0.003", "--validation", "0", "--seed", args.seed)
    got = freshet(args, "eval", "--model", f"{work}/films", "--input", log, "--format", "pairs", "--protocol", "lrurec")
    encoder, popular = got["encoder"], got["popularity"]
    at_least("ml-1m's slice: encoder's R@10", encoder["recall@10"], max(0.15, 4 * popular["recall@10"]))
    at_least("ml-1m's slice: encoder's N@10", encoder["ndcg@10"], max(0.085, 4 * popular["ndcg@10"]))


def orders(args, work):
    """The first rows, in time order. Nothing is drawn, so floors can be near: 10 to 20 % below what was measured."""
    log = f"{work}/retail.csv"
    with gzip.open(f"{args.data}/online-retail/online_retail.csv.gz", "rt") as rows, open(log, "w") as out:
        out.writelines(itertools.islice(rows, RETAIL_ROWS))
    got = freshet(args, "eval", "--protocol", "baskets", "--input", log, "--skip-items", "POST,DOT,M,m,D,S,B,C2,gift_*", "--map",
                  "user=InvoiceNo,item=StockCode,type==purchase,time=InvoiceDate,quantity=Quantity", "--k", "10")
    together, counts, popular = got["bought_together"], got["raw_counts"], got["popularity"]
    at_least("online-retail's slice: bought_together's HR@10", together["hr@10"], max(0.09, 1.6 * popular["hr@10"]))
    at_least("online-retail's slice: ... over raw counts'", together["hr@10"], 1.06 * counts["hr@10"])
    at_least("online-retail's slice: ... of what is no best-seller", together["hr_mid@10"], 1.3 * counts["hr_mid@10"])
    at_least("online-retail's slice: ... and of the rest", together["hr_tail@10"], 1.3 * counts["hr_tail@10"])


def main():
    args = arguments()
    for name in ("serenade/train.tsv.gz", "serenade/test.tsv.gz", "ml-1m/ml-1m-lrurec.txt.gz", "online-retail/online_retail.csv.gz"):
        if not os.path.exists(f"{args.data}/{name}"):
            print(f"SKIP {name} is not in {args.data} (FRESHET_TEST_DATA names the folder)")
            sys.exit(77)
    print(f"SEED={args.seed}")
    with tempfile.TemporaryDirectory(prefix="freshet-quality-") as work:
        neighbours(args)
        orders(args, work)
        sessions(args, work)
        films(args, work)
    finish()


if __name__ == "__main__":
    main()
