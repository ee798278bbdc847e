//! # Stage 3: an event loop over epoll
//!
//! **Removed:** polling cost. Stage 2 wakes a task for every event, and each task is a future, a header and a
//! scheduler's bookkeeping.
//!
//! **How:** one readiness call (epoll_wait(2), by way of `mio`) says which of all connections have something, and
//! the loop goes through those. A connection is an entry in a table, its state an enum instead of a suspended
//! function. `tungstenite` reads and writes without blocking.
//!
//! **A connection costs** `tungstenite`'s state and its read buffer (`--read-buffer`), idle or not.
//!
//! **What still breaks:** those buffers: 4 KiB for each of the many that are not reading anything.

mod connection;
mod server;
mod socket;

use common::config;
use std::process::ExitCode;

#[derive(clap::Args)]
struct Flags {
    /// tungstenite's read buffer, per connection, up to 16MiB (its default of 128KiB costs 137 KB per connection)
    #[arg(long, env = "WS_READ_BUFFER", default_value = "4KiB", value_name = "SIZE",
          value_parser = config::read_buffer_size)]
    read_buffer: usize,
}

fn main() -> ExitCode {
    common::Stage::<Flags> {
        name: env!("CARGO_PKG_NAME"),
        about: "WebSocket echo server: event loops over epoll, tungstenite's buffers per connection",
        bound: |_| None,
        serve: server::serve,
    }
    .main()
}
