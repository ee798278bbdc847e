//! `setup.sh` and `destroy.sh` with processes instead of containers (`--local`). The stage has to be built.

use crate::stage::{Stage, until};
use client::run::RunReport;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

fn script(name: &str) -> Command {
    // Background tests may inherit an ignored SIGINT, which a shell does not let a script reset.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name));
    command.env("CLIENT", env!("CARGO_BIN_EXE_client")).stdin(Stdio::null());
    command
}

fn output(name: &str, arguments: &str) -> Output {
    script(name).args(arguments.split_whitespace()).output().expect("the script runs")
}

/// A run of `setup.sh --local` with its own temporary directory.
struct Run {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// Its name for destroy.sh.
    number: String,
    temporary: PathBuf,
}

impl Run {
    fn start(name: &str, stage: &Stage, sizes: &str, flags: &str) -> Run {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("setup-{name}"));
        fs::create_dir_all(&temporary).expect("a directory");
        let addr = stage.url.trim_start_matches("ws://").trim_end_matches("/echo");
        let mut command = script("setup.sh");
        command.arg("--local").args(sizes.split_whitespace()).args([addr, "--"]);
        command.args(flags.split_whitespace()).args(["--json", "-"]).env("TMPDIR", &temporary);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("setup.sh runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        // Warnings of `client doctor` may precede this line.
        let mut line = String::new();
        let number = loop {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "it ended before it started");
            if let Some((number, _)) = line.strip_prefix("run ").and_then(|rest| rest.split_once(':')) {
                break number.to_owned();
            }
        };
        Run { child, stderr, number, temporary }
    }

    /// Its running replicas.
    fn replicas(&self) -> Vec<i32> {
        let label = format!("MILLION_WEBSOCKETS_REPLICA={}", self.number);
        let labelled = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == label.as_bytes())
        };
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(labelled).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for the end, and checks that no process and no file is left.
    #[track_caller]
    fn end(mut self, exit_status: i32) -> (RunReport, String) {
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        self.child.stdout.take().expect("piped").read_to_end(&mut stdout).expect("results");
        self.stderr.read_to_string(&mut stderr).expect("text");
        assert_eq!(self.child.wait().expect("it has ended").code(), Some(exit_status), "{stderr}");
        assert!(self.replicas().is_empty(), "replicas that are left");
        fs::remove_dir(&self.temporary).expect("no file is left");
        (serde_json::from_slice(&stdout).expect("JSON of a run"), stderr)
    }
}

#[track_caller]
fn until_connected(stage: &Stage, connections: u32) {
    until(&format!("{connections} connections"), TIMEOUT, || {
        let active = stage.metrics().value("ws_connections_active");
        (active == Some(connections.into())).then_some(()).ok_or(format!("{active:?}"))
    });
}

#[test]
fn help_is_complete_and_fits_a_screen() {
    for (name, part) in
        [("setup.sh", "--local"), ("destroy.sh", "RUN"), ("deploy/docker/build.sh", "PACKAGE")]
    {
        let help = output(name, "--help");
        let text = String::from_utf8(help.stdout).expect("text");
        assert!(help.status.success() && help.stderr.is_empty() && text.contains(part), "{name}: {text}");
        assert!(text.lines().count() <= 35 && text.lines().all(|line| line.len() <= 120), "a screen: {text}");
    }
}

