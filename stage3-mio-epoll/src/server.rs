//! The event loop of a shard.
//!
//! Readiness is edge-triggered: an event says that something *has become* readable, once, so a connection is read
//! until there is nothing left. A little is read at once, which is all that an everyday message needs. Whoever has more
//! gets in line, and so does whoever is new, or in the middle of a message or of its echo, so that a short message never
//! waits for all the long ones, all the newcomers and all the laggards that were there before it.

use crate::Flags;
use crate::connection::{Connection, Phase};
use common::config::LINGER;
use common::frame::CloseCode;
use common::heartbeat::Heartbeat;
use common::metrics::{Closed, Rejected};
use common::ticks::Ticks;
use common::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Shard, time_for_line, websocket};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tungstenite::protocol::WebSocketConfig;

/// Events taken at once.
const EVENTS: usize = 1024;
/// Reads in a turn of one that waited in line for it: 64 KiB, with `--read-buffer` as it comes.
const READS_IN_TURN: u16 = 16;
/// Reads of what a connection has sent before it is told that the server goes away: 1 MiB.
const READS_IN_DRAIN: u16 = 256;

const LISTENER: Token = Token(usize::MAX);
const SHUTDOWN: Token = Token(usize::MAX - 1);

/// A shard's event loop. A connection's token is its key in the slab.
pub struct Server {
    pub shard: Shard<Flags>,
    pub connections: Slab<Connection>,
    pub websocket: WebSocketConfig,
    /// Connections that have more to be read, in line for their turn.
    pub line: VecDeque<usize>,
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
            websocket: websocket::config(&shard.config, shard.flags.read_buffer),
            ticks: Ticks::new(&shard.config, Instant::now()),
            shard,
            connections: Slab::new(),
            line: VecDeque::new(),
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
                    Token(key) => self.ready(key, event.is_read_closed()),
                }
            }
            self.take_turns(now);
            self.accept(now);
            if elapsed > 0 {
                self.sweep(elapsed);
            }
            if self.drained_by.is_some_and(|end| self.connections.is_empty() || now >= end) {
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
        while let Some(key) = self.line.pop_front() {
            self.turn(key);
            if start.elapsed() >= time {
                return;
            }
        }
    }

    /// A connection that waited in line has its turn.
    pub fn turn(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.begin_turn();
        self.read(key, READS_IN_TURN);
    }

    /// Answers what a peer has sent before it is told to go.
    fn catch_up(&mut self, key: usize) {
        self.read(key, READS_IN_DRAIN);
    }

    /// Whoever has more than was read, or is new, waits until the others have been looked at.
    pub fn get_in_line(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.waits = true;
            self.line.push_back(key);
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
                    let key = self.open(stream);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let watched = self.poll.registry().register(&mut SourceFd(&fd), Token(key), interest);
                    if let Err(error) = watched {
                        self.shard.cannot_watch(&error);
                        self.gone(key, Closed::Eof);
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                        return;
                    }
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
        for key in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let quiet_ticks = connection.quiet_ticks(self.ticks.now());
            let quiet = self.ticks.duration(quiet_ticks);
            match connection.phase() {
                Phase::Handshake if quiet >= self.shard.config.handshake_timeout => {
                    // A loop that was held up is not a peer that is late: what came meanwhile is still to be read.
                    self.turn(key);
                    if self.phase(key) == Some(Phase::Handshake) {
                        self.shard.metrics().rejected(Rejected::HandshakeTimeout);
                        self.gone(key, Closed::Eof);
                    }
                }
                Phase::Lingering if quiet >= LINGER && self.drained_by.is_none() => {
                    self.gone(key, Closed::Eof)
                }
                Phase::Open => {
                    let quiet_before = self.ticks.duration(quiet_ticks.saturating_sub(elapsed));
                    if self.heartbeat.must_look(quiet_before, quiet) && self.has_taken_output(key) {
                        continue;
                    }
                    if let Some(beat) = self.heartbeat.due(quiet_before, quiet) {
                        self.beat(key, beat);
                    }
                }
                _ => {}
            }
        }
        // What a storm needed is not kept for the calm after it.
        if self.connections.is_empty() {
            self.connections.shrink_to_fit();
        }
        if self.line.is_empty() {
            self.line.shrink_to_fit();
        }
    }

    /// Whether the peer has taken some of its output since the last look: then it is not quiet.
    fn has_taken_output(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let taken = connection.untaken.progressed(connection.socket.stream().as_raw_fd());
        if taken {
            connection.since = self.ticks.now();
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
        for key in 0..self.connections.capacity() {
            self.catch_up(key);
            match self.phase(key) {
                Some(Phase::Open) => self.close(key, CloseCode::GoingAway, Closed::Shutdown),
                Some(Phase::Handshake) => self.gone(key, Closed::Eof),
                _ => {}
            }
        }
    }
}
