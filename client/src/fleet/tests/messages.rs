//! Fleets that send text, files and lengths in a range, against servers that greet, push, and reply otherwise.

use super::server::{ignore, serve_websocket};
use super::*;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tungstenite::{Message, WebSocket};

/// A server that greets each connection `greetings` times, and then echoes.
fn greeting(greetings: usize) -> SocketAddr {
    serve_websocket(move |number, mut socket| {
        for _ in 0..greetings {
            if socket.send(Message::text(format!("welcome, {number}"))).is_err() {
                return;
            }
        }
        echo(socket, |_| {});
    })
}

/// Calls `reply` with each message, until the peer closes.
fn replying(reply: fn(&mut WebSocket<TcpStream>, Message) -> tungstenite::Result<()>) -> SocketAddr {
    serve_websocket(move |_, mut socket| {
        while let Ok(message) = socket.read() {
            if (message.is_binary() || message.is_text()) && reply(&mut socket, message).is_err() {
                return;
            }
        }
    })
}

fn of(messages: Messages, address: SocketAddr, connections: u64) -> FleetConfig {
    FleetConfig { payload_len: 300, messages, ..config(address, connections) }
}

/// Runs every phase with a server that replies to each message, and asserts that all went well.
fn every_phase(mut config: FleetConfig) -> Fleet {
    config.in_flight = 3;
    let mut fleet = connected(config);
    let none = Failures::default();
    for once in [Fleet::echo_once, Fleet::burst] {
        let phase = once(&mut fleet, &mut |_| {}).expect("echo");
        assert_eq!((phase.sent, phase.echoes, phase.missing), (8, 8, 0), "{phase:?}");
        assert_eq!((phase.latency.len(), phase.failures), (8, none.clone()));
    }
    let has_rounds = [50, 500, 5_000].into_iter().any(|length| {
        let phase =
            fleet.closed_loop(5, milliseconds(10), milliseconds(length), &mut |_| {}).expect("closed loop");
        assert_eq!((phase.missing, &phase.failures), (0, &none), "{phase:?}");
        phase.echoes >= 15
    });
    assert!(has_rounds, "no round was complete");
    let phase =
        fleet.open_loop(8, 1_000.0, milliseconds(20), milliseconds(200), &mut |_| {}).expect("open loop");
    assert_eq!((phase.sent, phase.echoes, phase.missing), (200, 200, 0), "{phase:?}");
    let phase = fleet.churn(300.0, milliseconds(100), &mut |_| {}).expect("churn");
    assert_eq!((phase.echoes, phase.connected, phase.failures), (phase.opened, 8, none.clone()));
    let phase = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!((phase.closed, phase.forced, phase.failures), (8, 0, none));
    fleet
}

#[test]
fn every_phase_with_messages_of_every_kind() {
    let file: Arc<[u8]> = "grüße\n".repeat(38).as_bytes()[..300].into();
    for greetings in [0, 2] {
        let plain = Messages { greetings, ..Messages::default() };
        for messages in [
            Messages { text: true, ..plain.clone() },
            Messages { shortest: Some(0), ..plain.clone() },
            Messages { shortest: Some(120), text: true, verify: Verify::Any, ..plain.clone() },
            Messages { file: Some(file.clone()), text: true, ..plain.clone() },
            Messages { file: Some(file.clone()), ..plain.clone() },
            Messages { verify: Verify::Any, ..plain },
        ] {
            let fleet = every_phase(of(messages, greeting(greetings as usize), 8));
            let counts = fleet.unsolicited();
            assert!(counts.greetings >= 8 * u64::from(greetings) && counts.pushed == 0, "{counts:?}");
        }
    }
}

#[test]
fn lengths_in_a_range_are_sent_and_their_bytes_counted() {
    let messages = Messages { shortest: Some(10), ..Messages::default() };
    let mut fleet = connected(of(messages, greeting(0), 400));
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    let mean = phase.bytes as f64 / phase.echoes as f64;
    assert!((phase.echoes, phase.missing) == (400, 0) && (135.0..175.0).contains(&mean), "{mean}: {phase:?}");
}

#[test]
fn replies_of_any_content() {
    // In two frames.
    let address = replying(|socket, _| {
        use common::frame::{Header, Opcode};
        use std::io::Write;
        let first = lying::frame(Header { fin: false, ..Header::server(Opcode::Text, 2) }, b"ok");
        let last = lying::frame(Header::server(Opcode::Continuation, 1), b"!");
        socket.get_mut().write_all(&[first, last].concat()).map_err(Into::into)
    });
    let any = Messages { verify: Verify::Any, ..Messages::default() };
    let mut fleet = connected(of(any.clone(), address, 8));
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.echoes, phase.bytes, phase.missing), (8, 8 * 3, 0), "{phase:?}");
    drop(fleet);
    every_phase(of(any.clone(), address, 8));
    // Without a reply in time, it is a timeout.
    let silent = serve_websocket(|_, mut socket| ignore(socket.get_mut().try_clone().expect("clone")));
    let config = FleetConfig { message_timeout: milliseconds(200), ..of(any, silent, 4) };
    let phase = connected(config).echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.missing, phase.failures.timeout), (4, 4), "{phase:?}");
    assert_eq!(phase.failures.first.as_deref(), Some("no reply in time"));
}

