//! A running stage for the client's tests.

use client::watch::{Metrics, Watched};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const STAGES: [&str; 4] =
    ["stage1-thread-per-conn", "stage2-task-per-conn", "stage3-mio-epoll", "stage4-zero-buffer"];

/// Whether `RESILIENCE_FULL` requests full size.
pub fn full_size() -> bool {
    std::env::var_os("RESILIENCE_FULL").is_some()
}

/// A running stage, killed when dropped.
pub struct Stage {
    pub name: &'static str,
    pub url: String,
    pub admin: SocketAddr,
    child: Child,
}

impl Stage {
    /// Starts the stage's binary from the client's directory, on free ports. Prints a note and returns `None` if it is not
    /// built.
    pub fn start(name: &'static str, flags: &[&str]) -> Option<Stage> {
        let binary = Path::new(env!("CARGO_BIN_EXE_client")).with_file_name(name);
        if !binary.exists() {
            conformance::note(&format!("{name} is not built: run the tests of the whole workspace"));
            return None;
        }
        let mut command = Command::new(binary);
        command.args(flags).args(["--admin-addr", "127.0.0.1:0", "--log", "error"]);
        if !flags.contains(&"--addr") {
            command.args(["--addr", "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the stage runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("a line that says it is ready");
        let after = |scheme: &str| {
            let (_, rest) = line.split_once(scheme).expect("an address");
            rest.split([',', ' ']).next().expect("an address")
        };
        let (url, admin) =
            (format!("ws://{}", after("ws://")), after("http://").parse().expect("an address"));
        Some(Stage { name, url, admin, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::fetch(self.admin).expect("metrics of a running server")
    }

    /// Resident memory from smaps_rollup (proc(5)).
    pub fn resident_bytes(&self) -> u64 {
        Watched::new(self.pid()).read().expect("a running server").rss_bytes
    }

    /// Descriptors of all threads, added up: each may have its own table.
    pub fn descriptors(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a running server");
        let tables = tasks.flatten().filter_map(|task| fs::read_dir(task.path().join("fd")).ok());
        tables.map(Iterator::count).sum()
    }

    /// The same once it is stable: connections may still be closing.
    pub fn settled_descriptors(&self) -> usize {
        let (mut held, mut same) = (self.descriptors(), 0);
        until("descriptors stay the same", Duration::from_secs(10), || {
            let now = self.descriptors();
            same = if now == held { same + 1 } else { 0 };
            held = now;
            (same >= 10).then_some(()).ok_or(format!("{held} descriptors"))
        });
        held
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal, and waits for the process to end.
    pub fn end(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until the check succeeds.
///
/// # Panics
/// After `limit`, with the last error.
#[track_caller]
pub fn until(expected: &str, limit: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + limit;
    while let Err(instead) = look() {
        assert!(Instant::now() < deadline, "expected within {limit:?}: {expected}\ngot: {instead}");
        thread::sleep(Duration::from_millis(10));
    }
}
