//! The command line and the environment: valid and invalid values, exit statuses, and the ready line.

use crate::frame::Frame;
use crate::http::Request;
use crate::process;
use crate::server::{Binary, Finished, Setup};
use crate::wait;
use crate::wire::Peer;
use std::net::TcpListener;

/// Expects the server to exit with `code` and one line on stderr that contains `named`. Returns the difference.
fn fails(binary: &Binary, setup: Setup<'_>, code: i32, named: &str) -> Option<String> {
    let Finished { code: got, stdout, stderr } = binary.run(setup);
    let right = got == Some(code)
        && stdout.is_empty()
        && stderr.ends_with('\n')
        && stderr.lines().count() == 1
        && stderr.contains(named);
    let Setup { flags, env, .. } = setup;
    (!right).then(|| {
        format!(
            "{flags:?} {env:?}\n  expected: status {code}, nothing on stdout, one line with {named:?} on stderr\n  \
             got: status {got:?}, stdout {stdout:?}, stderr {stderr:?}\n"
        )
    })
}

#[track_caller]
fn none_of(wrong: impl Iterator<Item = Option<String>>) {
    let wrong: String = wrong.flatten().collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Exit status 2, the convention for an invalid command line.
pub(crate) fn bad_values(binary: &Binary) {
    let bad: &[&[&str]] = &[
        &["--addr", "nowhere"],
        &["--addr", "127.0.0.1"],
        &["--addr", "127.0.0.1:65536"],
        &["--addr", ""],
        &["--admin-addr", "127.0.0.1:http"],
        &["--max-connections", "many"],
        &["--max-connections=-1"],
        &["--max-connections", "0"],
        &["--shards", "two"],
        &["--shards", "0"],
        &["--backlog", "long"],
        &["--handshake-timeout", "soon"],
        &["--handshake-timeout", "10"],
        &["--idle-timeout", "5 parsecs"],
        &["--ping-interval=-1s"],
        &["--ping-interval", "1ns"],
        &["--ping-interval", "90days"],
        &["--idle-timeout", "9ms"],
        &["--idle-timeout", "1year"],
        &["--handshake-timeout", "0"],
        &["--handshake-timeout", "2h"],
        &["--drain-timeout", "2days"],
        &["--drain-timeout", "99999999999999999999s"],
        &["--subprotocol", "a b"],
        &["--subprotocol", "chat,"],
        &["--max-message-size", "huge"],
        &["--max-message-size=-1"],
        &["--max-message-size", "2GiB"],
        &["--shards", "4097"],
        &["--max-connections", "18446744073709551615"],
        &["--buffer-budget", "plenty"],
        &["--buffer-budget", "0"],
        &["--drain-timeout", "1h2"],
        &["--drain-rate", "0"],
        &["--drain-rate", "slow"],
        &["--metrics-on", "main"],
        &["--allow-origin", ""],
        &["--allow-origin", "example.com"],
        &["--allow-origin", "https://example.com/"],
        &["--allow-origin", "https://*.example.com"],
        &["--allow-origin", "https://example.com,https://user@example.com"],
        &["--log", "shouting"],
        &["--no-such-flag"],
        &["--shards"],
        &["stray"],
    ];
    none_of(bad.iter().map(|flags| {
        fails(binary, Setup { flags, ..Setup::default() }, 2, flags[0].split('=').next().unwrap_or_default())
    }));
}

pub(crate) fn bad_environment(binary: &Binary) {
    let bad = [
        ("WS_SHARDS", "two"),
        ("WS_MAX_CONNECTIONS", "0"),
        ("WS_IDLE_TIMEOUT", "soon"),
        ("WS_ALLOW_ORIGIN", "https://example.com/path"),
        ("WS_ADDR", "nowhere"),
    ];
    none_of(bad.into_iter().map(|variable| {
        let own_ports = variable.0 != "WS_ADDR";
        fails(binary, Setup { env: &[variable], own_ports, ..Setup::default() }, 2, "")
    }));
}

/// Exit status 1: the command line is valid, but the address cannot be bound.
pub(crate) fn port_in_use(binary: &Binary) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    none_of(["--addr", "--admin-addr"].into_iter().map(|flag| {
        let flags = &[flag, addr.as_str()];
        fails(binary, Setup { flags, ..Setup::default() }, 1, &addr)
    }));
}

