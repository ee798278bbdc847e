//! This server does what every one here does: the suite says what that is.

conformance::suite!(env!("CARGO_BIN_EXE_stage4-zero-buffer"));
