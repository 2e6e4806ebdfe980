#!/usr/bin/env bash
# Quality floors on slices of real logs, in under two minutes. Cases: quality.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 -B "$ROOT/tests/e2e/quality.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
