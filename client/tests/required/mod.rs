//! Programs that tests start, and their configuration.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Whether a program is installed. Prints a note if not, and fails in CI, which installs it.
#[track_caller]
pub fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed: see .ci/run");
    if !found {
        conformance::note(&format!("skipped: {program} is not installed"));
    }
    found
}

/// A program that listens on a port of its own; killed when dropped.
pub struct Program {
    pub address: SocketAddr,
    child: Child,
}

impl Program {
    /// Starts the command for a free port, and waits until it listens. Another program may take the port first: then it ends,
    /// and the next port is tried.
    pub fn start(command: impl Fn(SocketAddr) -> Command) -> Program {
        let mut said = String::new();
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let address = free.expect("a free port");
            let mut command = command(address);
            // A pipe that nobody reads would block it.
            let log = format!("program-{}-{}.log", std::process::id(), address.port());
            let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(log);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a file"));
            let mut program = Program { address, child: command.spawn().expect("it runs") };
            let deadline = Instant::now() + Duration::from_secs(30);
            while program.child.try_wait().expect("a child").is_none() {
                if TcpStream::connect(address).is_ok() {
                    return program;
                }
                assert!(Instant::now() < deadline, "it does not listen on {address}");
                thread::sleep(Duration::from_millis(10));
            }
            said += &fs::read_to_string(log).unwrap_or_default();
        }
        panic!("it does not start: {said}")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
