#!/usr/bin/env bash
# Users that are forgotten, against a real broker that compacts at once. Cases: erasure.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 -B "$ROOT/tests/e2e/erasure.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
