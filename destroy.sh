#!/usr/bin/env bash
# Stops the replicas that setup.sh started: see usage.
set -euo pipefail

usage() {
    cat <<'USAGE'
Stop the replicas that setup.sh started, containers and processes, and nothing else: a label identifies them.

Usage: ./destroy.sh [RUN]

  RUN   number of the run to stop, which setup.sh printed [default: all runs]

Replicas get SIGTERM, so that a waiting setup.sh reports their results so far. Those still running after 10 seconds are
killed.
Exit status: 0 if none is left, 1 if some are, 2 for a bad argument.
USAGE
}

fail() {
    echo "destroy.sh: $2" >&2 2>/dev/null || true
    exit "$1"
}

# All containers, running or not.
containers() {
    docker ps --all --quiet --filter "label=million-websockets${run:+=$run}" 2>/dev/null || true
}

# A process has its label in its initial environment.
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
    # Containers remove themselves when they end, possibly before `docker stop` reaches them.
    xargs docker stop --time 10 <<<"$all" >/dev/null 2>&1 || true
    left=$(containers)
    [[ -z $left ]] || xargs docker rm --force <<<"$left" >/dev/null 2>&1 || true
}

# A closed output must not end this script (SIGPIPE).
trap '' PIPE
run=
case ${1-} in
    -h | --help) { usage || true; } 2>/dev/null; exit ;;
    '') ;;
    *[!0-9]*) fail 2 "RUN '$1' is not a number, as printed by setup.sh; see ./destroy.sh --help" ;;
    *) run=$1 ;;
esac
(($# <= 1)) || fail 2 "at most one RUN; got $# arguments; see ./destroy.sh --help"

there="$(count "$(containers)") containers and $(count "$(processes)") processes"
stop_processes &
stop_containers
wait
left=$(count "$(containers) $(processes)")
((left == 0)) || fail 1 "$left of $there are still running: do they belong to another user?"
echo "stopped $there" 2>/dev/null || true
