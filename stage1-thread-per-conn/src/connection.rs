//! One connection: from its request to its end.

use crate::Flags;
use crate::socket::Socket;
use common::config::LINGER;
use common::frame::CloseCode;
use common::heartbeat::{Beat, Heartbeat};
use common::meter::Meter;
use common::metrics::{Closed, Rejected};
use common::quiet::Quiet;
use common::{Answer, Shard, set_close_policy, websocket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// Bytes read at once in a handshake, and discarded at once in a lingering close.
const PIECE_LEN: usize = 1024;

/// Why a connection ends, and the code of the Close frame to send, if any.
type End = (Closed, Option<CloseCode>);

/// What the connections of a shard share.
pub struct Context {
    pub shard: Shard<Flags>,
    websocket: WebSocketConfig,
    heartbeat: Heartbeat,
}

impl Context {
    pub fn new(shard: Shard<Flags>) -> Context {
        Context {
            websocket: websocket::config(&shard.config, shard.flags.read_buffer),
            heartbeat: Heartbeat::new(&shard.config),
            shard,
        }
    }
}

/// A connection was accepted: this is its thread.
pub fn open(context: &Context, stream: Arc<TcpStream>) {
    let mut socket = Socket::new(stream, context.shard.shutdown.clone());
    let Some(frames) = handshake(context, &mut socket) else { return };
    socket.meter = Some(Meter::new(context.shard.reservation(), &frames));
    let config = Some(context.websocket);
    let mut websocket = WebSocket::from_partially_read(socket, frames, Role::Server, config);
    let end = echo(context, &mut websocket);
    close(context, websocket, end);
}

/// Answers a request; returns the frames that came behind it, if a connection was opened.
#[inline(never)]
fn handshake(context: &Context, socket: &mut Socket) -> Option<Vec<u8>> {
    let accepted_at = Instant::now();
    socket.read_by = Some(accepted_at + context.shard.config.handshake_timeout);
    let mut head = Vec::new();
    let mut piece = [0; PIECE_LEN];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return None,
            Ok(len) => head.extend_from_slice(&piece[..len]),
            Err(error) => {
                if error.kind() == ErrorKind::TimedOut {
                    context.shard.metrics().rejected(Rejected::HandshakeTimeout);
                }
                return None;
            }
        }
        match context.shard.answer(&head, accepted_at) {
            Answer::Partial => {}
            Answer::Close(response) => {
                if socket.write_all(&response).is_ok() {
                    linger(context, socket);
                }
                return None;
            }
            Answer::Upgrade { response, head_len } => {
                if socket.write_all(&response).is_err() {
                    context.shard.closed(Closed::Reset);
                    return None;
                }
                return Some(head.split_off(head_len));
            }
        }
    }
}

/// The hot path: echoes until the connection ends, or the server drains.
fn echo(context: &Context, websocket: &mut WebSocket<Socket>) -> End {
    websocket.get_mut().write_timeout = context.heartbeat.write_timeout();
    loop {
        let message = match next(context, websocket) {
            Ok(message) => message,
            Err(end) => return end,
        };
        // tungstenite answers Ping and Close by itself.
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            let echoing = context.shard.metrics().echoed(1, message.len());
            if let Err(error) = websocket.send(message) {
                return end_by(&error);
            }
            echoing.written();
        }
    }
}

/// The next message. While there is none, pings are sent as they fall due.
fn next(context: &Context, websocket: &mut WebSocket<Socket>) -> Result<Message, End> {
    // Without timeouts the clock is not read.
    let socket = websocket.get_ref().stream().as_raw_fd();
    let mut quiet = context.heartbeat.is_on().then(|| Quiet::begin(socket));
    loop {
        websocket.get_mut().read_by = quiet.as_ref().and_then(|quiet| quiet.next_look(context.heartbeat));
        let error = match websocket.read() {
            Ok(message) => return Ok(message),
            Err(error) => error,
        };
        let Some(quiet) = quiet.as_mut().filter(|_| is(&error, ErrorKind::TimedOut)) else {
            return Err(end_by(&error));
        };
        match quiet.look(context.heartbeat) {
            Some(Beat::Ping) => {
                websocket.send(Message::Ping(Default::default())).map_err(|error| end_by(&error))?;
            }
            Some(Beat::Dead) => return Err((Closed::Idle, Some(CloseCode::GoingAway))),
            None => {}
        }
    }
}

/// How an error of tungstenite's, or of [`Socket`], ends the connection.
fn end_by(error: &Error) -> End {
    if is(error, ErrorKind::WouldBlock) {
        (Closed::Shutdown, Some(CloseCode::GoingAway))
    } else {
        websocket::closed_by(error)
    }
}

fn is(error: &Error, kind: ErrorKind) -> bool {
    matches!(error, Error::Io(error) if error.kind() == kind)
}

/// Sends a Close frame, and closes TCP.
#[inline(never)]
fn close(context: &Context, mut websocket: WebSocket<Socket>, (reason, code): End) {
    let socket = websocket.get_mut();
    socket.write_timeout = Some(LINGER);
    socket.heeds_drain = false;
    let notified = match code {
        Some(code) => !matches!(websocket.close(Some(websocket::close_frame(code))), Err(Error::Io(_))),
        None => reason == Closed::Normal,
    };
    context.shard.closed(reason);
    // tungstenite's buffers are freed before the wait.
    let mut socket = websocket.into_inner();
    set_close_policy(socket.stream(), reason);
    if notified {
        linger(context, &mut socket);
    }
}

/// Lingering close: half-closes the socket, and discards input until the peer closes too. A close(2) with input unread sends
/// a reset, which may overtake output that was sent before it (RFC 9293, section 3.6.1).
fn linger(context: &Context, socket: &mut Socket) {
    if socket.stream().shutdown(Shutdown::Write).is_err() {
        return;
    }
    let until = Instant::now() + context.shard.linger_timeout();
    socket.read_by = Some(until);
    socket.heeds_drain = false;
    socket.meter = None;
    let mut piece = [0; PIECE_LEN];
    // The deadline also ends a peer that never stops sending.
    while Instant::now() < until && socket.read(&mut piece).is_ok_and(|len| len > 0) {}
}
