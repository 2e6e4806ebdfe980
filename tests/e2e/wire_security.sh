#!/usr/bin/env bash
# TLS and SASL/SCRAM against a real broker. Cases: wire_security.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 -B "$ROOT/tests/e2e/wire_security.py" --bin "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}" "$@"
