#!/usr/bin/env bash
# Bad input anywhere: one clear line, nothing lost, an exit code that a supervisor can tell apart. Cases: bad_input.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 "$ROOT/tests/e2e/bad_input.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