/// With SO_REUSEPORT, which the shards of one server need, two servers could silently share a port's connections.
pub(crate) fn port_in_use_by_another_server(binary: &Binary) {
    let server = binary.serve(&[]);
    none_of([("--addr", server.addr), ("--admin-addr", server.admin)].into_iter().map(|(flag, addr)| {
        let addr = addr.to_string();
        fails(binary, Setup { flags: &[flag, &addr], ..Setup::default() }, 1, &addr)
    }));
    Peer::connect(server.addr).round_trip(&Frame::text("the first one has it"));
}

/// 192.0.2.0/24 is reserved for documentation (RFC 5737), so it is never a local address.
pub(crate) fn address_not_local(binary: &Binary) {
    none_of(["--addr", "--admin-addr"].into_iter().map(|flag| {
        fails(binary, Setup { flags: &[flag, "192.0.2.1:8000"], ..Setup::default() }, 1, "192.0.2.1:8000")
    }));
}

/// A new server can bind the port immediately, although connections of the previous server remain in TIME_WAIT.
pub(crate) fn port_is_free_again(binary: &Binary) {
    let server = binary.serve(&[]);
    let addr = server.addr.to_string();
    let peers = Peer::connect_many(server.addr, 10);
    drop(server);
    drop(peers);
    let server = binary.serve(&["--addr", &addr]);
    Peer::connect(server.addr).close();
}

pub(crate) fn help_and_version(binary: &Binary) {
    let help = binary.run(Setup { flags: &["--help"], ..Setup::default() });
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "--help");
    for flag in [
        "--addr",
        "--admin-addr",
        "--max-connections",
        "--shards",
        "--pin",
        "--backlog",
        "--handshake-timeout",
        "--idle-timeout",
        "--ping-interval",
        "--max-message-size",
        "--buffer-budget",
        "--drain-timeout",
        "--drain-rate",
        "--metrics-on",
        "--allow-origin",
        "--subprotocol",
        "--healthcheck",
        "--log",
        "WS_SHARDS",
    ] {
        assert!(help.stdout.contains(flag), "expected: {flag} in --help; got: {}", help.stdout);
    }
    let version = binary.run(Setup { flags: &["--version"], ..Setup::default() });
    assert_eq!((version.code, version.stderr.as_str()), (Some(0), ""), "--version");
    assert_eq!(version.stdout.lines().count(), 1, "--version, got: {:?}", version.stdout);
}

/// Defaults that the documentation states.
pub(crate) fn defaults(binary: &Binary) {
    let help = binary.run(Setup { flags: &["--help"], ..Setup::default() }).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in [
        ("--admin-addr", "127.0.0.1:8001"),
        ("--metrics-on", "both"),
        // Docker kills ten seconds after SIGTERM.
        ("--drain-timeout", "8s"),
        ("--drain-rate", "1000"),
    ] {
        let (_, after) = help.split_once(&format!("{flag} <")).unwrap_or_else(|| panic!("{flag} in {help}"));
        let stated = after.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
        assert_eq!(stated, Some(default), "the default of {flag}");
    }
}

/// More connections than the most shards hold under this descriptor limit: one line says what to lower.
pub(crate) fn impossible_capacity(binary: &Binary) {
    let flags = &["--shards", "2", "--max-connections", "1000000000"];
    none_of(
        [fails(binary, Setup { flags, nofile: Some(200), ..Setup::default() }, 1, "lower --max-connections")]
            .into_iter(),
    );
}

