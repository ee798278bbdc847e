//! The event loop of a shard.
//!
//! One call to epoll returns the sockets that are ready, and the loop serves those. Readiness is edge-triggered (epoll(7),
//! `EPOLLET`): the kernel reports once that a socket *has become* readable or writable. It does not report, at every wait,
//! each socket that still has input. The price: no further event comes for input that the loop leaves unread, so the loop has
//! to remember those connections. The run queue is that memory.
//!
//! The run queue also makes the loop fair. An event gets one short read, enough for an everyday message. A connection with
//! more input, a new one, and one in the middle of a message are queued, and the queue runs for a bounded time between two
//! polls. So short messages bypass long ones.

use crate::Flags;
use crate::connection::{self, Context, Entry, INLINE, Quantum, SLICE};
use common::config::LINGER;
use common::event_loop::{Backlog, Drain, FdTable, Next, Phase, RunQueue};
use common::frame::CloseCode;
use common::heartbeat::{Beat, Heartbeat};
use common::metrics::{Closed, Rejected};
use common::untaken::SlowReaders;
use common::{ACCEPT_BATCH, Accepted, Shard, set_close_policy};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Most events per poll.
const EVENTS: usize = 1024;
/// Time slices for the pending input of a connection before it is sent Close 1001: 1 MiB at least.
const SLICES_IN_DRAIN: usize = 16;

const LISTENER: Token = Token(usize::MAX);
const SHUTDOWN: Token = Token(usize::MAX - 1);

/// A shard's event loop. A connection's token is its descriptor, and so is its place in the table.
pub struct Server {
    pub context: Context,
    pub connections: FdTable<Entry>,
    pub run_queue: RunQueue,
    poll: Poll,
    heartbeat: Heartbeat,
    slow_readers: SlowReaders,
    backlog: Backlog,
    drain: Drain,
}

/// Serves a shard until its drain is over.
pub fn serve(shard: Shard<Flags>) -> io::Result<()> {
    shard.metrics().tasks.store(1, Relaxed);
    Server::new(shard)?.run()
}

