//! Notices on stderr that `cargo test` shows even when a test passes.

use std::io::{self, Write};
use std::thread;

/// Prints `why` after `skipped: `. The `None` lets a caller skip its case in one expression.
pub(crate) fn skip<T>(why: &str) -> Option<T> {
    note(&format!("skipped: {}", why.trim_end()));
    None
}

/// Writes a line to stderr, with the name of the test's thread. It bypasses the test harness, which discards the
/// output of tests that pass.
pub fn note(what: &str) {
    let name = thread::current().name().map(|name| format!(" ({name})")).unwrap_or_default();
    // With stderr closed there is nowhere to report the error.
    let _ = io::stderr().write_all(format!("{what}{name}\n").as_bytes());
}
