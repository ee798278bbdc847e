//! Drain on SIGTERM or SIGINT: the server stops accepting, sends Close 1001 (RFC 6455, section 7.4.1) to every peer,
//! and exits once all have disconnected or after `--drain-timeout`.

use super::noise;
use crate::frame::{BINARY, CLOSE, Frame};
use crate::http::Request;
use crate::server::{Binary, Server, Setup, get};
use crate::wait::{self, MAX_DELAY};
use crate::wire::{Peer, Received};
use rustix::process::Signal;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

/// Expects the server to exit with status 0, and returns how long that took.
#[track_caller]
fn exits_cleanly(server: &mut Server) -> Duration {
    let start = Instant::now();
    let status = server.exit();
    assert_eq!(status.code(), Some(0), "exit status; got: {status}");
    start.elapsed()
}

/// Expects Close 1001, replies, and expects a FIN.
#[track_caller]
fn expect_going_away(mut peer: Peer) {
    peer.expect_close_frame(&[1001]);
    peer.send_frame(&Frame::close(1001, ""));
    peer.expect_fin();
}

pub(crate) fn sigterm_without_peers(binary: &Binary) {
    ends_at_once_without_peers(binary, Signal::TERM);
}

pub(crate) fn sigint_without_peers(binary: &Binary) {
    ends_at_once_without_peers(binary, Signal::INT);
}

fn ends_at_once_without_peers(binary: &Binary, signal: Signal) {
    let mut server = binary.serve(&["--drain-timeout", "60s"]);
    Peer::connect(server.addr).close();
    server.metrics_agree(&[("ws_connections_active", 0)]);
    server.signal(signal);
    let took = exits_cleanly(&mut server);
    assert!(took < MAX_DELAY, "expected: an exit within {MAX_DELAY:?} without peers; got: after {took:?}");
    let [stdout, _] = server.output();
    assert_eq!(stdout, format!("{}\n", server.ready_line), "stdout");
}

pub(crate) fn idle_peers(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s", "--shards", "2"]);
    let mut peers = Peer::connect_many(server.addr, 50);
    peers[0].round_trip(&Frame::text("Hello"));
    let start = Instant::now();
    server.signal(Signal::TERM);
    peers.into_iter().for_each(expect_going_away);
    exits_cleanly(&mut server);
    let took = start.elapsed();
    assert!(took < MAX_DELAY, "expected: a few peers are closed at once; got: an exit after {took:?}");
}

/// Peers that send messages without pause receive correct echoes until the Close.
pub(crate) fn busy_peers(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s", "--shards", "2"]);
    let peers = Peer::connect_many(server.addr, 8);
    thread::scope(|scope| {
        for (i, mut peer) in peers.into_iter().enumerate() {
            scope.spawn(move || {
                let message = Frame::new(BINARY, noise(5000, i as u64));
                loop {
                    peer.send_frame(&message);
                    match peer.receive() {
                        Received::Frame(frame) if frame == message => {}
                        Received::Frame(Frame { opcode: CLOSE, payload, .. })
                            if payload.starts_with(&[3, 0xe9]) =>
                        {
                            break;
                        }
                        other => peer.fail("the echo, or Close 1001", other),
                    }
                }
                peer.send_frame(&Frame::close(1001, ""));
                peer.expect_fin();
            });
        }
        server.metrics_agree(&[("ws_connections_active", 8)]);
        wait::until("all are busy", || {
            let sent = server.metrics().sum("ws_messages_sent_total");
            if sent >= 80.0 { Ok(()) } else { Err(format!("{sent} messages")) }
        });
        server.signal(Signal::TERM);
    });
    exits_cleanly(&mut server);
}

/// Sends messages until the server sends Close 1001. Returns the number of echoes, and when the Close came.
#[track_caller]
fn echo_until_close(peer: &mut Peer) -> (usize, Instant) {
    let message = Frame::text("still served");
    for echoes in 0.. {
        peer.send_frame(&message);
        match peer.receive() {
            Received::Frame(frame) if frame == message => thread::sleep(Duration::from_millis(1)),
            Received::Frame(Frame { opcode: CLOSE, payload, .. }) if payload.starts_with(&[3, 0xe9]) => {
                return (echoes, Instant::now());
            }
            other => peer.fail("the echo, or Close 1001", other),
        }
    }
    unreachable!("a peer sends messages until it returns")
}

