//! Waiting for what must come true: with a deadline, and never in the hope that a pause was long enough.

use std::thread;
use std::time::{Duration, Instant};

/// How long the suite waits for anything that a sound server does at once: enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server may take over what it should do at once, where a check times it: a second or so, and slack
/// for a busy machine.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(2500);

/// Between two looks at something that cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Calls `look` until it finds what it looks for, and returns that.
///
/// # Panics
/// When [`PATIENCE`] is over, with what `look` last saw instead.
#[track_caller]
pub(crate) fn until<T>(expected: &str, look: impl FnMut() -> Result<T, String>) -> T {
    match within(PATIENCE, look) {
        Ok(found) => found,
        Err(instead) => panic!("expected within {PATIENCE:?}: {expected}\ngot: {instead}"),
    }
}

/// Calls `look` until it finds what it looks for, or `limit` is over: then, what it last saw instead.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Err(_) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
            last => return last,
        }
    }
}
