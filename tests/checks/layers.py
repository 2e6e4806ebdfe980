"""Who may include whom (DESIGN section 2): a folder sees the levels below it and nothing of its own level, except
train -> model; foreign headers stay in the folders that hide them and out of the headers that others read."""

import re

import common

# Folder: the project folders it may include beside itself.
USES = {
    "base": [],
    "schemas": ["base"],
    "kafka": ["base"],
    "ingest": ["base", "schemas", "kafka"],
    "state": ["base", "schemas"],
    "model": ["base", "schemas"],
    "train": ["base", "schemas", "model"],
    "emit": ["base", "schemas", "kafka"],
    "serve": ["base"],
}
LIBRARIES = list(USES)
USES["app"] = LIBRARIES
USES["bench"] = LIBRARIES + ["app"]
USES["tests"] = LIBRARIES + ["app", "bench"]

# Foreign header (a prefix) and the folders that may include it. tests/ and bench/ may include all.
FOREIGN = {
    "librdkafka/": ["kafka", "ingest", "emit"],
    "avro": ["schemas"],
    "curl/": ["schemas"],
    "xxhash": ["schemas", "train"],
    "sodium": ["schemas"],
    "jansson": ["schemas", "model", "train", "app"],
    "rocksdb/": ["state"],
    "cblas": ["model", "train"],
    "zlib": ["train", "app", "serve"],
    "uv.h": ["app", "serve"],
    "llhttp": ["serve"],
    "immintrin": ["model", "train"],
    "cpuid": ["model", "train"],
    "malloc.h": ["base"],
    "dlfcn.h": [],
    "seccomp.h": ["app"],
}

# C11 and POSIX; base/ includes nothing else but malloc.h.
LIBC = set("""assert ctype errno float inttypes limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef stdint
stdio stdlib stdnoreturn string time dirent fcntl glob netdb poll pthread pwd regex sched semaphore spawn strings termios threads unistd
arpa/inet netinet/in netinet/tcp sys/eventfd sys/file sys/ioctl sys/mman sys/prctl sys/ptrace sys/random sys/resource
sys/select sys/mount sys/socket sys/stat sys/statvfs sys/syscall sys/time sys/types sys/uio sys/un sys/utsname sys/wait""".split())

# Headers of a folder that other folders may include, beside <folder>/<folder>.h. kafka/client.h is librdkafka's side of
# kafka/, for the two folders that hide librdkafka too; model/rerank.h and ingest/follow.h are
# chapters of their folders' headers.
SHARED = {"kafka/client.h": ["ingest", "emit"], "model/rerank.h": ["app"], "ingest/follow.h": ["app"],
          "schemas/pseudonym.h": ["ingest", "app"]}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def is_public(folder, header):
    if folder == "base":
        return "internal" not in header
    return header == f"{folder}/{folder}.h"


def project_include(path, folder, header):
    target = header.split("/")[0]
    if "/" not in header:
        return f'"{header}": write "folder/name.h"'
    if target == folder:
        return None
    if target not in USES.get(folder, []):
        return f'{folder}/ must not include "{header}" (layers)'
    inside = folder in ("tests", "bench") or (folder == "app" and target == "app")
    if inside or is_public(target, header) or folder in SHARED.get(header, []):
        return None
    return f'"{header}" is internal to {target}/'


def system_include(path, folder, header):
    if header[:-2] in LIBC:
        return None
    for prefix, folders in FOREIGN.items():
        if not header.startswith(prefix):
            continue
        if folder in ("tests", "bench"):
            return None
        if folder not in folders:
            return f"{folder}/ must not include <{header}>; {', '.join(folders)} may"
        if path.endswith(".h") and is_public(folder, path):
            return f"<{header}> in a public header: others must not see foreign types"
        return None
    return f"<{header}> is unknown: add it to the table in tests/checks/layers.py with the folders that may"


def check(files):
    found = []
    for path, text in sorted(files.items()):
        folder = path.split("/")[0]
        code = common.code_only(text, keep_strings=True)
        if folder not in USES:
            found.append(f"{path}:1: C code outside the folders of the map")
            continue
        for match in INCLUDE.finditer(code):
            rule = project_include if match.group(1) == '"' else system_include
            wrong = rule(path, folder, match.group(2))
            if wrong:
                found.append(f"{path}:{common.line_of(code, match.start())}: {wrong}")
    return found


SELF_TESTS = [
    ({"state/a.c": '#include "state/state.h"\n#include "base/mem.h"\n#include <rocksdb/c.h>\n'}, None),
    ({"train/a.c": '#include "model/model.h"\n'}, None),
    ({"emit/a.c": '#include "kafka/client.h"\n/* #include "state/state.h" */\n'}, None),
    ({"tests/state/a.c": '#include "state/internal.h"\n'}, None),
    ({"base/a.c": '#include "state/state.h"\n'}, "base/a.c:1: base/ must not include"),
    ({"model/a.c": '\n#include "train/train.h"\n'}, "model/a.c:2: model/ must not include"),
    ({"state/a.c": '#include "ingest/ingest.h"\n'}, "layers"),
    ({"app/a.c": '#include "state/internal.h"\n'}, "internal to state/"),
    ({"state/a.c": '#include "kafka/client.h"\n'}, "layers"),
    ({"app/a.c": '#include "kafka/client.h"\n'}, "internal to kafka/"),
    ({"app/a.c": "#include <librdkafka/rdkafka.h>\n"}, "app/ must not include"),
    ({"state/state.h": "#include <rocksdb/c.h>\n"}, "public header"),
    ({"base/a.h": "#include <jansson.h>\n"}, "base/ must not include"),
    ({"base/a.h": "#include <novel.h>\n"}, "unknown"),
    ({"app/a.c": '#include "settings.h"\n'}, "folder/name.h"),
    ({"extra/a.c": "\n"}, "outside the folders"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"\.[ch]$")