/// `--drain-rate`: no Close frame comes before it is due, each peer is served until then, and the last one comes in time.
pub(crate) fn paced(binary: &Binary) {
    let (count, shards) = (10, 2);
    let flags = &["--drain-timeout", "60s", "--drain-rate", "10", "--shards", "2"];
    let mut server = binary.serve(flags);
    let peers = Peer::connect_many(server.addr, count);
    server.metrics_agree(&[("ws_connections_active", count)]);
    let began = Instant::now();
    let mut closed: Vec<(Duration, usize)> = thread::scope(|scope| {
        let serve = |mut peer: Peer| {
            let (echoes, at) = echo_until_close(&mut peer);
            peer.send_frame(&Frame::close(1001, ""));
            peer.expect_fin();
            (at - began, echoes)
        };
        let peers: Vec<_> = peers.into_iter().map(|peer| scope.spawn(move || serve(peer))).collect();
        server.signal(Signal::TERM);
        peers.into_iter().map(|peer| peer.join().expect("no panic")).collect()
    });
    closed.sort();
    for (i, (at, _)) in closed.iter().enumerate() {
        // Each shard closes its first at once.
        let due = Duration::from_millis(100) * (i + 1).saturating_sub(shards) as u32;
        assert!(*at >= due, "expected: connection {i} is closed after {due:?} or later; got: {closed:?}");
    }
    let (last, echoes) = closed[count - 1];
    assert!(last < Duration::from_secs(1) + MAX_DELAY, "expected: all are closed after 1 s; got: {closed:?}");
    assert!(echoes > 10, "expected: the last peer is served for most of a second; got: {closed:?}");
    exits_cleanly(&mut server);
}

/// A rate at which `--drain-timeout` would end before all peers have been sent a Close frame.
pub(crate) fn faster_than_its_rate_if_it_must(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "2s", "--drain-rate", "1", "--shards", "2"]);
    let mut peers = Peer::connect_many(server.addr, 40);
    server.signal(Signal::TERM);
    exits_cleanly(&mut server);
    peers.iter_mut().for_each(|peer| peer.expect_close_frame(&[1001]));
}

/// Accepting stops first: most peers are served while new connections are refused. A second signal ends it.
pub(crate) fn serves_those_whose_time_has_not_come(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s", "--drain-rate", "1", "--shards", "2"]);
    let mut peers = Peer::connect_many(server.addr, 40);
    server.signal(Signal::TERM);
    wait::until("a new connection is refused", || match Peer::try_open(server.addr) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("a connection".to_string()),
    });
    let message = Frame::text("still served");
    let is_served = |peer: &mut Peer| {
        peer.send_frame(&message);
        matches!(peer.receive(), Received::Frame(frame) if frame == message)
    };
    let served = peers.iter_mut().filter_map(|peer| is_served(peer).then_some(())).count();
    assert!(served >= 20, "expected: most of 40 peers are served; got: {served}");
    let start = Instant::now();
    server.signal(Signal::TERM);
    server.exit();
    let took = start.elapsed();
    assert!(took < MAX_DELAY, "expected: an end within {MAX_DELAY:?}; got: after {took:?}");
}

/// A peer in the middle of a frame must finish it before it replies to the Close.
pub(crate) fn peer_in_the_middle_of_a_frame(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s"]);
    let mut peers = Peer::connect_many(server.addr, 3);
    let bytes = Frame::new(BINARY, noise(70_000, 1)).masked();
    for (peer, cut) in peers.iter_mut().zip([1, 9, 40_000]) {
        peer.send_in_pieces([&bytes[..cut]]);
    }
    server.signal(Signal::TERM);
    for (mut peer, cut) in peers.into_iter().zip([1, 9, 40_000]) {
        peer.expect_close_frame(&[1001]);
        peer.send(&[&bytes[cut..], &Frame::close(1001, "").masked()].concat());
        peer.expect_fin();
    }
    exits_cleanly(&mut server);
}