/// Flags from the environment. The command line takes precedence.
pub(crate) fn environment(binary: &Binary) {
    let env = &[("WS_MAX_CONNECTIONS", "1"), ("WS_SHARDS", "3"), ("WS_MAX_MESSAGE_SIZE", "1KiB")];
    let server = binary.serve_with(Setup { env, ..Setup::default() });
    server.metrics_agree(&[("ws_connections_limit", 1)]);
    assert!(server.ready_line.contains("3 shards"), "got: {}", server.ready_line);
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(&Frame::text(&"x".repeat(1025)));
    peer.expect_close(1009);
    let flags = &["--max-connections", "7"];
    let server = binary.serve_with(Setup { flags, env, ..Setup::default() });
    server.metrics_agree(&[("ws_connections_limit", 7)]);
}

/// Many flags at once, with the accepted notations of durations and sizes.
pub(crate) fn all_at_once(binary: &Binary) {
    let server = binary.serve(&[
        "--max-connections=50",
        "--shards=2",
        "--backlog=64",
        "--handshake-timeout=1m",
        "--idle-timeout=1h 30m",
        "--ping-interval=0",
        "--max-message-size=65536",
        "--drain-timeout=1500ms",
        "--log=debug",
    ]);
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text(&"x".repeat(65_536)));
    peer.close();
    let [stdout, _] = server.output();
    assert_eq!(stdout.lines().count(), 1, "expected: logs on stderr; got on stdout: {stdout}");
}

/// The shortest and the longest durations: nothing overflows, and active peers stay connected.
pub(crate) fn extreme_durations(binary: &Binary) {
    for flags in [
        ["--ping-interval=10ms", "--idle-timeout=30days", "--handshake-timeout=10ms", "--drain-timeout=1day"],
        ["--ping-interval=30days", "--idle-timeout=0", "--handshake-timeout=1h", "--drain-timeout=1day"],
    ] {
        let server = binary.serve(&flags);
        // On a busy machine a handshake can take longer than 10 ms.
        let mut peer = wait::until("a connection", || {
            let mut peer = Peer::open(server.addr);
            match peer.try_send(&Request::handshake("/echo").bytes()) {
                Ok(()) if peer.await_response() => {
                    peer.expect_upgrade();
                    Ok(peer)
                }
                _ => Err("closed before the response".to_string()),
            }
        });
        let message = Frame::text("at the edge");
        for _ in 0..10 {
            peer.send_frame(&message);
            peer.expect_echo_among_pings(&message);
        }
    }
}

/// `--pin`: each core has the same number of shards, pinned to it, and all shards serve.
pub(crate) fn pinned_shards(binary: &Binary) {
    let cores = process::cores();
    let shards = (2 * cores.len()).to_string();
    let server = binary.serve_with(Setup {
        flags: &["--shards", &shards],
        env: &[("WS_PIN", "1")],
        ..Setup::default()
    });
    let mut pinned: Vec<_> = process::cores_of(server.pid(), "shard-");
    pinned.sort();
    let expected: Vec<_> = cores.iter().flat_map(|core| [vec![*core], vec![*core]]).collect();
    assert_eq!(pinned, expected, "the cores of each shard: two shards per core");
    let mut peers = Peer::connect_many(server.addr, 50);
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("from one core or another")));
    if cores.len() > 1 {
        let odd = (cores.len() + 1).to_string();
        let setup = Setup { flags: &["--pin", "--shards", &odd], ..Setup::default() };
        none_of([fails(binary, setup, 1, "--pin")].into_iter());
    }
}

/// The ready line contains the name, the version and the addresses.
pub(crate) fn line_on_stdout(binary: &Binary) {
    let server = binary.serve(&[]);
    let version = binary.run(Setup { flags: &["--version"], ..Setup::default() }).stdout;
    let (name, addr, admin) = (version.trim(), server.addr, server.admin);
    let start = format!("{name}: ws://{addr}/echo, admin http://{admin}, ");
    let line = &server.ready_line;
    assert!(line.starts_with(&start) && line.ends_with(" connections"), "expected: {start}…\ngot: {line}");
    let file = binary.0.rsplit('/').next().expect("a file name");
    assert!(line.starts_with(file), "expected: the name {file}; got: {line}");
    assert_ne!((addr.port(), admin.port()), (0, 0));
}
