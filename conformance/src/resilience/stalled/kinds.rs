//! The four kinds of stalled peers.

use crate::frame::{BINARY, Frame};
use crate::http::Request;
use crate::resilience::background::Background;
use crate::resilience::crowd::{Crowd, Ends};
use crate::resilience::kernel::is_lossy;
use crate::server::Server;
use crate::wait::{self, MAX_DELAY};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The length of an unfinished message, and how much of it is sent, in bytes.
pub(super) const MESSAGE_LEN: u64 = 1 << 20;
pub(super) const BEGUN_LEN: usize = 512 << 10;

/// The length of the messages of a peer that does not read, in bytes.
pub(super) const READER_LEN: usize = 64 << 10;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How a peer is stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It sends its request at one byte per second (slowloris).
    Handshake,
    /// It stops within a frame header.
    Header,
    /// It stops in the middle of a message, and reads the echo so far.
    Message,
    /// It never reads, and sends until its socket is full.
    Reader,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Handshake, Kind::Header, Kind::Message, Kind::Reader];

/// Stalled peers of one kind, on their own thread until the server has closed them all.
pub(super) struct Stalled {
    kind: Kind,
    thread: Background<Ends>,
    established: mpsc::Receiver<()>,
}

impl Stalled {
    /// Starts `count` of them. `streams`: whether the server echoes a message while it arrives.
    pub fn start(kind: Kind, addr: SocketAddr, count: usize, streams: bool) -> Stalled {
        let (sender, established) = mpsc::channel();
        let thread = Background::start_isolated(move |stop| {
            let mut crowd = Crowd::connect_lean(addr, count);
            if kind != Kind::Handshake {
                crowd = crowd.upgraded();
            }
            let mut drip = vec![];
            match kind {
                Kind::Handshake => drip = Request::handshake("/echo").bytes(),
                Kind::Header => crowd.send(&Frame::new(BINARY, []).declaring(MESSAGE_LEN)[..5]),
                Kind::Message => {
                    let (header, begun) = (Frame::new(BINARY, []).declaring(MESSAGE_LEN), vec![0; BEGUN_LEN]);
                    if streams {
                        crowd.send_in_echoed_pieces(&header, &begun);
                    } else {
                        crowd.send(&[header, begun].concat());
                    }
                }
                Kind::Reader => {
                    crowd.send_until_full(&Frame::new(BINARY, vec![0; READER_LEN]).masked());
                }
            }
            // Without a receiver the case has already failed.
            let _ = sender.send(());
            crowd.await_ends(&drip, kind != Kind::Reader, stop)
        });
        Stalled { kind, thread, established }
    }

    /// Waits until all of them are stalled.
    pub fn establish(&self) {
        self.established.recv().expect("all peers stalled");
    }

    /// Waits until the server has closed all of them, so that only `honest` connections are left. Peers that read must
    /// see the end too. The others are reset, and a reset that finds the kernel's queue full
    /// (`net.core.netdev_max_backlog`) is not retransmitted.
    ///
    /// # Panics
    /// If that takes longer than `timeout`, the server's, plus a margin.
    #[track_caller]
    pub fn await_ends<const N: usize>(
        all: [Stalled; N],
        server: &Server,
        honest: usize,
        timeout: Duration,
    ) -> [Ends; N] {
        // The margin: an eighth for the server's ticks, and two seconds for the Close to a peer that does not read.
        let limit = timeout + timeout / 8 + Duration::from_secs(2) + MAX_DELAY;
        let left = || {
            let left =
                all.iter().filter(|stalled| stalled.kind != Kind::Reader && !stalled.thread.is_finished());
            let kinds: Vec<Kind> = left.map(|stalled| stalled.kind).collect();
            if kinds.is_empty() { Ok(()) } else { Err(format!("some of {kinds:?} are open")) }
        };
        if let Err(left) = wait::within(limit, left) {
            panic!("expected: all are closed within {limit:?}; got: {left}");
        }
        // A segment of a peer that does not read may be dropped. TCP retransmits it after up to two minutes, and its
        // arrival restarts the server's timeout.
        let mut last_loss = Instant::now();
        loop {
            let active = server.metrics().sum("ws_connections_active");
            if active == honest as f64 {
                break;
            }
            if is_lossy(server.addr) {
                last_loss = Instant::now();
            }
            let since = last_loss.elapsed();
            assert!(
                since <= timeout,
                "expected: only {honest} honest clients connected; got: {active}, {since:?} after the last loss"
            );
            thread::sleep(POLL_INTERVAL);
        }
        all.map(
            |stalled| {
                if stalled.kind == Kind::Reader { stalled.thread.stop() } else { stalled.thread.join() }
            },
        )
    }
}
