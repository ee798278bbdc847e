//! The event loop of a shard.
//!
//! Readiness is edge-triggered: an event says that something *has become* readable, once, so a connection is read
//! until there is nothing left. A little is read at once, which is all that an everyday message needs. Whoever has more
//! gets in line, and so does whoever is new, or in the middle of a message or of its echo, so that a short message never
//! waits for all the long ones, all the newcomers and all the laggards that were there before it.

use crate::Flags;
use crate::connection::{Busy, Handshake};
use crate::partial::HEADROOM;
use crate::slot::{Phase, Slots};
use common::config::LINGER;
use common::frame::{CloseCode, MAX_HEADER_LEN};
use common::heartbeat::Heartbeat;
use common::metrics::{Closed, Rejected};
use common::ticks::Ticks;
use common::untaken::Untaken;
use common::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Shard, time_for_line};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The one buffer: what is read at once, a message of 256 KiB with its header. Echoes/s of 1 MiB, compared with this: 0.8 to 0.9 of
/// it with 64 KiB, for there are four times as many calls; 0.6 with 1 MiB, which falls out of the processor's cache.
const BUFFER_LEN: usize = HEADROOM + MAX_HEADER_LEN + 256 * 1024;
/// Events taken at once.
const EVENTS: usize = 1024;
/// Reads of what a connection has sent before it is told that the server goes away: 1 MiB.
const READS_IN_DRAIN: usize = 4;

const LISTENER: Token = Token(usize::MAX);
const SHUTDOWN: Token = Token(usize::MAX - 1);

/// A shard's event loop. A connection's token is its descriptor.
pub struct Server {
    pub shard: Shard<Flags>,
    pub slots: Slots,
    pub handshakes: HashMap<RawFd, Handshake>,
    pub busy: HashMap<RawFd, Box<Busy>>,
    pub buffer: Box<[u8]>,
    pub max_message_len: usize,
    /// Connections that have more to be read, in line for their turn, and whether their peers have sent the last octet.
    pub line: VecDeque<(RawFd, bool)>,
    /// What peers had left of their output when it was looked at last: of those who had left some.
    pub untaken: HashMap<RawFd, Untaken>,
    pub ticks: Ticks,
    poll: Poll,
    heartbeat: Heartbeat,
    /// Whether somebody may wait in the backlog, and from when on to look.
    accept_at: Option<Instant>,
    /// Set once the drain has begun.
    drained_by: Option<Instant>,
}

/// Serves a shard until its drain is over.
pub fn serve(shard: Shard<Flags>) -> io::Result<()> {
    shard.metrics().tasks.store(1, Relaxed);
    Server::new(shard)?.run()
}

