//! The resilience suite: hostile peers, connection storms, faults, exhaustion.

conformance::resilience!(env!("CARGO_BIN_EXE_stage1-thread-per-conn"));
