//! TCP knows no frames: where segments begin and end must not matter.

use super::leaks::full_size;
use super::noise;
use crate::frame::{BINARY, Frame, PING, TEXT};
use crate::server::Binary;
use crate::wire::{Heard, Peer};
use rustix::process::Signal;

pub(crate) fn frames_octet_by_octet(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(&server);
    for message in [Frame::text(""), Frame::text("Grüße"), Frame::new(BINARY, noise(130, 1))] {
        peer.send_in_pieces(message.masked().chunks(1));
        peer.expect_echo(&message);
    }
    peer.send_in_pieces(Frame::new(PING, "ping").masked().chunks(1));
    peer.expect_pong("ping");
    peer.send_in_pieces(Frame::close(1000, "bye").masked().chunks(1));
    peer.expect_close(1000);
}

/// Each cut through the longest header (14 bytes), and through the key.
pub(crate) fn header_in_two_pieces(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(&server);
    for len in [5, 300, 70_000] {
        let message = Frame::new(BINARY, noise(len, 2));
        let octets = message.masked();
        for cut in 1..=octets.len().min(15) {
            peer.send_in_pieces([&octets[..cut], &octets[cut..]]);
            peer.expect_echo(&message);
        }
    }
    peer.close();
}

/// A whole frame and a part of the next in one segment.
pub(crate) fn frame_and_a_part_of_the_next(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(&server);
    let [first, second] = [Frame::text("the first"), Frame::text("the second")];
    let octets = [first.masked(), second.masked()].concat();
    for cut in first.masked().len() + 1..octets.len() {
        peer.send_in_pieces([&octets[..cut]]);
        peer.expect_echo(&first);
        peer.send(&octets[cut..]);
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
    let mut peer = Peer::connect(&server);
    let messages: Vec<_> = (0..count).map(|i| Frame::text(&format!("message {i}"))).collect();
    peer.say_all(&messages.iter().collect::<Vec<_>>());
    messages.iter().for_each(|message| peer.expect_echo(message));
    peer.close();
}

/// Small and large ones mixed, more than any one buffer holds, with the cuts wherever they fall.
pub(crate) fn stream_cut_at_odd_places(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(&server);
    let lengths = [0, 3, 4000, 125, 126, 9000, 1, 66_000, 7, 0, 500];
    let message = |i: usize| {
        Frame::new(if i.is_multiple_of(2) { BINARY } else { TEXT }, vec![b'a' + i as u8; lengths[i]])
    };
    let messages: Vec<_> = (0..lengths.len()).map(message).collect();
    let octets: Vec<_> = messages.iter().flat_map(Frame::masked).collect();
    for piece in [997, 4093, 20_011] {
        peer.send_in_pieces(octets.chunks(piece));
        messages.iter().for_each(|message| peer.expect_echo(message));
    }
    peer.close();
}

/// Most blocking clients write a whole message before they read anything: a server that stopped reading because its echo is not
/// read would wait for ever, and so would the client.
pub(crate) fn message_written_before_anything_is_read(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(&server);
    let message = Frame::new(BINARY, noise(16 << 20, 8));
    for _ in 0..2 {
        writes_whole(&mut peer, &message.masked());
        peer.expect_echo(&message);
    }
    peer.close();
}

/// The same on many connections at once: a hundred, or a thousand at full size.
pub(crate) fn messages_written_before_anything_is_read(binary: &Binary) {
    let count = if full_size() { 1_000 } else { 100 };
    let server = binary.serve(&[]);
    let mut peers = Peer::connect_many(&server, count);
    let message = Frame::new(BINARY, noise(1 << 20, 9));
    let octets = message.masked();
    peers.iter_mut().for_each(|peer| writes_whole(peer, &octets));
    peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
    peers.into_iter().for_each(Peer::close);
}

#[track_caller]
fn writes_whole(peer: &mut Peer, octets: &[u8]) {
    let written = peer.send_until_full(octets);
    if written < octets.len() {
        peer.fail(
            "the server reads on to the end of a message",
            format!("{written} bytes of {}", octets.len()),
        );
    }
}

/// A message of everyday size that has all arrived comes back as one frame, however long the messages before it were.
pub(crate) fn everyday_messages_are_one_frame(binary: &Binary) {
    let server = binary.serve(&["--shards", "1"]);
    let mut peer = Peer::connect(&server);
    for len in [10, 5_000, 20_000, 60_000, 10, 60_000, 4_000, 4_096, 65_000] {
        let message = Frame::new(BINARY, noise(len, 10));
        server.signal(Signal::STOP);
        peer.say(&message);
        server.signal(Signal::CONT);
        match peer.hear_frame() {
            Heard::Frame(frame) if frame == message => {}
            other => peer.fail(&format!("{message}, in one frame"), other),
        }
    }
    peer.close();
}
