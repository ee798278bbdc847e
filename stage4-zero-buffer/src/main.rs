//! # Stage 4: zero buffers
//!
//! **Removed:** buffer memory. In stage 3 every connection owns a read buffer, though hardly any is reading.
//!
//! **How:** the same event loop, with one buffer. A read fills it, frames are parsed and unmasked where they lie,
//! their echoes close up at its front, and one write sends them all. An incomplete message is echoed piece by piece. Only a
//! connection in the middle of something (a handshake, a message, output that its peer does not read) has state of its
//! own.
//!
//! **A connection costs** 8 bytes: a descriptor, a phase, and when it was last heard.
//!
//! **What still breaks:** the kernel's own socket, some 3.8 KB, which no server can do without.

mod connection;
mod echo;
mod pieces;
mod server;
mod slot;

use std::process::ExitCode;

/// No flag of its own.
#[derive(clap::Args)]
struct Flags {}

fn main() -> ExitCode {
    common::Stage::<Flags> {
        name: env!("CARGO_PKG_NAME"),
        about: "WebSocket echo server: event loops with one buffer each, none per connection",
        bound: |_| None,
        serve: server::serve,
    }
    .main()
}
