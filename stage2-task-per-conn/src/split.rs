//! `--tasks-per-conn 2`: a reader and a writer, as servers have them whose connections send what others have to say.

use crate::connection::{Context, End, Event, close, handshake, next, ping};
use crate::socket::Socket;
use common::config::LINGER;
use common::frame::CloseCode;
use common::latency::Echoing;
use common::metrics::Closed;
use common::timer::Silence;
use common::untaken::Stall;
use common::websocket;
use futures_util::{SinkExt, StreamExt};
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Messages between reader and writer. One: once a Close is read, tungstenite sends nothing more, so the reader reads on
/// only when the writer has taken what came before.
const CHANNEL_LEN: usize = 1;

/// A connection was accepted: this is its first task, which reads.
pub async fn open(context: &Context, stream: TcpStream) {
    let Some(websocket) = Box::pin(handshake(context, stream)).await else { return };
    match Box::pin(echo(context, websocket)).await {
        (end, Some(websocket)) => Box::pin(close(context, websocket, end)).await,
        ((reason, _), None) => context.shard.closed(reason),
    }
}

/// Echoes as [`crate::connection`] does, by two tasks. Returns the connection, unless its writer has stalled.
async fn echo(
    context: &Context,
    websocket: WebSocketStream<Socket>,
) -> (End, Option<WebSocketStream<Socket>>) {
    let socket = websocket.get_ref().fd();
    let (mut sink, mut stream) = websocket.split();
    // `None`: tungstenite has answered a Ping, which is to be flushed before it reads on.
    let (messages, mut queue) = mpsc::channel::<Option<Message>>(CHANNEL_LEN);
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
                Event::Message(message, echoing) => (Some(message), echoing),
                Event::Control => (None, Echoing::default()),
                Event::PingDue => (Some(ping()), Echoing::default()),
                Event::End(end) => return Some(end),
            };
            if messages.send(message).await.is_err() || messages.reserve().await.is_err() {
                // The writer has ended, and says why.
                return None;
            }
            // On the one thread of the runtime, the writer that has taken a message has written it as well.
            echoing.written();
        }
    };
    let drained = (Closed::Shutdown, Some(CloseCode::GoingAway));
    let end = context.interrupt.until_its_slot(pin!(reader)).await.unwrap_or(Some(drained));
    drop(messages);
    let written = finish(&mut writer, socket).await;
    writer.abort();
    context.shard.metrics().tasks.fetch_sub(1, Relaxed);
    let (sink, failed) = written.map_or((None, None), |(sink, failed)| (Some(sink), failed));
    let end = end.or(failed).unwrap_or((Closed::Reset, None));
    (end, sink.and_then(|sink| stream.reunite(sink).ok()))
}

/// Waits until the writer has sent what is queued, as long as the peer takes some of it.
async fn finish<T>(writer: &mut JoinHandle<T>, socket: RawFd) -> Option<T> {
    let mut stall = Stall::begin(LINGER);
    loop {
        match timeout_at(stall.next_look().into(), &mut *writer).await {
            Ok(written) => return written.ok(),
            Err(_) => stall.look(socket).ok()?,
        }
    }
}
