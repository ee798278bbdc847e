//! Load by honest peers: closed and open loop, churn, bursts, large messages, scrapes.

use super::tally::Tally;
use crate::cases::noise;
use crate::descriptors::own_table;
use crate::frame::{BINARY, CONTINUATION, Frame};
use crate::server::{Server, get};
use crate::wire::Peer;
use std::thread;
use std::time::{Duration, Instant};

/// Lengths of ordinary messages, among them both sides of the first step of the length encoding (RFC 6455, section
/// 5.2).
const LENS: [usize; 8] = [0, 1, 32, 125, 126, 500, 2_000, 4_096];
const LARGE_LEN: usize = 1 << 20;

/// A round of load: in total some 900 messages and 50 connections per second.
#[derive(Clone, Copy)]
pub(super) struct Round<'a> {
    pub server: &'a Server,
    pub tally: &'a Tally,
    pub until: Instant,
}

impl Round<'_> {
    /// Runs all kinds of load concurrently until the end of the round, and waits until all peers are closed.
    pub fn run(self) {
        thread::scope(|scope| {
            for traffic in [
                Round::closed_loop,
                Round::open_loop,
                Round::churn,
                Round::bursts,
                Round::large_messages,
                Round::scrapes,
                Round::hostile,
            ] {
                scope.spawn(move || {
                    own_table();
                    traffic(&self);
                });
            }
        });
    }

    /// Calls `work` `per_s` times per second until the end of the round. Late calls are not caught up.
    pub fn paced(&self, per_s: f64, mut work: impl FnMut(usize)) {
        let period = Duration::from_secs_f64(1.0 / per_s);
        let mut due = Instant::now();
        for count in 0.. {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if Instant::now() >= self.until {
                return;
            }
            work(count);
            due = Instant::now().max(due + period);
        }
    }

    pub fn connect(&self) -> Peer {
        let peer = Peer::connect(self.server.addr);
        self.tally.opened.add(1);
        peer
    }

    fn connect_many(&self, count: usize) -> Vec<Peer> {
        (0..count).map(|_| self.connect()).collect()
    }

    /// Expects the echo of a message, and counts it.
    fn receive_echo(&self, peer: &mut Peer, message: &Frame) {
        peer.expect_echo_among_pings(message);
        self.tally.messages.add(1);
        self.tally.bytes.add(message.payload.len());
    }

    /// One message in flight per connection.
    fn closed_loop(&self) {
        let mut peers = self.connect_many(20);
        let messages = messages();
        self.paced(15.0, |count| {
            let of = |i: usize| &messages[(count + i) % messages.len()];
            peers.iter_mut().enumerate().for_each(|(i, peer)| peer.send_frame(of(i)));
            peers.iter_mut().enumerate().for_each(|(i, peer)| self.receive_echo(peer, of(i)));
        });
        peers.into_iter().for_each(Peer::close_among_pings);
    }

    /// Messages at a constant rate, without waiting for echoes on other connections.
    fn open_loop(&self) {
        let mut peers = self.connect_many(100);
        let messages = messages();
        let mut outstanding = vec![None; peers.len()];
        self.paced(300.0, |count| {
            let i = count % peers.len();
            if let Some(message) = outstanding[i].take() {
                self.receive_echo(&mut peers[i], message);
            }
            let message = &messages[count % messages.len()];
            peers[i].send_frame(message);
            outstanding[i] = Some(message);
        });
        for (mut peer, message) in peers.into_iter().zip(outstanding) {
            message.iter().for_each(|message| self.receive_echo(&mut peer, message));
            peer.close_among_pings();
        }
    }

    /// Short connections: one echo, then a closing handshake, a half-close, a reset, or a FIN without a Close.
    fn churn(&self) {
        let message = Frame::text("churn");
        self.paced(30.0, |count| {
            let mut peer = self.connect();
            peer.send_frame(&message);
            self.receive_echo(&mut peer, &message);
            match count % 4 {
                0 => peer.close_among_pings(),
                1 => {
                    peer.half_close();
                    peer.read_to_fin();
                }
                2 => peer.reset(),
                _ => drop(peer),
            }
        });
    }

    /// All connections at once, several messages in one write, then silence until the next burst.
    fn bursts(&self) {
        let mut peers = self.connect_many(50);
        let messages = messages();
        let segment = messages.iter().collect::<Vec<_>>();
        self.paced(0.6, |_| {
            peers.iter_mut().for_each(|peer| peer.send_frames(&segment));
            for peer in &mut peers {
                messages.iter().for_each(|message| self.receive_echo(peer, message));
            }
        });
        peers.into_iter().for_each(Peer::close_among_pings);
    }

    /// Unfragmented on one long-lived connection, and in fragments on short ones.
    fn large_messages(&self) {
        let mut permanent = self.connect();
        let message = Frame::new(BINARY, noise(LARGE_LEN, 1));
        self.paced(0.7, |count| {
            if count % 2 == 0 {
                permanent.send_frame(&message);
                return self.receive_echo(&mut permanent, &message);
            }
            let mut peer = self.connect();
            let mut fragments: Vec<_> = message.payload.chunks(LARGE_LEN / 16).collect();
            let last = fragments.pop().expect("sixteen");
            for (i, fragment) in fragments.into_iter().enumerate() {
                peer.send_frame(
                    &Frame::new(if i == 0 { BINARY } else { CONTINUATION }, fragment).without_fin(),
                );
            }
            peer.send_frame(&Frame::new(CONTINUATION, last));
            self.receive_echo(&mut peer, &message);
            peer.close_among_pings();
        });
        permanent.close_among_pings();
    }

    /// Scrapes, and health checks on both addresses.
    fn scrapes(&self) {
        self.paced(1.0, |_| {
            self.server.metrics();
            for addr in [self.server.addr, self.server.admin] {
                assert_eq!(get(addr, "/health").status, 200, "status of /health");
            }
        });
    }
}

fn messages() -> Vec<Frame> {
    LENS.iter().map(|&len| Frame::new(BINARY, noise(len, len as u64))).collect()
}
