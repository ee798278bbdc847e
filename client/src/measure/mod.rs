//! Measurements of one server: its memory and processor time, its counts, and what the messages of a phase amount to.

mod echoes;
mod others;
mod rest;
mod sampler;

pub use echoes::{by_class, closed_loop, ensure_connected, open_loop};
pub use others::Others;
pub use rest::{Rest, rejected, wait_until_empty, wait_until_given_back};
pub use sampler::{Sampler, WatchArgs};

/// Rounds to three decimals, more than these measurements can resolve.
pub fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
