//! wtx, as in its example `web-socket-server-echo`.

use peers::{Outcome, serve};
use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(echo).await
}

async fn echo(stream: TcpStream) -> Outcome {
    let mut websocket = WebSocketAcceptor::default().accept(stream).await?;
    let (mut common, mut reader, mut writer) = websocket.split_mut();
    let mut buffer = Vector::new();
    loop {
        let mut frame = reader.read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive).await?;
        match frame.op_code() {
            OpCode::Binary | OpCode::Text => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
