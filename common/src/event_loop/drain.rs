//! A loop's part in the drain: which connections to close, and when.

use crate::shutdown::Shutdown;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};
use std::vec;

/// How often connections are closed at the most: those that fall due in between are closed together.
const STEP: Duration = Duration::from_millis(10);

/// Not begun, until [`Drain::begin`].
#[derive(Debug, Default)]
pub struct Drain(Option<Begun>);

#[derive(Debug)]
struct Begun {
    shutdown: Shutdown,
    /// Connections when the drain began, and those that have not been closed.
    count: usize,
    left: vec::IntoIter<RawFd>,
}

impl Drain {
    /// The drain, of which `shutdown` has notified this loop, begins for these connections. Again it does nothing.
    pub fn begin(&mut self, shutdown: &Shutdown, connections: Vec<RawFd>) {
        let begun = || {
            let (shutdown, count) = (shutdown.clone(), connections.len());
            Begun { shutdown, count, left: connections.into_iter() }
        };
        self.0.get_or_insert_with(begun);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// The next connection to close, which its peer may have closed since; `None` if none is due.
    #[inline]
    pub fn pop(&mut self, now: Instant) -> Option<RawFd> {
        self.0.as_mut()?.pop(now)
    }

    /// How long to wait for events, `most` at the longest.
    #[inline]
    pub fn poll_timeout(&self, most: Duration) -> Duration {
        if self.0.as_ref().is_some_and(|begun| begun.left.len() > 0) { most.min(STEP) } else { most }
    }

    /// Whether the loop ends, which has connections or `is_empty`.
    #[inline]
    pub fn is_over(&self, now: Instant, is_empty: bool) -> bool {
        self.0
            .as_ref()
            .and_then(|begun| begun.shutdown.pace())
            .is_some_and(|pace| is_empty || now >= pace.deadline())
    }
}

impl Begun {
    fn pop(&mut self, now: Instant) -> Option<RawFd> {
        let due = self.shutdown.pace()?.due(now, self.count);
        let closed = self.count - self.left.len();
        if closed < due { self.left.next() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::DrainPace;

    #[test]
    fn connections_are_closed_in_order_when_they_are_due() {
        let (shutdown, began) = (Shutdown::new().expect("an eventfd"), Instant::now());
        let timeout = Duration::from_secs(8);
        let tick = Duration::from_millis(250);
        let mut drain = Drain::default();
        assert!(!drain.has_begun() && drain.pop(began).is_none() && !drain.is_over(began, true));
        assert_eq!(drain.poll_timeout(tick), tick);

        shutdown.begin(DrainPace::new(began, 4, 4, timeout));
        drain.begin(&shutdown, vec![7, 8, 9, 12]);
        drain.begin(&shutdown, vec![13]);
        let mut closed = Vec::new();
        for ms in [0, 100, 260, 300, 750] {
            let now = began + Duration::from_millis(ms);
            assert_eq!(drain.poll_timeout(tick), STEP);
            while let Some(fd) = drain.pop(now) {
                closed.push((ms, fd));
            }
        }
        assert_eq!(closed, [(0, 7), (260, 8), (750, 9), (750, 12)]);
        // Then it waits for the peers.
        assert_eq!(drain.poll_timeout(tick), tick);
        let end = began + timeout;
        assert_eq!([began, end].map(|now| drain.is_over(now, false)), [false, true]);
        assert!(drain.is_over(began, true));
    }
}
