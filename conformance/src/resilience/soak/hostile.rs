//! Peers that break off, stand still, or break the rules.

use super::traffic::Round;
use crate::cases::noise;
use crate::frame::{BINARY, Frame, TEXT};
use crate::http::Request;
use crate::wire::Peer;
use std::collections::VecDeque;

/// Peers that stand still at the same time.
const STALLED: usize = 20;
/// Messages that are sent before a peer resets without having read one echo: few, for nobody knows which arrived.
const UNREAD: usize = 8;
const UNREAD_LEN: usize = 128 << 10;

/// Something hostile to do.
type Deed<'r> = fn(&Round<'r>) -> Option<Peer>;

impl<'r> Round<'r> {
    /// One after another. Who is to stand still stays for a while.
    pub fn hostile(&self) {
        let deeds: [Deed<'r>; 12] = [
            |round| round.refused(Request::handshake("/echo").without("Sec-WebSocket-Key").bytes(), 400),
            |round| round.refused(b"nonsense\r\n\r\n".to_vec(), 400),
            |round| {
                round.refused(Request::handshake("/echo").with("Sec-WebSocket-Version", "8").bytes(), 426)
            },
            |round| round.violates(&Frame::text("Hello").unmasked(), 1002),
            |round| round.violates(&Frame::new(3, "").masked(), 1002),
            |round| round.violates(&Frame::new(TEXT, [0xff]).masked(), 1007),
            |round| round.violates(&Frame::new(BINARY, "").declaring(3 << 20), 1009),
            Round::resets_in_the_handshake,
            Round::resets_in_a_message,
            Round::resets_unread,
            Round::stops_in_the_handshake,
            Round::stops_in_a_message,
        ];
        let mut stalled = VecDeque::new();
        self.paced(20.0, |turn| {
            stalled.extend(deeds[turn % deeds.len()](self));
            if stalled.len() > STALLED {
                stalled.pop_front();
            }
        });
    }

    /// A request that is no handshake, and is told so.
    fn refused(&self, request: Vec<u8>, status: u16) -> Option<Peer> {
        let mut peer = Peer::open(self.server.addr);
        peer.send(&request);
        assert_eq!(peer.plain_response().status, status, "status of what is no handshake");
        None
    }

    /// Bytes that end the connection with a Close.
    fn violates(&self, bytes: &[u8], code: u16) -> Option<Peer> {
        let mut peer = self.connect();
        peer.send(bytes);
        peer.expect_close(code);
        self.tally.violations.add(1);
        None
    }

    /// With nothing sent, with a part of a request, and with all of it: which then may have become a connection.
    fn resets_in_the_handshake(&self) -> Option<Peer> {
        let request = Request::handshake("/echo").bytes();
        for len in [0, 50, request.len()] {
            let mut peer = Peer::open(self.server.addr);
            peer.send(&request[..len]);
            peer.reset();
        }
        self.tally.opened.add_unsure(1);
        None
    }

    fn resets_in_a_message(&self) -> Option<Peer> {
        self.stops_in_a_message().into_iter().for_each(Peer::reset);
        None
    }

    /// Without having read one echo of many.
    fn resets_unread(&self) -> Option<Peer> {
        let mut peer = self.connect();
        let bytes = Frame::new(BINARY, noise(UNREAD_LEN, 2)).masked();
        let whole = peer.send_until_full(&bytes.repeat(UNREAD)) / bytes.len();
        self.tally.messages.add_unsure(whole);
        self.tally.bytes.add_unsure(whole * UNREAD_LEN);
        peer.reset();
        None
    }

    fn stops_in_the_handshake(&self) -> Option<Peer> {
        let mut peer = Peer::open(self.server.addr);
        peer.send(&Request::handshake("/echo").bytes()[..50]);
        Some(peer)
    }

    fn stops_in_a_message(&self) -> Option<Peer> {
        let mut peer = self.connect();
        peer.send(&Frame::new(BINARY, noise(70_000, 3)).masked()[..40_000]);
        Some(peer)
    }
}
