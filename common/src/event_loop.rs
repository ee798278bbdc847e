//! What the event loops of stages 3 and 4 decide by: which connection is served next, for how long, when to accept, and what
//! is due. The loop itself is in the stages.

mod backlog;
mod drain;
mod fd_table;
mod run_queue;
mod ticks;

pub use backlog::Backlog;
pub use drain::Drain;
pub use fd_table::FdTable;
pub use run_queue::RunQueue;
pub use ticks::Ticks;

use crate::metrics::Closed;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its request has not all arrived.
    Handshake,
    /// It is a WebSocket connection.
    Open,
    /// Its output is sent and half-closed. Input is discarded until the peer closes, or for [`crate::config::LINGER`].
    Lingering,
}

/// What becomes of a connection after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits for the next event.
    Wait,
    /// It has more input than its read quantum.
    Requeue,
    /// All output is sent: half-close it. The reason counts if it is open and has none yet.
    Linger(Closed),
    /// Close it. The reason counts if it is open and has none yet.
    Remove(Closed),
}

/// A connection whose request has not all arrived.
#[derive(Debug)]
pub struct Handshake {
    /// When the connection was accepted.
    pub accepted_at: Instant,
    /// The input so far.
    pub head: Vec<u8>,
}

impl Handshake {
    /// Of a connection that was accepted just now.
    pub fn begin() -> Handshake {
        Handshake { accepted_at: Instant::now(), head: Vec::new() }
    }
}

/// Frees a table's memory once it is empty.
pub fn trim<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.is_empty() {
        table.shrink_to_fit();
    }
}
