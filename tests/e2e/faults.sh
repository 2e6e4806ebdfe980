#!/usr/bin/env bash
# Nothing lost under faults: builds freshet with fail-points (preset `faults`) and runs tests/e2e/faults.py with a broker of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
cmake --preset faults >/dev/null
cmake --build --preset faults --target freshet oracle
exec python3 -B tests/e2e/faults.py --bin build/faults/bin "$@"
