//! Valid opening handshakes (RFC 6455, section 4).

use crate::descriptors::shard_room;
use crate::frame::{BINARY, Frame};
use crate::http::Request;
use crate::server::{Binary, Server};
use crate::wire::Peer;
use rustix::process::Signal;
use tungstenite::handshake::derive_accept_key;

/// Expects a handshake to be accepted, and the connection to echo.
#[track_caller]
fn accepted(server: &Server, request: &Request) {
    let mut peer = Peer::open(server.addr);
    peer.send(&request.bytes());
    peer.expect_upgrade();
    peer.round_trip(&Frame::text("after the handshake"));
    peer.close();
}

pub(crate) fn accepts_on_echo(binary: &Binary) {
    accepted(&binary.serve(&[]), &Request::handshake("/echo"));
}

pub(crate) fn accepts_on_root(binary: &Binary) {
    let server = binary.serve(&[]);
    ["/", "/echo/", "/?token=a"].into_iter().for_each(|path| accepted(&server, &Request::handshake(path)));
}

/// The accept value is base64(SHA-1(key + a fixed GUID)) (section 4.2.2, item 5.4).
pub(crate) fn answers_any_key(binary: &Binary) {
    let server = binary.serve(&[]);
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "/////////////////////w==",
        "x3JJHMbDL1EzLkh9GBhXDw==",
        "AQIDBAUGBwgJCgsMDQ4PEA==",
        // The key of section 4.1: the unused bits of its last character are not zero.
        "AQIDBAUGBwgJCgsMDQ4PEC==",
    ] {
        let mut peer = Peer::open(server.addr);
        peer.send(&Request::handshake("/echo").with("Sec-WebSocket-Key", key).bytes());
        let response = peer.response_head();
        let accept = derive_accept_key(key.as_bytes());
        if response.field("Sec-WebSocket-Accept") != Some(&accept) {
            peer.fail(&format!("the accept value {accept} for the key {key}"), response);
        }
    }
}

/// Field names and these values are case-insensitive (section 4.2.1, items 3 and 4).
pub(crate) fn accepts_fields_in_any_case(binary: &Binary) {
    let request = Request::handshake("/echo")
        .with("hOST", "127.0.0.1")
        .with("uPGRADE", "WebSOCKET")
        .with("CONNECTION", "upGRADE")
        .with("sec-websocket-version", "13")
        .with("SEC-WEBSOCKET-KEY", crate::http::SAMPLE_KEY);
    accepted(&binary.serve(&[]), &request);
}

/// `Upgrade` as one of several tokens, as browsers send it (section 4.2.1, item 4).
pub(crate) fn accepts_connection_as_a_list(binary: &Binary) {
    let server = binary.serve(&[]);
    for list in ["keep-alive, Upgrade", "Upgrade, keep-alive", "keep-alive,upgrade ,foo"] {
        accepted(&server, &Request::handshake("/echo").with("Connection", list));
    }
}

/// White space around a value is not part of it (RFC 9112, section 5).
pub(crate) fn accepts_white_space_around_values(binary: &Binary) {
    let request =
        Request::handshake("/echo").with("Upgrade", "  websocket\t").with("Sec-WebSocket-Version", " 13 ");
    accepted(&binary.serve(&[]), &request);
}

/// Unknown extensions and subprotocols are omitted from the response (sections 4.2.2 and 9.1).
pub(crate) fn declines_extensions_and_subprotocols(binary: &Binary) {
    let request = Request::handshake("/echo")
        .with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .with("Sec-WebSocket-Protocol", "chat, superchat")
        .with("Origin", "http://example.com")
        .with("Cookie", "a=b");
    accepted(&binary.serve(&[]), &request);
}

/// The first offered subprotocol that `--subprotocol` lists, or none (section 4.2.2, item 5.5).
pub(crate) fn selects_a_subprotocol(binary: &Binary) {
    let server = binary.serve(&["--subprotocol", "chat,v10.stomp"]);
    for (offered, selected) in [
        (None, None),
        (Some("chat"), Some("chat")),
        (Some("mqtt, v10.stomp, chat"), Some("v10.stomp")),
        (Some("Chat"), None),
        (Some("mqtt"), None),
        (Some(""), None),
    ] {
        let request = Request::handshake("/echo");
        let mut peer = Peer::open(server.addr);
        let offer = |offered| request.clone().with("Sec-WebSocket-Protocol", offered);
        peer.send(&offered.map_or(request.clone(), offer).bytes());
        let response = peer.response_head();
        if response.status != 101 || response.field("Sec-WebSocket-Protocol") != selected {
            peer.fail(&format!("101 and the subprotocol {selected:?} of {offered:?}"), response);
        }
        peer.round_trip(&Frame::text("after the handshake"));
        peer.close();
    }
}

