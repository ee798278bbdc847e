//! # Stage 1: a thread per connection
//!
//! **Removed:** the limits of the operating system, as far as they are only settings: the soft limit on descriptors
//! goes up to the hard one, each shard has a descriptor table of its own, the backlog is long, stacks are small, and
//! what is still in the way is named at the start.
//!
//! **How:** a thread accepts; each connection gets a thread, which waits, reads and writes with `tungstenite` as if it
//! were alone in the world. Nothing is easier to write or to read.
//!
//! **A connection costs** a thread: the touched part of its stack (`--stack-size` is the most it may touch), 16 KiB of
//! kernel stack, entries in the scheduler and in the process's memory map, a context switch whenever it has something
//! to do; and `tungstenite`'s read buffer (`--read-buffer`).
//!
//! **What still breaks:** threads run out (`threads-max`, `pid_max`, `max_map_count`, a cgroup's `pids.max`) long
//! before memory does.

mod connection;
mod server;
mod socket;

use common::{config, threads};
use std::process::ExitCode;

#[derive(clap::Args)]
struct Flags {
    /// tungstenite's read buffer, per connection, up to 16MiB (its default of 128KiB costs 137 KB per connection)
    #[arg(long, env = "WS_READ_BUFFER", default_value = "4KiB", value_name = "SIZE",
          value_parser = config::read_buffer_size)]
    read_buffer: usize,

    /// The stack of a connection's thread, 32KiB to 1GiB. Only what it touches costs memory, but all of it costs address space
    #[arg(long, env = "WS_STACK_SIZE", default_value = "64KiB", value_name = "SIZE", value_parser = stack_size)]
    stack_size: usize,
}

/// Below this the C library's own needs, and the frames of a panic being printed, no longer fit.
const MIN_STACK_LEN: usize = 32 * 1024;
const MAX_STACK_LEN: usize = 1 << 30;

fn stack_size(text: &str) -> Result<usize, String> {
    match config::size(text)? {
        size @ MIN_STACK_LEN..=MAX_STACK_LEN => Ok(size),
        _ => Err("must be 32KiB to 1GiB".into()),
    }
}

fn main() -> ExitCode {
    common::Stage::<Flags> {
        name: env!("CARGO_PKG_NAME"),
        about: "WebSocket echo server: a thread per connection, with blocking tungstenite",
        bound: |_| Some(threads::bound()),
        serve: server::serve,
    }
    .main()
}
