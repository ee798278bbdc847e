//! `--max-message-size`: a longer message is rejected with 1009 (RFC 6455, sections 7.4.1 and 10.4). Memory grows with
//! the bytes that arrive, never from a declared length.

use super::noise;
use crate::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use crate::process::{has_grown, resident_bytes};
use crate::server::{Binary, Server};
use crate::wire::Peer;

const LIMIT: usize = 1024;

fn limited(binary: &Binary) -> Server {
    binary.serve(&["--max-message-size", "1KiB"])
}

pub(crate) fn at_the_limit(binary: &Binary) {
    let server = limited(binary);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::new(BINARY, noise(LIMIT, 9));
    peer.round_trip(&message);
    let (head, tail) = message.payload.split_at(LIMIT / 2);
    peer.send_frames(&[
        &Frame::new(BINARY, head).without_fin(),
        &Frame::new(PING, "p"),
        &Frame::new(CONTINUATION, tail),
    ]);
    peer.expect_pong("p");
    peer.expect_echo(&message);
    peer.close();
}

pub(crate) fn one_byte_over(binary: &Binary) {
    let server = limited(binary);
    for opcode in [TEXT, BINARY] {
        let mut peer = Peer::connect(server.addr);
        peer.send_frames(&[&Frame::text("before"), &Frame::new(opcode, vec![b'x'; LIMIT + 1])]);
        peer.expect_echo(&Frame::text("before"));
        peer.expect_close(1009);
    }
}

/// The limit applies to the sum of the fragments.
pub(crate) fn over_by_fragments(binary: &Binary) {
    let server = limited(binary);
    let mut peer = Peer::connect(server.addr);
    let fragment = Frame::new(CONTINUATION, [b'x'; 200]).without_fin();
    peer.send_frame(&Frame::text("").without_fin());
    (0..=LIMIT / 200).for_each(|_| peer.send_frame(&fragment));
    peer.expect_close(1009);
}

/// The declared length alone is enough to reject a message.
pub(crate) fn declared_only(binary: &Binary) {
    let server = limited(binary);
    for len in [LIMIT + 1, 65_535, 65_536, 1 << 30] {
        let mut peer = Peer::connect(server.addr);
        peer.send(&Frame::new(BINARY, "").declaring(len as u64));
        peer.expect_close(1009);
        let mut peer = Peer::connect(server.addr);
        peer.send_frame(&Frame::text("some").without_fin());
        peer.send(&Frame::new(CONTINUATION, "").declaring(len as u64));
        peer.expect_close(1009);
    }
}

/// Lengths beyond any memory, and one close to overflow.
pub(crate) fn absurd_lengths(binary: &Binary) {
    let server = binary.serve(&[]);
    for len in [1 << 40, 1 << 62, i64::MAX as u64] {
        let mut peer = Peer::connect(server.addr);
        peer.send(&Frame::new(BINARY, "").declaring(len));
        peer.expect_close(1009);
        let mut peer = Peer::connect(server.addr);
        peer.send_frame(&Frame::text("some").without_fin());
        peer.send(&Frame::new(CONTINUATION, "").declaring(len));
        peer.expect_close(1009);
    }
}

/// A hundred headers that declare 15 MiB each, followed by 1,000 bytes.
pub(crate) fn declared_is_not_allocated(binary: &Binary) {
    const ALLOWED_BYTES: u64 = 100 * (64 << 10);
    let server = binary.serve(&[]);
    let mut peers = Peer::connect_many(server.addr, 100);
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("warm")));
    let before = resident_bytes(server.pid());
    let start = [Frame::new(BINARY, "").declaring(15 << 20), vec![0; 1000]].concat();
    peers.iter_mut().for_each(|peer| peer.send_in_pieces([&start[..]]));
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown <= ALLOWED_BYTES, "expected: at most {ALLOWED_BYTES} bytes more; got: {grown} bytes more");
}

/// Memory of large messages is freed at the latest with the connection. The allocator may cache a fraction of it.
pub(crate) fn large_messages_are_freed(binary: &Binary) {
    const ALLOWED_BYTES: u64 = 40 << 20;
    let server = binary.serve(&[]);
    Peer::connect(server.addr).round_trip(&Frame::text("warm"));
    let before = resident_bytes(server.pid());
    let large = Frame::new(BINARY, noise(4 << 20, 10));
    let mut peers = Peer::connect_many(server.addr, 20);
    peers.iter_mut().for_each(|peer| peer.round_trip(&large));
    peers.into_iter().for_each(Peer::close);
    server.metrics_agree(&[("ws_connections_active", 0)]);
    has_grown(server.pid(), before, ..=ALLOWED_BYTES);
}
