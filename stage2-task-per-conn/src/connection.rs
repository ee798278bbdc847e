//! One connection: from its request to its end.

use crate::Flags;
use crate::socket::Socket;
use common::config::LINGER;
use common::frame::CloseCode;
use common::heartbeat::{Beat, Heartbeat};
use common::latency::Echoing;
use common::meter::Meter;
use common::metrics::{Closed, Rejected};
use common::timer::{Interrupt, Silence, in_time};
use common::{Answer, Shard, set_close_policy, websocket};
use futures_util::{SinkExt, Stream, StreamExt};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Why a connection ends, and the code of the Close frame to send, if any.
pub type End = (Closed, Option<CloseCode>);

/// What the connections of a shard share.
pub struct Context {
    pub shard: Shard<Flags>,
    pub interrupt: Interrupt,
    websocket: WebSocketConfig,
    heartbeat: Heartbeat,
}

impl Context {
    pub fn new(shard: Shard<Flags>) -> Context {
        Context {
            websocket: websocket::config(&shard.config, shard.flags.read_buffer),
            heartbeat: Heartbeat::new(&shard.config),
            interrupt: Interrupt::new(shard.shutdown.clone()),
            shard,
        }
    }
}

/// A connection was accepted: this is its task.
pub async fn open(context: &Context, stream: TcpStream) {
    // A boxed future is freed before the long wait; unboxed, the task would reserve room for it all its life.
    let Some(mut websocket) = Box::pin(handshake(context, stream)).await else { return };
    let end = echo(context, &mut websocket).await;
    Box::pin(close(context, websocket, end)).await;
}

/// Answers a request; returns the connection, if one was opened.
pub async fn handshake(context: &Context, stream: TcpStream) -> Option<WebSocketStream<Socket>> {
    let request = pin!(request(context, stream, Instant::now()));
    let request = in_time(context.shard.config.handshake_timeout, request);
    let answered = context.interrupt.unless_drained(pin!(request)).await?;
    match answered {
        Some(Ok((stream, Some(frames)))) => {
            // What came behind the request are frames.
            let idle_timeout = context.shard.config.idle_timeout;
            let write_timeout = (!idle_timeout.is_zero()).then_some(idle_timeout);
            let socket = Socket::new(stream, Meter::new(context.shard.reservation(), &frames), write_timeout);
            let config = Some(context.websocket);
            return Some(WebSocketStream::from_partially_read(socket, frames, Role::Server, config).await);
        }
        Some(Ok((stream, None))) => linger(context, stream).await,
        Some(Err(_)) => {}
        None => context.shard.metrics().rejected(Rejected::HandshakeTimeout),
    }
    None
}

/// Reads a request and sends its answer. Returns frames if a connection was opened.
async fn request(
    context: &Context,
    mut stream: TcpStream,
    accepted_at: Instant,
) -> io::Result<(TcpStream, Option<Vec<u8>>)> {
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match context.shard.answer(&head, accepted_at) {
            Answer::Partial => {}
            Answer::Close(response) => {
                stream.write_all(&response).await?;
                return Ok((stream, None));
            }
            Answer::Upgrade { response, head_len } => {
                // A new socket's send buffer takes it whole, so this does not wait.
                return match stream.write_all(&response).await {
                    Ok(()) => Ok((stream, Some(head.split_off(head_len)))),
                    Err(error) => {
                        context.shard.closed(Closed::Reset);
                        Err(error)
                    }
                };
            }
        }
    }
}

/// The hot path: echoes until the connection ends, or the server drains.
async fn echo(context: &Context, websocket: &mut WebSocketStream<Socket>) -> End {
    let drained = (Closed::Shutdown, Some(CloseCode::GoingAway));
    context.interrupt.until_its_slot(pin!(converse(context, websocket))).await.unwrap_or(drained)
}

async fn converse(context: &Context, websocket: &mut WebSocketStream<Socket>) -> End {
    let mut silence = Silence::new(websocket.get_ref().fd());
    loop {
        let sent = match next(context, websocket, &mut silence).await {
            Event::Message(message, echoing) => {
                send(websocket, message).await.inspect(|()| echoing.written())
            }
            // tungstenite answers Ping and Close by itself, but goes on reading while the answers pile up.
            Event::Control => websocket.flush().await,
            Event::PingDue => send(websocket, ping()).await,
            Event::End(end) => return end,
        };
        if let Err(error) = sent {
            return websocket::closed_by(&error);
        }
    }
}

/// What happened on a connection.
pub enum Event {
    /// A data message came, and is counted.
    Message(Message, Echoing),
    /// A control frame came.
    Control,
    /// No bytes were received for `--ping-interval`.
    PingDue,
    /// The connection ends.
    End(End),
}

/// Waits for the next event.
#[inline]
pub async fn next<S>(context: &Context, stream: &mut S, silence: &mut Silence) -> Event
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let message = poll_fn(|cx| match stream.poll_next_unpin(cx) {
        Poll::Ready(message) => {
            silence.end();
            Poll::Ready(Ok(message))
        }
        Poll::Pending if context.heartbeat.is_on() => silence.poll(context.heartbeat, cx).map(Err),
        Poll::Pending => Poll::Pending,
    });
    let message = match message.await {
        Ok(message) => message,
        Err(Beat::Ping) => return Event::PingDue,
        Err(Beat::Dead) => return Event::End((Closed::Idle, Some(CloseCode::GoingAway))),
    };
    match message {
        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
            let echoing = context.shard.metrics().echoed(1, message.len());
            Event::Message(message, echoing)
        }
        Some(Ok(_)) => Event::Control,
        Some(Err(error)) => Event::End(websocket::closed_by(&error)),
        None => Event::End((Closed::Normal, None)),
    }
}

/// An empty Ping.
pub fn ping() -> Message {
    Message::Ping(Default::default())
}

/// Sends a message. The stream is ready again when the kernel has all of it, so nothing is left to be flushed.
#[inline]
fn send(
    websocket: &mut WebSocketStream<Socket>,
    message: Message,
) -> impl Future<Output = Result<(), Error>> {
    let mut message = Some(message);
    poll_fn(move |cx| {
        ready!(websocket.poll_ready_unpin(cx))?;
        if let Some(message) = message.take() {
            websocket.start_send_unpin(message)?;
            return websocket.poll_ready_unpin(cx);
        }
        Poll::Ready(Ok(()))
    })
}

/// Sends a Close frame, and closes TCP.
pub async fn close(context: &Context, mut websocket: WebSocketStream<Socket>, (reason, code): End) {
    websocket.get_mut().write_timeout = Some(LINGER);
    let notified = match code {
        Some(code) => websocket.close(Some(websocket::close_frame(code))).await.is_ok(),
        None => reason == Closed::Normal,
    };
    context.shard.closed(reason);
    let stream = websocket.into_inner().into_stream();
    set_close_policy(&stream, reason);
    if notified {
        linger(context, stream).await;
    }
}

/// Lingering close: half-closes the socket, and discards input until the peer closes too. A close(2) with input unread sends
/// a reset, which may overtake output that was sent before it (RFC 9293, section 3.6.1).
async fn linger(context: &Context, mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut piece = [0; 1024];
    let discard = async { while stream.read(&mut piece).await.is_ok_and(|len| len > 0) {} };
    let limit = if context.shard.shutdown.begun() { context.shard.config.drain_timeout } else { LINGER };
    // Whether the peer has closed or timed out, the connection ends here.
    let _ = timeout(limit, discard).await;
}
