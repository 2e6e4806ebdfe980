#!/usr/bin/env bash
# The program as it is installed: position-independent, its tables read-only after loading, no stack or page that is written and
# run, stack protector, fortified calls, stack-clash protection, and on x86-64 CET. Looked at in the file itself.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${FRESHET_TEST_BIN:-$root/build/release/bin}/freshet
[ -x "$program" ] || { echo "SKIP $program is not built"; exit 77; }

failed=0
# must WHAT PATTERN TEXT; must_not the same
must() { grep -qE -- "$2" <<<"$3" || { echo "FAILED: $1 (no line matches $2)"; failed=1; }; }
must_not() { local status=0; grep -E -- "$2" <<<"$3" || status=$?; [ $status = 1 ] || { echo "FAILED: $1"; failed=1; }; }

header=$(readelf -hW "$program")
segments=$(readelf -lW "$program")
dynamic=$(readelf -dW "$program")
symbols=$(readelf --dyn-syms -W "$program")

must "position-independent (PIE)" 'Type: +DYN' "$header"
must "PIE, not a library" 'FLAGS_1.*PIE' "$dynamic"
must "tables read-only after loading (RELRO)" 'GNU_RELRO' "$segments"
must "all symbols bound at the start, so that all of them are" 'FLAGS.*(BIND_NOW|NOW)' "$dynamic"
must "the stack is not run" 'GNU_STACK .* RW ' "$segments"
must_not "no segment is written and run" 'LOAD .* RWE ' "$segments"
must_not "no text is changed while loading" 'TEXTREL' "$dynamic"
folders=$(sed -nE 's/.*R(UN)?PATH.*\[(.*)\]$/\2/p' <<<"$dynamic" | tr : '\n')
must_not "libraries are looked for in the system's folders alone" '^([^/]|/[^u]|/u[^s]|/us[^r]|/usr/[^l])' "$folders"
must "stack protector" '__stack_chk_fail' "$symbols"
must "fortified calls" '__(snprintf|vsnprintf|memcpy|fprintf|read)_chk' "$symbols"
# Debian 12 builds crt1.o without CET, so the linker cannot mark the program as a whole; our own code is made for it.
if grep -q 'X86-64' <<<"$header"; then
    landings=$(objdump -d --no-show-raw-insn "$program" | grep -c endbr64)
    [ "$landings" -gt 1000 ] || { echo "FAILED: control-flow enforcement (CET): $landings landings"; failed=1; }
fi

# What leaves no trace in the file: each of our files was compiled with it.
commands=$(dirname "$(dirname "$program")")/compile_commands.json
if [ -f "$commands" ]; then
    for flag in -fstack-clash-protection -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fcf-protection; do
        without=$(grep '"command"' "$commands" | grep -vcF -- " $flag " || true)
        [ "$without" = 0 ] || { echo "FAILED: $without files are compiled without $flag"; failed=1; }
    done
else
    echo "FAILED: $commands is missing"
    failed=1
fi
exit $failed
