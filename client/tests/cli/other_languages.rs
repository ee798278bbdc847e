//! Loads on servers in other languages: Python's websockets and Node's ws, at pinned versions, installed below `target`.

use crate::local::{LOAD, output, text};
use client::run::RunReport;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The npm package; `requirements.txt` names the Python package.
const WS: &str = "ws@8.23.0";

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages").join(name)
}

/// Reports that a test is skipped.
///
/// # Panics
/// In CI, where all programs are installed.
fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "not skipped in CI: {why}");
    conformance::note(&format!("skipped: {why}"));
    None
}

/// Runs a program that prepares a test. `None`: it is missing or fails, so the test is skipped.
fn succeeds(command: &mut Command) -> Option<()> {
    match command.output() {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => skip(&format!("{command:?} fails: {}", text(&output.stderr))),
        Err(error) => skip(&format!("{command:?} does not run: {error}")),
    }
}

/// A directory below `target` with what `install` puts into it, once per content of `name`.
fn installed(name: &str, install: impl FnOnce(&Path) -> Option<()>) -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let complete = directory.join("complete");
    if !complete.exists() {
        fs::create_dir_all(&directory).expect("a directory");
        install(&directory)?;
        fs::write(complete, "").expect("a file");
    }
    Some(directory)
}

/// A running server, killed when dropped.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("an installed program");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut port).expect("a line with the port");
        Server { child, port: port.trim().to_owned() }
    }

    /// Runs a short load on a path.
    fn load(&self, path: &str, flags: &str) -> (Output, RunReport) {
        let url = format!("ws://127.0.0.1:{}{path}", self.port);
        let load = if flags.contains("--duration") { "--connections 4 --warmup 0s" } else { LOAD };
        let output = output(&format!("run --url {url} {load} --quiet --json - {flags}"));
        let report = serde_json::from_slice(&output.stdout);
        (output.clone(), report.unwrap_or_else(|_| panic!("{flags}: {}", text(&output.stderr))))
    }

    /// The same for a load that succeeds.
    #[track_caller]
    fn succeeds(&self, path: &str, flags: &str) -> RunReport {
        let (output, report) = self.load(path, flags);
        assert_eq!(output.status.code(), Some(0), "{path} {flags}: {}", text(&output.stderr));
        assert_eq!(report.connect.as_ref().map(|connect| connect.connected), Some(4), "{path} {flags}");
        report
    }

    /// The same for a load that sends messages, all of which are answered.
    #[track_caller]
    fn echoes(&self, path: &str, flags: &str) -> RunReport {
        let report = self.succeeds(path, flags);
        let echo = report.echo.as_ref().expect("messages were sent");
        assert!(echo.echoes > 0 && echo.missing == 0, "{path} {flags}: {echo:?}");
        report
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What both servers do.
fn common_to_both(server: &Server) {
    for flags in [
        "",
        "--text --payload 0-2000",
        "--payload 200KiB --in-flight 3",
        "--rate 200",
        "--scenario storm --text",
        "--scenario churn --rate 50",
        "--scenario burst --payload 1-70000",
        "--subprotocol other,echo.v1",
    ] {
        server.echoes_or_churns("/", flags);
        server.echoes_or_churns("/fragments", flags);
    }
    let greeted = server.echoes("/greet", "--expect greeting --text");
    assert_eq!(greeted.greetings, 4);
    let (output, report) = server.load("/greet", "--hold 300ms");
    assert!(report.failures.wrong_echo > 0 || report.pushed.is_some(), "{}", text(&output.stderr));
}

impl Server {
    #[track_caller]
    fn echoes_or_churns(&self, path: &str, flags: &str) {
        match flags.contains("churn") {
            true => assert!(self.succeeds(path, flags).churn.is_some_and(|churn| churn.echoes > 0)),
            false => drop(self.echoes(path, flags)),
        }
    }
}

fn python() -> Option<Server> {
    let requirements = fs::read_to_string(source("requirements.txt")).expect("requirements");
    let name = format!("python-{}", requirements.trim().replace("==", "-"));
    let environment = installed(&name, |directory| {
        succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory))?;
        let mut pip = Command::new(directory.join("bin/pip"));
        succeeds(pip.args(["install", "--quiet", "--requirement"]).arg(source("requirements.txt")))
    })?;
    Some(Server::start(Command::new(environment.join("bin/python")).arg(source("echo.py"))))
}

#[test]
fn python_websockets() {
    let Some(server) = python() else { return };
    common_to_both(&server);
    let counted = server.echoes("/count", "--verify any --payload 10-500");
    let echo = counted.echo.expect("replies");
    let mean = echo.bytes as f64 / echo.echoes as f64;
    assert!((11.0..=12.0).contains(&mean), "replies such as '250 received': {mean} bytes");
    let idle = server.succeeds("/push", "--scenario idle --duration 500ms");
    assert_eq!(idle.pushed.map(|pushed| (pushed.messages, pushed.bytes)), Some((12, 12 * 6)));
    let sent = server.succeeds("/push", "--verify none --rate 200 --text --duration 500ms");
    assert_eq!(sent.echo.map(|echo| (echo.sent, echo.echoes, echo.missing)), Some((100, 0, 0)));
    assert_eq!(sent.pushed.map(|pushed| pushed.messages), Some(12));
    let (output, _) = server.load("/count", "");
    let said = text(&output.stderr);
    assert!(said.contains("wrong_echo") && said.contains("--verify any"), "{said}");
}

#[test]
fn node_ws() {
    let modules = installed(&WS.replace('@', "-"), |directory| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-save", "--no-package-lock", "--ignore-scripts", "--prefix"]);
        succeeds(npm.arg(directory).arg(WS))
    });
    let Some(modules) = modules else { return };
    if succeeds(Command::new("node").arg("--version")).is_none() {
        return;
    }
    let mut node = Command::new("node");
    let server = Server::start(node.arg(source("echo.cjs")).env("NODE_PATH", modules.join("node_modules")));
    common_to_both(&server);
    let (output, report) = server.load("/deflated", "");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), report.failures.bad_handshake), (Some(1), 4), "{said}");
    assert!(said.contains("the 101 names an extension, but none was offered"), "{said}");
    let (output, _) = server.load("/", "--subprotocol other");
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("none of the subprotocols offered"), "{said}");
}
