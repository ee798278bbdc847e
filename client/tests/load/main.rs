//! The client from outside, where a test takes seconds: searches, comparisons, faults, what is shown in the meantime.
//! `cargo test` does not run it, `cargo test -p client --test load` does.

#[allow(dead_code, reason = "the other binary uses the rest")]
#[path = "../local/mod.rs"]
mod local;
#[allow(dead_code, reason = "the other binary uses the rest")]
#[path = "../stage/mod.rs"]
mod stage;

mod compare;
mod faults;
mod find;
mod installed;
mod live;
mod million;
mod prometheus;
mod ramp;
mod reconnect;
mod setup;
mod surroundings;
mod words;
