//! tokio-tungstenite, as in its example `echo-server`.

use futures_util::{StreamExt, TryStreamExt, future};
use peers::{Outcome, serve};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(echo).await
}

async fn echo(stream: TcpStream) -> Outcome {
    let (write, read) = tokio_tungstenite::accept_async(stream).await?.split();
    read.try_filter(|message| future::ready(message.is_text() || message.is_binary())).forward(write).await?;
    Ok(())
}
