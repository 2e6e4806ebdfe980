"""No path of one person's machine and no mirror's host name in the repository."""

import re

import common

# Written in pieces, so that this file does not match itself.
PATTERNS = [
    re.compile(r"(?<![\w.$}/-])/" + "root" + r"/\."),
    re.compile(r"(?<![\w.$}/-])/(?:" + "work" + r"|home/\w+|Users/\w+)/[\w.]"),
    re.compile(r"\b(?:127\.0\.0\.1|localhost|10\.\d+\.\d+\.\d+):\d+/(?:simple|repository|artifactory|maven2|npm)\b"),
    re.compile(r"\b(?:artifactory|nexus|proxy|mirror)\.[a-z0-9.-]+\.(?:internal|local|corp)\b"),
]


def check(files):
    found = []
    for path, text in sorted(files.items()):
        for pattern in PATTERNS:
            for match in pattern.finditer(text):
                found.append(f"{path}:{common.line_of(text, match.start())}: {match.group(0)} is of one machine")
    return found


SELF_TESTS = [
    ({"a.md": "see ../shared/data, /usr/include/avro.h, /var/lib/freshet and $HOME/work/x\n"}, None),
    ({"a.sh": "cd $ROOT/work/x; ls ${D}/root/y\n"}, None),
    ({"a.md": "x\ncd /" + "work/main\n"}, "a.md:2: /" + "work/m"),
    ({"a.c": '"/' + 'root/.cache"\n'}, "is of one machine"),
    ({"a.sh": "DATA=/" + "home/jane/data\n"}, "is of one machine"),
    ({"a.txt": "index http://127.0.0.1:8081/" + "simple/\n"}, "is of one machine"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"^(?!LICENSE)")
