#!/usr/bin/env bash
# A real log of clicks (serenade) through a real broker: nothing is lost on the way, and the encoder foresees the clicks of the
# last 30 % of time at least twice as well as popularity. scripts/real-logs measures, and fails when either is not so.
#
# FRESHET_TEST_BIN: folder of freshet; FRESHET_TEST_BOOTSTRAP: the broker; FRESHET_TEST_DATA: the logs; FRESHET_TEST_WORK: to write in.
set -euo pipefail
cd "$(dirname "$0")/../.."

WORK=${FRESHET_TEST_WORK:-build/test/real_logs}
mkdir -p "$WORK"
status=0
scripts/real-logs --bin "${FRESHET_TEST_BIN:-build/release/bin}" --bootstrap "${FRESHET_TEST_BOOTSTRAP:-}" \
    --work "$WORK" --seed "${SEED:-1}" serenade >"$WORK/out" || status=$?
cat "$WORK/out"
[ "$status" = 0 ] || exit "$status"

# A block that says nothing would pass above: the table must be there, with thousands of clicks in it.
clicks=$(awk '$1 == "click" {print $2}' "$WORK/out")
if [ "${clicks:-0}" -lt 10000 ]; then
    echo "expected the quality of at least 10000 clicks, got '${clicks}'"
    exit 1
fi
