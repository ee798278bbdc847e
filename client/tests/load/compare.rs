//! `client compare` from outside: against other servers, for which this test binary starts itself, and against the
//! stages if they are built.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// A temporary directory, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("client-compare-{name}-{}", std::process::id())))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn results(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("results.json")).expect("JSON")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn compare(arguments: &[&str]) -> Output {
    Command::new(CLIENT).arg("compare").args(arguments).output().expect("the client runs")
}

fn compare_into(directory: &Directory, arguments: &[&str]) -> Output {
    let out = directory.0.to_str().expect("UTF-8");
    compare(&[&["--quick", "--no-build", "--rounds", "1", "--out", out], arguments].concat())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A `--target` that starts this binary as the server in the ignored test `test`.
fn server(name: &str, test: &str) -> String {
    let own = std::env::current_exe().expect("its path");
    format!("{name}='{}' --ignored --exact compare::{test} {{port}}", own.display())
}

/// A listener on the port that is the last argument, as in [`server`].
fn listener() -> TcpListener {
    let port = std::env::args().next_back().and_then(|port| port.parse::<u16>().ok());
    TcpListener::bind(("127.0.0.1", port.expect("run by the tests, with a port"))).expect("the port is free")
}

fn echo(stream: TcpStream) {
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}

#[test]
#[ignore = "not a test: the server of the other tests"]
fn is_an_echo_server() {
    for stream in listener().incoming().flatten() {
        thread::spawn(|| echo(stream));
    }
}

#[test]
#[ignore = "not a test: a server on ::1 only"]
fn is_an_echo_server_on_ipv6() {
    let port = std::env::args().next_back().and_then(|port| port.parse::<u16>().ok());
    let listener = TcpListener::bind(("::1", port.expect("a port"))).expect("the port is free");
    for stream in listener.incoming().flatten() {
        thread::spawn(|| echo(stream));
    }
}

#[test]
#[ignore = "not a test: a server that rejects long messages"]
fn is_a_server_of_short_messages() {
    let config = tungstenite::protocol::WebSocketConfig::default().max_message_size(Some(10_000));
    for stream in listener().incoming().flatten() {
        thread::spawn(move || {
            let Ok(mut socket) = tungstenite::accept_with_config(stream, Some(config)) else { return };
            while let Ok(message) = socket.read() {
                if message.is_binary() && socket.send(message).is_err() {
                    return;
                }
            }
        });
    }
}

#[test]
#[ignore = "not a test: a server that dies under load"]
fn is_a_mortal_server() {
    for (served, stream) in listener().incoming().flatten().enumerate() {
        if served == 150 {
            // Not with a macro: the harness captures its output.
            let _ = std::io::stderr().write_all(b"out of luck\n");
            std::process::exit(3);
        }
        thread::spawn(|| echo(stream));
    }
}

/// As one does that resolves `localhost` to ::1.
#[test]
fn a_server_on_one_loopback_address_only_is_measured() {
    if TcpListener::bind("[::1]:0").is_err() {
        return conformance::note("skipped: this machine has no IPv6");
    }
    let directory = Directory::new("ipv6");
    let target = server("six", "is_an_echo_server_on_ipv6");
    let output = compare_into(&directory, &["--stages", "none", "--workload", "16x32B", "--target", &target]);
    assert!(output.status.success(), "{}", stderr(&output));
    let visit = &directory.results()["visits"][0];
    assert!(visit["workloads"]["16x32B"]["echoes"].as_u64() > Some(100), "{visit}");
}

#[test]
fn another_server_is_measured_and_reported() {
    let directory = Directory::new("other");
    let target = server("threads", "is_an_echo_server");
    let output = compare_into(&directory, &["--stages", "none", "--levels", "20,60", "--target", &target]);
    assert!(output.status.success(), "{}", stderr(&output));
    let results = directory.results();
    let visit = &results["visits"][0];
    assert_eq!((&visit["target"], &visit["held"]), (&"threads".into(), &60.into()));
    assert_eq!(visit["levels"][1]["open"], 60);
    assert!(visit["levels"][1]["threads"].as_u64() > Some(60), "a thread per connection: {visit}");
    assert!(visit["closed_loop"]["echoes"].as_u64() > Some(100), "{visit}");
    assert!(visit["open_loop"]["latency"]["samples"].as_u64() > Some(10), "{visit}");
    assert!(directory.read("index.html").contains("threads"));
    assert!(directory.read("results.csv").lines().count() > 10);
    for plot in ["memory", "latency", "throughput", "cpu", "cost"] {
        assert!(directory.read(&format!("{plot}.svg")).starts_with("<svg"));
    }
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("Connections held"), "{table}");

    let again = Directory::new("again");
    let from = directory.0.join("results.json");
    let arguments = ["--from", from.to_str().expect("UTF-8"), "--out", again.0.to_str().expect("UTF-8")];
    assert!(compare(&arguments).status.success());
    assert_eq!(again.read("index.html"), directory.read("index.html"));
}

