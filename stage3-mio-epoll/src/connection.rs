//! One connection: from its request to its end. An event comes in, [`Next`] goes out.

use crate::Flags;
use crate::socket::Socket;
use common::event_loop::{Handshake, Next, Phase, Ticks};
use common::frame::CloseCode;
use common::meter::Meter;
use common::metrics::{Closed, ShardMetrics};
use common::{Answer, Shard, websocket};
use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// Bytes per read in a handshake and in a lingering close.
const PIECE_LEN: usize = 4096;

/// What the loop's table holds for a descriptor.
pub type Entry = Box<Connection>;

/// The read quantum: how many reads of `--read-buffer` a connection gets before other connections are served.
pub type Quantum = u16;
/// For an event, handled inline: any message of everyday size.
pub const INLINE: Quantum = 1;
/// For a time slice from the run queue: 64 KiB with the default buffer.
pub const SLICE: Quantum = 16;

/// What the connections of a loop share.
pub struct Context {
    pub shard: Shard<Flags>,
    pub ticks: Ticks,
    websocket: WebSocketConfig,
}

impl Context {
    pub fn new(shard: Shard<Flags>) -> Context {
        Context {
            ticks: Ticks::new(&shard.config, Instant::now()),
            websocket: websocket::config(&shard.config, shard.flags.read_buffer),
            shard,
        }
    }

    /// Nothing to free: each connection owns its buffers.
    pub fn trim(&mut self) {}
}

/// A connection, with all its buffers.
pub struct Connection {
    socket: Socket,
    /// When bytes were last received, or acknowledged; in a handshake, when it was accepted.
    last_seen_tick: u32,
    queued: bool,
    /// Until its first time slice as an open connection.
    is_new: bool,
    state: State,
}

enum State {
    Handshake(Handshake),
    Open {
        websocket: Box<WebSocketContext>,
        /// Set with our Close frame: nothing more is read, and the connection ends when that is sent.
        closing: Option<Closed>,
    },
    Lingering,
}

/// A connection was accepted.
pub fn open(socket: OwnedFd, context: &mut Context) -> Entry {
    Box::new(Connection {
        socket: Socket::new(socket.into()),
        last_seen_tick: context.ticks.now(),
        queued: false,
        is_new: true,
        state: State::Handshake(Handshake::begin()),
    })
}

