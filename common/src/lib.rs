//! What the four stages share: everything but the way a connection is served.
//!
//! A stage's `main` hands its name and its `serve` function to [`Stage::main`], which parses the flags, raises the
//! limits, starts the shards, the admin server and the signal handling, and calls `serve` on each shard's thread.

pub mod config;
pub mod event_loop;
pub mod http;
mod lifecycle;
mod observe;
pub mod random;
mod shard;
mod ws;

pub use http::{origin, subprotocol};
pub use lifecycle::{heartbeat, pace, quiet, shutdown, timer, untaken};
pub use observe::{buckets, cgroup, colours, families, kernel, latency, memory, metrics, output};
pub use shard::{budget, cores, limits, table, threads};
pub use ws::{echoed, frame, mask, partial, send_queue, text};
#[cfg(feature = "tungstenite")]
pub use ws::{meter, metered, websocket};

use lifecycle::{healthcheck, readiness, signals};
use observe::{admin, heap, live, log, process};
use shard::listen;

pub use lifecycle::close_policy::set_close_policy;
pub use lifecycle::stage::Stage;
pub use observe::heap::return_freed_memory;
pub use shard::listen::explain as explain_listen;
pub use shard::threads::Bound;
pub use shard::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Answer, Shard};
