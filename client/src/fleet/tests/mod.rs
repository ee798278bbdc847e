//! Fleets against correct and incorrect servers.

mod addresses;
mod fragments;
mod in_flight;
mod lying;
mod messages;
mod refused;
mod replies;
mod secured;
mod server;
mod shards;

use super::*;
use server::{echo, refuse, serve, serve_websocket};
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

/// A server at this address.
fn endpoint(address: std::net::SocketAddr) -> Endpoint {
    format!("ws://{address}/echo").parse::<Url>().expect("url").resolve().expect("an address")
}

/// The configuration of a small fleet in two shards.
fn config(address: std::net::SocketAddr, connections: u64) -> FleetConfig {
    FleetConfig { shards: Some(2), ..FleetConfig::new(endpoint(address), connections) }
}

/// A fleet with all its connections open.
fn connected(config: FleetConfig) -> Fleet {
    let connections = config.connections;
    let mut fleet = Fleet::start(config).expect("start");
    let phase = fleet.connect_to(connections, None, &mut |_| {}).expect("connect");
    assert_eq!((phase.opened, phase.connected), (connections, connections), "{phase:?}");
    assert_eq!(phase.handshake.len(), connections);
    assert_eq!(phase.failures, Failures::default());
    fleet
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn every_phase_against_a_correct_server() {
    let address = serve_websocket(|_, socket| echo(socket, |_| {}));
    let mut config = config(address, 60);
    config.payload_len = 77;
    let mut fleet = Fleet::start(config).expect("start");
    let none = Failures::default();

    let half = fleet.connect_to(31, Some(2_000.0.into()), &mut |_| {}).expect("connect");
    assert_eq!((half.requested, half.connected), (31, 31), "{half:?}");
    assert!(half.elapsed >= milliseconds(14), "31 at 2000/s take 15 ms, not {:?}", half.elapsed);
    let phase = fleet.connect_to(60, None, &mut |_| {}).expect("connect");
    assert_eq!((phase.opened, phase.connected, phase.failures), (29, 60, none.clone()));

    for once in [Fleet::echo_once, Fleet::burst] {
        let phase = once(&mut fleet, &mut |_| {}).expect("echo");
        assert_eq!((phase.sent, phase.echoes, phase.bytes, phase.missing), (60, 60, 60 * 77, 0), "{phase:?}");
        assert_eq!((phase.latency.len(), phase.failures), (60, none.clone()));
    }

    let phase = fleet.closed_loop(20, milliseconds(20), milliseconds(150), &mut |_| {}).expect("closed loop");
    assert_eq!((phase.active, phase.missing, &phase.failures), (20, 0, &none), "{phase:?}");
    assert!(
        phase.echoes > 20 && phase.latency.len() == phase.echoes && phase.sent == phase.echoes,
        "{phase:?}"
    );
    assert_eq!(phase.elapsed, milliseconds(150));

    let phase =
        fleet.open_loop(50, 2_000.0, milliseconds(50), milliseconds(200), &mut |_| {}).expect("open loop");
    assert_eq!((phase.active, phase.sent, phase.echoes, phase.missing), (50, 400, 400, 0), "{phase:?}");
    assert_eq!((phase.latency.len(), phase.failures), (400, none.clone()));

    let phase = fleet.churn(500.0, milliseconds(200), &mut |_| {}).expect("churn");
    assert!((1..=100).contains(&phase.opened), "{phase:?}");
    assert_eq!((phase.closed, phase.echoes, phase.connected), (phase.opened, phase.opened, 60), "{phase:?}");
    assert_eq!(phase.failures, none);

    let phase = fleet.hold(milliseconds(30), &mut |_| {}).expect("hold");
    assert_eq!((phase.held, phase.lost, phase.failures), (60, 0, none.clone()));
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.echoes, phase.missing), (60, 0));

    let phase = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!((phase.closed, phase.forced, phase.failures), (60, 0, none));
    let progress = fleet.progress();
    assert_eq!((progress.connected, progress.connecting, progress.failures.total()), (0, 0, 0));
}

