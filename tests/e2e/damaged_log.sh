#!/usr/bin/env bash
# Batches damaged on the broker's disk: see damaged_log.py.
exec python3 -B "$(dirname "$0")/damaged_log.py" --bin "${FRESHET_TEST_BIN:-build/release/bin}"
