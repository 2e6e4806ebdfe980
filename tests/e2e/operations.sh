#!/usr/bin/env bash
# The verbs for who runs freshet: dlq, reset, trace, backup and restore. Cases: operations.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 -B "$ROOT/tests/e2e/operations.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
