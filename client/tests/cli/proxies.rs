//! `--proxy`, and the environment's: against a proxy in this process, and against tinyproxy.

use crate::local::{LOAD, client, echo_server, scratch, text};
use crate::required::{Program, is_installed};
use crate::stage::{Stage, until};
use client::run::RunReport;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a proxy does with a request.
#[derive(Clone, Copy)]
enum Then {
    /// Sends this, and connects to a server.
    Open(&'static str, SocketAddr),
    /// Sends this, and closes when the client does.
    Answer(&'static str),
    /// Closes the connection.
    Close,
}

/// A proxy in this process.
struct Proxy {
    address: SocketAddr,
    /// The heads of its requests.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(then: Then) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let (address, requests) = (listener.local_addr().expect("address"), Arc::default());
        let heads: Arc<Mutex<Vec<String>>> = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heads = heads.clone();
                thread::spawn(move || serve(stream, then, &heads));
            }
        });
        Proxy { address, requests }
    }

    /// The requests since the last call.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("lock"))
    }
}

fn serve(mut stream: TcpStream, then: Then, heads: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    heads.lock().expect("lock").push(text(&head));
    match then {
        Then::Close => {}
        Then::Answer(answer) => {
            let _ = stream.write_all(answer.as_bytes());
            while stream.read(&mut [0; 512]).is_ok_and(|len| len > 0) {}
        }
        Then::Open(answer, server) => {
            let server = TcpStream::connect(server).expect("the server listens");
            // In pieces.
            for piece in answer.as_bytes().chunks(20) {
                let _ = stream.write_all(piece);
                thread::sleep(Duration::from_millis(2));
            }
            let (from, to) = (stream.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
            thread::spawn(move || copy(from, to));
            copy(server, stream);
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";

/// The client with these variables set.
fn run(url: &str, flags: &str, environment: &[(&str, &str)]) -> (Output, RunReport, String) {
    let connections = if flags.contains("--connections") { "" } else { "--connections 4" };
    let load = "--warmup 0s --duration 100ms --quiet --json -";
    let mut client = client(&format!("run --url {url} {connections} {load} {flags}"));
    let output = client.envs(environment.iter().copied()).output().expect("the client runs");
    let said = text(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output, report, said)
}

#[track_caller]
fn assert_open((output, report, said): &(Output, RunReport, String), connections: u64) {
    assert_eq!((output.status.code(), report.failures.total()), (Some(0), 0), "{said}");
    assert_eq!(report.connect.as_ref().expect("connected").connected, connections, "{said}");
    assert!(report.echo.as_ref().expect("echoes").echoes > 0, "{said}");
}

/// The line of complaint of a run in which all four attempts failed.
#[track_caller]
fn complaint((output, report, said): (Output, RunReport, String)) -> String {
    assert_eq!((output.status.code(), report.failures.total()), (Some(1), 4), "{said}");
    said.lines().find(|line| line.starts_with("client: ")).expect("a complaint").to_owned()
}

/// The name is the proxy's to resolve, and the password stays in the request.
#[test]
fn a_name_is_reached_through_a_tunnel() {
    let proxy = Proxy::start(Then::Open(ESTABLISHED, echo_server("127.0.0.1:0")));
    let flags = format!("--proxy http://user:s%65cret%40@{}", proxy.address);
    let ran = run("ws://name.invalid/echo", &flags, &[]);
    assert_open(&ran, 4);
    let expected = "CONNECT name.invalid:80 HTTP/1.1\r\nHost: name.invalid:80\r\n\
                    Proxy-Authorization: Basic dXNlcjpzZWNyZXRA\r\n\r\n";
    assert_eq!(proxy.requests(), [expected; 4]);
    let (output, report, said) = ran;
    assert_eq!(report.proxy, Some(proxy.address.to_string()));
    assert!(said.contains(&format!("\n  proxy        {}\n", proxy.address)), "{said}");
    let shown = format!("{said}{}", text(&output.stdout));
    assert!(
        !shown.contains("cret") && !shown.contains("dXNlcj") && shown.contains("http://user:***@"),
        "{shown}"
    );

    let load = "--connections 4 --hold 0s --duration 100ms --quiet";
    let mut race = client(&format!("race ws://name.invalid/a ws://name.invalid/b {load} {flags}"));
    let raced = race.output().expect("the client runs");
    assert_eq!(raced.status.code(), Some(0), "{}", text(&raced.stderr));
    assert_eq!(proxy.requests().len(), 8);
}

#[test]
fn the_environment_names_a_proxy_unless_the_server_is_here() {
    let server = echo_server("127.0.0.1:0");
    let proxy = Proxy::start(Then::Open(ESTABLISHED, server));
    let url = format!("http://{}", proxy.address);
    let variable = [("HTTP_PROXY", url.as_str())];
    assert_open(&run("ws://name.invalid:81/", "", &variable), 4);
    assert!(proxy.requests()[0].starts_with("CONNECT name.invalid:81 HTTP/1.1\r\n"));
    let here = format!("ws://{server}/echo");
    assert_open(&run(&here, "", &variable), 4);
    assert_eq!(proxy.requests().len(), 0, "a server on this machine");
    assert_open(&run(&here, &format!("--proxy {url}"), &[]), 4);
    assert_eq!(proxy.requests().len(), 4, "an explicit proxy");
    let direct = [("--proxy none", ""), ("", ".example,.invalid")];
    for (flags, exceptions) in direct {
        let mut client = client(&format!("run --url ws://name.invalid/ {LOAD} --quiet {flags}"));
        let said = client.envs(variable).env("NO_PROXY", exceptions).output().expect("the client runs");
        let said = (said.status.code(), text(&said.stderr));
        assert!(said.0 == Some(1) && said.1.contains("dns: cannot resolve 'name.invalid' ("), "{said:?}");
    }
    assert_eq!(proxy.requests().len(), 0);
}

/// One line each, with the cause and the fix.
#[test]
fn a_proxy_that_opens_no_tunnel_is_explained() {
    let credentials = "the proxy requires credentials: give them in --proxy http://USER:PASSWORD@HOST:PORT";
    for (then, said, advice) in [
        (
            Then::Answer("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 7\r\n\r\nlog in\n"),
            "it answered 407 Proxy Authentication Required, body 'log in'",
            credentials,
        ),
        (
            Then::Answer("HTTP/1.0 403 Filtered\r\nContent-Length: 0\r\n\r\n"),
            "it answered 403 Filtered",
            "does not allow CONNECT to this host and port",
        ),
        (
            Then::Answer("HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nno route\n\r\n"),
            "it answered 502 Bad Gateway, body 'no route'",
            "the proxy cannot reach the server",
        ),
        (
            Then::Answer("HTTP/1.1 504 Gateway Timeout\r\n\r\n"),
            "it answered 504 Gateway Timeout",
            "the proxy cannot reach the server",
        ),
        (
            Then::Answer("220 mail.example ESMTP\r\n"),
            "its answer to CONNECT is not HTTP",
            "is this an HTTP proxy",
        ),
        (Then::Answer(""), "no answer to CONNECT in time", "does not answer, or cannot reach the server"),
        (Then::Close, "it closed the connection during CONNECT", "is this an HTTP proxy"),
    ] {
        let proxy = Proxy::start(then);
        let flags = format!("--connect-timeout 500ms --proxy {}", proxy.address);
        let ran = run("ws://name.invalid/", &flags, &[]);
        let json: serde_json::Value = serde_json::from_slice(&ran.0.stdout).expect("JSON");
        assert_eq!(json["failures"]["proxy"], 4, "{json}");
        let line = complaint(ran);
        let first = format!("first: proxy {}: {said}", proxy.address);
        assert!(line.contains("4 proxy (") && line.contains(&first) && line.contains(advice), "{line}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let line = complaint(run("ws://name.invalid/", &format!("--proxy {closed}"), &[]));
    let refused = format!("first: proxy {closed}: connect: Connection refused");
    assert!(line.contains("is the proxy running, and at this address?") && line.contains(&refused), "{line}");
    let unknown =
        client("run --url ws://127.0.0.1:1/ --proxy http://name.invalid:3128").output().expect("it runs");
    let line = text(&unknown.stderr);
    assert!(unknown.status.code() == Some(1) && line.contains("cannot resolve 'name.invalid'"), "{line}");
}

/// A server's own failures keep their classes, and what comes right behind the proxy's head is the server's.
#[test]
fn behind_the_tunnel_failures_are_the_servers() {
    let full = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n";
    let proxy = Proxy::start(Then::Open(full, echo_server("127.0.0.1:0")));
    let ran = run("ws://name.invalid/", &format!("--proxy {}", proxy.address), &[]);
    assert_eq!(ran.1.failures.rejected_503, 4, "{}", ran.2);
    assert!(complaint(ran).contains("first: the server answered 503 Full"));
}

#[test]
fn bad_proxies_are_rejected_without_their_password() {
    for (proxy, named) in [
        ("socks5://user:secret@127.0.0.1:1", "only HTTP proxies are supported"),
        ("http://user:secret@", "not http://[USER:PASSWORD@]HOST:PORT"),
        ("http://user:secret/@127.0.0.1:1", "write special characters as %XX"),
        ("http://user:secret%0a@127.0.0.1:1", "without control characters"),
    ] {
        let rejected = client(&format!("run --proxy {proxy}")).output().expect("the client runs");
        let said = text(&rejected.stderr);
        assert_eq!((rejected.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with("client: --proxy: ") && said.contains(named), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    for subcommand in ["run --url ws://name.invalid/", "race ws://name.invalid/ ws://127.0.0.1:1/"] {
        let mut client = client(subcommand);
        let rejected =
            client.env("http_proxy", "socks5://user:secret@127.0.0.1:1").output().expect("it runs");
        let said = text(&rejected.stderr);
        assert_eq!((rejected.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("the environment's http_proxy: ") && said.contains("--proxy none"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// tinyproxy with credentials, which allows CONNECT to this port. `None` if it is not installed.
fn tinyproxy(name: &str, port: u16) -> Option<Program> {
    is_installed("tinyproxy").then(|| {
        let file = scratch(name);
        Program::start(|address| {
            let (host, own) = (address.ip(), address.port());
            let config = format!(
                "Port {own}\nListen {host}\nMaxClients 500\nTimeout 60\nBasicAuth user se-cret\nConnectPort {port}\n"
            );
            fs::write(&file, config).expect("a file");
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(&file);
            command
        })
    })
}

#[test]
fn connections_pass_through_tinyproxy() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let server: SocketAddr =
        stage.url.trim_start_matches("ws://").trim_end_matches("/echo").parse().expect("an address");
    let Some(proxy) = tinyproxy("tinyproxy.conf", server.port()) else { return };
    let through = format!("--proxy http://user:se-cret@{}", proxy.address);
    // Its host is a name, so that tinyproxy resolves it.
    let url = format!("ws://localhost:{}/echo", server.port());
    assert_open(&run(&url, &format!("{through} --connections 200"), &[]), 200);
    assert_open(&run(&stage.url, &format!("{through} --payload 64KiB"), &[]), 4);

    for (credentials, answered) in
        [("", "407 Proxy Authentication Required"), ("user:wrong@", "401 Unauthorized")]
    {
        let line = complaint(run(&url, &format!("--proxy http://{credentials}{}", proxy.address), &[]));
        assert!(line.contains(&format!("it answered {answered}")), "{line}");
        assert!(line.contains("the proxy requires credentials"), "{line}");
    }
    let line = complaint(run("ws://127.0.0.1:1/", &through, &[]));
    assert!(line.contains("it answered 403 ") && line.contains("does not allow CONNECT"), "{line}");
    drop(stage);
    let line = complaint(run(&url, &through, &[]));
    assert!(
        line.contains("4 proxy (the proxy cannot reach the server") && line.contains("it answered 50"),
        "{line}"
    );
}

/// The results so far are kept.
#[test]
fn a_proxy_that_dies_is_reported() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let server: SocketAddr =
        stage.url.trim_start_matches("ws://").trim_end_matches("/echo").parse().expect("an address");
    let Some(proxy) = tinyproxy("dying.conf", server.port()) else { return };
    let flags = format!("--connections 20 --duration 1h --proxy http://user:se-cret@{}", proxy.address);
    let mut client = client(&format!("run --url {} --warmup 0s --json - {flags}", stage.url));
    let mut running = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client runs");
    until("echoes", Duration::from_secs(30), || {
        let sent = stage.metrics().value("ws_messages_sent_total");
        if sent > Some(100.0) { Ok(()) } else { Err(format!("{sent:?}")) }
    });
    drop(proxy);
    let mut said = String::new();
    let mut stderr = BufReader::new(running.stderr.take().expect("piped"));
    while stderr.read_line(&mut said).is_ok_and(|len| len > 0) {}
    let output = running.wait_with_output().expect("it ends");
    let report: RunReport = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why = report.ended_early.expect("a reason");
    assert!(why.starts_with("the proxy is down: all of 20 connections were lost"), "{why}");
    assert!(report.echo.expect("echoes").echoes > 100, "{said}");
}
