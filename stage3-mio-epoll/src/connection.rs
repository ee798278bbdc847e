//! One connection: from its request to its last octet.

use crate::server::Server;
use crate::socket::Socket;
use common::frame::CloseCode;
use common::heartbeat::Beat;
use common::meter::Meter;
use common::metrics::{Closed, ShardMetrics};
use common::untaken::Untaken;
use common::{Answer, leave, websocket};
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;
use tungstenite::protocol::{Role, WebSocketContext};
use tungstenite::{Error, Message};

/// What is read at once before a connection is open, and what is discarded at once after.
const PIECE_LEN: usize = 4096;

/// A connection: an entry in the slab.
pub struct Connection {
    pub socket: Socket,
    /// The tick at which something last came, or was taken; in a handshake, that of accept.
    pub since: u32,
    pub untaken: Untaken,
    /// Whether it is in line for a turn.
    pub waits: bool,
    /// Whether it has yet to have a turn as an open connection.
    is_new: bool,
    state: State,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its request has not all arrived.
    Handshake,
    /// It is open.
    Open,
    /// Its last octet is sent; what still comes is discarded until it is closed.
    Lingering,
}

enum State {
    Handshake {
        since: Instant,
        head: Vec<u8>,
    },
    Open {
        websocket: Box<WebSocketContext>,
        /// Set with our Close frame: nothing more is read, and the connection ends when that is sent.
        last: Option<Closed>,
    },
    Lingering,
}

impl Connection {
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Handshake { .. } => Phase::Handshake,
            State::Open { .. } => Phase::Open,
            State::Lingering => Phase::Lingering,
        }
    }

    /// Whether what comes is likely to be short: from a peer that has sent something before, and all of it whole.
    fn is_prompt(&self) -> bool {
        self.phase() == Phase::Open && !self.is_new && self.socket.is_at_rest()
    }

    /// Its turn begins, for which it waited.
    pub fn begin_turn(&mut self) {
        self.waits = false;
        if self.phase() == Phase::Open {
            self.is_new = false;
        }
    }

    /// Ticks from the last time something came or was taken (in a handshake: from accept) to `now`.
    pub fn quiet_ticks(&self, now: u32) -> u32 {
        now.wrapping_sub(self.since)
    }
}

impl Server {
    /// A connection was accepted.
    pub fn open(&mut self, stream: TcpStream) -> usize {
        let state = State::Handshake { since: Instant::now(), head: Vec::new() };
        self.connections.insert(Connection {
            socket: Socket::new(stream),
            since: self.ticks.now(),
            untaken: Untaken::default(),
            waits: false,
            is_new: true,
            state,
        })
    }

    /// The socket is readable, or writable where output waits. `eof`: the peer has sent its last octet, so a short
    /// read does not yet mean that nothing is left to be read (epoll(7), question 9, and `EPOLLRDHUP`).
    pub fn ready(&mut self, key: usize, eof: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.socket.eof |= eof;
        // Those in line will find there what has come.
        if connection.waits {
            return;
        }
        if connection.is_prompt() { self.read(key, 1) } else { self.get_in_line(key) }
    }

