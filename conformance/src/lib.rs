//! One black-box suite for every WebSocket echo server that has the flags, the endpoints and the metrics of this
//! workspace.
//!
//! It knows a server by its binary alone. For every case it starts that on ports of its own choosing, learns them
//! from the line on stdout, and speaks to it over real sockets: bytes that are right (RFC 6455, RFC 9112) or
//! wrong in one way, whole or in pieces. It asks `/metrics` what the server believes happened, and the kernel what
//! did (proc(5), sock_diag(7)). No case rests on a pause being long enough: each waits for what it expects, with
//! a deadline. What fails says what was sent, what was expected and what came, and shows the server's log.
//!
//! To put a server to the test, add this crate to its `[dev-dependencies]`, and a file `tests/conformance.rs`:
//!
//! ```ignore
//! //! The server does what every one here does.
//! conformance::suite!(env!("CARGO_BIN_EXE_my-server"));
//! ```
//!
//! Each case is then a test of its own: `cargo test -p my-server --test conformance close::` runs those of one
//! theme. `CONFORMANCE_FULL=1` runs [leaks](#leaks), and clients that write before they read, at full size; `CONFORMANCE_FLAGS` has further flags for the server.
//!
//! # What a server must be like
//! - It takes `--addr`, `--admin-addr`, `--max-connections`, `--shards`, `--backlog`, `--handshake-timeout`,
//!   `--idle-timeout`, `--ping-interval`, `--max-message-size`, `--buffer-budget`, `--drain-timeout`, `--allow-origin`,
//!   `--subprotocol` and `--log`, and each of them as `WS_…` from the environment. A command line that is wrong: one line on stderr, status 2.
//!   An address that is not to be had: one line, status 1.
//! - When it is ready it prints one line, `NAME VERSION: ws://ADDR/echo, admin http://ADDR, N shards, at most M
//!   connections`, and nothing else on stdout.
//! - `/echo` and `/` on the first address upgrade. `/health` and `/metrics` answer on both.
//! - SIGTERM, SIGINT and SIGHUP drain it, a second SIGTERM or SIGINT ends it.
//!
//! To add a case, write it beside its like in `src/cases/`, and name it in `src/list.rs`.
//!
//! # Leaks
//! Twenty rounds of 200 connections, or of 5,000 at full size.
//!
//! # Descriptors
//! Each case has a descriptor table of its own, and takes no more connections than its table and the server's hold under
//! the limit on them (`ulimit -Hn`): a case that has to do with fewer says `scaled down`, one that cannot `skipped`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the test harness takes it, and shows it where a test fails"
)]

pub use inject::note;

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
mod process;
mod resilience;
mod server;
mod sink;
mod unread;
mod wait;
mod wire;

/// The whole suite as tests, a module for each theme, of the binary at this path.
#[macro_export]
macro_rules! suite {
    ($binary:expr) => {
        $crate::__cases!($crate::__tests, $crate::run, $binary);
    };
}

/// The second suite: hostile peers, storms, faults and exhaustion.
#[macro_export]
macro_rules! resilience {
    ($binary:expr) => {
        $crate::__resilience_cases!($crate::__tests, $crate::run_resilience, $binary);
    };
}

/// Runs a case of the suite on the binary at this path.
///
/// # Panics
/// If the server does not pass it, or there is no such case.
#[doc(hidden)]
pub fn run(binary: &'static str, theme: &str, case: &str) {
    let run = list::find(theme, case).unwrap_or_else(|| panic!("no case {theme}::{case}"));
    apart(&format!("{theme}::{case}"), || run(&server::Binary(binary)));
}

/// Runs a case of the second suite, when no other is running: they measure, and they load the machine.
///
/// # Panics
/// As [`run`] does.
#[doc(hidden)]
pub fn run_resilience(binary: &'static str, theme: &str, case: &str) {
    static TURN: Mutex<()> = Mutex::new(());
    let _mine = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let run = list::find_resilience(theme, case).unwrap_or_else(|| panic!("no case {theme}::{case}"));
    apart(&format!("{theme}::{case}"), || run(&server::Binary(binary)));
}

/// Runs a case on a thread, named after it, with a descriptor table of its own.
fn apart(name: &str, case: impl FnOnce() + Send) {
    let case = || {
        descriptors::own_table();
        case();
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.into()).spawn_scoped(scope, case).expect("a thread");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
}
