//! The process environment: unwritable logs and stdout, SIGHUP, empty variables, two servers that start at once.

use crate::frame::Frame;
use crate::http::Request;
use crate::server::{Binary, Finished, Server, Setup};
use crate::sink::Sink;
use crate::wait::{self, MAX_DELAY};
use crate::wire::Peer;
use rustix::process::Signal;
use std::thread;
use std::time::Instant;

/// Expects a handshake to be rejected with 503.
#[track_caller]
fn is_rejected(server: &Server) {
    let mut peer = Peer::open(server.addr);
    peer.send(&Request::handshake("/echo").bytes());
    assert_eq!(peer.plain_response().status, 503);
}

/// Rejected connections, which the server logs at most once per second, do not disturb an open connection.
/// Then SIGTERM drains the server.
#[track_caller]
fn serves_and_drains(mut server: Server) {
    let mut honest = Peer::connect(server.addr);
    for _ in 0..8 {
        is_rejected(&server);
        honest.round_trip(&Frame::text("in the meantime"));
    }
    let start = Instant::now();
    server.signal(Signal::TERM);
    honest.expect_close_frame(&[1001]);
    honest.send_frame(&Frame::close(1001, ""));
    honest.expect_fin();
    drop(honest);
    let status = server.exit();
    assert_eq!(status.code(), Some(0), "exit status; got: {status}");
    let took = start.elapsed();
    assert!(took < 2 * MAX_DELAY, "expected: an exit within {:?}; got: after {took:?}", 2 * MAX_DELAY);
}

/// Log lines that cannot be written are lost and counted, with no other effect.
pub(crate) fn unwritable_log(binary: &Binary) {
    for stderr in Sink::HOSTILE {
        let flags = &["--max-connections", "1", "--shards", "2", "--log", "trace"];
        let server = binary.serve_with(Setup { flags, stderr, ..Setup::default() });
        let mut honest = Peer::connect(server.addr);
        is_rejected(&server);
        honest.round_trip(&Frame::text("admitted"));
        honest.close();
        server.metrics_agree(&[("ws_connections_active", 0)]);
        if [Sink::BrokenPipe, Sink::Full].contains(&stderr) {
            wait::until("lost lines are counted", || match server.metrics().sum("ws_log_lines_lost_total") {
                0.0 => Err(format!("0 lost, with stderr {stderr:?}")),
                _ => Ok(()),
            });
        }
        serves_and_drains(server);
    }
}

/// The log's queue is bounded: with a stalled reader, lines that do not fit are lost and counted.
pub(crate) fn stalled_log_reader(binary: &Binary) {
    let flags = &["--shards", "1", "--log", "trace", "--max-connections", "1"];
    let server = binary.serve_with(Setup { flags, stderr: Sink::Stalled, ..Setup::default() });
    wait::until("lines are lost", || {
        // At this level the admin server logs input that is not HTTP.
        for _ in 0..100 {
            Peer::open(server.admin).send(b"nonsense\r\n\r\n");
        }
        match server.metrics().sum("ws_log_lines_lost_total") {
            0.0 => Err("none".to_string()),
            _ => Ok(()),
        }
    });
    serves_and_drains(server);
}

/// The server starts and serves even if its ready line cannot be written.
pub(crate) fn unwritable_output(binary: &Binary) {
    thread::scope(|scope| {
        for sink in Sink::HOSTILE {
            let flags = &["--max-connections", "1"];
            let setup = Setup { flags, stdout: sink, stderr: sink, ..Setup::default() };
            scope.spawn(move || serves_and_drains(binary.serve_without_output(setup)));
        }
    });
}

/// A command line that ends by itself exits with the same status if its output cannot be written.
pub(crate) fn exit_status_does_not_depend_on_output(binary: &Binary) {
    let server = binary.serve(&[]);
    let (addr, admin) = (server.addr.to_string(), server.admin.to_string());
    let command_lines = [
        (&["--no-such-flag"] as &[&str], 2),
        (&["--ping-interval", "1ns"], 2),
        (&["--addr", &addr], 1),
        (&["--healthcheck", "--admin-addr", &admin], 0),
        (&["--version"], 0),
    ];
    thread::scope(|scope| {
        for sink in Sink::HOSTILE {
            scope.spawn(move || {
                for (flags, code) in command_lines {
                    // Requested output blocks until it is read, as in `--version | less`.
                    if flags == ["--version"] && [Sink::Stalled, Sink::WouldBlock].contains(&sink) {
                        continue;
                    }
                    let setup = Setup { flags, stdout: sink, stderr: sink, ..Setup::default() };
                    let Finished { code: got, .. } = binary.run(setup);
                    assert_eq!(got, Some(code), "{flags:?} with stdout and stderr {sink:?}");
                }
            });
        }
    });
}

/// Of two servers that start at the same moment on one address, one serves and the other reports the error.
pub(crate) fn two_servers_at_once(binary: &Binary) {
    for _ in 0..20 {
        let (server, Finished { code, stderr, .. }) = binary.serve_two_at_once(&["--shards", "2"]);
        let addr = server.addr.to_string();
        let last = stderr.lines().last().unwrap_or_default();
        assert!(
            code == Some(1) && last.contains(&addr),
            "expected: status 1, and a line with {addr}; got: {code:?}, {stderr}"
        );
        Peer::connect(server.addr).round_trip(&Frame::text("bound first"));
    }
}

/// SIGHUP, from a closing terminal, drains the server, and a second SIGHUP changes nothing. Under nohup(1) the signal
/// is ignored.
pub(crate) fn hangup(binary: &Binary) {
    let serve = |on_signal| {
        let flags = &["--drain-timeout", "60s"];
        binary.serve_with(Setup { flags, on_signal: Some(on_signal), ..Setup::default() })
    };
    let mut server = serve("--default-signal=HUP");
    let mut peer = Peer::connect(server.addr);
    server.signal(Signal::HUP);
    peer.expect_close_frame(&[1001]);
    server.signal(Signal::HUP);
    peer.send_frame(&Frame::close(1001, ""));
    peer.expect_fin();
    drop(peer);
    assert_eq!(server.exit().code(), Some(0));
    let mut server = serve("--ignore-signal=HUP");
    let mut peer = Peer::connect(server.addr);
    server.signal(Signal::HUP);
    peer.round_trip(&Frame::text("ignored"));
    server.signal(Signal::TERM);
    peer.expect_close_frame(&[1001]);
    drop(peer);
    assert_eq!(server.exit().code(), Some(0));
}

/// An empty variable (`WS_X: ${X:-}` in a compose file) counts as unset, for every flag.
pub(crate) fn empty_variables(binary: &Binary) {
    let help = binary.run(Setup { flags: &["--help"], ..Setup::default() }).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let names: Vec<&str> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split(['=', ']']).next())
        // The suite sets the addresses by flags.
        .filter(|name| !name.contains("ADDR"))
        .collect();
    assert!(names.len() >= 13 && names.contains(&"WS_LOG"), "got: {names:?}");
    let env: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    let server = binary.serve_with(Setup { env: &env, ..Setup::default() });
    let plain = binary.serve(&[]);
    let shards = |server: &Server| server.ready_line.split(", ").skip(2).collect::<Vec<_>>().join(", ");
    assert_eq!(shards(&server), shards(&plain));
    let limit = |server: &Server| server.metrics().sum("ws_connections_limit");
    assert_eq!(limit(&server), limit(&plain));
    Peer::connect(server.addr).round_trip(&Frame::text("as by default"));
    wait::until("the default log level", || match server.output() {
        [_, log] if log.contains(" INFO ") => Ok(()),
        [_, log] => Err(log),
    });
}
