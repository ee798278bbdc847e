//! nginx as a WebSocket proxy in front of a server, and as the login of one.

use crate::local::{LOAD, client, echo_server, scratch, text};
use crate::required::{Program, is_installed};
use crate::stage::Stage;
use client::run::RunReport;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use tungstenite::handshake::server::{Request, Response};

/// nginx with these locations, each of which can forward the upgrade with `FORWARD;`. `None` if it is not installed.
fn nginx(name: &str, locations: &str) -> Option<Program> {
    is_installed("nginx").then(|| {
        let directory = scratch(name);
        fs::create_dir_all(&directory).expect("a directory");
        let path = directory.display();
        let locations = locations.replace(
            "FORWARD",
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade",
        );
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};"))
            .concat();
        Program::start(|address| {
            let config = format!(
                "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
                 worker_rlimit_nofile 4096; events {{ worker_connections 4000; }}\n\
                 http {{ access_log off; {temporary}\nserver {{ listen {address} backlog=1024; {locations} }} }}\n"
            );
            let file = directory.join("nginx.conf");
            fs::write(&file, config).expect("a file");
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(file);
            command
        })
    })
}

/// Runs a load with these flags; words have no spaces.
fn run(url: &str, load: &str, flags: &[&str]) -> (Output, RunReport, String) {
    let mut client = client(&format!("run --url {url} {load} --quiet --json -"));
    let output = client.args(flags).output().expect("the client runs");
    let said = text(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output, report, said)
}

#[track_caller]
fn assert_open((output, report, said): (Output, RunReport, String), connections: u64) {
    assert_eq!((output.status.code(), report.failures.total()), (Some(0), 0), "{said}");
    assert_eq!(report.connect.expect("connected").connected, connections, "{said}");
    assert!(report.echo.expect("echoes").echoes > 0, "{said}");
}

/// The line of complaint of a run in which all four attempts failed.
#[track_caller]
fn complaint((output, report, said): (Output, RunReport, String)) -> String {
    assert_eq!((output.status.code(), report.failures.total()), (Some(1), 4), "{said}");
    said.lines().find(|line| line.starts_with("client: ")).expect("a complaint").to_owned()
}

#[test]
fn a_thousand_connections_pass_through_it() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let backend = stage.url.trim_start_matches("ws://").trim_end_matches("/echo");
    let locations = format!("location / {{ FORWARD; proxy_pass http://{backend}; }}");
    let Some(nginx) = nginx("thousand", &locations) else { return };
    let url = format!("ws://{}/echo", nginx.address);
    assert_open(run(&url, "--connections 1000 --active 100 --warmup 0s --duration 1s", &[]), 1_000);
    assert_open(run(&url, &format!("{LOAD} --payload 64KiB"), &[]), 4);
}

/// Accepts anyone, and records the values of `X-Load`.
fn recording_server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (address, seen) = (listener.local_addr().expect("address"), Arc::default());
    let values: Arc<Mutex<Vec<String>>> = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let values = values.clone();
            thread::spawn(move || record(stream, &values));
        }
    });
    (address, seen)
}

#[expect(clippy::result_large_err, reason = "tungstenite's callback returns a response")]
fn record(stream: TcpStream, values: &Mutex<Vec<String>>) {
    let callback = |request: &Request, response: Response| {
        let value = request.headers().get("X-Load").map(|value| text(value.as_bytes()));
        values.lock().expect("lock").extend(value);
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, callback) else { return };
    while let Ok(message) = socket.read() {
        if message.is_binary() && socket.send(message).is_err() {
            return;
        }
    }
}

#[test]
fn headers_reach_the_server_and_the_login() {
    let (backend, seen) = recording_server();
    let locations = format!(
        "location /open {{ FORWARD; proxy_pass http://{backend}; }}\n\
         location /login {{ if ($http_authorization != \"Bearer x\") {{ return 401 \"log in first\"; }}\n\
             FORWARD; proxy_pass http://{backend}; }}\n\
         location /asked {{ auth_request /auth; FORWARD; proxy_pass http://{backend}; }}\n\
         location = /auth {{ internal; if ($http_authorization != \"Bearer x\") {{ return 403; }} return 204; }}"
    );
    let Some(nginx) = nginx("login", &locations) else { return };
    let url = |path: &str| format!("ws://{}/{path}", nginx.address);
    assert_open(run(&url("open"), LOAD, &["--header", "X-Load: of this client"]), 4);
    assert_eq!(seen.lock().expect("lock")[..], ["of this client"; 4]);

    let bearer = ["--header", "Authorization: Bearer x"];
    for (path, answered, advice) in [
        ("login", "answered 401 Unauthorized, body 'log in first'", "the server requires credentials"),
        ("asked", "answered 403 Forbidden", "does not allow this client"),
    ] {
        let said = complaint(run(&url(path), LOAD, &[]));
        assert!(
            said.contains("4 unauthorized") && said.contains(answered) && said.contains(advice),
            "{said}"
        );
        let said = complaint(run(&url(path), LOAD, &["--header", "Authorization: Bearer y"]));
        assert!(said.contains("4 unauthorized"), "{said}");
        assert_open(run(&url(path), LOAD, &bearer), 4);
    }
}

#[test]
fn a_server_that_is_down_is_its_502() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let locations = format!("location / {{ FORWARD; proxy_pass http://{closed}; }}");
    let Some(nginx) = nginx("down", &locations) else { return };
    let said = complaint(run(&format!("ws://{}/", nginx.address), LOAD, &[]));
    for part in [
        "4 server_error (the server or a proxy in front of it failed",
        "answered 502 Bad Gateway, body '<html>'",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// nginx closes the connection without a Close frame.
#[test]
fn its_read_timeout_is_reported() {
    let backend = echo_server("127.0.0.1:0");
    let locations = format!("location / {{ FORWARD; proxy_read_timeout 1s; proxy_pass http://{backend}; }}");
    let Some(nginx) = nginx("timeout", &locations) else { return };
    let url = format!("ws://{}/", nginx.address);
    let (output, report, said) = run(&url, "--connections 4 --scenario idle --duration 20s", &[]);
    assert_eq!((output.status.code(), report.failures.reset), (Some(1), 4), "{said}");
    let hold = report.hold.expect("held");
    assert!(hold.held == 0 && hold.elapsed_s < 15.0, "{said}");
    let why = report.ended_early.expect("a reason");
    assert!(why.starts_with("all of 4 connections were lost"), "{why}");
    assert!(why.contains("closed the connection without a Close frame"), "{why}");
}