impl Connection {
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.stream().as_fd()
    }

    pub fn phase(&self) -> Phase {
        match self.state {
            State::Handshake(_) => Phase::Handshake,
            State::Open { .. } => Phase::Open,
            State::Lingering => Phase::Lingering,
        }
    }

    /// Whether it is in the run queue.
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    pub fn set_queued(&mut self, queued: bool) {
        self.queued = queued;
    }

    /// Whether its next message is probably short: everything so far was complete, and is echoed.
    pub fn can_read_inline(&self) -> bool {
        self.phase() == Phase::Open && !self.is_new && self.socket.is_at_boundary()
    }

    /// Bytes were received or acknowledged at tick `now`.
    pub fn seen(&mut self, now: u32) {
        self.last_seen_tick = now;
    }

    /// Ticks since bytes were last received or acknowledged (in a handshake: since accept).
    pub fn quiet_ticks(&self, now: u32) -> u32 {
        now.wrapping_sub(self.last_seen_tick)
    }

    /// Sends unsent output, and reads up to the quantum. `eof`: the peer has half-closed.
    pub fn read(&mut self, context: &mut Context, quantum: Quantum, eof: bool) -> Next {
        self.socket.begin_slice(quantum, eof);
        if quantum != INLINE && self.phase() == Phase::Open {
            self.is_new = false;
        }
        let next = match self.phase() {
            Phase::Handshake => self.handshake(context),
            Phase::Open => self.echo(context),
            Phase::Lingering => self.discard(),
        };
        if next == Next::Wait && self.socket.quantum_is_spent() { Next::Requeue } else { next }
    }

    /// Answers a request once it is complete.
    fn handshake(&mut self, context: &mut Context) -> Next {
        let State::Handshake(handshake) = &mut self.state else { return Next::Wait };
        let mut piece = [0; PIECE_LEN];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return Next::Remove(Closed::Eof),
                Ok(len) => handshake.head.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Remove(Closed::Reset),
            }
            match context.shard.answer(&handshake.head, handshake.accepted_at) {
                Answer::Partial => {}
                Answer::Close(response) => {
                    // A new socket's send buffer takes it whole.
                    let _ = self.socket.send_whole(&response);
                    return Next::Linger(Closed::Normal);
                }
                Answer::Upgrade { response, head_len } => {
                    // Input after the request is frames.
                    let frames = handshake.head.split_off(head_len);
                    self.socket.meter = Some(Meter::new(context.shard.reservation(), &frames));
                    let config = Some(context.websocket);
                    let websocket = WebSocketContext::from_partially_read(frames, Role::Server, config);
                    self.state = State::Open { websocket: Box::new(websocket), closing: None };
                    return match self.socket.send_whole(&response) {
                        Ok(()) => self.echo(context),
                        Err(_) => Next::Remove(Closed::Reset),
                    };
                }
            }
        }
    }

    /// The hot path.
    fn echo(&mut self, context: &mut Context) -> Next {
        let State::Open { websocket, closing } = &mut self.state else { return Next::Wait };
        if closing.is_some() {
            return match websocket.flush(&mut self.socket) {
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Next::Wait,
                Err(Error::Io(_)) => Next::Remove(Closed::Reset),
                _ => Next::Linger(Closed::Normal),
            };
        }
        let Err(error) = converse(websocket, &mut self.socket, context.shard.metrics());
        if self.socket.progressed() {
            self.seen(context.ticks.now());
        }
        if matches!(&error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock) {
            return Next::Wait;
        }
        match websocket::closed_by(&error) {
            (reason, Some(code)) => self.close(context, code, reason),
            (Closed::Normal, None) => Next::Linger(Closed::Normal),
            (reason, None) => Next::Remove(reason),
        }
    }

    /// Sends an open connection a Close frame, with which it ends.
    pub fn close(&mut self, context: &mut Context, code: CloseCode, reason: Closed) -> Next {
        let State::Open { websocket, closing: closing @ None } = &mut self.state else { return Next::Wait };
        *closing = Some(reason);
        // Sent or not, `echo` continues from here.
        let _ = websocket.close(&mut self.socket, Some(websocket::close_frame(code)));
        self.echo(context)
    }

    /// Sends an open connection a Ping.
    pub fn ping(&mut self, _context: &mut Context) -> Next {
        let State::Open { websocket, closing: None } = &mut self.state else { return Next::Wait };
        let sent = websocket.write(&mut self.socket, Message::Ping(Default::default()));
        match sent.and_then(|()| websocket.flush(&mut self.socket)) {
            Err(Error::Io(error)) if error.kind() != ErrorKind::WouldBlock => Next::Remove(Closed::Reset),
            _ => Next::Wait,
        }
    }

    /// The reason to count when an open connection ends: our Close frame's, if one was written.
    pub fn close_reason(&self, _context: &Context, reason: Closed) -> Option<Closed> {
        match self.state {
            State::Open { closing, .. } => Some(closing.unwrap_or(reason)),
            _ => None,
        }
    }

    /// Half-closes the socket. From now on input is discarded.
    pub fn linger(&mut self, context: &mut Context) {
        self.state = State::Lingering;
        self.socket.meter = None;
        self.seen(context.ticks.now());
        // Fails if the peer has reset the connection, which the next read returns too.
        let _ = self.socket.stream().shutdown(Shutdown::Write);
    }

    /// The context keeps nothing for it.
    pub fn release(&self, _context: &mut Context) {}

    fn discard(&mut self) -> Next {
        let mut piece = [0; PIECE_LEN];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return Next::Remove(Closed::Eof),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Remove(Closed::Reset),
            }
        }
    }
}

/// Echoes until a read or a write would block, or the connection ends: the error is the reason.
fn converse(
    websocket: &mut WebSocketContext,
    socket: &mut Socket,
    metrics: &ShardMetrics,
) -> Result<Infallible, Error> {
    // Backpressure: while output is unsent nothing is read, the receive buffer fills, and the TCP window closes.
    websocket.flush(socket)?;
    loop {
        match websocket.read(socket) {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                let echoing = metrics.echoed(1, message.len());
                websocket.write(socket, message)?;
                echoing.written();
            }
            // tungstenite answers Ping and Close by itself.
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                websocket.flush(socket)?;
                return Err(Error::Io(error));
            }
            Err(error) => return Err(error),
        }
    }
}
