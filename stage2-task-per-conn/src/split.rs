//! `--tasks-per-conn 2`: a reader and a writer, as servers have them whose connections send what others have to say.

use crate::connection::End;
use crate::server::Server;
use common::frame::CloseCode;
use common::metrics::Closed;
use common::websocket;
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Messages between reader and writer: enough for a few to arrive while one is written.
const CHANNEL_LEN: usize = 4;

/// Echoes as [`crate::connection`] does, by two tasks. Returns the connection, unless its writer is stuck.
pub async fn echo(
    server: &Server,
    websocket: WebSocketStream<TcpStream>,
) -> (End, Option<WebSocketStream<TcpStream>>) {
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
        while let Some(message) = stream.next().await {
            let message = match message {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    server.shard.metrics().echoed(1, message.len());
                    Some(message)
                }
                Ok(_) => None,
                Err(error) => return websocket::closed_by(&error),
            };
            if messages.send(message).await.is_err() {
                return (Closed::Reset, None);
            }
        }
        (Closed::Normal, None)
    };
    let drained = (Closed::Shutdown, Some(CloseCode::GoingAway));
    let end = server.unless_drained(pin!(reader)).await.unwrap_or(drained);
    drop(messages);
    let sink = tokio::time::timeout(common::config::LINGER, &mut writer).await;
    writer.abort();
    server.shard.metrics().tasks.fetch_sub(1, Relaxed);
    (end, sink.ok().and_then(Result::ok).and_then(|sink| stream.reunite(sink).ok()))
}
