//! actix-ws on actix-web, as in its documentation. Its frame limit is 64 KiB; here it is 2 MiB.

use actix_web::web::{Payload, get};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::{Message, MessageStream, Session};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(|| App::new().route("/", get().to(accept)))
        .tcp_nodelay(true)
        .bind(peers::address()?)?
        .run()
        .await
}

async fn accept(request: HttpRequest, body: Payload) -> actix_web::Result<HttpResponse> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(echo(session, messages.max_frame_size(2 << 20)));
    Ok(response)
}

async fn echo(mut session: Session, mut messages: MessageStream) {
    while let Some(Ok(message)) = messages.recv().await {
        let sent = match message {
            Message::Text(text) => session.text(text).await,
            Message::Binary(bytes) => session.binary(bytes).await,
            Message::Ping(bytes) => session.pong(&bytes).await,
            Message::Close(_) => break,
            _ => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
    let _ = session.close(None).await;
}
