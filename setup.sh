#!/usr/bin/env bash
# Many load clients against one server, in containers or as processes: see usage.
set -euo pipefail
# What the client prints is for the terminal of whoever calls this; what this script reads is not.
readonly users_locale=${LC_ALL-}
export LC_ALL=C

usage() {
    cat <<'USAGE'
Starts REPLICAS load clients with CONNECTIONS each against one server, shows one line of progress for all of them, and
prints one result.

Usage: ./setup.sh [--local] CONNECTIONS REPLICAS [SERVER_IP[:PORT]] [-- CLIENT FLAGS]

  CONNECTIONS    of each replica
  REPLICAS       containers, each with an address of its own; with --local, processes
  SERVER_IP      the server; port 8000 if none is given
                 [default: this machine: the bridge's gateway, as a rule 172.17.0.1; with --local 127.0.0.1]
  CLIENT FLAGS   of `client run --help`, for each replica: with 10 of them, --rate 100 is 1,000 messages per second;
                 --json FILE and --hdr FILE are for the one result
  --local        no containers: where there is no Docker

  ./setup.sh 10000 10                                         100,000 connections to a stage on this machine
  ./setup.sh 10000 10 -- --scenario idle --duration 10m       held for ten minutes, or until ./destroy.sh
  ./setup.sh --local 5000 4 127.0.0.1:9000 -- --rate 500 --json all.json

The first run builds the client and its image. Ctrl-C, or ./destroy.sh from elsewhere, ends the load, and what was
measured until then is reported; a second Ctrl-C reports nothing. Neither leaves anything behind.
In the environment, CLIENT=FILE is the client to use with --local, if it is not to be built.
Exit status: 0 if all went well for every replica, 1 if anything failed, 2 if an argument is wrong.
USAGE
}

# A line for whoever reads it: where nobody does, the load goes on.
tell() { printf '%s\n' "$*" >&2 2>/dev/null || true; }
fail() {
    tell "setup.sh: $2"
    exit "$1"
}
refuse() { fail 2 "$1; see ./setup.sh --help"; }

# What Linux gives an address to connect from, once the range is as wide as it may be without privileged ports.
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
            -*) refuse "there is no flag '$1' (the client's stand behind --)" ;;
            *) words+=("$1") ;;
        esac
        shift
    done
    ((${#words[@]} >= 2 && ${#words[@]} <= 3)) ||
        refuse "CONNECTIONS and REPLICAS are needed, and perhaps SERVER_IP; got ${#words[@]} arguments"
    connections=$(whole CONNECTIONS "${words[0]}" 10000000) || exit
    # A bridge has no more than 1,023 ports.
    replicas=$(whole REPLICAS "${words[1]}" 1000) || exit
    total=$((connections * replicas))
    $is_local || ((connections <= PORTS_MOST)) ||
        refuse "CONNECTIONS $connections: a container has one address, and that has $PORTS_MOST ports; ask for more REPLICAS"
    server=${words[2]-}
    [[ -z $server ]] || is_address "$server" ||
        refuse "SERVER_IP '$server' is not an IPv4 address such as 192.0.2.1 or 192.0.2.1:8000"
}

# Checks that $2, which is called $1, is a whole number from 1 to $3, and prints it without what may stand between digits.
whole() {
    local digits=${2//[_,]/}
    if ! [[ $digits =~ ^[0-9]{1,9}$ ]] || ((10#$digits < 1 || 10#$digits > $3)); then
        refuse "$1 '$2' is not a whole number from 1 to $3"
    fi
    echo $((10#$digits))
}

is_address() {
    local octet
    [[ $1 =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})(:([0-9]{1,5}))?$ ]] || return
    for octet in "${BASH_REMATCH[@]:1:4}"; do ((10#$octet <= 255)) || return; done
    [[ -z ${BASH_REMATCH[5]} ]] || ((10#${BASH_REMATCH[6]} >= 1 && 10#${BASH_REMATCH[6]} <= 65535))
}

parse_client_flags() {
    while (($#)); do
        case $1 in
            --json | --hdr)
                (($# >= 2)) || refuse "$1 needs a FILE"
                merge_flags+=("$1" "$2") files+=("$2") && shift ;;
            --json=* | --hdr=*) merge_flags+=("$1") files+=("${1#*=}") ;;
            --url | --url=* | --connections | --connections=* | --start-at | --start-at=* | --quiet)
                refuse "'$1' is set for each replica by this script" ;;
            --pid | --pid=* | --metrics-url | --metrics-url=*)
                refuse "'$1' is for a client that loads its server alone: here each would count what all cost" ;;
            *) client_flags+=("$1") ;;
        esac
        shift
    done
}

# Better now than when the load is over.
check_files() {
    local file directory
    for file in "${files[@]}"; do
        [[ $file != - ]] || continue
        directory=$(dirname -- "$file")
        [[ -d $directory ]] || fail 1 "cannot write $file: there is no directory $directory"
        [[ ! -d $file ]] || fail 1 "cannot write $file: it is a directory"
        if [[ -e $file ]]; then [[ -w $file ]]; else [[ -w $directory ]]; fi || fail 1 "cannot write $file: permission denied"
    done
}

# Sets `client`, a program of this machine, and makes the image.
build() {
    local target=${CARGO_TARGET_DIR:-$root/target}
    if $is_local && [[ -n ${CLIENT-} ]]; then
        client=$CLIENT
        [[ -x $client ]] || fail 1 "CLIENT '$client' is no program"
    elif $is_local; then
        command -v cargo >/dev/null || fail 1 "no cargo here: install Rust (https://rustup.rs), or give CLIENT=FILE"
        cargo build --manifest-path "$root/Cargo.toml" --quiet --release --locked --package client ||
            fail 1 "the client was not built: see above"
        client=$target/release/client
    else
        "$root/deploy/docker/build.sh" client >/dev/null || fail 1 "there is no image of the client: see above"
        client=$target/image/client/client
    fi
    "$client" run "${client_flags[@]}" --help >/dev/null 2>"$results/flags" ||
        fail 2 "$(sed 's/^client: //; s/client --help/client run --help/; q' "$results/flags")"
}

find_server() {
    local host gateway route
    if [[ -z $server ]] && $is_local; then
        server=127.0.0.1
    elif ! $is_local && ! docker version >/dev/null 2>&1; then
        fail 1 "no Docker engine answers ('docker version' says why): start it, or do without: ./setup.sh --local"
    elif [[ -z $server ]]; then
        gateway=$(docker network inspect bridge --format '{{range .IPAM.Config}}{{.Gateway}}{{end}}' 2>/dev/null || true)
        server=${gateway:-172.17.0.1}
    fi
    [[ $server == *:* ]] || server=$server:8000
    host=${server%:*}
    # `local 172.17.0.1 dev lo …`, or `172.17.0.2 dev docker0 …`, or `192.0.2.1 via …`
    route=$(ip -o route get "$host" 2>/dev/null || true)
    is_here=false
    if [[ $host == 127.* || $route == local* || $route == *" dev docker0 "* ]]; then is_here=true; fi
}

# One address has one range of ports to connect from.
check_ports() {
    local first last ports
    read -r first last </proc/sys/net/ipv4/ip_local_port_range
    ports=$((last - first + 1))
    if ! $is_local && ! $is_here && ((total > PORTS_MOST)); then
        refuse "$total connections leave this machine through one address, of $PORTS_MOST ports: use more machines"
    elif $is_local && [[ $server != 127.* && " ${client_flags[*]-}" != *" --source-ip"* ]] && ((total > ports)); then
        refuse "$total connections from one address, of $ports ports (ip_local_port_range): give more, -- --source-ip A,B"
    fi
}

# Has `client doctor` say which limits are too low for any server, and how to mend them. The ports are checked above.
examine() {
    local fits=true report wanting
    report=$("$client" doctor --stage 4 --connections "$total") || fits=false
    wanting=$(awk '/ (SHORT|note)$/ { show = 1 } / ok$/ || /^$/ || /ip_local_port_range/ { show = 0 } show' <<<"$report")
    [[ -z $wanting ]] || tell "client doctor, of $total connections:"$'\n'"$wanting"
    $fits || ! $is_here ||
        fail 1 "this machine does not hold $total connections: mend what is SHORT above, or ask for fewer"
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
    # A container takes its time.
    $is_local || lead_s=$((3 + replicas))
    start_s=$((EPOCHSECONDS + lead_s))
    load=("${client_flags[@]}" --url "ws://$server/echo" --connections "$connections" --json -
        --start-at "$(date -u -d "@$start_s" +%Y-%m-%dT%H:%M:%SZ)")
    tell "run $run: $replicas replicas, $connections connections each, to ws://$server/echo; './destroy.sh $run' ends it"
    for ((number = 1; number <= replicas; number++)); do $stopping || start_replica "$number"; done
}

# Prints how many replicas have left the first phase, the connections and failures of all, and the phase of the last to
# get there: from the latest line of each, such as `connecting: 1,234 of 10,000 connections, 567 connects/s, 8 failed`,
# and, of those that are done, from their results.
look() {
    awk '
        BEGIN { for (i = 1; i < ARGC; i++) names[name(ARGV[i])] }
        { replica = name(FILENAME) }
        FILENAME ~ /\.log$/ && match($0, /^[a-z]+: [0-9,]+ (of [0-9,]+ )?connections/) {
            phase[replica] = $1; held[replica] = number($2)
            failed[replica] = match($0, /[0-9,]+ failed/) ? number(substr($0, RSTART)) : 0
        }
        FILENAME ~ /\.json$/ && match($0, /"connected": *[0-9]+/) && !(replica in done) {
            done[replica]; held[replica] = number(substr($0, RSTART + length("\"connected\":")))
        }
        function name(file) { sub(/\.[a-z]*$/, "", file); return file }
        function number(text) { gsub(/,/, "", text); return text + 0 }
        END {
            slowest = "done:"
            for (replica in names) {
                connections += held[replica]; failures += failed[replica]
                if (replica in done || (replica in phase && phase[replica] != "connecting:")) ready++
                if (replica in done || slowest == "connecting:") continue
                slowest = replica in phase ? phase[replica] : "connecting:"
            }
            print ready + 0, connections + 0, failures + 0, slowest
        }' "$results"/*.log "$results"/*.json
}

# Shows a line: in the place of the one before on a terminal; elsewhere every three seconds.
show() {
    if [[ -t 2 ]]; then
        printf '\r%s\e[K' "$1" >&2 2>/dev/null || true
    elif ((SECONDS >= next_line_s)); then
        next_line_s=$((SECONDS + 3))
        tell "$1"
    fi
}

# A line that stays.
say() { if [[ -t 2 ]]; then tell $'\r'"$1"$'\e[K'; else tell "$1"; fi; }

# Prints the number of the first replica that has ended and left no result, if there is one.
dead_replica() {
    local number
    for number in "${!pids[@]}"; do
        kill -0 "${pids[$number]}" 2>/dev/null || [[ -s $results/$number.json ]] || { echo "$number" && return; }
    done
}

# Sets `running`, to how many replicas run. No process is started for it, which Ctrl-C would end as well.
count_running() {
    local pid
    running=0
    for pid in "${pids[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then running=$((running + 1)); fi
    done
}

# Waits until all have ended. Where one dies before all are connected, all are ended.
watch() {
    local seen ready held failed phase running all_connected=false dead text after_s next_line_s=0
    while count_running && ((running > 0)); do
        # What Ctrl-C ends here is not to end this script; nor is what it ends below.
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
            say "replica $dead has ended without a result: so the others are ended too"
            stop
        fi
        sleep 0.5 || true
    done
    [[ ! -t 2 ]] || printf '\r\e[K' >&2 2>/dev/null || true
}

# Ends the load; the clients report what they have.
stop() {
    stopping=true
    kill -TERM "${pids[@]}" 2>/dev/null || true
}

# The first signal ends the load, a second one all of it.
interrupt() { if $stopping; then exit 130; else stop; fi; }

clean_up() {
    trap '' INT TERM
    local containers
    ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
    if ! $is_local && ((${#pids[@]})); then
        containers=$(docker ps --all --quiet --filter "label=million-websockets=$run" 2>/dev/null || true)
        # Those that are on their way out already are not there to be removed.
        [[ -z $containers ]] || xargs docker rm --force <<<"$containers" >/dev/null 2>&1 || true
    fi
    $keep_results || rm -rf "$results"
}

# Merges what there is, and says which replicas have left nothing.
report() {
    local number ended status=0 late found=() lost=0 file
    for number in "${!pids[@]}"; do
        if [[ -s $results/$number.json ]]; then
            found+=("$results/$number.json")
        elif ((++lost == 1)); then
            wait "${pids[$number]}" && ended=0 || ended=$?
            tell "setup.sh: replica $number has ended with status $ended: $(tail -n 1 "$results/$number.log")"
        fi
    done
    late=$({ grep -l 'late for --start-at' "$results"/*.log || true; } | wc -l)
    ((late == 0)) || tell "setup.sh: $late of $replicas replicas began late: this machine is slow to start them"
    ((${#found[@]} == 0)) || LC_ALL=$users_locale "$client" merge "${merge_flags[@]}" "${found[@]}" || status=$?
    for file in "${files[@]}"; do
        [[ $file == - || ! -f $results/flags || $file -nt $results/flags || (-e $file && ! -f $file) ]] || keep_results=true
    done
    ! $keep_results || tell "setup.sh: what each replica has measured is kept in $results"
    if ((lost)); then fail 1 "$lost of $replicas replicas left no result"; fi
    return "$status"
}

main() {
    # Whoever has stopped reading is not to end the load (SIGPIPE).
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
