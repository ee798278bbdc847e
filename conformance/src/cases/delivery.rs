//! Segmentation: TCP is a byte stream, so the boundaries of segments must not matter.

use super::leaks::full_size;
use super::noise;
use crate::frame::{BINARY, Frame, PING, TEXT};
use crate::server::Binary;
use crate::wait::{self, TIMEOUT};
use crate::wire::{Peer, Received};
use rustix::process::Signal;

pub(crate) fn frames_byte_by_byte(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for message in [Frame::text(""), Frame::text("Grüße"), Frame::new(BINARY, noise(130, 1))] {
        peer.send_in_pieces(message.masked().chunks(1));
        peer.expect_echo(&message);
    }
    peer.send_in_pieces(Frame::new(PING, "ping").masked().chunks(1));
    peer.expect_pong("ping");
    peer.send_in_pieces(Frame::close(1000, "bye").masked().chunks(1));
    peer.expect_close(1000);
}

/// Split at each byte of the header, whose longest form has 14 bytes.
pub(crate) fn header_in_two_pieces(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for len in [5, 300, 70_000] {
        let message = Frame::new(BINARY, noise(len, 2));
        let bytes = message.masked();
        for cut in 1..=bytes.len().min(15) {
            peer.send_in_pieces([&bytes[..cut], &bytes[cut..]]);
            peer.expect_echo(&message);
        }
    }
    peer.close();
}

/// A whole frame and part of the next in one segment.
pub(crate) fn frame_and_a_part_of_the_next(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let [first, second] = [Frame::text("the first"), Frame::text("the second")];
    let bytes = [first.masked(), second.masked()].concat();
    for cut in first.masked().len() + 1..bytes.len() {
        peer.send_in_pieces([&bytes[..cut]]);
        peer.expect_echo(&first);
        peer.send(&bytes[cut..]);
        peer.expect_echo(&second);
    }
    peer.close();
}

pub(crate) fn two_frames_in_a_segment(binary: &Binary) {
    in_one_segment(binary, 2);
}

pub(crate) fn forty_frames_in_a_segment(binary: &Binary) {
    in_one_segment(binary, 40);
}

fn in_one_segment(binary: &Binary, count: usize) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let messages: Vec<_> = (0..count).map(|i| Frame::text(&format!("message {i}"))).collect();
    peer.send_frames(&messages.iter().collect::<Vec<_>>());
    messages.iter().for_each(|message| peer.expect_echo(message));
    peer.close();
}

/// A mix of small and large messages, larger than a read buffer, split at arbitrary places.
pub(crate) fn stream_cut_at_odd_places(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let lengths = [0, 3, 4000, 125, 126, 9000, 1, 66_000, 7, 0, 500];
    let message = |i: usize| {
        Frame::new(if i.is_multiple_of(2) { BINARY } else { TEXT }, vec![b'a' + i as u8; lengths[i]])
    };
    let messages: Vec<_> = (0..lengths.len()).map(message).collect();
    let bytes: Vec<_> = messages.iter().flat_map(Frame::masked).collect();
    for piece in [997, 4093, 20_011] {
        peer.send_in_pieces(bytes.chunks(piece));
        messages.iter().for_each(|message| peer.expect_echo(message));
    }
    peer.close();
}

/// Most blocking clients write a whole message before they read. A server that applies backpressure within a message
/// would deadlock with them.
pub(crate) fn message_written_before_anything_is_read(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::new(BINARY, noise(16 << 20, 8));
    for _ in 0..2 {
        writes_whole(&mut peer, &message.masked());
        peer.expect_echo(&message);
    }
    peer.close();
}

/// The same on 100 connections at once, or 1,000 at full size.
pub(crate) fn messages_written_before_anything_is_read(binary: &Binary) {
    let count = if full_size() { 1_000 } else { 100 };
    let server = binary.serve(&[]);
    let mut peers = Peer::connect_many(server.addr, count);
    let message = Frame::new(BINARY, noise(1 << 20, 9));
    let bytes = message.masked();
    peers.iter_mut().for_each(|peer| writes_whole(peer, &bytes));
    peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
    peers.into_iter().for_each(Peer::close);
}

/// Writes all bytes without reading. A stalled socket is retried, so that a busy machine does not fail the case.
#[track_caller]
fn writes_whole(peer: &mut Peer, bytes: &[u8]) {
    let mut written = 0;
    let whole = wait::within(TIMEOUT, || {
        written += peer.send_until_full(&bytes[written..]);
        if written == bytes.len() { Ok(()) } else { Err(format!("{written} of {} bytes", bytes.len())) }
    });
    if let Err(written) = whole {
        peer.fail("the server reads to the end of a message", written);
    }
}

/// A message that has arrived whole is echoed as one frame, whatever the length of the messages before it. The server
/// is stopped while it arrives.
pub(crate) fn messages_up_to_64_kib_are_one_frame(binary: &Binary) {
    let server = binary.serve(&["--shards", "1"]);
    let mut peer = Peer::connect(server.addr);
    for len in [10, 5_000, 20_000, 60_000, 10, 60_000, 4_000, 4_096, 65_000] {
        let message = Frame::new(BINARY, noise(len, 10));
        server.signal(Signal::STOP);
        peer.send_frame(&message);
        server.signal(Signal::CONT);
        match peer.receive_frame() {
            Received::Frame(frame) if frame == message => {}
            other => peer.fail(&format!("one frame: {message}"), other),
        }
    }
    peer.close();
}
