"""What the repository checks share: the files of the project, C text without comments and strings, and a main that first
tests the check on planted violations and then runs it on the tree.

A check is a file of this folder with
    check(files)   files: {path: text}; returns ["path:line: what is wrong", ...]
    SELF_TESTS     [(files, words that must stand in some finding, or None for "nothing may be found"), ...]
and ends with common.main(check, SELF_TESTS, pattern). Exit status: 0 fine, 1 findings or a failed self-test, 77 skipped.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def paths():
    """Tracked files and new ones that git does not ignore; without git (a release archive) all but build folders."""
    try:
        out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                             check=True, capture_output=True).stdout.decode()
        names = sorted(set(filter(None, out.split("\0"))))
    except (OSError, subprocess.CalledProcessError):
        names = []
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in ("build", ".cache", ".git", "shared")]
            names += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return [n for n in names if os.path.isfile(os.path.join(ROOT, n))]


def load(pattern):
    """{path: text} of the project's files whose path matches; bytes that are no UTF-8 are replaced."""
    files = {}
    for name in paths():
        if re.search(pattern, name):
            with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
                files[name] = file.read()
    return files


_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text, keep_strings=False):
    """C text whose comments (and contents of strings) are blanked; line numbers stay."""
    def blank(match):
        token = match.group(0)
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        if keep_strings:
            return token
        return token[0] + re.sub(r"[^\n]", " ", token[1:-1]) + token[-1]
    return _TOKEN.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def self_test(check, cases):
    for number, (files, words) in enumerate(cases):
        found = check(files)
        if words is None and found:
            return f"self-test {number}: nothing is wrong there, but it found {found[0]}"
        if words is not None and not any(words in f for f in found):
            return f"self-test {number}: a finding with '{words}' was to come, found {found}"
    if not any(words is not None for _, words in cases):
        return "the check has no planted violation"
    return None


def main(check, cases, pattern):
    failure = self_test(check, cases)
    if failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
    files = load(pattern)
    if not files:
        print("no file matches: the check looks at nothing", file=sys.stderr)
        sys.exit(1)
    found = check(files)
    for finding in found:
        print(finding)
    print(f"{len(files)} files, {len(cases)} self-tests, {len(found)} findings")
    sys.exit(1 if found else 0)
