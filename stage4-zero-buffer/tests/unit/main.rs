//! Unit and property tests of the frame path, against its reference. The files are the stage's own, which is no library.

#![allow(dead_code, reason = "what only the event loop uses")]

#[path = "../../src/echo.rs"]
mod echo;
#[path = "../../src/slot.rs"]
mod slot;

mod echo_tests;
mod property;
mod reference;
mod slot_tests;
