//! Unit and property tests of the frame path. They include the stage's files, because the stage is not a library.

#![allow(dead_code, reason = "some functions are used only by the event loop")]

#[path = "../../src/echo.rs"]
mod echo;
#[path = "../../src/slot.rs"]
mod slot;

mod echo_tests;
mod property;
mod reference;
mod slot_tests;
