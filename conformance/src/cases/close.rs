//! The closing handshake (RFC 6455, sections 5.5.1 and 7).

use super::noise;
use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, MAX_CONTROL_LEN, PING};
use crate::server::{Binary, Server};
use crate::wire::Peer;

/// Sends this Close, and expects a Close with the same code.
#[track_caller]
fn answered(server: &Server, code: u16, reason: &str) {
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text("before"));
    peer.send_frame(&Frame::close(code, reason));
    peer.expect_close(code);
}

/// Sends this invalid Close, and expects one of these codes.
#[track_caller]
fn rejected(server: &Server, close: &Frame, codes: &[u16]) {
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(close);
    peer.expect_close_of(codes);
}

/// A Close without a body is answered with one.
pub(crate) fn without_a_body(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(&Frame::new(CLOSE, ""));
    peer.expect(&Frame::new(CLOSE, ""));
    peer.expect_fin();
}

/// Codes that an endpoint may send (section 7.4).
pub(crate) fn valid_codes(binary: &Binary) {
    let server = binary.serve(&[]);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        answered(&server, code, "");
    }
}

pub(crate) fn with_a_reason(binary: &Binary) {
    let server = binary.serve(&[]);
    answered(&server, 1000, "going home");
    answered(&server, 3000, "à bientôt 👋");
    answered(&server, 1000, &"r".repeat(MAX_CONTROL_LEN - 2));
}

/// Codes that must not appear in a frame (1005, 1006, 1015), and codes without a meaning (section 7.4).
pub(crate) fn invalid_codes(binary: &Binary) {
    let server = binary.serve(&[]);
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        rejected(&server, &Frame::close(code, ""), &[1002]);
    }
}

/// Section 5.5.1: a body begins with a two-byte code.
pub(crate) fn body_of_one_byte(binary: &Binary) {
    rejected(&binary.serve(&[]), &Frame::new(CLOSE, [3]), &[1002]);
}

/// Section 5.5: at most 125 bytes.
pub(crate) fn body_of_126_bytes(binary: &Binary) {
    rejected(&binary.serve(&[]), &Frame::close(1000, &"r".repeat(MAX_CONTROL_LEN - 1)), &[1002]);
}

/// Section 5.5.1: the reason is UTF-8.
pub(crate) fn reason_that_is_not_utf8(binary: &Binary) {
    let server = binary.serve(&[]);
    for reason in [&b"\xff"[..], b"\xce\xba\xe1\xbd", b"ok \xed\xa0\x80"] {
        rejected(&server, &Frame::new(CLOSE, [&[3, 0xe8], reason].concat()), &[1007, 1002]);
    }
}

/// Section 5.5.1: data after a Close is discarded.
pub(crate) fn what_follows_is_ignored(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.send_frames(&[
        &Frame::text("before"),
        &Frame::close(1000, ""),
        &Frame::text("after"),
        &Frame::new(PING, "after"),
        &Frame::close(1001, ""),
    ]);
    peer.expect_echo(&Frame::text("before"));
    peer.expect_close(1000);
}

/// The same for a megabyte. The server must not reset the connection: a reset could discard the Close.
pub(crate) fn a_megabyte_that_follows_is_ignored(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let after = Frame::new(BINARY, noise(1 << 20, 8));
    peer.send_frames(&[&Frame::close(1000, ""), &after]);
    peer.expect_close(1000);
}

/// A Close may come between the fragments of a message (section 5.4), and ends it unfinished.
pub(crate) fn within_a_fragmented_message(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.send_frames(&[
        &Frame::text("not the").without_fin(),
        &Frame::new(CONTINUATION, "end").without_fin(),
    ]);
    peer.send_frame(&Frame::close(1000, ""));
    peer.expect_close(1000);
}

/// The Close of a server that rejects a frame by its header arrives, although the peer is still sending the payload.
pub(crate) fn reaches_a_peer_that_is_sending(binary: &Binary) {
    const LEN: u64 = 8 << 20;
    let server = binary.serve(&["--max-message-size", "64KiB"]);
    let filler = vec![0; LEN as usize];
    // A frame with two faults may be rejected for either.
    for (opcode, codes) in [(BINARY, &[1009][..]), (3, &[1002, 1009]), (CONTINUATION, &[1002, 1009])] {
        let mut peer = Peer::connect(server.addr);
        let start = Frame::new(opcode, "").declaring(LEN);
        if let Err(error) = peer.try_send(&[&start[..], &filler].concat()) {
            peer.fail("to send the whole message", error);
        }
        peer.expect_close_of(codes);
    }
}
