//! One connection: from its request to its end. An event comes in, [`Next`] goes out.

use crate::Flags;
use crate::socket::Socket;
use common::event_loop::{Handshake, Marks, Next, Phase, Timeouts};
use common::frame::CloseCode;
use common::meter::Meter;
use common::metrics::{Closed, ShardMetrics};
use common::{Answer, Shard, set_close_policy, websocket};
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
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

/// What the connections of a shard share.
pub struct Context {
    pub shard: Shard<Flags>,
    pub timeouts: Timeouts,
    websocket: WebSocketConfig,
}

impl Context {
    pub fn new(shard: Shard<Flags>) -> Context {
        Context {
            timeouts: Timeouts::new(&shard.config, Instant::now()),
            websocket: websocket::config(&shard.config, shard.flags.read_buffer),
            shard,
        }
    }

    /// Nothing to free: each connection owns its buffers.
    pub fn trim(&mut self) {}
}

/// A connection, with all its buffers.
pub struct Connection {
    pub marks: Marks,
    socket: Socket,
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
        marks: Marks::new(context.timeouts.now()),
        socket: Socket::new(socket.into()),
        state: State::Handshake(Handshake::begin()),
    })
}

impl Connection {
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Handshake(_) => Phase::Handshake,
            State::Open { .. } if self.socket.is_at_boundary() => Phase::Idle,
            State::Open { .. } => Phase::Busy,
            State::Lingering => Phase::Lingering,
        }
    }

    /// Sends unsent output, and reads up to the quantum. `eof`: the peer has half-closed.
    pub fn read(&mut self, context: &mut Context, quantum: Quantum, eof: bool) -> Next {
        self.socket.begin_slice(quantum, eof);
        let next = match self.state {
            State::Handshake(_) => self.handshake(context),
            State::Open { .. } => {
                self.marks.expect_long(false);
                self.echo(context)
            }
            State::Lingering => self.discard(),
        };
        if next == Next::Wait && self.socket.reads_left == Some(0) { Next::Requeue } else { next }
    }

    /// Answers a request once it is complete.
    fn handshake(&mut self, context: &mut Context) -> Next {
        let State::Handshake(handshake) = &mut self.state else { return Next::Wait };
        let mut piece = [0; PIECE_LEN];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return Next::Remove(Closed::Eof),
                Ok(len) => handshake.head.extend_from_slice(&piece[..len]),
                Err(error) => return error.into(),
            }
            match context.shard.answer(&handshake.head, handshake.accepted_at) {
                Answer::Partial => {}
                Answer::Close(response) => {
                    // A new socket's send buffer takes it whole.
                    let _ = self.socket.write_all(&response);
                    return Next::Linger(Closed::Normal);
                }
                Answer::Upgrade { response, head_len } => {
                    // Input after the request is frames.
                    let frames = handshake.head.split_off(head_len);
                    self.socket.meter = Some(Meter::new(context.shard.reservation(), &frames));
                    let config = Some(context.websocket);
                    let websocket = WebSocketContext::from_partially_read(frames, Role::Server, config);
                    self.state = State::Open { websocket: Box::new(websocket), closing: None };
                    return match self.socket.write_all(&response) {
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
                Err(Error::Io(error)) => error.into(),
                _ => Next::Linger(Closed::Normal),
            };
        }
        let Err(error) = converse(websocket, &mut self.socket, context.shard.metrics());
        if self.socket.progressed {
            self.marks.seen(context.timeouts.now());
        }
        match websocket::next_after(&error) {
            Ok((reason, code)) => self.close(context, code, reason),
            Err(next) => next,
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
            Err(Error::Io(error)) => error.into(),
            _ => Next::Wait,
        }
    }

    /// Lingering close: half-closes the socket, and discards input until the peer closes too. A close(2) with input unread
    /// sends a reset, which may overtake output that was sent before it (RFC 9293, section 3.6.1).
    pub fn linger(&mut self, context: &mut Context, reason: Closed) {
        self.release(context, reason);
        self.state = State::Lingering;
        self.socket.meter = None;
        self.marks.seen(context.timeouts.now());
        // Fails if the peer has reset the connection, which the next read returns too.
        let _ = self.socket.stream.shutdown(Shutdown::Write);
    }

    /// Counts the end of an open connection; the reason of our Close frame takes precedence.
    pub fn release(&self, context: &mut Context, reason: Closed) {
        let State::Open { closing, .. } = self.state else { return };
        let reason = closing.unwrap_or(reason);
        context.shard.closed(reason);
        set_close_policy(&self.socket.stream, reason);
    }

    fn discard(&mut self) -> Next {
        let mut piece = [0; PIECE_LEN];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return Next::Remove(Closed::Eof),
                Ok(_) => {}
                Err(error) => return error.into(),
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
