//! Replaces lost connections (`--reconnect`), with exponential backoff and jitter.
//!
//! Clients that lose their server at the same moment must not all return at the same moment, nor flood a server that is
//! down: each delay is random, within a range that doubles with every failed attempt.

use super::class::Class;
use super::failures::Failures;
use super::random::generator;
use super::results::{Reconnects, shard_times_ns};
use common::random::Xorshift;
use hdrhistogram::Histogram;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

/// The shortest delay before an attempt.
const SHORTEST_NS: u64 = 100_000_000;
/// The longest delay.
const LONGEST_NS: u64 = 5_000_000_000;

/// A lost connection to replace. Ordered by due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Retry {
    due_ns: u64,
    lost_ns: u64,
    /// Failed attempts so far.
    failed: u32,
}

/// The lost connections of a shard, and its counts.
#[derive(Debug)]
pub(super) struct Reconnect {
    queued: BinaryHeap<Reverse<Retry>>,
    /// Those with an attempt in progress, by slot.
    trying: HashMap<u32, Retry>,
    /// The most attempts in progress.
    window: usize,
    /// The generator of the random delays.
    random: Xorshift,
    lost: u64,
    reconnected: u64,
    failed_attempts: u64,
    causes: Failures,
    away: Histogram<u32>,
}

impl Reconnect {
    /// With at most `window` attempts in progress.
    pub(super) fn new(window: u32) -> Reconnect {
        Reconnect {
            queued: BinaryHeap::new(),
            trying: HashMap::new(),
            window: window as usize,
            random: generator(),
            lost: 0,
            reconnected: 0,
            failed_attempts: 0,
            causes: Failures::default(),
            away: shard_times_ns(),
        }
    }

    /// Lost connections not yet replaced.
    pub(super) fn pending(&self) -> u64 {
        (self.queued.len() + self.trying.len()) as u64
    }

    /// Attempts in progress.
    pub(super) fn trying(&self) -> u64 {
        self.trying.len() as u64
    }

    /// Returns the counts since the last call, and resets them.
    pub(super) fn take(&mut self) -> Reconnects {
        let mut away = super::results::histogram_ns();
        for bin in std::mem::replace(&mut self.away, shard_times_ns()).iter_recorded() {
            away.saturating_record_n(bin.value_iterated_to(), bin.count_at_value().into());
        }
        Reconnects {
            lost: std::mem::take(&mut self.lost),
            reconnected: std::mem::take(&mut self.reconnected),
            failed_attempts: std::mem::take(&mut self.failed_attempts),
            causes: std::mem::take(&mut self.causes),
            away,
        }
    }

    /// Drops all lost connections: a phase that closes does not replace them.
    pub(super) fn clear(&mut self) {
        self.queued.clear();
        self.trying.clear();
    }

    /// An attempt was cancelled rather than failed: the next one is due at once.
    pub(super) fn requeue(&mut self, index: u32) {
        self.queued.extend(self.trying.remove(&index).map(Reverse));
    }

    /// Schedules the next attempt.
    fn wait(&mut self, now_ns: u64, lost_ns: u64, failed: u32) {
        let due_ns = now_ns + wait_ns(failed, self.random.next_u64());
        self.queued.push(Reverse(Retry { due_ns, lost_ns, failed }));
    }

    /// A connection was lost: another is to take its place.
    pub(super) fn lost(&mut self, now_ns: u64, class: Class, why: &dyn Fn() -> String) {
        self.lost += 1;
        self.causes.add(class, 1);
        self.causes.first.get_or_insert_with(why);
        self.wait(now_ns, now_ns, 0);
    }

    /// An attempt is under way, in this slot.
    pub(super) fn begun(&mut self, index: u32, retry: Retry) {
        self.trying.insert(index, retry);
    }

    /// The attempt in this slot failed, if there was one: another will be made.
    pub(super) fn trial_failed(&mut self, index: u32, now_ns: u64) -> bool {
        let Some(retry) = self.trying.remove(&index) else { return false };
        self.attempt_failed(now_ns, retry);
        true
    }

