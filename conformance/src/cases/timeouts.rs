//! `--handshake-timeout`, `--idle-timeout` and `--ping-interval`.

use super::noise;
use crate::descriptors::shard_room;
use crate::frame::{BINARY, Frame, PING, PONG};
use crate::http::Request;
use crate::server::{Binary, Server};
use crate::wait::{self, MAX_DELAY};
use crate::wire::{Peer, Received};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// The timeout of cases in which it expires. Sleeps in this file set a peer's pace, or are the measured interval.
const LIMIT: Duration = Duration::from_millis(800);
/// The timeout of cases in which it must not expire, even if a busy machine delays an active peer.
const LONG_LIMIT: Duration = Duration::from_secs(3);
/// Longer than [`LONG_LIMIT`].
const ACTIVITY: Duration = Duration::from_secs(4);
const PACE: Duration = Duration::from_millis(100);
/// More connections than an event loop gets from one epoll_wait(2).
const PEERS: usize = 1_500;

#[track_caller]
fn in_time(took: Duration) {
    let (least, most) = (LIMIT / 2, LIMIT * 2 + MAX_DELAY);
    assert!((least..most).contains(&took), "expected: closed after {LIMIT:?}; got: after {took:?}");
}

/// No request, or an incomplete one.
pub(crate) fn unfinished_handshake(binary: &Binary) {
    let server = binary.serve(&["--handshake-timeout", "800ms"]);
    let request = Request::handshake("/echo").bytes();
    let mut peers = [0, 1, 60, request.len() - 1].map(|len| (Peer::open(server.addr), len));
    let start = Instant::now();
    let mut finished = Peer::connect(server.addr);
    peers.iter_mut().for_each(|(peer, len)| peer.send_in_pieces([&request[..*len]]));
    for (peer, _) in &mut peers {
        peer.read_to_fin();
        in_time(start.elapsed());
    }
    finished.round_trip(&Frame::text("only handshakes time out"));
    server.metrics_agree(&[("ws_connections_active", 1)]);
}

/// A request sent one byte at a time (slowloris) times out too.
pub(crate) fn slow_handshake(binary: &Binary) {
    let server = binary.serve(&["--handshake-timeout", "800ms"]);
    let mut peer = Peer::open(server.addr);
    let start = Instant::now();
    for byte in Request::handshake("/echo").bytes().chunks(1) {
        if peer.try_send(byte).is_err() || peer.has_ended() {
            break;
        }
        thread::sleep(PACE);
    }
    in_time(start.elapsed());
}

fn idle_server(binary: &Binary, limit: Duration, more: &[&str]) -> Server {
    let limit = format!("{}ms", limit.as_millis());
    binary.serve(&[&["--idle-timeout", &limit, "--shards", "1"], more].concat())
}

/// Peers that are silent from the start, after an echo, and within a frame are closed, and counted as idle.
pub(crate) fn silent_peers_are_closed(binary: &Binary) {
    let server = idle_server(binary, LIMIT, &[]);
    let mut peers = Peer::connect_many(server.addr, 3);
    peers[1].round_trip(&Frame::text("Hello"));
    peers[2].send_in_pieces([&Frame::text("Hello").masked()[..7]]);
    let start = Instant::now();
    for peer in &mut peers {
        peer.read_to_fin();
        in_time(start.elapsed());
    }
    let metrics = server.metrics_agree(&[("ws_connections_active", 0), ("ws_connections_closed_total", 3)]);
    let idle = metrics.closed_as("idle");
    assert_eq!(idle, 3.0, "connections closed as idle; got:\n{metrics}");
}

/// Messages, Pings and unsolicited Pongs keep a connection open.
pub(crate) fn active_peers_stay_connected(binary: &Binary) {
    let server = idle_server(binary, LONG_LIMIT, &[]);
    let mut peers = Peer::connect_many(server.addr, 3);
    let start = Instant::now();
    while start.elapsed() < ACTIVITY {
        peers[0].round_trip(&Frame::text("still here"));
        peers[1].send_frame(&Frame::new(PING, "still here"));
        peers[1].expect_pong("still here");
        peers[2].send_frame(&Frame::new(PONG, "still here"));
        thread::sleep(PACE);
    }
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("and here")));
}

/// Bytes of a message, and bytes read at a time, ten times per second: reading takes half as long again as the limit.
const SLOW_READER: (usize, usize) = (1_400_000, 30_000);

/// A peer that reads slowly stays connected, whether it sends meanwhile or not.
pub(crate) fn slow_readers_stay_connected(binary: &Binary) {
    let server = idle_server(binary, LONG_LIMIT, &["--buffer-budget", "1GiB"]);
    let peers = Peer::connect_many(server.addr, 2);
    thread::scope(|scope| {
        for (mut peer, pings) in peers.into_iter().zip([true, false]) {
            scope.spawn(move || {
                let message = Frame::new(BINARY, noise(SLOW_READER.0, 21));
                peer.keep_receive_buffer_small();
                peer.send(&message.masked());
                let start = Instant::now();
                while !peer.has_message() && start.elapsed() < 5 * LONG_LIMIT {
                    peer.read_some(SLOW_READER.1);
                    if pings {
                        // There is no room if the server has not read the previous ones.
                        peer.try_send_until_full(&Frame::new(PING, "still here").masked()).ok();
                    }
                    thread::sleep(PACE);
                }
                assert!(
                    start.elapsed() > LONG_LIMIT,
                    "expected: a slow reader; got: all within {:?}",
                    start.elapsed()
                );
                peer.expect(&message);
            });
        }
    });
}

