"""Each folder's page (the first comment of <folder>/<folder>.h) names the folder's files, and none that is not there. A name may stand for several:
encoder_<kind>.c, handlers_*.c, verb_<name>.c. A header and its .c need one name; internal headers need none."""

import re

import common
import layers

FOLDERS = layers.LIBRARIES + ["app"]
NAME = re.compile(r"(?<![\w/.-])((?:[\w*]|<\w+>)+)\.([ch])\b")
PAGE = re.compile(r"/\*(.*?)\*/", re.S)


def pattern_of(name):
    return re.compile(re.sub(r"\\\*|<\w+>", r"\\w+", re.escape(name).replace(r"\<", "<").replace(r"\>", ">")) + r"\Z")


def page_of(folder, text):
    for match in PAGE.finditer(text):
        if match.group(1).lstrip(" *\n").startswith(folder + "/:"):
            return match.group(1)
    return None


def check(files):
    found = []
    for folder in FOLDERS:
        header = f"{folder}/{folder}.h"
        if header not in files:
            continue
        page = page_of(folder, files[header])
        if page is None:
            found.append(f"{header}:1: no comment begins with '{folder}/:', the folder's page")
            continue
        named = [(match.group(0), pattern_of(match.group(1)), match.group(2)) for match in NAME.finditer(page)]
        here = {path.split("/")[1] for path in files if path.startswith(folder + "/") and path.count("/") == 1}
        for name in sorted(here):
            stem, end = name.rsplit(".", 1)
            if name == f"{folder}.h" or (end == "h" and stem.endswith("internal")):
                continue
            if not any(pattern.match(stem) for _, pattern, _ in named):
                found.append(f"{header}:1: the page does not name {name}")
        for text, pattern, end in named:
            if not any(pattern.match(name[:-2]) and name.endswith("." + end) for name in here):
                found.append(f"{header}:1: the page names {text}, which is not there")
    return found


_PAGE = "/* base/: x.\n * Files: a.c, b_<kind>.c, d_*.c */"
SELF_TESTS = [
    ({"base/base.h": _PAGE, "base/a.c": "", "base/b_x.c": "", "base/d_y.c": "", "base/a.h": "", "base/internal.h": ""}, None),
    ({"base/base.h": _PAGE, "base/a.c": "", "base/b_x.c": "", "base/d_y.c": "", "base/c.c": ""}, "does not name c.c"),
    ({"base/base.h": _PAGE, "base/a.c": "", "base/b_x.c": "", "base/d_y.c": "", "base/c.h": ""}, "does not name c.h"),
    ({"base/base.h": _PAGE, "base/b_x.c": "", "base/d_y.c": ""}, "names a.c, which is not there"),
    ({"base/base.h": "/* something else */", "base/a.c": ""}, "no comment begins"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"^[a-z]+/[a-z0-9_]+\.[ch]$")
