//! Polling for a condition until a deadline, instead of a sleep that is assumed to be long enough.

use std::thread;
use std::time::{Duration, Instant};

/// How long the suite waits for anything that a server does immediately. Generous, for a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that a measured immediate action may take: about a second, plus slack for a busy machine.
pub(crate) const MAX_DELAY: Duration = Duration::from_millis(2500);

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Calls `check` until it succeeds, and returns its result.
///
/// # Panics
/// After [`TIMEOUT`], with the last error of `check`.
#[track_caller]
pub(crate) fn until<T>(expected: &str, check: impl FnMut() -> Result<T, String>) -> T {
    match within(TIMEOUT, check) {
        Ok(found) => found,
        Err(last) => panic!("expected within {TIMEOUT:?}: {expected}\ngot: {last}"),
    }
}

/// Calls `check` until it succeeds, or until `limit` has passed.
///
/// # Errors
/// The last error of `check`.
pub(crate) fn within<T>(limit: Duration, mut check: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Err(_) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
            last => return last,
        }
    }
}
