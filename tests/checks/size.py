"""Files of at most 600 lines, functions of at most 60 (signature and closing brace counted)."""

import re

import common

FILE_LINES = 600
FUNCTION_LINES = 60

# clang-format puts a function's braces in the first column; nothing else that is long begins and ends there like that.
NAME = re.compile(r"(\w+)\s*\(")


def functions(code):
    """(name, first line, lines) of each function definition."""
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None and not line.startswith("};"):
            first = start
            while first > 1 and lines[first - 2].strip() and lines[first - 2][0] not in "}#":
                first -= 1
            signature = " ".join(lines[first - 1:start])
            name = NAME.search(re.sub(r"__attribute__\s*\(\(.*?\)\)", "", signature))
            yield (name.group(1) if name else "?", first, number - first + 1)
            start = None


def check(files):
    found = []
    for path, text in sorted(files.items()):
        length = text.count("\n")
        if length > FILE_LINES:
            found.append(f"{path}:1: {length} lines, at most {FILE_LINES}: split it")
        for name, first, lines in functions(common.code_only(text)):
            if lines > FUNCTION_LINES:
                found.append(f"{path}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES}")
    return found


def _function(lines):
    return "static int f(int a,\n             int b)\n{\n" + "    a++;\n" * (lines - 4) + "}\n"


SELF_TESTS = [
    ({"a.c": "int x;\n" * FILE_LINES}, None),
    ({"a.c": "int x;\n" * (FILE_LINES + 1)}, "601 lines"),
    ({"a.c": "int y;\n\n" + _function(FUNCTION_LINES)}, None),
    ({"a.c": "int y;\n\n" + _function(FUNCTION_LINES + 1)}, "a.c:3: f has 61 lines"),
    ({"a.c": _function(10) + "\n" + _function(70)}, "f has 70 lines"),
    ({"a.c": "static const int t[] = {\n" + "    1,\n" * 100 + "};\n"}, None),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"\.[ch]$")
