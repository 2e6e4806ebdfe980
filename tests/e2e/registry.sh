#!/usr/bin/env bash
# The whole program with a real schema registry, also while that is away. Cases: registry.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 "$ROOT/tests/e2e/registry.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
