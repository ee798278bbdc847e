//! This server withstands what every one here does: the suite says what that is.

conformance::resilience!(env!("CARGO_BIN_EXE_stage1-thread-per-conn"));
