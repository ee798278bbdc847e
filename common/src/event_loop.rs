//! What the event loops of stages 3 and 4 decide by: which connection is served next, for how long, when to accept, and what
//! is due. The loop itself is in the stages.

mod backlog;
mod drain;
mod fd_table;
mod marks;
mod run_queue;
mod ticks;
mod timeouts;

pub use backlog::Backlog;
pub use drain::Drain;
pub use fd_table::FdTable;
pub use marks::Marks;
pub use run_queue::RunQueue;
use ticks::Ticks;
pub use timeouts::{Due, Timeouts};

use crate::metrics::Closed;
use std::collections::HashMap;
use std::hash::Hash;
use std::io::{Error, ErrorKind};
use std::time::Instant;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its request has not all arrived.
    Handshake,
    /// It is a WebSocket connection, at a message boundary and without unsent output.
    Idle,
    /// It is a WebSocket connection, in the middle of a message or with unsent output.
    Busy,
    /// Its output is sent and half-closed. Input is discarded until the peer closes, or for [`crate::config::LINGER`].
    Lingering,
}

impl Phase {
    /// The phase with this number: `phase as usize`.
    #[inline]
    pub fn from_number(number: usize) -> Phase {
        match number {
            0 => Phase::Handshake,
            1 => Phase::Idle,
            2 => Phase::Busy,
            _ => Phase::Lingering,
        }
    }

    /// Whether it is a WebSocket connection.
    #[inline]
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Idle | Phase::Busy)
    }
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

impl From<Error> for Next {
    /// After an error of the connection's socket.
    fn from(error: Error) -> Next {
        if error.kind() == ErrorKind::WouldBlock { Next::Wait } else { Next::Remove(Closed::Reset) }
    }
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
