//! Protocol violations: the server echoes the messages before an invalid frame, then closes with 1002 (RFC 6455,
//! sections 5 and 7.4.1).

use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};
use crate::server::{Binary, Server};
use crate::wire::Peer;

/// Sends a message and an invalid frame in one segment, and expects the echo and Close 1002.
#[track_caller]
fn violates(server: &Server, wrong: &[u8]) {
    let mut peer = Peer::connect(server.addr);
    let before = Frame::text("before");
    peer.send(&[&before.masked(), wrong].concat());
    peer.expect_echo(&before);
    peer.expect_close(1002);
}

/// Section 5.1: a client masks every frame.
pub(crate) fn unmasked_frames(binary: &Binary) {
    let server = binary.serve(&[]);
    for opcode in [TEXT, BINARY, PING, PONG] {
        violates(&server, &Frame::new(opcode, "unmasked").unmasked());
    }
    violates(&server, &Frame::new(TEXT, "").unmasked());
    violates(&server, &Frame::new(BINARY, [0; 300]).unmasked());
    violates(&server, &Frame::close(1000, "").unmasked());
    violates(
        &server,
        &[Frame::text("begun").without_fin().masked(), Frame::new(CONTINUATION, "unmasked").unmasked()]
            .concat(),
    );
}

/// Section 5.2: no negotiated extension defines them.
pub(crate) fn reserved_bits(binary: &Binary) {
    let server = binary.serve(&[]);
    for rsv in 1..8 {
        for frame in
            [Frame::text("reserved"), Frame::new(BINARY, ""), Frame::new(PING, "p"), Frame::close(1000, "")]
        {
            violates(&server, &frame.reserved(rsv).masked());
        }
    }
    let fragments = [Frame::text("begun").without_fin(), Frame::new(CONTINUATION, "reserved").reserved(4)];
    violates(&server, &fragments.map(|fragment| fragment.masked()).concat());
}

/// Section 5.2: 3 to 7 and 11 to 15.
pub(crate) fn reserved_opcodes(binary: &Binary) {
    let server = binary.serve(&[]);
    for opcode in (3..8).chain(11..16) {
        violates(&server, &Frame::new(opcode, "").masked());
        violates(&server, &Frame::new(opcode, "with a payload").masked());
        violates(&server, &Frame::new(opcode, "not the last").without_fin().masked());
    }
}

/// Section 5.4: there is no message to continue.
pub(crate) fn stray_continuation(binary: &Binary) {
    let server = binary.serve(&[]);
    violates(&server, &Frame::new(CONTINUATION, "of nothing").masked());
    violates(&server, &Frame::new(CONTINUATION, "of nothing").without_fin().masked());
    violates(&server, &Frame::new(CONTINUATION, "").masked());
}

/// Section 5.4: the message has already ended.
pub(crate) fn continuation_after_the_last(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let last = Frame::new(CONTINUATION, "two");
    peer.send_frames(&[&Frame::text("one").without_fin(), &last, &last]);
    peer.expect_echo(&Frame::text("onetwo"));
    peer.expect_close(1002);
}

/// Section 5.4: messages do not interleave.
pub(crate) fn message_within_a_message(binary: &Binary) {
    let server = binary.serve(&[]);
    for (outer, inner) in [(TEXT, TEXT), (TEXT, BINARY), (BINARY, TEXT), (BINARY, BINARY)] {
        let begun = Frame::new(outer, "begun").without_fin();
        violates(&server, &[begun.masked(), Frame::new(inner, "too early").masked()].concat());
        violates(&server, &[begun.masked(), Frame::new(inner, "too early").without_fin().masked()].concat());
    }
}

/// Section 5.5: control frames are not fragmented.
pub(crate) fn fragmented_control_frames(binary: &Binary) {
    let server = binary.serve(&[]);
    for opcode in [PING, PONG] {
        violates(&server, &Frame::new(opcode, "frag").without_fin().masked());
        let continued = [Frame::new(opcode, "frag").without_fin(), Frame::new(CONTINUATION, "ment")];
        violates(&server, &continued.map(|fragment| fragment.masked()).concat());
    }
    violates(&server, &Frame::close(1000, "").without_fin().masked());
}

/// Section 5.5: at most 125 bytes.
pub(crate) fn long_control_frames(binary: &Binary) {
    let server = binary.serve(&[]);
    for opcode in [CLOSE, PING, PONG] {
        violates(&server, &Frame::new(opcode, [0; 126]).masked());
        violates(&server, &Frame::new(opcode, [0; 100_000]).masked());
    }
}

/// Section 5.2: "the most significant bit MUST be 0". The length also exceeds the limit.
pub(crate) fn length_with_the_top_bit(binary: &Binary) {
    let server = binary.serve(&[]);
    for len in [1 << 63, u64::MAX, (1 << 63) + 5] {
        let mut peer = Peer::connect(server.addr);
        peer.send(&Frame::new(BINARY, "").declaring(len));
        peer.expect_close_of(&[1002, 1009]);
    }
}

/// A violation on one connection does not affect another.
pub(crate) fn other_connections_go_on(binary: &Binary) {
    let server = binary.serve(&["--shards", "1"]);
    let mut bystander = Peer::connect(server.addr);
    let half = Frame::text("one message");
    let bytes = half.masked();
    bystander.send_in_pieces([&bytes[..9]]);
    violates(&server, &Frame::new(7, "wrong").masked());
    bystander.send(&bytes[9..]);
    bystander.expect_echo(&half);
    bystander.close();
}
