//! When to call accept(2).

use crate::ACCEPT_PAUSE;
use std::time::Instant;

/// Whether connections may be waiting in the kernel's queue, and from when on to accept them.
#[derive(Debug, Default)]
pub struct Backlog {
    due_at: Option<Instant>,
}

impl Backlog {
    /// The listener became readable.
    pub fn fill(&mut self, now: Instant) {
        self.due_at = Some(now);
    }

    /// accept(2) said that the queue is empty, or the server stopped listening.
    pub fn clear(&mut self) {
        self.due_at = None;
    }

    /// accept(2) failed, and would fail again at once. It is left alone for [`ACCEPT_PAUSE`], and then called without an event:
    /// the listener stays readable, for which an edge-triggered one does not come again.
    pub fn pause(&mut self, now: Instant) {
        self.due_at = Some(now + ACCEPT_PAUSE);
    }

    /// When to accept; `None`: not before the listener becomes readable.
    #[inline]
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether to accept now.
    #[inline]
    pub fn is_due(&self, now: Instant) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_from_an_event_until_it_is_empty() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert!(!backlog.is_due(now) && backlog.due_at().is_none());
        backlog.fill(now);
        // A batch does not empty it: it stays due without another event.
        assert!(backlog.is_due(now) && backlog.is_due(now + ACCEPT_PAUSE));
        backlog.clear();
        assert!(!backlog.is_due(now + ACCEPT_PAUSE));
    }

    #[test]
    fn is_left_alone_after_a_failure_and_then_tried_without_an_event() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.fill(now);
        backlog.pause(now);
        assert!(!backlog.is_due(now + ACCEPT_PAUSE / 2));
        assert_eq!(backlog.due_at(), Some(now + ACCEPT_PAUSE));
        assert!(backlog.is_due(now + ACCEPT_PAUSE));
    }
}