#[test]
fn bad_arguments_are_rejected_in_one_line() {
    let setup = [
        ("", "CONNECTIONS and REPLICAS are needed"),
        ("5", "got 1 arguments"),
        ("5 2 127.0.0.1 7", "got 4 arguments"),
        ("many 2", "CONNECTIONS 'many'"),
        ("-5 2", "'-5'"),
        ("5 0", "REPLICAS '0'"),
        ("5 1001", "REPLICAS '1001' is not a whole number from 1 to 1000"),
        ("99999999999999999999 2", "CONNECTIONS '9999"),
        ("5 2 localhost", "SERVER 'localhost'"),
        ("5 2 127.0.0.1:8000", "is each container itself: omit it"),
        ("5 2 256.0.0.1", "SERVER '256.0.0.1'"),
        ("5 2 127.0.0.1:0", "SERVER '127.0.0.1:0'"),
        ("5 2 echo.example:65536", "SERVER 'echo.example:65536'"),
        ("5 2 größe", "SERVER 'größe'"),
        ("5 2 1.2.3", "SERVER '1.2.3'"),
        ("5 2 [::1]", "is each container itself"),
        ("--local 5 2 ::1", "SERVER '::1'"),
        ("--local 5 2 [::1", "SERVER '[::1'"),
        ("--local 5 2 [::1]8000", "SERVER '[::1]8000'"),
        ("--local 5 2 [::1]:0", "SERVER '[::1]:0'"),
        ("--local 5 2 [1::2::3]:80", "SERVER '[1::2::3]:80'"),
        ("--local 5 2 []", "SERVER '[]'"),
        ("--local 35_000 2 [2001:db8::1]", "70000 connections from one address"),
        ("--remote 5 2", "'--remote'"),
        ("5 2 -- --url ws://127.0.0.1:1/", "'--url' is set"),
        ("5 2 -- --connections=7", "'--connections=7' is set"),
        ("5 2 -- --pid 1", "'--pid'"),
        ("5 2 -- --json", "--json needs a FILE"),
        ("5 2 -- --header @/etc/headers", "'@/etc/headers': a container has no such file"),
        ("5 2 -- --header=@/etc/headers", "a container has no such file"),
        ("--local 5 2 -- --header Upgrade:h2c", "Upgrade cannot be added"),
        ("--local 5 2 -- --no-such-flag", "'--no-such-flag'"),
        ("--local 5 2 -- --rate fast", "'fast'"),
        ("--local 5 2 -- stray", "'stray'"),
        // 192.0.2.0/24 is reserved (RFC 5737), and an address has at most 65,535 ports.
        ("--local 35_000 2 192.0.2.1", "70000 connections from one address"),
        ("65_000 2", "a container has one address"),
    ];
    let destroy = [("all", "RUN 'all'"), ("1 2", "got 2 arguments"), ("--now", "'--now'")];
    let build = [
        ("", "no package"),
        ("stage5", "'stage5'"),
        ("client --tag", "--tag needs a value"),
        ("--tag a/b client", "--tag 'a/b'"),
        ("--push Registry client", "--push 'Registry'"),
        ("--platform linux/riscv64 client", "--platform 'linux/riscv64'"),
        ("--profile debug client", "--profile 'debug'"),
    ];
    let of = |name, cases: &[(&'static str, &'static str)]| {
        cases.iter().map(|&(arguments, part)| (name, arguments, part)).collect::<Vec<_>>()
    };
    let cases = [of("setup.sh", &setup), of("destroy.sh", &destroy), of("deploy/docker/build.sh", &build)];
    for (name, arguments, part) in cases.concat() {
        let refused = output(name, arguments);
        let line = String::from_utf8(refused.stderr).expect("text");
        let reported = line.contains(part) && line.lines().count() == 1 && line.contains("--help");
        assert!(
            reported && refused.status.code() == Some(2) && refused.stdout.is_empty(),
            "{name} {arguments}: {line}"
        );
    }
}

#[test]
fn a_name_is_resolved_before_the_load() {
    let refused = output("setup.sh", "--local 5 2 name.invalid");
    let line = String::from_utf8(refused.stderr).expect("text");
    assert_eq!((refused.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("cannot resolve 'name.invalid'") && line.contains("give an IP address"), "{line}");

    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let port = stage.url.trim_end_matches("/echo").rsplit(':').next().expect("a port");
    let flags = format!("--local 5 2 localhost:{port} -- --duration 1s --json -");
    let ran = output("setup.sh", &flags);
    let report: RunReport = serde_json::from_slice(&ran.stdout).expect("JSON of a run");
    assert_eq!((ran.status.code(), report.clients, report.failures.total()), (Some(0), 2, 0));
    assert_eq!(report.url, format!("ws://localhost:{port}/echo"));
}

#[test]
fn a_server_with_an_ipv6_address_is_loaded() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return conformance::note("skipped: this machine has no IPv6");
    }
    let Some(stage) = Stage::start("stage4-zero-buffer", &["--addr", "[::1]:0"]) else { return };
    let server = stage.url.trim_start_matches("ws://").trim_end_matches("/echo");
    assert!(server.starts_with("[::1]:"), "{server}");
    let ran = output("setup.sh", &format!("--local 5 2 {server} -- --duration 1s --json -"));
    let report: RunReport = serde_json::from_slice(&ran.stdout).expect("JSON of a run");
    assert_eq!((ran.status.code(), report.clients, report.failures.total()), (Some(0), 2, 0));
    assert_eq!(report.url, format!("ws://{server}/echo"));
}

