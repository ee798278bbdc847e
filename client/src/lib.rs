//! The load client: it opens WebSocket connections by the ten thousand, sends messages over them, compares every
//! echo with what was sent, and reports what it found.

pub mod anatomy;
pub mod cli;
pub mod compare;
pub mod doctor;
mod file;
pub mod fleet;
#[cfg(test)]
mod golden;
pub mod help;
mod live;
pub mod million;
pub mod race;
pub mod raw;
pub mod report;
pub mod run;
pub mod watch;
pub mod words;
