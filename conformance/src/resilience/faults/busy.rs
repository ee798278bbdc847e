//! Peers in full echo: many messages under way on each, no two of them alike.

use crate::cases::noise;
use crate::frame::{BINARY, CLOSE, Frame};
use crate::server::Server;
use crate::wire::{Peer, Received};

/// Lengths of the messages of a turn.
const LENS: [usize; 6] = [10, 125, 126, 1_000, 5_000, 70_000];

/// A peer that counts what it sends and hears.
pub(super) struct BusyPeer {
    /// `None` once the server has ended the connection.
    peer: Option<Peer>,
    number: usize,
    sent: usize,
    echoes: usize,
}

impl BusyPeer {
    pub fn connect(server: &Server, number: usize) -> BusyPeer {
        let mut peer = Peer::connect(server.addr);
        peer.timeout = super::LONG;
        BusyPeer { peer: Some(peer), number, sent: 0, echoes: 0 }
    }

    /// Sends a message of each length in one segment, without waiting for anything.
    fn say_turn(&mut self, noise: &[u8]) {
        let Some(peer) = &mut self.peer else { return };
        let numbers = self.sent..self.sent + LENS.len();
        let messages = numbers.map(|number| message(self.number, number, noise)).collect::<Vec<_>>();
        peer.send_frames(&messages.iter().collect::<Vec<_>>());
        self.sent += LENS.len();
    }

    /// Hears echoes until no more than a turn is under way, or Close 1001, which it answers.
    fn hear_turn(&mut self, noise: &[u8]) {
        let Some(mut peer) = self.peer.take() else { return };
        while self.sent - self.echoes > LENS.len() {
            let expected = message(self.number, self.echoes, noise);
            match peer.receive() {
                Received::Frame(frame) if frame == expected => self.echoes += 1,
                Received::Frame(Frame { opcode: CLOSE, payload, .. }) if payload.starts_with(&[3, 0xe9]) => {
                    peer.send_frame(&Frame::close(1001, ""));
                    return peer.expect_fin();
                }
                other => peer.fail(&format!("{expected}, number {}, or Close 1001", self.echoes), other),
            }
        }
        self.peer = Some(peer);
    }
}

/// Keeps two turns under way with each peer until the server has sent all of them away. Returns how many echoes came.
pub(super) fn echo_until_close(crowd: &mut [BusyPeer]) -> usize {
    let noise = noise(LENS[LENS.len() - 1], 1);
    while crowd.iter().any(|peer| peer.peer.is_some()) {
        crowd.iter_mut().for_each(|peer| peer.say_turn(&noise));
        crowd.iter_mut().for_each(|peer| peer.hear_turn(&noise));
    }
    crowd.iter().map(|peer| peer.echoes).sum()
}

/// A message that no other peer sends, and no peer twice.
fn message(peer: usize, number: usize, noise: &[u8]) -> Frame {
    let mut payload = noise[..LENS[number % LENS.len()]].to_vec();
    payload[..4].copy_from_slice(&(peer as u32).to_be_bytes());
    payload[4..8].copy_from_slice(&(number as u32).to_be_bytes());
    Frame::new(BINARY, payload)
}