#[test]
fn no_reply_is_awaited_and_pushes_are_counted() {
    let address = replying(|socket, message| {
        (0..3).try_for_each(|_| socket.send(Message::binary(vec![0; message.len().min(7)])))
    });
    let none = Messages { verify: Verify::None, ..Messages::default() };
    let mut fleet = connected(FleetConfig { payload_len: 32, ..of(none, address, 8) });
    let phase =
        fleet.open_loop(8, 1_000.0, milliseconds(50), milliseconds(200), &mut |_| {}).expect("open loop");
    assert_eq!((phase.sent, phase.echoes, phase.missing, phase.bytes), (200, 0, 0, 0), "{phase:?}");
    assert_eq!((phase.latency.len(), phase.failures), (0, Failures::default()));
    let all_sent = fleet.progress().sent;
    assert_eq!(all_sent, 250, "with the warm-up");
    let churn = fleet.churn(300.0, milliseconds(100), &mut |_| {}).expect("churn");
    assert_eq!((churn.connected, churn.failures), (8, Failures::default()));
    let began = Instant::now();
    while fleet.unsolicited().pushed < 3 * all_sent {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", fleet.unsolicited());
        assert_eq!(fleet.hold(milliseconds(20), &mut |_| {}).expect("hold").failures, Failures::default());
    }
    let counts = fleet.unsolicited();
    assert_eq!((counts.greetings, counts.pushed_bytes), (0, 7 * counts.pushed));
    // More may have arrived since.
    assert!(fleet.progress().pushed >= counts.pushed);
    let phase = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!((phase.closed, phase.failures), (8, Failures::default()));
}

#[test]
fn pushes_on_idle_connections_are_counted() {
    // Before the connections are held, a message is a greeting.
    static IS_HELD: AtomicBool = AtomicBool::new(false);
    let address = serve_websocket(|_, mut socket| {
        while !IS_HELD.load(Relaxed) {
            thread::sleep(milliseconds(5));
        }
        let _ = socket.send(Message::text("news")).and_then(|()| socket.send(Message::binary(vec![1; 300])));
        echo(socket, |_| {});
    });
    let mut fleet = connected(config(address, 4));
    let began = Instant::now();
    while fleet.unsolicited().pushed < 8 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", fleet.unsolicited());
        let phase = fleet.hold(milliseconds(50), &mut |_| IS_HELD.store(true, Relaxed)).expect("hold");
        assert_eq!((phase.held, phase.failures), (4, Failures::default()));
    }
    assert_eq!(fleet.unsolicited(), Unsolicited { greetings: 0, pushed: 8, pushed_bytes: 4 * 304 });
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.echoes, phase.failures), (4, Failures::default()), "these are still verified");
}

#[test]
fn greetings_that_fail() {
    let expecting = |address| {
        let messages = Messages { greetings: 2, ..Messages::default() };
        let config = FleetConfig { connect_timeout: milliseconds(300), ..of(messages, address, 4) };
        Fleet::start(config).expect("start").connect_to(4, None, &mut |_| {}).expect("connect")
    };
    let closing = serve_websocket(|_, mut socket| {
        let frame = tungstenite::protocol::CloseFrame { code: 1008.into(), reason: "who?".into() };
        let _ = socket.close(Some(frame));
        while socket.read().is_ok() {}
    });
    let ending = serve_websocket(|_, mut socket| {
        let _ = socket.send(Message::text("one"));
    });
    for (address, class, first, advice) in [
        (greeting(1), Class::Timeout, "no greeting in time", "omit --expect greeting"),
        (ending, Class::Reset, "closed the connection before its greeting", "omit --expect greeting"),
        (closing, Class::Closed, "code 1008, reason 'who?'", "shutting down"),
    ] {
        let phase = expecting(address);
        lying::assert_only(&phase.failures, class, 4);
        assert_eq!((phase.connected, phase.opened, phase.handshake.len()), (0, 0, 0), "{phase:?}");
        assert!(phase.failures.first.as_deref().is_some_and(|said| said.contains(first)), "{phase:?}");
        assert!(phase.failures.advice(class).contains(advice), "{}", phase.failures.advice(class));
    }
}

#[test]
fn unexpected_greetings_are_wrong_echoes_unless_any_reply_will_do() {
    let mut failures = Failures::default();
    let mut fleet = Fleet::start(config(greeting(1), 4)).expect("start");
    let phase = fleet.connect_to(4, None, &mut |_| {}).expect("connect");
    failures.merge(&phase.failures);
    // Some greetings may arrive after the phase.
    failures.merge(&fleet.echo_once(&mut |_| {}).expect("echo").failures);
    lying::assert_only(&failures, Class::WrongEcho, 4);
    if failures.first.as_deref().is_some_and(|first| first.contains("before one was sent")) {
        assert!(failures.advice(Class::WrongEcho).contains("--expect greeting"));
    }
    let any = Messages { verify: Verify::Any, ..Messages::default() };
    let mut fleet = connected(of(any, greeting(1), 4));
    let began = Instant::now();
    while fleet.unsolicited().pushed < 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", fleet.unsolicited());
        fleet.hold(milliseconds(20), &mut |_| {}).expect("hold");
    }
    assert_eq!(fleet.echo_once(&mut |_| {}).expect("echo").echoes, 4);
}

#[test]
fn a_replacement_is_greeted_before_it_is_used() {
    let address = serve_websocket(|number, mut socket| {
        let _ = socket.send(Message::text("welcome"));
        if number > 0 {
            return echo(socket, |_| {});
        }
        drop(server::echo_first(3, socket));
    });
    let messages = Messages { greetings: 1, text: true, ..Messages::default() };
    let mut fleet = connected(FleetConfig { reconnect: true, ..of(messages, address, 1) });
    let phase = fleet.closed_loop(1, Duration::ZERO, milliseconds(1_500), &mut |_| {}).expect("closed loop");
    assert!(phase.echoes > 3 && phase.failures.total() == 0, "{phase:?}");
    assert_eq!(fleet.reconnects().map(|again| (again.lost, again.reconnected)), Some((1, 1)));
    assert_eq!(fleet.unsolicited().greetings, 2);
}
