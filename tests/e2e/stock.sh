#!/usr/bin/env bash
# 100,000 lists while 1,000 items change: none holds what is sold out, hidden, gone or refused by a rule. On the broker of
# FRESHET_TEST_BOOTSTRAP. What it does: tests/app/stock_test.c.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${FRESHET_TEST_BOOTSTRAP:-}" ]; then
    echo "SKIP FRESHET_TEST_BOOTSTRAP is not set: start a broker with scripts/kafka start"
    exit 77
fi
STOCK_LISTS=100000 STOCK_CHANGES=1000 exec "${FRESHET_TEST_BIN:-$ROOT/build/release/bin}/app_stock_test"