impl Server {
    pub fn new(shard: Shard<Flags>) -> io::Result<Server> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&shard.listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
        registry.register(&mut SourceFd(&shard.shutdown.as_raw_fd()), SHUTDOWN, Interest::READABLE)?;
        let heartbeat = Heartbeat::new(&shard.config);
        Ok(Server {
            context: Context::new(shard),
            connections: FdTable::default(),
            run_queue: RunQueue::default(),
            poll,
            heartbeat,
            slow_readers: SlowReaders::default(),
            backlog: Backlog::default(),
            drain: Drain::default(),
        })
    }

    /// Events first, since they are short; then, for a bounded time, the run queue; then a batch of new connections.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.context.shard.yield_core();
            match self.poll.poll(&mut events, Some(self.poll_timeout())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            let elapsed = self.context.ticks.advance(now);
            for event in &events {
                match event.token() {
                    LISTENER => self.backlog.fill(now),
                    SHUTDOWN => self.begin_drain(),
                    Token(fd) => self.ready(fd as RawFd, event.is_read_closed()),
                }
            }
            self.run_queued(now);
            self.accept(now);
            self.drain(now);
            if elapsed > 0 {
                self.sweep(elapsed);
            }
            if self.drain.is_over(now, self.connections.is_empty()) {
                return Ok(());
            }
        }
    }

    fn poll_timeout(&self) -> Duration {
        let accept = self.backlog.due_at().map(|at| at.saturating_duration_since(Instant::now()));
        let tick = self.drain.poll_timeout(self.context.ticks.len());
        self.run_queue.poll_timeout(accept.unwrap_or(tick).min(tick))
    }

    /// The socket has become readable, or writable again. `eof`: the peer has half-closed.
    #[inline]
    pub fn ready(&mut self, fd: RawFd, eof: bool) {
        // An earlier event of the same poll has removed it.
        let Some(connection) = self.connections.get_mut(fd) else { return };
        // Its time slice will read this input too. No event follows a half-close, so that is queued as well.
        if connection.is_queued() && !eof {
            return;
        }
        if connection.can_read_inline() { self.read(fd, INLINE, eof) } else { self.enqueue(fd, eof) }
    }

    /// Reads once. A read that does not fill its buffer has exhausted the socket (epoll(7), question 9), which saves the call
    /// that would return `EAGAIN`. After a half-close one more read returns the end of file.
    #[inline(always)]
    fn read(&mut self, fd: RawFd, quantum: Quantum, eof: bool) {
        let Some(connection) = self.connections.get_mut(fd) else { return };
        let next = connection.read(&mut self.context, quantum, eof);
        if next != Next::Wait {
            self.settle(fd, next, eof);
        }
    }

    /// Carries out what a connection needs after an event.
    fn settle(&mut self, fd: RawFd, next: Next, eof: bool) {
        match next {
            Next::Wait => {}
            Next::Requeue => self.enqueue(fd, eof),
            Next::Linger(reason) => self.linger(fd, reason, eof),
            Next::Remove(reason) => self.remove(fd, reason),
        }
    }

    fn enqueue(&mut self, fd: RawFd, eof: bool) {
        if let Some(connection) = self.connections.get_mut(fd) {
            connection.set_queued(true);
            self.run_queue.push(fd, eof);
        }
    }

    /// Runs the queue for a time that depends on how long the events took, which were handled from `events_began` until now.
    fn run_queued(&mut self, events_began: Instant) {
        if self.run_queue.is_empty() {
            return;
        }
        let mut now = Instant::now();
        self.run_queue.begin(events_began, now);
        while let Some((fd, eof)) = self.run_queue.pop(now) {
            self.run_slice(fd, eof);
            now = Instant::now();
        }
    }

    pub fn run_slice(&mut self, fd: RawFd, eof: bool) {
        if let Some(connection) = self.connections.get_mut(fd) {
            connection.set_queued(false);
            self.read(fd, SLICE, eof);
        }
    }

    /// Accepts a batch of connections.
    fn accept(&mut self, now: Instant) {
        if !self.backlog.is_due(now) {
            return;
        }
        for _ in 0..ACCEPT_BATCH {
            match self.context.shard.accept() {
                Accepted::Connection(socket) => {
                    let fd = socket.as_raw_fd();
                    // Writable from the start: after the first event, which is immediate, another comes only when a full
                    // socket has room again. So unsent output needs no further epoll_ctl(2).
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(fd as usize);
                    if let Err(error) = self.poll.registry().register(&mut SourceFd(&fd), token, interest) {
                        self.context.shard.cannot_watch(&error);
                        return self.backlog.pause(now);
                    }
                    self.open(socket.into());
                }
                Accepted::Nobody => return self.backlog.clear(),
                Accepted::Exhausted => return self.backlog.pause(now),
            }
        }
    }

    /// Adds a connection, which begins with its handshake.
    pub fn open(&mut self, socket: OwnedFd) {
        let fd = socket.as_raw_fd();
        let entry = connection::open(socket, &mut self.context);
        self.connections.insert(fd, entry);
    }

    /// Lingering close: half-closes the socket, and discards input until the peer closes too. A close(2) with input unread
    /// sends a reset, which may overtake output that was sent before it (RFC 9293, section 3.6.1).
    fn linger(&mut self, fd: RawFd, reason: Closed, eof: bool) {
        self.closed(fd, reason);
        let Some(connection) = self.connections.get_mut(fd) else { return };
        connection.linger(&mut self.context);
        self.enqueue(fd, eof);
    }

    /// Closes a connection, in any phase.
    pub fn remove(&mut self, fd: RawFd, reason: Closed) {
        self.closed(fd, reason);
        if let Some(connection) = self.connections.remove(fd) {
            connection.release(&mut self.context);
        }
        self.slow_readers.remove(fd);
    }

    /// Counts the end of a WebSocket connection.
    fn closed(&mut self, fd: RawFd, reason: Closed) {
        let Some(connection) = self.connections.get_mut(fd) else { return };
        if let Some(reason) = connection.close_reason(&self.context, reason) {
            self.context.shard.closed(reason);
            set_close_policy(connection.socket(), reason);
        }
    }

    /// Checks all connections for timeouts and pings that fell due in the `elapsed` ticks.
    fn sweep(&mut self, elapsed: u32) {
        for fd in 0..self.connections.end() {
            let Some(connection) = self.connections.get_mut(fd) else { continue };
            let quiet_ticks = connection.quiet_ticks(self.context.ticks.now());
            let quiet = self.context.ticks.duration(quiet_ticks);
            match connection.phase() {
                Phase::Handshake if quiet >= self.context.shard.config.handshake_timeout => {
                    // Perhaps the loop stalled, not the peer: pending input is read first.
                    self.run_slice(fd, false);
                    if self.phase(fd) == Some(Phase::Handshake) {
                        self.context.shard.metrics().rejected(Rejected::HandshakeTimeout);
                        self.remove(fd, Closed::Eof);
                    }
                }
                Phase::Open => {
                    let quiet_before = self.context.ticks.duration(quiet_ticks.saturating_sub(elapsed));
                    if self.heartbeat.must_look(quiet_before, quiet) && self.slow_readers.progressed(fd) {
                        connection.seen(self.context.ticks.now());
                        continue;
                    }
                    if let Some(beat) = self.heartbeat.due(quiet_before, quiet) {
                        self.beat(fd, beat);
                    }
                }
                Phase::Lingering if quiet >= LINGER && !self.drain.has_begun() => {
                    self.remove(fd, Closed::Eof);
                }
                _ => {}
            }
        }
        // Memory that only a peak needed is freed.
        self.connections.trim();
        self.run_queue.trim();
        self.slow_readers.trim();
        self.context.trim();
    }

    /// Pings a quiet connection, or closes it.
    pub fn beat(&mut self, fd: RawFd, beat: Beat) {
        if beat == Beat::Dead {
            // Perhaps the loop stalled, not the peer: pending input is read first.
            self.run_slice(fd, false);
            let now = self.context.ticks.now();
            if self.connections.get_mut(fd).is_none_or(|connection| connection.quiet_ticks(now) == 0) {
                return;
            }
            self.close(fd, CloseCode::GoingAway, Closed::Idle);
            // The Close frame is queued behind output that the peer does not read.
            if self.phase(fd) == Some(Phase::Open) {
                self.remove(fd, Closed::Idle);
            }
        } else if let Some(connection) = self.connections.get_mut(fd) {
            let next = connection.ping(&mut self.context);
            self.settle(fd, next, false);
        }
    }

    /// Sends an open connection a Close frame.
    pub fn close(&mut self, fd: RawFd, code: CloseCode, reason: Closed) {
        if let Some(connection) = self.connections.get_mut(fd) {
            let next = connection.close(&mut self.context, code, reason);
            self.settle(fd, next, false);
        }
    }

    pub fn phase(&mut self, fd: RawFd) -> Option<Phase> {
        self.connections.get_mut(fd).map(|connection| connection.phase())
    }

    /// Stops accepting.
    fn begin_drain(&mut self) {
        self.backlog.clear();
        self.context.shard.stop_listening();
        self.drain.begin(&self.context.shard.shutdown, self.connections.fds());
    }

    /// In a drain, echoes the messages that have arrived and sends Close 1001, on each connection when it is due.
    fn drain(&mut self, now: Instant) {
        while let Some(fd) = self.drain.pop(now) {
            for _ in 0..SLICES_IN_DRAIN {
                self.run_slice(fd, false);
                if self.connections.get_mut(fd).is_none_or(|connection| !connection.is_queued()) {
                    break;
                }
            }
            match self.phase(fd) {
                Some(Phase::Open) => self.close(fd, CloseCode::GoingAway, Closed::Shutdown),
                Some(Phase::Handshake) => self.remove(fd, Closed::Eof),
                _ => {}
            }
        }
    }
}