/// While one peer stays connected: new connections are refused, and `/health` answers 503.
pub(crate) fn nothing_new_while_draining(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s", "--shards", "2"]);
    let [mut peer, other] = [Peer::connect(server.addr), Peer::connect(server.addr)];
    server.signal(Signal::TERM);
    expect_going_away(other);
    peer.expect_close_frame(&[1001]);
    wait::until("a new connection is refused", || match Peer::try_open(server.addr) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("a connection".to_string()),
    });
    wait::until("/health answers 503", || match get(server.admin, "/health").status {
        503 => Ok(()),
        status => Err(status.to_string()),
    });
    wait::until("connections closed for the reason shutdown", || {
        let metrics = server.metrics();
        let closed = metrics.closed_as("shutdown");
        if closed >= 1.0 { Ok(()) } else { Err(format!("\n{metrics}")) }
    });
    assert!(server.runs(), "expected: the server waits for the last peer; got: it ended");
    peer.send_frame(&Frame::close(1001, ""));
    peer.expect_fin();
    drop(peer);
    exits_cleanly(&mut server);
}

/// A peer that disconnects without a reply to the Close does not delay the exit.
pub(crate) fn peers_that_disconnect(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s"]);
    let mut peers = Peer::connect_many(server.addr, 6);
    server.signal(Signal::TERM);
    peers.iter_mut().for_each(|peer| peer.expect_close_frame(&[1001]));
    for (i, peer) in peers.into_iter().enumerate() {
        if i % 2 == 0 { peer.reset() } else { drop(peer) }
    }
    exits_cleanly(&mut server);
}

/// A connection without a finished handshake does not delay the exit.
pub(crate) fn unfinished_handshakes_do_not_delay_it(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s", "--handshake-timeout", "60s"]);
    let request = Request::handshake("/echo").bytes();
    let mut peers = [0, 1, request.len() - 1].map(|len| (Peer::open(server.addr), len));
    peers.iter_mut().for_each(|(peer, len)| peer.send_in_pieces([&request[..*len]]));
    server.signal(Signal::TERM);
    exits_cleanly(&mut server);
}

/// Peers that never reply to the Close: one that is silent, and one that does not read its echoes.
pub(crate) fn drain_timeout_bounds_the_wait(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "700ms"]);
    let mut silent = Peer::connect(server.addr);
    let mut stalled = Peer::connect(server.addr);
    stalled.send_until_full(&Frame::new(BINARY, noise(1 << 20, 2)).masked().repeat(64));
    server.signal(Signal::TERM);
    let took = exits_cleanly(&mut server);
    silent.expect_close_frame(&[1001]);
    let (least, most) = (Duration::from_millis(600), Duration::from_millis(700) + MAX_DELAY);
    assert!((least..most).contains(&took), "expected: an exit after 700 ms; got: after {took:?}");
}

pub(crate) fn second_signal_ends_at_once(binary: &Binary) {
    for second in [Signal::TERM, Signal::INT] {
        let mut server = binary.serve(&["--drain-timeout", "60s"]);
        let mut peer = Peer::connect(server.addr);
        server.signal(Signal::TERM);
        peer.expect_close_frame(&[1001]);
        let start = Instant::now();
        server.signal(second);
        server.exit();
        let took = start.elapsed();
        assert!(took < MAX_DELAY, "expected: an end within {MAX_DELAY:?}; got: after {took:?}");
    }
}

/// The drain reaches shards that have their own descriptor tables.
pub(crate) fn with_more_connections_than_one_table_holds(binary: &Binary) {
    let flags = &["--max-connections", "400", "--drain-timeout", "60s"];
    let mut server = binary.serve_with(Setup { flags, nofile: Some(150), ..Setup::default() });
    let peers = Peer::connect_many(server.addr, 200);
    server.signal(Signal::TERM);
    peers.into_iter().for_each(expect_going_away);
    exits_cleanly(&mut server);
}
