//! axum, as in the documentation of `axum::extract::ws`.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(peers::address()?).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let upgrade = any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo));
    axum::serve(listener, Router::new().route("/", upgrade)).await
}

async fn echo(mut websocket: WebSocket) {
    while let Some(Ok(message)) = websocket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && websocket.send(message).await.is_err()
        {
            return;
        }
    }
}
