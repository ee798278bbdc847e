//! Unit and property tests of the frame path, against its reference. The files are the stage's own, which is no library.

#![allow(dead_code, reason = "what only the event loop uses")]

#[path = "../../src/echo.rs"]
mod echo;
#[path = "../../src/output.rs"]
mod output;
#[path = "../../src/partial.rs"]
mod partial;
#[path = "../../src/slot.rs"]
mod slot;

mod echo_tests;
mod output_tests;
mod partial_tests;
mod property;
mod reference;
mod slot_tests;
