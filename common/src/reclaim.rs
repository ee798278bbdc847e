//! What a storm needed goes back to the kernel in the calm after it.
//!
//! The C library keeps what is freed, but for the top of a heap, until malloc_trim(3) asks for it. One buffer that is
//! still needed, high up in a heap, is enough to keep all that was freed below it. To ask takes a tenth of a second where
//! 100,000 connections have gone, in which whoever allocates waits; where nothing was freed, a tenth of a millisecond.

use crate::metrics::Metrics;
use crate::process;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// It is calm where in a second no more than one part in so many happens of all that did since memory was last returned.
/// Where it is never calm, that is every tenth second.
const CALM: u64 = 10;

/// Resident memory from which on it is worth it, in octets. With less, what each thread keeps of freed buffers, seven of
/// every size up to 1 KiB, is most of what is there; it lies somewhere else after every return, and keeps other pages.
pub const RECLAIMED_FROM_BYTES: u64 = 32 << 20;

/// Waits for a message, and returns freed memory meanwhile, whenever it is calm.
///
/// # Errors
/// If no message can come any more.
pub(crate) fn receive<T>(
    from: &Receiver<T>,
    metrics: &Metrics,
    weather: &mut Weather,
) -> Result<T, RecvError> {
    loop {
        match from.recv_timeout(LOOK_EVERY) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
            Err(RecvTimeoutError::Timeout) => {
                if weather.is_calm(metrics.happened()) && is_worth_it() {
                    return_freed_memory();
                }
            }
        }
    }
}

fn is_worth_it() -> bool {
    process::resident_bytes(0).is_some_and(|bytes| bytes >= RECLAIMED_FROM_BYTES)
}

/// Gives the pages of the heap that are free back to the kernel, where the C library would keep them for the next
/// use (malloc_trim(3), glibc alone).
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and locks each arena while it looks at it.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// How many things had happened, of whatever kind may free memory.
#[derive(Default)]
pub(crate) struct Weather {
    at_last_look: u64,
    at_last_return: u64,
}

impl Weather {
    /// Whether it is time to return memory, when so many things have `happened`. Asked once a second.
    fn is_calm(&mut self, happened: u64) -> bool {
        let (lately, in_all) = (happened - self.at_last_look, happened - self.at_last_return);
        self.at_last_look = happened;
        let calm = in_all > 0 && lately * CALM <= in_all;
        if calm {
            self.at_last_return = happened;
        }
        calm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which memory is returned, where so much happens in each.
    fn returned(happens: &[u64]) -> Vec<usize> {
        let (mut weather, mut happened) = (Weather::default(), 0);
        let mut is_calm = |&now: &u64| {
            happened += now;
            weather.is_calm(happened)
        };
        (0..happens.len()).filter(|&second| is_calm(&happens[second])).collect()
    }

    #[test]
    fn memory_is_returned_once_after_a_storm_and_not_in_it() {
        assert_eq!(returned(&[0, 50_000, 50_000, 40_000, 0, 0, 0]), [4]);
        assert_eq!(returned(&[0, 50_000, 50_000, 40_000, 0, 100, 0, 0]), [4, 6], "and for what came late");
        assert!(returned(&[0; 30]).is_empty());
    }

    #[test]
    fn where_it_is_never_calm_memory_is_returned_every_tenth_second() {
        assert_eq!(returned(&[1_000; 30]), [9, 19, 29]);
    }
}
