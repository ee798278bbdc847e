//! Connections with more input than one read, and how long they are served between two polls.

use super::Marks;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// The least time for the queue between two polls.
const LEAST_BUDGET: Duration = Duration::from_micros(250);

/// A quarter of the time that the events took, so that short messages, which bypass the queue, do not starve it: the queue
/// gets a fifth of all time.
fn budget(events_took: Duration) -> Duration {
    (events_took / 4).max(LEAST_BUDGET)
}

/// First in, first out. nginx calls such connections posted events (ngx_event_posted.c).
#[derive(Debug, Default)]
pub struct RunQueue {
    queue: VecDeque<(RawFd, bool)>,
    /// Set until the first connection is taken.
    events_began: Option<Instant>,
    deadline: Option<Instant>,
}

impl RunQueue {
    /// Queues a connection, and marks it so; `eof`: its peer has half-closed.
    #[inline]
    pub fn push(&mut self, fd: RawFd, eof: bool, marks: &mut Marks) {
        marks.set_queued(true);
        self.queue.push_back((fd, eof));
    }

    /// Whether no connection has more input.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How long to wait for events: not at all while connections are queued.
    #[inline]
    pub fn poll_timeout(&self, most: Duration) -> Duration {
        if self.is_empty() { most } else { Duration::ZERO }
    }

    /// Begins a run of the queue, after events that were handled from `events_began` until now.
    #[inline]
    pub fn begin(&mut self, events_began: Instant) {
        self.events_began = Some(events_began);
    }

    /// The next connection; `None` when there is none, or the run's budget is spent. The clock is not read for an empty queue.
    pub fn pop(&mut self, now: impl FnOnce() -> Instant) -> Option<(RawFd, bool)> {
        if self.is_empty() {
            return None;
        }
        let now = now();
        if let Some(events_began) = self.events_began.take() {
            self.deadline = Some(now + budget(now.saturating_duration_since(events_began)));
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) { None } else { self.queue.pop_front() }
    }

    /// Frees the memory of the longest queue, once it is empty.
    pub fn trim(&mut self) {
        if self.queue.is_empty() {
            self.queue.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a queue of `connections`, each of which takes `slice` and is queued again; returns the order of service.
    fn run(connections: RawFd, slice: Duration, events_took: Duration) -> Vec<RawFd> {
        let mut queue = RunQueue::default();
        (0..connections).for_each(|fd| queue.push(fd, false, &mut Marks::new(0)));
        let began = Instant::now();
        let mut now = began + events_took;
        queue.begin(began);
        let mut served = Vec::new();
        while let Some((fd, eof)) = queue.pop(|| now) {
            served.push(fd);
            queue.push(fd, eof, &mut Marks::new(0));
            now += slice;
            assert!(served.len() < 100_000, "the loop never polls again");
        }
        served
    }

    #[test]
    fn the_loop_polls_again_when_the_budget_is_spent() {
        let slice = Duration::from_micros(50);
        assert_eq!(run(1000, slice, Duration::ZERO), [0, 1, 2, 3, 4]);
        // A queue that never empties is served round-robin.
        assert_eq!(run(2, slice, Duration::ZERO), [0, 1, 0, 1, 0]);
        // One slice at least, however long.
        assert_eq!(run(3, Duration::from_secs(1), Duration::ZERO), [0]);
    }

    #[test]
    fn the_queue_gets_a_fifth_of_the_time() {
        let events_took = Duration::from_millis(8);
        let served = run(1000, Duration::from_micros(100), events_took);
        assert_eq!(served.len(), 20, "2 ms of 10");
    }

    #[test]
    fn the_loop_does_not_sleep_while_it_is_not_empty() {
        let mut queue = RunQueue::default();
        assert_eq!(queue.poll_timeout(Duration::from_secs(1)), Duration::from_secs(1));
        let mut marks = Marks::new(0);
        queue.push(3, true, &mut marks);
        assert!(marks.is_queued());
        assert_eq!(queue.poll_timeout(Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(queue.pop(Instant::now), Some((3, true)));
        queue.trim();
        assert!(queue.is_empty() && queue.queue.capacity() == 0);
    }
}
