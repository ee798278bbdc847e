//! yawc behind hyper, as in its documentation. Its limit of 1 MiB rejects a message of exactly 1 MiB; here it is 2 MiB.

use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use peers::{Upgrade, http, serve};
use yawc::{OpCode, Options, UpgradeFut, WebSocket, WebSocketError};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(|stream| http(stream, accept)).await
}

fn accept(mut request: Request<Incoming>) -> Result<Upgrade, WebSocketError> {
    let options = Options::default().with_max_payload_read(2 << 20);
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(echo(upgraded));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut websocket = upgraded.await?;
    while let Some(frame) = websocket.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            websocket.send(frame).await?;
        }
    }
    Ok(())
}
