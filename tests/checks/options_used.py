"""Every option of app/config.c is read by some other file: an option that does nothing is a lie. event.weight.* is read by
a name that is put together."""

import re

import common

TABLE = "app/config.c"
ENTRY = re.compile(r'^\s*\{"([a-z][a-z0-9._]*)",\s*OPTION_', re.M)
PUT_TOGETHER = "event.weight."


def check(files):
    found = []
    table = files.get(TABLE, "")
    rest = "\n".join(common.code_only(text, keep_strings=True) for path, text in files.items() if path != TABLE)
    names = ENTRY.findall(table)
    if not names:
        return [f"{TABLE}:1: no option found in the table"]
    for match in ENTRY.finditer(table):
        name = match.group(1)
        wanted = f'"{PUT_TOGETHER}%s"' if name.startswith(PUT_TOGETHER) else f'"{name}"'
        if wanted not in rest:
            found.append(f"{TABLE}:{common.line_of(table, match.start(1))}: nobody reads {name}")
    return found


SELF_TESTS = [
    ({TABLE: '    {"a.b", OPTION_INT, "1"},\n', "app/x.c": 'options_int(o, "a.b");'}, None),
    ({TABLE: '    {"event.weight.x", OPTION_NUMBER, "1"},\n', "app/x.c": '"event.weight.%s"'}, None),
    ({TABLE: '    {"a.b", OPTION_INT, "1"},\n', "app/x.c": '/* "a.b" */'}, "nobody reads a.b"),
    ({TABLE: "", "app/x.c": ""}, "no option found"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"^app/.*\.c$")
