//! Busy peers: each keeps many messages in flight, and no two messages are equal.

use crate::cases::noise;
use crate::frame::{BINARY, CLOSE, Frame};
use crate::server::Server;
use crate::wire::{Peer, Received};
use std::time::Duration;

/// The timeout under load, and on a link where a segment may be lost several times.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// The lengths of the messages in a batch.
const LENS: [usize; 6] = [10, 125, 126, 1_000, 5_000, 70_000];

/// A peer that counts its messages and echoes.
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
        peer.timeout = LONG_TIMEOUT;
        BusyPeer { peer: Some(peer), number, sent: 0, echoes: 0 }
    }

    /// Sends a message of each length in one write.
    fn send_batch(&mut self, noise: &[u8]) {
        let Some(peer) = &mut self.peer else { return };
        let numbers = self.sent..self.sent + LENS.len();
        let messages = numbers.map(|number| message(self.number, number, noise)).collect::<Vec<_>>();
        peer.send_frames(&messages.iter().collect::<Vec<_>>());
        self.sent += LENS.len();
    }

    /// Receives echoes until at most one batch is in flight, or until Close 1001, to which it replies.
    fn receive_batch(&mut self, noise: &[u8]) {
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

/// Keeps up to two batches in flight on each connection until the server has closed all. Returns the number of echoes.
pub(super) fn echo_until_close(crowd: &mut [BusyPeer]) -> usize {
    let noise = noise(LENS[LENS.len() - 1], 1);
    while crowd.iter().any(|peer| peer.peer.is_some()) {
        crowd.iter_mut().for_each(|peer| peer.send_batch(&noise));
        crowd.iter_mut().for_each(|peer| peer.receive_batch(&noise));
    }
    crowd.iter().map(|peer| peer.echoes).sum()
}

/// A message that is unique over all peers.
fn message(peer: usize, number: usize, noise: &[u8]) -> Frame {
    let mut payload = noise[..LENS[number % LENS.len()]].to_vec();
    payload[..4].copy_from_slice(&(peer as u32).to_be_bytes());
    payload[4..8].copy_from_slice(&(number as u32).to_be_bytes());
    Frame::new(BINARY, payload)
}
