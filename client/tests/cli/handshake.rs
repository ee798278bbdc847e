//! `--header`, `--subprotocol` and `--origin`: against a server that demands them, and against the stages.

use crate::local::{LOAD, client, scratch, text};
use crate::stage::{STAGES, Stage};
use client::run::RunReport;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::thread;
use std::time::Duration;
use tungstenite::handshake::server::{Request, Response};

/// An echo server for those who send `Authorization: Bearer x` and offer the subprotocol `echo.v1`. Others get a 401 with a
/// body, in pieces, or a 400.
fn guarded() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| guard(stream));
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "tungstenite's callback returns a response")]
fn guard(mut stream: TcpStream) {
    let Some(head) = head(&stream) else { return };
    let has = |line: &str| head.lines().any(|known| known == line);
    if !has("Authorization: Bearer x") {
        return reject(&mut stream, "401 Unauthorized", "token missing\nask the operator\n");
    }
    if !has("Sec-WebSocket-Protocol: other, echo.v1") || !has("Host: echo.example") {
        return reject(&mut stream, "400 Bad Request", "speak echo.v1");
    }
    let select = |_: &Request, mut response: Response| {
        let name = "echo.v1".parse().expect("a value");
        response.headers_mut().insert("Sec-WebSocket-Protocol", name);
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, select) else { return };
    while let Ok(message) = socket.read() {
        if message.is_binary() && socket.send(message).is_err() {
            return;
        }
    }
}

/// The request, which stays in the socket's receive queue.
fn head(stream: &TcpStream) -> Option<String> {
    let mut bytes = [0; 8192];
    loop {
        let len = stream.peek(&mut bytes).ok().filter(|&len| len > 0)?;
        let head = text(&bytes[..len]);
        if head.ends_with("\r\n\r\n") {
            return Some(head);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a response in pieces, and closes when the peer does.
fn reject(stream: &mut TcpStream, status: &str, body: &str) {
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for piece in response.as_bytes().chunks(25) {
        let _ = stream.write_all(piece);
        thread::sleep(Duration::from_millis(5));
    }
    while stream.read(&mut [0; 512]).is_ok_and(|len| len > 0) {}
}

/// Runs a short load with these flags; words have no spaces.
fn run(url: &str, flags: &[&str]) -> (Output, RunReport) {
    let mut client = client(&format!("run --url {url} {LOAD} --quiet --json -"));
    let output = client.args(flags).output().expect("the client runs");
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output, report)
}

/// The line of complaint of a run that failed; all four attempts did.
#[track_caller]
fn complaint((output, report): &(Output, RunReport)) -> String {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), report.failures.total()), (Some(1), 4), "{said}");
    said.lines().find(|line| line.starts_with("client: ")).expect("a complaint").to_owned()
}

#[track_caller]
fn all_open((output, report): (Output, RunReport)) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(report.connect.expect("connected").connected, 4);
    assert!(report.echo.expect("echoes").echoes > 0);
}

#[test]
fn a_server_that_demands_a_header_and_a_subprotocol() {
    let url = format!("ws://{}/", guarded());
    let refused = run(&url, &[]);
    let said = complaint(&refused);
    for part in [
        "4 unauthorized (the server requires credentials",
        "--header",
        "first: the server answered 401 Unauthorized, body 'token missing'",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(refused.1.failures.unauthorized, 4);
    let json: serde_json::Value = serde_json::from_slice(&refused.0.stdout).expect("JSON");
    assert_eq!(json["failures"]["unauthorized"], 4);
    assert_eq!(json["failures"].get("redirect"), None, "a class that did not occur");

    let bearer = ["--header", "Authorization: Bearer x"];
    let said = complaint(&run(&url, &bearer));
    assert!(
        said.contains("4 bad_handshake") && said.contains("400 Bad Request, body 'speak echo.v1'"),
        "{said}"
    );

    let host = ["--header", "Host: echo.example"];
    all_open(run(&url, &[&bearer[..], &host, &["--subprotocol", "other,echo.v1"]].concat()));
    let file = scratch("headers");
    fs::write(&file, "Authorization: Bearer x\r\n\r\nhost: echo.example\n").expect("a file");
    let from_file = format!("--header=@{}", file.display());
    all_open(run(&url, &[&from_file, "--subprotocol", "other", "--subprotocol", "echo.v1"]));
}

#[test]
fn stages_select_a_subprotocol_and_allow_an_origin() {
    let flags = ["--subprotocol", "chat,echo.v1", "--allow-origin", "https://example.com"];
    for stage in STAGES.into_iter().filter_map(|name| Stage::start(name, &flags)) {
        all_open(run(&stage.url, &[]));
        all_open(run(&stage.url, &["--subprotocol", "mqtt,chat", "--origin", "https://example.com:443"]));
        let said = complaint(&run(&stage.url, &["--subprotocol", "mqtt,Chat"]));
        let none = "first: the server selected none of the subprotocols offered (mqtt, Chat)";
        assert!(said.contains(none) && said.contains("4 bad_handshake (give a --subprotocol"), "{said}");
        let said = complaint(&run(&stage.url, &["--origin", "http://example.com"]));
        let forbidden =
            said.contains("4 unauthorized (the server does not allow this client: check --header, --origin");
        assert!(forbidden && said.contains("answered 403 Forbidden"), "{said}");
    }
}

/// One line each, which does not repeat a value, and nothing is sent.
#[test]
fn bad_headers_and_subprotocols_are_rejected() {
    let file = scratch("bad");
    fs::write(&file, "A: 1\nUpgrade: h2c\n").expect("a file");
    let at_file = format!("@{}", file.display());
    for (flag, value, named) in [
        ("--header", "secret", "has no colon"),
        ("--header", "X: secret\r\nY: secret", "the value of X has a line break"),
        ("--header", "X: secret\n\nsecret", "the value of X has a line break"),
        ("--header", "X: secret\u{1b}[2J", "another control character"),
        ("--header", "X Y: secret", "the name 'X Y'"),
        ("--header", "X\r\nY: secret", "the name 'X\\r\\nY'"),
        ("--header", "Connection: secret", "Connection cannot be added"),
        ("--header", "Sec-WebSocket-Key: secret", "Sec-WebSocket-Key cannot be added"),
        ("--header", "sec-websocket-protocol: secret", "use --subprotocol"),
        ("--header", "@/nowhere/headers", "cannot read /nowhere/headers: No such file"),
        ("--header", &at_file, "line 2: Upgrade cannot be added"),
        ("--subprotocol", "a b", "'a b'"),
        ("--subprotocol", "a,", "--subprotocol"),
        ("--subprotocol", "a,b,a", "--subprotocol a is offered twice"),
        ("--subprotocol", "a\r\nX:", "--subprotocol"),
        ("--origin", "https://example.com/page", "not an origin"),
        ("--origin", "https://a\r\nX: y", "not an origin"),
    ] {
        for subcommand in [&["run"][..], &["race", "ws://127.0.0.1:1/", "ws://127.0.0.1:1/"]] {
            let rejected = client("").args(subcommand).args([flag, value]).output().expect("the client runs");
            let said = text(&rejected.stderr);
            assert_eq!((rejected.status.code(), said.lines().count()), (Some(2), 1), "{value}: {said}");
            assert!(said.starts_with("client: ") && said.contains(named), "{value}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
    let twice = client("run --header Host:a --header host:b").output().expect("the client runs");
    assert!(
        twice.status.code() == Some(2) && text(&twice.stderr).contains("replaces Host twice"),
        "{twice:?}"
    );
}
