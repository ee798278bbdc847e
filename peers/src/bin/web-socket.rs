//! web-socket, as in its README. It has no handshake: this file adds one, with tungstenite's accept key.

use peers::{Outcome, serve};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use web_socket::{DataType, Event, MessageType, WebSocket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(echo).await
}

async fn echo(stream: TcpStream) -> Outcome {
    let mut stream = BufReader::new(stream);
    let (mut line, mut key) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("sec-websocket-key")
        {
            key = value.trim().to_owned();
        }
    }
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    let mut websocket = WebSocket::server(stream);
    loop {
        match websocket.recv().await? {
            Event::Data { ty: DataType::Complete(MessageType::Text), data } => {
                websocket.send(std::str::from_utf8(&data)?).await?
            }
            Event::Data { data, .. } => websocket.send(&*data).await?,
            Event::Ping(data) => websocket.send_pong(data).await?,
            Event::Pong(_) => {}
            Event::Close { .. } | Event::Error(_) => return Ok(websocket.close(()).await?),
        }
    }
}
