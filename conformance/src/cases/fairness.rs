//! No peer stalls another connection of its shard, or makes the server buffer without bound.

use super::noise;
use crate::frame::{BINARY, Frame, PING};
use crate::http::Request;
use crate::process::{does_not_spin, resident_bytes};
use crate::server::{Binary, Server};
use crate::wait::{self, MAX_DELAY};
use crate::wire::{Peer, Received};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

/// More than the kernel buffers between two sockets: a peer that can send this much without reading sees no
/// backpressure.
const ENDLESS_BYTES: usize = 128 << 20;

/// The most that the server's memory may grow for one peer that does not read.
const ALLOWED_BYTES: u64 = 8 << 20;

fn one_shard(binary: &Binary) -> Server {
    binary.serve(&["--shards", "1"])
}

/// Expects ten echoes, each within [`MAX_DELAY`].
#[track_caller]
fn echoes_at_once(peer: &mut Peer) {
    for i in 0..10 {
        let start = Instant::now();
        peer.round_trip(&Frame::text(&format!("not stalled {i}")));
        if start.elapsed() > MAX_DELAY {
            peer.fail(&format!("an echo within {MAX_DELAY:?}"), format!("after {:?}", start.elapsed()));
        }
    }
}

/// A message that depends on its number.
fn message(number: usize, len: usize) -> Frame {
    Frame::new(BINARY, noise(len, number as u64 * 2 + 1))
}

/// A peer sends messages of `len` bytes without reading, until backpressure stops it. Memory stays bounded, and another
/// connection is served. Then the peer reads, and every echo arrives, in order.
fn reader_that_stops_reading(binary: &Binary, len: usize) {
    let server = one_shard(binary);
    let [mut stalled, mut other] = [Peer::connect(server.addr), Peer::connect(server.addr)];
    other.round_trip(&Frame::text("warm"));
    stalled.round_trip(&message(0, len));
    let before = resident_bytes(server.pid());
    let (mut sent, mut count, mut rest) = (0, 0, vec![]);
    while rest.is_empty() {
        let batch = ((1 << 20) / len).max(1);
        let bytes: Vec<u8> =
            (count..count + batch).flat_map(|number| message(number, len).masked()).collect();
        count += batch;
        let taken = stalled.send_until_full(&bytes);
        rest = bytes[taken..].to_vec();
        sent += taken;
        if sent > ENDLESS_BYTES {
            stalled.fail("the server to stop reading", format!("{sent} bytes sent, and no echo read"));
        }
    }
    echoes_at_once(&mut other);
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    if grown > ALLOWED_BYTES {
        stalled.fail(&format!("at most {ALLOWED_BYTES} bytes more"), format!("{grown}, with {sent} sent"));
    }
    stalled.send(&rest);
    (0..count).for_each(|number| stalled.expect_echo(&message(number, len)));
    stalled.close();
    other.close();
}

pub(crate) fn reader_that_stops_reading_large_echoes(binary: &Binary) {
    reader_that_stops_reading(binary, 64 << 10);
}

pub(crate) fn reader_that_stops_reading_small_echoes(binary: &Binary) {
    reader_that_stops_reading(binary, 100);
}

/// A flood of Pings from a peer that reads no Pongs. The server may stop reading, or answer only the latest Ping (RFC
/// 6455, section 5.5.3), but not buffer the Pongs without bound.
pub(crate) fn reader_that_stops_reading_pongs(binary: &Binary) {
    let server = one_shard(binary);
    let [mut stalled, mut other] = [Peer::connect(server.addr), Peer::connect(server.addr)];
    other.round_trip(&Frame::text("warm"));
    let before = resident_bytes(server.pid());
    let pings: Vec<u8> = (0..8000).flat_map(|_| Frame::new(PING, [b'p'; 125]).masked()).collect();
    let mut rest = &pings[..];
    for _ in 0..48 {
        rest = &pings[stalled.send_until_full(&pings)..];
        if !rest.is_empty() {
            break;
        }
    }
    echoes_at_once(&mut other);
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    if grown > ALLOWED_BYTES {
        stalled.fail(&format!("at most {ALLOWED_BYTES} bytes more"), format!("{grown} bytes more"));
    }
    stalled.send(rest);
    let last = Frame::text("the last word");
    stalled.send_frame(&last);
    loop {
        match stalled.receive() {
            Received::Frame(frame) if frame == last => break,
            Received::Frame(frame) if frame == Frame::new(crate::frame::PONG, [b'p'; 125]) => {}
            other => stalled.fail("Pongs, then the echo", other),
        }
    }
    stalled.close();
}

