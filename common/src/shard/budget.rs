//! A limit on what all peers together can make the server keep: `--buffer-budget`.
//!
//! `--max-message-size` bounds one message. A thousand peers that stop just short of its end, or never read their
//! echoes, would still fill the memory. So a connection's unfinished messages and unsent output are charged to a budget of
//! the whole process. A connection that needs more than is left of it is closed with 1013.

use crate::memory::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that each connection may keep uncharged: small messages get through whatever other connections keep, and touch
/// nothing that shards share.
pub const FREE_LEN: usize = 4096;

/// The budget of a process.
#[derive(Debug)]
pub struct Budget {
    /// Bytes.
    pub(crate) limit: usize,
    held: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes, or by default of an eighth of all memory (unlimited if that is unknown).
    pub fn new(limit: Option<usize>) -> Arc<Budget> {
        let eighth = || Memory::now().map_or(usize::MAX, |memory| (memory.total / 8) as usize);
        let limit = limit.unwrap_or_else(eighth);
        Arc::new(Budget { limit, held: AtomicUsize::new(0) })
    }

    /// Bytes charged now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// For one connection: nothing is charged yet.
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), charged: 0 }
    }
}

/// The budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload;

/// What is charged for one connection; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    charged: usize,
}

impl Reservation {
    /// Sets what the connection keeps to `bytes`. All but the first [`FREE_LEN`] are charged.
    ///
    /// # Errors
    /// [`Overload`] if the budget has too little left; the previous charge then stays.
    #[inline]
    pub fn set(&mut self, bytes: usize) -> Result<(), Overload> {
        let due = bytes.saturating_sub(FREE_LEN);
        if due == self.charged {
            return Ok(());
        }
        let Budget { limit, held } = &*self.budget;
        let with_this = |held: usize| (held - self.charged).checked_add(due);
        held.fetch_update(Relaxed, Relaxed, |held| {
            with_this(held).filter(|&sum| due < self.charged || sum <= *limit)
        })
        .map_err(|_| Overload)?;
        self.charged = due;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.charged > 0 {
            self.budget.held.fetch_sub(self.charged, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_all_but_what_is_free() {
        let budget = Budget::new(Some(10_000));
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        assert_eq!((one.set(FREE_LEN), budget.held()), (Ok(()), 0));
        assert_eq!((one.set(FREE_LEN + 6_000), budget.held()), (Ok(()), 6_000));
        assert_eq!((other.set(FREE_LEN + 4_001), budget.held()), (Err(Overload), 6_000));
        assert_eq!((other.set(FREE_LEN + 4_000), budget.held()), (Ok(()), 10_000));
        assert_eq!(one.set(usize::MAX), Err(Overload));
        assert_eq!((one.set(0), budget.held()), (Ok(()), 4_000));
        drop(other);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn is_never_exceeded_by_many_at_once() {
        let budget = Budget::new(Some(50_000));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let budget = &budget;
                scope.spawn(move || {
                    let mut holds: Vec<Reservation> = (0..10).map(|_| budget.reservation()).collect();
                    for round in 0..2_000 {
                        let _ = holds[round % 10].set((round * 7919 + thread * 131) % 20_000);
                        assert!(budget.held() <= 50_000);
                    }
                });
            }
        });
        assert_eq!(budget.held(), 0, "all is given back");
    }
}
