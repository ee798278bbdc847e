//! sockudo-ws, as in its example `simple_echo`.

use futures_util::{SinkExt, StreamExt};
use peers::{Outcome, serve};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, Message, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(echo).await
}

async fn echo(mut stream: TcpStream) -> Outcome {
    let mut head = Vec::new();
    let response = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if let Some((request, _)) = parse_request(&head)? {
            break build_response(&generate_accept_key(request.key), None, None);
        }
    };
    stream.write_all(&response).await?;
    let mut websocket = WebSocketStream::server(stream, Config::default());
    while let Some(message) = websocket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => websocket.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
