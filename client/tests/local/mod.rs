//! An echo server in the test's process, the client binary, and temporary files.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub const CLIENT: &str = env!("CARGO_BIN_EXE_client");
/// A short load.
pub const LOAD: &str = "--connections 4 --warmup 0s --duration 100ms";

/// Starts an echo server on this address; returns the address it got.
pub fn echo_server(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.is_binary() && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The URL of a new echo server.
pub fn url() -> String {
    format!("ws://{}/echo", echo_server("127.0.0.1:0"))
}

/// A path for this test only.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("scratch-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory.join(format!("{number}-{name}"))
}

pub fn client(arguments: &str) -> Command {
    let mut command = Command::new(CLIENT);
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    // Tests must not depend on the machine's proxy.
    for variable in ["http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(variable);
    }
    command
}

pub fn output(arguments: &str) -> Output {
    client(arguments).output().expect("the client runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A result of `client run`, for `client merge`.
pub fn a_result(url: &str) -> PathBuf {
    let file = scratch("one.json");
    let made = output(&format!("run --url {url} {LOAD} --quiet --json {}", file.display()));
    assert!(made.status.success(), "{}", text(&made.stderr));
    file
}
