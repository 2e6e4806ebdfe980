#!/usr/bin/env bash
# docker-compose.yml and deploy/Dockerfile: docker-compose accepts the file, and what both name is there.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
command -v docker-compose >/dev/null || { echo "SKIP docker-compose is not installed (scripts/setup test)"; exit 77; }

docker-compose -f docker-compose.yml --profile shop config -q
services=$(docker-compose -f docker-compose.yml --profile shop config --services | sort | tr '\n' ' ')
[ "$services" = "freshet grafana kafka prometheus registry shop topics " ] ||
    { echo "FAILED: services are $services"; exit 1; }

fail=0
# Files of this repository that the Dockerfile copies and the compose file mounts.
for path in $(sed -nE 's/^COPY ([^-].*) [^ ]+$/\1/p' deploy/Dockerfile) \
    $(sed -nE 's/^ +- (\.\/[^:]*):.*/\1/p' docker-compose.yml); do
    [ -e "$path" ] || { echo "FAILED: $path is named and not there"; fail=1; }
done

# Keys in the environment of the compose file and in the example configuration are in the options' reference.
if [ -f docs/OPTIONS.md ]; then
    keys=$(sed -nE 's/^#?([a-z][a-z.]+)=.*/\1/p' deploy/freshet.properties)
    keys+=" $(sed -nE 's/^ +FRESHET_([A-Z_]+): .*/\1/p' docker-compose.yml | tr 'A-Z_' 'a-z.')"
    for key in $keys; do
        case $key in security.* | sasl.* | ssl.* | consumer.* | producer.*) continue ;; esac
        grep -qF "$key" docs/OPTIONS.md || { echo "FAILED: $key is no option of docs/OPTIONS.md"; fail=1; }
    done
fi
exit $fail