#[test]
fn churn_does_not_exceed_a_full_server() {
    let open = AtomicUsize::new(0);
    let address = serve(move |_, stream| {
        if open.fetch_add(1, Relaxed) >= 10 {
            open.fetch_sub(1, Relaxed);
            return refuse(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        }
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        while let Ok(message) = socket.read() {
            if message.is_binary() && socket.send(message).is_err() {
                break;
            }
        }
        open.fetch_sub(1, Relaxed);
    });
    let mut fleet = connected(config(address, 10));
    let phase = fleet.churn(2_000.0, milliseconds(100), &mut |_| {}).expect("churn");
    assert_eq!((phase.connected, phase.failures), (10, Failures::default()));
    assert!(phase.opened > 0 && phase.opened == phase.closed);
}

#[test]
fn payloads_of_every_size_are_echoed() {
    for payload_len in [0, 1, 7, 8, 125, 126, 65_535, 65_536, 3_000_000] {
        let address = serve_websocket(|_, socket| echo(socket, |_| {}));
        let mut config = config(address, 3);
        config.payload_len = payload_len;
        let mut fleet = connected(config);
        for _ in 0..2 {
            let phase = fleet.echo_once(&mut |_| {}).expect("echo");
            assert_eq!((phase.echoes, phase.missing), (3, 0), "{payload_len}: {phase:?}");
        }
        // More in flight than the sockets hold: due messages are queued, and none is lost.
        let rate = if payload_len > 1_000_000 { 100.0 } else { 500.0 };
        let phase =
            fleet.open_loop(1, rate, Duration::ZERO, milliseconds(100), &mut |_| {}).expect("open loop");
        assert_eq!(phase.echoes, (rate / 10.0) as u64, "{payload_len}: {phase:?}");
        assert_eq!(phase.failures, Failures::default(), "{payload_len}");
    }
}

#[test]
fn open_loop_counts_latency_from_the_time_a_message_was_due() {
    // At the 100th message of its first connection, the server stalls on all connections for 300 ms.
    let still = RwLock::new(());
    let address = serve_websocket(move |number, socket| {
        echo(socket, |count| {
            if number == 0 && count == 10 {
                let _stop = still.write().expect("lock");
                thread::sleep(milliseconds(300));
            }
            drop(still.read().expect("lock"));
        });
    });
    let mut fleet = connected(config(address, 10));
    let phase =
        fleet.open_loop(10, 1_000.0, Duration::ZERO, milliseconds(1_000), &mut |_| {}).expect("open loop");
    assert_eq!((phase.sent, phase.echoes, phase.missing), (1_000, 1_000, 0), "{phase:?}");
    assert!(phase.latency.max() >= 290_000_000, "the stall itself: {}", phase.latency.max());
    // Messages became due during the stall: of the 300 in these 300 ms, two thirds waited over 100 ms.
    let waited = phase.latency.count_between(100_000_000, u64::MAX);
    assert!(waited >= 150, "only {waited} messages were delayed");
}

#[test]
fn slow_connections_are_awaited() {
    // This listener's queue holds two. The kernel drops further SYNs, and retransmits them after a second.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    rustix::net::listen(&listener, 1).expect("listen");
    let address = listener.local_addr().expect("address");
    let mut fleet = Fleet::start(config(address, 6)).expect("start");
    let mut listener = Some(listener);
    let mut on_tick = |progress: &Progress| {
        if progress.connecting == 6
            && let Some(listener) = listener.take()
        {
            thread::spawn(move || {
                for stream in listener.incoming() {
                    thread::spawn(|| {
                        echo(tungstenite::accept(stream.expect("accept")).expect("handshake"), |_| {})
                    });
                }
            });
        }
    };
    let phase = fleet.connect_to(6, None, &mut on_tick).expect("connect");
    assert_eq!((phase.connected, phase.failures.total()), (6, 0), "{phase:?}");
    assert!(phase.handshake.max() >= 900_000_000, "none was dropped: {phase:?}");
    assert_eq!(fleet.echo_once(&mut |_| {}).expect("echo").echoes, 6);
}

#[test]
fn pings_are_answered_in_every_phase() {
    use tungstenite::Message;
    let address = serve_websocket(|_, mut socket| {
        for body in ["", "a", "b"] {
            socket.send(Message::Ping(body.into())).expect("ping");
            assert_eq!(socket.read().expect("pong"), Message::Pong(body.into()));
        }
        echo(socket, |_| {});
    });
    let mut fleet = connected(config(address, 4));
    let phase = fleet.hold(milliseconds(50), &mut |_| {}).expect("hold");
    assert_eq!((phase.held, phase.lost), (4, 0));
    // The servers echo only after three valid pongs.
    assert_eq!(fleet.echo_once(&mut |_| {}).expect("echo").echoes, 4);
}

#[test]
fn a_stopped_fleet_ends_at_once_with_its_results() {
    let address = serve_websocket(|_, socket| echo(socket, |_| {}));
    let stop: &AtomicBool = Box::leak(Box::default());
    let mut fleet = connected(FleetConfig { stop, ..config(address, 8) });
    let mut on_tick = |progress: &Progress| {
        if progress.echoes > 0 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let began = Instant::now();
    let phase =
        fleet.closed_loop(8, Duration::ZERO, Duration::from_secs(3_600), &mut on_tick).expect("closed loop");
    assert!(phase.echoes > 0 && phase.missing == 0, "{phase:?}");
    assert_eq!(phase.failures, Failures::default());
    let phase = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!(phase.closed + phase.forced, 8, "{phase:?}");
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_fleet_rejects_more_connections_than_its_shards_can_hold() {
    let address = "127.0.0.1:9".parse().expect("address");
    let most = connections_per_shard().expect("limit");
    let error =
        Fleet::start(FleetConfig { shards: Some(1), ..config(address, most + 1) }).err().expect("an error");
    assert!(error.to_string().contains("at least 2 shards"), "{error}");
    let mut fleet = Fleet::start(config(address, 5)).expect("start");
    assert!(fleet.connect_to(6, None, &mut |_| {}).is_err());
}
