"""Functions that are not called here: unbounded or stateful ones of libc anywhere; the heap outside base/mem; atomics, locks
and threads outside base/. Memory that a foreign library hands out with malloc is freed by `free` in a line whose comment
says `foreign`."""

import re

import common

# Name: what to use instead.
ANYWHERE = {
    "strcpy": "snprintf or struct buf",
    "strncpy": "snprintf or struct buf",
    "strcat": "struct buf",
    "strncat": "struct buf",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "strtok": "strcspn",
    "atoi": "strtol, checked",
    "atol": "strtol, checked",
    "atoll": "strtoll, checked",
    "atof": "strtod, checked",
    "gets": "fgets",
    "rand": "base/rng",
    "srand": "base/rng",
    "random": "base/rng",
    "drand48": "base/rng",
    "localtime": "gmtime_r",
    "gmtime": "gmtime_r",
    "ctime": "strftime",
    "asctime": "strftime",
    "alloca": "an arena",
    "tmpnam": "mkstemp",
    "mktemp": "mkstemp",
}
HEAP = ["malloc", "calloc", "realloc", "free", "strdup", "strndup", "posix_memalign", "aligned_alloc", "memalign"]
HEAP_FILE = "base/mem.c"
THREADS = re.compile(r"\b(_Atomic|atomic_\w+|__atomic_\w+|__sync_\w+|pthread_\w+|mtx_\w+|cnd_\w+|thrd_\w+|sem_\w+)\b"
                     r"|#[ \t]*include[ \t]*<(?:stdatomic|pthread|threads|semaphore)\.h>")

ANYWHERE_CALL = re.compile(r"\b(" + "|".join(ANYWHERE) + r")[ \t]*\(")
HEAP_CALL = re.compile(r"(?<![\w.>])(" + "|".join(HEAP) + r")[ \t]*\(")


def is_declared_member(code, start):
    """`->free(` and `.free(` are calls of a table's function, not of libc."""
    before = code[max(0, start - 2):start]
    return before.endswith("->") or before.endswith(".")


def check_file(path, text):
    found = []
    code = common.code_only(text)
    lines = text.split("\n")
    for match in ANYWHERE_CALL.finditer(code):
        if is_declared_member(code, match.start()):
            continue
        name = match.group(1)
        found.append((match.start(), f"{name} is banned: use {ANYWHERE[name]}"))
    for match in HEAP_CALL.finditer(code):
        line = common.line_of(code, match.start())
        foreign = match.group(1) == "free" and "foreign" in lines[line - 1]
        if path == HEAP_FILE or foreign or is_declared_member(code, match.start()):
            continue
        found.append((match.start(), f"{match.group(1)} outside base/mem: use mem_* (or say `foreign` beside free)"))
    if not path.startswith(("base/", "tests/base/", "tests/e2e/clock/")):
        for match in THREADS.finditer(code):
            found.append((match.start(), f"{match.group(0)} outside base/: use base/sync.h"))
    return [f"{path}:{common.line_of(code, at)}: {what}" for at, what in sorted(found)]


def check(files):
    return [finding for path, text in sorted(files.items()) for finding in check_file(path, text)]


SELF_TESTS = [
    ({"app/a.c": "/* malloc(1); strcpy() */\nconst char *s = \"atoi(x) pthread_create\";\nmem_free(p);\n"}, None),
    ({"base/mem.c": "void *p = malloc(n);\n"}, None),
    ({"base/sync.h": "_Atomic int x; pthread_mutex_lock(&m);\n"}, None),
    ({"schemas/a.c": "free(text); /* foreign: jansson's */\n"}, None),
    ({"app/a.c": "verb->free(x); my_strcpy(a); strtok_r(a, b, c);\n"}, None),
    ({"app/a.c": "\nstrcpy(a, b);\n"}, "app/a.c:2: strcpy is banned"),
    ({"app/a.c": "x = atoi (s);\n"}, "atoi is banned"),
    ({"base/a.c": "void *p = malloc(n);\n"}, "malloc outside base/mem"),
    ({"app/a.c": "free(p);\n"}, "free outside base/mem"),
    ({"app/a.c": "p = (char *)calloc(1, 2);\n"}, "calloc outside base/mem"),
    ({"app/a.c": "#include <pthread.h>\n"}, "use base/sync.h"),
    ({"state/a.c": "static _Atomic int n;\n"}, "_Atomic outside base/"),
    ({"state/a.c": "atomic_fetch_add(&n, 1);\n"}, "atomic_fetch_add outside base/"),
    ({"tests/app/a.c": "int r = rand();\n"}, "rand is banned"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"\.[ch]$")
