//! What `--help` adds to the flags: headings and examples.

use clap::Command;

/// Headings, and the flags under each, of all subcommands.
const HEADINGS: [(&str, &[&str]); 6] = [
    (
        "Server",
        &[
            "url",
            "pid",
            "metrics_url",
            "stage",
            "stages",
            "peers",
            "target",
            "target_path",
            "proxy",
            "no_build",
            "server_flags",
        ],
    ),
    ("Handshake", &["header", "subprotocol", "origin"]),
    ("TLS", &["ca", "insecure", "cert", "key", "tls_resume"]),
    (
        "Connections",
        &[
            "connections",
            "connect_rate",
            "connect_ramp",
            "connect_timeout",
            "hold",
            "source_ip",
            "shards",
            "pin",
            "levels",
            "reconnect",
        ],
    ),
    (
        "Load",
        &[
            "scenario",
            "active",
            "payload",
            "payload_file",
            "text",
            "verify",
            "expect",
            "in_flight",
            "rate",
            "ramp",
            "p99",
            "from_rate",
            "step_time",
            "duration",
            "warmup",
            "message_timeout",
            "start_at",
            "quick",
            "rounds",
            "workload",
            "open_rate",
            "raw",
        ],
    ),
    ("Output", &["json", "hdr", "csv", "out", "from", "quiet", "metrics_addr"]),
];

/// Examples for each subcommand.
const EXAMPLES: [(&str, &str); 11] = [
    (
        "run",
        "  client run --connections 10000 --active 500      closed loop
  client run --connections 10000 --rate 20000      open loop, 20,000 messages/s
  client run --connections 10000 --ramp 0..20000/60s --csv seconds.csv     a rate that rises
  client run --connections 10 --in-flight 64       closed loop, 64 messages in flight per connection
  client run --connections 10000 --scenario idle --duration 1m --pid \"$(pidof stage4-zero-buffer)\"
  client run --url ws://echo.example:8000/echo     any server; all addresses of its name
  client run --url wss://echo.example/echo --ca ca.pem
  client run --url ws://10.0.0.2:8000/ --header 'Authorization: Bearer x' --subprotocol chat
  client run --url ws://10.0.0.2:8000/chat --text --expect greeting --verify any
  client run --url ws://10.0.0.2:8000/echo --source-ip 10.0.0.3,10.0.0.4 --json result.json
  client run --url ws://echo.example/ --proxy http://10.0.0.1:3128 --source-ip eth0",
    ),
    (
        "merge",
        "  client merge a.json b.json
  client merge clients/*.json --json all.json --hdr all.hdr",
    ),
    (
        "find",
        "  client find --p99 50ms                           1,000 connections, from 1,000 messages/s
  client find --url ws://echo.example:8000/echo --p99 20ms --connections 10000 --active 500
  client find --p99 50ms --from 20000 --pid \"$(pidof stage4-zero-buffer)\" --json find.json",
    ),
    (
        "report",
        "  client report result.json
  client report before=a.json after=b.json find.json --out report/load",
    ),
    (
        "compare",
        "  client compare                                   under 4 minutes on 2 cores, once built
  client compare --quick                           under 40 seconds, rougher figures
  client compare --stages 4 --peers                with peers: servers on other crates
  client compare --stages 4 --target 'gorilla=/opt/gorilla-echo -port {port}' --target-path /ws
  client compare --workload 1KiB,64x32B            these workloads only
  client compare --from report/results.json --out report",
    ),
    (
        "race",
        "  client race 2 4 --connections 10000 --active 500
  client race 3 4 --rate 20000 --json race.json
  client race 4 'gorilla=/opt/gorilla-echo -port {port}' --target-path /ws
  client race ws://127.0.0.1:8000/echo ws://127.0.0.1:9000/echo",
    ),
    (
        "million",
        "  client million                                   stage 4, about four minutes
  client million --raw                             with the floor, which the kernel alone sets
  client million --stage 1,2,3,4 --connections 100000
  client million -- --ping-interval 30s            flags for the server after --",
    ),
    (
        "doctor",
        "  client doctor                                    for a million connections
  client doctor --connections 10000 --wss          through HAProxy with TLS
  client doctor --connections 100000 --stage 1 --json",
    ),
    (
        "anatomy",
        "  client anatomy --pid \"$(pidof stage4-zero-buffer)\"
  client anatomy --pid \"$(pidof stage2-task-per-conn)\" --connections 1000 --json anatomy.json",
    ),
    (
        "completions",
        "  client completions bash > ~/.local/share/bash-completion/completions/client
  client completions zsh > \"${fpath[1]}/_client\"
  client completions fish > ~/.config/fish/completions/client.fish",
    ),
    ("man", "  client man ~/.local/share/man/man1 && man client-run"),
];

/// The command line with headings and examples.
pub fn dress(command: Command) -> Command {
    command.mut_subcommands(|subcommand| {
        let name = subcommand.get_name().to_owned();
        let subcommand = common::config::with_headings(subcommand, &HEADINGS).next_line_help(true);
        match EXAMPLES.iter().find(|(of, _)| *of == name) {
            Some((_, examples)) => subcommand.after_help(format!("Examples:\n{examples}")),
            None => subcommand,
        }
    })
}
