//! The cases of the resilience suite, by theme: hostile peers, connection storms, faults and resource exhaustion.
//!
//! They run one at a time, at a reduced size unless `RESILIENCE_FULL` is set.

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

/// `small`, or `full` if `RESILIENCE_FULL` is set.
fn sized<T>(small: T, full: T) -> T {
    if env::var_os("RESILIENCE_FULL").is_some() { full } else { small }
}
