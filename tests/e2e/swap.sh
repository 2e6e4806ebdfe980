#!/usr/bin/env bash
# The whole program while its model changes. Cases: swap.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 "$ROOT/tests/e2e/swap.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