#[test]
fn workloads_alone_are_measured_and_reported() {
    let directory = Directory::new("workloads");
    let target = server("threads", "is_an_echo_server");
    let arguments = ["--stages", "none", "--workload", "64x32B,1KiB", "--target", &target];
    let output = compare_into(&directory, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let results = directory.results();
    assert_eq!(results["settings"]["workloads"][1]["in_flight"], 64);
    let visit = &results["visits"][0];
    assert!(visit["closed_loop"].is_null() && visit["levels"].as_array().is_some_and(Vec::is_empty));
    for workload in ["1KiB", "64x32B"] {
        let run = &visit["workloads"][workload];
        assert!(run["echoes"].as_u64() > Some(100) && run["cpu_us_per_echo"].is_number(), "{run}");
        assert!(
            directory.read("results.csv").contains(&format!("threads,1,,workload_{workload}_echoes_per_s,"))
        );
        let row = format!("{workload}: echoes per second");
        assert!(directory.read("index.html").contains(&row));
        assert!(String::from_utf8_lossy(&output.stdout).contains(&row));
    }
    assert!(
        !directory.read("index.html").contains("All figures") && !directory.0.join("memory.svg").exists()
    );
}

#[test]
fn a_failed_workload_is_reported_once_and_the_others_go_on() {
    let directory = Directory::new("short");
    let target = server("short", "is_a_server_of_short_messages");
    let out = directory.0.to_str().expect("UTF-8");
    let arguments = ["--quick", "--no-build", "--rounds", "2", "--out", out, "--stages", "none"];
    let output =
        compare(&[&arguments[..], &["--workload", "1KiB,64KiB,16x32B", "--target", &target]].concat());
    assert_eq!(output.status.code(), Some(1));
    let results = directory.results();
    for round in 0..2 {
        let done = results["visits"][round]["workloads"].as_object().expect("an object");
        assert_eq!(done.keys().collect::<Vec<_>>(), ["16x32B", "1KiB"]);
    }
    let failures = results["failures"].as_array().expect("an array");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0].as_str().is_some_and(|line| line.starts_with("short, round 1: 64KiB: ")),
        "{failures:?}"
    );
}

#[test]
fn a_server_that_dies_under_load_is_reported_and_the_others_are_kept() {
    let directory = Directory::new("mortal");
    let (good, bad) = (server("good", "is_an_echo_server"), server("mortal", "is_a_mortal_server"));
    let arguments = ["--stages", "none", "--levels", "20,40", "--target", &good, "--target", &bad];
    let output = compare_into(&directory, &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("mortal, round 1: it died: exit 3, saying: out of luck"), "{said}");
    let results = directory.results();
    assert_eq!(results["visits"].as_array().map(Vec::len), Some(2));
    assert_eq!(results["visits"][0]["held"], 40);
    assert!(directory.read("index.html").contains("out of luck"));
}

