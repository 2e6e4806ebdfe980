#!/usr/bin/env bash
# The proxy that scripts/chaos puts between freshet and Kafka. Cases: proxy_test.py.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 "$ROOT/tests/e2e/proxy_test.py"
