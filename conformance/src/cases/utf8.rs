//! A text message must be UTF-8 (RFC 6455, sections 5.6 and 8.1). A fragment may end within a character.

use crate::frame::{BINARY, CONTINUATION, Frame, TEXT};
use crate::server::Binary;
use crate::wire::Peer;

/// Invalid UTF-8 (RFC 3629, sections 3 and 4).
const BAD: [&[u8]; 12] = [
    b"\xff",                     // not a byte of UTF-8
    b"\x80",                     // a continuation byte without a start
    b"fine until \xfe",          // not a byte of UTF-8
    b"\xc3(",                    // no continuation byte
    b"\xc0\xaf",                 // overlong "/", two bytes
    b"\xe0\x80\xaf",             // overlong "/", three bytes
    b"\xf0\x80\x80\xaf",         // overlong "/", four bytes
    b"\xed\xa0\x80",             // a surrogate
    b"\xed\xa0\xbd\xed\xb8\x80", // a surrogate pair
    b"\xf4\x90\x80\x80",         // above U+10FFFF
    b"\xe2\x82",                 // an incomplete character
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
];

pub(crate) fn whole_message(binary: &Binary) {
    let server = binary.serve(&[]);
    for bad in BAD {
        let mut peer = Peer::connect(server.addr);
        peer.send_frames(&[&Frame::text("before"), &Frame::new(TEXT, bad)]);
        peer.expect_echo(&Frame::text("before"));
        peer.expect_close(1007);
    }
}

/// In the last fragment, after a valid one.
pub(crate) fn last_fragment(binary: &Binary) {
    let server = binary.serve(&[]);
    for bad in BAD {
        let mut peer = Peer::connect(server.addr);
        peer.send_frames(&[&Frame::text("a good start, ").without_fin(), &Frame::new(CONTINUATION, bad)]);
        peer.expect_close(1007);
    }
}

/// At the start, around the boundaries of blocks and buffers, and at the end.
pub(crate) fn anywhere_in_a_long_message(binary: &Binary) {
    let server = binary.serve(&[]);
    for at in [0, 1, 31, 32, 4095, 4096, 65_535, 65_536, 299_999] {
        let mut text = vec![b'x'; 300_000];
        text[at] = 0xff;
        let mut peer = Peer::connect(server.addr);
        peer.send_frame(&Frame::new(TEXT, text));
        peer.expect_close(1007);
    }
}

/// A character split over up to four fragments is valid.
pub(crate) fn character_cut_across_fragments(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let text = "é€🦀";
    for cut in 0..=text.len() {
        let (head, tail) = text.as_bytes().split_at(cut);
        peer.send_frames(&[&Frame::new(TEXT, head).without_fin(), &Frame::new(CONTINUATION, tail)]);
        peer.expect_echo(&Frame::text(text));
    }
    peer.send_frame(&Frame::new(TEXT, "").without_fin());
    text.as_bytes().chunks(1).for_each(|byte| peer.send_frame(&Frame::new(CONTINUATION, byte).without_fin()));
    peer.send_frame(&Frame::new(CONTINUATION, ""));
    peer.expect_echo(&Frame::text(text));
    peer.close();
}

/// A character that the next fragment does not complete.
pub(crate) fn incomplete_character(binary: &Binary) {
    let server = binary.serve(&[]);
    for last in [&b""[..], b"x", b"\xc3"] {
        let mut peer = Peer::connect(server.addr);
        peer.send_frames(&[&Frame::new(TEXT, b"\xe2\x82").without_fin(), &Frame::new(CONTINUATION, last)]);
        peer.expect_close(1007);
    }
}

/// A character split over two segments is valid.
pub(crate) fn character_cut_across_segments(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    let message = Frame::text("🦀");
    let bytes = message.masked();
    for cut in 7..bytes.len() {
        peer.send_in_pieces([&bytes[..cut], &bytes[cut..]]);
        peer.expect_echo(&message);
    }
    peer.close();
}

/// Boundary code points in text, and invalid UTF-8 in binary messages.
pub(crate) fn valid_text_and_any_binary(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text(
        "\0 \u{7f} \u{80} \u{7ff} \u{800} \u{ffff} \u{fffe} \u{d7ff} \u{e000} \u{10ffff}",
    ));
    for bad in BAD {
        peer.round_trip(&Frame::new(BINARY, bad));
    }
    peer.close();
}