/// Runs `client compare` in a directory with two peers: `echo`, which starts this test binary, and `broken`, which does
/// not compile.
fn compare_with_peers(directory: &Directory, arguments: &[&str]) -> Output {
    let peers = directory.0.join("peers");
    fs::create_dir_all(peers.join("src/bin")).expect("a folder");
    let own = std::env::current_exe().expect("its path");
    let echo = format!(
        r#"use std::os::unix::process::CommandExt;
        fn main() {{
            let address = std::env::args().nth(1).expect("an address");
            let port = address.strip_prefix("127.0.0.1:").expect("of loopback");
            let test = ["--ignored", "--exact", "compare::is_an_echo_server", port];
            panic!("{{}}", std::process::Command::new({own:?}).args(test).exec());
        }}"#
    );
    for (file, text) in [
        ("Cargo.toml", "[package]\nname = \"peers\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n"),
        ("Cargo.lock", "version = 4\n[[package]]\nname = \"peers\"\nversion = \"0.0.0\"\n"),
        ("src/bin/echo.rs", &echo),
        ("src/bin/broken.rs", "fn main( {"),
    ] {
        fs::write(peers.join(file), text).expect("written");
    }
    let mut command = Command::new(CLIENT);
    command.current_dir(&directory.0).args(["compare", "--quick", "--rounds", "1", "--levels", "20,60"]);
    command.args(["--stages", "none"]).args(arguments).output().expect("the client runs")
}

#[test]
fn peers_are_built_and_measured() {
    let directory = Directory::new("peers");
    let run = |arguments: &[&str]| {
        let output = compare_with_peers(&directory, arguments);
        (output.status.code(), stderr(&output))
    };
    let (code, said) = run(&["--peers=echo", "--no-build"]);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("client compare: echo: cannot start it: build it first"), "{said}");
    let (code, said) = run(&["--peers"]);
    assert!(code == Some(1) && said.contains("cannot build the peers"), "{said}");
    let (code, said) = run(&["--peers=echo,nginx"]);
    assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("'nginx' is none of the peers: broken, echo"), "{said}");

    let (code, said) = run(&["--peers=echo", "--out", "."]);
    assert_eq!(code, Some(0), "{said}");
    let results = directory.results();
    let target = &results["targets"][0];
    assert_eq!((&target["name"], &target["command"]), (&"echo".into(), &"echo 127.0.0.1:{port}".into()));
    assert_eq!(results["visits"][0]["held"], 60);
    assert!(results["visits"][0]["closed_loop"]["echoes"].as_u64() > Some(100), "{results}");
}

#[test]
fn a_server_that_cannot_start_is_one_line_and_exit_1() {
    let directory = Directory::new("missing");
    for (target, reason) in [
        ("x=/nonexistent/server {port}", "is the command right?"),
        ("x=false", "it died: exit 1"),
        ("x=sleep 0.2", "it died: exit 0"),
    ] {
        let output = compare_into(&directory, &["--stages", "none", "--target", target]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("client compare: x: ") && said.contains(reason), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!directory.0.join("results.json").exists(), "nothing was measured");
    }
    let output = compare(&["--from", "/nonexistent/results.json"]);
    assert_eq!((output.status.code(), stderr(&output).lines().count()), (Some(1), 1));
}

#[test]
fn bad_flags_are_one_line_and_exit_2() {
    for arguments in [
        ["--rounds", "0"],
        ["--stages", "5"],
        ["--levels", "many"],
        ["--levels", "0"],
        ["--target", "nameless"],
        ["--open-rate", "-1"],
        ["--nonsense", "1"],
    ] {
        let output = compare(&arguments);
        let said = stderr(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{arguments:?}: {said}");
    }
}

/// A smoke test with the stages, if they are built.
#[test]
fn the_stages_compare() {
    let folder = Path::new(CLIENT).parent().expect("a directory");
    let stages = ["stage1-thread-per-conn", "stage2-task-per-conn", "stage3-mio-epoll", "stage4-zero-buffer"];
    if !stages.iter().all(|stage| folder.join(stage).exists()) {
        conformance::note("the stages are not built: run the tests of the whole workspace");
        return;
    }
    let directory = Directory::new("stages");
    let output = compare_into(&directory, &["--levels", "100,300"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let results = directory.results();
    for (index, stage) in stages.iter().enumerate() {
        let visit = &results["visits"][index];
        assert_eq!((&visit["target"], &visit["held"]), (&(*stage).into(), &300.into()), "{visit}");
        assert_eq!((&visit["exit"], visit["stopped"].is_null()), (&"exit 0".into(), true), "{visit}");
        assert!(visit["levels"][1]["echoed_bytes"].is_number(), "{visit}");
    }
    assert_eq!(results["failures"].as_array().map(Vec::len), Some(0), "{results}");
}
