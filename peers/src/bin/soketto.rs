//! soketto, as in its example `autobahn_server`.

use futures_util::io::{BufReader, BufWriter};
use peers::{Outcome, serve};
use soketto::Data;
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(echo).await
}

async fn echo(stream: TcpStream) -> Outcome {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await? {
            Data::Binary(_) => sender.send_binary_mut(&mut message).await?,
            Data::Text(_) => sender.send_text(std::str::from_utf8(&message)?).await?,
        }
        sender.flush().await?;
    }
}
