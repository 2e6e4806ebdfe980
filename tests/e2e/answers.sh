#!/usr/bin/env bash
# The HTTP API over a real broker: events in by POST, lists out by GET, the catalogue at once. Cases: answers.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 "$ROOT/tests/e2e/answers.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
