//! Servers for tests: a correct one, and incorrect ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// Listens on a free port, and calls `serve` on a thread per connection, with the connection's number.
pub fn serve(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (serve, stream) = (serve.clone(), stream.expect("accept"));
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

/// Like [`serve`], after the opening handshake.
pub fn serve_websocket(
    serve_one: impl Fn(usize, WebSocket<TcpStream>) + Send + Sync + 'static,
) -> SocketAddr {
    serve(move |number, stream| {
        if let Ok(socket) = tungstenite::accept(stream) {
            serve_one(number, socket);
        }
    })
}

/// Echoes until the peer closes; calls `each` with the message's number before each echo.
pub fn echo(mut socket: WebSocket<TcpStream>, each: impl Fn(usize)) {
    let mut count = 0;
    while let Ok(message) = socket.read() {
        if message.is_binary() || message.is_text() {
            each(count);
            count += 1;
            if socket.send(message).is_err() {
                return;
            }
        }
    }
}

/// Echoes the first `count` messages, and then returns the socket.
pub fn echo_first(count: usize, mut socket: WebSocket<TcpStream>) -> Option<WebSocket<TcpStream>> {
    for _ in 0..count {
        let message = socket.read().ok()?;
        socket.send(message).ok()?;
    }
    Some(socket)
}

/// Answers each message with `answer` of its payload: raw bytes, not a frame.
pub fn answer_raw(mut socket: WebSocket<TcpStream>, answer: impl Fn(Vec<u8>) -> Vec<u8>) {
    while let Ok(message) = socket.read() {
        if let Message::Binary(payload) = message
            && socket.get_mut().write_all(&answer(payload.to_vec())).is_err()
        {
            return;
        }
    }
}

/// Answers the upgrade with `answer`, and closes when the peer does.
pub fn refuse(mut stream: TcpStream, answer: &str) {
    let mut head = Vec::new();
    let mut piece = [0; 512];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(len) if len > 0 => head.extend_from_slice(&piece[..len]),
            _ => return,
        }
    }
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.read(&mut piece);
}

/// Resets the connection.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
}

/// Reads until the peer closes, and sends nothing.
pub fn ignore(mut stream: TcpStream) {
    let mut piece = [0; 4096];
    while stream.read(&mut piece).is_ok_and(|len| len > 0) {}
}

/// A function that returns true at its `n`th call.
pub fn nth(n: usize) -> impl Fn() -> bool + Send + Sync {
    let count = AtomicUsize::new(0);
    move || count.fetch_add(1, Relaxed) + 1 == n
}
