//! Peers that are stalled, each in one of four ways.

use super::{Attack, BEGUN_LEN, LOOK_EVERY, MESSAGE_LEN, READER_LEN};
use crate::frame::{BINARY, Frame};
use crate::http::Request;
use crate::resilience::background::Background;
use crate::resilience::crowd::{Crowd, Ends};
use crate::resilience::kernel::is_lossy;
use crate::server::Server;
use crate::wait;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// How a peer is stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It sends one byte of its request per second.
    Handshake,
    /// It stopped within a frame's header.
    Header,
    /// It stopped in the middle of a message, and reads what it is answered so far.
    Message,
    /// It never reads its echoes, and sent until its kernel took no more.
    Reader,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Handshake, Kind::Header, Kind::Message, Kind::Reader];

/// Peers that are stalled in the same way, on a thread of their own until the server has ended them all.
pub(super) struct Stalled {
    kind: Kind,
    thread: Background<Ends>,
    established: mpsc::Receiver<()>,
}

impl Stalled {
    pub fn start(kind: Kind, addr: SocketAddr, attack: Attack) -> Stalled {
        let (tell, established) = mpsc::channel();
        let thread = Background::start_isolated(move |stop| {
            let mut crowd = Crowd::connect_lean(addr, attack.each);
            if kind != Kind::Handshake {
                crowd = crowd.upgraded();
            }
            let mut drip = vec![];
            match kind {
                Kind::Handshake => drip = Request::handshake("/echo").bytes(),
                Kind::Header => crowd.send(&Frame::new(BINARY, []).declaring(MESSAGE_LEN)[..5]),
                Kind::Message => {
                    let (header, begun) = (Frame::new(BINARY, []).declaring(MESSAGE_LEN), vec![0; BEGUN_LEN]);
                    if attack.streams {
                        crowd.send_in_echoed_pieces(&header, &begun);
                    } else {
                        crowd.send(&[header, begun].concat());
                    }
                }
                Kind::Reader => {
                    crowd.send_until_full(&Frame::new(BINARY, vec![0; READER_LEN]).masked());
                }
            }
            // Where nobody waits for it, the case has failed.
            let _ = tell.send(());
            crowd.await_ends(&drip, kind != Kind::Reader, stop)
        });
        Stalled { kind, thread, established }
    }

    /// Waits until they are what they are to be.
    pub fn establish(&self) {
        self.established.recv().expect("stalled as it should be");
    }

    /// Waits until the server has ended all of them, and they have received of it: but for those that do not read, who are
    /// reset, and a reset that finds the kernel's queue full (`net.core.netdev_max_backlog`) is not sent again.
    ///
    /// # Panics
    /// When that takes longer than it may.
    #[track_caller]
    pub fn await_ends<const N: usize>(all: [Stalled; N], server: &Server, attack: Attack) -> [Ends; N] {
        let limit = attack.limit();
        let left = || {
            let left =
                all.iter().filter(|stalled| stalled.kind != Kind::Reader && !stalled.thread.is_finished());
            let kinds: Vec<Kind> = left.map(|stalled| stalled.kind).collect();
            if kinds.is_empty() { Ok(()) } else { Err(format!("some are left of {kinds:?}")) }
        };
        if let Err(left) = wait::within(limit, left) {
            panic!("expected: all are ended within {limit:?}; got: {left}");
        }
        // What these have sent may be dropped on its way, and is sent again after ever longer pauses, of two minutes in the end:
        // when it arrives, their time begins anew.
        let mut last_loss = Instant::now();
        loop {
            let active = server.metrics().sum("ws_connections_active");
            if active == attack.honest as f64 {
                break;
            }
            if is_lossy(server.addr) {
                last_loss = Instant::now();
            }
            let since = last_loss.elapsed();
            assert!(
                since <= attack.timeout,
                "expected: all but {} honest ones are gone; got: {active} active, {since:?} after the last loss",
                attack.honest
            );
            thread::sleep(LOOK_EVERY);
        }
        all.map(
            |stalled| {
                if stalled.kind == Kind::Reader { stalled.thread.stop() } else { stalled.thread.join() }
            },
        )
    }
}