/// Peers that stop in a frame header, a payload, a fragmented message, and a request. Some continue later.
pub(crate) fn peers_stalled_in_the_middle(binary: &Binary) {
    let server = one_shard(binary);
    let mut other = Peer::connect(server.addr);
    let frame = Frame::new(BINARY, noise(300, 11)).masked();
    let mut stalled = Peer::connect_many(server.addr, 5);
    for (peer, len) in stalled.iter_mut().zip([1, 2, 5, 8, 100]) {
        peer.send_in_pieces([&frame[..len]]);
    }
    stalled[4].send(&frame[100..]);
    stalled[4].expect_echo(&Frame::new(BINARY, noise(300, 11)));
    stalled[4].send_frame(&Frame::text("begun").without_fin());
    let request = Request::handshake("/echo").bytes();
    let mut handshakes = [0, 1, request.len() - 1].map(|len| (Peer::open(server.addr), len));
    handshakes.iter_mut().for_each(|(peer, len)| peer.send_in_pieces([&request[..*len]]));
    echoes_at_once(&mut other);
    Peer::connect(server.addr).close();
    for (peer, len) in &mut handshakes {
        peer.send(&request[*len..]);
        peer.expect_upgrade();
    }
    stalled[0].send(&frame[1..]);
    stalled[0].expect_echo(&Frame::new(BINARY, noise(300, 11)));
}

/// A peer whose input never ends: its time slice must end while others are ready.
pub(crate) fn peer_that_floods(binary: &Binary) {
    let server = one_shard(binary);
    let mut other = Peer::connect(server.addr);
    let bytes: Vec<u8> = (0..1000).flat_map(|number| message(number, 1000).masked()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = Peer::connect(server.addr);
            peer.flood(&bytes, &stop);
            peer.reset();
        });
        wait::until("the flood runs", || {
            let received = server.metrics().sum("ws_messages_received_total");
            if received > 1000.0 { Ok(()) } else { Err(format!("{received} messages")) }
        });
        echoes_at_once(&mut other);
        stop.store(true, Relaxed);
    });
}

/// A message of 16 MiB in transfer.
pub(crate) fn peer_with_a_large_message(binary: &Binary) {
    let server = one_shard(binary);
    let mut other = Peer::connect(server.addr);
    thread::scope(|scope| {
        let large = scope.spawn(|| Peer::connect(server.addr).round_trip(&message(1, 16 << 20)));
        while !large.is_finished() {
            echoes_at_once(&mut other);
        }
    });
}

/// A reset in the middle of a frame, in the middle of a fragmented message, and with echoes unread.
pub(crate) fn reset_in_the_middle(binary: &Binary) {
    let server = one_shard(binary);
    let mut other = Peer::connect(server.addr);
    let frame = message(1, 300).masked();
    for len in [1, 3, 7, 8, 9, 299] {
        let mut peer = Peer::connect(server.addr);
        peer.send_in_pieces([&frame[..len]]);
        peer.reset();
    }
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(&Frame::text("begun").without_fin());
    peer.reset();
    let mut peer = Peer::connect(server.addr);
    peer.send_until_full(&message(2, 1 << 20).masked().repeat(16));
    peer.reset();
    echoes_at_once(&mut other);
    let metrics = server.metrics_agree(&[("ws_connections_active", 1), ("ws_connections_closed_total", 8)]);
    assert_eq!(metrics.closed_as("reset"), 8.0, "got:\n{metrics}");
    other.close();
}

/// A server whose peers are all stalled uses no CPU time.
pub(crate) fn stalled_peers_use_no_cpu(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peers = Peer::connect_many(server.addr, 4);
    peers[0].send_in_pieces([&message(1, 300).masked()[..20]]);
    peers[1].send_frame(&Frame::text("begun").without_fin());
    peers[2].send_until_full(&message(2, 1 << 20).masked().repeat(64));
    let _handshake = Peer::open(server.addr);
    does_not_spin(server.pid());
}
