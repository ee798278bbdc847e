//! Stage 4's whole connection, from accept to close, against tungstenite: `connection.rs` and all below it, with the
//! fuzzer for a kernel and a peer.
//!
//! An input is three bytes of choices, a script whose number of steps is in the third, and what the peer sends. The
//! script sets the pieces in which it arrives, when and how much the peer reads, and the server's own events.

#![no_main]

#[path = "../../stage4-zero-buffer/src/connection.rs"]
mod connection;
#[path = "../../stage4-zero-buffer/src/echo.rs"]
mod echo;
#[path = "../../stage4-zero-buffer/src/output.rs"]
mod output;
#[path = "../../stage4-zero-buffer/src/partial.rs"]
mod partial;
#[path = "../../stage4-zero-buffer/src/pieces.rs"]
mod pieces;
#[path = "../../stage4-zero-buffer/tests/unit/reference.rs"]
mod reference;
#[allow(dead_code, reason = "the target takes the place of the event loop")]
#[path = "../../stage4-zero-buffer/src/server.rs"]
mod server;
#[path = "../../stage4-zero-buffer/src/slot.rs"]
mod slot;

use common::Shard;
use common::budget::FREE_LEN;
use common::event_loop::Phase;
use common::frame::{CloseCode, Opcode};
use common::heartbeat::Beat;
use common::http::switching_protocols;
use common::metrics::Closed;
use libfuzzer_sys::fuzz_target;
use partial::HEADROOM;
use reference::{Frame, answer, answers, has_closed, messages};
use rustix::Wire;
use server::Server;
use slot::State;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

/// Stage 4 has no flag of its own.
pub struct Flags;

/// Requests, and the start of their responses.
const REQUESTS: [(&str, &str); 4] = [
    (
        "GET /echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "HTTP/1.1 101 ",
    ),
    ("GET /health HTTP/1.1\r\nHost: example.com\r\n\r\n", "HTTP/1.1 200 "),
    ("POST /echo HTTP/1.1\r\nHost: example.com\r\n\r\n", "HTTP/1.1 405 "),
    ("\0", "HTTP/1.1 400 "),
];
const ACCEPT_KEY: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Of the server's one buffer. Up to 4 KiB a short read takes all of it.
const BUFFER_LENS: [usize; 8] = [1, 5, 13, 32, 100, 1024, 4096, 8192];
const MAX_MESSAGE_LENS: [usize; 4] = [16, 126, 1000, 66_000];
/// Time slices from the run queue before new events are looked at.
const SLICES: usize = 4;
/// The budget of a connection beyond [`FREE_LEN`].
const SMALL_BUDGET: usize = 500;

thread_local!(static SERVERS: [RefCell<Server>; 2] = [None, Some(SMALL_BUDGET)].map(|budget| {
    let shard = Shard::alone(Flags, budget).expect("an eventfd and a port");
    RefCell::new(Server::new(shard).expect("an epoll instance"))
}));

thread_local!(static NOW: Cell<Instant> = Cell::new(Instant::now()));

fuzz_target!(|data: &[u8]| {
    let Some((&[buffer, limits, steps], rest)) = data.split_first_chunk() else { return };
    let (script, stream) = rest.split_at(rest.len().min(usize::from(steps)));
    // Mostly a valid handshake.
    let request = REQUESTS[usize::from(limits >> 2).saturating_sub(60)];
    let small_budget = buffer & 8 != 0;
    SERVERS.with(|servers| {
        let server = &mut *servers[usize::from(small_budget)].borrow_mut();
        // Detects data that an earlier connection left in it.
        server.context.buffer = vec![0xa5; HEADROOM + BUFFER_LENS[usize::from(buffer % 8)]].into();
        server.context.max_message_len = MAX_MESSAGE_LENS[usize::from(limits % 4)];
        let input = [request.0.as_bytes(), stream].concat();
        let socket = File::open("/dev/null").expect("a descriptor");
        let fd = socket.as_raw_fd();
        rustix::with(|wire| *wire = Wire::new(input));
        server.open(socket.into());
        let (budget, overloads) = (server.context.shard.budget_left(), server.context.shard.overloads());
        let mut run = Run { server, fd, drained_at: None, cut_off: false, budget, overloads };
        script.iter().for_each(|&step| run.step(step));
        run.finish(request);
    });
});

