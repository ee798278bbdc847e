//! When a phase is complete, and what its rate counts.

use crate::live::Counted;
use std::time::{Duration, Instant};

/// What completes a phase.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// This many open connections.
    Connections(u64),
    /// This many echoes.
    Echoes(u64),
    /// This much time in the phase.
    Time(Duration),
    /// This much time, while connections are replaced.
    Churn(Duration),
    /// A point in time, for phases that are repeated until then.
    Until(Instant),
    /// No open connection.
    Close,
    /// `done` of `all` visits, of which the phase is a part.
    Visits { done: u64, all: u64 },
}

impl Goal {
    /// The duration of such a phase, where it is known.
    pub(super) fn span(self) -> Option<Duration> {
        match self {
            Goal::Time(span) | Goal::Churn(span) => Some(span),
            Goal::Until(end) => Some(end.saturating_duration_since(Instant::now())),
            Goal::Connections(_) | Goal::Echoes(_) | Goal::Visits { .. } | Goal::Close => None,
        }
    }

    /// What the rate of such a phase counts.
    pub(super) fn counted(self) -> Counted {
        match self {
            Goal::Connections(_) => Counted::Connects,
            Goal::Close => Counted::Closes,
            Goal::Churn(_) => Counted::Replacements,
            Goal::Echoes(_) | Goal::Time(_) | Goal::Until(_) | Goal::Visits { .. } => Counted::Echoes,
        }
    }

    /// The name of the rate, and of the times that are shown.
    pub(super) fn nouns(self) -> (&'static str, &'static str) {
        match self.counted() {
            Counted::Connects => ("connects/s", "handshake"),
            Counted::Closes => ("closes/s", "latency"),
            Counted::Echoes => ("echoes/s", "latency"),
            Counted::Replacements => ("echoes/s", "handshake"),
        }
    }
}
