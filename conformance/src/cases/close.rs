//! The closing handshake (RFC 6455, sections 5.5.1 and 7).

use super::noise;
use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, MAX_CONTROL_LEN, PING};
use crate::server::{Binary, Server};
use crate::wire::Peer;

/// Sends this Close, and hears it answered with the same code.
#[track_caller]
fn answered(server: &Server, code: u16, reason: &str) {
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text("before"));
    peer.send_frame(&Frame::close(code, reason));
    peer.expect_close(code);
}

/// Sends this Close, and hears it answered as a violation.
#[track_caller]
fn rejected(server: &Server, close: &Frame, codes: &[u16]) {
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(close);
    peer.expect_close_of(codes);
}

/// A Close without a body is answered in kind.
pub(crate) fn without_a_body(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(&Frame::new(CLOSE, ""));
    peer.expect(&Frame::new(CLOSE, ""));
    peer.expect_fin();
}

/// Every code that one may send (section 7.4).
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

/// Codes that only stand for something (1005, 1006, 1015), or for nothing (section 7.4).
pub(crate) fn invalid_codes(binary: &Binary) {
    let server = binary.serve(&[]);
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        rejected(&server, &Frame::close(code, ""), &[1002]);
    }
}

/// Section 5.5.1: the first two bytes are the code.
pub(crate) fn body_of_one_byte(binary: &Binary) {
    rejected(&binary.serve(&[]), &Frame::new(CLOSE, [3]), &[1002]);
}

/// Section 5.5.
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

/// Section 5.5.1: what follows a Close is discarded.
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

/// So is a megabyte of it, and with no reset: that could destroy the Close on its way.
pub(crate) fn a_megabyte_that_follows_is_ignored(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let after = Frame::new(BINARY, noise(1 << 20, 8));
    peer.send_frames(&[&Frame::close(1000, ""), &after]);
    peer.expect_close(1000);
}

/// A Close may come between the fragments of a message (section 5.4), which is then never finished.
pub(crate) fn within_a_fragmented_message(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.send_frames(&[&Frame::text("not the").more(), &Frame::new(CONTINUATION, "end").more()]);
    peer.send_frame(&Frame::close(1000, ""));
    peer.expect_close(1000);
}

/// The Close of a server that was offended early arrives, though its peer is in the middle of sending.
pub(crate) fn reaches_a_peer_that_is_sending(binary: &Binary) {
    const LEN: u64 = 8 << 20;
    let server = binary.serve(&["--max-message-size", "64KiB"]);
    let filler = vec![0; LEN as usize];
    // What is both, wrong and too large, may be refused as either.
    for (opcode, codes) in [(BINARY, &[1009][..]), (3, &[1002, 1009]), (CONTINUATION, &[1002, 1009])] {
        let mut peer = Peer::connect(server.addr);
        let start = Frame::new(opcode, "").declaring(LEN);
        if let Err(error) = peer.try_send(&[&start[..], &filler].concat()) {
            peer.fail("to send the message to its end", error);
        }
        peer.expect_close_of(codes);
    }
}
