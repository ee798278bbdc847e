//! A connection of stage 4, from accept to close, against tungstenite. It drives `connection.rs` and all files that it
//! uses; the fuzzer replaces the kernel and the peer.
//!
//! An input has three parts: three bytes of parameters, of which the third is the length of the script; the script; and
//! the peer's data after the request. The script says in which pieces the data arrives, when and how much the peer
//! reads, and which events occur.

#![no_main]

#[path = "../../stage4-zero-buffer/src/connection.rs"]
mod connection;
#[path = "../../stage4-zero-buffer/src/echo.rs"]
mod echo;
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
use common::http::switching_protocols;
use common::metrics::Closed;
use common::partial::HEADROOM;
use libfuzzer_sys::fuzz_target;
use reference::{Frame, answer, answers, has_closed, messages};
use rustix::Wire;
use server::Server;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

/// Replaces the `Flags` of stage 4's `main.rs`.
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

/// Lengths of the server's buffer, in bytes: below, at and above the read quantum of 4 KiB.
const BUFFER_LENS: [usize; 8] = [1, 5, 13, 32, 100, 1024, 4096, 8192];
const MAX_MESSAGE_LENS: [usize; 4] = [16, 126, 1000, 66_000];
/// Time slices of the run queue between two polls.
const SLICES: usize = 4;
/// A small `--buffer-budget`, in bytes: a connection may buffer this much beyond [`FREE_LEN`].
const SMALL_BUDGET: usize = 500;

thread_local!(static SERVERS: [RefCell<Server>; 2] = [None, Some(SMALL_BUDGET)].map(|budget| {
    let shard = Shard::alone(Flags, budget).expect("an eventfd and a port");
    RefCell::new(Server::new(shard).expect("an epoll instance"))
}));

thread_local!(static NOW: Cell<Instant> = Cell::new(Instant::now()));

fuzz_target!(|data: &[u8]| {
    let Some((&[buffer, limits, steps], rest)) = data.split_first_chunk() else { return };
    let (script, stream) = rest.split_at(rest.len().min(usize::from(steps)));
    // Most values select the valid handshake.
    let request = REQUESTS[usize::from(limits >> 2).saturating_sub(60)];
    let small_budget = buffer & 8 != 0;
    SERVERS.with(|servers| {
        let server = &mut *servers[usize::from(small_budget)].borrow_mut();
        // A fill byte reveals bytes that were never received.
        server.context.buffer = vec![0xa5; HEADROOM + BUFFER_LENS[usize::from(buffer % 8)]].into();
        server.context.max_message_len = MAX_MESSAGE_LENS[usize::from(limits % 4)];
        let input = [request.0.as_bytes(), stream].concat();
        let socket = File::open("/dev/null").expect("a descriptor");
        let fd = socket.as_raw_fd();
        rustix::with(|wire| *wire = Wire::new(input));
        server.open(socket.into());
        let (budget, overloads) = (server.context.shard.budget_left(), server.context.shard.overloads());
        let mut run = Run { server, fd, closed_at: None, cut_off: false, budget, overloads };
        script.iter().for_each(|&step| run.step(step));
        run.finish(request);
    });
});

/// One connection.
struct Run<'s> {
    server: &'s mut Server,
    fd: RawFd,
    /// Bytes received when the server started to close the connection.
    closed_at: Option<usize>,
    /// Whether the connection may have ended before all output was sent.
    cut_off: bool,
    /// The free budget before this connection, in bytes.
    budget: usize,
    /// Connections closed as overload before this one.
    overloads: u64,
}

