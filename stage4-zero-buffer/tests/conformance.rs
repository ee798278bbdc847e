//! The conformance suite: protocol, limits, timeouts, drain, metrics.

conformance::suite!(env!("CARGO_BIN_EXE_stage4-zero-buffer"));
