#!/usr/bin/env bash
# deploy/freshet.service: systemd accepts every line, and the sandbox is as tight as it says.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
command -v systemd-analyze >/dev/null || { echo "SKIP systemd-analyze is not installed (scripts/setup test)"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# verify wants the program to exist; any executable will do.
sed 's|^ExecStart=/usr/local/bin/freshet |ExecStart=/bin/true |' "$root/deploy/freshet.service" >"$work/freshet.service"
grep -q '^ExecStart=/bin/true run --config /etc/freshet/freshet.properties$' "$work/freshet.service" ||
    { echo "FAILED: the unit does not start /usr/local/bin/freshet run --config ..."; exit 1; }
words=$(systemd-analyze verify --man=no "$work/freshet.service" 2>&1) || { echo "$words"; exit 1; }
if grep -F freshet.service <<<"$words"; then
    echo "FAILED: systemd warns about the unit (above)"
    exit 1
fi
# 0 is closed, 10 is open; the threshold is in tenths.
systemd-analyze security --offline=true --threshold=20 --no-pager "$work/freshet.service" >"$work/security" 2>&1 ||
    { cat "$work/security"; echo "FAILED: exposure above 2.0"; exit 1; }
tail -1 "$work/security"

# Exit codes: those named in the unit are those that base/err.h calls so.
codes=$(tr -s '[:space:]' ' ' <"$root/base/err.h")
for pair in USAGE=2 STORE=3 TOPIC=5 MODEL=6 FENCED=8 DATA=9; do
    grep -q "ERR_EXIT_${pair%=*} = ${pair#*=}," <<<"$codes" ||
        { echo "FAILED: base/err.h has no ERR_EXIT_${pair%=*} = ${pair#*=}"; exit 1; }
    grep -qE "^RestartPreventExitStatus=.*\b${pair#*=}\b" "$root/deploy/freshet.service" ||
        { echo "FAILED: the unit restarts after ${pair%=*} (${pair#*=})"; exit 1; }
done
