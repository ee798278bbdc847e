//! When to call accept(2).

use crate::{ACCEPT_BATCH, ACCEPT_PAUSE};
use std::time::{Duration, Instant};

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

    /// accept(2) said that the queue is empty, or the server drains.
    pub fn clear(&mut self) {
        self.due_at = None;
    }

    /// accept(2) failed, and would fail again at once. It is left alone for [`ACCEPT_PAUSE`], and then called without an event:
    /// the listener stays readable, for which an edge-triggered one does not come again.
    pub fn pause(&mut self, now: Instant) {
        self.due_at = Some(now + ACCEPT_PAUSE);
    }

    /// How many connections to accept now, if there are as many: [`ACCEPT_BATCH`], so that open ones are served between, or none.
    #[inline]
    pub fn batch(&self, now: Instant) -> usize {
        if self.due_at.is_some_and(|at| at <= now) { ACCEPT_BATCH } else { 0 }
    }

    /// How long to wait for events, `most` at the longest. The clock is read only if connections may be waiting.
    #[inline]
    pub fn poll_timeout(&self, most: Duration, now: impl FnOnce() -> Instant) -> Duration {
        self.due_at.map_or(most, |at| at.saturating_duration_since(now()).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_from_an_event_until_it_is_empty() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!((backlog.batch(now), backlog.poll_timeout(Duration::MAX, || now)), (0, Duration::MAX));
        backlog.fill(now);
        // A batch does not empty it: it stays due without another event.
        assert_eq!([now, now + ACCEPT_PAUSE].map(|now| backlog.batch(now)), [ACCEPT_BATCH; 2]);
        assert_eq!(backlog.poll_timeout(Duration::MAX, || now), Duration::ZERO);
        backlog.clear();
        assert_eq!(backlog.batch(now + ACCEPT_PAUSE), 0);
    }

    #[test]
    fn is_left_alone_after_a_failure_and_then_tried_without_an_event() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.fill(now);
        backlog.pause(now);
        assert_eq!(backlog.batch(now + ACCEPT_PAUSE / 2), 0);
        assert_eq!(backlog.poll_timeout(ACCEPT_PAUSE / 4, || now), ACCEPT_PAUSE / 4);
        let left = backlog.poll_timeout(Duration::MAX, || now + ACCEPT_PAUSE / 4);
        assert_eq!(left, ACCEPT_PAUSE * 3 / 4);
        assert_eq!(backlog.batch(now + ACCEPT_PAUSE), ACCEPT_BATCH);
    }
}