impl Server {
    /// A server that has accepted nobody yet.
    pub fn new(shard: Shard<Flags>) -> io::Result<Server> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&shard.listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
        registry.register(&mut SourceFd(&shard.shutdown.as_raw_fd()), SHUTDOWN, Interest::READABLE)?;
        let heartbeat = Heartbeat::new(&shard.config);
        Ok(Server {
            max_message_len: shard.config.max_message_size,
            ticks: Ticks::new(&shard.config, Instant::now()),
            shard,
            slots: Slots::default(),
            handshakes: HashMap::new(),
            busy: HashMap::new(),
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
            line: VecDeque::new(),
            untaken: HashMap::new(),
            poll,
            heartbeat,
            accept_at: None,
            drained_by: None,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.shard.yield_core();
            match self.poll.poll(&mut events, Some(self.patience())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            let elapsed = self.ticks.advance(now);
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_at = Some(now),
                    SHUTDOWN => self.drain(now),
                    Token(fd) => self.ready(fd as RawFd, event.is_read_closed()),
                }
            }
            self.take_turns(now);
            self.accept(now);
            if elapsed > 0 {
                self.sweep(elapsed);
            }
            if self.drained_by.is_some_and(|end| self.slots.count() == 0 || now >= end) {
                return Ok(());
            }
        }
    }

    /// How long to wait for events.
    fn patience(&self) -> Duration {
        let accept = self.accept_at.map(|at| at.saturating_duration_since(Instant::now()));
        let tick = self.ticks.len();
        if self.line.is_empty() { accept.unwrap_or(tick).min(tick) } else { Duration::ZERO }
    }

    /// Lets some of those in line have their turn, after events that were begun with at `since`.
    fn take_turns(&mut self, since: Instant) {
        if self.line.is_empty() {
            return;
        }
        let start = Instant::now();
        let time = time_for_line(start - since);
        while let Some((fd, eof)) = self.line.pop_front() {
            self.turn(fd, eof);
            if start.elapsed() >= time {
                return;
            }
        }
    }

    /// A connection that waited in line has its turn.
    pub fn turn(&mut self, fd: RawFd, eof: bool) {
        let Some(slot) = self.slots.get_mut(fd) else { return };
        slot.set_waits(false);
        if self.read(fd, self.buffer.len(), eof) {
            self.get_in_line(fd, eof);
        }
    }

    /// Answers what a peer has sent before it is told to go.
    fn catch_up(&mut self, fd: RawFd) {
        let more = (0..READS_IN_DRAIN).all(|_| self.read(fd, self.buffer.len(), false));
        if more {
            self.get_in_line(fd, false);
        }
    }

    /// Whoever has more than was read, or is new, waits until the others have been looked at.
    pub fn get_in_line(&mut self, fd: RawFd, eof: bool) {
        if let Some(slot) = self.slots.get_mut(fd) {
            slot.set_waits(true);
            self.line.push_back((fd, eof));
        }
    }

    /// Accepts a batch of those who wait.
    fn accept(&mut self, now: Instant) {
        if self.accept_at.is_none_or(|at| at > now) {
            return;
        }
        for _ in 0..ACCEPT_BATCH {
            match self.shard.accept() {
                Accepted::Connection(stream) => {
                    let fd = stream.as_raw_fd();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(fd as usize);
                    if let Err(error) = self.poll.registry().register(&mut SourceFd(&fd), token, interest) {
                        self.shard.cannot_watch(&error);
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                        return;
                    }
                    self.open(fd, OwnedFd::from(stream));
                }
                Accepted::Nobody => {
                    self.accept_at = None;
                    return;
                }
                Accepted::Exhausted => {
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Looks through all connections for what fell due in the ticks that have `elapsed`.
    fn sweep(&mut self, elapsed: u32) {
        for fd in 0..self.slots.end() {
            let Some(slot) = self.slots.get_mut(fd) else { continue };
            let quiet_ticks = slot.quiet_ticks(self.ticks.now());
            let quiet = self.ticks.duration(quiet_ticks);
            match slot.phase() {
                Phase::Handshake if quiet >= self.shard.config.handshake_timeout => {
                    // A loop that was held up is not a peer that is late: what came meanwhile is still to be read.
                    self.turn(fd, false);
                    if self.phase(fd) == Some(Phase::Handshake) {
                        self.shard.metrics().rejected(Rejected::HandshakeTimeout);
                        self.gone(fd, Closed::Eof);
                    }
                }
                Phase::Lingering if quiet >= LINGER && self.drained_by.is_none() => {
                    self.gone(fd, Closed::Eof)
                }
                Phase::Open | Phase::Busy => {
                    let quiet_before = self.ticks.duration(quiet_ticks.saturating_sub(elapsed));
                    if self.heartbeat.must_look(quiet_before, quiet) && self.has_taken_output(fd) {
                        continue;
                    }
                    if let Some(beat) = self.heartbeat.due(quiet_before, quiet) {
                        self.beat(fd, beat);
                    }
                }
                _ => {}
            }
        }
        // What a storm needed is not kept for the calm after it.
        if self.busy.is_empty() {
            self.busy.shrink_to_fit();
        }
        if self.handshakes.is_empty() {
            self.handshakes.shrink_to_fit();
        }
        if self.line.is_empty() {
            self.line.shrink_to_fit();
        }
        if self.untaken.is_empty() {
            self.untaken.shrink_to_fit();
        }
        self.slots.release();
    }

    /// Whether the peer has taken some of its output since the last look: then it is not quiet.
    fn has_taken_output(&mut self, fd: RawFd) -> bool {
        let untaken = self.untaken.entry(fd).or_default();
        let taken = untaken.progressed(fd);
        if !untaken.is_some() {
            self.untaken.remove(&fd);
        }
        if taken && let Some(slot) = self.slots.get_mut(fd) {
            slot.heard(self.ticks.now());
        }
        taken
    }

    /// Stops accepting, and tells every peer, once what it sent so far is answered.
    fn drain(&mut self, now: Instant) {
        if self.drained_by.is_some() {
            return;
        }
        self.drained_by = Some(now + self.shard.config.drain_timeout);
        self.accept_at = None;
        self.shard.stop_listening();
        for fd in 0..self.slots.end() {
            self.catch_up(fd);
            match self.phase(fd) {
                Some(Phase::Open | Phase::Busy) => self.close(fd, CloseCode::GoingAway, Closed::Shutdown),
                Some(Phase::Handshake) => self.gone(fd, Closed::Eof),
                _ => {}
            }
        }
    }
}
