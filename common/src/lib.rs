//! What the four stages share: everything but the way a connection is served.
//!
//! A stage's `main` hands its name and its `serve` function to [`Stage::main`], which parses the flags, raises the
//! limits, starts the shards, the admin server and the signal handling, and calls `serve` on each shard's thread.

pub mod budget;
pub mod cgroup;
pub mod config;
pub mod cores;
pub mod event_loop;
pub mod families;
pub mod frame;
pub mod heartbeat;
pub mod http;
pub mod kernel;
pub mod latency;
pub mod limits;
mod live;
pub mod mask;
pub mod memory;
#[cfg(feature = "tungstenite")]
pub mod meter;
pub mod metrics;
pub mod origin;
pub mod output;
pub mod quiet;
pub mod shutdown;
pub mod subprotocol;
pub mod table;
pub mod untaken;
#[cfg(feature = "tungstenite")]
pub mod websocket;

mod admin;
mod close_policy;
mod healthcheck;
mod heap;
mod listen;
mod log;
mod process;
mod server;
mod shard;
mod signals;

pub use close_policy::set_close_policy;
pub use heap::return_freed_memory;
pub use listen::explain as explain_listen;
pub use server::{Bound, Stage};
pub use shard::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Answer, Shard};
