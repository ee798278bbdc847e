//! `--tasks-per-conn 2`: a reader and a writer, as servers have them whose connections send what others have to say.

use crate::connection::{End, Event, Quiet, next, ping, within};
use crate::server::Server;
use crate::socket::Socket;
use common::frame::CloseCode;
use common::latency::Echoing;
use common::metrics::Closed;
use futures_util::{SinkExt, StreamExt};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Messages between reader and writer. One: once a Close is read, tungstenite sends nothing more, so the reader reads on
/// only when the writer has taken what came before.
const CHANNEL_LEN: usize = 1;

/// Echoes as [`crate::connection`] does, by two tasks. Returns the connection, unless its writer is stuck.
pub async fn echo(
    server: &Server,
    websocket: WebSocketStream<Socket>,
) -> (End, Option<WebSocketStream<Socket>>) {
    let (mut sink, mut stream) = websocket.split();
    // `None`: tungstenite has answered a Ping, which is to be flushed before it reads on.
    let (messages, mut queue) = mpsc::channel::<Option<Message>>(CHANNEL_LEN);
    server.shard.metrics().tasks.fetch_add(1, Relaxed);
    let mut writer = tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            let sent = match message {
                Some(message) => sink.send(message).await,
                None => sink.flush().await,
            };
            if sent.is_err() {
                break;
            }
        }
        sink
    });
    let reader = async {
        let mut quiet = Quiet::default();
        loop {
            let (message, echoing) = match next(server, &mut stream, &mut quiet).await {
                Event::Message(message, echoing) => (Some(message), echoing),
                Event::Control => (None, Echoing::default()),
                Event::PingDue => (Some(ping()), Echoing::default()),
                Event::End(end) => return end,
            };
            let idle_timeout = server.shard.config.idle_timeout;
            let queued = async {
                messages.send(message).await.map_err(|_| gone())?;
                messages.reserve().await.map(drop).map_err(|_| gone())
            };
            if let Err(end) = within(idle_timeout, pin!(queued)).await {
                return end;
            }
            // On the one thread of the runtime, the writer that has taken a message has written it as well.
            echoing.written();
        }
    };
    let drained = (Closed::Shutdown, Some(CloseCode::GoingAway));
    let end = server.unless_drained(pin!(reader)).await.unwrap_or(drained);
    drop(messages);
    let sink = tokio::time::timeout(common::config::LINGER, &mut writer).await;
    writer.abort();
    server.shard.metrics().tasks.fetch_sub(1, Relaxed);
    (end, sink.ok().and_then(Result::ok).and_then(|sink| stream.reunite(sink).ok()))
}

/// The writer has ended, which it does only where TCP failed.
fn gone() -> Error {
    Error::Io(ErrorKind::ConnectionReset.into())
}
