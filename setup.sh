#!/usr/bin/env bash
# Runs many load clients against one server, in containers or as processes: see usage.
set -euo pipefail
# The client's output is for the caller's locale; the output that this script parses is not.
readonly users_locale=${LC_ALL-}
export LC_ALL=C

usage() {
    cat <<'USAGE'
Start REPLICAS load clients with CONNECTIONS each against one server, show their total progress on one line, and print
one result.

Usage: ./setup.sh [--local] CONNECTIONS REPLICAS [SERVER[:PORT]] [-- CLIENT FLAGS]

  CONNECTIONS    connections per replica
  REPLICAS       number of containers, each with its own address; with --local, of processes
  SERVER         IPv4 address, IPv6 address in brackets, or name of it [default: this machine; that is the bridge's
                 gateway, usually 172.17.0.1, or 127.0.0.1 with --local]; PORT [default: 8000]
  CLIENT FLAGS   flags of `client run` for each replica: with 10 replicas, --rate 100 is 1,000 messages per second;
                 --json FILE and --hdr FILE apply to the one result
  --local        start processes instead of containers

  ./setup.sh 10000 10                                         open 100,000 connections to a stage on this machine
  ./setup.sh 10000 10 -- --scenario idle --duration 10m       hold them for ten minutes, or until ./destroy.sh
  ./setup.sh --local 5000 4 127.0.0.1:9000 -- --rate 500 --json all.json

The first run builds the client and its image, in some minutes. Ctrl-C, or ./destroy.sh from another terminal, ends the
load and reports the results so far; a second Ctrl-C reports nothing. Both clean up.
Set CLIENT=FILE in the environment to use that client with --local instead of building one.
Exit status: 0 if every replica succeeded, 1 if anything failed, 2 for a bad argument.
USAGE
}

# Prints a message. A load does not depend on standard error.
note() { printf '%s\n' "$*" >&2 2>/dev/null || true; }
fail() {
    note "setup.sh: $2"
    exit "$1"
}
refuse() { fail 2 "$1; see ./setup.sh --help"; }

# The local ports of one address, in the widest range without privileged ports.
readonly PORTS_MOST=64512
readonly PORT_RANGE="1024 65535"

