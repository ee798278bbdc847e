//! Fragmentation (RFC 6455, section 5.4).

use super::{noise, prose};
use crate::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use crate::server::Binary;
use crate::wire::Peer;

/// Splits a message into fragments of `len` bytes.
fn cut(message: &Frame, len: usize) -> Vec<Frame> {
    let count = message.payload.chunks(len).count();
    let fragment = |(i, piece)| {
        let fragment = Frame::new(if i == 0 { message.opcode } else { CONTINUATION }, piece);
        if i + 1 < count { fragment.without_fin() } else { fragment }
    };
    message.payload.chunks(len).enumerate().map(fragment).collect()
}

pub(crate) fn two_fragments(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for message in [Frame::text("fragmented"), Frame::new(BINARY, noise(10, 1))] {
        cut(&message, 5).iter().for_each(|fragment| peer.send_frame(fragment));
        peer.expect_echo(&message);
    }
    peer.close();
}

/// A Ping between fragments is answered before the message ends.
pub(crate) fn ping_between(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::text("to be continued");
    let fragments = cut(&message, 8);
    peer.send_frames(&[&fragments[0], &Frame::new(PING, "between")]);
    peer.expect_pong("between");
    peer.send_frame(&fragments[1]);
    peer.expect_echo(&message);
    peer.close();
}

/// The same in one segment: the Pong still precedes the end of the echo.
pub(crate) fn ping_between_in_a_segment(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::text("to be continued");
    let fragments = cut(&message, 8);
    peer.send_frames(&[&fragments[0], &Frame::new(PING, "between"), &fragments[1]]);
    peer.expect_pong("between");
    peer.expect_echo(&message);
    peer.close();
}

pub(crate) fn empty_fragments(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let empty = Frame::new(CONTINUATION, "");
    peer.send_frames(&[&Frame::text("").without_fin(), &empty.clone().without_fin(), &empty]);
    peer.expect_echo(&Frame::text(""));
    peer.send_frames(&[
        &Frame::text("").without_fin(),
        &Frame::new(CONTINUATION, "middle").without_fin(),
        &empty,
    ]);
    peer.expect_echo(&Frame::text("middle"));
    peer.close();
}

pub(crate) fn many_fragments(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for (message, len) in [
        (Frame::new(TEXT, prose(1000)), 1),
        (Frame::new(BINARY, noise(100_000, 3)), 64),
        (Frame::new(BINARY, noise(1 << 20, 4)), 65_536),
    ] {
        peer.send_frames(&cut(&message, len).iter().collect::<Vec<_>>());
        peer.expect_echo(&message);
    }
    peer.close();
}

/// Fragmented and unfragmented messages, interleaved.
pub(crate) fn fragmented_and_whole(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let messages: Vec<_> = (0..20).map(|i| Frame::text(&format!("message {i}, in pieces or not"))).collect();
    for (i, message) in messages.iter().enumerate() {
        cut(message, if i % 3 == 0 { 100 } else { 9 }).iter().for_each(|fragment| peer.send_frame(fragment));
    }
    messages.iter().for_each(|message| peer.expect_echo(message));
    peer.close();
}

/// The reassembly state is per connection.
pub(crate) fn fragments_of_two_peers(binary: &Binary) {
    let server = binary.serve(&["--shards", "1"]);
    let [mut one, mut two] = [Peer::connect(server.addr), Peer::connect(server.addr)];
    let [first, second] = [Frame::text("the message of one"), Frame::new(BINARY, noise(40, 5))];
    for (a, b) in cut(&first, 6).iter().zip(&cut(&second, 14)) {
        one.send_in_pieces([&a.masked()[..]]);
        two.send_in_pieces([&b.masked()[..]]);
    }
    one.expect_echo(&first);
    two.expect_echo(&second);
    one.close();
    two.close();
}