impl Run<'_> {
    /// Runs one step of the script, then one iteration of the event loop.
    fn step(&mut self, step: u8) {
        let n = usize::from(step >> 3);
        match step & 7 {
            0 => rustix::with(|wire| wire.arrive(n + 1)),
            1 => rustix::with(|wire| wire.arrive(32 * (n + 1))),
            2 => rustix::with(|wire| wire.read(n + 1)),
            3 => rustix::with(|wire| wire.read(64 * (n + 1))),
            4 => rustix::with(|wire| wire.interrupt = true),
            // No iteration: the next step happens before the server polls again.
            5 => return rustix::with(|wire| wire.arrive(n + 1)),
            6 => self.rare_event(n),
            _ => rustix::with(|wire| {
                wire.arrive(usize::MAX);
                wire.read(1 << 20);
            }),
        }
        self.poll();
    }

    /// Advances the clock by one tick.
    fn tick(&mut self) {
        let timeouts = &mut self.server.context.timeouts;
        NOW.set(NOW.get() + timeouts.tick_len());
        timeouts.advance(NOW.get());
    }

    /// Pings, ticks, timeouts, the drain, the peer's FIN or RST, and spurious events.
    fn rare_event(&mut self, n: usize) {
        let open = self.server.phase(self.fd).is_some_and(Phase::is_open);
        match n {
            0..8 if open => self.server.handle(self.fd, false, |slot, context| slot.ping(context)),
            8..12 => self.tick(),
            12..16 if open => {
                self.tick();
                self.server.time_out(self.fd);
                // If input was pending, the connection stays open.
                if !self.server.phase(self.fd).is_some_and(Phase::is_open) {
                    self.note_close();
                }
                self.cut_off |= self.server.phase(self.fd).is_none();
            }
            16..20 => {
                self.server.ready(self.fd, true);
                self.server.close(self.fd, CloseCode::GoingAway, Closed::Shutdown);
                if self.server.phase(self.fd) != Some(Phase::Handshake) {
                    self.note_close();
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
            // A spurious event.
            _ => self.server.ready(self.fd, n.is_multiple_of(2)),
        }
    }

    /// Records how much input the server may still answer.
    fn note_close(&mut self) {
        self.closed_at.get_or_insert(rustix::with(|wire| wire.received));
    }

    /// Runs one iteration of the event loop. Returns whether there was an event or a queued connection.
    fn poll(&mut self) -> bool {
        let event = rustix::with(Wire::event);
        if let Some(eof) = event {
            self.watch(|server, fd| server.ready(fd, eof));
        }
        let queued = !self.server.run_queue.is_empty();
        for _ in 0..SLICES {
            let Some((fd, eof)) = self.server.run_queue.pop(|| NOW.get()) else { break };
            assert_eq!(fd, self.fd);
            self.watch(|server, fd| server.run_slice(fd, eof));
        }
        // Over the budget, a connection whose peer does not read may be closed without a Close frame.
        self.cut_off |= self.budget == SMALL_BUDGET && self.server.phase(self.fd).is_none();
        event.is_some() || queued
    }

    /// Calls `act`, and checks backpressure: with output blocked, the server reads only to the end of a message, and
    /// buffers no more than one message.
    fn watch(&mut self, act: impl FnOnce(&mut Server, RawFd)) {
        let in_message = |server: &Server| {
            server.context.busy.get(&self.fd).is_some_and(|busy| busy.partial.left_of_message() > 0)
        };
        let begun = in_message(self.server);
        rustix::with(|wire| wire.read_on = false);
        act(self.server, self.fd);
        assert!(begun || !rustix::with(|wire| wire.read_on), "no backpressure");
        let context = &self.server.context;
        if let Some(busy) = context.busy.get(&self.fd) {
            let most = context.max_message_len + 2 * context.buffer.len();
            assert!(busy.output.unsent().len() <= most, "buffers more than a message");
        }
    }

    /// Runs the event loop until it is idle.
    fn settle(&mut self) {
        let most = rustix::with(|wire| 100 + wire.input.len());
        assert!((0..most).any(|_| !self.poll()), "the event loop never becomes idle");
    }

    /// Delivers all input, reads all output, checks it, and closes the connection.
    fn finish(mut self, request: (&str, &str)) {
        rustix::with(|wire| {
            wire.arrive(usize::MAX);
            wire.read(usize::MAX);
        });
        self.settle();
        let ended = rustix::with(|wire| wire.eof);
        assert!(!ended || self.server.phase(self.fd).is_none(), "the peer's FIN is lost");
        if self.server.connections.get_mut(self.fd).is_some_and(|slot| slot.phase() == Phase::Idle) {
            assert!(self.server.context.busy.is_empty(), "an idle connection keeps buffers");
        }
        rustix::with(|wire| self.check(wire, request));
        rustix::with(Wire::end);
        self.settle();
        let context = &self.server.context;
        assert!(self.server.connections.is_empty() && self.server.run_queue.is_empty());
        assert!(context.handshakes.is_empty() && context.busy.is_empty());
        assert_eq!(context.shard.budget_left(), self.budget, "the whole reservation is released");
        assert_eq!(context.shard.metrics().active(), 0, "accepted = active + closed");
    }

    /// Compares the output with tungstenite's.
    fn check(&self, wire: &Wire, (head, status): (&str, &str)) {
        assert!(self.cut_off || wire.received == wire.input.len(), "stalled with input unread");
        let begun = wire.sent.len().min(status.len());
        assert_eq!(&wire.sent[..begun], &status.as_bytes()[..begun]);
        let response = switching_protocols(ACCEPT_KEY, None);
        if status != REQUESTS[0].1 || wire.sent.len() < response.len() {
            return assert!(self.cut_off || wire.shut);
        }
        assert_eq!(wire.sent[..response.len()], response);
        let (mut ours, rest) = messages(&wire.sent[response.len()..]);
        assert!(self.cut_off || rest == 0, "an incomplete frame");
        ours.retain(|(opcode, _)| *opcode != Opcode::Ping);

        if self.server.context.shard.overloads() > self.overloads {
            return self.check_overload(wire, head, &ours);
        }
        let answered = self.closed_at.unwrap_or(wire.received).max(head.len());
        let stream = &wire.input[head.len()..answered];
        let going_away = (Opcode::Close, 1001u16.to_be_bytes().to_vec());
        let mut expected = if self.closed_at.is_some() && ours.last() == Some(&going_away) {
            answers(stream, self.server.context.max_message_len)
        } else {
            answer(stream, self.server.context.max_message_len, &ours)
        };
        if self.closed_at.is_some() && !has_closed(&expected) {
            expected.push(going_away);
        }
        if self.cut_off {
            expected.truncate(ours.len());
        }
        assert_eq!(ours, expected);
        assert!(self.cut_off || wire.shut == has_closed(&ours), "a half-close follows the Close");
    }

    /// Checks a connection that was closed as overload: its peer sent more than is free of charge, and the echoes
    /// before the Close are correct.
    fn check_overload(&self, wire: &Wire, head: &str, ours: &[Frame]) {
        let stream = &wire.input[head.len()..wire.received];
        assert!(stream.len() > FREE_LEN, "overload within the free bytes");
        let try_again_later = (Opcode::Close, 1013u16.to_be_bytes().to_vec());
        let answered = match ours.split_last() {
            Some((last, answered)) if *last == try_again_later => answered,
            _ => {
                assert!(self.cut_off, "no Close 1013");
                ours
            }
        };
        assert!(answers(stream, self.server.context.max_message_len).starts_with(answered));
    }
}