parse() {
    local words=()
    is_local=false merge_flags=() client_flags=() files=()
    while (($#)); do
        case $1 in
            -h | --help) { usage || true; } 2>/dev/null; exit ;;
            --local) is_local=true ;;
            --) shift && parse_client_flags "$@" && break ;;
            -*) refuse "unknown flag '$1'; client flags go after --" ;;
            *) words+=("$1") ;;
        esac
        shift
    done
    ((${#words[@]} >= 2 && ${#words[@]} <= 3)) ||
        refuse "CONNECTIONS and REPLICAS are needed, SERVER is optional; got ${#words[@]} arguments"
    connections=$(whole CONNECTIONS "${words[0]}" 10000000) || exit
    # A bridge has at most 1,023 ports (BR_MAX_PORTS).
    replicas=$(whole REPLICAS "${words[1]}" 1000) || exit
    total=$((connections * replicas))
    $is_local || ((connections <= PORTS_MOST)) ||
        refuse "CONNECTIONS $connections: a container has one address, with $PORTS_MOST ports; use more REPLICAS"
    server=${words[2]-}
    [[ -z $server ]] || is_server "$server" ||
        refuse "SERVER '$server' is not an address or a name, such as 192.0.2.1:8000, [2001:db8::1] or echo.example"
    $is_local || [[ ! $server =~ ^(localhost|127\.[0-9.]+|\[::1])(:|$) ]] ||
        refuse "SERVER '$server' is each container itself: omit it for a stage on this machine, or add --local"
}

# Checks that argument $1, of value $2, is a whole number from 1 to $3, and prints it without separators.
whole() {
    local digits=${2//[_,]/}
    if ! [[ $digits =~ ^[0-9]{1,9}$ ]] || ((10#$digits < 1 || 10#$digits > $3)); then
        refuse "$1 '$2' is not a whole number from 1 to $3"
    fi
    echo $((10#$digits))
}

# HOST or HOST:PORT. A name that ends in a number is a mistyped address.
is_server() {
    local host=$1 port='' number='(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
    [[ $1 != *:* || $1 == *"]" ]] || host=${1%:*} port=${1##*:}
    [[ $1 == "$host" ]] || { [[ $port =~ ^[0-9]{1,5}$ ]] && ((10#$port >= 1 && 10#$port <= 65535)); } || return
    if [[ $host == \[*] ]]; then
        # getent(1) parses the address without a look-up.
        [[ $host =~ ^\[[0-9A-Fa-f:.]+]$ ]] && getent -i ahostsv6 "${host:1:-1}" >/dev/null 2>&1
        return
    fi
    [[ $host =~ ^[A-Za-z0-9_.-]+$ ]] || return
    [[ ! $host =~ (^|\.)[0-9]+\.?$ || $host =~ ^($number\.){3}$number$ ]]
}

parse_client_flags() {
    while (($#)); do
        case $1 in
            --json | --hdr)
                (($# >= 2)) || refuse "$1 needs a FILE"
                merge_flags+=("$1" "$2") files+=("$2") && shift ;;
            --json=* | --hdr=*) merge_flags+=("$1") files+=("${1#*=}") ;;
            --url | --url=* | --connections | --connections=* | --start-at | --start-at=* | --quiet)
                refuse "'$1' is set by this script for each replica" ;;
            --header=@* | @*)
                $is_local || refuse "'$1': a container has no such file: use --local, or --header 'Name: value'"
                client_flags+=("$1") ;;
            --pid | --pid=* | --metrics-url | --metrics-url=*)
                refuse "'$1' needs a server with one client: here each replica would measure the cost of all" ;;
            *) client_flags+=("$1") ;;
        esac
        shift
    done
}

# Fails before the load rather than after it.
check_files() {
    local file directory
    for file in "${files[@]}"; do
        [[ $file != - ]] || continue
        directory=$(dirname -- "$file")
        [[ -d $directory ]] || fail 1 "cannot write $file: no directory $directory"
        [[ ! -d $file ]] || fail 1 "cannot write $file: it is a directory"
        if [[ -e $file ]]; then [[ -w $file ]]; else [[ -w $directory ]]; fi || fail 1 "cannot write $file: permission denied"
    done
}

# Builds the image, and sets `client`: a program that runs on this machine.
build() {
    local target=${CARGO_TARGET_DIR:-$root/target} is_binary=
    client=$target/image/client/client
    if $is_local && [[ -n ${CLIENT-} ]]; then
        client=$CLIENT
        [[ -x $client ]] || fail 1 "CLIENT '$client' is not executable"
    else
        command -v cargo >/dev/null || fail 1 "cargo not found: install Rust (https://rustup.rs), or use --local and CLIENT=FILE"
        # The binary of an image serves --local too.
        if $is_local; then is_binary=true; [[ -e $client ]] || client=$target/release/client; fi
        [[ -e $client ]] || note "building the client, which takes some minutes once: $client"
        case $client in
            */release/client) cargo build --manifest-path "$root/Cargo.toml" --release --locked --package client ;;
            *) "$root/deploy/docker/build.sh" ${is_binary:+--binaries} client >/dev/null ;;
        esac || fail 1 "building the client failed: see above"
    fi
    "$client" run "${client_flags[@]}" --help >/dev/null 2>"$results/flags" ||
        fail 2 "$(sed 's/^client: //; s/client --help/client run --help/; q' "$results/flags")"
}

find_server() {
    local host address gateway route
    if [[ -z $server ]] && $is_local; then
        server=127.0.0.1
    elif ! $is_local && ! docker version >/dev/null 2>&1; then
        fail 1 "no Docker engine answers ('docker version' says why): start it, or use ./setup.sh --local"
    elif [[ -z $server ]]; then
        gateway=$(docker network inspect bridge --format '{{range .IPAM.Config}}{{.Gateway}}{{end}}' 2>/dev/null || true)
        server=${gateway:-172.17.0.1}
    fi
    [[ $server =~ :[0-9]+$ ]] || server=$server:8000
    host=${server%:*} address=${server%:*}
    if [[ $host == \[*] ]]; then
        address=${host:1:-1}
    elif [[ ! $host =~ ^[0-9.]+$ ]]; then
        address=$(getent ahosts "$host" | awk 'NR == 1 { print $1 }') ||
            fail 1 "cannot resolve '$host': check the name with 'getent ahosts $host', or give an IP address"
    fi
    # `local 172.17.0.1 dev lo …`, or `172.17.0.2 dev docker0 …`, or `192.0.2.1 via …`
    route=$(ip -o route get "$address" 2>/dev/null || true)
    is_here=false
    if [[ $address == 127.* || $address == ::1 || $route == local* || $route == *" dev docker0 "* ]]; then is_here=true; fi
}

# One address has one range of local ports.
check_ports() {
    local first last ports
    read -r first last </proc/sys/net/ipv4/ip_local_port_range
    ports=$((last - first + 1))
    if ! $is_local && ! $is_here && ((total > PORTS_MOST)); then
        refuse "$total connections leave this machine from one address, with $PORTS_MOST ports: use more machines"
    elif $is_local && [[ ! $server =~ ^(127\.|localhost:) && " ${client_flags[*]-}" != *" --source-ip"* ]] && ((total > ports)); then
        refuse "$total connections from one address, with $ports ports (ip_local_port_range): add -- --source-ip A,B"
    fi
}

# Prints the limits that `client doctor` finds too low for any server, and their fixes. check_ports covers the ports.
examine() {
    local fits=true report short
    report=$("$client" doctor --stage 4 --connections "$total") || fits=false
    short=$(awk '/ (SHORT|note)$/ { show = 1 } / ok$/ || /^$/ || /ip_local_port_range/ { show = 0 } show' <<<"$report")
    [[ -z $short ]] || note "client doctor, for $total connections:"$'\n'"$short"
    $fits || ! $is_here ||
        fail 1 "this machine cannot hold $total connections: raise the limits marked SHORT, or use fewer"
}

start_replica() {
    local out=$results/$1
    if $is_local; then
        MILLION_WEBSOCKETS_REPLICA=$run "$client" run "${load[@]}" </dev/null >"$out.json" 2>"$out.log" &
    else
        docker run --rm --label "million-websockets=$run" --name "million-websockets-$run-$1" \
            --read-only --cap-drop ALL --security-opt no-new-privileges --sysctl "net.ipv4.ip_local_port_range=$PORT_RANGE" \
            million-websockets/client run "${load[@]}" </dev/null >"$out.json" 2>"$out.log" &
    fi
    pids[$1]=$!
}

start() {
    local lead_s=$((1 + replicas / 20)) number
    # A container takes longer to start.
    $is_local || lead_s=$((3 + replicas))
    start_s=$((EPOCHSECONDS + lead_s))
    load=("${client_flags[@]}" --url "ws://$server/echo" --connections "$connections" --json -
        --start-at "$(date -u -d "@$start_s" +%Y-%m-%dT%H:%M:%SZ)")
    note "run $run: $replicas replicas, $connections connections each, to ws://$server/echo; './destroy.sh $run' ends it"
    for ((number = 1; number <= replicas; number++)); do $stopping || start_replica "$number"; done
}

# Prints ready replicas, connections, failures, and the phase of the slowest replica.
look() { awk -f "$root/deploy/docker/progress.awk" "$results"/*.log "$results"/*.json; }

# Shows progress: overwrites the last line on a terminal, prints one every three seconds elsewhere.
show() {
    if [[ -t 2 ]]; then
        printf '\r%s\e[K' "$1" >&2 2>/dev/null || true
    elif ((SECONDS >= next_line_s)); then
        next_line_s=$((SECONDS + 3))
        note "$1"
    fi
}

# Prints a line that progress does not overwrite.
say() { if [[ -t 2 ]]; then note $'\r'"$1"$'\e[K'; else note "$1"; fi; }

# Prints the number of the first replica that ended without a result, if any.
dead_replica() {
    local number
    for number in "${!pids[@]}"; do
        kill -0 "${pids[$number]}" 2>/dev/null || [[ -s $results/$number.json ]] || { echo "$number" && return; }
    done
}

# Sets `running` to the number of live replicas. It starts no process, because Ctrl-C would end that too.
count_running() {
    local pid
    running=0
    for pid in "${pids[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then running=$((running + 1)); fi
    done
}

# Waits for all replicas. If one dies before all are connected, it ends the others.
watch() {
    local seen ready held failed phase running all_connected=false dead text after_s next_line_s=0
    while count_running && ((running > 0)); do
        # Ctrl-C may kill the commands here and below; their failure must not end this script.
        seen=$(look) || seen="0 0 0 stopping:"
        read -r ready held failed phase <<<"$seen"
        after_s=$((EPOCHSECONDS - start_s))
        ((ready == replicas)) && text="$phase $held connections" || text="$phase $held of $total connections"
        ((failed)) && text+=", $failed failed"
        if ((ready == replicas)) && ! $all_connected; then
            all_connected=true
            say "connected: $held of $total connections, by all $replicas replicas${text##* connections}"
        fi
        text+=", $running of $replicas replicas run"
        ((after_s < 0)) && text+=", begin in $((-after_s)) s" || text+=", after $after_s s"
        show "$text"
        if ! $all_connected && ! $stopping && dead=$(dead_replica) && [[ -n $dead ]]; then
            say "replica $dead ended without a result: ending the others"
            stop
        fi
        sleep 0.5 || true
    done
    [[ ! -t 2 ]] || printf '\r\e[K' >&2 2>/dev/null || true
}

# Ends the load; the clients report their results so far.
stop() {
    stopping=true
    kill -TERM "${pids[@]}" 2>/dev/null || true
}

# The first signal ends the load, a second one the script.
interrupt() { if $stopping; then exit 130; else stop; fi; }

clean_up() {
    trap '' INT TERM
    local containers
    ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
    if ! $is_local && ((${#pids[@]})); then
        containers=$(docker ps --all --quiet --filter "label=million-websockets=$run" 2>/dev/null || true)
        # A container that is already exiting may be removed before this.
        [[ -z $containers ]] || xargs docker rm --force <<<"$containers" >/dev/null 2>&1 || true
    fi
    $keep_results || rm -rf "$results"
}

# Merges the results, and names the replicas without one.
report() {
    local number ended status=0 late found=() lost=0 file
    for number in "${!pids[@]}"; do
        if [[ -s $results/$number.json ]]; then
            found+=("$results/$number.json")
        elif ((++lost == 1)); then
            wait "${pids[$number]}" && ended=0 || ended=$?
            note "setup.sh: replica $number ended with status $ended: $(tail -n 1 "$results/$number.log")"
        fi
    done
    late=$({ grep -l 'late for --start-at' "$results"/*.log || true; } | wc -l)
    ((late == 0)) || note "setup.sh: $late of $replicas replicas started late: this machine starts them too slowly"
    ((${#found[@]} == 0)) || LC_ALL=$users_locale "$client" merge "${merge_flags[@]}" "${found[@]}" || status=$?
    for file in "${files[@]}"; do
        [[ $file == - || ! -f $results/flags || $file -nt $results/flags || (-e $file && ! -f $file) ]] || keep_results=true
    done
    ! $keep_results || note "setup.sh: the results of each replica are kept in $results"
    if ((lost)); then fail 1 "$lost of $replicas replicas left no result"; fi
    return "$status"
}

main() {
    # A closed output must not end the load (SIGPIPE).
    trap '' PIPE
    is_local=true pids=() stopping=false keep_results=false run=$$
    parse "$@"
    root=$(cd "$(dirname "$0")" && pwd)
    results=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    check_files
    find_server
    check_ports
    build
    examine
    trap interrupt INT TERM
    start
    watch
    report
}

main "$@"
