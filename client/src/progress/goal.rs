//! What a phase is to reach, as far as progress can be told.

use crate::live::Counted;
use std::time::{Duration, Instant};

/// What a phase is complete with.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// So many connections.
    Connections(u64),
    /// So many echoes.
    Echoes(u64),
    /// So much time in the phase.
    Time(Duration),
    /// The same, with connections replaced all the while.
    Churn(Duration),
    /// A time of day, for phases that are repeated.
    Until(Instant),
    /// No connection left.
    Close,
    /// A part of something that takes longer.
    Visits { done: u64, all: u64 },
}

impl Goal {
    /// What a phase with this goal does above all.
    pub(super) fn counted(self) -> Counted {
        match self {
            Goal::Connections(_) => Counted::Connects,
            Goal::Close => Counted::Closes,
            Goal::Churn(_) => Counted::Replacements,
            Goal::Echoes(_) | Goal::Time(_) | Goal::Until(_) | Goal::Visits { .. } => Counted::Echoes,
        }
    }

    /// What that is called a second, and what it takes the times of.
    pub(super) fn nouns(self) -> (&'static str, &'static str) {
        match self.counted() {
            Counted::Connects => ("connects/s", "handshake"),
            Counted::Closes => ("closes/s", "latency"),
            Counted::Echoes => ("echoes/s", "latency"),
            Counted::Replacements => ("echoes/s", "handshake"),
        }
    }
}
