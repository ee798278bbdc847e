//! A black-box test suite for WebSocket echo servers with the flags, endpoints and metrics of this workspace.
//!
//! The suite needs only the path of the server's binary. Each case starts its own server on free ports, reads the
//! addresses from the server's first line on stdout, and connects over TCP. It sends valid input (RFC 6455, RFC 9112)
//! or input with one fault, in one segment or in several. It compares the server's `/metrics` with what the case did
//! and with the kernel's view (proc(5), sock_diag(7)). No case relies on a sleep being long enough: it polls for the
//! expected state until a deadline. A failure prints the frames sent and received, the expectation, and the server's
//! log.
//!
//! To test a server, add this crate to its `[dev-dependencies]`, and create `tests/conformance.rs`:
//!
//! ```ignore
//! //! The conformance suite.
//! conformance::suite!(env!("CARGO_BIN_EXE_my-server"));
//! ```
//!
//! Each case becomes one test: `cargo test -p my-server --test conformance close::` runs one theme.
//! `CONFORMANCE_FULL=1` runs `leaks::` with 5,000 connections per round instead of 200, and clients that write before
//! they read with 1,000 connections instead of 100. `CONFORMANCE_FLAGS` adds flags to the server's command line.
//!
//! # Requirements on the server
//! - Flags: `--addr`, `--admin-addr`, `--max-connections`, `--shards`, `--backlog`, `--handshake-timeout`,
//!   `--idle-timeout`, `--ping-interval`, `--max-message-size`, `--buffer-budget`, `--drain-timeout`, `--drain-rate`,
//!   `--metrics-on`, `--allow-origin`, `--subprotocol` and `--log`, each also as an environment variable `WS_…`. An invalid command line: one line on
//!   stderr, exit status 2. An address it cannot bind: one line on stderr, exit status 1.
//! - When ready, it prints one line, `NAME VERSION: ws://ADDR/echo, admin http://ADDR, N shards, at most M
//!   connections`, and nothing else on stdout.
//! - `/echo` and `/` on the first address upgrade to WebSocket. Both addresses serve `/health`, `/ready` and `/metrics`.
//! - SIGTERM, SIGINT and SIGHUP start the drain. A second SIGTERM or SIGINT ends the process.
//!
//! To add a case, write a function in a file of `src/cases/`, and list it in `src/list.rs`.
//!
//! # Descriptors
//! Each case has its own descriptor table. It opens no more connections than `RLIMIT_NOFILE` (`ulimit -Hn`) allows one
//! table of the suite and of the server. A case that runs with fewer connections prints `scaled down`; a case that
//! cannot run prints `skipped`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the test harness captures it, and prints it if a test fails"
)]

pub use notice::note;

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

mod cases;
pub mod cgroup;
mod descriptors;
mod frame;
mod http;
mod inject;
pub mod link;
mod list;
mod metrics;
mod notice;
mod process;
mod resilience;
mod server;
mod sink;
mod unread;
mod wait;
mod wire;

/// Defines a test for each case of the conformance suite, in one module per theme. `$binary` is the server's path.
#[macro_export]
macro_rules! suite {
    ($binary:expr) => {
        $crate::__cases!($crate::__tests, $crate::run, $binary);
    };
}

/// Does the same for the resilience suite: hostile peers, connection storms, faults and resource exhaustion.
#[macro_export]
macro_rules! resilience {
    ($binary:expr) => {
        $crate::__resilience_cases!($crate::__tests, $crate::run_resilience, $binary);
    };
}

/// Runs one case of the conformance suite. `binary` is the server's path.
///
/// # Panics
/// If the server fails the case, or the case does not exist.
#[doc(hidden)]
pub fn run(binary: &'static str, theme: &str, case: &str) {
    let run = list::find(theme, case).unwrap_or_else(|| panic!("no case {theme}::{case}"));
    isolate(&format!("{theme}::{case}"), || run(&server::Binary(binary)));
}

/// Runs one case of the resilience suite. Cases run one at a time, because they measure and load the machine.
///
/// # Panics
/// As [`run`].
#[doc(hidden)]
pub fn run_resilience(binary: &'static str, theme: &str, case: &str) {
    static SERIAL: Mutex<()> = Mutex::new(());
    let _guard = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let run = list::find_resilience(theme, case).unwrap_or_else(|| panic!("no case {theme}::{case}"));
    isolate(&format!("{theme}::{case}"), || run(&server::Binary(binary)));
}

/// Runs a case on a thread named after it, with its own descriptor table.
fn isolate(name: &str, case: impl FnOnce() + Send) {
    let case = || {
        descriptors::own_table();
        case();
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.into()).spawn_scoped(scope, case).expect("a thread");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
}
