//! The cases of the second suite, by theme: what a server on an open port meets.
//!
//! They run one after the other, and in a reduced size unless `RESILIENCE_FULL` is set.

mod background;
mod crowd;
pub(crate) mod exhaustion;
pub(crate) mod faults;
mod honest;
mod kernel;
mod scrape;
pub(crate) mod soak;
pub(crate) mod stalled;
pub(crate) mod storms;

use std::env;

/// `small`, or the `full` size where `RESILIENCE_FULL` is set.
fn sized<T>(small: T, full: T) -> T {
    if env::var_os("RESILIENCE_FULL").is_some() { full } else { small }
}
