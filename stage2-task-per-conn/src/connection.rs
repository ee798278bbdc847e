//! One connection: from its request to its end.

use crate::Flags;
use common::config::LINGER;
use common::frame::CloseCode;
use common::heartbeat::{Beat, Heartbeat};
use common::latency::Echoing;
use common::meter::Meter;
use common::metered::Metered;
use common::metrics::{Closed, Rejected};
use common::timer::{Interrupt, Silence, Stalled, in_time};
use common::{Answer, Shard, set_close_policy, websocket};
use futures_util::{SinkExt, Stream, StreamExt};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

type WebSocket = WebSocketStream<Metered>;

/// Why a connection ends, and the code of the Close frame to send, if any.
type End = (Closed, Option<CloseCode>);
/// The end of a connection that the drain interrupts.
const DRAINED: End = (Closed::Shutdown, Some(CloseCode::GoingAway));

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
    let end = match context.shard.flags.tasks_per_conn {
        1 => echo(context, &mut websocket).await,
        _ => {
            let (end, whole) = Box::pin(split(context, websocket)).await;
            let Some(whole) = whole else { return context.shard.closed(end.0) };
            websocket = whole;
            end
        }
    };
    Box::pin(close(context, websocket, end)).await;
}

/// Answers a request; returns the connection, if one was opened.
async fn handshake(context: &Context, stream: TcpStream) -> Option<WebSocket> {
    let request = pin!(request(context, stream));
    let request = pin!(in_time(context.shard.config.handshake_timeout, request));
    match context.interrupt.unless_drained(request).await? {
        Some(Ok((stream, Some(frames)))) => {
            // What came behind the request are frames.
            let meter = Meter::new(context.shard.reservation(), &frames);
            let socket = Metered::new(stream, meter, context.heartbeat.write_timeout());
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
async fn request(context: &Context, mut stream: TcpStream) -> io::Result<(TcpStream, Option<Vec<u8>>)> {
    let accepted_at = Instant::now();
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
                let sent = stream.write_all(&response).await;
                sent.inspect_err(|_| context.shard.closed(Closed::Reset))?;
                return Ok((stream, Some(head.split_off(head_len))));
            }
        }
    }
}

/// The hot path: echoes until the connection ends, or the server drains.
async fn echo(context: &Context, websocket: &mut WebSocket) -> End {
    let conversation = pin!(converse(context, websocket));
    let Err(end) = context.interrupt.until_its_slot(conversation).await.unwrap_or(Err(DRAINED));
    end
}

async fn converse(context: &Context, websocket: &mut WebSocket) -> Result<Infallible, End> {
    let mut silence = Silence::new(websocket.get_ref().as_raw_fd());
    loop {
        let (message, echoing) = next(context, websocket, &mut silence).await?;
        let sent = match message {
            Some(message) => send(websocket, message).await,
            // tungstenite answers Ping and Close by itself, but goes on reading while the answers pile up.
            None => websocket.flush().await,
        };
        sent.map_err(|error| websocket::closed_by(&error))?;
        echoing.written();
    }
}

/// Waits for the next message to send: an echo, which is counted, or a Ping that fell due. `None`: a control frame came.
#[inline]
async fn next(
    context: &Context,
    stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    silence: &mut Silence,
) -> Result<(Option<Message>, Echoing), End> {
    let message = match silence.unless_due(&context.heartbeat, |cx| stream.poll_next_unpin(cx)).await {
        Ok(Some(message)) => message.map_err(|error| websocket::closed_by(&error))?,
        Ok(None) => return Err((Closed::Normal, None)),
        Err(Beat::Ping) => return Ok((Some(Message::Ping(Default::default())), Echoing::default())),
        Err(Beat::Dead) => return Err((Closed::Idle, Some(CloseCode::GoingAway))),
    };
    if !matches!(message, Message::Text(_) | Message::Binary(_)) {
        return Ok((None, Echoing::default()));
    }
    let echoing = context.shard.metrics().echoed(1, message.len());
    Ok((Some(message), echoing))
}

/// Sends a message. The stream is ready again when the kernel has all of it, so nothing is left to be flushed.
#[inline]
fn send(websocket: &mut WebSocket, message: Message) -> impl Future<Output = Result<(), Error>> {
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

/// Echoes by two tasks, as servers have them whose connections send what others have to say: this one reads, and a second
/// one writes. Returns the connection, unless its writer has stalled.
async fn split(context: &Context, websocket: WebSocket) -> (End, Option<WebSocket>) {
    let socket = websocket.get_ref().as_raw_fd();
    let (mut sink, mut stream) = websocket.split();
    // One message: once a Close is read, tungstenite sends nothing more, so the reader reads on only when the writer has
    // taken what came before. `None`: tungstenite has answered a Ping, which is to be flushed before it reads on.
    let (messages, mut queue) = mpsc::channel::<Option<Message>>(1);
    context.shard.metrics().tasks.fetch_add(1, Relaxed);
    let mut writer = tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            let sent = match message {
                Some(message) => sink.send(message).await,
                None => sink.flush().await,
            };
            if let Err(error) = sent {
                return (sink, Some(websocket::closed_by(&error)));
            }
        }
        (sink, None)
    });
    let reader = async {
        let mut silence = Silence::new(socket);
        loop {
            let (message, echoing) = match next(context, &mut stream, &mut silence).await {
                Ok(next) => next,
                Err(end) => return Some(end),
            };
            if messages.send(message).await.is_err() || messages.reserve().await.is_err() {
                // The writer has ended, and says why.
                return None;
            }
            // On the one thread of the runtime, the writer that has taken a message has written it as well.
            echoing.written();
        }
    };
    let end = context.interrupt.until_its_slot(pin!(reader)).await.unwrap_or(Some(DRAINED));
    drop(messages);
    // The writer sends what is queued, as long as the peer takes some of it.
    let written = tokio::select! {
        biased;
        written = &mut writer => written.ok(),
        _ = Stalled::begin(socket, LINGER) => None,
    };
    writer.abort();
    context.shard.metrics().tasks.fetch_sub(1, Relaxed);
    let (sink, failed) = written.map_or((None, None), |(sink, failed)| (Some(sink), failed));
    let end = end.or(failed).unwrap_or((Closed::Reset, None));
    (end, sink.and_then(|sink| stream.reunite(sink).ok()))
}

/// Sends a Close frame, and closes TCP.
async fn close(context: &Context, mut websocket: WebSocket, (reason, code): End) {
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
    // Whether the peer has closed or timed out, the connection ends here.
    let _ = timeout(context.shard.linger_timeout(), discard).await;
}
