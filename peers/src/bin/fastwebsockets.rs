//! fastwebsockets behind hyper, as in its example `echo_server`.

use fastwebsockets::{FragmentCollector, OpCode, WebSocketError, upgrade};
use hyper::Request;
use hyper::body::Incoming;
use peers::{Upgrade, http, serve};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(|stream| http(stream, accept)).await
}

fn accept(mut request: Request<Incoming>) -> Result<Upgrade, WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    tokio::spawn(tokio::task::unconstrained(echo(upgraded)));
    Ok(response)
}

async fn echo(upgraded: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut websocket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = websocket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => websocket.write_frame(frame).await?,
            _ => {}
        }
    }
}