    /// Sends what waits, and reads so many times; if there may be more, the connection gets in line.
    pub fn read(&mut self, key: usize, reads: u16) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.socket.begin_turn(reads);
        match connection.phase() {
            Phase::Handshake => self.handshake(key),
            Phase::Open => self.echo(key),
            Phase::Lingering => self.discard(key),
        }
        if self.connections.get(key).is_some_and(|connection| connection.socket.turn_is_over()) {
            self.get_in_line(key);
        }
    }

    /// Answers a request, once it has all arrived.
    fn handshake(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let State::Handshake { since, head } = &mut connection.state else { return };
        let mut piece = [0; PIECE_LEN];
        loop {
            match connection.socket.read(&mut piece) {
                Ok(0) => return self.gone(key, Closed::Eof),
                Ok(len) => head.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.gone(key, Closed::Reset),
            }
            match self.shard.answer(head, *since) {
                Answer::Partial => {}
                Answer::Close(response) => {
                    // A new socket's send buffer takes it whole.
                    let _ = connection.socket.send_whole(&response);
                    return self.linger(key);
                }
                Answer::Upgrade { response, head_len } => {
                    // What came behind the request are frames.
                    let frames = head.split_off(head_len);
                    connection.socket.meter = Some(Meter::new(self.shard.hold(), &frames));
                    let config = Some(self.websocket);
                    let websocket = WebSocketContext::from_partially_read(frames, Role::Server, config);
                    connection.state = State::Open { websocket: Box::new(websocket), last: None };
                    return match connection.socket.send_whole(&response) {
                        Ok(()) => self.echo(key),
                        Err(_) => self.gone(key, Closed::Reset),
                    };
                }
            }
        }
    }

    /// The hot path.
    fn echo(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let State::Open { websocket, last } = &mut connection.state else { return };
        if let Some(reason) = *last {
            return match websocket.flush(&mut connection.socket) {
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Err(Error::Io(_)) => self.gone(key, reason),
                _ => self.finish(key, reason),
            };
        }
        let Err(error) = converse(websocket, &mut connection.socket, self.shard.metrics());
        if connection.socket.heard() {
            connection.since = self.ticks.now();
        }
        if matches!(&error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock) {
            return;
        }
        match websocket::closed_by(&error) {
            (reason, Some(code)) => self.close(key, code, reason),
            (Closed::Normal, None) => self.finish(key, Closed::Normal),
            (reason, None) => self.gone(key, reason),
        }
    }

    /// Tells an open connection that it ends.
    pub fn close(&mut self, key: usize, code: CloseCode, reason: Closed) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let State::Open { websocket, last: last @ None } = &mut connection.state else { return };
        *last = Some(reason);
        // Whether it could be sent or waits, `echo` goes on from here.
        let _ = websocket.close(&mut connection.socket, Some(websocket::close_frame(code)));
        self.echo(key);
    }

    /// Does what is due on a quiet connection.
    pub fn beat(&mut self, key: usize, beat: Beat) {
        match beat {
            Beat::Dead => {
                // A loop that was held up is not a peer that is gone: what came meanwhile is still to be read.
                self.turn(key);
                if self
                    .connections
                    .get(key)
                    .is_none_or(|connection| connection.quiet_ticks(self.ticks.now()) == 0)
                {
                    return;
                }
                self.close(key, CloseCode::GoingAway, Closed::Idle);
                // A peer that reads nothing does not read this either.
                if self.phase(key) == Some(Phase::Open) {
                    self.gone(key, Closed::Idle);
                }
            }
            Beat::Ping => {
                let Some(connection) = self.connections.get_mut(key) else { return };
                let State::Open { websocket, last: None } = &mut connection.state else { return };
                let sent = websocket.write(&mut connection.socket, Message::Ping(Default::default()));
                match sent.and_then(|()| websocket.flush(&mut connection.socket)) {
                    Err(Error::Io(error)) if error.kind() != ErrorKind::WouldBlock => {
                        self.gone(key, Closed::Reset);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The last octet is sent.
    fn finish(&mut self, key: usize, reason: Closed) {
        self.shard.closed(reason);
        if let Some(connection) = self.connections.get(key) {
            leave(connection.socket.stream(), reason);
        }
        self.linger(key);
    }

    /// TCP is closed only when the peer has read all: a close(2) with input unread sends a reset, which may overtake
    /// what was sent before it (RFC 9293, section 3.6.1).
    fn linger(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.state = State::Lingering;
        connection.socket.meter = None;
        connection.since = self.ticks.now();
        // It fails where the peer has reset the connection, which the next read tells.
        let _ = connection.socket.stream().shutdown(Shutdown::Write);
        self.discard(key);
    }

    fn discard(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut piece = [0; PIECE_LEN];
        loop {
            match connection.socket.read(&mut piece) {
                Ok(0) => return self.gone(key, Closed::Eof),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.gone(key, Closed::Reset),
            }
        }
    }

    pub fn phase(&self, key: usize) -> Option<Phase> {
        self.connections.get(key).map(Connection::phase)
    }

    /// The connection is gone, in whichever phase it was.
    pub fn gone(&mut self, key: usize, reason: Closed) {
        let connection = self.connections.remove(key);
        if let State::Open { last, .. } = connection.state {
            let reason = last.unwrap_or(reason);
            leave(connection.socket.stream(), reason);
            self.shard.closed(reason);
        }
    }
}

/// Echoes until the socket has nothing more, or takes nothing more, or the connection ends: which, the error tells.
fn converse(
    websocket: &mut WebSocketContext,
    socket: &mut Socket,
    metrics: &ShardMetrics,
) -> Result<std::convert::Infallible, Error> {
    // What waits goes first: while it does, nothing is read, and the peer's own window closes.
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
