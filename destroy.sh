#!/usr/bin/env bash
# Stops what setup.sh has started, and nothing else: see usage.
set -euo pipefail

usage() {
    cat <<'USAGE'
Stops the replicas that setup.sh has started, containers and processes, and nothing else: they are known by a label.

Usage: ./destroy.sh [RUN]

  RUN   of this run alone, by the number that setup.sh has told [default: of all]

They are asked to end (SIGTERM), so that a setup.sh that waits for them reports what they have measured. Those that have
not ended after 10 seconds are killed.
Exit status: 0 if none is left, 1 if some are, 2 if an argument is wrong.
USAGE
}

fail() {
    echo "destroy.sh: $2" >&2 2>/dev/null || true
    exit "$1"
}

# Containers that are there, running or not.
containers() {
    docker ps --all --quiet --filter "label=million-websockets${run:+=$run}" 2>/dev/null || true
}

# Processes have their label in the environment that they were started with.
processes() {
    local environment
    for environment in /proc/[0-9]*/environ; do
        if grep -qzE "^MILLION_WEBSOCKETS_REPLICA=${run:-[0-9]+}\$" "$environment" 2>/dev/null; then
            environment=${environment#/proc/}
            echo "${environment%/environ}"
        fi
    done
}

count() { wc -w <<<"$*"; }

stop_processes() {
    local all left tries
    all=$(processes)
    [[ -n $all ]] || return 0
    xargs kill -TERM <<<"$all" 2>/dev/null || true
    for ((tries = 0; tries < 100; tries++)); do
        left=$(processes)
        [[ -n $left ]] || return 0
        sleep 0.1
    done
    xargs kill -KILL <<<"$left" 2>/dev/null || true
    sleep 0.1
}

stop_containers() {
    local all left
    all=$(containers)
    [[ -n $all ]] || return 0
    # They remove themselves when they end, so that some may be gone when their turn comes.
    xargs docker stop --time 10 <<<"$all" >/dev/null 2>&1 || true
    left=$(containers)
    [[ -z $left ]] || xargs docker rm --force <<<"$left" >/dev/null 2>&1 || true
}

# Whoever has stopped reading is not to end this (SIGPIPE).
trap '' PIPE
run=
case ${1-} in
    -h | --help) { usage || true; } 2>/dev/null; exit ;;
    '') ;;
    *[!0-9]*) fail 2 "RUN '$1' is not a number such as setup.sh tells; see ./destroy.sh --help" ;;
    *) run=$1 ;;
esac
(($# <= 1)) || fail 2 "at most one RUN; got $# arguments; see ./destroy.sh --help"

there="$(count "$(containers)") containers and $(count "$(processes)") processes"
stop_processes &
stop_containers
wait
left=$(count "$(containers) $(processes)")
((left == 0)) || fail 1 "$left of $there are still there: are they another user's?"
echo "stopped $there" 2>/dev/null || true
