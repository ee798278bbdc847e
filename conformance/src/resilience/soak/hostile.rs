//! Hostile peers: they violate a protocol, reset the connection, or stall.

use super::traffic::Round;
use crate::cases::noise;
use crate::frame::{BINARY, Frame, TEXT};
use crate::http::Request;
use crate::wire::Peer;
use std::collections::VecDeque;

/// The number of stalled peers that are kept open.
const STALLED: usize = 20;
/// Messages sent before a reset with all echoes unread. Few, because the peer cannot know how many were received.
const UNREAD: usize = 8;
const UNREAD_LEN: usize = 128 << 10;

/// A hostile action. It returns the peer if that is to stay stalled.
type Action<'r> = fn(&Round<'r>) -> Option<Peer>;

impl<'r> Round<'r> {
    /// Runs the actions in order, 20 per second.
    pub fn hostile(&self) {
        let actions: [Action<'r>; 12] = [
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
        self.paced(20.0, |count| {
            stalled.extend(actions[count % actions.len()](self));
            if stalled.len() > STALLED {
                stalled.pop_front();
            }
        });
    }

    /// An invalid request, refused with this status.
    fn refused(&self, request: Vec<u8>, status: u16) -> Option<Peer> {
        let mut peer = Peer::open(self.server.addr);
        peer.send(&request);
        assert_eq!(peer.plain_response().status, status, "status of an invalid request");
        None
    }

    /// An invalid frame, answered by a Close with this code.
    fn violates(&self, bytes: &[u8], code: u16) -> Option<Peer> {
        let mut peer = self.connect();
        peer.send(bytes);
        peer.expect_close(code);
        self.tally.violations.add(1);
        None
    }

    /// Resets without a request, after part of one, and after a whole one: the last may have opened a connection.
    fn resets_in_the_handshake(&self) -> Option<Peer> {
        let request = Request::handshake("/echo").bytes();
        for len in [0, 50, request.len()] {
            let mut peer = Peer::open(self.server.addr);
            peer.send(&request[..len]);
            peer.reset();
        }
        self.tally.opened.add_possible(1);
        None
    }

    fn resets_in_a_message(&self) -> Option<Peer> {
        self.stops_in_a_message().into_iter().for_each(Peer::reset);
        None
    }

    /// Resets with all echoes unread.
    fn resets_unread(&self) -> Option<Peer> {
        let mut peer = self.connect();
        let bytes = Frame::new(BINARY, noise(UNREAD_LEN, 2)).masked();
        let whole = peer.send_until_full(&bytes.repeat(UNREAD)) / bytes.len();
        self.tally.messages.add_possible(whole);
        self.tally.bytes.add_possible(whole * UNREAD_LEN);
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
