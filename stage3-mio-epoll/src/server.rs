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
use crate::connection::{self, Context, Entry, INLINE, SLICE};
use common::event_loop::{Backlog, Due, FdTable, Next, Phase, RunQueue};
use common::frame::CloseCode;
use common::metrics::{Closed, Rejected};
use common::{Accepted, Shard};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

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
    backlog: Backlog,
    poll: Poll,
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
        Ok(Server {
            context: Context::new(shard),
            connections: FdTable::default(),
            run_queue: RunQueue::default(),
            backlog: Backlog::default(),
            poll,
        })
    }

    /// Events first, since they are short; then, for a bounded time, the run queue; then a batch of new connections.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.context.shard.yield_core();
            let timeout = self.backlog.poll_timeout(self.context.timeouts.tick_len(), Instant::now);
            match self.poll.poll(&mut events, Some(self.run_queue.poll_timeout(timeout))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            let ticked = self.context.timeouts.advance(now);
            for event in &events {
                match event.token() {
                    LISTENER => self.backlog.fill(now),
                    SHUTDOWN => self.begin_drain(),
                    Token(fd) => self.ready(fd as RawFd, event.is_read_closed()),
                }
            }
            // For a time that depends on how long the events took.
            self.run_queue.begin(now);
            while let Some((fd, eof)) = self.run_queue.pop(Instant::now) {
                self.run_slice(fd, eof);
            }
            self.accept(now);
            self.drain(now);
            if ticked {
                self.sweep();
            }
            if self.context.timeouts.drain.is_over(now, self.connections.is_empty()) {
                return Ok(());
            }
        }
    }

    /// The socket has become readable, or writable again. `eof`: the peer has half-closed.
    ///
    /// One read: if it does not fill its buffer, it has exhausted the socket (epoll(7), question 9), which saves the call that
    /// would return `EAGAIN`. After a half-close one more read returns the end of file.
    #[inline]
    pub fn ready(&mut self, fd: RawFd, eof: bool) {
        // An earlier event of the same poll has removed it.
        let Some(connection) = self.connections.get_mut(fd) else { return };
        // Its time slice will read this input too. No event follows a half-close, so that is queued as well.
        if connection.marks.is_queued() && !eof {
            return;
        }
        // At a message boundary, and after short input, the next message is probably short.
        if connection.phase() == Phase::Idle && !connection.marks.expects_long() {
            self.handle(fd, eof, |connection, context| connection.read(context, INLINE, eof));
        } else {
            self.run_queue.push(fd, eof, &mut connection.marks);
        }
    }

    /// Has a connection handle an event, and carries out what it needs then.
    #[inline(always)]
    pub fn handle(&mut self, fd: RawFd, eof: bool, event: impl FnOnce(&mut Entry, &mut Context) -> Next) {
        let Some(connection) = self.connections.get_mut(fd) else { return };
        match event(connection, &mut self.context) {
            Next::Wait => return,
            Next::Remove(reason) => return self.remove(fd, reason),
            Next::Linger(reason) => connection.linger(&mut self.context, reason),
            Next::Requeue => {}
        }
        self.run_queue.push(fd, eof, &mut connection.marks);
    }

    pub fn run_slice(&mut self, fd: RawFd, eof: bool) {
        if let Some(connection) = self.connections.get_mut(fd) {
            connection.marks.set_queued(false);
            self.handle(fd, eof, |connection, context| connection.read(context, SLICE, eof));
        }
    }

    /// Accepts a batch of connections.
    fn accept(&mut self, now: Instant) {
        for _ in 0..self.backlog.batch(now) {
            let registry = self.poll.registry();
            // Writable from the start: after the first event, which is immediate, another comes only when a full socket has room
            // again. So unsent output needs no further epoll_ctl(2).
            let interest = Interest::READABLE | Interest::WRITABLE;
            let accepted = self.context.shard.accept(|socket| {
                let fd = socket.as_raw_fd();
                registry.register(&mut SourceFd(&fd), Token(fd as usize), interest).map(|()| socket)
            });
            match accepted {
                Accepted::Connection(socket) => self.open(socket.into()),
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

    /// Closes a connection, in any phase.
    pub fn remove(&mut self, fd: RawFd, reason: Closed) {
        if let Some(connection) = self.connections.remove(fd) {
            connection.release(&mut self.context, reason);
        }
        self.context.timeouts.remove(fd);
    }

    /// Checks all connections for timeouts and pings that fell due.
    fn sweep(&mut self) {
        for fd in 0..self.connections.end() {
            let Some(connection) = self.connections.get_mut(fd) else { continue };
            match self.context.timeouts.due(fd, connection.phase(), &connection.marks) {
                Due::Nothing => {}
                Due::Acknowledged => connection.marks.seen(self.context.timeouts.now()),
                Due::Ping => self.handle(fd, false, |connection, context| connection.ping(context)),
                Due::TimedOut => self.time_out(fd),
            }
        }
        // Memory that only a peak needed is freed.
        self.connections.trim();
        self.run_queue.trim();
        self.context.timeouts.trim();
        self.context.trim();
    }

    /// Closes a connection that has timed out.
    pub fn time_out(&mut self, fd: RawFd) {
        // Perhaps the loop stalled, not the peer: pending input is read first.
        self.run_slice(fd, false);
        let Some(connection) = self.connections.get_mut(fd) else { return };
        if connection.marks.quiet_ticks(self.context.timeouts.now()) == 0 {
            return;
        }
        match connection.phase() {
            Phase::Handshake => self.context.shard.metrics().rejected(Rejected::HandshakeTimeout),
            Phase::Idle | Phase::Busy => {
                self.close(fd, CloseCode::GoingAway, Closed::Idle);
                // Otherwise the Close frame is queued behind output that the peer does not read.
                if self.phase(fd) == Some(Phase::Lingering) {
                    return;
                }
            }
            Phase::Lingering => {}
        }
        self.remove(fd, Closed::Idle);
    }

    /// Sends an open connection a Close frame.
    pub fn close(&mut self, fd: RawFd, code: CloseCode, reason: Closed) {
        self.handle(fd, false, |connection, context| connection.close(context, code, reason));
    }

    pub fn phase(&mut self, fd: RawFd) -> Option<Phase> {
        self.connections.get_mut(fd).map(|connection| connection.phase())
    }

    /// Stops accepting. The connections go on until each is closed.
    fn begin_drain(&mut self) {
        self.context.shard.stop_listening();
        self.context.timeouts.drain.begin(&self.context.shard.shutdown, self.connections.fds());
    }

    /// Echoes the messages that have arrived, and sends Close 1001, on the connections that the drain closes now.
    fn drain(&mut self, now: Instant) {
        while let Some(fd) = self.context.timeouts.drain.pop(now) {
            for _ in 0..SLICES_IN_DRAIN {
                self.run_slice(fd, false);
                if self.connections.get_mut(fd).is_none_or(|connection| !connection.marks.is_queued()) {
                    break;
                }
            }
            self.close(fd, CloseCode::GoingAway, Closed::Shutdown);
            if self.phase(fd) == Some(Phase::Handshake) {
                self.remove(fd, Closed::Eof);
            }
        }
    }
}
