//! # Stage 2: a task per connection
//!
//! **Removed:** the thread. Stage 1 keeps a stack, a kernel stack and a place in the scheduler for every connection.
//!
//! **How:** `tokio` runs a task per connection on the shard's one thread, and `tokio-tungstenite` makes a stream of
//! messages of a socket. The code reads as in stage 1, with `.await` where that blocks; what was a stack is a future,
//! as large as what it keeps across its awaits.
//!
//! **A connection costs** a task (header, future, a place in tokio's I/O driver) and `tungstenite`'s read buffer
//! (`--read-buffer`); with `--tasks-per-conn 2`, a second task and a channel between the two.
//!
//! **What still breaks:** every event wakes a task through the scheduler, a waker and two proxies of it; and the
//! task occupies its memory whether or not anything happens.

mod connection;
mod server;

use common::config;
use std::process::ExitCode;

#[derive(clap::Args)]
struct Flags {
    /// tungstenite's read buffer, per connection, up to 16MiB (its default of 128KiB costs 137 KB per connection)
    #[arg(long, env = "WS_READ_BUFFER", default_value = "4KiB", value_name = "SIZE",
          value_parser = config::read_buffer_size)]
    read_buffer: usize,

    /// 1: one task reads and writes. 2: a reader and a writer with a channel between, as most servers have them
    #[arg(long, env = "WS_TASKS_PER_CONN", default_value_t = 1, value_name = "1|2",
          value_parser = clap::value_parser!(u8).range(1..=2))]
    tasks_per_conn: u8,
}

fn main() -> ExitCode {
    common::Stage::<Flags> {
        name: env!("CARGO_PKG_NAME"),
        about: "WebSocket echo server: a tokio task per connection",
        bound: |_| None,
        serve: server::serve,
    }
    .main()
}
