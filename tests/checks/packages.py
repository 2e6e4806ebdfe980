"""What CMakeLists.txt links is what scripts/setup installs, to build and to run, and has its line in docs/DEPENDENCIES.md. Machines of
those who work on freshet have it all; a newcomer's has not."""

import re

import common

MAP, SETUP, DOC = "CMakeLists.txt", "scripts/setup", "docs/DEPENDENCIES.md"
# Module of pkg-config (or of scripts/cmake): Debian's packages to build with and to run with ("": linked in), words of the document.
PACKAGES = {
    "avro-c": ("libavro-dev", "libavro23", "libavro"),
    "jansson": ("libjansson-dev", "libjansson4", "jansson"),
    "libcurl": ("libcurl4-openssl-dev", "libcurl4", "libcurl"),
    "libseccomp": ("libseccomp-dev", "libseccomp2", "libseccomp"),
    "libsodium": ("libsodium-dev", "libsodium23", "libsodium"),
    "libuv": ("libuv1-dev", "libuv1", "libuv"),
    "libxxhash": ("libxxhash-dev", "libxxhash0", "xxhash"),
    "llhttp": ("node-llhttp", "", "llhttp"),
    "openblas": ("libopenblas-dev", "libopenblas0-pthread", "libopenblas"),
    "rdkafka": ("librdkafka-dev", "librdkafka1", "librdkafka"),
    "rocksdb": ("librocksdb-dev", "librocksdb7.8", "librocksdb"),
    "zlib": ("zlib1g-dev", "zlib1g", "zlib"),
}
LINE = re.compile(r"^freshet_\w+\(.*?\bPACKAGES ([^)]*)\)", re.M)


def installed(setup, name):
    """The words of the list NAME=(...)"""
    found = re.search(rf"^{name}=\((.*?)\)", setup, re.M | re.S)
    return set(found.group(1).split()) if found else set()


def check(files):
    findings = []
    lines = list(LINE.finditer(files.get(MAP, "")))
    if not lines:
        return [f"{MAP}:1: no PACKAGES found"]
    build, run = installed(files[SETUP], "BUILD"), installed(files[SETUP], "RUN")
    for line in lines:
        at = f"{MAP}:{common.line_of(files[MAP], line.start())}"
        for module in line.group(1).split():
            if module not in PACKAGES:
                findings.append(f"{at}: {module} is not in tests/checks/packages.py, with its Debian package")
                continue
            to_build, to_run, words = PACKAGES[module]
            if to_build not in build:
                findings.append(f"{at}: {SETUP} does not install {to_build} (BUILD)")
            if to_run and to_run not in run:
                findings.append(f"{at}: {SETUP} does not install {to_run} (RUN)")
            if not re.search(rf"^\| {re.escape(words)}\b", files[DOC], re.M | re.I):
                findings.append(f"{at}: {DOC} has no line for {words}")
    return findings


_MAP = "freshet_library(train USES base PACKAGES zlib)\n"
_SETUP = "BUILD=(gcc\n    zlib1g-dev)\nRUN=(zlib1g)\n"
_DOC = "| zlib | 1.2.13 | train/ | gzip |"

SELF_TESTS = [
    ({MAP: _MAP, SETUP: _SETUP, DOC: _DOC}, None),
    ({MAP: _MAP, SETUP: "BUILD=(gcc)\nRUN=(zlib1g)\n", DOC: _DOC}, "does not install zlib1g-dev (BUILD)"),
    ({MAP: _MAP, SETUP: "BUILD=(zlib1g-dev)\nRUN=(gcc)\n", DOC: _DOC}, "does not install zlib1g (RUN)"),
    ({MAP: _MAP, SETUP: _SETUP, DOC: "| other |"}, "no line for zlib"),
    ({MAP: "freshet_library(a PACKAGES new)\n", SETUP: _SETUP, DOC: _DOC}, "new is not in"),
    ({MAP: "", SETUP: _SETUP, DOC: _DOC}, "no PACKAGES found"),
]

if __name__ == "__main__":
    common.main(check, SELF_TESTS, r"^CMakeLists\.txt$|^scripts/setup$|^docs/DEPENDENCIES\.md$")
