//! ntex on tokio. Its frame limit is 64 KiB: this does what its `web::ws::start` does, with a limit of 2 MiB.

use ntex::SharedCfg;
use ntex::http::StatusCode;
use ntex::http::body::BodySize;
use ntex::io::{DispatchItem, Dispatcher, IoConfig};
use ntex::service::fn_service;
use ntex::time::Seconds;
use ntex::web::{App, Error, HttpRequest, HttpResponse, get, server};
use ntex::ws::error::HandshakeError;
use ntex::ws::{Codec, Frame, Message, handshake};
use std::io;

#[ntex::main]
async fn main() -> io::Result<()> {
    server(async || App::new().service(accept)).bind(peers::address()?)?.run().await
}

#[get("/")]
async fn accept(request: HttpRequest) -> Result<HttpResponse, Error> {
    let response = handshake(request.head())?.finish().into_parts().0;
    let (io, codec) = request.head().take_io().ok_or(HandshakeError::NoWebsocketUpgrade)?;
    io.encode((response, BodySize::Empty).into(), &codec).map_err(|_| HandshakeError::NoWebsocketUpgrade)?;
    io.set_config(SharedCfg::new("WS").add(IoConfig::new().set_keepalive_timeout(Seconds::ZERO)));
    io.stop_timer();
    ntex::rt::spawn(Dispatcher::new(io, Codec::new().max_size(2 << 20), fn_service(echo)));
    Ok(HttpResponse::new(StatusCode::OK))
}

async fn echo(item: DispatchItem<Codec>) -> io::Result<Option<Message>> {
    let DispatchItem::Item(frame) = item else { return Ok(None) };
    Ok(match frame {
        Frame::Text(text) => Some(Message::Text(text.try_into().map_err(|()| io::ErrorKind::InvalidData)?)),
        Frame::Binary(bytes) => Some(Message::Binary(bytes)),
        Frame::Continuation(item) => Some(Message::Continuation(item)),
        Frame::Ping(bytes) => Some(Message::Pong(bytes)),
        Frame::Pong(_) => None,
        Frame::Close(reason) => Some(Message::Close(reason)),
    })
}
