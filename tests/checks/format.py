"""clang-format-14 would change nothing. Skipped, loudly, where the program is missing."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

import common

PROGRAM = "clang-format-14"


def badly_formatted(folder, names):
    """The names (relative to folder) that clang-format would change."""
    bad = set()
    for first in range(0, len(names), 50):
        run = subprocess.run([PROGRAM, "--dry-run", "-Werror"] + names[first:first + 50], cwd=folder,
                             capture_output=True, text=True)
        found = re.findall(r"^([^:\n]+):\d+:\d+: (?:error|warning):", run.stderr, re.M)
        if run.returncode != 0 and not found:
            raise RuntimeError(run.stderr)
        bad.update(found)
    return sorted(bad)


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(common.ROOT, ".clang-format"), folder)
        with open(os.path.join(folder, "good.c"), "w") as file:
            file.write("int f(void)\n{\n    return 1;\n}\n")
        with open(os.path.join(folder, "bad.c"), "w") as file:
            file.write("int f(void) {\n  return 1; }\n")
        return badly_formatted(folder, ["good.c", "bad.c"]) == ["bad.c"]


def main():
    if shutil.which(PROGRAM) is None:
        print(f"SKIP: {PROGRAM} is not installed; the format of no file was checked")
        sys.exit(77)
    if not self_test():
        print("self-test: the planted file was not found, or the good one was", file=sys.stderr)
        sys.exit(1)
    names = [n for n in common.paths() if n.endswith((".c", ".h"))]
    bad = badly_formatted(common.ROOT, names)
    for name in bad:
        print(f"{name}:1: run {PROGRAM} -i {name}")
    print(f"{len(names)} files, {len(bad)} findings")
    sys.exit(1 if bad or not names else 0)


if __name__ == "__main__":
    main()
