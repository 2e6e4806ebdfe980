"""Every option of app/config.c is read by some other file of app/: an option that does nothing is a lie. And what the pages,
scripts and deploy files set is an option. event.weight.* is read by a name that is put together."""

import re

import common

TABLE = "app/config.c"
ENTRY = re.compile(r'^\s*\{"([a-z][a-z0-9._]*)",\s*OPTION_', re.M)
PREFIX = re.compile(r'"([a-z]+\.)"')
PUT_TOGETHER = "event.weight."
SET = re.compile(r"""--set[ =]["']?([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)=""")
PROPERTY = re.compile(r"^[ \t]*([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)[ \t]*[=:]", re.M)


def unread(table, files):
    rest = "\n".join(common.code_only(text, keep_strings=True) for path, text in files.items()
                     if path != TABLE and re.fullmatch(r"app/.*\.c", path))
    for match in ENTRY.finditer(table):
        name = match.group(1)
        wanted = f'"{PUT_TOGETHER}%s"' if name.startswith(PUT_TOGETHER) else f'"{name}"'
        if wanted not in rest:
            yield f"{TABLE}:{common.line_of(table, match.start(1))}: nobody reads {name}"


def unknown(table, files):
    names = set(ENTRY.findall(table))
    prefixes = tuple(PREFIX.findall(table))
    for path, text in sorted(files.items()):
        if path.endswith((".c", ".h")) or path.startswith("tests/checks/"):
            continue  # tests of the command line name wrong options on purpose
        uses = PROPERTY if path.endswith(".properties") else SET
        for match in uses.finditer(text):
            name = match.group(1)
            if name not in names and not name.startswith(prefixes):
                yield f"{path}:{common.line_of(text, match.start(1))}: {name} is no option"


def check(files):
    table = files.get(TABLE, "")
    if not ENTRY.search(table):
        return [f"{TABLE}:1: no option found in the table"]
    return list(unread(table, files)) + list(unknown(table, files))


_TABLE = '    {"a.b", OPTION_INT, "1"},\n static const char *prefixes[] = {"consumer."};\n'
_READ = 'options_int(o, "a.b");'

SELF_TESTS = [
    ({TABLE: _TABLE, "app/x.c": _READ, "README.md": "run --set a.b=1 --set consumer.x.y=2"}, None),
    ({TABLE: '    {"event.weight.x", OPTION_NUMBER, "1"},\n', "app/x.c": '"event.weight.%s"'}, None),
    ({TABLE: _TABLE, "app/x.c": _READ, "deploy/f.properties": "# c.d=1\na.b = 1\n"}, None),
    ({TABLE: _TABLE, "app/x.c": '/* "a.b" */'}, "nobody reads a.b"),
    ({TABLE: _TABLE, "tests/x.c": _READ}, "nobody reads a.b"),
    ({TABLE: _TABLE, "app/x.c": _READ, "README.md": "x\nrun --set a.c=1"}, "README.md:2: a.c is no option"),
    ({TABLE: _TABLE, "app/x.c": _READ, "deploy/f.properties": "a.c=1\n"}, "a.c is no option"),
    ({TABLE: "", "app/x.c": ""}, "no option found"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"^app/.*\.c$|\.md$|^scripts/|^deploy/|^tests/|^bench/|^docker-compose|\.properties$")
