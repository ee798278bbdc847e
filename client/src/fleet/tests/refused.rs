//! Responses to the opening handshake other than 101, and long requests.

use super::lying::{assert_only, connecting};
use super::server::{ignore, refuse, reset, serve};
use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// The first failure is described in words, with the server's status, and without Rust's `Debug` output.
#[test]
fn the_first_failure_is_described() {
    for (answer, class, words, advice) in [
        (
            "301 Moved\r\nLocation: https://[::1]/x",
            Class::Redirect,
            "301 Moved, Location 'https://[::1]/x'",
            "--url",
        ),
        ("400 Bad Request", Class::BadHandshake, "answered 400 Bad Request", "--subprotocol"),
        ("401 Unauthorized", Class::Unauthorized, "answered 401 Unauthorized", "credentials"),
        ("403 Forbidden", Class::Unauthorized, "answered 403 Forbidden", "does not allow this client"),
        ("404 Not Found", Class::BadHandshake, "answered 404 Not Found", "path"),
        ("407 Proxy", Class::BadHandshake, "answered 407 Proxy", "Proxy-Authorization"),
        ("429 Too Many Requests", Class::TooManyRequests, "answered 429 Too Many Requests", "--connect-rate"),
        ("502 Bad Gateway", Class::ServerError, "answered 502 Bad Gateway", "log"),
        ("200 OK", Class::BadHandshake, "answered 200 OK", "a WebSocket server"),
        ("503 Service Unavailable", Class::Rejected503, "answered 503 Service Unavailable", "full"),
    ] {
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        let failures = connecting(serve(move |_, stream| refuse(stream, &answer)), 2).failures;
        assert_only(&failures, class, 2);
        let first = failures.first.as_deref().expect("a description");
        assert!(first.contains(words), "{first}");
        assert!(failures.advice(class).contains(advice), "{first}: {}", failures.advice(class));
    }
}

/// The head of a response whose body is announced.
const HEAD: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\n\r\n";

/// The body of the first refusal is awaited until its first line is complete, the connection ends in any way, or the
/// handshake times out.
#[test]
fn the_first_refusal_is_described_with_its_body() {
    type End = fn(TcpStream);
    let ends: [(&str, End, &str); 5] = [
        ("no token\nsee", ignore, ", body 'no token'"),
        ("no token", drop, ", body 'no token'"),
        ("no token", reset, ""),
        ("no token", ignore, ", body 'no token'"),
        ("", drop, ""),
    ];
    for (body, end, said) in ends {
        let address = serve(move |_, mut stream| {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            for piece in [&HEAD[..20], &HEAD[20..], body] {
                let _ = stream.write_all(piece.as_bytes());
                thread::sleep(milliseconds(20));
            }
            end(stream);
        });
        let phase = connecting(address, 2);
        assert_only(&phase.failures, Class::Unauthorized, 2);
        let first = phase.failures.first.as_deref().expect("a description");
        assert!(first.starts_with(&format!("the server answered 401 Unauthorized{said}")), "{body}: {first}");
    }
}

/// A body that never arrives delays the first failure by the timeout, and no later one.
#[test]
fn only_the_body_of_the_first_refusal_is_awaited() {
    let open = Arc::new(Mutex::new(vec![Duration::ZERO; 40]));
    let seen = open.clone();
    let address = serve(move |number, mut stream| {
        let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(HEAD.as_bytes()));
        let start = Instant::now();
        ignore(stream);
        seen.lock().expect("lock")[number] = start.elapsed();
    });
    let config = FleetConfig { shards: Some(1), connect_timeout: milliseconds(500), ..config(address, 40) };
    let mut fleet = Fleet::start(config).expect("start");
    let phase = fleet.connect_to(40, Some(40.0.into()), &mut |_| {}).expect("connect");
    assert_only(&phase.failures, Class::Unauthorized, 40);
    drop(fleet);
    thread::sleep(milliseconds(50));
    let open = open.lock().expect("lock");
    assert!(open[0] >= milliseconds(400) && open[38] < milliseconds(300), "{open:?}");
}

#[test]
fn the_longest_request_is_sent_whole() {
    let line = format!("X-Long: {}", "x".repeat(16 * 1024 - 20));
    let sent = line.clone();
    let address = serve(move |_, mut stream| {
        let (mut request, mut piece) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(len) if len > 0 => request.extend_from_slice(&piece[..len]),
                _ => return,
            }
        }
        let request = String::from_utf8(request).expect("text");
        let status = if request.contains(&format!("\r\n{sent}\r\n")) { "429 Whole" } else { "400 Cut" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
        ignore(stream);
    });
    let mut config = config(address, 3);
    config.request_fields.headers = vec![line.parse().expect("a header")];
    assert_eq!(config.request_fields.check(), Ok(()));
    let phase = Fleet::start(config).expect("start").connect_to(3, None, &mut |_| {}).expect("connect");
    assert_only(&phase.failures, Class::TooManyRequests, 3);
}
