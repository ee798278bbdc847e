//! tokio-websockets, as in its README.

use futures_util::{SinkExt, StreamExt};
use peers::{Outcome, serve};
use tokio::net::TcpStream;
use tokio_websockets::ServerBuilder;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(echo).await
}

async fn echo(stream: TcpStream) -> Outcome {
    let (_request, mut websocket) = ServerBuilder::new().accept(stream).await?;
    while let Some(Ok(message)) = websocket.next().await {
        if message.is_text() || message.is_binary() {
            websocket.send(message).await?;
        }
    }
    Ok(())
}
