//! Ping and Pong (RFC 6455, sections 5.5.2 and 5.5.3).

use super::noise;
use crate::frame::{BINARY, Frame, MAX_CONTROL_LEN, PING, PONG};
use crate::server::Binary;
use crate::wire::{Peer, Received};

pub(crate) fn pong_has_the_payload(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for len in [0, 1, 4, 124, MAX_CONTROL_LEN] {
        let payload = noise(len, 6);
        peer.send_frame(&Frame::new(PING, &payload));
        peer.expect_pong(&payload);
    }
    peer.close();
}

/// `--max-message-size` does not apply to control frames, which have their own limit (section 5.5).
pub(crate) fn long_ping_under_a_small_limit(binary: &Binary) {
    let server = binary.serve(&["--max-message-size", "16"]);
    let mut peer = Peer::connect(server.addr);
    let payload = noise(MAX_CONTROL_LEN, 6);
    peer.send_frame(&Frame::new(PING, &payload));
    peer.expect_pong(&payload);
    peer.send_frame(&Frame::new(BINARY, noise(17, 6)));
    peer.expect_close(1009);
}

/// An unsolicited Pong gets no reply: the next frame is the echo.
pub(crate) fn unsolicited_pong_is_ignored(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.send_frames(&[&Frame::new(PONG, "unasked"), &Frame::new(PONG, ""), &Frame::text("next")]);
    peer.expect_echo(&Frame::text("next"));
    peer.close();
}

/// Pongs and echoes come in the order of the Pings and messages.
pub(crate) fn pings_among_messages(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    for i in 0..10 {
        let [ping, message] = [Frame::new(PING, [i]), Frame::new(BINARY, noise(2000, 7))];
        peer.send_frames(&[&message, &ping, &message]);
        peer.expect_echo(&message);
        peer.expect_pong([i]);
        peer.expect_echo(&message);
    }
    peer.close();
}

/// Ten Pings in one segment: the server must answer the last one, and may answer the others, in order (section 5.5.3).
pub(crate) fn ten_pings_in_a_segment(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let pings: Vec<_> = (0..10).map(|i| Frame::new(PING, [i])).collect();
    peer.send_frames(&pings.iter().chain([&Frame::text("end")]).collect::<Vec<_>>());
    let mut answered = vec![];
    while answered.last() != Some(&9) {
        match peer.receive() {
            Received::Frame(Frame { opcode: PONG, payload, .. }) => answered.extend(payload),
            other => peer.fail("Pongs, the last with payload 9", other),
        }
    }
    if !answered.is_sorted() {
        peer.fail("Pongs in the order of the Pings", format!("{answered:?}"));
    }
    peer.expect_echo(&Frame::text("end"));
    peer.close();
}

/// A peer in the middle of a message receives Pings too, and may finish the message later.
pub(crate) fn pinged_within_a_message(binary: &Binary) {
    let server = binary.serve(&["--ping-interval", "100ms"]);
    for cut in [1, 8, 3_000] {
        let mut peer = Peer::connect(server.addr);
        let message = Frame::new(BINARY, noise(5_000, 8));
        let bytes = message.masked();
        peer.send(&bytes[..cut]);
        match peer.receive() {
            Received::Frame(Frame { opcode: PING, .. }) => {}
            other => peer.fail("a Ping", other),
        }
        peer.send(&bytes[cut..]);
        peer.expect_echo_among_pings(&message);
        peer.close_among_pings();
    }
}