    /// The attempt in this slot succeeded, if there was one: its connection takes the place of one that was lost.
    pub(super) fn succeeded(&mut self, index: u32, now_ns: u64) -> bool {
        let Some(retry) = self.trying.remove(&index) else { return false };
        self.reconnected += 1;
        self.away.saturating_record(now_ns - retry.lost_ns);
        true
    }

    pub(super) fn attempt_failed(&mut self, now_ns: u64, retry: Retry) {
        self.failed_attempts += 1;
        self.wait(now_ns, retry.lost_ns, retry.failed.saturating_add(1));
    }

    /// Takes a connection whose attempt is due, if the window has room.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Retry> {
        if self.trying.len() >= self.window || self.queued.peek()?.0.due_ns > now_ns {
            return None;
        }
        self.queued.pop().map(|Reverse(retry)| retry)
    }

    /// When the next attempt is due. Never while the window is full: the end of an attempt is an event then.
    pub(super) fn due_ns(&self) -> u64 {
        match self.queued.peek() {
            Some(Reverse(retry)) if self.trying.len() < self.window => retry.due_ns,
            _ => u64::MAX,
        }
    }
}

/// The delay after `failed` attempts: random, between the shortest delay and twice that, doubled with each failure.
fn wait_ns(failed: u32, random: u64) -> u64 {
    let most_ns = (SHORTEST_NS << failed.saturating_add(1).min(16)).min(LONGEST_NS);
    SHORTEST_NS + random % (most_ns - SHORTEST_NS + 1)
}

/// Makes the kernel time out a peer that vanished without FIN or RST: one that does not acknowledge data for `timeout`,
/// or keepalive probes, which start after half of that (tcp(7), `TCP_USER_TIMEOUT`, `TCP_KEEPIDLE`).
pub(super) fn notice_silence(socket: impl AsFd, timeout: Duration) -> Result<(), Errno> {
    let second = Duration::from_secs(1);
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, (timeout / 2).max(second))?;
    sockopt::set_tcp_keepintvl(&socket, (timeout / 8).max(second))?;
    sockopt::set_tcp_user_timeout(&socket, timeout.as_millis().try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_random_and_grow_to_a_bound() {
        let waits =
            |failed| (0..10_000u64).map(move |n| wait_ns(failed, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        for (failed, most_ns) in [(0, 200_000_000), (1, 400_000_000), (4, 3_200_000_000), (5, LONGEST_NS)] {
            let (least, longest) = (waits(failed).min(), waits(failed).max());
            assert!(
                least >= Some(SHORTEST_NS) && least < Some(SHORTEST_NS + most_ns / 50),
                "{failed}: {least:?}"
            );
            assert!(
                longest <= Some(most_ns) && longest > Some(most_ns - most_ns / 50),
                "{failed}: {longest:?}"
            );
        }
        assert!(waits(u32::MAX).all(|wait_ns| (SHORTEST_NS..=LONGEST_NS).contains(&wait_ns)));
    }

    #[test]
    fn attempts_are_ordered_and_limited_by_the_window() {
        let mut reconnect = Reconnect::new(2);
        (0..5).for_each(|lost_ns| reconnect.wait(0, lost_ns, 0));
        assert_eq!(reconnect.next(SHORTEST_NS - 1), None);
        let now_ns = 2 * SHORTEST_NS;
        let mut last_ns = 0;
        for index in 0..2 {
            let retry = reconnect.next(now_ns).expect("it is due");
            assert!(retry.due_ns >= last_ns);
            last_ns = retry.due_ns;
            reconnect.begun(index, retry);
        }
        assert_eq!((reconnect.next(now_ns), reconnect.due_ns()), (None, u64::MAX));
        reconnect.requeue(0);
        assert!(reconnect.next(now_ns).is_some(), "the window has room again");
        assert_eq!(reconnect.pending(), 4);
    }
}