#[test]
fn an_unwritable_file_is_rejected_before_the_load() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let addr = stage.url.trim_start_matches("ws://").trim_end_matches("/echo");
    for (flags, named) in [
        ("--json /nonexistent/x", "cannot write /nonexistent/x"),
        ("--json=/nonexistent/x", "cannot write /nonexistent/x"),
        ("--hdr /nonexistent/x --json -", "cannot write /nonexistent/x"),
        ("--hdr /", "cannot write /"),
    ] {
        let refused = output("setup.sh", &format!("--local 5 2 {addr} -- --duration 1s {flags}"));
        let line = String::from_utf8(refused.stderr).expect("text");
        assert!(refused.status.code() == Some(1) && line.contains(named), "{flags}: {line}");
        assert_eq!(line.lines().count(), 1, "{flags}: {line}");
    }
    assert_eq!(stage.metrics().value("ws_connections_accepted_total"), Some(0.0), "nothing was loaded");
}

/// A closed reader (`2>&1 | head -1`), and a full device.
#[test]
fn a_closed_reader_does_not_end_the_load() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let addr = stage.url.trim_start_matches("ws://").trim_end_matches("/echo");
    for number in 0..3 {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("setup-unread-{number}.json"));
        let mut run = script("setup.sh");
        run.args(["--local", "5", "2", addr, "--", "--duration", "1s", "--json"]).arg(&file);
        match number {
            0 => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                drop(reader);
                run.stdout(writer.try_clone().expect("a copy")).stderr(writer);
            }
            1 => {
                let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
                run.stdout(full()).stderr(full());
            }
            _ => {
                let words = [run.get_program()].into_iter().chain(run.get_args());
                let words: Vec<_> = words.map(|word| word.to_str().expect("text").to_owned()).collect();
                run = Command::new("sh");
                run.args(["-c", "exec \"$@\" >&- 2>&-", "sh"]).args(words);
                run.env("CLIENT", env!("CARGO_BIN_EXE_client")).stdin(Stdio::null());
            }
        }
        assert_eq!(run.status().expect("setup.sh runs").code(), Some(0), "case {number}");
        let report: RunReport = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
        assert_eq!((report.clients, report.failures.total()), (2, 0));
    }
}

#[test]
fn a_missing_server_is_reported() {
    // Nothing listens on port 1 (tcpmux).
    let refused = output("setup.sh", "--local 5 2 127.0.0.1:1 -- --duration 1s");
    let text = String::from_utf8(refused.stderr).expect("text");
    assert!(refused.status.code() == Some(1) && text.contains("10 refused"), "{text}");
}

#[test]
fn results_are_merged() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &["--subprotocol", "chat"]) else { return };
    let handshake = "--subprotocol chat --header X-Load:1";
    let run =
        Run::start("merge", &stage, "50 3", &format!("--rate 100 --duration 4s --warmup 0s {handshake}"));
    until_connected(&stage, 150);
    let (report, stderr) = run.end(0);
    let (connect, echo) = (report.connect.expect("connections"), report.echo.expect("echoes"));
    assert_eq!((report.clients, report.connections, connect.connected), (3, 150, 150));
    assert_eq!((report.rate_per_s, echo.sent, echo.missing), (Some(300.0), 1_200, 0));
    assert_eq!(report.failures.total(), 0);
    assert!(stderr.contains("connected: 150 of 150 connections, by all 3 replicas\n"), "{stderr}");
}

#[test]
fn destroy_ends_one_run_and_reports_it() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let run = Run::start("destroy", &stage, "20 2", "--scenario idle --duration 10m");
    let other = Run::start("other", &stage, "20 1", "--scenario idle --duration 10m");
    until_connected(&stage, 60);
    let destroyed = output("destroy.sh", &run.number);
    let text = String::from_utf8(destroyed.stdout).expect("text");
    assert!(destroyed.status.success() && text.contains("0 containers and 2 processes"), "{text}");
    let (report, _) = run.end(0);
    assert!(report.interrupted && report.clients == 2 && report.connections == 40);
    until_connected(&stage, 20);
    assert_eq!(other.replicas().len(), 1, "another run is left alone");
    // Like Ctrl-C.
    other.signal(Signal::INT);
    let (report, _) = other.end(0);
    assert!(report.interrupted && report.clients == 1);
}

#[test]
fn a_replica_that_dies_is_reported() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let run = Run::start("dies", &stage, "20 3", "--scenario idle --duration 6s");
    until_connected(&stage, 60);
    let victim = Pid::from_raw(run.replicas()[0]).expect("a process");
    kill_process(victim, Signal::KILL).expect("it runs");
    let (report, stderr) = run.end(1);
    assert_eq!(report.clients, 2, "the others are reported");
    assert!(stderr.contains("1 of 3 replicas left no result"), "{stderr}");
}
