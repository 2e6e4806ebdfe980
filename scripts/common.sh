# What the scripts share; sourced by each of them, run by nobody.
# Words: ROOT is the repository; CACHE holds what was fetched and running servers (ignored by git).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$ROOT/.cache

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# True when something listens on loopback port $1.
port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a port nobody listens on, below the range the kernel gives to outgoing connections, so that a
# server killed and started again finds its port still free.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
        port_is_open "$port" || { echo "$port"; return; }
    done
    die "no free port between 20000 and 30000 on loopback"
}

# server_pid DIR: prints the pid in DIR/pid while that process lives and is the server started there.
# A pid that was given to another process since is not ours: the command line must name DIR.
server_pid() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    grep -qzF -- "$1" "/proc/$pid/cmdline" 2>/dev/null || return 1
    echo "$pid"
}

# is_alive PID: some thread of the process is not dead yet. Asked for are the states of all: the command line is gone, and the
# first thread may be dead, a moment before the kernel closes the sockets, and a start at that moment finds the port taken.
is_alive() {
    grep -qsE '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1"/task/*/status
}

# pid_wait_gone PID SECONDS: true once the process has ended.
pid_wait_gone() {
    local end=$((SECONDS + $2))
    while is_alive "$1"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# server_stop DIR SECONDS: SIGTERM, then SIGKILL when it is still there after SECONDS: said, and status STOP_FORCED, since data may
# be as after a crash.
STOP_FORCED=3
server_stop() {
    local pid status=0
    pid=$(server_pid "$1") || { rm -f "$1/pid"; return 0; }
    kill -TERM "$pid" 2>/dev/null
    if ! pid_wait_gone "$pid" "$2"; then
        say "pid $pid did not stop within $2 s: killing it"
        kill -KILL "$pid" 2>/dev/null
        pid_wait_gone "$pid" 5 || die "pid $pid survives SIGKILL"
        status=$STOP_FORCED
    fi
    rm -f "$1/pid"
    return "$status"
}

# server_kill DIR: SIGKILL at once, as a crash; the data stay.
server_kill() {
    local pid
    pid=$(server_pid "$1") || die "no server runs in $1"
    kill -KILL "$pid" 2>/dev/null
    pid_wait_gone "$pid" 5 || die "pid $pid survives SIGKILL"
    rm -f "$1/pid"
}

# The tools named are there, or the script ends and says what installs them.
need_tools() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is missing: run scripts/setup test (scripts/setup broker is enough for a broker)"
    done
}

# build_preset PRESET [TARGET...]: configures when needed and builds build/PRESET. On a terminal ninja's own counter
# shows; elsewhere a line at the start and one at the end, and the compiler's words when it fails. BUILD_FLAGS goes to ninja.
build_preset() {
    local preset=$1 dir=$ROOT/build/$1 log=$ROOT/build/$1.log target started=$SECONDS
    local targets=()
    shift
    for target in "$@"; do targets+=(--target "$target"); done
    mkdir -p "$ROOT/build"
    # A tree that was copied or moved here remembers its old place.
    if [ -f "$dir/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$dir/CMakeCache.txt"; then
        rm -rf "$dir"
    fi
    if [ ! -f "$dir/build.ninja" ] && ! (cd "$ROOT" && cmake --preset "$preset") >"$log" 2>&1; then
        tail -30 "$log" >&2
        return 1
    fi
    if [ -t 2 ]; then
        cmake --build "$dir" ${targets[@]+"${targets[@]}"} -- ${BUILD_FLAGS:-} >&2
        return
    fi
    say "building $preset ..."
    if ! cmake --build "$dir" ${targets[@]+"${targets[@]}"} -- ${BUILD_FLAGS:-} >"$log" 2>&1; then
        grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\)' "$log" | tail -60 >&2
        return 1
    fi
    say "built $preset in $((SECONDS - started)) s"
}
