"""The seeds of the fuzz targets are what scripts/corpus writes, and every target has some."""

import glob
import importlib.machinery
import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("corpus_script", os.path.join(ROOT, "scripts/corpus"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("corpus_script", loader))
    loader.exec_module(module)
    return module


def main():
    corpus = load()
    targets = {path[len("tests/"):-len("_fuzz.c")] for path in glob.glob("tests/*/*_fuzz.c", root_dir=ROOT)}
    wrong = [f"{path}: not what scripts/corpus writes: run it" for path in corpus.differences()]
    wrong += [f"tests/{name}_fuzz.c: no seeds in scripts/corpus" for name in sorted(targets - corpus.TARGETS.keys())]
    wrong += [f"scripts/corpus: {name} is no fuzz target" for name in sorted(corpus.TARGETS.keys() - targets)]
    print("\n".join(wrong + [f"{len(corpus.made())} seeds, {len(wrong)} findings"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