/// A head of nearly 8 KiB is within the limit.
pub(crate) fn accepts_a_long_head(binary: &Binary) {
    accepted(&binary.serve(&[]), &Request::handshake("/echo").with("Cookie", "c".repeat(7900)));
}

/// The first frame may come in the same segment as the request.
pub(crate) fn accepts_a_frame_with_the_request(binary: &Binary) {
    let server = binary.serve(&[]);
    let first = Frame::text("as early as can be");
    let mut peer = Peer::open(server.addr);
    peer.send(&[Request::handshake("/echo").bytes(), first.masked()].concat());
    peer.expect_upgrade();
    peer.expect_echo(&first);
    peer.close();
}

/// The same with the start of a message that is longer than a read buffer.
pub(crate) fn accepts_a_large_frame_with_the_request(binary: &Binary) {
    let server = binary.serve(&[]);
    let first = Frame::new(BINARY, super::noise(300_000, 13));
    let mut peer = Peer::open(server.addr);
    peer.send(&[Request::handshake("/echo").bytes(), first.masked()].concat());
    peer.expect_upgrade();
    peer.expect_echo(&first);
    peer.close();
}

/// The same with two messages, a Close and a FIN.
pub(crate) fn accepts_everything_with_the_request(binary: &Binary) {
    let server = binary.serve(&[]);
    let messages = [Frame::text("one"), Frame::text("two")];
    let mut peer = Peer::open(server.addr);
    let frames = [messages[0].masked(), messages[1].masked(), Frame::close(1000, "").masked()].concat();
    peer.send(&[Request::handshake("/echo").bytes(), frames].concat());
    peer.half_close();
    peer.expect_upgrade();
    messages.iter().for_each(|message| peer.expect_echo(message));
    peer.expect_close(1000);
}

pub(crate) fn accepts_a_request_byte_by_byte(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::open(server.addr);
    peer.send_in_pieces(Request::handshake("/echo").bytes().chunks(1));
    peer.expect_upgrade();
    peer.round_trip(&Frame::text("at last"));
    peer.close();
}

/// Hundreds of connections in the backlog, a third of them already closed by the client. The server is stopped while
/// they arrive.
pub(crate) fn accepts_a_burst(binary: &Binary) {
    let server = binary.serve(&["--shards", "1", "--backlog", "400"]);
    server.signal(Signal::STOP);
    let count = shard_room(300);
    let part = count / 6;
    let mut peers: Vec<_> = (0..count).map(|_| Peer::open(server.addr)).collect();
    peers.iter_mut().for_each(|peer| peer.send(&Request::handshake("/echo").bytes()));
    peers.drain(2 * part..3 * part).for_each(Peer::reset);
    drop(peers.drain(2 * part..3 * part));
    server.signal(Signal::CONT);
    for peer in &mut peers {
        peer.expect_upgrade();
        peer.round_trip(&Frame::text("one of many"));
    }
    server.metrics_agree(&[("ws_connections_active", count - 2 * part)]);
}

/// An independent client implementation.
pub(crate) fn interoperates_with_tungstenite(binary: &Binary) {
    let server = binary.serve(&[]);
    let stream = std::net::TcpStream::connect(server.addr).expect("connect");
    stream.set_read_timeout(Some(crate::wait::TIMEOUT)).expect("SO_RCVTIMEO");
    let (mut socket, response) =
        tungstenite::client(format!("ws://{}/echo", server.addr), stream).expect("a handshake");
    assert_eq!(response.status(), 101);
    for message in [tungstenite::Message::text("Hello"), tungstenite::Message::binary(vec![7; 100_000])] {
        socket.send(message.clone()).expect("a message sent");
        assert_eq!(socket.read().expect("its echo"), message);
    }
    socket.close(None).expect("a Close sent");
    let ended = std::iter::repeat_with(|| socket.read()).find_map(Result::err);
    assert!(matches!(ended, Some(tungstenite::Error::ConnectionClosed)), "got: {ended:?}");
}
