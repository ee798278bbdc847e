# The everyday commands, for https://just.systems: each is a line that can as well be typed. Flags after a recipe's name go to
# the program; what follows a number of connections, too.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

client := "cargo run --release -p client --"
# The stage that runs here.
pid := '"$(pidof -s stage1-thread-per-conn stage2-task-per-conn stage3-mio-epoll stage4-zero-buffer)"'

[private]
default:
    @just --list --unsorted

# Build everything as it is measured
build:
    cargo build --release --workspace

# Run all tests, or those of a package: just test -p common
test *flags:
    cargo test {{ if flags == "" { "--workspace" } else { "" } }} "$@"

# Check what must hold before a change lands
ci:
    bash .ci/run

# Run a stage, 1 to 4: just run 3 --ping-interval 30s
run stage="4" *flags:
    cargo run --release -p "$(basename stage{{ stage }}-*)" -- "${@:2}"

# Load the stage that runs: just load 10000 --rate 20000
load connections="10000" *flags:
    {{ client }} run --connections {{ connections }} --pid {{ pid }} "${@:2}"

# Measure all stages under the same load, into report/: just compare --quick
compare *flags:
    {{ client }} compare "$@"

# Hold a million connections in one process: just million --stage 3
million *flags:
    {{ client }} million "$@"

# Say what this machine holds, and what it lacks for more
doctor connections="1000000" *flags:
    {{ client }} doctor --connections {{ connections }} "${@:2}"

# Show where the bytes of a connection are, of the stage that runs
anatomy connections="10000" *flags:
    {{ client }} anatomy --connections {{ connections }} --pid {{ pid }} "${@:2}"

# Draw report/flame.svg of the stage that runs, under whatever load it has (docs/profiling.md)
profile seconds="10":
    mkdir -p report
    perf record --event cpu-clock --freq 499 --call-graph dwarf,16384 --pid {{ pid }} --output report/perf.data -- sleep {{ seconds }}
    perf script --input report/perf.data | inferno-collapse-perf | inferno-flamegraph > report/flame.svg

# Watch the counters of the stage that runs
watch:
    watch --interval 1 "curl -s http://127.0.0.1:8001/metrics | grep -E '^(ws_|process_)' | grep -v -e _bucket -e build_info"

# Start load clients in containers: just docker-up 10000 10 172.17.0.1
docker-up connections="10000" replicas="10" *server:
    ./setup.sh "$@"

# Stop them
docker-down:
    ./destroy.sh

# Load the stage that runs with Locust's users
locust users="1000" *flags:
    deploy/locust/run 127.0.0.1:8000 {{ users }} "${@:2}"