/// A peer that reads nothing is closed, even if it sends.
pub(crate) fn stalled_readers_are_closed(binary: &Binary) {
    let server = idle_server(binary, LIMIT, &["--buffer-budget", "1GiB"]);
    let mut peers = Peer::connect_many(server.addr, 2);
    let messages = Frame::new(BINARY, noise(8 << 20, 22)).masked().repeat(2);
    for peer in &mut peers {
        let _ = peer.try_send_until_full(&messages);
    }
    let start = Instant::now();
    wait::until("both are closed", || {
        let _ = peers[0].try_send_until_full(&Frame::new(PING, "still here").masked());
        let metrics = server.metrics();
        match metrics.closed_as("idle") {
            2.0 => Ok(()),
            count => Err(format!("{count} closed")),
        }
    });
    assert!(
        start.elapsed() < LIMIT * 2 + MAX_DELAY,
        "expected: closed after {LIMIT:?}; got: {:?}",
        start.elapsed()
    );
}

/// A peer that sends a long message slowly stays connected.
pub(crate) fn slow_senders_stay_connected(binary: &Binary) {
    let server = idle_server(binary, LONG_LIMIT, &[]);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::new(BINARY, noise(100_000, 23));
    let (bytes, start) = (message.masked(), Instant::now());
    let pieces = bytes.chunks(bytes.len().div_ceil(45));
    for piece in pieces {
        peer.send(piece);
        thread::sleep(PACE);
    }
    assert!(start.elapsed() > LONG_LIMIT, "expected: a slow sender");
    peer.expect_echo(&message);
}

/// A server that was stopped for longer than the timeout reads the input that arrived meanwhile, on every connection,
/// before any of them times out.
pub(crate) fn stopped_server_reads_before_it_times_out(binary: &Binary) {
    let server = idle_server(binary, LONG_LIMIT, &[]);
    let mut peers = Peer::connect_many(server.addr, shard_room(PEERS));
    server.signal(Signal::STOP);
    let start = Instant::now();
    let message = Frame::text("sent in time");
    peers.iter_mut().for_each(|peer| peer.send_frame(&message));
    thread::sleep(ACTIVITY.saturating_sub(start.elapsed()));
    server.signal(Signal::CONT);
    peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
}

/// The same for requests that arrived meanwhile.
pub(crate) fn stopped_server_reads_requests_before_it_times_out(binary: &Binary) {
    let count = shard_room(PEERS);
    let server = binary.serve(&["--handshake-timeout", "3s", "--shards", "1"]);
    let open_fds = || server.metrics().sum("process_open_fds") as usize;
    let before = open_fds();
    let mut peers: Vec<Peer> = (0..count).map(|_| Peer::open(server.addr)).collect();
    wait::until("all are accepted", || match open_fds() - before {
        accepted if accepted >= count => Ok(()),
        accepted => Err(format!("{accepted} accepted")),
    });
    server.signal(Signal::STOP);
    let start = Instant::now();
    let request = Request::handshake("/echo").bytes();
    peers.iter_mut().for_each(|peer| peer.send(&request));
    thread::sleep(ACTIVITY.saturating_sub(start.elapsed()));
    server.signal(Signal::CONT);
    peers.iter_mut().for_each(|peer| drop(peer.expect_upgrade()));
}

/// Without `--idle-timeout` a silent peer stays connected.
pub(crate) fn silence_is_allowed_by_default(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    thread::sleep(LIMIT);
    peer.round_trip(&Frame::text("after silence"));
}

/// Answers Pings until `until`, expects nothing else, and returns their number.
#[track_caller]
fn answer_pings(peer: &mut Peer, until: Instant) -> usize {
    let mut count = 0;
    while Instant::now() < until {
        match peer.receive() {
            Received::Frame(frame) if frame.opcode == PING => {
                peer.send_frame(&Frame::new(PONG, frame.payload))
            }
            other => peer.fail("a Ping", other),
        }
        count += 1;
    }
    count
}

/// A peer that sends only Pongs stays connected. One that does not answer Pings is closed.
pub(crate) fn pongs_keep_a_connection_open(binary: &Binary) {
    let server = idle_server(binary, LONG_LIMIT, &["--ping-interval", "200ms"]);
    let [mut alive, mut dead] = [Peer::connect(server.addr), Peer::connect(server.addr)];
    answer_pings(&mut alive, Instant::now() + ACTIVITY);
    dead.read_to_fin();
    alive.send_frame(&Frame::text("alive"));
    alive.expect_echo_among_pings(&Frame::text("alive"));
    let metrics = server.metrics_agree(&[("ws_connections_active", 1)]);
    assert_eq!(metrics.closed_as("idle"), 1.0, "got:\n{metrics}");
}

/// Every connection receives a Ping per interval, also without `--idle-timeout`.
pub(crate) fn pings_come_every_interval(binary: &Binary) {
    let server = binary.serve(&["--ping-interval", "200ms", "--shards", "2"]);
    let mut peers = Peer::connect_many(server.addr, 6);
    let until = Instant::now() + Duration::from_secs(2);
    thread::scope(|scope| {
        for peer in &mut peers {
            scope.spawn(move || {
                let count = answer_pings(peer, until);
                if !(4..=16).contains(&count) {
                    peer.fail("about 10 Pings in 2 s", count);
                }
            });
        }
    });
    server.metrics_agree(&[("ws_messages_sent_total", 0), ("ws_sent_bytes_total", 0)]);
}

/// Pings come between frames, never within one.
pub(crate) fn pings_among_echoes(binary: &Binary) {
    let server = binary.serve(&["--ping-interval", "50ms"]);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::new(BINARY, noise(300_000, 12));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        peer.send_frame(&message);
        peer.expect_echo_among_pings(&message);
    }
}
