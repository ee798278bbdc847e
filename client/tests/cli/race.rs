//! `client race` from outside: against running servers, a server started by command (this test binary itself), and the
//! stages if they are built.

use client::race::RaceReport;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, thread};

const CLIENT: &str = env!("CARGO_BIN_EXE_client");

fn echo(stream: TcpStream) {
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if message.is_binary() && socket.send(message).is_err() {
            return;
        }
    }
}

fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| echo(stream));
        }
    });
    address
}

#[test]
#[ignore = "not a test: a server that dies in the middle of its work"]
fn is_a_mortal_server() {
    let port = std::env::args().next_back().and_then(|port| port.parse::<u16>().ok());
    let listener = TcpListener::bind(("127.0.0.1", port.expect("run by the tests, with a port")));
    for (served, stream) in listener.expect("the port is free").incoming().flatten().enumerate() {
        if served == 15 {
            // Not with a macro: the harness captures its output.
            let _ = std::io::stderr().write_all(b"out of luck\n");
            std::process::exit(3);
        }
        thread::spawn(|| echo(stream));
    }
}

fn race(servers: [&str; 2], arguments: &str) -> Output {
    let mut command = Command::new(CLIENT);
    command.arg("race").args(servers).args(arguments.split_whitespace());
    command.output().expect("the client runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[track_caller]
fn report(json: &[u8]) -> RaceReport {
    serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
}

#[test]
fn two_running_servers_get_the_same_load() {
    let urls = [echo_server(), echo_server()].map(|address| format!("ws://{address}/echo"));
    let load = "--connections 20 --hold 0s --rate 200 --duration 1s --json -";
    let output = race(urls.each_ref().map(String::as_str), load);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = report(&output.stdout);
    assert_eq!((report.header.schema, report.servers.len()), (1, 2));
    for (server, url) in report.servers.iter().zip(&urls) {
        let run = server.run.as_ref().expect("a run");
        assert_eq!((&server.name, &run.url), (url, url));
        assert_eq!(run.connect.as_ref().map(|connect| connect.connected), Some(20));
        assert_eq!(run.echo.as_ref().map(|echo| (echo.sent, echo.missing)), Some((200, 0)));
        assert!(server.command.is_none() && server.exit.is_none() && server.error.is_none());
    }
    // The table is on standard error, the JSON on standard output.
    let table = text(&output.stderr);
    for part in ["connections", "echoes/s", "latency p99", "failures"] {
        assert!(table.lines().any(|line| line.starts_with(part)), "{part} in {table}");
    }
    assert!(!table.contains('\x1b') && table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn two_stages_are_started_watched_and_ended() {
    let folder = Path::new(CLIENT).parent().expect("a directory");
    if !["stage3-mio-epoll", "stage4-zero-buffer"].iter().all(|stage| folder.join(stage).exists()) {
        conformance::note("the stages are not built: run the tests of the whole workspace");
        return;
    }
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("race.json");
    let load = "race 3 4 --no-build --connections 50 --hold 100ms --duration 500ms --quiet --json";
    let output = Command::new(CLIENT).args(load.split(' ')).arg(&file).output().expect("the client runs");
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
    let report = report(&fs::read(file).expect("a file"));
    for (server, name) in report.servers.iter().zip(["stage3-mio-epoll", "stage4-zero-buffer"]) {
        assert_eq!((server.name.as_str(), server.exit.as_deref()), (name, Some("exit 0")));
        let run = server.run.as_ref().expect("a run");
        assert!(run.echo.as_ref().is_some_and(|echo| echo.echoes > 100), "{run:?}");
        assert_eq!(run.close.as_ref().map(|close| close.closed), Some(50));
        assert!(run.server.as_ref().is_some_and(|server| server.before.rss_bytes > 0), "{run:?}");
    }
    let table = text(&output.stdout);
    assert!(table.contains("stage3-mio-epoll  stage4-zero-buffer"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("per connection ")), "{table}");
}

#[test]
fn a_server_that_dies_is_reported_and_the_other_is_kept() {
    let own = std::env::current_exe().expect("its path");
    let mortal = format!("mortal='{}' --ignored --exact race::is_a_mortal_server {{port}}", own.display());
    let url = format!("ws://{}/echo", echo_server());
    let load = "--connections 30 --connect-rate 200 --hold 0s --duration 500ms --quiet --json -";
    let output = race([&url, &mortal], load);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("client race: mortal: it died: exit 3, saying: out of luck"), "{said}");
    let report = report(&output.stdout);
    let [alive, dead] = &report.servers[..] else { panic!("two") };
    let run = alive.run.as_ref().expect("a run");
    assert!(alive.error.is_none() && run.failures.total() == 0 && run.exit_status == 0, "{run:?}");
    assert!(dead.error.as_ref().is_some_and(|error| error.contains("out of luck")), "{dead:?}");
}

#[test]
fn bad_arguments_are_named_in_one_line() {
    for (arguments, named) in [
        ("4", "2 values required"),
        ("4 5", "1 to 4"),
        ("4 gorilla=", "NAME=COMMAND"),
        ("4 wss://127.0.0.1:0/", "a port from 1 to 65535"),
        ("1 2 --insecure", "--insecure is for wss:// only"),
        ("1 2 --connections 0", "--connections"),
        ("1 2 --rate -1", "--rate"),
        ("1 2 --colour", "--colour"),
    ] {
        let output =
            Command::new(CLIENT).arg("race").args(arguments.split(' ')).output().expect("the client runs");
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{arguments}: {said}");
        assert!(said.contains(named), "{arguments}: {said}");
    }
    let output = race(["4", "4"], "--json /nowhere/at/all.json");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write /nowhere/at/all.json"));
}
