//! Echoes have the opcode and the payload of the message (RFC 6455, section 5.6).

use super::{noise, prose};
use crate::frame::{BINARY, Frame, TEXT};
use crate::server::Binary;
use crate::wire::Peer;

/// Lengths on both sides of each step of the length encoding (section 5.2), and one that takes many reads.
const LENGTHS: [usize; 10] = [0, 1, 2, 124, 125, 126, 127, 65_535, 65_536, 1 << 20];

pub(crate) fn text_of_each_length(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for len in LENGTHS {
        peer.round_trip(&Frame::new(TEXT, prose(len)));
    }
    peer.close();
}

pub(crate) fn binary_of_each_length(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for len in LENGTHS {
        peer.round_trip(&Frame::new(BINARY, noise(len, len as u64)));
    }
    peer.close();
}

/// 700 lengths up to 4,893 bytes, beyond the default read buffer, with 50 messages in flight.
pub(crate) fn many_lengths_in_a_row(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let messages: Vec<_> = (0..700).map(|len| Frame::new(BINARY, noise(len * 7, len as u64))).collect();
    for batch in messages.chunks(50) {
        peer.send_frames(&batch.iter().collect::<Vec<_>>());
        batch.iter().for_each(|message| peer.expect_echo(message));
    }
    peer.close();
}

/// A message as long as the default `--max-message-size`.
pub(crate) fn sixteen_mebibytes(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::new(BINARY, noise(16 << 20, 16)));
    peer.round_trip(&Frame::text("and a short one"));
    peer.close();
}

/// Each connection receives its own echoes.
pub(crate) fn many_connections(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peers = Peer::connect_many(server.addr, 100);
    for round in 0..3 {
        let messages: Vec<_> =
            (0..peers.len()).map(|i| Frame::text(&format!("{i} in round {round}"))).collect();
        peers.iter_mut().zip(&messages).for_each(|(peer, message)| peer.send_frame(message));
        peers.iter_mut().zip(&messages).for_each(|(peer, message)| peer.expect_echo(message));
    }
    peers.into_iter().for_each(Peer::close);
}

/// Echoes still arrive after the peer has sent its last message and half-closed.
pub(crate) fn after_a_half_close(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let messages = [Frame::text("last"), Frame::text("words")];
    peer.send_frames(&[&messages[0], &messages[1], &Frame::close(1000, "")]);
    peer.half_close();
    messages.iter().for_each(|message| peer.expect_echo(message));
    peer.expect_close(1000);
}
