//! Each class of failure is detected and counted.

use super::server::{answer_raw, echo, echo_first, ignore, nth, refuse, reset, serve, serve_websocket};
use super::*;
use common::frame::{Header, MAX_HEADER_LEN, Opcode};
use std::net::{SocketAddr, TcpListener};
use tungstenite::protocol::CloseFrame;

/// Runs the connect phase of a fleet of `connections`.
pub fn connecting(address: SocketAddr, connections: u64) -> ConnectPhase {
    let mut config = config(address, connections);
    config.connect_timeout = milliseconds(200);
    Fleet::start(config).expect("start").connect_to(connections, None, &mut |_| {}).expect("connect")
}

/// Asserts that `failures` are `count` of `class` and nothing else.
#[track_caller]
pub fn assert_only(failures: &Failures, class: Class, count: u64) {
    assert_eq!(failures.classes().collect::<Vec<_>>(), [(class, count)], "{failures:?}");
    assert!(failures.first.is_some());
}

/// The bytes of a frame.
pub fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; MAX_HEADER_LEN];
    let len = header.write(&mut head);
    [&head[..len], payload].concat()
}

#[test]
fn handshakes_that_fail() {
    let full =
        serve(|_, stream| refuse(stream, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n"));
    assert_only(&connecting(full, 6).failures, Class::Rejected503, 6);
    let plain = serve(|_, stream| refuse(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_only(&connecting(plain, 6).failures, Class::BadHandshake, 6);
    let silent = serve(|_, stream| ignore(stream));
    assert_only(&connecting(silent, 6).failures, Class::Timeout, 6);
    let cut = serve(|_, stream| reset(stream));
    assert_only(&connecting(cut, 6).failures, Class::Reset, 6);
}

#[test]
fn an_address_without_a_listener_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    assert_only(&connecting(address, 6).failures, Class::Refused, 6);
    // The most that two shards can have.
    let many = (2 * connections_per_shard().expect("a limit")).min(10_000);
    let phase = connecting(address, many);
    assert_eq!((phase.connected, phase.failures.refused), (0, phase.failures.total()));
    assert!(
        phase.failures.refused < many.min(2_000),
        "not all attempts are made: {}",
        phase.failures.refused
    );
    assert!(phase.ended_early.is_some_and(|why| why.contains("refused")));
}

#[test]
fn a_full_server_keeps_its_connections() {
    let address = serve(|number, stream| match number {
        0..5 => echo(tungstenite::accept(stream).expect("handshake"), |_| {}),
        _ => refuse(stream, "HTTP/1.1 503 Service Unavailable\r\n\r\n"),
    });
    let mut fleet = Fleet::start(config(address, 12)).expect("start");
    let phase = fleet.connect_to(12, None, &mut |_| {}).expect("connect");
    assert_eq!((phase.connected, phase.failures.rejected_503), (5, 7), "{phase:?}");
    assert_eq!(fleet.echo_once(&mut |_| {}).expect("echo").echoes, 5);
}

#[test]
fn echoes_that_are_wrong() {
    type Answer = fn(Vec<u8>) -> Vec<u8>;
    let answers: [(&str, Answer); 6] = [
        ("another byte", |mut payload| {
            payload[31] ^= 1;
            frame(Header::server(Opcode::Binary, 32), &payload)
        }),
        ("another opcode", |payload| frame(Header::server(Opcode::Text, 32), &payload)),
        ("shorter", |payload| frame(Header::server(Opcode::Binary, 31), &payload[1..])),
        ("masked", |payload| {
            frame(Header { mask: Some([0; 4]), ..Header::server(Opcode::Binary, 32) }, &payload)
        }),
        ("reserved bits", |mut payload| {
            payload.splice(0..0, [0xf2, 32]);
            payload
        }),
        ("the same twice", |payload| frame(Header::server(Opcode::Binary, 32), &payload).repeat(2)),
    ];
    for (name, answer) in answers {
        let address = serve_websocket(move |_, socket| answer_raw(socket, answer));
        let mut fleet = connected(config(address, 4));
        let phase = fleet.echo_once(&mut |_| {}).expect("echo");
        // A second echo may arrive after the phase: the next phase reports it.
        let mut failures = phase.failures;
        failures.merge(&fleet.hold(milliseconds(300), &mut |_| {}).expect("hold").failures);
        assert_only(&failures, Class::WrongEcho, 4);
        assert_eq!(phase.missing, if name == "the same twice" { 0 } else { 4 }, "{name}");
    }
}

#[test]
fn missing_echoes() {
    let address = serve_websocket(|number, mut socket| match number % 2 {
        0 => echo(socket, |_| {}),
        _ => ignore(socket.get_mut().try_clone().expect("clone")),
    });
    let mut config = config(address, 6);
    config.message_timeout = milliseconds(200);
    let mut fleet = connected(config);
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.sent, phase.missing), (6, 6 - phase.echoes), "{phase:?}");
    assert_only(&phase.failures, Class::Timeout, phase.missing);
}

#[test]
fn connections_lost_during_a_phase() {
    let cut = serve_websocket(|_, socket| {
        if let Some(mut socket) = echo_first(3, socket) {
            rustix::net::sockopt::set_socket_linger(socket.get_mut(), Some(Duration::ZERO)).expect("linger");
        }
    });
    let going = serve_websocket(|_, socket| {
        if let Some(mut socket) = echo_first(3, socket) {
            let _ = socket.close(Some(CloseFrame { code: 1001.into(), reason: "".into() }));
            while socket.read().is_ok() {}
        }
    });
    for (address, class) in [(cut, Class::Reset), (going, Class::Closed)] {
        let mut fleet = connected(config(address, 6));
        let began = Instant::now();
        let hour = Duration::from_secs(3_600);
        let phase = fleet.closed_loop(6, Duration::ZERO, hour, &mut |_| {}).expect("closed loop");
        assert!(began.elapsed() < Duration::from_secs(60), "a dead server ends the phase");
        assert_only(&phase.failures, class, 6);
        assert_eq!(phase.echoes, 18);
        assert!(phase.ended_early.is_some_and(|why| why.contains("all of 6 connections were lost")));
        let phase = fleet.open_loop(6, 100.0, Duration::ZERO, hour, &mut |_| {}).expect("open loop");
        assert_eq!((phase.active, phase.echoes), (0, 0));
        assert_eq!(fleet.hold(hour, &mut |_| {}).expect("hold").held, 0);
    }
}

#[test]
fn the_other_connections_go_on_when_some_are_lost() {
    let address = serve_websocket(|number, socket| match number % 3 {
        0 => drop(echo_first(1, socket)),
        _ => echo(socket, |_| {}),
    });
    let mut fleet = connected(config(address, 30));
    let first = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((first.echoes, first.missing), (30, 0), "{first:?}");
    let held = fleet.hold(milliseconds(300), &mut |_| {}).expect("hold");
    assert_eq!(held.held, 20, "{held:?}");
    assert_eq!(first.failures.reset + held.failures.reset, 10);
    let phase =
        fleet.open_loop(30, 1_000.0, Duration::ZERO, milliseconds(200), &mut |_| {}).expect("open loop");
    assert_eq!((phase.active, phase.echoes, phase.failures.total()), (20, 200, 0), "{phase:?}");
    let close = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!((close.closed, close.forced), (20, 0));
}

#[test]
fn responses_in_pieces_are_reassembled() {
    use std::io::Write;
    let address = serve_websocket(|_, mut socket| {
        socket.get_mut().set_nodelay(true).expect("nodelay");
        while let Ok(message) = socket.read() {
            if !message.is_binary() {
                continue;
            }
            let ping = frame(Header::server(Opcode::Ping, 3), b"abc");
            let echo = frame(Header::server(Opcode::Binary, message.len()), &message.into_data());
            for byte in [ping, echo].concat() {
                if socket.get_mut().write_all(&[byte]).is_err() {
                    return;
                }
                thread::yield_now();
            }
        }
    });
    let mut config = config(address, 3);
    config.payload_len = 300;
    let mut fleet = connected(config);
    for _ in 0..3 {
        let phase = fleet.echo_once(&mut |_| {}).expect("echo");
        assert_eq!((phase.echoes, phase.failures.total()), (3, 0), "{phase:?}");
    }
}

#[test]
fn a_connection_that_the_server_does_not_close_is_reset() {
    let silent = serve_websocket(|_, mut socket| {
        let stream = socket.get_mut().try_clone().expect("clone");
        ignore(stream);
    });
    let mut config = config(silent, 5);
    config.message_timeout = milliseconds(200);
    let mut fleet = connected(config);
    let phase = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!((phase.closed, phase.forced), (0, 5), "{phase:?}");
    assert_only(&phase.failures, Class::Timeout, 5);
    assert!(phase.failures.advice(Class::Timeout).contains("does not answer Close frames"));
    assert!(phase.elapsed >= milliseconds(200), "the timeout is included: {:?}", phase.elapsed);
}

#[test]
fn a_server_that_dies_under_load_keeps_the_results_so_far() {
    let last = nth(500);
    let die = std::sync::Arc::new(AtomicBool::new(false));
    let address = serve_websocket(move |_, socket| {
        let (die, mut socket) = (die.clone(), socket);
        while let Ok(message) = socket.read() {
            if last() {
                die.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            if die.load(std::sync::atomic::Ordering::Relaxed) || socket.send(message).is_err() {
                return reset(socket.get_mut().try_clone().expect("clone"));
            }
        }
    });
    let mut fleet = connected(config(address, 10));
    let hour = Duration::from_secs(3_600);
    let phase = fleet.closed_loop(10, Duration::ZERO, hour, &mut |_| {}).expect("closed loop");
    assert!((490..500).contains(&phase.echoes), "{phase:?}");
    assert_eq!((phase.failures.total(), phase.missing), (10, phase.sent - phase.echoes));
    // It closes connections, but still listens.
    assert!(phase.ended_early.is_some_and(|why| why.starts_with("all of 10 connections were lost")));
}

#[test]
fn an_open_loop_above_the_possible_rate_ends_and_counts_what_is_missing() {
    let address = serve_websocket(|_, socket| echo(socket, |_| {}));
    let mut config = config(address, 2);
    config.message_timeout = milliseconds(100);
    let mut fleet = connected(config);
    let phase = fleet.open_loop(2, 1e8, Duration::ZERO, milliseconds(100), &mut |_| {}).expect("open loop");
    assert_eq!(phase.echoes + phase.missing, 10_000_000, "{phase:?}");
    assert!(phase.late > 0 && phase.sent >= phase.echoes, "{phase:?}");
    assert!(phase.failures.timeout > 0);
}

#[test]
fn what_a_server_sends_instead_of_an_echo_is_described() {
    let text = |_| frame(Header::server(Opcode::Text, 32), &[b'a'; 32]);
    let closing = |_| frame(Header::server(Opcode::Close, 13), b"\x03\xf0no\x1b[2Jcats!");
    type Answer = fn(Vec<u8>) -> Vec<u8>;
    let answers: [(Answer, &str); 2] = [
        (text, "an echo is a text message instead of a binary one: a text frame of 32 bytes"),
        (closing, "the server closed a connection with code 1008, reason 'no\\u{1b}[2Jcats!'"),
    ];
    for (answer, words) in answers {
        let mut fleet = connected(config(serve_websocket(move |_, socket| answer_raw(socket, answer)), 2));
        let hour = Duration::from_secs(3_600);
        let phase = fleet.closed_loop(2, Duration::ZERO, hour, &mut |_| {}).expect("closed loop");
        assert_eq!(phase.failures.first.as_deref(), Some(words));
        // The server is up: this end dropped the connections.
        assert_eq!(phase.ended_early, Some(format!("all of 2 connections were lost ({words})")));
    }
}
