# Reads the logs and results of replicas, and prints the number past the first phase, the total connections and failures,
# and the phase of the slowest replica. Sources: the last line of each log, such as
# `connecting: 1,234 of 10,000 connections, 567 connects/s, 8 failed`, and the results of finished replicas.

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
}