/// A connection under way.
struct Run<'s> {
    server: &'s mut Server,
    fd: RawFd,
    /// Bytes that had been received when the server began to close.
    drained_at: Option<usize>,
    /// Whether the connection ended before all was sent.
    cut_off: bool,
    /// `--buffer-budget`, and the earlier count of connections closed because it was exhausted.
    budget: usize,
    overloads: u64,
}

impl Run<'_> {
    /// Something happens, and the loop runs once.
    fn step(&mut self, step: u8) {
        let n = usize::from(step >> 3);
        match step & 7 {
            0 => rustix::with(|wire| wire.arrive(n + 1)),
            1 => rustix::with(|wire| wire.arrive(32 * (n + 1))),
            2 => rustix::with(|wire| wire.read(n + 1)),
            3 => rustix::with(|wire| wire.read(64 * (n + 1))),
            4 => rustix::with(|wire| wire.interrupt = true),
            // Something else will have happened by the loop's next iteration.
            5 => return rustix::with(|wire| wire.arrive(n + 1)),
            6 => self.befall(n),
            _ => rustix::with(|wire| {
                wire.arrive(usize::MAX);
                wire.read(1 << 20);
            }),
        }
        self.turn();
    }

    /// Time passes.
    fn tick(&mut self) {
        let ticks = &mut self.server.context.ticks;
        NOW.set(NOW.get() + ticks.len());
        ticks.advance(NOW.get());
    }

    /// A rare event.
    fn befall(&mut self, n: usize) {
        let open = self.server.phase(self.fd) == Some(Phase::Open);
        match n {
            0..8 if open => self.server.beat(self.fd, Beat::Ping),
            8..12 => self.tick(),
            12..16 if open => {
                self.tick();
                self.server.beat(self.fd, Beat::Dead);
                // Unless input was pending after all.
                if self.server.phase(self.fd) != Some(Phase::Open) {
                    self.begins_to_close();
                }
                self.cut_off |= self.server.phase(self.fd).is_none();
            }
            16..20 => {
                self.server.ready(self.fd, true);
                self.server.close(self.fd, CloseCode::GoingAway, Closed::Shutdown);
                if self.server.phase(self.fd) != Some(Phase::Handshake) {
                    self.begins_to_close();
                }
            }
            20..24 => {
                rustix::with(Wire::end);
                self.cut_off = true;
            }
            24..28 => {
                rustix::with(Wire::reset);
                self.cut_off = true;
            }
            // An event that was due already is no news.
            _ => self.server.ready(self.fd, n.is_multiple_of(2)),
        }
    }

    /// Input from now on is not answered.
    fn begins_to_close(&mut self) {
        self.drained_at.get_or_insert(rustix::with(|wire| wire.received));
    }

    /// One iteration of the event loop. Returns whether it had work.
    fn turn(&mut self) -> bool {
        let event = rustix::with(Wire::event);
        if let Some(eof) = event {
            self.watch(|server, fd| server.ready(fd, eof));
        }
        let queued = !self.server.run_queue.is_empty();
        for _ in 0..SLICES {
            let Some((fd, eof)) = self.server.run_queue.pop(NOW.get()) else { break };
            assert_eq!(fd, self.fd);
            self.watch(|server, fd| server.run_slice(fd, eof));
        }
        // The budget was exceeded, of which a peer that does not read is not notified.
        self.cut_off |= self.budget == SMALL_BUDGET && self.server.phase(self.fd).is_none();
        event.is_some() || queued
    }

    /// Reads on from a peer that does not read only in the middle of a message, and holds no more than one of them.
    fn watch(&mut self, act: impl FnOnce(&mut Server, RawFd)) {
        let in_message = |server: &Server| {
            server.context.busy.get(&self.fd).is_some_and(|busy| busy.partial.left_of_message() > 0)
        };
        let begun = in_message(self.server);
        rustix::with(|wire| wire.read_on = false);
        act(self.server, self.fd);
        assert!(begun || !rustix::with(|wire| wire.read_on), "reads on from a peer that does not read");
        let context = &self.server.context;
        if let Some(busy) = context.busy.get(&self.fd) {
            let most = context.max_message_len + 2 * context.buffer.len();
            assert!(busy.output.unsent().len() <= most, "holds more than a message");
        }
    }

    fn settle(&mut self) {
        let most = rustix::with(|wire| 100 + wire.input.len());
        assert!((0..most).any(|_| !self.turn()), "it never comes to rest");
    }

    /// All input arrives, and the peer reads everything and closes.
    fn finish(mut self, request: (&str, &str)) {
        rustix::with(|wire| {
            wire.arrive(usize::MAX);
            wire.read(usize::MAX);
        });
        self.settle();
        let ended = rustix::with(|wire| wire.eof);
        assert!(!ended || self.server.phase(self.fd).is_none(), "the end of the peer is lost");
        if self.server.connections.get_mut(self.fd).is_some_and(|slot| slot.state() == State::Idle) {
            assert!(self.server.context.busy.is_empty(), "an idle connection keeps nothing");
        }
        rustix::with(|wire| self.check(wire, request));
        rustix::with(Wire::end);
        self.settle();
        let context = &self.server.context;
        assert!(self.server.connections.is_empty() && self.server.run_queue.is_empty());
        assert!(context.handshakes.is_empty() && context.busy.is_empty());
        assert_eq!(context.shard.budget_left(), self.budget, "all that was held is given back");
        assert_eq!(context.shard.metrics().active(), 0, "accepted = active + closed");
    }

    /// Compares what was sent with what tungstenite sends.
    fn check(&self, wire: &Wire, (head, status): (&str, &str)) {
        assert!(self.cut_off || wire.received == wire.input.len(), "a stall: there is more to be read");
        let begun = wire.sent.len().min(status.len());
        assert_eq!(&wire.sent[..begun], &status.as_bytes()[..begun]);
        let response = switching_protocols(ACCEPT_KEY, None);
        if status != REQUESTS[0].1 || wire.sent.len() < response.len() {
            return assert!(self.cut_off || wire.shut);
        }
        assert_eq!(wire.sent[..response.len()], response);
        let (mut ours, rest) = messages(&wire.sent[response.len()..]);
        assert!(self.cut_off || rest == 0, "half a frame");
        ours.retain(|(opcode, _)| *opcode != Opcode::Ping);

        if self.server.context.shard.overloads() > self.overloads {
            return self.check_overload(wire, head, &ours);
        }
        let answered = self.drained_at.unwrap_or(wire.received).max(head.len());
        let stream = &wire.input[head.len()..answered];
        let going_away = (Opcode::Close, 1001u16.to_be_bytes().to_vec());
        let mut expected = if self.drained_at.is_some() && ours.last() == Some(&going_away) {
            answers(stream, self.server.context.max_message_len)
        } else {
            answer(stream, self.server.context.max_message_len, &ours)
        };
        if self.drained_at.is_some() && !has_closed(&expected) {
            expected.push(going_away);
        }
        if self.cut_off {
            expected.truncate(ours.len());
        }
        assert_eq!(ours, expected);
        assert!(self.cut_off || wire.shut == has_closed(&ours), "shut down once all is sent");
    }

    /// The connection was closed over its budget: it must have sent that much, and been answered up to there.
    fn check_overload(&self, wire: &Wire, head: &str, ours: &[Frame]) {
        let stream = &wire.input[head.len()..wire.received];
        assert!(stream.len() > FREE_LEN, "a peer that sent so little is never in the way");
        let try_again_later = (Opcode::Close, 1013u16.to_be_bytes().to_vec());
        let answered = match ours.split_last() {
            Some((last, answered)) if *last == try_again_later => answered,
            _ => {
                assert!(self.cut_off, "closed with 1013, unless there was no room for it");
                ours
            }
        };
        assert!(answers(stream, self.server.context.max_message_len).starts_with(answered));
    }
}
