# The everyday commands, for https://just.systems: each is a line that you can also type. Flags after a recipe's name, or
# after a number of connections, go to the program.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

client := "cargo run --release -p client --"
# The process id of the running stage.
pid := '"$(pidof -s stage1-thread-per-conn stage2-task-per-conn stage3-mio-epoll stage4-zero-buffer)"'

[private]
default:
    @just --list --unsorted

# Build everything in release mode, as measured
build:
    cargo build --release --workspace

# Run all tests, or one package's: just test -p common
test *flags:
    cargo test {{ if flags == "" { "--workspace" } else { "" } }} "$@"

# Run the checks that a change must pass
ci:
    bash .ci/run

# Run a stage, 1 to 4: just run 3 --ping-interval 30s
run stage="4" *flags:
    cargo run --release -p "$(basename stage{{ stage }}-*)" -- "${@:2}"

# Load the running stage: just load 10000 --rate 20000
load connections="10000" *flags:
    {{ client }} run --connections {{ connections }} --pid {{ pid }} "${@:2}"

# Measure all stages under the same load, into report/: just compare --quick
compare *flags:
    {{ client }} compare "$@"

# Hold a million connections in one process: just million --stage 3
million *flags:
    {{ client }} million "$@"

# Report how many connections this machine can hold, and its limits
doctor connections="1000000" *flags:
    {{ client }} doctor --connections {{ connections }} "${@:2}"

# Break down the memory per connection of the running stage
anatomy connections="10000" *flags:
    {{ client }} anatomy --connections {{ connections }} --pid {{ pid }} "${@:2}"

# Draw report/flame.svg of the running stage under its current load (docs/profiling.md)
profile seconds="10":
    mkdir -p report
    perf record --event cpu-clock --freq 499 --call-graph dwarf,16384 --pid {{ pid }} --output report/perf.data -- sleep {{ seconds }}
    perf script --input report/perf.data | inferno-collapse-perf | inferno-flamegraph > report/flame.svg

# Watch the counters of the running stage
watch:
    watch --interval 1 "curl -s http://127.0.0.1:8001/metrics | grep -E '^(ws_|process_)' | grep -v -e _bucket -e build_info"

# Start load clients in containers: just docker-up 10000 10 172.17.0.1
docker-up connections="10000" replicas="10" *server:
    ./setup.sh "$@"

# Stop the load clients in containers
docker-down:
    ./destroy.sh

# Load the running stage with Locust users
locust users="1000" *flags:
    deploy/locust/run 127.0.0.1:8000 {{ users }} "${@:2}"
