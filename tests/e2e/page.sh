#!/usr/bin/env bash
# The page in a real browser, on a real broker with a simulated shop. Cases: page.mjs. Screenshots: build/test/e2e/page/shots
# (FRESHET_TEST_WORK/shots). Browser: FRESHET_TEST_CHROMIUM, else Debian's chromium.
set -euo pipefail
. "$(dirname "$0")/../../scripts/common.sh"

BIN=${FRESHET_TEST_BIN:-$ROOT/build/release/bin}
WORK=${FRESHET_TEST_WORK:-$ROOT/build/test/e2e/page}
CHROMIUM=${FRESHET_TEST_CHROMIUM:-$(command -v chromium || true)}
MODULES=$CACHE/page-test
[ -n "$CHROMIUM" ] || { echo "SKIP no chromium here (scripts/setup test)"; exit 77; }
[ -d "$MODULES/node_modules/playwright-core" ] || { echo "SKIP playwright-core is not here (scripts/setup test)"; exit 77; }

rm -rf "$WORK"
mkdir -p "$WORK/shots"
PIDS=()
clean_up() {
    local pid
    for pid in "${PIDS[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        pid_wait_gone "$pid" 20 || kill -KILL "$pid" 2>/dev/null || true
    done
    [ -n "${FRESHET_TEST_BOOTSTRAP:-}" ] || scripts/kafka stop --dir "$WORK/broker"
}
cd "$ROOT"
trap clean_up EXIT

BOOTSTRAP=${FRESHET_TEST_BOOTSTRAP:-$(scripts/kafka start --dir "$WORK/broker")}
RUN=page$$
PORT=$(free_port)
SHOP=(--items 300 --users 200 --seed 7 --quiet)
COMMON=(--set "bootstrap.servers=$BOOTSTRAP" --set "application.id=$RUN" --set "events.topics=$RUN.events"
    --set "recommendations.topic=$RUN.lists" --set "items.topic=$RUN.items" --set "related.topic=$RUN.related"
    --set "trending.topic=$RUN.trending" --set "erasures.topic=$RUN.erasures" --set "state.dir=$WORK/state")

"$BIN/freshet" topics create --partitions 2 --items-topic "$RUN.items" "${COMMON[@]}" >"$WORK/topics.log" 2>&1
# The shop begins anew: what it launched in its past it does not sell yet, and a list of that would be of nothing.
"$BIN/freshet" simulate "${SHOP[@]}" --events 20000 --to "$WORK/all.tsv" --format sessions
"$BIN/freshet" simulate "${SHOP[@]}" --events 1 --start now --items-topic "$RUN.items" "${COMMON[@]}" >"$WORK/items.log" 2>&1
kcat -C -e -q -b "$BOOTSTRAP" -t "$RUN.items" -f '%k\n' >"$WORK/items"
awk -F'\t' 'NR == FNR {sold[$1]; next} FNR == 1 || $2 in sold' "$WORK/items" "$WORK/all.tsv" >"$WORK/past.tsv"
"$BIN/freshet" train --input "$WORK/past.tsv" --format sessions --out "$WORK/model" --epochs 3 --dim 32 --quiet >"$WORK/train.log" 2>&1
"$BIN/freshet" run "${COMMON[@]}" --set "model.dir=$WORK/model" --set "http.listen=127.0.0.1:$PORT" >"$WORK/run.log" 2>&1 &
PIDS+=($!)
export FRESHET_TEST_PAGE_MODULES=$MODULES FRESHET_TEST_PAGE_URL=http://127.0.0.1:$PORT/ FRESHET_TEST_PAGE_SHOTS=$WORK/shots
export FRESHET_TEST_PAGE_CHROMIUM=$CHROMIUM
for _ in $(seq 200); do
    [ "$(curl -s -o /dev/null -w '%{http_code}' "${FRESHET_TEST_PAGE_URL}readyz" || true)" != 200 ] || break
    kill -0 "${PIDS[0]}" 2>/dev/null || { tail -20 "$WORK/run.log"; exit 1; }
    sleep 0.1
done
# Its first customers, then a few while the browser is there.
"$BIN/freshet" simulate "${SHOP[@]}" --events 4000 --start now --items-topic "$RUN.items" --rate 1000 "${COMMON[@]}" >"$WORK/shop.log" 2>&1
"$BIN/freshet" simulate "${SHOP[@]}" --events 100000 --start now --items-topic "$RUN.items" --rate 20 "${COMMON[@]}" >"$WORK/crowd.log" 2>&1 &
export FRESHET_TEST_PAGE_CROWD=$!
PIDS+=($!)
node tests/e2e/page.mjs
